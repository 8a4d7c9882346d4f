// The parts of the page around the picture: buttons, the menu, and files to save.

const SVG = "http://www.w3.org/2000/svg";
const LARGEST_PNG = 16_000; // pixels of a side; browsers draw no larger
const INLINED = [
  "fill", "fill-opacity", "stroke", "stroke-width", "stroke-dasharray", "stroke-opacity",
  "font-family", "font-size", "font-weight", "text-decoration", "opacity", "paint-order",
];

/** @typedef {[string, () => void]} Entry What stands in a menu, and what it does. */

/**
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag @param {string} [cls] @param {string} [text]
 */
function make(tag, cls, text) {
  const element = document.createElement(tag);
  if (cls) element.className = cls;
  if (text !== undefined) element.textContent = text; // never innerHTML: names are untrusted text
  return element;
}

/**
 * @template {keyof SVGElementTagNameMap} Tag
 * @param {Tag} tag @param {Record<string, string | number>} attributes
 */
function draw(tag, attributes) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
  return element;
}

/** @param {string} text @param {string} title @param {() => void} action */
function makeButton(text, title, action) {
  const button = make("button", "fxx-button", text);
  button.type = "button";
  label(button, title);
  button.addEventListener("click", action);
  return button;
}

/** @param {HTMLElement} element @param {string} words */
function label(element, words) {
  element.title = words;
  element.setAttribute("aria-label", words);
}

/** @param {KeyboardEvent} event */
function keepKey(event) {
  // Plain keys would trigger JupyterLab's shortcuts; those with Ctrl, such as save, are left to it.
  if ((!event.ctrlKey && !event.metaKey) || event.key === "Enter") event.stopPropagation();
}

/** A small menu: arrows move, Enter and Space choose, Escape and a click elsewhere close. */
class Menu {
  /** @type {HTMLElement | undefined} */
  list = undefined;
  /** @type {() => void} */
  back = () => {};

  /** @param {HTMLElement} root */
  constructor(root) {
    this.root = root;
    this.outside = (/** @type {Event} */ event) => {
      if (!this.list?.contains(/** @type {Node} */ (event.target))) this.close(false);
    };
  }

  /**
   * @param {string} label @param {Entry[]} entries
   * @param {number} x @param {number} y @param {() => void} back puts the focus where it was
   */
  open(label, entries, x, y, back) {
    this.close(false);
    this.back = back;
    const list = make("div", "fxx-menu");
    this.list = list;
    list.setAttribute("role", "menu");
    list.setAttribute("aria-label", label);
    for (const entry of entries) list.append(this.entry(entry));
    list.addEventListener("keydown", (event) => this.onKey(event));
    list.addEventListener("contextmenu", (event) => event.preventDefault());
    this.root.append(list);
    list.style.left = `${Math.max(0, Math.min(x, this.root.clientWidth - list.offsetWidth - 4))}px`;
    list.style.top = `${Math.max(0, Math.min(y, this.root.clientHeight - list.offsetHeight - 4))}px`;
    this.entries()[0]?.focus({ preventScroll: true });
    document.addEventListener("pointerdown", this.outside, true);
  }

  /** @param {Entry} entry */
  entry([text, action]) {
    const line = make("div", "fxx-entry", text);
    line.setAttribute("role", "menuitem");
    line.tabIndex = -1;
    line.addEventListener("click", () => {
      this.close(true);
      action();
    });
    return line;
  }

  entries() {
    return /** @type {HTMLElement[]} */ ([...(this.list?.children ?? [])]);
  }

  /** @param {boolean} isDone whether the focus goes back to where it was */
  close(isDone) {
    document.removeEventListener("pointerdown", this.outside, true);
    this.list?.remove();
    this.list = undefined;
    if (isDone) this.back();
  }

  /** @param {KeyboardEvent} event */
  onKey(event) {
    const entries = this.entries();
    const at = entries.findIndex((entry) => entry === document.activeElement);
    /** @type {Record<string, number>} */
    const moves = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: -1 };
    event.stopPropagation();
    if (event.key in moves) entries.at(moves[event.key] % entries.length)?.focus({ preventScroll: true });
    else if (event.key === "Enter" || event.key === " ") entries[at]?.click();
    else if (event.key === "Escape" || event.key === "Tab") this.close(true);
    else return;
    event.preventDefault();
  }
}

/** @param {Blob} blob @param {string} name */
function download(blob, name) {
  const link = make("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/**
 * A picture with its colours in it, as it looks in this theme.
 * @param {SVGSVGElement} svg @param {string} paper
 */
function standalone(svg, paper) {
  const copy = /** @type {SVGSVGElement} */ (svg.cloneNode(true));
  const sources = [svg, ...svg.querySelectorAll("*")];
  [copy, ...copy.querySelectorAll("*")].forEach((part, i) => {
    const style = getComputedStyle(sources[i]);
    for (const name of INLINED) part.setAttribute(name, plainColour(style.getPropertyValue(name)));
    const ours = part.getAttributeNames().filter((name) => /^(aria-|data-|role|tabindex|class)/.test(name));
    for (const name of ours) part.removeAttribute(name);
  });
  copy.prepend(draw("rect", { width: "100%", height: "100%", fill: plainColour(paper) }));
  return new XMLSerializer().serializeToString(copy);
}

/** Mixed colours are computed as `color(srgb …)`, which only browsers read. @param {string} value */
function plainColour(value) {
  return value.replace(/color\(srgb ([^)]*)\)/g, (_, inner) => {
    const [r, g, b, alpha] = inner.split(/[ /]+/).map(Number);
    const bytes = [r, g, b].map((part) => Math.round(255 * part));
    return alpha === undefined ? `rgb(${bytes})` : `rgba(${bytes},${alpha})`;
  });
}

/**
 * @param {string} source an SVG @param {number} width @param {number} height
 * @returns {Promise<Blob | null>} two pixels for one, or as many as a browser draws
 */
function toPng(source, width, height) {
  const scale = Math.min(2, LARGEST_PNG / Math.max(width, height));
  const image = new Image();
  return new Promise((resolve) => {
    image.onerror = () => resolve(null);
    image.onload = () => {
      const canvas = make("canvas");
      canvas.width = Math.ceil(width * scale);
      canvas.height = Math.ceil(height * scale);
      canvas.getContext("2d")?.drawImage(image, 0, 0, canvas.width, canvas.height);
      canvas.toBlob(resolve);
    };
    image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(source)}`;
  });
}
