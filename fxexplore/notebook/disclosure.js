// A button that unfolds further controls of the panel that it is in. Works without a kernel.

/** @param {{model: any, el: HTMLElement}} context */
function render({ model, el }) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "jupyter-button fxx-disclosure";
  button.textContent = model.get("label");
  el.append(button);
  const show = () => {
    el.closest(model.get("panel"))?.classList.toggle("fxx-unfolded", model.get("unfolded"));
    button.setAttribute("aria-expanded", String(model.get("unfolded")));
  };
  button.addEventListener("keydown", (event) => event.stopPropagation()); // JupyterLab has shortcuts of its own
  button.addEventListener("click", () => {
    model.set("unfolded", !model.get("unfolded"));
    model.save_changes();
  });
  model.on("change:unfolded", show);
  requestAnimationFrame(show); // by then it is in the panel
  return () => model.off("change:unfolded", show);
}

export default { render };
