// A button that sends a file to the kernel, in pieces: a message of more than 10 MB would close
// Jupyter's connection without a word.

const PIECE = 4 * 1024 * 1024;
const MOST = 200_000_000;

/** @param {{model: any, el: HTMLElement}} context */
function render({ model, el }) {
  const input = document.createElement("input");
  input.type = "file";
  input.accept = ".png,.jpg,.jpeg,.webp";
  input.hidden = true;
  const button = document.createElement("button");
  button.type = "button";
  button.className = "jupyter-button widget-button";
  button.textContent = "Upload";
  el.append(button, input);

  function update() {
    button.disabled = model.get("disabled");
    button.title = model.get("tooltip");
  }

  async function send() {
    const file = input.files?.[0];
    if (!file) return;
    const about = { name: file.name, size: file.size };
    if (file.size > MOST) {
      model.send({ type: "too large", most: MOST, ...about });
      return;
    }
    const content = await file.arrayBuffer();
    for (let at = 0; at === 0 || at < content.byteLength; at += PIECE) {
      model.send({ type: "piece", at, ...about }, undefined, [content.slice(at, at + PIECE)]);
    }
  }
  button.addEventListener("click", () => {
    input.value = ""; // so that the same file can be chosen again
    input.click();
  });
  input.addEventListener("change", send);
  model.on("change", update);
  update();
  return () => model.off("change", update);
}

export default { render };
