// The diagram: Graphviz's SVG with a hand on it. The picture comes ready laid out; boxes and
// clusters carry the id of their row, and `boxes` says which name that is.

const NEAREST = 0.1;
const LARGEST = 4;
const DRAG = 4; // pixels that make a press a drag

/** @param {string} tag @param {string} [cls] @param {string} [text] */
function make(tag, cls, text) {
  const element = document.createElement(tag);
  if (cls) element.className = cls;
  if (text !== undefined) element.textContent = text;
  return element;
}

class Diagram {
  constructor(model, el) {
    this.model = model;
    this.view = { x: 0, y: 0, scale: 1 };
    this.build(el);
    this.draw();
    this.say();
  }

  build(el) {
    const root = make("div", "fxx-diagram");
    this.pane = make("div", "fxx-pane");
    this.pane.tabIndex = 0;
    this.pane.setAttribute("role", "group");
    this.pane.setAttribute("aria-label", "Diagram of the model");
    this.sheet = make("div", "fxx-sheet");
    this.pane.append(this.sheet);
    const tools = make("div", "fxx-tools");
    tools.append(
      this.button("+", "Zoom in", () => this.zoom(1.25)),
      this.button("−", "Zoom out", () => this.zoom(0.8)),
      this.button("Fit", "Fit the diagram into view", () => this.fit()),
    );
    this.message = make("div", "fxx-message");
    this.message.setAttribute("role", "status");
    root.append(this.pane, tools, this.message);
    el.append(root);

    this.pane.addEventListener("wheel", (event) => this.onWheel(event), { passive: false });
    this.pane.addEventListener("pointerdown", (event) => this.onPress(event));
    this.pane.addEventListener("click", (event) => this.onClick(event));
    this.pane.addEventListener("dblclick", (event) => this.onDoubleClick(event));
    this.pane.addEventListener("keydown", (event) => this.onKey(event));
    this.resize = new ResizeObserver(() => !this.moved && this.fit());
    this.resize.observe(this.pane);
  }

  button(text, title, action) {
    const button = make("button", "fxx-button", text);
    button.type = "button";
    button.title = title;
    button.setAttribute("aria-label", title);
    button.addEventListener("click", action);
    return button;
  }

  set(trait, value) {
    this.model.set(trait, value);
    this.model.save_changes();
  }

  draw() {
    const source = this.model.get("svg");
    if (!source) return this.sheet.replaceChildren();
    // Parsed as XML, not as HTML: what Graphviz escaped stays text.
    const page = new DOMParser().parseFromString(source, "image/svg+xml");
    const svg = document.importNode(page.documentElement, true);
    for (const title of svg.querySelectorAll("title")) title.remove();
    const [, , width, height] = svg.getAttribute("viewBox").split(/\s+/).map(Number);
    this.size = { width, height };
    svg.setAttribute("width", String(width));
    svg.setAttribute("height", String(height));
    const names = this.model.get("boxes");
    this.boxes = new Map();
    for (const [id, name] of Object.entries(names)) {
      const box = svg.querySelector(`[id="${id}"]`);
      if (!box) continue;
      box.dataset.name = name;
      const title = document.createElementNS("http://www.w3.org/2000/svg", "title");
      title.textContent = name;
      box.prepend(title);
      this.boxes.set(name, box);
    }
    this.sheet.replaceChildren(svg);
    this.mark();
    if (!this.moved) this.fit();
  }

  mark() {
    const selected = new Set(this.model.get("selected"));
    const focused = this.model.get("focused");
    for (const [name, box] of this.boxes ?? []) {
      box.classList.toggle("fxx-ticked", selected.has(name));
      box.classList.toggle("fxx-at", name === focused);
      box.querySelector(":scope > .fxx-tick")?.remove();
      if (selected.has(name)) this.tick(box);
    }
  }

  /** A check mark at the corner: ticks are told apart without colour. */
  tick(box) {
    const shape = box.querySelector("path, polygon");
    const { x, y } = shape.getBBox();
    const mark = document.createElementNS("http://www.w3.org/2000/svg", "text");
    mark.setAttribute("class", "fxx-tick");
    mark.setAttribute("x", String(x + 4));
    mark.setAttribute("y", String(y + 11));
    mark.textContent = "✓";
    box.append(mark);
  }

  say() {
    this.message.textContent = this.model.get("message");
  }

  place() {
    const { x, y, scale } = this.view;
    this.sheet.style.transform = `translate(${x}px, ${y}px) scale(${scale})`;
  }

  fit() {
    const { clientWidth, clientHeight } = this.pane;
    if (!this.size || !clientWidth) return;
    // Readable first: a long model shows its beginning rather than shrinking to a thread.
    const whole = Math.min(clientWidth / this.size.width, clientHeight / this.size.height);
    const scale = Math.min(1.2, Math.max(whole, Math.min(0.75, clientWidth / this.size.width)));
    this.view = { x: (clientWidth - this.size.width * scale) / 2, y: 8, scale };
    this.moved = false;
    this.place();
  }

  zoom(factor, x = this.pane.clientWidth / 2, y = this.pane.clientHeight / 2) {
    const scale = Math.min(LARGEST, Math.max(NEAREST, this.view.scale * factor));
    const ratio = scale / this.view.scale;
    this.view = { x: x - (x - this.view.x) * ratio, y: y - (y - this.view.y) * ratio, scale };
    this.moved = true;
    this.place();
  }

  onWheel(event) {
    event.preventDefault();
    if (event.ctrlKey || event.metaKey) {
      const frame = this.pane.getBoundingClientRect();
      this.zoom(Math.exp(-event.deltaY / 200), event.clientX - frame.left, event.clientY - frame.top);
      return;
    }
    this.view = { ...this.view, x: this.view.x - event.deltaX, y: this.view.y - event.deltaY };
    this.moved = true;
    this.place();
  }

  onPress(event) {
    if (event.button !== 0) return;
    const start = { x: event.clientX, y: event.clientY };
    const from = { ...this.view };
    this.dragged = false;
    const move = (/** @type {PointerEvent} */ now) => {
      const dx = now.clientX - start.x;
      const dy = now.clientY - start.y;
      this.dragged ||= Math.hypot(dx, dy) > DRAG;
      if (!this.dragged) return;
      this.view = { ...from, x: from.x + dx, y: from.y + dy };
      this.moved = true;
      this.place();
    };
    const stop = () => {
      window.removeEventListener("pointermove", move);
      window.removeEventListener("pointerup", stop);
      window.removeEventListener("pointercancel", stop);
    };
    window.addEventListener("pointermove", move);
    window.addEventListener("pointerup", stop);
    window.addEventListener("pointercancel", stop);
  }

  nameAt(event) {
    return event.target.closest?.("[data-name]")?.dataset.name;
  }

  onClick(event) {
    const name = this.nameAt(event);
    if (name !== undefined && !this.dragged) this.set("focused", name);
  }

  onDoubleClick(event) {
    const name = this.nameAt(event);
    if (name !== undefined) this.toggleFold(name);
  }

  toggleFold(name) {
    const expanded = this.model.get("expanded");
    if (expanded.includes(name)) this.set("expanded", expanded.filter((other) => other !== name));
    else if (this.model.get("foldable").includes(name)) this.set("expanded", [...expanded, name]);
  }

  onKey(event) {
    const zooms = { "+": 1.25, "=": 1.25, "-": 0.8 };
    const pans = { ArrowLeft: [40, 0], ArrowRight: [-40, 0], ArrowUp: [0, 40], ArrowDown: [0, -40] };
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key in zooms) this.zoom(zooms[event.key]);
    else if (event.key in pans) {
      const [dx, dy] = pans[event.key];
      this.view = { ...this.view, x: this.view.x + dx, y: this.view.y + dy };
      this.moved = true;
      this.place();
    } else if (event.key === "0") this.fit();
    else if (event.key === "Enter" && this.model.get("focused")) this.toggleFold(this.model.get("focused"));
    else return;
    event.preventDefault();
    event.stopPropagation(); // JupyterLab would take the keys for its own
  }

  destroy() {
    this.resize.disconnect();
  }
}

function render({ model, el }) {
  const diagram = new Diagram(model, el);
  const handlers = {
    "change:svg": () => diagram.draw(),
    "change:selected": () => diagram.mark(),
    "change:focused": () => diagram.mark(),
    "change:message": () => diagram.say(),
  };
  for (const [event, handler] of Object.entries(handlers)) model.on(event, handler);
  return () => {
    for (const [event, handler] of Object.entries(handlers)) model.off(event, handler);
    diagram.destroy();
  };
}

export default { render };
