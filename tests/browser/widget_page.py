"""A bare page that shows one widget: its own module and styles, a model, and no JupyterLab.

The page's model speaks the protocol of Jupyter's widgets with the real Python widget, so that
what is sent, and how much of it, can be read here, and a test takes about a second.
"""

import base64
import functools
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import greenlet
from ipywidgets.widgets.widget import _remove_buffers

ADDRESS = "http://localhost/widget"  # nothing listens there: every request is answered here
THEMES = {
    "light": "theme-light-extension",
    "dark": "theme-dark-extension",
    "high-contrast": "theme-dark-high-contrast-extension",
}
VSCODE = {
    "--vscode-foreground": "#cccccc",
    "--vscode-descriptionForeground": "#a0a0a0",
    "--vscode-editor-background": "#1f1f1f",
    "--vscode-panel-border": "#3c3c3c",
    "--vscode-focusBorder": "#3794ff",
    "--vscode-button-foreground": "#ffffff",
    "--vscode-button-background": "#0e639c",
    "--vscode-errorForeground": "#f85149",
}
PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>A widget</title>
<style id="theme"></style><style id="css"></style>
<body class="jp-ThemedContainer" style="margin:12px;background:var(--jp-layout-color1,Canvas)">
<main><h1 style="position:absolute;clip-path:inset(50%)">A widget</h1>
<div id="host"></div></main></body></html>"""
SCRIPT = (Path(__file__).parent / "widget_page.js").read_text()


class WidgetPage:
    """One widget in a bare page.

    Attributes:
        page: Playwright's page; the network is cut.
        messages: what the page sent to Python, as Jupyter's messages.
        sent: what Python sent to the page, likewise, with the number of bytes of each.
        errors: uncaught errors and ``console.error`` calls of the page.
    """

    def __init__(self, browser, screenshots: Path):
        context = browser.new_context(viewport={"width": 900, "height": 700})
        context.grant_permissions(["clipboard-read", "clipboard-write"], origin="http://localhost")
        self.page = context.new_page()
        self.page.set_default_timeout(10_000)
        self.errors: list[str] = []
        self.messages: list[dict] = []
        self.sent: list[dict] = []
        self._screenshots = screenshots
        self._ours = greenlet.getcurrent()
        self._waiting: list[dict] = []
        self._answers: list[dict] | None = None
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", self._on_console)
        self.page.route("**/*", self._on_request)
        self.page.expose_function("fxxToKernel", self._on_message)

    def show(self, widget, *, width: int = 660, height: int | None = None):
        """Show a widget; returns the locator of the element that it was given.

        Args:
            widget: an ``anywidget.AnyWidget``.
            width: of the element that contains it, in pixels.
            height: likewise; by default as high as the widget wants to be.
        """
        self.widget = widget
        self._handle = None
        widget.comm = self
        message = _packed(widget.get_state())
        self.opening_bytes = _size(message, without=("_esm", "_css"))
        self.page.goto(ADDRESS)
        self.page.evaluate(SCRIPT)
        style = f"width:{width}px" + (f";height:{height}px;display:grid" if height else "")
        # As text: Playwright takes long over lists of many items.
        self.page.evaluate(
            "([state, style]) => fxxShow(JSON.parse(state), style)", [json.dumps(message), style]
        )
        return self.host

    @property
    def host(self):
        """The element that the widget was given, as a locator."""
        return self.page.locator("#host")

    def get(self, trait: str):
        """The value of a trait in the page."""
        return self.page.evaluate("name => fxxModel.get(name)", trait)

    def set(self, **traits) -> None:
        """Set traits on the page's side, as another view of the same model would."""
        self.page.evaluate(
            "values => { for (const n in values) fxxModel.set(n, values[n]);"
            " fxxModel.save_changes(); }",
            traits,
        )

    def send_custom(self, content: dict) -> None:
        """Send a message from Python to the page: ``msg:custom`` there."""
        self.widget.send(content)

    def wait_for(self, condition: str | Callable[[], bool], arg=None) -> None:
        """Wait until something holds: a JavaScript expression or function, or a Python callable.

        Messages that Python sends meanwhile, from other threads too, are delivered.
        """
        deadline = time.monotonic() + 10
        while True:
            self.deliver()
            if condition() if callable(condition) else self.page.evaluate(condition, arg):
                return
            assert time.monotonic() < deadline, f"still not so: {condition}"
            self.frame()

    def frame(self) -> None:
        """Let the page paint two frames, and the event loop run."""
        self.page.evaluate(
            "() => new Promise(r => requestAnimationFrame(() => requestAnimationFrame(r)))"
        )

    def deliver(self) -> None:
        """Hand over what other threads and the event loop have sent to the page."""
        while self._waiting:
            self._to_page([self._waiting.pop(0)])

    def set_theme(self, name: str) -> None:
        """Give the page JupyterLab's own variables, those of VS Code, or none.

        Args:
            name: ``"light"``, ``"dark"``, ``"high-contrast"``, ``"vscode"`` or ``"none"``.
        """
        is_light = name in ("light", "none")
        self.page.evaluate(
            "([css, light]) => { document.getElementById('theme').textContent = css;"
            " document.body.dataset.jpThemeLight = light;"
            " document.documentElement.style.colorScheme = light === 'true' ? 'light' : 'dark' }",
            [_theme(name), str(is_light).lower()],
        )
        self.frame()

    def emulate(self, *, reduced_motion: bool = False, forced_colors: bool = False) -> None:
        """Set what the operating system asks for."""
        self.page.emulate_media(
            reduced_motion="reduce" if reduced_motion else "no-preference",
            forced_colors="active" if forced_colors else "none",
        )

    def disconnect(self) -> None:
        """Mark the widget as JupyterLab does when its kernel is gone."""
        self.page.evaluate("() => fxxDisconnect()")

    def screenshot(self, name: str, *, whole: bool = False) -> None:
        """Write ``<name>.png`` into the folder of screenshots."""
        self.frame()
        target = self.page if whole else self.host
        target.screenshot(path=self._screenshots / f"{name}.png")

    def leave(self) -> None:
        """Close the page."""
        self.page.context.close()

    # What a widget asks of its comm.

    comm_id = "page"
    kernel = True

    def on_msg(self, handler) -> None:
        self._handle = handler

    def close(self) -> None:
        """A widget that is closed leaves the page as it is."""

    def send(self, data, buffers=()) -> None:
        message = _packed(data["state"]) if "state" in data else {"content": data.get("content")}
        message["method"] = data["method"]
        message.setdefault("buffers", [_text(buffer) for buffer in buffers or ()])
        if "buffer_paths" in data:
            message["paths"] = data["buffer_paths"]
            message["buffers"] = [_text(buffer) for buffer in buffers]
        self.sent.append({**message, "bytes": _size(message)})
        if self._answers is not None:
            self._answers.append(message)
        elif greenlet.getcurrent() is self._ours:
            self._to_page([message])
        else:
            self._waiting.append(message)

    def _to_page(self, messages) -> None:
        self.page.evaluate("all => JSON.parse(all).forEach(fxxFromKernel)", json.dumps(messages))

    def _on_message(self, data: dict, buffers: list[str]) -> list[dict]:
        self.messages.append(data)
        self._answers = []
        try:
            views = [memoryview(base64.b64decode(text)) for text in buffers]
            self._handle({"content": {"data": json.loads(json.dumps(data))}, "buffers": views})
        finally:
            answers, self._answers = self._answers, None
        return answers

    def _on_request(self, route) -> None:
        if route.request.url == ADDRESS:
            route.fulfill(body=PAGE, content_type="text/html")
        else:
            self.errors.append(f"the page asked for {route.request.url}")
            route.abort()

    def _on_console(self, message) -> None:
        if message.type == "error":
            self.errors.append(message.text)


def _packed(state: dict) -> dict:
    """A state without its bytes, their places and the bytes, as Jupyter sends it."""
    plain = {k: v for k, v in state.items() if k not in ("layout", "tooltip")}
    plain, paths, buffers = _remove_buffers(plain)
    return {
        "method": "update",
        "state": plain,
        "paths": paths,
        "buffers": [_text(buffer) for buffer in buffers],
    }


def _text(buffer) -> str:
    return base64.b64encode(bytes(buffer)).decode()


def _size(message: dict, without=()) -> int:
    """Bytes on the wire: the JSON, and the buffers as they are."""
    state = {k: v for k, v in message.get("state", {}).items() if k not in without}
    plain = json.dumps({"state": state, "content": message.get("content")}, ensure_ascii=False)
    return len(plain.encode()) + sum(
        len(base64.b64decode(text)) for text in message.get("buffers", ())
    )


@functools.cache
def _theme(name: str) -> str:
    if name == "none":
        return ""
    if name == "vscode":
        return f":root {{ {';'.join(f'{k}:{v}' for k, v in VSCODE.items())} }}"
    themes = Path(sys.prefix, "share/jupyter/lab/themes/@jupyterlab")
    return (themes / THEMES[name] / "index.css").read_text()
