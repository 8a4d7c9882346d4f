"""A picture of feature maps that tells where it was clicked, and the page it is shown in."""

from __future__ import annotations

import pathlib
import uuid
from collections.abc import Callable
from typing import Any

import anywidget
import traitlets

_HERE = pathlib.Path(__file__).parent
_GREY = "rgb(118, 118, 118)"  # reads on white and on black, until the page tells its own


class FeatureMapView(anywidget.AnyWidget):
    """A PNG that answers clicks and keys.

    Args:
        on_message: called with what was done: ``{"type": "point", "x": ..., "y": ...}`` for
            a click, in fractions from the top left; ``"open"``, ``"close"``, or ``"step"``
            with ``by`` for keys.
        **kwargs: initial values of traits.

    Example:
        >>> view = FeatureMapView(lambda message: print(message["x"]), alt="layer1")
        >>> view.tell({"type": "point", "x": 0.5, "y": 0.25})
        0.5
    """

    _esm = _HERE / "feature_map_view.js"

    png = traitlets.Bytes().tag(sync=True)
    """The picture."""

    alt = traitlets.Unicode().tag(sync=True)
    """What it shows, in words."""

    width = traitlets.Int(600).tag(sync=True)
    """How wide it is shown at most, in pixels of the page."""

    enlarged = traitlets.Bool(False).tag(sync=True)
    """Whether it shows one channel, so that keys walk through channels."""

    def __init__(self, on_message: Callable[[dict[str, Any]], None], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._tell = on_message
        self.on_msg(lambda _, content, __: self.tell(content))

    def tell(self, message: dict[str, Any]) -> None:
        """Pass on what was done with the picture."""
        self._tell(message)


class PageFacts(anywidget.AnyWidget):
    """The page's colour of text and the screen's density; saves files and copies text there.

    Example:
        >>> page = PageFacts()
        >>> page.ink, page.density
        ('rgb(118, 118, 118)', 2.0)
    """

    _esm = _HERE / "page_facts.js"
    _css = _HERE / "panel.css"

    ink = traitlets.Unicode(_GREY).tag(sync=True)
    """The colour of text, as CSS computes it."""

    density = traitlets.Float(2.0).tag(sync=True)
    """Pixels of the screen for one of the page."""

    def save_file(self, name: str, kind: str, content: bytes) -> None:
        """Have the browser save a file.

        Args:
            name: of the file.
            kind: its media type.
            content: its bytes.
        """
        message = {"type": "save", "id": uuid.uuid4().hex, "name": name, "kind": kind}
        self.send(message, [content])

    def copy_text(self, text: str) -> None:
        """Put text on the reader's clipboard, where the page may."""
        self.send({"type": "copy", "id": uuid.uuid4().hex, "text": text})
