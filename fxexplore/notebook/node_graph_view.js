// Pan and zoom, by a CSS transform of the sheet: one frame, however many boxes are on it.

const SMALLEST = 0.04;
const LARGEST = 4;
const READABLE = 0.55;
const DRAG = 4; // pixels after which a press counts as a drag
const EDGE = 12; // pixels that stay free around a box that comes into sight

/** @typedef {{x: number, y: number, width: number, height: number}} Place on the sheet */

class View {
  x = 0;
  y = 0;
  scale = 1;
  size = { width: 1, height: 1 };
  start = { x: 0, y: 0 }; // where on the sheet the model begins
  isAcross = false; // whether it leads from left to right
  hasMoved = false; // since it was last fitted
  wasDragged = false;
  /** @type {Map<number, {x: number, y: number}>} */
  pointers = new Map();

  /**
   * @param {HTMLElement} pane @param {HTMLElement} sheet
   * @param {{tell(text: string): void, dragging(isOn: boolean): void}} owner
   */
  constructor(pane, sheet, owner) {
    this.pane = pane;
    this.sheet = sheet;
    this.owner = owner;
    pane.addEventListener("wheel", (event) => this.onWheel(event), { passive: false });
    pane.addEventListener("pointerdown", (event) => this.onPress(event));
    pane.addEventListener("mousedown", (event) => event.preventDefault()); // a drag must not move the focus
    this.width = 0; // of the pane
    this.resize = new ResizeObserver(() => this.onResize());
    this.resize.observe(pane);
  }

  /** What is in the middle stays there. */
  onResize() {
    const { clientWidth } = this.pane;
    const was = this.width;
    if (!clientWidth) return;
    this.width = clientWidth;
    if (!this.hasMoved) this.fit(false);
    else if (was) this.moveTo(this.x + (clientWidth - was) / 2, this.y);
  }

  place() {
    this.sheet.style.transform = `translate(${this.x}px, ${this.y}px) scale(${this.scale})`;
  }

  /** @param {number} x @param {number} y */
  moveTo(x, y, scale = this.scale) {
    Object.assign(this, { x, y, scale, hasMoved: true });
    this.place();
  }

  /** @param {boolean} isWhole all of it, however small; else readable, from the top */
  fit(isWhole) {
    const { clientWidth, clientHeight } = this.pane;
    const { width, height } = this.size;
    if (!clientWidth) return;
    const whole = Math.min(clientWidth / width, clientHeight / height);
    // Readable first: a large model shows its beginning rather than shrinking to nothing.
    const broad = this.isAcross ? clientHeight / height : clientWidth / width;
    const readable = Math.max(whole, Math.min(0.85, Math.max(READABLE, broad)));
    const scale = Math.max(SMALLEST, Math.min(1.2, isWhole ? whole : readable));
    const [freeX, freeY] = [clientWidth - width * scale, clientHeight - height * scale];
    const place = (/** @type {number} */ free, /** @type {number} */ middle, /** @type {number} */ start) =>
      free >= 0 ? free / 2 : Math.max(free - EDGE, Math.min(EDGE, middle - start * scale));
    this.moveTo(place(freeX, clientWidth / 2, this.start.x), place(freeY, clientHeight / 2, this.start.y), scale);
    this.hasMoved = isWhole;
  }

  /** @param {number} factor */
  zoom(factor, x = this.pane.clientWidth / 2, y = this.pane.clientHeight / 2) {
    const scale = Math.min(LARGEST, Math.max(SMALLEST, this.scale * factor));
    const ratio = scale / this.scale;
    this.moveTo(x - (x - this.x) * ratio, y - (y - this.y) * ratio, scale);
  }

  /** @param {Place} place */
  onScreen({ x, y, width, height }) {
    const { scale } = this;
    return { x: x * scale + this.x, y: y * scale + this.y, width: width * scale, height: height * scale };
  }

  /** @param {Place} place */
  isInSight(place, margin = 0) {
    const { x, y, width, height } = this.onScreen(place);
    const { clientWidth, clientHeight } = this.pane;
    return x < clientWidth + margin && x + width > -margin && y < clientHeight + margin && y + height > -margin;
  }

  /** @param {Place} place */
  centre(place) {
    const { clientWidth, clientHeight } = this.pane;
    const scale = Math.max(this.scale, Math.min(0.7, clientWidth / place.width));
    const [x, y] = [place.x + place.width / 2, place.y + place.height / 2];
    this.moveTo(clientWidth / 2 - x * scale, clientHeight / 2 - y * scale, scale);
  }

  /** Moves as little as needed for a place to be in sight. @param {Place} place */
  reveal(place) {
    const { x, y, width, height } = this.onScreen(place);
    const need = (/** @type {number} */ from, /** @type {number} */ size, /** @type {number} */ room) => {
      if (from >= EDGE && from + size <= room - EDGE) return 0;
      return Math.max(Math.min(0, room - EDGE - from - Math.min(size, room - 2 * EDGE)), EDGE - from);
    };
    const dx = need(x, width, this.pane.clientWidth);
    const dy = need(y, height, this.pane.clientHeight);
    if (dx || dy) this.moveTo(this.x + dx, this.y + dy);
  }

  /** Like a map in a page: the wheel scrolls the page, until the diagram is clicked. @param {WheelEvent} event */
  onWheel(event) {
    if (!event.ctrlKey && !event.metaKey && !this.pane.matches(":focus-within")) {
      this.owner.tell("Click the diagram, or hold Ctrl, to zoom with the wheel");
      return;
    }
    event.preventDefault();
    const pixels = event.deltaY * (event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 16 : 1);
    const speed = event.ctrlKey && Math.abs(pixels) < 50 ? 100 : 400; // a pinch comes in small steps
    const at = this.inPane({ x: event.clientX, y: event.clientY });
    this.zoom(Math.exp(-Math.max(-300, Math.min(300, pixels)) / speed), at.x, at.y);
  }

  /** @param {{x: number, y: number}} point */
  inPane(point) {
    const frame = this.pane.getBoundingClientRect();
    return { x: point.x - frame.left, y: point.y - frame.top };
  }

  /** One pointer drags, two pinch. @param {PointerEvent} event */
  onPress(event) {
    if (event.button !== 0) return;
    const pressed = { x: event.clientX, y: event.clientY };
    this.wasDragged = this.pointers.size > 0;
    this.pointers.set(event.pointerId, pressed);
    if (this.pointers.size > 1) return;
    const listening = new AbortController();
    const stop = (/** @type {PointerEvent} */ now) => {
      this.pointers.delete(now.pointerId);
      if (this.pointers.size) return;
      listening.abort();
      this.owner.dragging(false);
    };
    const { signal } = listening;
    window.addEventListener("pointermove", (now) => this.onMove(now, pressed), { signal });
    window.addEventListener("pointerup", stop, { signal });
    window.addEventListener("pointercancel", stop, { signal });
  }

  /** @param {PointerEvent} event @param {{x: number, y: number}} pressed */
  onMove(event, pressed) {
    const was = this.pointers.get(event.pointerId);
    if (!was) return;
    const now = { x: event.clientX, y: event.clientY };
    this.wasDragged ||= Math.hypot(now.x - pressed.x, now.y - pressed.y) > DRAG;
    if (!this.wasDragged) return;
    this.owner.dragging(true);
    this.pointers.set(event.pointerId, now);
    const other = [...this.pointers].find(([id]) => id !== event.pointerId)?.[1];
    if (!other) return this.moveTo(this.x + now.x - was.x, this.y + now.y - was.y);
    const apart = (/** @type {{x: number, y: number}} */ point) => Math.hypot(point.x - other.x, point.y - other.y);
    const middle = this.inPane({ x: (now.x + other.x) / 2, y: (now.y + other.y) / 2 });
    // What is between the fingers stays between them.
    this.moveTo(this.x + (now.x - was.x) / 2, this.y + (now.y - was.y) / 2);
    this.zoom(apart(now) / Math.max(1, apart(was)), middle.x, middle.y);
  }

  destroy() {
    this.resize.disconnect();
  }
}
