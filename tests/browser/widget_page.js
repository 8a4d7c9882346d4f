// The page's side of widget_page.py: a model as anywidget hands it to a widget.
(() => {
  const decode = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));

  const encode = (buffer) => {
    const bytes = Array.from(new Uint8Array(buffer), (byte) => String.fromCharCode(byte));
    return btoa(bytes.join(""));
  };

  const unpack = ({ state, paths, buffers }) => {
    const values = { ...state };
    (paths ?? []).forEach((path, i) => {
      const last = path[path.length - 1];
      const outer = path.slice(0, -1).reduce((value, part) => value[part], values);
      outer[last] = new DataView(decode(buffers[i]).buffer);
    });
    return values;
  };

  class Model {
    constructor(values) {
      this.values = values;
      this.changed = new Set();
      this.handlers = new Map();
      this.comm_live = true;
    }
    get(name) {
      return this.values[name];
    }
    set(name, value) {
      if (JSON.stringify(value) === JSON.stringify(this.values[name])) return;
      this.values[name] = value;
      this.changed.add(name);
      this.fire(`change:${name}`, this, value);
    }
    /** Sends what changed; what Python answers arrives after it, as over a wire. */
    save_changes() {
      if (!this.changed.size) return;
      const state = Object.fromEntries([...this.changed].map((name) => [name, this.values[name]]));
      this.changed.clear();
      this.post({ method: "update", state, buffer_paths: [] });
    }
    send(content, _callbacks, buffers = []) {
      this.post({ method: "custom", content }, buffers.map(encode));
    }
    post(message, buffers = []) {
      this.pending = window.fxxToKernel(message, buffers).then((answers) => answers.forEach(window.fxxFromKernel));
    }
    update(values) {
      for (const [name, value] of Object.entries(values)) this.values[name] = value;
      for (const [name, value] of Object.entries(values)) this.fire(`change:${name}`, this, value);
      this.fire("change", this);
    }
    on(event, handler) {
      for (const name of event.split(" ")) {
        this.handlers.set(name, [...(this.handlers.get(name) ?? []), handler]);
      }
    }
    off(event, handler) {
      for (const name of event ? event.split(" ") : this.handlers.keys()) {
        this.handlers.set(name, handler ? (this.handlers.get(name) ?? []).filter((h) => h !== handler) : []);
      }
    }
    fire(event, ...args) {
      // As anywidget registers them, handlers are called on the view.
      for (const handler of this.handlers.get(event) ?? []) handler.call({ model: this }, ...args);
    }
  }

  window.fxxFromKernel = (message) => {
    if (message.method === "update") window.fxxModel.update(unpack(message));
    else if (message.method === "custom") {
      window.fxxModel.fire("msg:custom", message.content, message.buffers.map((text) => new DataView(decode(text).buffer)));
    } // an echo_update repeats what this page sent
  };

  window.fxxShow = async (message, style) => {
    const values = unpack(message);
    const { _esm, _css } = values;
    window.fxxModel = new Model(values);
    document.getElementById("css").textContent = _css ?? "";
    const host = document.getElementById("host");
    host.style.cssText = style;
    const url = URL.createObjectURL(new Blob([_esm], { type: "text/javascript" }));
    const widget = (await import(url)).default;
    const el = document.createElement("div");
    el.className = "jupyter-widgets lm-Widget";
    window.fxxHandledKeys = []; // keys that reached the page are keys JupyterLab would take
    document.addEventListener("keydown", (event) => window.fxxHandledKeys.push(event.key));
    window.fxxRender = async (element) => {
      const context = { model: window.fxxModel, el: element, experimental: {} };
      await widget.initialize?.(context);
      return widget.render(context);
    };
    const start = performance.now();
    window.fxxCleanup = await window.fxxRender(el);
    host.append(el); // Jupyter too makes a view first and then puts it into the page
    el.getBoundingClientRect(); // lays it out
    window.fxxRenderTime = performance.now() - start;
  };

  window.fxxDisconnect = () => {
    window.fxxModel.comm_live = false;
    window.fxxModel.fire("comm_live_update", window.fxxModel);
  };
})();
