// A separator (WAI-ARIA window splitter). It writes a CSS variable on the explorer's panel.

/** @param {{model: any, el: HTMLElement}} context */
function render({ model, el }) {
  const isColumn = model.get("unit") === "%";
  const start = model.get("value");
  const bar = document.createElement("div");
  bar.className = "fxx-splitter";
  bar.tabIndex = 0;
  bar.title = `${model.get("label")}: drag, or arrow keys; double click puts it back`;
  bar.setAttribute("role", "separator");
  bar.setAttribute("aria-label", model.get("label"));
  bar.setAttribute("aria-orientation", isColumn ? "vertical" : "horizontal");
  el.append(bar);

  /** @param {number} value */
  const limited = (value) => Math.max(model.get("least"), Math.min(model.get("most"), value));
  /** @returns {HTMLElement | null} */
  const panel = () => el.closest(".fxx-explorer");
  /** Where it is; where nobody has moved it, as the style sheet has it. */
  const present = () =>
    model.get("value") ?? (parseFloat(getComputedStyle(panel() ?? el).getPropertyValue(model.get("variable"))) || model.get("least"));
  /** @param {number | null} value */
  const show = (value) => {
    const text = value === null ? "" : `${value}${model.get("unit")}`;
    panel()?.style.setProperty(model.get("variable"), text);
    for (const [name, number] of Object.entries({ now: value ?? present(), min: model.get("least"), max: model.get("most") })) {
      bar.setAttribute(`aria-value${name}`, String(Math.round(number)));
    }
  };
  /** @param {number | null} value */
  const save = (value) => {
    model.set("value", value === null ? null : limited(value));
    model.save_changes();
  };
  const refresh = () => show(model.get("value"));
  // A view may be made before it is in the page; it has no size until then.
  const arrival = new ResizeObserver(refresh);
  arrival.observe(bar);

  bar.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    event.preventDefault();
    bar.focus();
    bar.setPointerCapture(event.pointerId);
    arrival.disconnect();
    const from = { x: event.clientX, y: event.clientY, value: present() };
    const width = el.parentElement?.clientWidth || 1;
    let value = from.value;
    /** @param {PointerEvent} now */
    const move = (now) => {
      const moved = isColumn ? ((now.clientX - from.x) / width) * 100 : now.clientY - from.y;
      value = limited(from.value + moved);
      show(value);
    };
    const stop = () => {
      bar.removeEventListener("pointermove", move);
      save(value);
    };
    bar.addEventListener("pointermove", move);
    bar.addEventListener("lostpointercapture", stop, { once: true });
  });
  bar.addEventListener("dblclick", () => save(start));
  bar.addEventListener("keydown", (event) => {
    const step = isColumn ? 2 : 24;
    /** @type {Record<string, number>} */
    const steps = isColumn
      ? { ArrowLeft: -step, ArrowRight: step, Home: -1e9, End: 1e9 }
      : { ArrowUp: -step, ArrowDown: step, Home: -1e9, End: 1e9 };
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    event.stopPropagation(); // else they would trigger JupyterLab's shortcuts
    if (event.key in steps) save(present() + steps[event.key]);
    else if (event.key === "Enter") save(start);
    else return;
    event.preventDefault();
  });
  model.on("change:value", refresh);
  refresh();
  return () => {
    arrival.disconnect();
    model.off("change:value", refresh);
  };
}

export default { render };
