// The query language of the search box: terms separated by spaces, all of which must hold.

/** The lines of the help: an example, and what it finds. */
const GRAMMAR = [
  ["relu layer1", "words in the name or the class"],
  ["layer?.*.conv*", "names; * stands for anything, ? for one character"],
  ["class:Conv2d", "modules of a class; * and ? too"],
  ["op:add", "operations by what they compute; * and ? too"],
  ["shape:56", "outputs with that size in their shape"],
  ["shape:64x56x56", "… with those sizes in a row; * for any size"],
  ["params>1M", "parameters, with > >= < <= = and k, M, G"],
  ["flops>=1G", "floating point operations; a multiply-add counts 2"],
  ["top:params", "the ten nodes with most of them; top:flops too"],
];

const TOP = 10;

/** @typedef {{test: (i: number) => boolean, words?: string, top?: Float64Array}} Term */

/** A term that cannot be understood; its message says what to write instead. */
class BadTerm extends Error {}

/** @type {Record<string, number>} */
const UNITS = { "": 1, k: 1e3, m: 1e6, g: 1e9 };

/** @type {Record<string, (a: number, b: number) => boolean>} */
const COMPARISONS = {
  ">": (a, b) => a > b,
  ">=": (a, b) => a >= b,
  "<": (a, b) => a < b,
  "<=": (a, b) => a <= b,
  "=": (a, b) => a === b,
};

/** @param {string} text */
const hasWildcard = (text) => /[*?]/.test(text);

/** A case-insensitive test for the whole of a text. @param {string} pattern with * and ? */
function glob(pattern) {
  const source = pattern.replace(/[.+^${}()|[\]\\]/g, "\\$&").replace(/\*+/g, ".*").replace(/\?/g, ".");
  const expression = new RegExp(`^${source}$`, "is");
  return (/** @type {string} */ text) => expression.test(text);
}

/**
 * Turn a test for texts into one for rows: each distinct text is tested once.
 * @param {Texts} texts @param {(text: string) => boolean} test
 */
function byText(texts, test) {
  const holds = Uint8Array.from(texts.words, (word) => (test(word) ? 1 : 0));
  return (/** @type {number} */ i) => holds[texts.of[i]] === 1;
}

/** Finds rows; keeps what it has looked up for the next search. */
class Search {
  /** @param {Rows} rows */
  constructor(rows) {
    this.rows = rows;
    /** @type {string[] | null} */
    this.lower = null; // names in lower case, made at the first search
    this.query = "";
    this.problem = "";
    /** @type {number[] | null} */
    this.hits = null;
  }

  /**
   * Set `hits` to the rows for which every term holds, null for no search at all, and
   * `problem` to what is wrong with the query in words.
   * @param {string} query
   */
  find(query) {
    this.query = query;
    this.problem = "";
    this.hits = null;
    const terms = query.replace(/\s*([<>]=?|=)\s*/g, "$1").split(/\s+/).filter(Boolean);
    if (!terms.length) return;
    try {
      this.hits = this.matching(terms.map((term) => this.term(term)));
    } catch (problem) {
      if (!(problem instanceof BadTerm)) throw problem;
      this.problem = problem.message;
      this.hits = [];
    }
  }

  /** @param {Term[]} terms */
  matching(terms) {
    const { rows } = this;
    const words = terms.filter((term) => term.words !== undefined);
    const others = terms.filter((term) => term.words === undefined);
    let found = [];
    for (let i = 0; i < rows.length; i++) {
      if (others.every((term) => term.test(i)) && words.every((term) => term.test(i))) found.push(i);
    }
    for (const { top } of terms) if (top) found = this.largest(found, top);
    // Everything inside `layer1` has that word in its name. Where words are all that is asked
    // for, a hit is a row whose own label or class has one of them.
    if (others.length) return found;
    return found.filter((i) => words.some((term) => this.isOwn(i, /** @type {string} */ (term.words))));
  }

  /** The ten rows with the largest numbers, without what contains others. @param {number[]} found @param {Float64Array} numbers */
  largest(found, numbers) {
    const sized = found.filter((i) => !this.rows.is(i, MODULE) && numbers[i] > 0);
    const largest = new Set([...sized].sort((a, b) => numbers[b] - numbers[a]).slice(0, TOP));
    return sized.filter((i) => largest.has(i));
  }

  /** @param {number} i @param {string} word in lower case */
  isOwn(i, word) {
    const { rows } = this;
    const name = /** @type {string[]} */ (this.lower)[i];
    const own = name.length - rows.labels.at(i).length;
    return name.lastIndexOf(word) + word.length > own && name.includes(word) || rows.notes.at(i).toLowerCase().includes(word);
  }

  /** @param {string} text @returns {Term} */
  term(text) {
    const compared = /^(params|parameters|flops)([<>]=?|=)(.*)$/i.exec(text);
    if (compared) return this.comparison(text, compared[1].toLowerCase(), compared[2], compared[3]);
    const keyed = /^([a-z]+):(.*)$/i.exec(text);
    if (keyed) return this.keyed(text, keyed[1].toLowerCase(), keyed[2]);
    if (/^(params|parameters|flops)$/i.test(text)) return this.words(text);
    return hasWildcard(text) ? this.names(text) : this.words(text);
  }

  /** @param {string} text @returns {Term} */
  words(text) {
    const word = text.toLowerCase();
    this.lower ??= this.rows.names.map((name) => name.toLowerCase());
    const { lower } = this;
    const inNote = byText(this.rows.notes, (note) => note.toLowerCase().includes(word));
    return { test: (i) => inNote(i) || lower[i].includes(word), words: word };
  }

  /** @param {string} pattern @returns {Term} */
  names(pattern) {
    const test = glob(pattern);
    const inLabel = byText(this.rows.labels, test);
    return { test: (i) => inLabel(i) || test(this.rows.names[i]) };
  }

  /** @param {string} text @param {string} key @param {string} value @returns {Term} */
  keyed(text, key, value) {
    const { rows } = this;
    if (!["class", "op", "shape", "top"].includes(key)) {
      throw new BadTerm(`“${text}”: there is no “${key}:”; write class:, op:, shape:, top:, params> or flops>`);
    }
    if (!value) {
      const example = { class: "class:Conv2d", op: "op:add", shape: "shape:64x56x56", top: "top:params" }[key];
      throw new BadTerm(`“${text}”: something must follow the colon, as in ${example}`);
    }
    if (key === "shape") return this.shape(text, value);
    if (key === "top") {
      if (!/^(params|parameters|flops)$/i.test(value)) throw new BadTerm(`“${text}”: write top:params or top:flops`);
      return { test: () => true, top: value.toLowerCase() === "flops" ? rows.flops : rows.parameters }; // among all others
    }
    const test = glob(value);
    const inClass = byText(rows.classes, (name) => test(name) || (key === "op" && test(name.replace(/_+$/, ""))));
    const isOperation = (/** @type {number} */ i) => rows.is(i, OPERATION | SIZE);
    return { test: (i) => isOperation(i) === (key === "op") && inClass(i) };
  }

  /** @param {string} text @param {string} value @returns {Term} */
  shape(text, value) {
    const sizes = value.toLowerCase().split(/[x×,]/);
    if (!sizes.every((size) => /^(\d+|\*)$/.test(size))) {
      throw new BadTerm(`“${text}”: write sizes with x between them, as in shape:64x56x56`);
    }
    const holds = (/** @type {string} */ shape) => {
      const has = shape.split("×");
      return has.some((_, at) => sizes.every((size, n) => has[at + n] !== undefined && (size === "*" || size === has[at + n])));
    };
    return { test: byText(this.rows.shapes, (shape) => shape !== "" && holds(shape)) };
  }

  /** @param {string} text @param {string} what @param {string} sign @param {string} number @returns {Term} */
  comparison(text, what, sign, number) {
    const parts = /^(\d+\.?\d*|\.\d+)([kmg]?)$/i.exec(number);
    if (!parts) {
      throw new BadTerm(`“${text}”: write a number after ${sign}, as in ${what}${sign}1.5M or ${what}${sign}200k`);
    }
    const limit = Number(parts[1]) * UNITS[parts[2].toLowerCase()];
    const compare = COMPARISONS[sign];
    const numbers = what === "flops" ? this.rows.flops : this.rows.parameters;
    return { test: (i) => compare(numbers[i], limit) }; // NaN where unknown: never holds
  }
}
