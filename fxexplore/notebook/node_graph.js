// The diagram: Graphviz's SVG with a hand on it. The picture comes ready laid out; boxes and
// clusters carry the id of their row, and `boxes` says which name that is.

const SVG = "http://www.w3.org/2000/svg";
const SMALLEST = 0.04;
const LARGEST = 4;
const DRAG = 4; // pixels that make a press a drag
const MOVE = 260; // milliseconds that a change of fold takes to settle
const MOST_MOVES = 300; // more boxes than this at once, and the page stutters
const KINDS = {
  convolution: "convolution", normalisation: "normalisation", activation: "activation",
  attention: "attention", pooling: "pooling", linear: "linear", arithmetic: "arithmetic",
  operation: "other operation", parameter: "parameter", input: "input", folded: "folded module",
};
const INLINED = [
  "fill", "fill-opacity", "stroke", "stroke-width", "stroke-dasharray", "stroke-opacity",
  "font-family", "font-size", "font-weight", "text-decoration", "opacity",
];

/** @param {string} tag @param {string} [cls] @param {string} [text] */
function make(tag, cls, text) {
  const element = document.createElement(tag);
  if (cls) element.className = cls;
  if (text !== undefined) element.textContent = text;
  return element;
}

/** @param {string} tag @param {Record<string, string | number>} attributes */
function draw(tag, attributes) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
  return element;
}

/** @param {string} text @param {string} title @param {() => void} action */
function button(text, title, action) {
  const element = make("button", "fxx-button", text);
  element.type = "button";
  element.title = title;
  element.setAttribute("aria-label", title);
  element.addEventListener("click", action);
  return element;
}

/** @param {Blob} blob @param {string} name */
function download(blob, name) {
  const link = make("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

const isCalm = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

/** A small menu: arrows move, Enter and Space choose, Escape and a click elsewhere close. */
class Menu {
  /** @param {HTMLElement} root */
  constructor(root) {
    this.root = root;
    this.outside = (/** @type {Event} */ event) => {
      if (!this.list?.contains(/** @type {Node} */ (event.target))) this.close(false);
    };
  }

  /**
   * @param {string} label @param {[string, () => void][]} entries
   * @param {number} x @param {number} y @param {() => void} back puts the focus where it was
   */
  open(label, entries, x, y, back) {
    this.close(false);
    this.back = back;
    this.list = make("div", "fxx-menu");
    this.list.setAttribute("role", "menu");
    this.list.setAttribute("aria-label", label);
    for (const [text, action] of entries) {
      const entry = make("div", "fxx-entry", text);
      entry.setAttribute("role", "menuitem");
      entry.tabIndex = -1;
      entry.addEventListener("click", () => {
        this.close(true);
        action();
      });
      this.list.append(entry);
    }
    this.list.addEventListener("keydown", (event) => this.onKey(event));
    this.root.append(this.list);
    const { offsetWidth, offsetHeight } = this.list;
    this.list.style.left = `${Math.max(0, Math.min(x, this.root.clientWidth - offsetWidth - 4))}px`;
    this.list.style.top = `${Math.max(0, Math.min(y, this.root.clientHeight - offsetHeight - 4))}px`;
    /** @type {HTMLElement} */ (this.list.firstChild).focus({ preventScroll: true });
    document.addEventListener("pointerdown", this.outside, true);
  }

  /** @param {boolean} isDone whether the focus goes back to where it was */
  close(isDone) {
    document.removeEventListener("pointerdown", this.outside, true);
    this.list?.remove();
    this.list = undefined;
    if (isDone) this.back?.();
  }

  /** @param {KeyboardEvent} event */
  onKey(event) {
    const entries = [...this.list.children];
    const at = entries.indexOf(document.activeElement);
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: -1 }[event.key];
    event.stopPropagation();
    if (to !== undefined) entries.at(to % entries.length).focus({ preventScroll: true });
    else if (event.key === "Enter" || event.key === " ") entries[at]?.click();
    else if (event.key === "Escape" || event.key === "Tab") this.close(true);
    else return;
    event.preventDefault();
  }
}

/**
 * @typedef {{id: string, name: string, kind: string, canTick: boolean, text: string,
 *   element: SVGGElement, x: number, y: number, width: number, height: number}} Box
 * @typedef {{tail: string, head: string, element?: SVGGElement}} Edge
 */

/** The picture in the page: what is where, and what leads to what. */
class Picture {
  /** @param {any} model */
  constructor(model) {
    // Parsed as XML, not as HTML: what Graphviz escaped stays text.
    const page = new DOMParser().parseFromString(model.get("svg"), "image/svg+xml");
    this.svg = /** @type {SVGSVGElement} */ (document.importNode(page.documentElement, true));
    const [, , width, height] = this.svg.getAttribute("viewBox").split(/\s+/).map(Number);
    Object.assign(this, { width, height });
    this.svg.setAttribute("width", String(width));
    this.svg.setAttribute("height", String(height));
    this.svg.querySelector(":scope > g > polygon")?.remove(); // the paper
    /** @type {Map<string, Box>} */ this.boxes = new Map();
    /** @type {Map<string, Box>} */ this.byName = new Map();
    /** @type {Map<string, Edge[]>} */ this.after = new Map();
    /** @type {Map<string, Edge[]>} */ this.before = new Map();
    this.read(model.get("boxes"), model.get("facts"), model.get("left_out"));
  }

  /** Ids are moved into the data: another view of the same model has them too. */
  read(names, facts, leftOut) {
    for (const element of this.svg.querySelectorAll("g[id]")) {
      const id = element.id;
      element.removeAttribute("id");
      const pair = /^edge(-?\d+)-(-?\d+)$/.exec(id);
      if (pair) this.link(pair[1], pair[2], element);
      else if (id === "output" || names[id] !== undefined) this.add(id, element, names[id], facts[id]);
    }
    for (let i = 0; i < leftOut.length; i += 2) this.link(leftOut[i], leftOut[i + 1]);
  }

  add(id, element, name = "", [kind, canTick, text] = ["output", 0, "what the model returns"]) {
    element.dataset.id = id;
    if (name) element.dataset.name = name;
    const box = { id, name, kind, canTick: Boolean(canTick), text, element };
    this.boxes.set(id, /** @type {any} */ (box));
    if (name) this.byName.set(name, /** @type {any} */ (box));
  }

  link(tail, head, element) {
    const idOf = (row) => (Number(row) < 0 ? "output" : `row${row}`);
    const edge = { tail: idOf(tail), head: idOf(head), element };
    this.after.set(edge.tail, [...(this.after.get(edge.tail) ?? []), edge]);
    this.before.set(edge.head, [...(this.before.get(edge.head) ?? []), edge]);
  }

  /** Reads where everything is, once the picture is in the page. */
  measure() {
    const { e, f } = this.svg.querySelector("g").transform.baseVal.consolidate().matrix;
    this.offset = { x: e, y: f };
    for (const box of this.boxes.values()) {
      const shape = box.element.querySelector("path, polygon");
      const { x, y, width, height } = shape.getBBox();
      Object.assign(box, { x: x + e, y: y + f, width, height });
    }
    this.isMeasured = [...this.boxes.values()].some((box) => box.width > 0);
    // In order of execution; what the model returns comes last.
    const row = (box) => (box.id === "output" ? Infinity : Number(box.id.slice(3)));
    this.order = [...this.boxes.values()].sort((a, b) => row(a) - row(b));
  }

  isCluster(box) {
    return box.element.classList.contains("cluster");
  }
}

class Diagram {
  constructor(model, el) {
    this.model = model;
    this.view = { x: 0, y: 0, scale: 1 };
    this.pointers = new Map();
    this.build(el);
    this.draw();
    this.say();
    this.showBusy();
  }

  build(el) {
    this.root = make("div", "fxx-diagram");
    this.pane = make("div", "fxx-pane");
    this.pane.tabIndex = -1;
    this.sheet = make("div", "fxx-sheet");
    this.pane.append(this.sheet);
    this.card = make("div", "fxx-card");
    this.card.hidden = true;
    this.hint = make("div", "fxx-hint");
    this.hint.hidden = true;
    const waiting = make("div", "fxx-waiting", "laying out …");
    const offline = make("div", "fxx-offline", "Not connected to a kernel: this is the saved picture, and it does not fold.");
    this.message = make("div", "fxx-message");
    this.message.setAttribute("role", "status");
    this.legend = make("details", "fxx-legend");
    this.legend.open = true;
    const stage = make("div", "fxx-stage");
    stage.append(this.pane, this.buildTools(), waiting, this.hint, this.card);
    this.root.append(stage, offline, this.message, this.legend);
    this.menu = new Menu(this.root);
    el.classList.add("fxx-diagram-host");
    el.append(this.root);
    this.listen();
  }

  buildTools() {
    const tools = make("div", "fxx-tools");
    tools.setAttribute("role", "toolbar");
    tools.setAttribute("aria-label", "Diagram");
    const save = button("Save", "Save the picture", () => this.openSaves(save));
    save.setAttribute("aria-haspopup", "menu");
    tools.append(
      button("+", "Zoom in", () => this.zoom(1.25)),
      button("−", "Zoom out", () => this.zoom(0.8)),
      button("Fit", "Fit the whole diagram into view", () => this.fit(true)),
      button("Centre", "Centre on the selection", () => this.centreOnSelection()),
      save,
    );
    tools.addEventListener("keydown", (event) => this.keepKey(event));
    return tools;
  }

  listen() {
    const on = (name, handler, options) => this.pane.addEventListener(name, handler.bind(this), options);
    on("wheel", this.onWheel, { passive: false });
    on("pointerdown", this.onPress);
    on("mousedown", (event) => event.preventDefault()); // a drag gives nothing the focus
    on("pointerover", this.onOver);
    on("pointerleave", () => this.point(undefined));
    on("click", this.onClick);
    on("dblclick", this.onDoubleClick);
    on("contextmenu", this.onContextMenu);
    on("keydown", this.onKey);
    on("focusin", this.onFocus);
    on("focusout", () => this.point(undefined));
    this.resize = new ResizeObserver(() => this.onResize());
    this.resize.observe(this.pane);
  }

  /** A picture that came before the pane was in the page, or behind another tab, has no measures yet. */
  onResize() {
    if (this.picture && !this.picture.isMeasured && this.pane.clientWidth) {
      this.picture.measure();
      this.moved = false;
      this.mark();
    }
    if (!this.moved) this.fit(false);
  }

  /** @param {Record<string, any>} traits */
  set(traits) {
    for (const [trait, value] of Object.entries(traits)) this.model.set(trait, value);
    this.model.save_changes();
  }

  // The picture

  draw() {
    if (!this.model.get("svg")) return this.sheet.replaceChildren();
    const last = this.picture;
    const anchor = last && this.anchor(last);
    const hadFocus = last && this.sheet.contains(document.activeElement);
    this.point(undefined);
    this.picture = new Picture(this.model);
    this.overlay = draw("g", { class: "fxx-overlay" });
    this.picture.svg.querySelector("g").append(this.overlay);
    this.sheet.replaceChildren(this.picture.svg);
    this.picture.measure();
    this.label();
    this.mark();
    this.showLegend();
    const from = { ...this.view };
    if (last?.isMeasured && anchor && this.keepPlace(anchor)) this.settle(last, from);
    else if (!this.moved) this.fit(false);
    if (hadFocus) this.focusOn(this.current());
  }

  /** The box that stays where it is on the screen, and where it was. */
  anchor(last) {
    const shown = this.model.get("expanded");
    const was = this.drawnFold ?? shown;
    this.drawnFold = shown;
    const changed = [...shown.filter((p) => !was.includes(p)), ...was.filter((p) => !shown.includes(p))];
    const names = [this.toggled, ...(changed.length === 1 ? changed : []), this.model.get("focused")];
    this.toggled = undefined;
    const inSight = (box) => {
      const { x, y, scale } = this.view;
      const [left, top] = [box.x * scale + x, box.y * scale + y];
      return left < this.pane.clientWidth && left + box.width * scale > 0 && top < this.pane.clientHeight && top + box.height * scale > 0;
    };
    const known = names.map((name) => last.byName.get(name)).filter((box) => box && inSight(box));
    const inMiddle = last.order.find((box) => !last.isCluster(box) && inSight(box));
    return [...known, inMiddle].filter(Boolean).map((box) => ({ name: box.name, x: box.x, y: box.y, width: box.width }));
  }

  /** @param {{name: string, x: number, y: number, width: number}[]} anchors */
  keepPlace(anchors) {
    if (!this.moved && !anchors.length) return false;
    for (const was of anchors) {
      const now = this.picture.byName.get(was.name);
      if (!now) continue;
      const { scale } = this.view;
      this.view.x += (was.x + was.width / 2 - now.x - now.width / 2) * scale;
      this.view.y += (was.y - now.y) * scale;
      this.moved = true;
      this.place();
      return true;
    }
    return false;
  }

  /** What is in both pictures glides to its new place; the rest fades in. */
  settle(last, from) {
    if (isCalm()) return;
    const { x, y, scale } = this.view;
    const moves = [];
    for (const box of this.picture.order) {
      const old = last.boxes.get(box.id);
      const top = box.y * scale + y;
      if (top > 2 * this.pane.clientHeight || top + box.height * scale < -this.pane.clientHeight) continue;
      const dx = old && old.x - box.x + (from.x - x) / scale;
      const dy = old && old.y - box.y + (from.y - y) / scale;
      if (!old || old.name !== box.name) moves.push([box.element, { opacity: 0 }, { opacity: 1 }]);
      else if (Math.abs(dx) + Math.abs(dy) > 1) {
        moves.push([box.element, { transform: `translate(${dx}px, ${dy}px)` }, { transform: "none" }]);
      }
    }
    if (moves.length > MOST_MOVES) return;
    const timing = { duration: MOVE, easing: "ease-out" };
    for (const [element, from, to] of moves) element.animate([from, to], timing);
    for (const edge of this.sheet.querySelectorAll(".edge")) edge.animate([{ opacity: 0 }, { opacity: 0 }, { opacity: 1 }], timing);
  }

  /** What assistive technology reads of each box. */
  label() {
    this.picture.svg.setAttribute("role", "group");
    this.picture.svg.setAttribute("aria-label", "Diagram of the model");
    for (const box of this.picture.order) {
      const { element, kind, text } = box;
      const name = box.name || "output";
      element.setAttribute("role", "button");
      element.setAttribute("tabindex", "-1");
      element.setAttribute("aria-label", `${name}, ${KINDS[kind] ?? kind}, ${text.replaceAll("\n", ", ")}`);
      if (box.canTick) element.setAttribute("aria-pressed", "false");
      if (this.canFold(box)) element.setAttribute("aria-expanded", String(this.picture.isCluster(box)));
      for (const part of element.querySelectorAll("text")) part.setAttribute("aria-hidden", "true");
    }
  }

  mark() {
    if (!this.picture) return;
    const sets = {
      "fxx-ticked": new Set(this.model.get("selected")),
      "fxx-hit": new Set(this.model.get("hits")),
      "fxx-only": new Set(this.model.get("only")),
      "fxx-at": new Set([this.model.get("focused")].filter(Boolean)),
    };
    for (const old of this.sheet.querySelectorAll(".fxx-badge")) old.remove();
    for (const box of this.picture.order) {
      for (const [cls, names] of Object.entries(sets)) box.element.classList.toggle(cls, names.has(box.name));
      const isTicked = sets["fxx-ticked"].has(box.name);
      if (box.canTick) box.element.setAttribute("aria-pressed", String(isTicked));
      if (isTicked) this.badge(box);
    }
    const current = this.current();
    for (const box of this.picture.order) box.element.setAttribute("tabindex", box === current ? "0" : "-1");
    this.light();
  }

  /** A check mark on the corner: ticks are told apart without colour. */
  badge(box) {
    const { x, y } = this.picture.offset;
    const mark = draw("g", { class: "fxx-badge", transform: `translate(${box.x - x} ${box.y - y})` });
    mark.append(draw("circle", { r: 6.5 }), draw("path", { d: "M-3 0L-1 2.4L3.2 -2.6" }));
    box.element.append(mark);
  }

  /** The box that the keyboard is at. */
  current() {
    const { byName, boxes, order } = this.picture;
    return byName.get(this.model.get("focused")) ?? boxes.get(this.at) ?? order[0];
  }

  showLegend() {
    const kinds = new Set([...this.picture.boxes.values()].filter((box) => !this.picture.isCluster(box)).map((box) => box.kind));
    const list = make("ul");
    for (const [kind, words] of Object.entries(KINDS)) {
      if (!kinds.has(kind)) continue;
      const entry = make("li");
      entry.append(make("span", `fxx-swatch fx-${kind}`), words);
      list.append(entry);
    }
    if (this.model.get("only").length) {
      const entry = make("li");
      entry.append(make("span", "fxx-swatch fxx-only"), `in ${this.model.get("mode")} mode only`);
      list.append(entry);
    }
    const isOpen = this.legend.open;
    this.legend.replaceChildren(make("summary", "", "Legend"), list);
    this.legend.open = isOpen;
  }

  say() {
    this.message.textContent = this.model.get("message");
  }

  showBusy() {
    this.root.classList.toggle("fxx-busy", this.model.get("busy"));
  }

  // Pan and zoom

  place() {
    const { x, y, scale } = this.view;
    this.sheet.style.transform = `translate(${x}px, ${y}px) scale(${scale})`;
  }

  /** @param {boolean} isWhole all of it, however small; else readable, from the top */
  fit(isWhole) {
    const { clientWidth, clientHeight } = this.pane;
    if (!this.picture || !clientWidth) return;
    const { width, height } = this.picture;
    const whole = Math.min(clientWidth / width, clientHeight / height);
    // Readable first: a long model shows its beginning rather than shrinking to a thread.
    const readable = Math.max(whole, Math.min(0.85, clientWidth / width));
    const scale = Math.max(SMALLEST, Math.min(1.2, isWhole ? whole : readable));
    this.view = { x: (clientWidth - width * scale) / 2, y: Math.max(8, (clientHeight - height * scale) / 2), scale };
    if (height * scale > clientHeight) this.view.y = 8;
    this.moved = isWhole;
    this.place();
  }

  zoom(factor, x = this.pane.clientWidth / 2, y = this.pane.clientHeight / 2) {
    const scale = Math.min(LARGEST, Math.max(SMALLEST, this.view.scale * factor));
    const ratio = scale / this.view.scale;
    this.moveTo(x - (x - this.view.x) * ratio, y - (y - this.view.y) * ratio, scale);
  }

  moveTo(x, y, scale = this.view.scale) {
    this.view = { x, y, scale };
    this.moved = true;
    this.place();
  }

  centre(box) {
    const { clientWidth, clientHeight } = this.pane;
    const scale = Math.max(this.view.scale, Math.min(0.7, clientWidth / box.width));
    this.moveTo(clientWidth / 2 - (box.x + box.width / 2) * scale, clientHeight / 2 - (box.y + box.height / 2) * scale, scale);
  }

  /** On the focused box, or the ticked ones, or what stands for them while it is folded. */
  centreOnSelection() {
    const names = [this.model.get("focused"), ...this.model.get("selected")].filter(Boolean);
    const box = names.map((name) => this.standIn(name)).find(Boolean);
    if (box) this.centre(box);
    else this.tell("Nothing is chosen: click a box first");
  }

  standIn(name) {
    for (let path = name; path; path = path.slice(0, Math.max(0, path.lastIndexOf(".")))) {
      const box = this.picture?.byName.get(path);
      if (box) return box;
    }
    return undefined;
  }

  /** Moves as little as needed for a box to be in sight. */
  reveal(box) {
    const { clientWidth, clientHeight } = this.pane;
    const { x, y, scale } = this.view;
    const shift = (from, size, room) => Math.max(Math.min(0, room - 12 - from - size), 12 - from);
    const need = (from, size, room) => (from < 12 || from + size > room - 12 ? shift(from, Math.min(size, room - 24), room) : 0);
    const dx = need(box.x * scale + x, box.width * scale, clientWidth);
    const dy = need(box.y * scale + y, box.height * scale, clientHeight);
    if (dx || dy) this.moveTo(x + dx, y + dy);
  }

  /** Like a map in a page: the wheel scrolls the page, until the diagram is clicked. */
  onWheel(event) {
    if (!event.ctrlKey && !event.metaKey && !this.pane.matches(":focus-within")) {
      return this.tell("Click the diagram, or hold Ctrl, to zoom with the wheel");
    }
    event.preventDefault();
    const frame = this.pane.getBoundingClientRect();
    const pixels = event.deltaY * (event.deltaMode === 1 ? 16 : 1);
    const speed = event.ctrlKey && Math.abs(pixels) < 50 ? 100 : 400; // a pinch comes in small steps
    this.zoom(Math.exp(-Math.max(-300, Math.min(300, pixels)) / speed), event.clientX - frame.left, event.clientY - frame.top);
  }

  /** One pointer drags, two pinch. */
  onPress(event) {
    if (event.button !== 0) return;
    this.dragged = this.pointers.size > 0;
    this.pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    if (this.pointers.size > 1) return;
    const pressed = { x: event.clientX, y: event.clientY };
    const move = (/** @type {PointerEvent} */ now) => this.onMove(now, pressed);
    const stop = (/** @type {PointerEvent} */ now) => {
      this.pointers.delete(now.pointerId);
      if (this.pointers.size) return;
      for (const [name, handler] of Object.entries({ pointermove: move, pointerup: stop, pointercancel: stop })) {
        window.removeEventListener(name, /** @type {any} */ (handler));
      }
      this.root.classList.remove("fxx-dragging");
    };
    window.addEventListener("pointermove", move);
    window.addEventListener("pointerup", stop);
    window.addEventListener("pointercancel", stop);
  }

  onMove(event, pressed) {
    const was = this.pointers.get(event.pointerId);
    if (!was) return;
    this.dragged ||= Math.hypot(event.clientX - pressed.x, event.clientY - pressed.y) > DRAG;
    if (!this.dragged) return;
    const now = { x: event.clientX, y: event.clientY };
    this.root.classList.add("fxx-dragging");
    this.point(undefined);
    const other = [...this.pointers].find(([id]) => id !== event.pointerId)?.[1];
    this.pointers.set(event.pointerId, now);
    if (!other) return this.moveTo(this.view.x + now.x - was.x, this.view.y + now.y - was.y);
    const frame = this.pane.getBoundingClientRect();
    const apart = (point) => Math.hypot(point.x - other.x, point.y - other.y);
    this.zoom(apart(now) / Math.max(1, apart(was)), (now.x + other.x) / 2 - frame.left, (now.y + other.y) / 2 - frame.top);
  }

  /** @param {string} text for a moment, over the picture */
  tell(text) {
    this.hint.textContent = text;
    this.hint.hidden = false;
    clearTimeout(this.hintTimer);
    this.hintTimer = setTimeout(() => (this.hint.hidden = true), 1600);
  }

  // Boxes

  boxAt(event) {
    return this.picture?.boxes.get(event.target.closest?.("[data-id]")?.dataset.id);
  }

  canFold(box) {
    return box.kind === "folded";
  }

  /** What was asked for counts, also where no picture came of it. */
  isUnfolded(box) {
    return this.model.get("expanded").includes(box.name);
  }

  isOffline() {
    return Boolean(this.root.closest(".jupyter-widgets-disconnected"));
  }

  onClick(event) {
    const box = this.boxAt(event);
    if (this.dragged) return;
    if (box) this.focusOn(box);
    else this.pane.focus({ preventScroll: true });
  }

  onDoubleClick(event) {
    const box = this.boxAt(event);
    if (box) this.toggleFold(box);
  }

  focusOn(box) {
    if (!box) return;
    box.element.focus({ preventScroll: true });
    this.choose(box); // there is no event if it had the focus already
  }

  onFocus(event) {
    const box = this.boxAt(event);
    if (!box) return;
    this.choose(box);
    if (!box.element.matches(":focus-visible")) return;
    this.reveal(box);
    this.point(box);
  }

  choose(box) {
    const isOther = box.name !== this.model.get("focused");
    this.at = box.id;
    if (isOther) this.set({ focused: box.name });
  }

  toggleFold(box) {
    if (!this.canFold(box)) return;
    if (this.isOffline()) return this.tell("Not connected to a kernel: run the cell again to fold and unfold");
    const expanded = this.model.get("expanded");
    this.toggled = box.name;
    this.set({ expanded: this.isUnfolded(box) ? expanded.filter((other) => other !== box.name) : [...expanded, box.name] });
  }

  toggleTick(box) {
    if (!box.canTick) return this.tell(`${box.name || "output"} cannot be ticked: it has no output of its own`);
    const selected = this.model.get("selected");
    const isTicked = selected.includes(box.name);
    this.set({ selected: isTicked ? selected.filter((other) => other !== box.name) : [...selected, box.name] });
  }

  // Hover: facts, and what leads here and from here

  onOver(event) {
    if (event.pointerType === "touch" || this.pointers.size) return;
    this.point(this.boxAt(event));
  }

  point(box) {
    if (box === this.pointed) return;
    this.pointed = box;
    this.light();
    clearTimeout(this.cardTimer);
    this.card.hidden = true;
    if (box) this.cardTimer = setTimeout(() => this.showCard(box), 300);
  }

  light() {
    if (!this.picture) return;
    for (const lit of this.sheet.querySelectorAll(".fxx-lit")) lit.classList.remove("fxx-lit");
    this.overlay.replaceChildren();
    const focused = this.picture.byName.get(this.model.get("focused"));
    for (const box of new Set([this.pointed, focused])) {
      if (!box) continue;
      const { before, after } = this.picture;
      for (const edge of [...(before.get(box.id) ?? []), ...(after.get(box.id) ?? [])]) this.lightEdge(edge, box);
    }
  }

  lightEdge(edge, box) {
    const [tail, head] = [edge.tail, edge.head].map((id) => this.picture.boxes.get(id));
    if (!tail || !head) return;
    (tail === box ? head : tail).element.classList.add("fxx-lit");
    if (edge.element) return edge.element.classList.add("fxx-lit");
    const { x, y } = this.picture.offset;
    const [x1, y1] = [tail.x - x + tail.width, tail.y - y + tail.height / 2];
    const [x2, y2] = [head.x - x + head.width, head.y - y + head.height / 2];
    const out = 24 + Math.min(160, Math.abs(y2 - y1) / 6) + Math.max(x1, x2);
    this.overlay.append(draw("path", { class: "fxx-extra", d: `M${x1} ${y1}C${out} ${y1} ${out} ${y2} ${x2} ${y2}` }));
    return undefined;
  }

  showCard(box) {
    const lines = [KINDS[box.kind] ?? box.kind, ...box.text.split("\n")];
    if (this.picture.isCluster(box)) lines.shift();
    if (this.model.get("only").includes(box.name)) lines.push(`in ${this.model.get("mode")} mode only`);
    this.card.replaceChildren(make("b", "", box.name || "output"), ...lines.map((line) => make("div", "", line)));
    this.card.hidden = false;
    const { x, y, scale } = this.view;
    const { clientWidth, clientHeight } = this.pane;
    const ends = [box.x * scale + x - 10, (box.x + box.width) * scale + x + 10];
    const isRight = clientWidth - ends[1] >= ends[0];
    const room = isRight ? clientWidth - ends[1] : ends[0];
    this.card.style.maxWidth = `${Math.max(180, Math.min(360, room - 4))}px`;
    const { offsetWidth, offsetHeight } = this.card;
    const left = isRight ? ends[1] : ends[0] - offsetWidth;
    const top = box.y * scale + y;
    this.card.style.left = `${Math.max(4, Math.min(left, clientWidth - offsetWidth - 4))}px`;
    this.card.style.top = `${Math.max(4, Math.min(top, clientHeight - offsetHeight - 4))}px`;
  }

  // Menus and saves

  onContextMenu(event) {
    const box = this.boxAt(event);
    if (!box) return;
    event.preventDefault();
    event.stopPropagation();
    this.focusOn(box);
    this.openMenu(box, event.clientX, event.clientY);
  }

  openMenu(box, clientX, clientY) {
    const frame = this.root.getBoundingClientRect();
    const isTicked = this.model.get("selected").includes(box.name);
    /** @type {[string, () => void][]} */
    const entries = [];
    if (this.canFold(box)) entries.push([this.isUnfolded(box) ? "Fold" : "Unfold", () => this.toggleFold(box)]);
    if (box.canTick) entries.push([isTicked ? "Untick" : "Tick", () => this.toggleTick(box)]);
    entries.push(["Centre", () => this.centre(box)]);
    if (box.name) entries.push(["Copy name", () => this.copy(box.name)]);
    this.point(undefined);
    this.menu.open(box.name || "output", entries, clientX - frame.left, clientY - frame.top, () => this.focusOn(box));
  }

  copy(text) {
    navigator.clipboard.writeText(text).then(
      () => this.tell(`Copied ${text}`),
      () => this.tell("This page may not use the clipboard"),
    );
  }

  openSaves(from) {
    const frame = this.root.getBoundingClientRect();
    const { left, bottom } = from.getBoundingClientRect();
    const entries = /** @type {[string, () => void][]} */ ([
      ["SVG", () => this.saveSvg()],
      ["PNG", () => this.savePng()],
      ["DOT", () => this.saveDot()],
    ]);
    this.menu.open("Save as", entries, left - frame.left, bottom - frame.top + 2, () => from.focus());
  }

  /** The picture with its colours in it, as it looks in this theme. */
  standalone() {
    const { svg, width, height } = this.picture;
    const copy = /** @type {SVGSVGElement} */ (svg.cloneNode(true));
    const sources = [svg, ...svg.querySelectorAll("*")];
    [copy, ...copy.querySelectorAll("*")].forEach((part, i) => {
      const style = getComputedStyle(sources[i]);
      for (const name of INLINED) part.setAttribute(name, plainColour(style.getPropertyValue(name)));
      for (const name of [...part.getAttributeNames()].filter((n) => /^(aria-|data-|role|tabindex)/.test(n))) part.removeAttribute(name);
    });
    copy.setAttribute("xmlns", SVG);
    const paper = plainColour(getComputedStyle(this.root).backgroundColor);
    copy.prepend(draw("rect", { width, height, fill: paper }));
    return new XMLSerializer().serializeToString(copy);
  }

  saveSvg() {
    if (this.picture) download(new Blob([this.standalone()], { type: "image/svg+xml" }), "diagram.svg");
  }

  savePng() {
    if (!this.picture) return;
    const { width, height } = this.picture;
    const scale = Math.min(2, 16_000 / Math.max(width, height)); // browsers draw no larger
    const image = new Image();
    image.onload = () => {
      const canvas = make("canvas");
      Object.assign(canvas, { width: Math.ceil(width * scale), height: Math.ceil(height * scale) });
      canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
      canvas.toBlob((blob) => (blob ? download(blob, "diagram.png") : this.tell("The picture is too large for a PNG; save it as SVG")));
    };
    image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(this.standalone())}`;
  }

  saveDot() {
    if (this.isOffline()) return this.tell("Not connected to a kernel, which writes the DOT");
    this.model.send("dot");
  }

  onMessage(content) {
    if (content?.dot !== undefined) download(new Blob([content.dot], { type: "text/vnd.graphviz" }), "diagram.dot");
  }

  // Keys

  /** JupyterLab would take plain keys for its own; those with Ctrl, such as save, are its. */
  keepKey(event) {
    if (!event.ctrlKey && !event.metaKey) event.stopPropagation();
    else if (event.key === "Enter") event.stopPropagation();
  }

  onKey(event) {
    this.keepKey(event);
    if (event.ctrlKey || event.metaKey || event.altKey || !this.picture) return;
    const box = this.boxAt(event) ?? this.current();
    const actions = {
      "+": () => this.zoom(1.25),
      "=": () => this.zoom(1.25),
      "-": () => this.zoom(0.8),
      "0": () => this.fit(true),
      c: () => this.centre(box),
      m: () => this.openMenuAt(box),
      ContextMenu: () => this.openMenuAt(box),
      Enter: () => this.toggleFold(box),
      " ": () => this.toggleTick(box),
      Escape: () => this.point(undefined),
      ArrowDown: () => this.go(this.nearest(box, this.picture.after, "head") ?? this.step(box, 1)),
      ArrowUp: () => this.go(this.nearest(box, this.picture.before, "tail") ?? this.step(box, -1)),
      ArrowRight: () => this.go(this.step(box, 1)),
      ArrowLeft: () => this.go(this.step(box, -1)),
      Home: () => this.go(this.picture.order[0]),
      End: () => this.go(this.picture.order.at(-1)),
    };
    const isMenu = event.shiftKey && event.key === "F10";
    const action = isMenu ? actions.m : Object.hasOwn(actions, event.key) ? actions[event.key] : undefined;
    if (!action) return;
    event.preventDefault();
    action();
  }

  openMenuAt(box) {
    const { left, bottom } = box.element.querySelector("path, polygon").getBoundingClientRect();
    this.openMenu(box, left, bottom);
  }

  /** The closest of the boxes at the other end of a box's edges; drawn ones first. */
  nearest(box, edges, end) {
    const others = (edges.get(box.id) ?? []).map((edge) => ({ box: this.picture.boxes.get(edge[end]), rank: edge.element ? 0 : 1 }));
    const far = (other) => Math.abs(other.y - box.y) + Math.abs(other.x + other.width / 2 - box.x - box.width / 2);
    return others.filter((o) => o.box).sort((a, b) => a.rank - b.rank || far(a.box) - far(b.box))[0]?.box;
  }

  /** The next box in order of execution, or the one before. */
  step(box, by) {
    return this.picture.order[this.picture.order.indexOf(box) + by] ?? box;
  }

  go(box) {
    if (!box) return;
    this.focusOn(box);
    this.reveal(box);
  }

  onFocused() {
    this.mark();
    const box = this.picture?.byName.get(this.model.get("focused"));
    if (box && !this.pane.matches(":focus-within")) this.reveal(box);
  }

  destroy() {
    clearTimeout(this.cardTimer);
    clearTimeout(this.hintTimer);
    this.menu.close(false);
    this.resize.disconnect();
  }
}

/** Mixed colours are computed as `color(srgb …)`, which only browsers read. */
function plainColour(value) {
  return value.replace(/color\(srgb ([\d.e-]+) ([\d.e-]+) ([\d.e-]+)(?: \/ ([\d.]+))?\)/g, (_, ...parts) => {
    const [r, g, b] = parts.slice(0, 3).map((part) => Math.round(255 * Number(part)));
    return parts[3] === undefined ? `rgb(${r},${g},${b})` : `rgba(${r},${g},${b},${parts[3]})`;
  });
}

function render({ model, el }) {
  const diagram = new Diagram(model, el);
  const handlers = {
    "change:svg": () => diagram.draw(),
    "change:selected": () => diagram.mark(),
    "change:hits": () => diagram.mark(),
    "change:only": () => diagram.mark(),
    "change:focused": () => diagram.onFocused(),
    "change:message": () => diagram.say(),
    "change:busy": () => diagram.showBusy(),
    "msg:custom": (content) => diagram.onMessage(content),
  };
  for (const [event, handler] of Object.entries(handlers)) model.on(event, handler);
  return () => {
    for (const [event, handler] of Object.entries(handlers)) model.off(event, handler);
    diagram.destroy();
  };
}

export default { render };
