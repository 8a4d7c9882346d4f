// Graphviz's SVG in the page: the element, name and place of each box, and the edges between them.

/**
 * @typedef {{get(name: string): any, set(name: string, value: any): void, save_changes(): void,
 *   send(content: any): void, on(event: string, handler: (...args: any[]) => void): void,
 *   off(event: string, handler: (...args: any[]) => void): void}} Model
 * @typedef {{id: string, name: string, kind: string, canTick: boolean, text: string,
 *   element: SVGGElement, isCluster: boolean, x: number, y: number, width: number, height: number}} Box
 * @typedef {{tail: string, head: string, element: SVGGElement | undefined}} Edge an edge that is
 *   left out of the picture has no element
 */

class Picture {
  /** @type {Map<string, Box>} by id */
  boxes = new Map();
  /** @type {Map<string, Box>} */
  byName = new Map();
  /** @type {Map<string, Edge[]>} by the id of the box that they leave */
  after = new Map();
  /** @type {Map<string, Edge[]>} by the id of the box that they lead to */
  before = new Map();
  /** @type {Box[]} in order of execution; what the model returns comes last */
  order = [];
  offset = { x: 0, y: 0 };

  /** @param {Model} model */
  constructor(model) {
    // Parsed as XML, not as HTML: what Graphviz escaped stays text.
    const page = new DOMParser().parseFromString(model.get("svg"), "image/svg+xml");
    this.svg = /** @type {SVGSVGElement} */ (document.importNode(/** @type {any} */ (page.documentElement), true));
    const [, , width, height] = (this.svg.getAttribute("viewBox") ?? "0 0 1 1").split(/\s+/).map(Number);
    this.width = width;
    this.height = height;
    this.svg.setAttribute("width", String(width));
    this.svg.setAttribute("height", String(height));
    this.sheet = /** @type {SVGGElement} */ (this.svg.querySelector(":scope > g"));
    this.sheet.querySelector(":scope > polygon")?.remove(); // the background
    this.sheet.prepend(...this.sheet.querySelectorAll(":scope > .edge")); // under the names of clusters
    this.overlay = draw("g", { class: "fxx-overlay" });
    this.read(model.get("boxes"), model.get("facts"), model.get("left_out"));
    this.sheet.append(this.overlay);
  }

  /**
   * Ids are moved into the data: another view of the same model has them too.
   * @param {Record<string, string>} names @param {Record<string, [string, number, string]>} facts
   * @param {number[]} leftOut
   */
  read(names, facts, leftOut) {
    for (const element of /** @type {NodeListOf<SVGGElement>} */ (this.sheet.querySelectorAll("g[id]"))) {
      const id = element.id;
      element.removeAttribute("id");
      const pair = /^edge(-?\d+)-(-?\d+)$/.exec(id);
      if (pair) this.link(Number(pair[1]), Number(pair[2]), element);
      else if (id === "output") this.add(id, element, "", ["output", 0, "what the model returns"]);
      else if (names[id] !== undefined) this.add(id, element, names[id], facts[id]);
    }
    for (let i = 0; i < leftOut.length; i += 2) this.link(leftOut[i], leftOut[i + 1]);
    const row = (/** @type {Box} */ box) => (box.id === "output" ? Infinity : Number(box.id.slice(3)));
    this.order = [...this.boxes.values()].sort((a, b) => row(a) - row(b));
  }

  /** @param {string} id @param {SVGGElement} element @param {string} name @param {[string, number, string]} facts */
  add(id, element, name, [kind, canTick, text]) {
    element.dataset.id = id;
    if (id !== "output") element.dataset.name = name;
    const isCluster = element.classList.contains("cluster");
    const place = { x: 0, y: 0, width: 0, height: 0 };
    const box = { id, name, kind, canTick: Boolean(canTick), text, element, isCluster, ...place };
    this.boxes.set(id, box);
    if (id !== "output") this.byName.set(name, box);
  }

  /** @param {number} tail @param {number} head @param {SVGGElement} [element] */
  link(tail, head, element) {
    const idOf = (/** @type {number} */ row) => (row < 0 ? "output" : `row${row}`);
    const edge = { tail: idOf(tail), head: idOf(head), element };
    this.after.set(edge.tail, [...(this.after.get(edge.tail) ?? []), edge]);
    this.before.set(edge.head, [...(this.before.get(edge.head) ?? []), edge]);
  }

  /** Reads where everything is, once the picture is in the page. */
  measure() {
    const matrix = this.sheet.transform.baseVal.consolidate()?.matrix;
    this.offset = { x: matrix?.e ?? 0, y: matrix?.f ?? 0 };
    for (const box of this.order) {
      const { x, y, width, height } = shapeOf(box).getBBox();
      Object.assign(box, { x: x + this.offset.x, y: y + this.offset.y, width, height });
    }
  }

  /** Outside the page, or behind another tab, nothing has a size. */
  get isMeasured() {
    return this.order.some((box) => box.width > 0);
  }

  /** @param {Box} box @returns {Edge[]} */
  edgesOf(box) {
    return [...(this.before.get(box.id) ?? []), ...(this.after.get(box.id) ?? [])];
  }

  /** The box of a name, or of the folded module around it. @param {string} name */
  standIn(name) {
    for (let path = name; path; path = path.slice(0, Math.max(0, path.lastIndexOf(".")))) {
      const box = this.byName.get(path);
      if (box) return box;
    }
    return undefined;
  }

  /** The closest box that an edge leads to, or comes from; drawn edges first. @param {Box} box @param {"head" | "tail"} end */
  nearest(box, end) {
    const edges = (end === "head" ? this.after : this.before).get(box.id) ?? [];
    const far = (/** @type {Box} */ other) =>
      Math.abs(other.y + other.height / 2 - box.y - box.height / 2) + Math.abs(other.x + other.width / 2 - box.x - box.width / 2);
    let best;
    for (const edge of edges) {
      const other = this.boxes.get(edge[end]);
      // What comes back in the next round of a loop leads nowhere new.
      if (other && (this.order.indexOf(other) - this.order.indexOf(box)) * (end === "head" ? 1 : -1) <= 0) continue;
      const score = other && far(other) + (edge.element ? 0 : 1e6);
      if (other && score !== undefined && (!best || score < best.score)) best = { other, score };
    }
    return best?.other;
  }

  /** The next box in order of execution, or the one before. @param {Box} box @param {number} by */
  step(box, by) {
    return this.order[this.order.indexOf(box) + by] ?? box;
  }

  /**
   * A check mark on the corner, or how many are ticked inside: told apart without colour.
   * @param {Box} box @param {string} count
   */
  badge(box, count) {
    const { x, y } = this.offset;
    const mark = draw("g", { class: "fxx-badge", transform: `translate(${box.x - x} ${box.y - y})` });
    if (count) {
      const text = draw("text", { y: 3, "text-anchor": "middle" });
      text.textContent = count;
      mark.append(draw("rect", { x: -4 - 3 * count.length, y: -6.5, width: 8 + 6 * count.length, height: 13, rx: 6.5 }), text);
    } else mark.append(draw("circle", { r: 6.5 }), draw("path", { d: "M-3 0L-1 2.4L3.2 -2.6" }));
    box.element.append(mark);
  }

  /** What is special about its value, on the other corner. @param {Box} box @param {string} text */
  sign(box, text) {
    const { x, y } = this.offset;
    const mark = draw("text", { class: "fxx-badge fxx-sign", x: box.x - x + box.width, y: box.y - y - 1, "text-anchor": "end" });
    mark.textContent = text;
    box.element.append(mark);
  }

  /** An edge that is not in the picture, in a wide curve beside it or below. @param {Box} tail @param {Box} head @param {boolean} isAcross */
  drawExtra(tail, head, isAcross) {
    const { x, y } = this.offset;
    if (isAcross) {
      const [x1, y1] = [tail.x - x + tail.width / 2, tail.y - y + tail.height];
      const [x2, y2] = [head.x - x + head.width / 2, head.y - y + head.height];
      const out = 24 + Math.min(160, Math.abs(x2 - x1) / 6) + Math.max(y1, y2);
      this.overlay.append(draw("path", { class: "fxx-extra", d: `M${x1} ${y1}C${x1} ${out} ${x2} ${out} ${x2} ${y2}` }));
      return;
    }
    const [x1, y1] = [tail.x - x + tail.width, tail.y - y + tail.height / 2];
    const [x2, y2] = [head.x - x + head.width, head.y - y + head.height / 2];
    const out = 24 + Math.min(160, Math.abs(y2 - y1) / 6) + Math.max(x1, x2);
    this.overlay.append(draw("path", { class: "fxx-extra", d: `M${x1} ${y1}C${out} ${y1} ${out} ${y2} ${x2} ${y2}` }));
  }
}

/** @param {Box} box @returns {SVGGraphicsElement} */
function shapeOf(box) {
  return /** @type {SVGGraphicsElement} */ (box.element.querySelector("path, polygon"));
}
