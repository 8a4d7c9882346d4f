// A button that asks the kernel for the content of a file and saves it.

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
  /** @param {{kind?: string}} answer @param {DataView<ArrayBuffer>[]} buffers */
  const onAnswer = (answer, buffers) => {
    if (!asked || answer.kind === undefined) return;
    if (!buffers[0]?.byteLength) return finish("Nothing was saved");
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([buffers[0]], { type: answer.kind }));
    link.download = model.get("file_name");
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
    finish("Saved ✓");
  };
  button.addEventListener("keydown", (event) => event.stopPropagation());
  button.addEventListener("click", () => {
    asked = true;
    button.textContent = "Saving…";
    clearTimeout(timer);
    timer = setTimeout(() => finish("The kernel did not answer"), PATIENCE);
    model.send("content");
  });
  model.on("msg:custom", onAnswer);
  return () => {
    clearTimeout(timer);
    model.off("msg:custom", onAnswer);
  };
}

export default { render };
