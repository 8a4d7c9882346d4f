// A picture of feature maps. Clicks and keys are sent to Python, which enlarges a channel or shows the next.

/**
 * Fractions of the picture from its top left.
 * @param {MouseEvent} event
 * @param {HTMLElement} image
 */
function fractions(event, image) {
  const box = image.getBoundingClientRect();
  /** @param {number} at @param {number} start @param {number} size */
  const part = (at, start, size) => Math.min(1, Math.max(0, (at - start) / size));
  return {
    x: part(event.clientX, box.left, box.width),
    y: part(event.clientY, box.top, box.height),
  };
}

/**
 * The message for a key; undefined if the key means nothing here.
 * @param {string} key
 * @param {boolean} enlarged
 */
function asked(key, enlarged) {
  if (key === "Enter" || key === " ") return enlarged ? { type: "close" } : { type: "open" };
  if (!enlarged) return undefined;
  if (key === "Escape") return { type: "close" };
  if (key === "ArrowRight" || key === "ArrowDown") return { type: "step", by: 1 };
  if (key === "ArrowLeft" || key === "ArrowUp") return { type: "step", by: -1 };
  return undefined;
}

/** @param {{model: any, el: HTMLElement}} context */
function render({ model, el }) {
  const figure = document.createElement("div");
  figure.className = "fxx-map-view";
  figure.tabIndex = 0;
  figure.setAttribute("role", "button");
  const image = document.createElement("img");
  image.className = "fxx-map";
  image.draggable = false;
  figure.append(image);
  el.append(figure);
  let address = "";

  function show() {
    const before = address;
    const png = model.get("png");
    address = png?.byteLength ? URL.createObjectURL(new Blob([png], { type: "image/png" })) : "";
    figure.hidden = !address;
    if (address) image.src = address;
    if (before) URL.revokeObjectURL(before);
  }
  function describe() {
    image.alt = model.get("alt");
    const enlarged = model.get("enlarged");
    figure.classList.toggle("fxx-enlarged", enlarged);
    const does = enlarged
      ? "Arrow keys show the channels beside it, Escape closes it."
      : "Enter enlarges its first channel, a click the channel there.";
    figure.setAttribute("aria-label", `${model.get("alt")}. ${does}`);
    image.style.width = `${model.get("width")}px`;
  }
  model.on("change:png", show);
  model.on("change:alt change:enlarged change:width", describe);
  show();
  describe();

  image.addEventListener("click", (event) => {
    model.send({ type: "point", ...fractions(event, image) });
  });
  figure.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const message = asked(event.key, model.get("enlarged"));
    if (!message) return;
    event.preventDefault();
    event.stopPropagation(); // JupyterLab has shortcuts of its own
    model.send(message);
  });
  return () => {
    model.off("change:png", show);
    model.off("change:alt change:enlarged change:width", describe);
    if (address) URL.revokeObjectURL(address);
  };
}

export default { render };
