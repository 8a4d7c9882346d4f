// A button that takes a file: chosen, dropped on the panel around it, or pasted there. Jupyter
// silently drops large messages, so it is sent in slices, each when the one before has arrived.

const SEEN = 500; // milliseconds after which the progress is shown
const LONG = 4000; // milliseconds without an answer after which the kernel counts as busy

/** @typedef {{id: string, file: File, received: number, timers: ReturnType<typeof setTimeout>[]}} Sending */

/** @param {string} tag @param {string} cls */
function make(tag, cls) {
  const element = document.createElement(tag);
  element.className = cls;
  return element;
}

/** @param {string} cls @param {() => void} act */
function makeButton(cls, act) {
  const button = /** @type {HTMLButtonElement} */ (make("button", `jupyter-button ${cls}`));
  button.type = "button";
  button.addEventListener("click", act);
  button.addEventListener("keydown", (event) => event.stopPropagation());
  return button;
}

/** A size, rounded up, so that what is over a limit does not look equal to it. @param {number} bytes */
function sizeText(bytes) {
  return bytes < 1e6 ? `${Math.ceil(bytes / 1e3)} kB` : `${Math.ceil(bytes / 1e5) / 10} MB`;
}

/** @param {{model: any, el: HTMLElement}} context */
function render({ model, el }) {
  el.classList.add("fxx-upload");
  const input = document.createElement("input");
  input.type = "file";
  input.hidden = true;
  const button = makeButton("fxx-needs-kernel", () => input.click());
  const bar = document.createElement("progress");
  const words = make("span", "fxx-upload-words");
  words.setAttribute("role", "status");
  const cancel = makeButton("", () => {
    if (sending) model.send({ type: "cancel", id: sending.id });
    stop();
    button.focus();
  });
  cancel.textContent = "Cancel";
  const progress = make("span", "fxx-upload-progress");
  const refused = make("div", "fxx-upload-refused");
  refused.setAttribute("role", "alert");
  progress.append(bar, words, cancel);
  el.append(input, button, progress, refused);
  /** @type {Sending | undefined} */
  let sending;

  /** @param {string} text */
  const say = (text) => {
    if (words.textContent !== text) words.textContent = words.title = text;
    progress.hidden = !text;
  };
  /** @param {string} why a file was not taken; nothing takes the last one's words away */
  const refuse = (why) => {
    model.set("refused", why);
    model.save_changes();
  };
  /** Nothing is sent any more. */
  const stop = () => {
    sending?.timers.forEach(clearTimeout);
    sending = undefined;
    say("");
  };
  const describe = () => {
    button.textContent = model.get("label");
    button.title = model.get("title");
    button.disabled = model.get("disabled");
    input.accept = model.get("accept");
    refused.textContent = model.get("refused");
  };
  /** @param {Sending} now */
  const show = ({ file, received }) => {
    bar.max = file.size;
    bar.value = received;
    bar.setAttribute("aria-label", `${file.name}, sent`);
    say(`${received < file.size ? "sending" : "reading"} ${file.name}, ${sizeText(file.size)}`);
  };
  /** @param {Sending} now */
  const sendNext = async (now) => {
    const { id, file, received } = now;
    let bytes;
    try {
      bytes = await file.slice(received, received + model.get("slice_bytes")).arrayBuffer();
    } catch {
      if (sending !== now) return;
      model.send({ type: "cancel", id });
      stop();
      refuse(`${file.name} cannot be read; is it a file, and still there?`);
      return;
    }
    if (sending !== now) return; // cancelled or replaced meanwhile
    model.send({ type: "slice", id, name: file.name, size: file.size, at: received }, undefined, [bytes]);
    const busy = () => say(`the kernel is busy; ${file.name} waits`);
    clearTimeout(now.timers[1]);
    now.timers[1] = setTimeout(busy, LONG);
  };
  /** @param {File} file */
  const refusal = (file) => {
    if (model.get("disabled")) return "This model takes no picture.";
    if (el.closest(".jupyter-widgets-disconnected")) return "Not connected to a kernel: nothing can be sent.";
    if (!file.size) return `${file.name} is empty; choose another file.`;
    const most = model.get("most_bytes");
    if (file.size <= most) return "";
    return `${file.name} has ${sizeText(file.size)}, and at most ${sizeText(most)} are taken. Make it smaller, or name a variable with its path.`;
  };
  /** Send a file, instead of one that is on its way. @param {File} file */
  const take = (file) => {
    const why = refusal(file);
    refuse(why);
    if (why) return;
    stop();
    const id = Math.random().toString(36).slice(2);
    const now = { id, file, received: 0, timers: [setTimeout(() => show(now), SEEN)] };
    sending = now;
    sendNext(now);
  };
  /** @param {{id?: string, received?: number, done?: boolean}} answer */
  const onAnswer = (answer) => {
    const now = sending;
    if (!now || answer.id !== now.id) return; // another view's, or of a file that was replaced
    if (answer.done) return stop();
    now.received = answer.received ?? 0;
    if (!progress.hidden) show(now);
    if (now.received < now.file.size) sendNext(now);
    else clearTimeout(now.timers[1]);
  };
  /** @this {any} anywidget calls it on the view */
  function onLive() {
    if (!sending || this?.model?.comm_live !== false) return;
    refuse(`The kernel is gone, and ${sending.file.name} was not sent.`);
    stop();
  }

  input.addEventListener("change", () => {
    const file = input.files?.[0];
    if (file) take(file);
    input.value = ""; // the same file can be chosen again
  });
  /** The panel, if an event is in it. @param {Event} event */
  const zoneOf = (event) => {
    const zone = el.closest(model.get("zone"));
    return zone?.contains(/** @type {Node | null} */ (event.target)) ? zone : null;
  };
  /** @param {DragEvent} event */
  const onDrag = (event) => {
    const zone = event.dataTransfer?.types.includes("Files") ? zoneOf(event) : null;
    el.closest(model.get("zone"))?.classList.toggle("fxx-dropping", zone !== null && event.type === "dragover");
    if (!zone) return;
    event.preventDefault(); // else the browser opens the file
    event.stopPropagation();
    const file = event.type === "drop" ? event.dataTransfer?.files[0] : undefined;
    if (file) take(file);
  };
  /** @param {ClipboardEvent} event */
  const onPaste = (event) => {
    const file = zoneOf(event) ? event.clipboardData?.files[0] : undefined;
    if (!file) return;
    event.preventDefault();
    event.stopPropagation();
    take(file);
  };
  // In the capture phase, before the notebook handles them.
  const drags = /** @type {const} */ (["dragover", "dragleave", "drop"]);
  for (const name of drags) document.addEventListener(name, onDrag, true);
  document.addEventListener("paste", onPaste, true);
  const traits = "change:label change:title change:disabled change:accept change:refused";
  model.on(traits, describe);
  model.on("msg:custom", onAnswer);
  model.on("comm_live_update", onLive);
  describe();
  stop();
  return () => {
    if (sending) model.send({ type: "cancel", id: sending.id });
    stop();
    for (const name of drags) document.removeEventListener(name, onDrag, true);
    document.removeEventListener("paste", onPaste, true);
    model.off(traits, describe);
    model.off("msg:custom", onAnswer);
    model.off("comm_live_update", onLive);
  };
}

export default { render };
