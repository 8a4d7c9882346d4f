// The rows of the tree, and which of them are in sight. No DOM in here.
// The files of the tree are joined into one module: see node_tree.py.
//
// A key stands for a line of the tree: row `i` is key `i`, group `g` of siblings with the same
// structure is key `rows.length + g`.

const NONE = -1;
const TICKABLE = 1;
const MODULE = 2;
const OPERATION = 4;
const SIZE = 8;
const NEVER_RAN = 16;
const AT_LEAST = 32; // more FLOPs than are counted
const RAISED = 64;
const IN_OPERATIONS = 128; // hidden among modules
const IN_EVERYTHING = 256; // hidden among operations too
/** @type {Record<string, number>} The flags of what each detail leaves out. */
const LEAVES_OUT = { modules: IN_OPERATIONS | IN_EVERYTHING, operations: IN_EVERYTHING, everything: 0 };
const MOST_NAMES = 100; // that are synced by name; more are synced as ranges, see `_pack_subset` in node_tree.py

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
    /** @type {{parameters: number, flops: number}} */
    this.whole = model.get("whole");
    this.length = this.depth.length;
    /** @type {string[]} */
    this.names = new Array(this.length);
    /** @type {Map<string, number>} */
    this.index = new Map();
    this.parent = new Int32Array(this.length);
    this.end = new Int32Array(this.length).fill(this.length);
    this.nest(model.get("names"));
    this.hidden = new Uint8Array(this.length);
    this.shownBefore = new Int32Array(this.length + 1);
    this.hide(0, () => true);

    const pairs = new Int32Array(bufferOf(model.get("groups")));
    this.groups = pairs.length / 3;
    this.keys = this.length + this.groups;
    this.groupOf = new Int32Array(this.length).fill(NONE);
    this.groupFirst = new Int32Array(this.groups);
    this.groupLast = new Int32Array(this.groups);
    this.groupCount = new Int32Array(this.groups); // rows
    this.groupRound = new Int32Array(this.groups); // rows that are a round of a loop; -1 for siblings
    this.addGroups(pairs);
    this.modules = this.depth.map((_, i) => i).filter((i) => this.is(i, MODULE));
    this.groupKeys = this.groupFirst.map((_, g) => this.length + g);
  }

  /**
   * The row that contains each row, where each one ends, and its qualified name.
   * @param {Record<string, string>} others names that do not follow from the labels, by row
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

  /** Leave out the rows that have a flag. @param {number} flag @param {(i: number) => boolean} isKept */
  hide(flag, isKept) {
    for (let i = 0; i < this.length; i++) {
      this.hidden[i] = this.is(i, flag) && !isKept(i) ? 1 : 0;
      this.shownBefore[i + 1] = this.shownBefore[i] + 1 - this.hidden[i];
    }
  }

  /** @param {Int32Array} pairs first rows, lengths, and lengths of a round */
  addGroups(pairs) {
    const { end } = this;
    for (let g = 0; g < this.groups; g++) {
      let member = pairs[3 * g];
      this.groupFirst[g] = member;
      this.groupCount[g] = pairs[3 * g + 1];
      this.groupRound[g] = pairs[3 * g + 2];
      for (let n = 0; n < this.groupCount[g]; n++) {
        this.groupOf[member] = g;
        this.groupLast[g] = member;
        member = end[member];
      }
    }
  }

  /** @param {number} i @param {number} flag */
  is(i, flag) {
    return (this.flags[i] & flag) !== 0;
  }

  /** @param {number} key */
  isGroup(key) {
    return key >= this.length;
  }

  /** The row that a key is, or the first of its group. @param {number} key */
  first(key) {
    return key < this.length ? key : this.groupFirst[key - this.length];
  }

  /** The row after everything inside. @param {number} key */
  endOf(key) {
    return this.end[key < this.length ? key : this.groupLast[key - this.length]];
  }

  /** The key of the row or group that contains it. @param {number} key */
  parentOf(key) {
    if (key < this.length && this.groupOf[key] >= 0) return this.length + this.groupOf[key];
    return this.parent[this.first(key)];
  }

  /** @param {number} key */
  hasInside(key) {
    return key >= this.length || this.shownBefore[this.end[key]] > this.shownBefore[key + 1];
  }

  /** The siblings of a group. @param {number} key */
  members(key) {
    const found = [];
    const g = key - this.length;
    for (let i = this.groupFirst[g]; found.length < this.groupCount[g]; i = this.end[i]) found.push(i);
    return found;
  }

  /** The lines directly inside of a row, of a group, or of the model, but for hidden ones. @param {number} key */
  inside(key) {
    if (this.isGroup(key)) return this.members(key).filter((i) => !this.hidden[i]);
    const found = [];
    const end = key < 0 ? this.length : this.end[key];
    for (let i = key + 1; i < end; ) {
      const line = this.groupOf[i] < 0 ? i : this.length + this.groupOf[i];
      if (line === i ? !this.hidden[i] : this.inside(line).length) found.push(line);
      i = this.endOf(line);
    }
    return found;
  }

  /** Qualified name; a group has none. @param {number} key */
  name(key) {
    return key < this.length ? this.names[key] : "";
  }

  /** @param {number} key */
  label(key) {
    if (key < this.length) return this.labels.at(key);
    const g = key - this.length;
    const shown = this.members(key).filter((i) => !this.hidden[i]);
    return `${this.labels.at(shown[0] ?? this.groupFirst[g])} … ${this.labels.at(shown.at(-1) ?? this.groupLast[g])}`;
  }

  /** @param {number} key */
  note(key) {
    if (key < this.length) return this.notes.at(key);
    const g = key - this.length;
    const round = this.groupRound[g];
    const times = this.groupCount[g] / Math.abs(round);
    if (round <= 1) return `${times} × ${this.notes.at(this.groupFirst[g])}, ${round < 0 ? "same structure" : "one loop"}`;
    const names = this.members(key).slice(0, round).filter((i) => !this.hidden[i]).map((i) => this.labels.at(i));
    return `${times} × ${names.slice(0, 3).join(", ")}${names.length > 3 ? " …" : ""}, one loop`;
  }

  /** A number of a row, or the sum over a group. @param {Float64Array} numbers @param {number} key */
  sum(numbers, key) {
    if (key < this.length) return numbers[key];
    return this.members(key).reduce((sum, i) => sum + numbers[i], 0);
  }

  /**
   * The keys in a synced list: names, or ranges in the order of all keys.
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
   * The inverse of `unpack`; see `_pack_subset` in node_tree.py.
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
 * @param {Uint8Array | null} kept by key: what a search leaves
 * @param {Float64Array | null} sizes by row: the largest sibling first; null for order of execution
 */
function linesInSight(rows, isOpen, opensWhole, kept, sizes) {
  const keys = new Int32Array(rows.keys);
  const levels = new Int32Array(rows.keys);
  const positions = new Int32Array(rows.keys);
  const siblings = new Int32Array(rows.keys + 1); // by parent's key plus one
  const place = new Int32Array(rows.keys).fill(NONE);
  let [count, deepest] = [0, 0];

  /** @param {number} parent @param {number} level @param {boolean} isWhole */
  const walk = (parent, level, isWhole) => {
    let inside = rows.inside(parent);
    if (kept && !isWhole) inside = inside.filter((key) => kept[key]);
    if (sizes) {
      const size = new Map(inside.map((key) => [key, rows.sum(sizes, key) || 0])); // NaN where unknown
      inside.sort((a, b) => /** @type {number} */ (size.get(b)) - /** @type {number} */ (size.get(a)));
    }
    siblings[parent + 1] = inside.length;
    if (inside.length) deepest = Math.max(deepest, level);
    inside.forEach((key, n) => {
      keys[count] = key;
      levels[count] = level;
      positions[count] = n + 1;
      place[key] = count++;
      if (rows.hasInside(key) && isOpen(key)) walk(key, level + 1, isWhole || (kept !== null && opensWhole(key)));
    });
  };
  walk(NONE, 1, false);
  return { keys, levels, positions, siblings, place, count, deepest };
}
