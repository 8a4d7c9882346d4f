// The diagram: Graphviz's SVG, to pan, zoom, fold and tick. It arrives laid out; boxes and
// clusters carry the id of their row, and the trait `boxes` maps these ids to qualified names.

const MOVE = 260; // milliseconds of the animation after folding or unfolding
const MOST_MOVES = 300; // more boxes than this at once, and the page stutters
const PATIENCE = 2500; // milliseconds without an answer after which the kernel counts as busy or gone
/** @type {Record<string, string>} */
const KINDS = {
  convolution: "convolution", normalisation: "normalisation", activation: "activation",
  attention: "attention", pooling: "pooling", linear: "linear", arithmetic: "arithmetic",
  operation: "other operation", parameter: "parameter", input: "input", output: "output", folded: "folded module",
};

/** @typedef {ReturnType<typeof setTimeout> | undefined} Timer */

class Diagram {
  root = make("div", "fxx-diagram");
  pane = make("div", "fxx-pane");
  sheet = make("div", "fxx-sheet");
  card = make("div", "fxx-card");
  hint = make("div", "fxx-hint");
  message = make("div", "fxx-message");
  legend = make("details", "fxx-legend");
  turn = makeButton("→", "Draw from left to right", () => this.toggleDirection());
  menu = new Menu(this.root);
  view = new View(this.pane, this.sheet, {
    tell: (text) => this.tell(text),
    dragging: (isOn) => this.showDragging(isOn),
  });
  arrival = new ResizeObserver(() => this.onArrival());
  /** @type {Picture | undefined} */
  picture = undefined;
  /** @type {Box | undefined} that the pointer is at */
  pointed = undefined;
  at = ""; // the id of the box that had the keyboard focus last
  toggled = ""; // the name of the box that was folded or unfolded here
  /** @type {string[]} the fold state that the picture shows */
  drawnFold = [];
  /** @type {{hint: Timer, card: Timer, answer: Timer}} */
  timers = { hint: undefined, card: undefined, answer: undefined };

  /** @param {Model} model @param {HTMLElement} el */
  constructor(model, el) {
    this.model = model;
    this.build();
    this.listen();
    el.classList.add("fxx-diagram-host");
    el.append(this.root);
    this.draw();
    this.say();
    this.showBusy();
  }

  build() {
    this.pane.tabIndex = -1;
    this.pane.append(this.sheet);
    this.card.hidden = true;
    this.hint.hidden = true;
    this.message.setAttribute("role", "status");
    this.legend.open = true;
    const stage = make("div", "fxx-stage");
    stage.append(this.pane, this.buildTools(), make("div", "fxx-waiting", "laying out …"), this.hint, this.card);
    const offline = make("div", "fxx-offline", "No kernel answers: it is busy, or not connected. This is the last picture, and it does not fold.");
    this.root.append(stage, offline, this.message, this.legend);
  }

  buildTools() {
    const tools = make("div", "fxx-tools");
    tools.setAttribute("role", "toolbar");
    tools.setAttribute("aria-label", "Diagram");
    const save = makeButton("Save", "Save the picture", () => this.openSaves(save));
    save.setAttribute("aria-haspopup", "menu");
    tools.append(
      makeButton("+", "Zoom in", () => this.view.zoom(1.25)),
      makeButton("−", "Zoom out", () => this.view.zoom(0.8)),
      makeButton("Fit", "Fit the whole diagram into view", () => this.view.fit(true)),
      makeButton("Centre", "Centre on the selection", () => this.centreOnSelection()),
      this.turn,
      save,
    );
    tools.addEventListener("keydown", keepKey);
    return tools;
  }

  listen() {
    const { pane } = this;
    pane.addEventListener("pointerover", (event) => this.onOver(event));
    pane.addEventListener("pointerleave", () => this.point(undefined));
    pane.addEventListener("click", (event) => this.onClick(event));
    pane.addEventListener("dblclick", (event) => this.onDoubleClick(event));
    pane.addEventListener("contextmenu", (event) => this.onContextMenu(event));
    pane.addEventListener("keydown", (event) => this.onKey(event));
    pane.addEventListener("focusin", (event) => this.onFocus(event));
    pane.addEventListener("focusout", () => this.point(undefined));
    this.arrival.observe(pane);
  }

  /** A picture that was drawn before the pane was in the page is measured when it is. */
  onArrival() {
    if (!this.picture || this.picture.isMeasured || !this.pane.clientWidth) return;
    this.picture.measure();
    this.mark();
    this.fitFirst(this.picture);
  }

  /** A readable size from the top; further down if the focus is there. @param {Picture} picture */
  fitFirst(picture) {
    const first = picture.order.at(0);
    if (first) this.view.start = { x: first.x + first.width / 2, y: first.y + first.height / 2 };
    this.view.fit(false);
    const focused = picture.byName.get(this.model.get("focused"));
    if (focused) this.view.reveal(focused);
  }

  /** @param {string} trait @param {any} value */
  set(trait, value) {
    this.model.set(trait, value);
    this.model.save_changes();
  }

  // The picture

  draw() {
    this.onAnswer();
    if (!this.model.get("svg")) return this.sheet.replaceChildren();
    const last = this.picture;
    const anchors = last ? this.anchors(last) : [];
    const hadFocus = this.sheet.contains(document.activeElement);
    this.point(undefined);
    const picture = new Picture(this.model);
    this.picture = picture;
    this.drawnFold = this.model.get("expanded");
    this.sheet.replaceChildren(picture.svg);
    picture.measure();
    this.label(picture);
    this.mark();
    this.showLegend(picture);
    this.view.size = picture;
    const wasTurned = this.showDirection();
    const { x, y } = this.view;
    if (wasTurned) this.fitFirst(picture);
    else if (last?.isMeasured && this.keepPlace(picture, anchors)) this.settle(last, picture, x, y);
    else if (!this.view.hasMoved) this.fitFirst(picture);
    const focused = picture.byName.get(this.model.get("focused"));
    if (focused && last && !last.byName.has(focused.name)) this.view.reveal(focused);
    const isInSight = picture.order.some((box) => !box.isCluster && this.view.isInSight(box));
    if (picture.isMeasured && !isInSight) this.fitFirst(picture);
    const current = this.current();
    if (hadFocus && current) this.focusOn(current);
  }

  /** Whether the picture leads elsewhere than the last one. */
  showDirection() {
    const isAcross = this.model.get("direction") === "right";
    const wasTurned = isAcross !== this.view.isAcross;
    this.view.isAcross = isAcross;
    this.turn.textContent = isAcross ? "↓" : "→";
    label(this.turn, isAcross ? "Draw from the top down" : "Draw from left to right");
    return wasTurned;
  }

  toggleDirection() {
    if (this.isOffline()) return this.tell("Not connected to a kernel, which draws the picture");
    this.expectAnswer();
    this.set("direction", this.view.isAcross ? "down" : "right");
  }

  /** The boxes of the last picture that may stay where they are on the screen, best first. @param {Picture} last */
  anchors(last) {
    /** @type {string[]} */
    const shown = this.model.get("expanded");
    const was = this.drawnFold;
    const changed = [...shown.filter((path) => !was.includes(path)), ...was.filter((path) => !shown.includes(path))];
    const names = [this.toggled, ...(changed.length === 1 ? changed : []), this.model.get("focused")];
    this.toggled = "";
    const known = names.map((name) => last.byName.get(name));
    const inMiddle = last.order.find((box) => !box.isCluster && this.view.isInSight(box));
    return [...known, inMiddle].flatMap((box) => (box && this.view.isInSight(box) ? [box] : []));
  }

  /** @param {Picture} picture @param {Box[]} anchors */
  keepPlace(picture, anchors) {
    const was = anchors.find((box) => picture.byName.has(box.name));
    const now = was && picture.byName.get(was.name);
    if (!was || !now) return false;
    const { x, y, scale } = this.view;
    const dx = was.x + was.width / 2 - now.x - now.width / 2;
    this.view.moveTo(x + dx * scale, y + (was.y - now.y) * scale);
    return true;
  }

  /**
   * What is in both pictures glides to its new place; the rest fades in.
   * @param {Picture} last @param {Picture} picture
   * @param {number} x @param {number} y where the view was
   */
  settle(last, picture, x, y) {
    if (matchMedia("(prefers-reduced-motion: reduce)").matches) return;
    const { view } = this;
    const [shiftX, shiftY] = [(x - view.x) / view.scale, (y - view.y) / view.scale];
    /** @type {[Element, Keyframe][]} */
    const moves = [];
    for (const box of picture.order) {
      if (!view.isInSight(box, this.pane.clientHeight)) continue;
      const old = last.boxes.get(box.id);
      const [dx, dy] = old ? [old.x - box.x + shiftX, old.y - box.y + shiftY] : [0, 0];
      if (!old) moves.push([box.element, { opacity: 0 }]);
      else if (Math.abs(dx) + Math.abs(dy) > 1) moves.push([box.element, { transform: `translate(${dx}px, ${dy}px)` }]);
    }
    if (moves.length > MOST_MOVES) return;
    const timing = { duration: MOVE, easing: "ease-out" };
    for (const [element, from] of moves) element.animate([from, {}], timing);
    for (const edge of this.sheet.querySelectorAll(".edge")) edge.animate([{ opacity: 0 }, { opacity: 0 }, {}], timing);
  }

  /** What assistive technology reads of each box. @param {Picture} picture */
  label(picture) {
    picture.svg.setAttribute("role", "group");
    picture.svg.setAttribute("aria-label", "Diagram of the model");
    for (const { element, name, kind, text, canTick, isCluster } of picture.order) {
      element.setAttribute("role", "button");
      element.setAttribute("aria-label", [name || "output", KINDS[kind] ?? kind, ...text.split("\n")].join(", "));
      if (canTick) element.setAttribute("aria-pressed", "false");
      if (kind === "folded") element.setAttribute("aria-expanded", String(isCluster));
      for (const part of element.querySelectorAll("text")) part.setAttribute("aria-hidden", "true");
    }
  }

  mark() {
    if (!this.picture) return;
    const focused = this.model.get("focused");
    /** @type {[string, Set<string>][]} */
    const marks = [
      ["fxx-ticked", new Set(this.model.get("selected"))],
      ["fxx-hit", new Set(this.model.get("hits"))],
      ["fxx-only", new Set(this.model.get("only"))],
      ["fxx-at", new Set(focused ? [focused] : [])],
    ];
    const values = this.model.get("values");
    for (const old of this.sheet.querySelectorAll(".fxx-badge")) old.remove();
    const inside = this.tickedInside(this.picture);
    const current = this.current();
    for (const box of this.picture.order) {
      for (const [cls, names] of marks) box.element.classList.toggle(cls, names.has(box.name));
      const isTicked = marks[0][1].has(box.name);
      if (box.canTick) box.element.setAttribute("aria-pressed", String(isTicked));
      const count = inside.get(box) ?? 0;
      if (isTicked || count) this.picture.badge(box, isTicked ? "" : String(count));
      if (count) box.element.setAttribute("aria-description", `${count} ticked inside`);
      else box.element.removeAttribute("aria-description");
      const [sign] = values[box.name] ?? [""];
      box.element.classList.toggle("fxx-odd", sign.startsWith("✗"));
      if (sign) this.picture.sign(box, sign);
      box.element.setAttribute("tabindex", box === current ? "0" : "-1");
    }
    this.light();
  }

  /** How many are ticked inside each folded box. @param {Picture} picture */
  tickedInside(picture) {
    /** @type {Map<Box, number>} */
    const found = new Map();
    for (const name of this.model.get("selected")) {
      const box = picture.byName.has(name) ? undefined : picture.standIn(name);
      if (box && !box.isCluster) found.set(box, (found.get(box) ?? 0) + 1);
    }
    return found;
  }

  /** The box that has, or would get, the keyboard focus. */
  current() {
    const { picture } = this;
    return picture?.byName.get(this.model.get("focused")) ?? picture?.boxes.get(this.at) ?? picture?.order[0];
  }

  /** @param {Picture} picture */
  showLegend(picture) {
    // The sign of a kind is the first text in its boxes.
    const signs = new Map(
      picture.order.filter((box) => !box.isCluster).map((box) => [box.kind, box.element.querySelector("text")?.textContent ?? ""]),
    );
    const entries = Object.keys(KINDS).filter((kind) => signs.has(kind)).map((kind) => [`fx-${kind}`, signs.get(kind), KINDS[kind]]);
    const names = new Set(this.model.get("only"));
    if (picture.order.some((box) => names.has(box.name))) entries.push(["fxx-only", "", `in ${this.model.get("mode")} mode only`]);
    if (picture.svg.querySelector(".fx-failed")) entries.push(["fx-failed", "✗", "the model raised here"]);
    if (picture.svg.querySelector(".fx-unreached")) entries.push(["fx-unreached", "", "not reached"]);
    if (picture.svg.querySelector(".fx-back")) entries.push(["fx-back", "↩", "comes back, in the next round"]);
    const list = make("ul");
    for (const [cls, sign, words] of entries) {
      const entry = make("li");
      const swatch = make("span", `fxx-swatch ${cls}`, sign);
      swatch.setAttribute("aria-hidden", "true");
      entry.append(swatch, words ?? "");
      list.append(entry);
    }
    this.legend.replaceChildren(make("summary", "", "Legend"), list);
  }

  say() {
    this.message.textContent = this.model.get("message");
  }

  showBusy() {
    this.onAnswer();
    this.root.classList.toggle("fxx-busy", this.model.get("busy"));
  }

  /** @param {boolean} isOn */
  showDragging(isOn) {
    this.root.classList.toggle("fxx-dragging", isOn);
    if (isOn) this.point(undefined);
  }

  /** @param {string} text for a moment, over the picture */
  tell(text) {
    this.hint.textContent = text;
    this.hint.hidden = false;
    clearTimeout(this.timers.hint);
    this.timers.hint = setTimeout(() => (this.hint.hidden = true), 1600);
  }

  /** Centre on the focused box, or a ticked one, or the folded module that contains it. */
  centreOnSelection() {
    const names = [this.model.get("focused"), ...this.model.get("selected")];
    const box = names.map((name) => this.picture?.standIn(name)).find(Boolean);
    if (box) this.view.centre(box);
    else this.tell("Nothing is chosen: click a box first");
  }

  // Boxes

  /** @param {Event} event */
  boxAt(event) {
    const element = /** @type {Element | null} */ (event.target)?.closest("[data-id]");
    return this.picture?.boxes.get(element?.getAttribute("data-id") ?? "");
  }

  /** @param {MouseEvent} event */
  onClick(event) {
    if (this.view.wasDragged) return;
    const box = this.boxAt(event);
    if (box) this.focusOn(box);
    else this.pane.focus({ preventScroll: true });
  }

  /** @param {MouseEvent} event */
  onDoubleClick(event) {
    const box = this.boxAt(event);
    if (box) this.toggleFold(box);
  }

  /** @param {Box} box */
  focusOn(box) {
    box.element.focus({ preventScroll: true });
    this.choose(box); // there is no event if it had the focus already
  }

  /** @param {FocusEvent} event */
  onFocus(event) {
    const box = this.boxAt(event);
    if (!box) return;
    this.choose(box);
    if (!box.element.matches(":focus-visible")) return;
    this.view.reveal(box);
    this.point(box);
  }

  /** @param {Box} box */
  choose(box) {
    this.at = box.id;
    if (box.name !== this.model.get("focused")) this.set("focused", box.name);
  }

  onFocused() {
    this.mark();
    const box = this.picture?.standIn(this.model.get("focused"));
    if (box && !this.pane.matches(":focus-within")) this.view.reveal(box);
  }

  /** @param {Box} box */
  toggleFold(box) {
    if (box.kind !== "folded") return this.groupOf(box)?.[2] === 0 ? this.toggleGroup(box) : undefined;
    if (this.isOffline()) return this.tell("Not connected to a kernel: run the cell again to fold and unfold");
    this.toggled = box.name;
    this.expectAnswer();
    this.toggle("expanded", box.name);
  }

  /** The siblings of one structure, or rounds of a loop, that a box is of. @param {Box} box @returns {[string, number, number] | undefined} */
  groupOf(box) {
    return this.model.get("groups")[box.id];
  }

  /** Draw siblings one by one, or once. @param {Box} box */
  toggleGroup(box) {
    const [name] = this.groupOf(box) ?? [""];
    if (this.isOffline()) return this.tell("Not connected to a kernel: run the cell again to fold and unfold");
    this.toggled = name;
    this.expectAnswer();
    // Drawn as one, the first stands for all: what is unfolded in others would draw them apart.
    const groups = this.model.get("groups");
    const others = Object.keys(groups).filter((id) => groups[id][0] === name).map((id) => this.model.get("boxes")[id]);
    const isOther = (/** @type {string} */ path) => others.some((other) => other !== name && `${path}.`.startsWith(`${other}.`));
    this.model.set("expanded", this.model.get("expanded").filter((/** @type {string} */ path) => !isOther(path)));
    this.toggle("open_groups", name);
  }

  /** @param {Box} box */
  toggleTick(box) {
    if (this.isOffline()) this.tell("Not connected to a kernel: run the cell again to tick");
    else if (box.canTick) this.toggle("selected", box.name);
    else this.tell(`${box.name || "output"} cannot be ticked: it has no output of its own`);
  }

  /** @param {string} trait @param {string} name */
  toggle(trait, name) {
    /** @type {string[]} */
    const names = this.model.get(trait);
    this.set(trait, names.includes(name) ? names.filter((other) => other !== name) : [...names, name]);
  }

  // Whether a kernel is there

  isOffline() {
    return Boolean(this.root.closest(".jupyter-widgets-disconnected"));
  }

  /** A kernel that is computing something else answers only afterwards. */
  expectAnswer() {
    clearTimeout(this.timers.answer);
    this.timers.answer = setTimeout(() => this.root.classList.add("fxx-silent"), PATIENCE);
  }

  onAnswer() {
    clearTimeout(this.timers.answer);
    this.root.classList.remove("fxx-silent");
  }

  // Hover: facts, and the edges to and from a box

  /** @param {PointerEvent} event */
  onOver(event) {
    if (event.pointerType !== "touch" && !this.view.pointers.size) this.point(this.boxAt(event));
  }

  /** @param {Box | undefined} box */
  point(box) {
    if (box === this.pointed) return;
    this.pointed = box;
    this.light();
    clearTimeout(this.timers.card);
    this.card.hidden = true;
    if (box) this.timers.card = setTimeout(() => this.showCard(box), 300);
  }

  light() {
    const { picture } = this;
    if (!picture) return;
    for (const lit of this.sheet.querySelectorAll(".fxx-lit")) lit.classList.remove("fxx-lit");
    picture.overlay.replaceChildren();
    for (const box of new Set([this.pointed, picture.byName.get(this.model.get("focused"))])) {
      for (const edge of box ? picture.edgesOf(box) : []) {
        const [tail, head] = [picture.boxes.get(edge.tail), picture.boxes.get(edge.head)];
        if (!tail || !head) continue;
        (tail === box ? head : tail).element.classList.add("fxx-lit");
        if (edge.element) edge.element.classList.add("fxx-lit");
        else picture.drawExtra(tail, head, this.view.isAcross);
      }
    }
  }

  /** @param {Box} box */
  showCard(box) {
    const kind = box.isCluster ? [] : [KINDS[box.kind] ?? box.kind];
    const only = this.model.get("only").includes(box.name) ? [`in ${this.model.get("mode")} mode only`] : [];
    const value = (this.model.get("values")[box.name] ?? []).filter(Boolean).join(" · ");
    const inside = box.element.getAttribute("aria-description");
    const lines = [...kind, ...box.text.split("\n"), ...only, ...(value ? [`value ${value}`] : []), ...(inside ? [inside] : [])].map((line) => make("div", "", line));
    this.card.replaceChildren(make("b", "", box.name || "output"), ...lines);
    this.card.hidden = false;
    const { clientWidth, clientHeight } = this.pane;
    const { x, y, width } = this.view.onScreen(box);
    const isRight = clientWidth - x - width >= x;
    const room = (isRight ? clientWidth - x - width : x) - 14;
    this.card.style.maxWidth = `${Math.max(180, Math.min(360, room))}px`;
    const { offsetWidth, offsetHeight } = this.card;
    const left = isRight ? x + width + 10 : x - 10 - offsetWidth;
    this.card.style.left = `${Math.max(4, Math.min(left, clientWidth - offsetWidth - 4))}px`;
    this.card.style.top = `${Math.max(4, Math.min(y, clientHeight - offsetHeight - 4))}px`;
  }

  // Menus and saves

  /** @param {MouseEvent} event */
  onContextMenu(event) {
    const box = this.boxAt(event);
    if (!box) return;
    event.preventDefault();
    event.stopPropagation();
    this.focusOn(box);
    this.openMenu(box, event.clientX, event.clientY);
  }

  /** @param {Box} box @param {number} clientX @param {number} clientY */
  openMenu(box, clientX, clientY) {
    const frame = this.root.getBoundingClientRect();
    const has = (/** @type {string} */ trait) => this.model.get(trait).includes(box.name);
    /** @type {Entry[]} */
    const entries = [];
    // By the fold state, not by the picture: the layout may have been refused.
    if (box.kind === "folded") entries.push([has("expanded") ? "Fold" : "Unfold", () => this.toggleFold(box)]);
    const group = this.groupOf(box);
    if (group) entries.push([group[2] ? `Draw ${group[1]} as one` : `Show all ${group[1]}`, () => this.toggleGroup(box)]);
    if (box.canTick && !this.isOffline()) entries.push([has("selected") ? "Untick" : "Tick", () => this.toggleTick(box)]);
    entries.push(["Centre", () => this.view.centre(box)]);
    if (box.name) entries.push(["Copy name", () => this.copy(box.name)]);
    this.point(undefined);
    const back = () => this.focusOn(this.picture?.boxes.get(box.id) ?? box);
    this.menu.open(box.name || "output", entries, clientX - frame.left, clientY - frame.top, back);
  }

  /** @param {Box} box */
  openMenuAt(box) {
    const { left, top, height } = shapeOf(box).getBoundingClientRect();
    this.openMenu(box, left, top + Math.min(height, 30));
  }

  /** @param {string} text */
  copy(text) {
    navigator.clipboard.writeText(text).then(
      () => this.tell(`Copied ${text}`),
      () => this.tell("This page may not use the clipboard"),
    );
  }

  /** @param {HTMLElement} from */
  openSaves(from) {
    const frame = this.root.getBoundingClientRect();
    const { left, bottom } = from.getBoundingClientRect();
    /** @type {Entry[]} */
    const entries = [["SVG", () => this.saveSvg()], ["PNG", () => this.savePng()], ["DOT", () => this.saveDot()]];
    this.menu.open("Save as", entries, left - frame.left, bottom - frame.top + 2, () => from.focus());
  }

  /** @param {Picture} picture */
  source(picture) {
    return standalone(picture.svg, getComputedStyle(this.root).backgroundColor);
  }

  saveSvg() {
    if (this.picture) download(new Blob([this.source(this.picture)], { type: "image/svg+xml" }), "diagram.svg");
  }

  async savePng() {
    if (!this.picture) return;
    const { width, height } = this.picture;
    const png = await toPng(this.source(this.picture), width, height);
    if (png) download(png, "diagram.png");
    else this.tell("The picture is too large for a PNG; save it as SVG");
  }

  saveDot() {
    if (this.isOffline()) return this.tell("Not connected to a kernel, which writes the DOT");
    this.expectAnswer();
    this.model.send("dot");
  }

  /** @param {{dot?: string}} content */
  onMessage(content) {
    this.onAnswer();
    if (content.dot !== undefined) download(new Blob([content.dot], { type: "text/vnd.graphviz" }), "diagram.dot");
  }

  // Keys

  /** @param {KeyboardEvent} event */
  onKey(event) {
    keepKey(event);
    const { picture } = this;
    const { isAcross } = this.view;
    const box = this.boxAt(event) ?? this.current();
    if (event.ctrlKey || event.metaKey || event.altKey || !picture || !box) return;
    /** @type {Record<string, () => void>} */
    const actions = {
      "+": () => this.view.zoom(1.25),
      "=": () => this.view.zoom(1.25),
      "-": () => this.view.zoom(0.8),
      0: () => this.view.fit(true),
      c: () => this.view.centre(box),
      m: () => this.openMenuAt(box),
      ContextMenu: () => this.openMenuAt(box),
      Enter: () => this.toggleFold(box),
      " ": () => this.toggleTick(box),
      Escape: () => this.point(undefined),
      [isAcross ? "ArrowRight" : "ArrowDown"]: () => this.go(picture.nearest(box, "head") ?? picture.step(box, 1)),
      [isAcross ? "ArrowLeft" : "ArrowUp"]: () => this.go(picture.nearest(box, "tail") ?? picture.step(box, -1)),
      [isAcross ? "ArrowDown" : "ArrowRight"]: () => this.go(picture.step(box, 1)),
      [isAcross ? "ArrowUp" : "ArrowLeft"]: () => this.go(picture.step(box, -1)),
      Home: () => this.go(picture.order[0]),
      End: () => this.go(picture.order[picture.order.length - 1]),
    };
    const key = event.shiftKey && event.key === "F10" ? "ContextMenu" : event.key;
    if (!Object.hasOwn(actions, key)) return;
    event.preventDefault();
    actions[key]();
  }

  /** @param {Box} box */
  go(box) {
    this.focusOn(box);
    this.view.reveal(box);
  }

  destroy() {
    for (const timer of Object.values(this.timers)) clearTimeout(timer);
    this.menu.close(false);
    this.arrival.disconnect();
    this.view.destroy();
  }
}

/**
 * Keep the class by which Jupyter marks a view whose kernel is gone: anywidget takes away the
 * view's own listener, but hands us its events.
 * @this {{model?: {comm_live?: boolean}} | undefined} the view
 * @param {HTMLElement} el
 */
function markDisconnected(el) {
  const isLive = this?.model?.comm_live;
  if (isLive !== undefined) el.classList.toggle("jupyter-widgets-disconnected", !isLive);
}

/** @param {{model: Model, el: HTMLElement}} context */
function render({ model, el }) {
  const diagram = new Diagram(model, el);
  /** @type {Record<string, (...args: any[]) => void>} */
  const handlers = {
    "change:svg": () => diagram.draw(),
    "change:selected": () => diagram.mark(),
    "change:hits": () => diagram.mark(),
    "change:only": () => diagram.mark(),
    "change:values": () => diagram.mark(),
    "change:focused": () => diagram.onFocused(),
    "change:message": () => diagram.say(),
    "change:busy": () => diagram.showBusy(),
    "msg:custom": (content) => diagram.onMessage(content),
    comm_live_update: /** @this {any} */ function () { markDisconnected.call(this, el); },
  };
  for (const [event, handler] of Object.entries(handlers)) model.on(event, handler);
  return () => {
    for (const [event, handler] of Object.entries(handlers)) model.off(event, handler);
    diagram.destroy();
  };
}

export default { render };
