// What only the page knows or can do: the colour of text, the pixel density of the screen, the
// width of the panel; saving a file, copying text. Invisible.

const MOST_DENSE = 3;
const QUIET = 250; // milliseconds without another change

let answered = ""; // the same message reaches every view of a panel

/**
 * Download bytes as a file.
 * @param {string} name
 * @param {string} kind
 * @param {DataView<ArrayBuffer>} bytes
 */
function save(name, kind, bytes) {
  const address = URL.createObjectURL(new Blob([bytes], { type: kind }));
  const link = document.createElement("a");
  link.href = address;
  link.download = name;
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}

/** @param {string} text */
async function copied(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return false; // no clipboard on pages that are not served securely
  }
}

/** @param {{model: any, el: HTMLElement}} context */
function render({ model, el }) {
  const probe = document.createElement("span");
  probe.className = "fxx-ink";
  probe.setAttribute("aria-hidden", "true");
  el.append(probe);

  function look() {
    if (!probe.isConnected) return;
    const width = el.closest(".fxx-maps")?.querySelector(".fxx-scroll")?.clientWidth;
    if (width) model.set("width", width); // it has none behind another tab
    model.set("ink", getComputedStyle(probe).color);
    model.set("density", Math.min(MOST_DENSE, Math.max(1, window.devicePixelRatio || 1)));
    model.save_changes();
  }
  // A new theme changes attributes first, then style sheets, which take a while to load;
  // in between the colours belong to neither theme.
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  const later = () => {
    clearTimeout(timer);
    timer = setTimeout(look, QUIET);
  };
  const watched = new MutationObserver(later);
  const attributes = { attributes: true, attributeFilter: ["class", "style", "data-jp-theme-light"] };
  for (const node of [document.documentElement, document.body]) watched.observe(node, attributes);
  watched.observe(document.head, { childList: true });
  probe.addEventListener("transitionend", later); // the colour itself changed
  const sized = new ResizeObserver(later);
  sized.observe(el);
  window.addEventListener("resize", later); // another screen, or the page was zoomed
  requestAnimationFrame(look);

  /**
   * @param {{type: string, id: string, name: string, kind: string, text: string}} message
   * @param {DataView<ArrayBuffer>[]} buffers
   */
  async function onMessage(message, buffers) {
    if (message.id === answered) return;
    answered = message.id;
    if (message.type === "save") save(message.name, message.kind, buffers[0]);
    if (message.type === "copy") {
      model.send({ type: "copied", done: await copied(message.text) });
    }
  }
  model.on("msg:custom", onMessage);
  return () => {
    watched.disconnect();
    sized.disconnect();
    clearTimeout(timer);
    window.removeEventListener("resize", later);
    model.off("msg:custom", onMessage);
  };
}

export default { render };
