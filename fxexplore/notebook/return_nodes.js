// The return nodes as chips in a toolbar: a click on a key renames it in place. A key that
// another node has is marked and explained, and does not reach the kernel.

/** @typedef {[name: string, key: string]} Pair */

/** @param {string} tag @param {string} [cls] @param {string} [text] */
function make(tag, cls, text) {
  const element = document.createElement(tag);
  if (cls) element.className = cls;
  if (text !== undefined) element.textContent = text; // never innerHTML: names are untrusted text
  return element;
}

class Chips {
  /** @param {any} model @param {HTMLElement} el */
  constructor(model, el) {
    this.model = model;
    /** @type {string | null} the node whose key is being renamed */
    this.editing = null;
    this.at = 0; // index of the button that is in the Tab order
    this.root = make("div", "fxx-return-nodes");
    this.bar = make("div", "fxx-chips");
    this.bar.setAttribute("role", "toolbar");
    this.bar.setAttribute("aria-label", "Return nodes");
    this.problem = make("div", "fxx-key-problem");
    this.problem.id = `fxx-${Math.random().toString(36).slice(2)}`;
    this.problem.setAttribute("role", "alert");
    this.root.append(this.bar, this.problem);
    this.bar.addEventListener("keydown", (event) => this.onKey(event));
    el.append(this.root);
    this.draw();
  }

  /** @returns {Pair[]} */
  get pairs() {
    return this.model.get("return_nodes");
  }

  /** @param {Pair[]} pairs */
  save(pairs) {
    this.model.set("return_nodes", pairs);
    this.model.save_changes();
  }

  draw() {
    if (!this.pairs.some(([name]) => name === this.editing)) this.editing = null;
    this.problem.textContent = "";
    const label = make("span", "fxx-label", "return nodes");
    const none = make("span", "fxx-none", "none yet: tick a node in the tree or in the diagram");
    const chips = this.pairs.map((pair) => this.chip(pair));
    this.bar.replaceChildren(label, ...(chips.length ? chips : [none]));
    if (chips.length > 1) this.bar.append(this.button("fxx-clear", "Clear", "Untick all", () => this.save([])));
    this.rove();
  }

  /** @param {Pair} pair */
  chip([name, key]) {
    const chip = make("span", "fxx-chip");
    chip.dataset.name = name;
    const place = this.button("fxx-place", name, `Show ${name}`, () => this.show(name));
    chip.append(place, make("span", "fxx-to", "→"));
    if (this.editing === name) chip.append(this.input(name, key));
    else chip.append(this.button("fxx-key", key, `Rename the key ${key} of ${name}`, () => this.edit(name), "✎"));
    chip.append(this.button("fxx-remove", "✕", `Untick ${name}`, () => this.remove(name)));
    return chip;
  }

  /** @param {string} cls @param {string} text @param {string} title @param {() => void} act @param {string} [icon] */
  button(cls, text, title, act, icon) {
    const button = /** @type {HTMLButtonElement} */ (make("button", cls, text));
    button.type = "button";
    button.title = title;
    button.setAttribute("aria-label", title);
    button.addEventListener("click", act);
    if (icon) button.append(make("span", "fxx-pen", icon));
    return button;
  }

  /** @param {string} name @param {string} key */
  input(name, key) {
    const input = /** @type {HTMLInputElement} */ (make("input", "fxx-rename"));
    input.value = key;
    input.size = Math.max(8, key.length + 1);
    input.spellcheck = false;
    input.setAttribute("aria-label", `Key of ${name}`);
    input.setAttribute("aria-describedby", this.problem.id);
    input.addEventListener("input", () => this.check(name, input));
    input.addEventListener("blur", () => {
      // An invalid key stays in the field, marked.
      if (this.editing === name && !this.check(name, input)) this.rename(name, input.value);
    });
    input.addEventListener("keydown", (event) => {
      event.stopPropagation(); // else they would trigger JupyterLab's shortcuts
      if (event.key === "Enter" && !this.check(name, input)) this.rename(name, input.value, true);
      else if (event.key === "Escape") this.rename(name, key, true);
      else return;
      event.preventDefault();
    });
    return input;
  }

  /** Say what is wrong with a key; "" if nothing is. @param {string} name @param {HTMLInputElement} input */
  check(name, input) {
    const owner = this.pairs.find(([other, key]) => other !== name && key === input.value)?.[0];
    const problem = !input.value
      ? "A key needs at least one character."
      : owner === undefined
        ? ""
        : `“${input.value}” is the key of ${owner} already; keys must differ.`;
    input.setAttribute("aria-invalid", String(problem !== ""));
    if (this.problem.textContent !== problem) this.problem.textContent = problem;
    return problem;
  }

  /** @param {string} name */
  edit(name) {
    this.editing = name;
    this.draw();
    const input = this.bar.querySelector("input");
    input?.focus();
    input?.select();
  }

  /** @param {string} name @param {string} key @param {boolean} [stay] keep the keyboard here */
  rename(name, key, stay = false) {
    this.editing = null;
    if (this.pairs.some(([other, old]) => other === name && old !== key)) {
      this.save(this.pairs.map(([other, old]) => [other, other === name ? key : old]));
    }
    this.draw();
    const chip = [...this.bar.children].find((child) => /** @type {HTMLElement} */ (child).dataset.name === name);
    if (stay) /** @type {HTMLElement | null} */ (chip?.querySelector(".fxx-key") ?? null)?.focus();
  }

  /** @param {string} name */
  remove(name) {
    const at = this.pairs.findIndex(([other]) => other === name);
    this.save(this.pairs.filter(([other]) => other !== name));
    const chips = this.bar.querySelectorAll(".fxx-remove");
    /** @type {HTMLElement | undefined} */ (chips[Math.min(at, chips.length - 1)])?.focus();
  }

  /** @param {string} name */
  show(name) {
    this.model.set("focused", name);
    this.model.save_changes();
  }

  /** One button is in the Tab order; arrows go from button to button (roving tabindex). */
  rove(step = 0) {
    const buttons = [...this.bar.querySelectorAll("button")];
    const here = buttons.indexOf(/** @type {HTMLButtonElement} */ (document.activeElement));
    this.at = Math.max(0, Math.min(buttons.length - 1, (here < 0 ? this.at : here) + step));
    for (const [i, button] of buttons.entries()) button.tabIndex = i === this.at ? 0 : -1;
    if (step) buttons[this.at]?.focus();
  }

  /** @param {KeyboardEvent} event */
  onKey(event) {
    /** @type {Record<string, number>} */
    const steps = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1, Home: -1e9, End: 1e9 };
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    event.stopPropagation();
    const chip = /** @type {HTMLElement} */ (event.target).closest(".fxx-chip");
    const name = /** @type {HTMLElement | null} */ (chip)?.dataset.name;
    if (event.key in steps) this.rove(steps[event.key]);
    else if (event.key === "F2" && name !== undefined) this.edit(name);
    else if ((event.key === "Delete" || event.key === "Backspace") && name !== undefined) this.remove(name);
    else return;
    event.preventDefault();
  }
}

/** @param {{model: any, el: HTMLElement}} context */
function render({ model, el }) {
  const chips = new Chips(model, el);
  const draw = () => chips.draw();
  model.on("change:return_nodes", draw);
  return () => model.off("change:return_nodes", draw);
}

export default { render };
