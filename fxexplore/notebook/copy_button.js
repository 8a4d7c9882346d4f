// A button that copies a text and says that it did. Works without a kernel.

const SHOWN = 2000; // milliseconds that "Copied" stands

/** Copy a text; says whether it worked. @param {string} text */
async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copyOldWay(text); // pages that are not served over https have no clipboard
  }
}

/** @param {string} text */
function copyOldWay(text) {
  const field = document.createElement("textarea");
  const before = /** @type {HTMLElement | null} */ (document.activeElement);
  field.value = text;
  field.className = "fxx-offscreen";
  (document.fullscreenElement ?? document.body).append(field);
  field.select();
  const copied = document.execCommand("copy");
  field.remove();
  before?.focus();
  return copied;
}

/** @param {{model: any, el: HTMLElement}} context */
function render({ model, el }) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "fxx-action";
  const said = document.createElement("span");
  said.className = "fxx-offscreen";
  said.setAttribute("role", "status");
  el.append(button, said);
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;

  const label = () => {
    button.textContent = model.get("label");
    button.disabled = !model.get("text");
  };
  /** @param {string} words */
  const say = (words) => {
    button.textContent = said.textContent = words;
    clearTimeout(timer);
    timer = setTimeout(() => {
      said.textContent = "";
      label();
    }, SHOWN);
  };
  button.addEventListener("keydown", (event) => event.stopPropagation());
  button.addEventListener("click", async () => {
    say((await copy(model.get("text"))) ? "Copied ✓" : "The browser did not allow it");
  });
  model.on("change:label", label);
  model.on("change:text", label);
  label();
  return () => {
    clearTimeout(timer);
    model.off("change:label", label);
    model.off("change:text", label);
  };
}

export default { render };
