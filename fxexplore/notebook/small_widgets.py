"""Small widgets of the explorer: copy, save, unfold, full screen, separators, and a page kept."""

from __future__ import annotations

import mimetypes
from collections.abc import Callable
from typing import Any

import anywidget
import traitlets

from .assets import asset


class CopyButton(anywidget.AnyWidget):
    """A button that copies a text, and says so. It needs no kernel.

    Args:
        **kwargs: initial values of traits.

    Example:
        >>> CopyButton(label="Copy code", text="import torch").label
        'Copy code'
    """

    _esm = asset("copy_button.js")
    _css = asset("copy_button.css")

    text = traitlets.Unicode().tag(sync=True)
    """What is copied."""

    label = traitlets.Unicode("Copy").tag(sync=True)
    """What stands on the button."""


class SaveButton(anywidget.AnyWidget):
    """A button that saves a file through the browser; its content is made at the click.

    Args:
        make: gives the content of the file; nothing if that went wrong.
        **kwargs: initial values of traits.

    Example:
        >>> SaveButton(lambda: "<p>hello</p>", file_name="page.html").file_name
        'page.html'
    """

    _esm = asset("save_button.js")
    _css = asset("copy_button.css")

    label = traitlets.Unicode("Save").tag(sync=True)
    """What stands on the button."""

    file_name = traitlets.Unicode("page.html").tag(sync=True)
    """What the file is called."""

    def __init__(self, make: Callable[[], str | bytes], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._make = make
        self.on_msg(self._answer)

    def _answer(self, _: Any, content: Any, __: Any) -> None:
        if content == "content":
            made = self._make()
            kind, _ = mimetypes.guess_type(self.file_name)
            self.send({"kind": kind}, [made.encode() if isinstance(made, str) else made])


class Splitter(anywidget.AnyWidget):
    """A separator that is dragged, or moved with the arrow keys.

    It sets a CSS variable on the panel that it is in, which lays itself out by it.

    Args:
        **kwargs: initial values of traits.

    Example:
        >>> Splitter(variable="--fxx-height", unit="px", value=520.0).value
        520.0
    """

    _esm = asset("splitter.js")
    _css = asset("splitter.css")

    value = traitlets.Float(50.0, allow_none=True).tag(sync=True)
    """Where the separator is; None for where the style sheet of the panel has it."""

    least = traitlets.Float(15.0).tag(sync=True)
    """The smallest value."""

    most = traitlets.Float(85.0).tag(sync=True)
    """The largest value."""

    unit = traitlets.Enum(["%", "px"], "%").tag(sync=True)
    """``"%"`` for a separator of columns, ``"px"`` for one that makes the panel higher."""

    variable = traitlets.Unicode("--fxx-split").tag(sync=True)
    """The CSS variable that is set."""

    label = traitlets.Unicode("Resize").tag(sync=True)
    """What the separator is called for those who cannot see it."""


class Disclosure(anywidget.AnyWidget):
    """A button that unfolds the parts of its panel that have the class ``fxx-more``.

    Args:
        **kwargs: initial values of traits.

    Example:
        >>> Disclosure(label="More").unfolded
        False
    """

    _esm = asset("disclosure.js")

    label = traitlets.Unicode("More").tag(sync=True)
    """What stands on the button."""

    unfolded = traitlets.Bool(False).tag(sync=True)
    """Whether they are unfolded."""

    panel = traitlets.Unicode(".fxx-maps").tag(sync=True)
    """CSS selector of the panel, which has the class ``fxx-unfolded`` meanwhile."""


class FullScreenButton(anywidget.AnyWidget):
    """A button that fills the screen with the panel that it is in, whose style sheet it has.

    Example:
        >>> FullScreenButton().panel
        '.fxx-explorer'
    """

    _esm = asset("full_screen_button.js")
    _css = asset("explorer.css")

    panel = traitlets.Unicode(".fxx-explorer").tag(sync=True)
    """CSS selector of the panel."""


class PageKeeper(anywidget.AnyWidget):
    """Keeps a widget's page in a notebook that is saved, to be shown when it is opened again.

    It shows nothing. JupyterLab and Notebook 7 show a widget whose kernel is gone by the state in
    the notebook's metadata, and else an error in place of the page that the same output has.

    Example:
        >>> PageKeeper(widget_id="8c2f").widget_id
        '8c2f'
    """

    _esm = asset("page_keeper.js")

    widget_id = traitlets.Unicode().tag(sync=True)
    """The ``model_id`` of the widget."""


def keep_page_of(box: Any) -> None:
    """Have the page of a box of widgets kept with the notebook.

    Args:
        box: the box, whose display has HTML beside the widget.
    """
    box.children = (*box.children, PageKeeper(widget_id=box.model_id))
