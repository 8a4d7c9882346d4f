// The parts of the page that the tree is made of: bar, help, header with its menu, and rows.

const ROW = 22; // pixels
const LEAST_NAME = 150; // pixels: the least width of the names
const COMFORT = 230; // pixels of the names from which on shares are written out
const SHARE = 42; // pixels

/** @type {Record<string, string>} The class of a mark that starts with a sign. */
const SIGNS = { "✗": "fxx-cross", "−": "fxx-cross", "+": "fxx-plus", "≠": "fxx-differs" };

/** @type {{id: string, title: string, rank: number}[]} The rank says which one goes first. */
const COLUMNS = [
  { id: "output", title: "output", rank: 2 },
  { id: "parameters", title: "parameters", rank: 1 },
  { id: "flops", title: "FLOPs", rank: 0 },
];

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

/** The control that says how much is shown. @param {(detail: string) => void} choose */
function makeDetail(choose) {
  const control = make("select", "fxx-button fxx-detail");
  for (const detail of Object.keys(LEAVES_OUT)) control.append(make("option", "", detail));
  label(control, "Detail: how much is shown");
  control.addEventListener("change", () => choose(control.value));
  return control;
}

/** The lines of help under the search box. @param {string} id */
function makeHelp(id) {
  const help = make("dl", "fxx-help");
  help.id = id;
  help.hidden = true;
  for (const [example, meaning] of GRAMMAR) help.append(make("dt", "", example), make("dd", "", meaning));
  help.append(make("dt", "", "Ctrl C"), make("dd", "", "in the tree: copies the name"));
  return help;
}

/** The menu of columns: a button and what it opens. */
class ColumnMenu {
  /** @param {() => string[]} shown @param {() => string[]} fitting @param {(columns: string[]) => void} choose */
  constructor(shown, fitting, choose) {
    this.shown = shown;
    this.fitting = fitting;
    this.choose = choose;
    this.button = makeButton("⋮", "Columns", () => this.toggle(this.list.hidden));
    this.button.classList.add("fxx-menu-button");
    this.button.setAttribute("aria-haspopup", "menu");
    this.list = make("div", "fxx-menu");
    this.list.setAttribute("role", "menu");
    this.list.setAttribute("aria-label", "Columns");
    this.items = COLUMNS.map(({ id }) => this.item(id));
    this.list.append(...this.items);
    this.list.addEventListener("keydown", (event) => this.onKey(event));
    this.list.addEventListener("focusout", (event) => {
      const to = event.relatedTarget;
      if (!(to instanceof Node && this.list.contains(to)) && to !== this.button) this.toggle(false);
    });
    this.toggle(false);
  }

  /** @param {string} id */
  item(id) {
    const item = make("button", "fxx-menu-item");
    item.type = "button";
    item.tabIndex = -1;
    item.setAttribute("role", "menuitemcheckbox");
    item.addEventListener("click", () => {
      const shown = this.shown();
      this.choose(COLUMNS.map((column) => column.id).filter((other) => (other === id) !== shown.includes(other)));
      this.update();
    });
    return item;
  }

  update() {
    const [shown, fitting] = [this.shown(), this.fitting()];
    this.items.forEach((item, n) => {
      const { id, title } = COLUMNS[n];
      const has = shown.includes(id);
      item.setAttribute("aria-checked", String(has));
      const room = has && !fitting.includes(id) ? " (no room)" : "";
      item.replaceChildren(make("span", "fxx-check", has ? "✓" : ""), `${title}${room}`);
    });
  }

  /** @param {boolean} open */
  toggle(open) {
    this.list.hidden = !open;
    this.button.setAttribute("aria-expanded", String(open));
    if (!open) return;
    this.update();
    this.items[0].focus();
  }

  /** @param {KeyboardEvent} event */
  onKey(event) {
    const at = this.items.indexOf(/** @type {HTMLButtonElement} */ (event.target));
    const last = this.items.length - 1;
    /** @type {Record<string, number>} */
    const goals = { ArrowDown: at < last ? at + 1 : 0, ArrowUp: at > 0 ? at - 1 : last, Home: 0, End: last };
    if (event.key in goals) this.items[goals[event.key]].focus();
    else if (event.key === "Escape") {
      this.toggle(false);
      this.button.focus();
    } else return;
    event.preventDefault();
  }
}

/** What a row looks like, beyond the facts in `Rows`. @typedef {object} Look
 * @property {string} id
 * @property {number} level
 * @property {number} position among its siblings
 * @property {number} siblings
 * @property {"true" | "false" | "mixed" | ""} tick empty if it cannot be ticked
 * @property {number} inside how many are ticked inside
 * @property {boolean | undefined} open undefined if nothing is inside
 * @property {boolean} hit
 * @property {boolean} focused
 * @property {string[]} columns
 * @property {boolean} shares whether there is room for shares in percent
 */

/** @param {Rows} rows @param {number} key */
function factsOf(rows, key) {
  const parameters = rows.sum(rows.parameters, key);
  const flops = rows.sum(rows.flops, key);
  return {
    output: rows.shapes.at(rows.first(key)),
    parameters: parameters ? shortCount(parameters) : "",
    flops: flops > 0 ? `${rows.is(rows.first(key), AT_LEAST) ? "≥ " : ""}${shortCount(flops)}` : "", // NaN where unknown
    shares: { parameters: shareOf(parameters, rows.whole.parameters), flops: shareOf(flops, rows.whole.flops) },
  };
}

/** In percent; 0 where it is not known. @param {number} part @param {number} whole */
function shareOf(part, whole) {
  return part > 0 && whole > 0 ? (100 * part) / whole : 0;
}

/** A share of the whole model, in percent. @param {number} share */
function percent(share) {
  return share < 0.1 ? "< 0.1 %" : `${share.toFixed(share < 9.95 ? 1 : 0)} %`;
}

/** All facts of a row as lines of text, for the tooltip: text in the row may be cut. @param {Rows} rows @param {number} key */
function describe(rows, key) {
  const { output, parameters, flops, shares } = factsOf(rows, key);
  const facts = [
    output && `output ${output}`,
    parameters && `${parameters} parameters (${percent(shares.parameters)})`,
    flops && `${flops}${flops.includes(" ") ? "" : " "}FLOPs${shares.flops ? ` (${percent(shares.flops)})` : ""}`,
  ];
  const marks = rows.isGroup(key) ? "" : rows.marks.at(key);
  return [rows.name(key) || rows.label(key), rows.note(key), facts.filter(Boolean).join(" · "), marks]
    .filter(Boolean)
    .join("\n");
}

/**
 * The element of a row, up to date; one that showed the same name before is reused.
 * @param {HTMLElement | undefined} old @param {Rows} rows @param {number} key @param {Look} look
 */
function renewRow(old, rows, key, look) {
  const row = makeRow(rows, key, look);
  if (old?.dataset.name !== row.dataset.name || old?.dataset.group !== row.dataset.group) return row;
  become(/** @type {HTMLElement} */ (old), row);
  return /** @type {HTMLElement} */ (old);
}

/** What stands quietly beside a name: of the row where the model raised what it raised. @param {Rows} rows @param {number} key */
function noteOf(rows, key) {
  if (rows.isGroup(key) || !rows.is(key, RAISED)) return rows.note(key);
  return rows.marks.at(key).split("\n")[0].replace(/^✗ raised: ✗ .*?: /, ""); // the name stands there
}

/** @param {Rows} rows @param {number} key @param {Look} look */
function makeRow(rows, key, look) {
  const row = make("div", "fxx-row");
  row.id = look.id;
  row.dataset.key = String(key);
  if (rows.isGroup(key)) row.dataset.group = rows.names[rows.first(key)];
  else row.dataset.name = rows.names[key];
  row.title = describe(rows, key);
  row.classList.toggle("fxx-hit", look.hit);
  row.classList.toggle("fxx-focused", look.focused);
  row.classList.toggle("fxx-group", rows.isGroup(key));
  row.classList.toggle("fxx-raised", rows.is(rows.first(key), RAISED));
  row.classList.toggle("fxx-dim", rows.is(rows.first(key), SIZE | NEVER_RAN));
  setAria(row, rows, key, look);

  const name = make("span", "fxx-cell");
  name.style.setProperty("--fxx-level", String(look.level - 1));
  name.append(make("span", "fxx-fold", look.open === undefined ? "" : look.open ? "▾" : "▸"));
  name.append(makeBox(look), make("span", "fxx-name", rows.label(key)));
  for (const mark of rows.isGroup(key) ? [] : rows.marks.at(key).split("\n").filter(Boolean)) {
    const words = mark.slice(0, mark.indexOf(":"));
    name.append(make("span", ["fxx-mark", ...(SIGNS[words[0]] ? [SIGNS[words[0]]] : [])].join(" "), words));
  }
  name.append(make("span", "fxx-note", noteOf(rows, key)));
  if (!rows.isGroup(key)) name.append(makeCopy(rows.names[key]));
  row.append(name, ...makeNumbers(factsOf(rows, key), look));
  return row;
}

/**
 * Make an element like a fresh one without replacing it: a mouse button that is down on an element
 * that is removed makes no click.
 * @param {HTMLElement} old @param {HTMLElement} fresh
 */
function become(old, fresh) {
  for (const { name } of [...old.attributes]) if (!fresh.hasAttribute(name)) old.removeAttribute(name);
  for (const { name, value } of fresh.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  const parts = [...fresh.childNodes];
  parts.forEach((part, n) => {
    const was = old.childNodes[n];
    if (was instanceof HTMLElement && part instanceof HTMLElement && was.classList[0] === part.classList[0]) become(was, part);
    else if (was instanceof Text && part instanceof Text) was.data = part.data;
    else if (was) was.replaceWith(part);
    else old.append(part);
  });
  while (old.childNodes.length > parts.length) old.lastChild?.remove();
}

/** @param {HTMLElement} row @param {Rows} rows @param {number} key @param {Look} look */
function setAria(row, rows, key, look) {
  row.setAttribute("role", "treeitem");
  row.setAttribute("aria-level", String(look.level));
  row.setAttribute("aria-posinset", String(look.position));
  row.setAttribute("aria-setsize", String(look.siblings));
  if (look.open !== undefined) row.setAttribute("aria-expanded", String(look.open));
  if (look.tick) row.setAttribute("aria-checked", look.tick);
  row.setAttribute("aria-label", [rows.label(key), ...describe(rows, key).split("\n").slice(1)].join(", "));
}

/** @param {Look} look */
function makeBox({ tick, inside }) {
  const box = make("span", "fxx-box", tick === "true" ? "✓" : tick === "mixed" ? "–" : "");
  box.classList.toggle("fxx-on", tick === "true" || tick === "mixed");
  box.classList.toggle("fxx-off", !tick);
  if (inside) box.title = `${inside} ticked inside`;
  return box;
}

/** @param {string} name */
function makeCopy(name) {
  const button = make("button", "fxx-copy", "copy");
  button.type = "button";
  button.tabIndex = -1; // one stop for the whole tree; Ctrl C does the same
  label(button, `Copy “${name}”`);
  return button;
}

/** @param {ReturnType<typeof factsOf>} facts @param {Look} look */
function makeNumbers(facts, { columns, shares }) {
  return columns.map((id) => {
    const cell = make("span", "fxx-number", facts[/** @type {"output"} */ (id)]);
    const share = id === "output" ? 0 : facts.shares[/** @type {"flops"} */ (id)];
    // A bar of a pixel or two looks like a comma.
    if (share >= 3) cell.style.setProperty("--fxx-share", `${Math.min(100, share)}%`);
    if (share >= 0.1 && shares) cell.dataset.share = percent(share);
    return cell;
  });
}

/** Copy with `execCommand`, which needs no permission and no https. @param {string} text */
function copyText(text) {
  let done = false;
  /** @param {ClipboardEvent} event */
  const take = (event) => {
    event.clipboardData?.setData("text/plain", text);
    event.preventDefault();
    event.stopImmediatePropagation();
    done = true;
  };
  document.addEventListener("copy", take, { capture: true, once: true });
  document.execCommand("copy");
  document.removeEventListener("copy", take, { capture: true });
  return done;
}
