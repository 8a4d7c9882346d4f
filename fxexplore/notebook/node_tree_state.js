// What is unfolded, ticked and found, and how it changes. The synced traits are the source of
// truth; everything in here is derived from them.

const MOST_HITS = 2000; // that are synced, and that can be ticked at once

/** @typedef {{get(trait: string): any, set(trait: string, value: any): void, save_changes(): void,
 *   on(event: string, handler: () => void): void, off(event: string, handler: () => void): void}} Model */

const HIT = 1;
const HOLDS_HIT = 2;
const SHOWN = 4; // during a search although it is no hit

class TreeState {
  /** @param {Model} model @param {Rows} rows */
  constructor(model, rows) {
    this.model = model;
    this.isUnsaved = false;
    this.rows = rows;
    this.search = new Search(rows);
    this.hiddenHits = 0; // that the detail leaves out
    this.detail = "";
    /** @type {Uint8Array | null} */
    this.kept = null; // by key: whether a search shows it, and why
    this.extra = NONE; // the row that is SHOWN
    /** @type {Set<number>} */
    this.followed = new Set(); // keys that were unfolded for the hit that is shown
    /** @type {Set<number>} */
    this.toggled = new Set(); // keys that were folded or unfolded during the search
    /** @type {{before: string[], after: string[]} | null} */
    this.undo = null; // the selection before and after all hits were ticked
    this.cursor = rows.index.get(model.get("focused")) ?? NONE; // the key that the keyboard acts on
    this.groupTickable = new Int32Array(rows.groups);
    for (let i = 0; i < rows.length; i++) {
      if (rows.groupOf[i] >= 0 && rows.is(i, TICKABLE)) this.groupTickable[rows.groupOf[i]]++;
    }
    this.expanded = new Uint8Array(0);
    this.openGroups = new Uint8Array(0);
    this.ticked = new Uint8Array(0);
    this.inside = new Int32Array(0);
    this.groupTicked = new Int32Array(0);
    this.lines = this.update();
  }

  /** Derive everything from the traits again. @returns {ReturnType<typeof linesInSight>} */
  update() {
    const { model, rows } = this;
    this.expanded = rows.unpack(model.get("expanded"), rows.modules);
    this.openGroups = rows.unpack(model.get("open_groups"), rows.groupKeys);
    this.countTicks(model.get("selected"));
    rows.hide(LEAVES_OUT[model.get("detail")], (i) => this.ticked[i] === 1 || i === this.cursor || rows.is(i, RAISED));
    if (model.get("query") !== this.search.query || model.get("detail") !== this.detail) this.find(model.get("query"));
    this.detail = model.get("detail");
    const sort = model.get("sort");
    this.lines = linesInSight(
      rows,
      (key) => this.isOpen(key),
      (key) => this.kept?.[key] === HIT,
      this.kept,
      sort === "parameters" ? rows.parameters : sort === "flops" ? rows.flops : null,
    );
    return this.lines;
  }

  /** @param {string} query */
  find(query) {
    const { search, rows } = this;
    search.find(query);
    const found = search.hits ?? [];
    if (search.hits) search.hits = found.filter((i) => !rows.hidden[i]);
    this.hiddenHits = found.length - (search.hits ?? found).length;
    this.toggled.clear();
    this.followed.clear();
    this.undo = null;
    this.extra = NONE;
    this.keep();
  }

  /** Mark what a search shows: hits, the modules around them, and the row focused from elsewhere. */
  keep() {
    const { hits } = this.search;
    this.kept = hits && new Uint8Array(this.rows.keys);
    for (const hit of hits ?? []) this.mark(hit, HIT);
    if (this.extra >= 0) this.mark(this.extra, SHOWN);
  }

  /** @param {number} i @param {number} why */
  mark(i, why) {
    const { rows, kept } = this;
    if (!kept) return;
    kept[i] |= why;
    for (let key = rows.parentOf(i); key >= 0 && !(kept[key] & HOLDS_HIT); key = rows.parentOf(key)) {
      kept[key] |= HOLDS_HIT;
    }
  }

  /** @param {string[]} selected */
  countTicks(selected) {
    const { rows } = this;
    this.ticked = new Uint8Array(rows.length);
    this.inside = new Int32Array(rows.keys);
    this.groupTicked = new Int32Array(rows.groups);
    for (const name of selected) {
      const i = rows.index.get(name);
      if (i === undefined) continue;
      this.ticked[i] = 1;
      if (rows.groupOf[i] >= 0) this.groupTicked[rows.groupOf[i]]++;
      for (let key = rows.parentOf(i); key >= 0; key = rows.parentOf(key)) this.inside[key]++;
    }
  }

  /**
   * All that one click changes is sent as one message: Jupyter holds a second one back until the
   * kernel has handled the first, and messages of other widgets would overtake it.
   * @param {Record<string, any>} values
   */
  set(values) {
    for (const [trait, value] of Object.entries(values)) this.model.set(trait, value);
    if (this.isUnsaved) return;
    this.isUnsaved = true;
    queueMicrotask(() => {
      this.isUnsaved = false;
      this.model.save_changes();
    });
  }

  /** @param {number} key */
  isOpen(key) {
    if (!this.rows.hasInside(key)) return false;
    const why = this.kept?.[key];
    if (why) return ((why & HOLDS_HIT) !== 0) !== this.toggled.has(key);
    return (this.rows.isGroup(key) ? this.openGroups : this.expanded)[this.rows.first(key)] === 1;
  }

  /** @param {number} key @returns {"true" | "false" | "mixed" | ""} empty if it cannot be ticked */
  tickOf(key) {
    const group = key - this.rows.length;
    const isWhole = group < 0 ? this.ticked[key] : this.groupTicked[group] && this.groupTicked[group] === this.groupTickable[group];
    if (isWhole) return "true";
    if (this.inside[key]) return "mixed";
    return this.isTickable(key) ? "false" : "";
  }

  /** @param {number} key */
  isTickable(key) {
    if (!this.model.get("ticks")) return false;
    return this.rows.isGroup(key) ? this.groupTickable[key - this.rows.length] > 0 : this.rows.is(key, TICKABLE);
  }

  /** @param {number} key */
  toggleFold(key) {
    const { rows } = this;
    if (!rows.hasInside(key)) return;
    if (this.cursor >= 0 && this.isOpen(key) && this.contains(key, this.cursor)) this.moveTo(key);
    if (this.kept?.[key]) {
      if (!this.toggled.delete(key)) this.toggled.add(key);
      return;
    }
    const chosen = rows.isGroup(key) ? this.openGroups : this.expanded;
    chosen[rows.first(key)] ^= 1;
    if (rows.isGroup(key) && !this.isOpen(key)) {
      // Drawn as one, the first stands for all: what is unfolded in others would draw them apart.
      const other = rows.members(key)[Math.abs(rows.groupRound[key - rows.length])];
      this.expanded.fill(0, other, rows.endOf(key));
    }
    this.saveFolds();
  }

  saveFolds() {
    const { rows } = this;
    this.set({
      expanded: rows.pack(this.expanded, rows.modules),
      open_groups: rows.pack(this.openGroups, rows.groupKeys),
    });
  }

  foldAll() {
    const to = this.isUnfolded() ? 0 : 1;
    for (const i of this.rows.modules) this.expanded[i] = to;
    for (const i of this.rows.groupFirst) this.openGroups[i] = to;
    this.saveFolds();
  }

  /** Whether there is anything to fold and unfold. */
  canFold() {
    const { rows } = this;
    return rows.groupFirst.length > 0 || rows.modules.some((i) => rows.hasInside(i));
  }

  isUnfolded() {
    return this.expanded.includes(1) || this.openGroups.includes(1);
  }

  /** Unfold everything at the level of a key. @param {number} key */
  unfoldSiblings(key) {
    const { rows } = this;
    const parent = rows.parentOf(key);
    for (let at = 0; at < this.lines.count; at++) {
      const other = this.lines.keys[at];
      if (rows.parentOf(other) !== parent || !rows.hasInside(other) || this.isOpen(other)) continue;
      if (this.kept?.[other]) this.toggled.add(other);
      (rows.isGroup(other) ? this.openGroups : this.expanded)[rows.first(other)] = 1;
    }
    this.saveFolds();
  }

  /**
   * The line that stands for a row in a picture that draws siblings once: the outermost closed
   * group of which the first is that row, or contains it. @param {number} i
   */
  standIn(i) {
    const { rows } = this;
    let found = NONE;
    for (let key = i; key >= 0 && !this.kept; key = rows.parentOf(key)) {
      if (!rows.isGroup(key) || this.isOpen(key)) continue;
      const g = key - rows.length;
      const round = rows.members(key).slice(0, Math.abs(rows.groupRound[g]));
      if (round.some((first) => i >= first && i < rows.end[first])) found = key;
    }
    return found;
  }

  /** Unfold everything that contains a row. @param {number} i */
  openTo(i) {
    const { rows } = this;
    if (this.kept && !this.kept[i]) {
      this.extra = i;
      this.keep();
    }
    for (let key = rows.parentOf(i); key >= 0; key = rows.parentOf(key)) {
      if (this.kept) this.toggled.delete(key);
      else (rows.isGroup(key) ? this.openGroups : this.expanded)[rows.first(key)] = 1;
    }
    if (!this.kept) this.saveFolds();
  }

  /**
   * Open the way to a hit, also where the search is not shown, as in the diagram; what was opened
   * for the hit before is folded again. @param {number} i
   */
  follow(i) {
    const { rows } = this;
    const chosen = (/** @type {number} */ key) => (rows.isGroup(key) ? this.openGroups : this.expanded);
    for (const key of this.followed) chosen(key)[rows.first(key)] = 0;
    this.followed.clear();
    for (let key = rows.parentOf(i); key >= 0; key = rows.parentOf(key)) {
      if (!chosen(key)[rows.first(key)]) this.followed.add(key);
      chosen(key)[rows.first(key)] = 1;
    }
    this.saveFolds();
  }

  /** @param {number} outer @param {number} key */
  contains(outer, key) {
    for (let at = this.rows.parentOf(key); at >= 0; at = this.rows.parentOf(at)) if (at === outer) return true;
    return false;
  }

  /** Tick or untick a row, or all siblings of a group. @param {number} key @returns {string} why not */
  toggleTick(key) {
    const { rows } = this;
    if (!this.model.get("ticks")) return "";
    if (!this.isTickable(key)) {
      if (rows.is(rows.first(key), NEVER_RAN)) return "It never ran: there is no output to tick.";
      return "The model has not run yet: there is no output to tick.";
    }
    const keys = rows.isGroup(key) ? rows.members(key).filter((i) => rows.is(i, TICKABLE)) : [key];
    if (keys.length > MOST_HITS) return `${keys.length} are too many to tick at once.`;
    const names = new Set(keys.map((i) => rows.names[i]));
    /** @type {string[]} */
    const others = this.model.get("selected").filter((/** @type {string} */ name) => !names.has(name));
    this.set({ selected: this.tickOf(key) === "true" ? others : this.with(keys) });
    return "";
  }

  /** The selection and these rows. @param {number[]} keys @returns {string[]} */
  with(keys) {
    return [...new Set([...this.model.get("selected"), ...keys.map((i) => this.rows.names[i])])];
  }

  /** What the button for all hits would do; null if there are none, or too many. */
  hitsToTick() {
    const hits = (this.search.hits ?? []).filter((i) => this.rows.is(i, TICKABLE) && this.isTickable(i));
    if (!hits.length) return null;
    const isDone = this.undo !== null && same(this.model.get("selected"), this.undo.after);
    const missing = hits.filter((i) => !this.ticked[i]).length;
    return { hits, missing, isDone, tooMany: hits.length > MOST_HITS };
  }

  /** Tick all hits; a second time, take it back. */
  toggleHits() {
    const plan = this.hitsToTick();
    if (!plan || plan.tooMany) return;
    const names = new Set(plan.hits.map((i) => this.rows.names[i]));
    /** @type {string[]} */
    const before = this.model.get("selected");
    if (plan.isDone && this.undo) this.set({ selected: this.undo.before });
    else if (!plan.missing) this.set({ selected: before.filter((name) => !names.has(name)) });
    else {
      const after = this.with(plan.hits);
      this.undo = { before, after };
      this.set({ selected: after });
    }
  }

  /** @param {number} key */
  moveTo(key) {
    this.cursor = key;
    this.set({ focused: this.rows.name(key) }); // a group is no node: then nothing has the focus elsewhere
  }
}

/** @param {string[]} a @param {string[]} b */
function same(a, b) {
  return a.length === b.length && a.every((name, n) => name === b[n]);
}
