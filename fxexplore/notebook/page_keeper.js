// When a notebook is saved, keeps the page that stands beside an explorer in the notebook's metadata,
// as the state of an HTML widget in the explorer's place. JupyterLab and Notebook 7 show a saved
// widget by its state alone; the page beside it, which other viewers show, they do not look at.

const VIEW = "application/vnd.jupyter.widget-view+json";
const STATE = "application/vnd.jupyter.widget-state+json";
const MARK = "fxx-kept-page";
const NOTE =
  `<style>.${MARK}.${MARK}::before { content: none }</style><p style="margin:0 0 8px">` +
  "This is the page that was saved. Run the cell again to work with the model.</p>";

/** The pages beside the widgets that the notebook shows, by the widget's id. @param {any} notebook */
function pagesIn(notebook) {
  /** @type {Map<string, string>} */
  const pages = new Map();
  for (const { outputs } of notebook.cells) {
    for (let i = 0; i < (outputs?.length ?? 0); i++) {
      const { [VIEW]: view, "text/html": page } = outputs.get(i).data;
      if (view && page) pages.set(view.model_id, [page].flat().join(""));
    }
  }
  return pages;
}

/** @param {string} page */
function stateOf(page) {
  const state = { _dom_classes: [MARK], value: NOTE + page };
  const home = { model_module: "@jupyter-widgets/controls", model_module_version: "2.0.0" };
  return { ...home, model_name: "HTMLModel", state };
}

/** @param {any} notebook @param {string} id */
function keepPage(notebook, id) {
  const pages = pagesIn(notebook);
  const metadata = notebook.getMetadata("widgets") ?? {};
  const kept = { version_major: 2, version_minor: 0, state: {}, ...metadata[STATE] };
  const isOurs = (/** @type {any} */ entry) => entry.state?._dom_classes?.includes(MARK);
  const still = Object.entries(kept.state).filter(([key, entry]) => !isOurs(entry) || pages.has(key));
  /** @type {Record<string, any>} */
  const state = Object.fromEntries(still);
  const page = pages.get(id);
  // What somebody had saved with the state of all widgets stays.
  if (page && (!state[id] || isOurs(state[id]))) state[id] = stateOf(page);
  if (JSON.stringify(state) === JSON.stringify(kept.state)) return;
  if (Object.keys(state).length) notebook.setMetadata("widgets", { ...metadata, [STATE]: { ...kept, state } });
  else notebook.deleteMetadata("widgets");
}

/** @param {{model: any}} context */
function initialize({ model }) {
  const file = model.widget_manager?.context; // of a notebook in JupyterLab; elsewhere there is none
  if (!file?.saveState || !file.model?.setMetadata) return undefined;
  /** @param {any} _ @param {string} what */
  const onSave = (_, what) => {
    if (what === "started") keepPage(file.model, model.get("widget_id"));
  };
  file.saveState.connect(onSave);
  return () => file.saveState.disconnect(onSave);
}

/** It shows nothing. @param {{el: HTMLElement}} context */
function render({ el }) {
  el.style.display = "none";
}

export default { initialize, render };
