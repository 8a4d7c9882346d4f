"""A button that puts a text on the clipboard, and one that saves a file."""

from __future__ import annotations

import pathlib
from collections.abc import Callable
from typing import Any

import anywidget
import traitlets

_HERE = pathlib.Path(__file__).parent


class CopyButton(anywidget.AnyWidget):
    """A button that copies a text, and says so. It needs no kernel.

    Args:
        **kwargs: initial values of traits.

    Example:
        >>> CopyButton(label="Copy code", text="import torch").label
        'Copy code'
    """

    _esm = _HERE / "copy_button.js"
    _css = _HERE / "copy_button.css"

    text = traitlets.Unicode().tag(sync=True)
    """What is copied."""

    label = traitlets.Unicode("Copy").tag(sync=True)
    """What stands on the button."""


class SaveButton(anywidget.AnyWidget):
    """A button that saves a file through the browser; its text is made at the click.

    Args:
        make_text: gives the text of the file.
        **kwargs: initial values of traits.

    Example:
        >>> SaveButton(lambda: "<p>hello</p>", file_name="page.html").file_name
        'page.html'
    """

    _esm = _HERE / "save_button.js"
    _css = _HERE / "copy_button.css"

    label = traitlets.Unicode("Save").tag(sync=True)
    """What stands on the button."""

    file_name = traitlets.Unicode("page.html").tag(sync=True)
    """What the file is called."""

    def __init__(self, make_text: Callable[[], str], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._make_text = make_text
        self.on_msg(self._answer)

    def _answer(self, _: Any, content: Any, __: Any) -> None:
        if content == "text":
            self.send({"text": self._make_text()})
