// A button that fills the screen with the panel around it, by the browser's own full screen
// where a page may ask for it, else by a class that fills the window.

const SVG = "http://www.w3.org/2000/svg";

/** @param {{model: any, el: HTMLElement}} context */
function render({ model, el }) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "fxx-action fxx-enlarge";
  const icon = document.createElementNS(SVG, "svg");
  icon.setAttribute("viewBox", "0 0 16 16");
  icon.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(SVG, "path");
  icon.append(path);
  button.append(icon);
  el.append(button);

  const panel = () => /** @type {HTMLElement | null} */ (el.closest(model.get("panel")));
  const isFull = () => {
    const here = panel();
    return here !== null && (document.fullscreenElement === here || here.classList.contains("fxx-full"));
  };
  const refresh = () => {
    const title = isFull() ? "Leave full screen" : "Fill the screen";
    button.title = title;
    button.setAttribute("aria-label", title);
    path.setAttribute("d", isFull() ? "M14 2 9 7M9 3v4h4M2 14l5-5M3 9h4v4" : "M9 7l5-5M10 2h4v4M7 9l-5 5M2 10v4h4");
  };
  const toggle = async () => {
    const here = panel();
    if (!here) return;
    if (document.fullscreenElement === here) await document.exitFullscreen();
    else if (here.classList.contains("fxx-full")) here.classList.remove("fxx-full");
    else {
      try {
        await here.requestFullscreen();
      } catch {
        here.classList.add("fxx-full"); // VS Code and sandboxed frames allow no more
      }
    }
    refresh();
  };
  /** @param {KeyboardEvent} event */
  const onKey = (event) => {
    if (event.key === "Escape" && panel()?.classList.contains("fxx-full") && !event.defaultPrevented) toggle();
  };
  button.addEventListener("click", toggle);
  button.addEventListener("keydown", (event) => event.key !== "Escape" && event.stopPropagation());
  document.addEventListener("fullscreenchange", refresh);
  document.addEventListener("keydown", onKey);
  refresh();
  return () => {
    document.removeEventListener("fullscreenchange", refresh);
    document.removeEventListener("keydown", onKey);
  };
}

export default { render };
