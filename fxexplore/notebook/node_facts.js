// The facts of one node: a list of terms and descriptions, with links that move the focus.

const MANY = 24; // links that are shown before "and ... more"

/** @typedef {{label: string, text?: string, links?: string[]}} Fact */

/** @param {string} tag @param {string} [cls] @param {string} [text] */
function make(tag, cls, text) {
  const element = document.createElement(tag);
  if (cls) element.className = cls;
  if (text !== undefined) element.textContent = text; // never innerHTML: names are untrusted text
  return element;
}

/** @param {string} cls @param {string} text @param {() => void} act */
function button(cls, text, act) {
  const element = /** @type {HTMLButtonElement} */ (make("button", cls, text));
  element.type = "button";
  element.addEventListener("click", act);
  element.addEventListener("keydown", (event) => event.key !== "Escape" && event.stopPropagation());
  return element;
}

/** @param {{model: any, el: HTMLElement}} context */
function render({ model, el }) {
  const root = make("div", "fxx-facts");
  el.append(root);

  /** @param {string} name */
  const show = (name) => {
    model.set("focused", name);
    model.save_changes();
  };
  /** @param {string[]} names */
  const links = (names) => {
    const list = make("dd");
    /** @param {string} name */
    const link = (name) => button("fxx-link", name, () => show(name));
    list.append(...names.slice(0, MANY).map(link));
    if (names.length > MANY) {
      const more = button("fxx-link", `and ${names.length - MANY} more`, () => {
        more.replaceWith(...names.slice(MANY).map(link));
      });
      list.append(more);
    }
    return list;
  };
  const draw = () => {
    const name = model.get("focused");
    /** @type {Fact[]} */
    const facts = model.get("facts");
    if (!name || !facts.length) {
      return root.replaceChildren(make("p", "fxx-hint", "Click a row of the tree or a box of the diagram."));
    }
    const title = make("div", "fxx-title");
    const copied = button("fxx-action", "Copy name", async () => {
      try {
        await navigator.clipboard.writeText(name);
        copied.textContent = "Copied ✓";
      } catch {
        getSelection()?.selectAllChildren(heading); // for Ctrl+C
        copied.textContent = "Selected";
      }
    });
    const heading = make("h3", "", name);
    title.append(heading, copied);
    const list = make("dl");
    for (const fact of facts) {
      list.append(make("dt", "", fact.label), fact.links ? links(fact.links) : make("dd", "", fact.text));
    }
    root.replaceChildren(title, list);
  };
  model.on("change:facts", draw);
  model.on("change:focused", draw);
  draw();
  return () => {
    model.off("change:facts", draw);
    model.off("change:focused", draw);
  };
}

export default { render };
