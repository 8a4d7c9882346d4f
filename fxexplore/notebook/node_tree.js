// The tree of node names. Rows are windowed: only those in sight are in the page.
// The hierarchy arrives as two Int32 arrays, `depth` and `end` (the index after the last
// row inside), in order of execution and with parents before children.

const ROW = 22;
const SPARE = 8;
const CAN_TICK = 1;
const IS_MODULE = 2;
const IS_DIM = 4;

/** @param {DataView} view */
const int32 = (view) => new Int32Array(view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength));

/** @param {string} tag @param {string} [cls] @param {string} [text] */
function make(tag, cls, text) {
  const element = document.createElement(tag);
  if (cls) element.className = cls;
  if (text !== undefined) element.textContent = text; // never innerHTML: names are strangers' text
  return element;
}

/** The rows and what is derived from them alone. */
class Rows {
  constructor(model) {
    this.labels = model.get("labels");
    this.notes = model.get("notes");
    this.shapes = model.get("shapes");
    this.counts = model.get("counts");
    this.flops = model.get("flops");
    this.depth = int32(model.get("depth"));
    this.end = int32(model.get("end"));
    this.flags = int32(model.get("flags"));
    this.share = int32(model.get("share"));
    this.length = this.labels.length;
    this.parent = new Int32Array(this.length);
    this.names = new Array(this.length);
    this.index = new Map();
    const open = [];
    for (let i = 0; i < this.length; i++) {
      while (open.length && this.end[open[open.length - 1]] <= i) open.pop();
      const parent = open.length ? open[open.length - 1] : -1;
      this.parent[i] = parent;
      this.names[i] = parent < 0 ? this.labels[i] : `${this.names[parent]}.${this.labels[i]}`;
      this.index.set(this.names[i], i);
      if (this.end[i] > i + 1) open.push(i);
    }
    this.texts = null; // lower-case haystacks, made at the first search
  }

  is(i, flag) {
    return (this.flags[i] & flag) !== 0;
  }

  /** Rows whose name or note has every word of the query. */
  hits(query) {
    const words = query.toLowerCase().split(/\s+/).filter(Boolean);
    if (!words.length) return null;
    this.texts ??= this.names.map((name, i) => `${name} ${this.notes[i]}`.toLowerCase());
    const found = [];
    for (let i = 0; i < this.length; i++) {
      if (words.every((word) => this.texts[i].includes(word))) found.push(i);
    }
    return found;
  }
}

class Tree {
  constructor(model, el) {
    this.model = model;
    this.id = `fxx-${Math.random().toString(36).slice(2)}`;
    this.typed = "";
    this.typedAt = 0;
    this.build(el);
    this.reload();
  }

  build(el) {
    const root = make("div", "fxx-tree");
    const bar = make("div", "fxx-find");
    this.search = make("input", "fxx-search");
    Object.assign(this.search, { type: "search", placeholder: "Find a node", spellcheck: false });
    this.search.setAttribute("aria-label", "Find a node");
    this.count = make("span", "fxx-count");
    this.count.setAttribute("role", "status");
    this.previous = this.button("↑", "Previous hit", () => this.toHit(-1));
    this.next = this.button("↓", "Next hit", () => this.toHit(1));
    this.fold = this.button("Fold all", "Fold or unfold every module", () => this.foldAll());
    bar.append(this.search, this.count, this.previous, this.next, this.fold);

    const head = make("div", "fxx-row fxx-head");
    head.setAttribute("aria-hidden", "true");
    head.append(make("span", "", "node"), make("span", "", "output"), make("span", "", "parameters"), make("span", "", "FLOPs"));

    this.list = make("div", "fxx-list");
    this.list.tabIndex = 0;
    this.list.setAttribute("role", "tree");
    this.list.setAttribute("aria-label", "Nodes of the model");
    this.list.setAttribute("aria-multiselectable", "true");
    this.space = make("div", "fxx-space");
    this.list.append(this.space);
    root.append(bar, head, this.list);
    el.append(root);

    this.search.addEventListener("input", () => this.set("query", this.search.value));
    this.search.addEventListener("keydown", (event) => this.onSearchKey(event));
    this.list.addEventListener("scroll", () => this.schedule(), { passive: true });
    this.list.addEventListener("keydown", (event) => this.onKey(event));
    this.list.addEventListener("click", (event) => this.onClick(event));
    this.list.addEventListener("dblclick", (event) => this.onDoubleClick(event));
    this.resize = new ResizeObserver(() => this.schedule());
    this.resize.observe(this.list);
  }

  button(text, title, action) {
    const button = make("button", "fxx-button", text);
    button.type = "button";
    button.title = title;
    button.setAttribute("aria-label", title);
    button.addEventListener("click", action);
    return button;
  }

  reload() {
    this.rows = new Rows(this.model);
    this.refresh();
  }

  set(trait, value) {
    this.model.set(trait, value);
    this.model.save_changes();
  }

  /** Compute what is visible from the traits, then paint. */
  refresh() {
    const { rows } = this;
    const query = this.model.get("query");
    if (this.search.value !== query) this.search.value = query;
    this.selected = new Set(this.model.get("selected"));
    this.expanded = new Set(this.model.get("expanded"));
    const hits = rows.hits(query);
    this.hits = hits;
    this.hitSet = new Set(hits ?? []);
    const kept = hits && new Uint8Array(rows.length); // 1: shown, 2: holds a hit
    for (const hit of hits ?? []) {
      kept[hit] |= 1;
      for (let i = rows.parent[hit]; i >= 0 && kept[i] < 2; i = rows.parent[i]) kept[i] = 3;
    }
    this.kept = kept;

    // Modules with a tick somewhere below.
    this.mixed = new Set();
    for (const name of this.selected) {
      const start = rows.index.get(name);
      if (start === undefined) continue;
      for (let i = rows.parent[start]; i >= 0 && !this.mixed.has(i); i = rows.parent[i]) this.mixed.add(i);
    }

    const visible = [];
    for (let i = 0; i < rows.length; ) {
      if (kept && !kept[i]) {
        i = rows.end[i];
        continue;
      }
      visible.push(i);
      i = this.isOpen(i) ? i + 1 : rows.end[i];
    }
    this.visible = visible;
    this.place = new Map(visible.map((row, position) => [row, position]));
    this.space.style.height = `${visible.length * ROW}px`;
    this.count.textContent = hits ? `${hits.length} ${hits.length === 1 ? "hit" : "hits"}` : "";
    this.previous.hidden = this.next.hidden = !hits?.length;
    this.fold.textContent = this.expanded.size ? "Fold all" : "Unfold all";
    this.paint();
  }

  /** A module is open if it was unfolded, or holds a hit of the search. */
  isOpen(i) {
    if (!this.rows.is(i, IS_MODULE)) return false;
    return this.expanded.has(this.rows.names[i]) || (this.kept !== null && this.kept[i] > 1);
  }

  schedule() {
    this.frame ??= requestAnimationFrame(() => {
      this.frame = undefined;
      this.paint();
    });
  }

  paint() {
    const first = Math.max(0, Math.floor(this.list.scrollTop / ROW) - SPARE);
    const last = Math.min(
      this.visible.length,
      Math.ceil((this.list.scrollTop + (this.list.clientHeight || 480)) / ROW) + SPARE,
    );
    const painted = document.createDocumentFragment();
    for (let position = first; position < last; position++) painted.append(this.row(position));
    this.space.replaceChildren(painted);
    const focused = this.rows.index.get(this.model.get("focused"));
    if (focused !== undefined && this.place.has(focused)) {
      this.list.setAttribute("aria-activedescendant", `${this.id}-${focused}`);
    } else {
      this.list.removeAttribute("aria-activedescendant");
    }
  }

  row(position) {
    const { rows } = this;
    const i = this.visible[position];
    const name = rows.names[i];
    const isModule = rows.is(i, IS_MODULE);
    const ticked = this.selected.has(name);
    const row = make("div", "fxx-row");
    row.id = `${this.id}-${i}`;
    row.dataset.row = String(i);
    row.dataset.name = name;
    row.style.transform = `translateY(${position * ROW}px)`;
    row.title = `${name}\n${rows.notes[i]}`;
    row.setAttribute("role", "treeitem");
    row.setAttribute("aria-level", String(rows.depth[i] + 1));
    row.setAttribute("aria-label", `${rows.labels[i]}, ${rows.notes[i]}`);
    if (isModule) row.setAttribute("aria-expanded", String(this.isOpen(i)));
    row.setAttribute("aria-checked", ticked ? "true" : this.mixed.has(i) ? "mixed" : "false");
    if (!rows.is(i, CAN_TICK)) row.setAttribute("aria-disabled", "true");
    row.classList.toggle("fxx-hit", this.hitSet.has(i));
    row.classList.toggle("fxx-focused", this.model.get("focused") === name);
    row.classList.toggle("fxx-dim", rows.is(i, IS_DIM));

    const main = make("span", "fxx-main");
    main.style.paddingLeft = `${rows.depth[i] * 16}px`;
    main.append(make("span", "fxx-fold", isModule ? (this.isOpen(i) ? "▾" : "▸") : ""));
    const box = make("span", "fxx-box", ticked ? "✓" : this.mixed.has(i) ? "–" : "");
    box.classList.toggle("fxx-on", ticked || this.mixed.has(i));
    box.classList.toggle("fxx-off", !rows.is(i, CAN_TICK));
    main.append(box, make("span", "fxx-name", rows.labels[i]), make("span", "fxx-note", rows.notes[i]));
    const parameters = make("span", "fxx-number", rows.counts[i]);
    if (rows.share[i]) parameters.style.setProperty("--fxx-share", `${rows.share[i]}%`);
    const [shape, flops] = [rows.shapes[i], rows.flops[i]].map((text) => make("span", "fxx-number", text));
    row.append(main, shape, parameters, flops);
    return row;
  }

  rowOf(event) {
    const row = event.target.closest?.("[data-row]");
    return row ? Number(row.dataset.row) : undefined;
  }

  onClick(event) {
    const i = this.rowOf(event);
    if (i === undefined) return;
    this.focus(i);
    if (event.target.classList.contains("fxx-fold")) this.toggleFold(i);
    else if (event.target.classList.contains("fxx-box")) this.toggleTick(i);
  }

  onDoubleClick(event) {
    const i = this.rowOf(event);
    const control = event.target.classList;
    if (i !== undefined && !control.contains("fxx-fold") && !control.contains("fxx-box")) this.toggleFold(i);
  }

  toggleFold(i) {
    if (!this.rows.is(i, IS_MODULE)) return;
    const name = this.rows.names[i];
    const expanded = this.model.get("expanded");
    this.set("expanded", this.expanded.has(name) ? expanded.filter((other) => other !== name) : [...expanded, name]);
  }

  toggleTick(i) {
    if (!this.rows.is(i, CAN_TICK)) return;
    const name = this.rows.names[i];
    const selected = this.model.get("selected");
    this.set("selected", this.selected.has(name) ? selected.filter((other) => other !== name) : [...selected, name]);
  }

  foldAll() {
    const modules = this.rows.names.filter((_, i) => this.rows.is(i, IS_MODULE));
    this.set("expanded", this.expanded.size ? [] : modules);
  }

  focus(i) {
    this.set("focused", this.rows.names[i]);
    this.reveal(i);
  }

  /** Scroll a visible row into sight. */
  reveal(i) {
    const position = this.place.get(i);
    if (position === undefined) return;
    const top = position * ROW;
    const { scrollTop, clientHeight } = this.list;
    if (top < scrollTop) this.list.scrollTop = top;
    else if (top + ROW > scrollTop + clientHeight) this.list.scrollTop = top + ROW - clientHeight;
  }

  /** The other side moved the focus: unfold the way there. */
  onFocused() {
    const i = this.rows.index.get(this.model.get("focused"));
    if (i !== undefined && !this.place.has(i)) {
      const outer = [];
      for (let p = this.rows.parent[i]; p >= 0; p = this.rows.parent[p]) outer.push(this.rows.names[p]);
      this.set("expanded", [...new Set([...this.model.get("expanded"), ...outer.reverse()])]);
    }
    if (i !== undefined) this.reveal(i);
    this.paint();
  }

  toHit(step) {
    const hits = this.hits ?? [];
    if (!hits.length) return;
    const at = this.rows.index.get(this.model.get("focused")) ?? -1;
    const after = hits.find((hit) => hit > at) ?? hits[0];
    const before = hits.findLast((hit) => hit < at) ?? hits[hits.length - 1];
    this.focus(step > 0 ? after : before);
  }

  onSearchKey(event) {
    event.stopPropagation(); // JupyterLab would take the keys for its own
    if (event.key === "Enter") this.toHit(event.shiftKey ? -1 : 1);
    else if (event.key === "Escape" && this.search.value) this.set("query", "");
    else if (event.key === "ArrowDown") this.list.focus();
    else return;
    event.preventDefault();
  }

  onKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    event.stopPropagation();
    const focused = this.rows.index.get(this.model.get("focused"));
    const at = this.place.get(focused) ?? -1;
    if (!this.act(event.key, at < 0 ? undefined : focused, at)) return;
    event.preventDefault();
  }

  /** Do what a key means in a tree; says whether it means anything. */
  act(key, i, at) {
    const page = Math.max(1, Math.floor(this.list.clientHeight / ROW) - 1);
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity };
    if (key in steps) {
      const position = Math.min(this.visible.length - 1, Math.max(0, at + steps[key]));
      if (this.visible.length) this.focus(this.visible[position]);
    } else if (i !== undefined && key === "ArrowRight") {
      if (this.rows.is(i, IS_MODULE) && !this.isOpen(i)) this.toggleFold(i);
      else if (this.isOpen(i)) this.focus(this.visible[at + 1]);
    } else if (i !== undefined && key === "ArrowLeft") {
      if (this.isOpen(i) && this.expanded.has(this.rows.names[i])) this.toggleFold(i);
      else if (this.rows.parent[i] >= 0) this.focus(this.rows.parent[i]);
    } else if (i !== undefined && key === " ") {
      this.toggleTick(i);
    } else if (i !== undefined && key === "Enter") {
      if (this.rows.is(i, IS_MODULE)) this.toggleFold(i);
      else this.toggleTick(i);
    } else if (i !== undefined && key === "*") {
      this.unfoldSiblings(i);
    } else if (key.length === 1) {
      this.typeAhead(key, at);
    } else {
      return false;
    }
    return true;
  }

  unfoldSiblings(i) {
    const siblings = this.rows.names.filter(
      (_, j) => this.rows.parent[j] === this.rows.parent[i] && this.rows.is(j, IS_MODULE),
    );
    this.set("expanded", [...new Set([...this.model.get("expanded"), ...siblings])]);
  }

  /** Letters typed within a second of each other look for a label that starts with them. */
  typeAhead(key, at) {
    const now = performance.now();
    this.typed = (now - this.typedAt < 1000 ? this.typed : "") + key.toLowerCase();
    this.typedAt = now;
    const from = this.typed.length > 1 ? Math.max(0, at) : at + 1;
    for (let step = 0; step < this.visible.length; step++) {
      const i = this.visible[(from + step) % this.visible.length];
      if (this.rows.labels[i].toLowerCase().startsWith(this.typed)) return this.focus(i);
    }
  }

  destroy() {
    this.resize.disconnect();
    if (this.frame !== undefined) cancelAnimationFrame(this.frame);
  }
}

function render({ model, el }) {
  const tree = new Tree(model, el);
  const handlers = {
    "change:labels": () => tree.reload(),
    "change:selected": () => tree.refresh(),
    "change:expanded": () => tree.refresh(),
    "change:query": () => tree.refresh(),
    "change:focused": () => tree.onFocused(),
  };
  for (const [event, handler] of Object.entries(handlers)) model.on(event, handler);
  return () => {
    for (const [event, handler] of Object.entries(handlers)) model.off(event, handler);
    tree.destroy();
  };
}

export default { render };
