// What only the page knows: the colour of text, the pixel density of the screen, the width of the
// panel. Invisible.

const MOST_DENSE = 3;
const QUIET = 250; // milliseconds without another change

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
  return () => {
    watched.disconnect();
    sized.disconnect();
    clearTimeout(timer);
    window.removeEventListener("resize", later);
  };
}

export default { render };
