// The tree of node names. Rows are windowed: only those in sight are in the page.

const SPARE = 8; // rows painted above and below what is in sight
const HITS_WAIT = 150; // milliseconds without typing before the hits are synced

class Tree {
  id = `fxx-${Math.random().toString(36).slice(2)}`;
  root = make("div", "fxx-tree");
  search = make("input", "fxx-search");
  count = make("span", "fxx-count");
  previous = makeButton("↑", "Previous hit", () => this.toHit(-1));
  next = makeButton("↓", "Next hit", () => this.toHit(1));
  tickHits = makeButton("", "", () => this.act(() => this.ifConnected(() => this.state.toggleHits())));
  fold = makeButton("Fold all", "Fold or unfold every module", () => this.act(() => this.state.foldAll()));
  detail = makeDetail((detail) => this.state.set({ detail }));
  hidden = makeButton("", "", () => this.state.set({ detail: "everything" }));
  help = makeHelp(`${this.id}-help`);
  helpButton = makeButton("?", "How to search", () => this.toggleHelp());
  problem = make("div", "fxx-problem");
  head = make("div", "fxx-row fxx-head");
  /** @type {Record<string, HTMLElement>} by column; a click on most sorts by it */
  heads = {
    output: make("span", "", "output"),
    execution: makeButton("node", "Siblings in order of execution", () => this.state.set({ sort: "execution" })),
    parameters: makeButton("", "Siblings with most parameters first", () => this.sortBy("parameters")),
    flops: makeButton("", "Siblings with most FLOPs first", () => this.sortBy("flops")),
  };
  shares = false; // whether there is room for them
  list = make("div", "fxx-list");
  space = make("div", "fxx-space");
  where = make("span", "fxx-where");
  said = make("span", "fxx-said");
  resize = new ResizeObserver(() => this.schedule());
  width = 600;
  /** @type {string[]} */
  columns = []; // that there is room for
  /** @type {{texts: string[], font: string, width: number} | undefined} */
  measured = undefined;
  typed = "";
  typedAt = 0;
  /** @type {Map<number, {look: string, row: HTMLElement}>} */
  painted = new Map();
  isStale = false;
  rowsAreStale = false;
  /** @type {number | undefined} */
  frame = undefined;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  waiting = undefined;

  /** @param {Model} model @param {HTMLElement} el */
  constructor(model, el) {
    this.model = model;
    this.state = new TreeState(model, new Rows(model));
    this.menu = new ColumnMenu(
      () => model.get("columns"),
      () => this.columns,
      (columns) => this.state.set({ columns }),
    );
    this.build();
    this.listen();
    el.classList.add("fxx-tree-host");
    el.append(this.root);
    this.show();
    if (this.state.cursor >= 0) this.reveal(this.state.cursor);
  }

  build() {
    Object.assign(this.search, { type: "search", placeholder: "Find a node", spellcheck: false, autocomplete: "off" });
    this.search.setAttribute("aria-label", "Find a node");
    this.heads.output.setAttribute("aria-hidden", "true");
    for (const head of [this.heads.execution, this.heads.parameters, this.heads.flops]) head.classList.add("fxx-sort");
    this.search.setAttribute("aria-describedby", `${this.id}-problem`);
    this.problem.id = `${this.id}-problem`;
    this.problem.setAttribute("role", "status");
    this.helpButton.classList.add("fxx-help-button");
    this.tickHits.classList.add("fxx-tick-hits");
    this.helpButton.setAttribute("aria-expanded", "false");
    this.helpButton.setAttribute("aria-controls", this.help.id);
    this.count.setAttribute("role", "status");
    this.said.setAttribute("role", "status");
    this.list.tabIndex = 0;
    this.list.setAttribute("role", "tree");
    this.list.setAttribute("aria-label", "Nodes of the model");
    this.list.setAttribute("aria-multiselectable", String(this.model.get("ticks")));
    this.root.classList.toggle("fxx-unticked", !this.model.get("ticks"));
    this.space.setAttribute("role", "presentation");
    const bar = make("div", "fxx-find");
    bar.append(this.search, this.helpButton, this.count, this.previous, this.next, this.tickHits, this.fold, this.detail);
    const offline = make("div", "fxx-offline", "Not connected to a kernel: the tree folds and can be searched, but nothing can be ticked.");
    const foot = make("div", "fxx-foot");
    foot.append(this.where, this.said, this.hidden);
    this.list.append(this.space);
    this.root.append(offline, bar, this.problem, this.help, this.head, this.menu.list, this.list, foot);
  }

  listen() {
    // Keep keys from JupyterLab, which has shortcuts on single keys.
    this.root.addEventListener("keydown", (event) => {
      const isCommand = event.ctrlKey || event.metaKey || event.altKey;
      if (event.key !== "Tab" && (!isCommand || event.key === "Enter")) event.stopPropagation();
    });
    this.search.addEventListener("input", () => this.state.set({ query: this.search.value }));
    this.search.addEventListener("keydown", (event) => this.onSearchKey(event));
    this.list.addEventListener("scroll", () => this.schedule(), { passive: true });
    this.list.addEventListener("keydown", (event) => this.onKey(event));
    this.list.addEventListener("focus", () => this.onFocus());
    this.list.addEventListener("click", (event) => this.onClick(event));
    this.list.addEventListener("dblclick", (event) => this.onDoubleClick(event));
    this.list.addEventListener("copy", (event) => this.onCopy(event));
    this.resize.observe(this.list);
  }

  /** Something changed; several changes that come together are shown once. @param {boolean} rows */
  invalidate(rows) {
    this.rowsAreStale ||= rows;
    if (this.isStale) return;
    this.isStale = true;
    queueMicrotask(() => this.isStale && this.show());
  }

  /** Do something that changes the state, and show it. @param {() => unknown} action */
  act(action) {
    this.say("");
    const answer = action();
    if (typeof answer === "string") this.say(answer);
    this.show();
  }

  /** @param {number} key @returns {string | void} why not */
  tick(key) {
    return this.ifConnected(() => this.state.toggleTick(key));
  }

  /** @param {() => string | void} action @returns {string | void} what it says, or why it is not done */
  ifConnected(action) {
    const isGone = this.root.closest(".jupyter-widgets-disconnected");
    return isGone ? "Not connected to a kernel: run the cell again to tick" : action();
  }

  /** Show the state as it is now. */
  show() {
    const { state } = this;
    if (this.rowsAreStale) {
      this.state = new TreeState(this.model, new Rows(this.model));
      for (const line of this.painted.values()) line.look = ""; // the same name, other facts
    } else {
      const wasSearch = state.search.hits !== null;
      state.update();
      if (wasSearch && !state.search.hits && state.cursor >= 0) return this.showChosen();
    }
    this.isStale = this.rowsAreStale = false;
    this.showBar();
    this.layout();
    this.paint();
    this.tellHits();
  }

  /** Show the tree after a search: what was chosen in it stays in sight. */
  showChosen() {
    const { state } = this;
    if (state.lines.place[state.cursor] < 0) state.openTo(state.cursor);
    this.show();
    this.reveal(state.cursor);
  }

  showBar() {
    const { state } = this;
    const { hits, query, problem } = state.search;
    if (this.search.value !== query) this.search.value = query;
    const at = hits && state.cursor >= 0 ? hits.indexOf(state.cursor) : -1;
    const words = hits?.length === 1 ? "hit" : "hits";
    this.count.textContent = !hits || problem ? "" : at < 0 ? `${hits.length} ${words}` : `${at + 1} of ${hits.length} ${words}`;
    this.problem.textContent = problem;
    this.search.setAttribute("aria-invalid", String(problem !== ""));
    this.previous.hidden = this.next.hidden = !hits?.length;
    const plan = state.hitsToTick();
    this.tickHits.hidden = !plan;
    if (plan) {
      const isBack = plan.isDone || !plan.missing;
      this.tickHits.disabled = plan.tooMany;
      this.tickHits.textContent = `${plan.isDone ? "Undo" : isBack ? "Untick" : "Tick"} ${plan.hits.length}`;
      const what = plan.isDone ? "Take back the ticks" : `${isBack ? "Untick" : "Tick"} all ${plan.hits.length} hits`;
      label(this.tickHits, plan.tooMany ? `${plan.hits.length} are too many to tick at once` : what);
    }
    this.fold.hidden = hits !== null || !state.canFold();
    this.fold.textContent = state.isUnfolded() ? "Fold all" : "Unfold all";
    const { rows, cursor } = state;
    this.detail.value = state.detail;
    const hidden = hits ? state.hiddenHits : rows.length - rows.shownBefore[rows.length];
    this.hidden.hidden = !hidden;
    this.hidden.textContent = hits ? `${hidden} hidden ${hidden === 1 ? "hit" : "hits"}` : `${hidden} hidden`;
    const what = state.detail === "modules" ? "operations" : "sizes, asserts, constants, and views that only pass values on";
    label(this.hidden, `${this.hidden.textContent}: ${what}; show everything`);
    this.where.textContent = cursor < 0 ? "" : `${rows.name(cursor) || rows.label(cursor)}  ${noteOf(rows, cursor)}`;
  }

  /** Choose the columns that there is room for; names keep a minimum width. */
  layout() {
    const { rows, lines } = this.state;
    const wanted = COLUMNS.filter(({ id }) => this.model.get("columns").includes(id));
    // Behind another tab, and while a theme loads, it has no width: the last one is as good.
    if (this.list.clientWidth) this.width = this.list.clientWidth - 20;
    const { width } = this;
    const sizes = { output: this.widest(rows.shapes.words, 64, 170), parameters: 74, flops: 62 };
    const sizeOf = (/** @type {{id: string}} */ { id }) => sizes[/** @type {"output"} */ (id)];
    const room = () => width - wanted.reduce((sum, column) => sum + sizeOf(column), 0);
    while (wanted.length && room() < LEAST_NAME) {
      wanted.splice(wanted.findIndex(({ rank }) => rank === Math.min(...wanted.map((column) => column.rank))), 1);
    }
    this.columns = wanted.map(({ id }) => id);
    const counted = this.columns.filter((id) => id !== "output").length;
    this.shares = room() >= COMFORT + counted * SHARE;
    if (this.shares) Object.assign(sizes, { parameters: sizes.parameters + SHARE, flops: sizes.flops + SHARE });
    const { style } = this.root;
    style.setProperty("--fxx-columns", ["minmax(0, 1fr)", ...wanted.map((column) => `${sizeOf(column)}px`)].join(" "));
    style.setProperty("--fxx-scrollbar", `${this.list.offsetWidth - this.list.clientWidth}px`);
    style.setProperty("--fxx-step", `${Math.min(16, Math.max(5, (0.36 * room()) / lines.deepest))}px`);
    const sort = this.model.get("sort");
    for (const { id, title } of COLUMNS) {
      this.heads[id].textContent = id === sort ? `${title} ↓` : title;
      this.heads[id].setAttribute("aria-pressed", String(id === sort));
    }
    const isOpen = !this.menu.list.hidden;
    const parts = [this.heads.execution, ...this.columns.map((id) => this.heads[id]), this.menu.button];
    // One that stays keeps the keyboard.
    if (parts.length !== this.head.children.length || parts.some((part, n) => part !== this.head.children[n])) this.head.replaceChildren(...parts);
    if (isOpen) this.menu.update();
  }

  /** @param {string} column the second time it is the order of execution again */
  sortBy(column) {
    this.state.set({ sort: this.model.get("sort") === column ? "execution" : column });
  }

  /** @param {string[]} texts @param {number} least @param {number} most */
  widest(texts, least, most) {
    // `font` itself is empty in forced colours; both are empty until the tree is in the page.
    const { fontSize, fontFamily } = getComputedStyle(this.root);
    const font = `${fontSize} ${fontFamily}`;
    if (this.measured?.texts !== texts || this.measured.font !== font) {
      const longest = texts.reduce((a, b) => (b.length > a.length ? b : a), "");
      const pen = /** @type {CanvasRenderingContext2D} */ (make("canvas").getContext("2d"));
      pen.font = font;
      this.measured = { texts, font, width: Math.ceil(pen.measureText(longest).width) + 12 };
    }
    return Math.min(most, Math.max(least, this.measured.width));
  }

  schedule() {
    this.frame ??= requestAnimationFrame(() => {
      this.frame = undefined;
      this.layout();
      this.paint();
    });
  }

  /** Put the rows in sight into the page; those that are there already stay. */
  paint() {
    const { lines, cursor } = this.state;
    this.space.style.height = `${lines.count * ROW}px`;
    const first = Math.max(0, Math.floor(this.list.scrollTop / ROW) - SPARE);
    const last = Math.min(lines.count, Math.ceil((this.list.scrollTop + (this.list.clientHeight || 480)) / ROW) + SPARE);
    const at = cursor < 0 ? NONE : lines.place[cursor];
    const places = [];
    if (at >= 0 && at < first) places.push(at); // the focused row is there wherever one scrolls
    for (let place = first; place < last; place++) places.push(place);
    if (at >= last) places.push(at);

    const before = this.painted;
    this.painted = new Map();
    for (const place of places) {
      const key = lines.keys[place];
      const look = this.lookOf(key, place);
      const text = JSON.stringify(look);
      const old = before.get(key);
      const row = old?.look === text ? old.row : renewRow(old?.row, this.state.rows, key, look);
      row.style.transform = `translateY(${place * ROW}px)`;
      this.painted.set(key, { look: text, row });
    }
    // A row that stays is not moved in the page either.
    for (const [key, { row }] of before) if (this.painted.get(key)?.row !== row) row.remove();
    let n = 0;
    for (const { row } of this.painted.values()) {
      if (this.space.children[n] !== row) this.space.insertBefore(row, this.space.children[n] ?? null);
      n++;
    }
    if (at >= 0) this.list.setAttribute("aria-activedescendant", `${this.id}-${cursor}`);
    else this.list.removeAttribute("aria-activedescendant");
  }

  /** @param {number} key @param {number} place @returns {Look} */
  lookOf(key, place) {
    const { rows, lines, inside, cursor } = this.state;
    return {
      id: `${this.id}-${key}`,
      level: lines.levels[place],
      position: lines.positions[place],
      siblings: lines.siblings[rows.parentOf(key) + 1],
      tick: this.state.tickOf(key),
      inside: inside[key],
      open: rows.hasInside(key) ? this.state.isOpen(key) : undefined,
      hit: ((this.state.kept?.[key] ?? 0) & HIT) !== 0,
      focused: key === cursor,
      columns: this.columns,
      shares: this.shares,
    };
  }

  /** Sync the hits when the typing pauses. */
  tellHits() {
    clearTimeout(this.waiting);
    const { search, rows } = this.state;
    const hits = (search.hits ?? []).slice(0, MOST_HITS).map((i) => rows.names[i]);
    if (same(this.model.get("hits"), hits)) return;
    this.waiting = setTimeout(() => this.state.set({ hits }), HITS_WAIT);
  }

  /** @param {string} words */
  say(words) {
    this.said.textContent = words;
  }

  toggleHelp() {
    this.help.hidden = !this.help.hidden;
    this.helpButton.setAttribute("aria-expanded", String(!this.help.hidden));
  }

  /** @param {Event} event */
  keyOf(event) {
    const row = event.target instanceof Element && event.target.closest("[data-key]");
    return row instanceof HTMLElement ? Number(row.dataset.key) : undefined;
  }

  /** @param {Event} event @param {string} cls */
  isOn(event, cls) {
    return event.target instanceof Element && event.target.classList.contains(cls);
  }

  /** @param {MouseEvent} event */
  onClick(event) {
    const key = this.keyOf(event);
    if (key === undefined) return;
    this.list.focus({ preventScroll: true }); // not a button in a row, which may be gone by the next key
    if (this.isOn(event, "fxx-copy")) return this.copy(key);
    this.act(() => {
      this.state.moveTo(key);
      if (this.isOn(event, "fxx-fold")) this.state.toggleFold(key);
      return this.isOn(event, "fxx-box") ? this.tick(key) : "";
    });
  }

  /** @param {MouseEvent} event */
  onDoubleClick(event) {
    const key = this.keyOf(event);
    const isControl = ["fxx-fold", "fxx-box", "fxx-copy"].some((cls) => this.isOn(event, cls));
    if (key !== undefined && !isControl) this.act(() => this.state.toggleFold(key));
  }

  /** @param {ClipboardEvent} event */
  onCopy(event) {
    const { cursor, rows } = this.state;
    if (cursor < 0 || rows.isGroup(cursor) || document.getSelection()?.toString()) return;
    event.clipboardData?.setData("text/plain", rows.names[cursor]);
    event.preventDefault();
    event.stopPropagation();
    this.say(`Copied ${rows.names[cursor]}`);
  }

  /** @param {number} key */
  copy(key) {
    const name = this.state.rows.names[key];
    this.say(copyText(name) ? `Copied ${name}` : `The browser refused to copy; the name is ${name}`);
  }

  /** The list got the keyboard focus: keys act on a row from now on. A click chooses it itself. */
  onFocus() {
    const { state } = this;
    if (!this.list.matches(":focus-visible")) return;
    if (state.cursor >= 0 && state.lines.place[state.cursor] >= 0) return;
    state.cursor = state.lines.count ? state.lines.keys[0] : NONE;
    this.show();
  }

  /** @param {number} key */
  goTo(key) {
    this.act(() => this.state.moveTo(key));
    this.reveal(key);
  }

  /** Scroll a line into sight. @param {number} key */
  reveal(key) {
    const place = this.state.lines.place[key];
    if (place < 0) return;
    const top = place * ROW;
    const { scrollTop, clientHeight } = this.list;
    if (top < scrollTop) this.list.scrollTop = top;
    else if (top + ROW > scrollTop + clientHeight) this.list.scrollTop = top + ROW - clientHeight;
    this.paint();
  }

  /** The focus was moved from Python or another view: unfold the modules around it. */
  onFocused() {
    const { state } = this;
    if (this.rowsAreStale) return;
    const name = this.model.get("focused");
    if (state.cursor >= 0 && name === state.rows.name(state.cursor)) return;
    const i = state.rows.index.get(name) ?? NONE;
    const group = i >= 0 && state.lines.place[i] < 0 ? state.standIn(i) : NONE;
    state.cursor = group >= 0 ? group : i;
    if (i >= 0 && state.lines.place[state.cursor] < 0) state.openTo(state.cursor);
    this.show();
    if (i >= 0) this.reveal(state.cursor);
  }

  /** @param {number} step */
  toHit(step) {
    const { hits } = this.state.search;
    if (!hits?.length) return;
    const at = this.state.cursor < 0 ? NONE : this.state.rows.first(this.state.cursor);
    const after = hits.find((hit) => hit > at) ?? hits[0];
    const before = hits.findLast((hit) => hit < at) ?? hits[hits.length - 1];
    const hit = step > 0 ? after : before;
    this.state.openTo(hit);
    this.state.follow(hit);
    this.goTo(hit);
  }

  /** @param {KeyboardEvent} event */
  onSearchKey(event) {
    if (event.key === "Enter") this.toHit(event.shiftKey ? -1 : 1);
    else if (event.key === "Escape" && this.search.value) this.state.set({ query: "" });
    else if (event.key === "ArrowDown") this.list.focus();
    else return;
    event.preventDefault();
  }

  /** @param {KeyboardEvent} event */
  onKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.key === "Shift") return;
    const isLetter = event.key.length === 1 && event.key !== " " && event.key !== "*";
    if (!isLetter) this.typed = "";
    if (isLetter) this.typeAhead(event.key);
    else if (!this.move(event.key) && !this.change(event.key)) return;
    event.preventDefault();
  }

  /** Keys that move the focus; returns whether this is one. @param {string} key */
  move(key) {
    const { lines, rows, cursor } = this.state;
    const at = cursor < 0 ? NONE : lines.place[cursor];
    const page = Math.max(1, Math.floor(this.list.clientHeight / ROW) - 1);
    /** @type {Record<string, number>} */
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity };
    if (key in steps) {
      const goal = Math.min(lines.count - 1, Math.max(0, at + steps[key]));
      if (lines.count) this.goTo(lines.keys[goal]);
    } else if (key === "ArrowRight" && at >= 0) {
      if (this.state.isOpen(cursor)) this.goTo(lines.keys[at + 1]);
      else this.act(() => this.state.toggleFold(cursor));
    } else if (key === "ArrowLeft" && at >= 0) {
      if (this.state.isOpen(cursor)) this.act(() => this.state.toggleFold(cursor));
      else if (rows.parentOf(cursor) >= 0) this.goTo(rows.parentOf(cursor));
    } else return false;
    return true;
  }

  /** Keys that change something; returns whether this is one. @param {string} key */
  change(key) {
    const { state } = this;
    const { cursor } = state;
    if (key === "Escape" && state.search.query) state.set({ query: "" });
    else if (cursor < 0 || state.lines.place[cursor] < 0) return false;
    else if (key === " ") this.act(() => this.tick(cursor));
    else if (key === "Enter") this.act(() => (state.rows.hasInside(cursor) ? state.toggleFold(cursor) : this.tick(cursor)));
    else if (key === "*") this.act(() => state.unfoldSiblings(cursor));
    else return false;
    return true;
  }

  /** Letters typed within a second of each other look for a label that starts with them. @param {string} letter */
  typeAhead(letter) {
    const { lines, rows, cursor } = this.state;
    const now = performance.now();
    this.typed = (now - this.typedAt < 1000 ? this.typed : "") + letter.toLowerCase();
    this.typedAt = now;
    const at = cursor < 0 ? NONE : lines.place[cursor];
    const from = this.typed.length > 1 ? Math.max(0, at) : at + 1;
    for (let step = 0; step < lines.count; step++) {
      const key = lines.keys[(from + step) % lines.count];
      if (!rows.label(key).toLowerCase().startsWith(this.typed)) continue;
      this.goTo(key);
      return;
    }
  }

  destroy() {
    this.resize.disconnect();
    clearTimeout(this.waiting);
    if (this.frame !== undefined) cancelAnimationFrame(this.frame);
    this.root.remove();
  }
}

const ROW_TRAITS = ["labels", "names", "classes", "notes", "shapes", "marks", "depth", "flags", "groups", "parameters", "flops", "whole"];
const STATE_TRAITS = ["selected", "expanded", "open_groups", "query", "columns", "detail", "sort"];

/**
 * Keep the class by which Jupyter marks a view whose kernel is gone. Jupyter sets it when the view
 * is made; anywidget then takes away the view's own listener, but hands us its events.
 * @this {{model?: {comm_live?: boolean}} | undefined} the view
 * @param {HTMLElement} el
 */
function markDisconnected(el) {
  const isLive = this?.model?.comm_live;
  if (isLive !== undefined) el.classList.toggle("jupyter-widgets-disconnected", !isLive);
}

/** @param {{model: Model, el: HTMLElement}} context */
function render({ model, el }) {
  const tree = new Tree(model, el);
  /** @type {[string, () => void][]} */
  const handlers = [
    ...ROW_TRAITS.map((trait) => /** @type {[string, () => void]} */ ([`change:${trait}`, () => tree.invalidate(true)])),
    ...STATE_TRAITS.map((trait) => /** @type {[string, () => void]} */ ([`change:${trait}`, () => tree.invalidate(false)])),
    ["change:focused", () => tree.onFocused()],
    ["comm_live_update", /** @this {any} */ function () { markDisconnected.call(this, el); }],
  ];
  for (const [event, handler] of handlers) model.on(event, handler);
  return () => {
    for (const [event, handler] of handlers) model.off(event, handler);
    tree.destroy();
  };
}

export default { render };
