// The rows of the tree, and which of them are in sight. Nothing here knows of the page.
// The three files of the tree are joined into one module: see node_tree.py.
//
// A key stands for a line of the tree: row `i` is key `i`, run `r` of siblings with the same
// structure is key `rows.length + r`.

const NONE = -1;
const TICKABLE = 1;
const MODULE = 2;
const OPERATION = 4;
const SIZE = 8;
const NEVER_RAN = 16;
const AT_LEAST = 32; // more FLOPs than are counted
const MOST_NAMES = 100; // that travel by name; more travel as places, as in node_tree.py

/** @param {DataView} view */
const bufferOf = (view) => view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength);

/**
 * A number in three digits, as `short_count` in Python writes it.
 * @param {number} number
 */
function shortCount(number) {
  let unit = "";
  for (const next of ["k", "M", "G"]) {
    if (Math.abs(number) < 999.5) break;
    number /= 1000;
    unit = next;
  }
  if (!unit) return number.toFixed(0);
  return `${number.toFixed(number < 9.995 ? 2 : number < 99.95 ? 1 : 0)} ${unit}`;
}

/** A column of texts: each text once, and which one stands in each row. */
class Texts {
  /** @param {{words: string[], of: DataView}} packed */
  constructor({ words, of }) {
    this.words = words;
    this.of = new Int32Array(bufferOf(of));
  }

  /** @param {number} i */
  at(i) {
    return this.words[this.of[i]];
  }
}

/** The rows as Python describes them, and what is derived from them alone. */
class Rows {
  /** @param {{get(trait: string): any}} model */
  constructor(model) {
    this.labels = new Texts(model.get("labels"));
    this.classes = new Texts(model.get("classes"));
    this.notes = new Texts(model.get("notes"));
    this.shapes = new Texts(model.get("shapes"));
    this.marks = new Texts(model.get("marks"));
    this.depth = new Int32Array(bufferOf(model.get("depth")));
    this.flags = new Int32Array(bufferOf(model.get("flags")));
    this.parameters = new Float64Array(bufferOf(model.get("parameters")));
    this.flops = new Float64Array(bufferOf(model.get("flops")));
    this.whole = Math.max(1, model.get("whole"));
    this.length = this.depth.length;
    /** @type {string[]} */
    this.names = new Array(this.length);
    /** @type {Map<string, number>} */
    this.index = new Map();
    this.parent = new Int32Array(this.length);
    this.end = new Int32Array(this.length).fill(this.length);
    this.nest(model.get("names"));

    const pairs = new Int32Array(bufferOf(model.get("runs")));
    this.runs = pairs.length / 2;
    this.keys = this.length + this.runs;
    this.runOf = new Int32Array(this.length).fill(NONE);
    this.runFirst = new Int32Array(this.runs);
    this.runLast = new Int32Array(this.runs);
    this.runCount = new Int32Array(this.runs);
    this.addRuns(pairs);
    this.modules = this.depth.map((_, i) => i).filter((i) => this.is(i, MODULE));
    this.runKeys = this.runFirst.map((_, r) => this.length + r);
  }

  /**
   * Whom each row is in, where it ends, and its name.
   * @param {Record<string, string>} others names that the labels do not tell, by row
   */
  nest(others) {
    const { length, depth, names } = this;
    /** @type {number[]} */
    const outer = [];
    for (let i = 0; i < length; i++) {
      while (outer.length > depth[i]) this.end[/** @type {number} */ (outer.pop())] = i;
      const parent = outer.length ? outer[outer.length - 1] : NONE;
      const label = this.labels.at(i);
      this.parent[i] = parent;
      names[i] = others[i] ?? (parent < 0 ? label : `${names[parent]}.${label}`);
      this.index.set(names[i], i);
      outer.push(i);
    }
  }

  /** @param {Int32Array} pairs first rows and lengths */
  addRuns(pairs) {
    const { end } = this;
    for (let r = 0; r < this.runs; r++) {
      let member = pairs[2 * r];
      this.runFirst[r] = member;
      this.runCount[r] = pairs[2 * r + 1];
      for (let n = 0; n < this.runCount[r]; n++) {
        this.runOf[member] = r;
        this.runLast[r] = member;
        member = end[member];
      }
    }
  }

  /** @param {number} i @param {number} flag */
  is(i, flag) {
    return (this.flags[i] & flag) !== 0;
  }

  /** @param {number} key */
  isRun(key) {
    return key >= this.length;
  }

  /** The row that a key is, or the first of its run. @param {number} key */
  first(key) {
    return key < this.length ? key : this.runFirst[key - this.length];
  }

  /** The row after everything inside. @param {number} key */
  endOf(key) {
    return this.end[key < this.length ? key : this.runLast[key - this.length]];
  }

  /** The key of the row or run that contains it. @param {number} key */
  parentOf(key) {
    if (key < this.length && this.runOf[key] >= 0) return this.length + this.runOf[key];
    return this.parent[this.first(key)];
  }

  /** @param {number} key */
  hasInside(key) {
    return key >= this.length || this.end[key] > key + 1;
  }

  /** The siblings of a run. @param {number} key */
  members(key) {
    const found = [];
    const r = key - this.length;
    for (let i = this.runFirst[r]; found.length < this.runCount[r]; i = this.end[i]) found.push(i);
    return found;
  }

  /** Qualified name; a run has none. @param {number} key */
  name(key) {
    return key < this.length ? this.names[key] : "";
  }

  /** @param {number} key */
  label(key) {
    if (key < this.length) return this.labels.at(key);
    const r = key - this.length;
    return `${this.labels.at(this.runFirst[r])} … ${this.labels.at(this.runLast[r])}`;
  }

  /** @param {number} key */
  note(key) {
    if (key < this.length) return this.notes.at(key);
    const r = key - this.length;
    return `${this.runCount[r]} × ${this.notes.at(this.runFirst[r])}, same structure`;
  }

  /** A number of a row, or the sum over a run. @param {Float64Array} numbers @param {number} key */
  sum(numbers, key) {
    if (key < this.length) return numbers[key];
    return this.members(key).reduce((sum, i) => sum + numbers[i], 0);
  }

  /**
   * Which keys a list on the wire means: names, or places among all that there are.
   * @param {(string | number)[]} list @param {ArrayLike<number>} all keys in order
   */
  unpack(list, all) {
    const chosen = new Uint8Array(this.keys);
    for (let n = 0; n < list.length; n++) {
      const item = list[n];
      if (typeof item === "string") {
        const i = this.index.get(item);
        if (i !== undefined) chosen[i] = 1;
      } else if (n % 2 === 0) {
        const until = Math.min(Number(list[n + 1]), all.length);
        for (let at = item; at < until; at++) chosen[this.first(all[at])] = 1;
      }
    }
    return chosen;
  }

  /**
   * The same list again; see `_pack_subset` in Python.
   * @param {Uint8Array} chosen by row @param {ArrayLike<number>} all keys in order
   */
  pack(chosen, all) {
    const names = [];
    for (let at = 0; at < all.length && names.length <= MOST_NAMES; at++) {
      const i = this.first(all[at]);
      if (chosen[i]) names.push(this.names[i]);
    }
    if (names.length <= MOST_NAMES) return names;
    const places = [];
    for (let at = 0, was = 0; at <= all.length; at++) {
      const is = at < all.length ? chosen[this.first(all[at])] : 0;
      if (is !== was) places.push(at);
      was = is;
    }
    return places;
  }
}

/**
 * The lines in sight: their keys, levels and places among their siblings.
 * @param {Rows} rows
 * @param {(key: number) => boolean} isOpen
 * @param {(key: number) => boolean} opensWhole whether it shows all inside, found or not
 * @param {Uint8Array | null} kept rows that a search leaves
 */
function linesInSight(rows, isOpen, opensWhole, kept) {
  const keys = new Int32Array(rows.keys);
  const levels = new Int32Array(rows.keys);
  const positions = new Int32Array(rows.keys);
  const siblings = new Int32Array(rows.keys + 1); // by parent's key plus one
  const place = new Int32Array(rows.keys).fill(NONE);
  const ends = [rows.length];
  const parents = [NONE];
  let [count, deepest, whole] = [0, 0, 0];

  /** @param {number} key */
  const add = (key) => {
    const parent = parents[parents.length - 1];
    keys[count] = key;
    levels[count] = parents.length;
    positions[count] = ++siblings[parent + 1];
    deepest = Math.max(deepest, parents.length);
    place[key] = count++;
    if (!rows.hasInside(key) || !isOpen(key)) return false;
    if (kept && opensWhole(key)) whole = Math.max(whole, rows.endOf(key));
    parents.push(key);
    ends.push(rows.endOf(key));
    return true;
  };

  for (let i = 0; i < rows.length; ) {
    while (i >= ends[ends.length - 1]) {
      ends.pop();
      parents.pop();
    }
    if (kept && i >= whole && !kept[i]) {
      i = rows.end[i];
      continue;
    }
    const run = rows.runOf[i] < 0 ? NONE : rows.length + rows.runOf[i];
    if (run >= 0 && parents[parents.length - 1] !== run && !add(run)) {
      i = rows.endOf(run);
      continue;
    }
    i = add(i) ? i + 1 : rows.end[i];
  }
  return { keys, levels, positions, siblings, place, count, deepest };
}
