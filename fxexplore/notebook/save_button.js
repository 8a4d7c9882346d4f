// A button that asks the kernel for a text and saves it as a file.

const PATIENCE = 15000; // milliseconds without an answer after which the kernel counts as busy or gone

/** @param {{model: any, el: HTMLElement}} context */
function render({ model, el }) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "fxx-action";
  button.textContent = model.get("label");
  el.append(button);
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  let asked = false; // the same message reaches every view

  /** @param {string} words */
  const finish = (words) => {
    asked = false;
    clearTimeout(timer);
    button.textContent = words;
    timer = setTimeout(() => (button.textContent = model.get("label")), 3000);
  };
  /** @param {{text?: string}} answer */
  const onAnswer = (answer) => {
    if (!asked || answer.text === undefined) return;
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([answer.text], { type: "text/html" }));
    link.download = model.get("file_name");
    link.click();
    URL.revokeObjectURL(link.href);
    finish("Saved ✓");
  };
  button.addEventListener("keydown", (event) => event.stopPropagation());
  button.addEventListener("click", () => {
    asked = true;
    button.textContent = "Saving…";
    clearTimeout(timer);
    timer = setTimeout(() => finish("The kernel did not answer"), PATIENCE);
    model.send("text");
  });
  model.on("msg:custom", onAnswer);
  return () => {
    clearTimeout(timer);
    model.off("msg:custom", onAnswer);
  };
}

export default { render };
