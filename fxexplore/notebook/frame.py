"""What makes the explorer's panel resizable: separators, and a button for the whole screen."""

from __future__ import annotations

import pathlib

import anywidget
import traitlets

_HERE = pathlib.Path(__file__).parent


class Splitter(anywidget.AnyWidget):
    """A separator that is dragged, or moved with the arrow keys.

    It sets a CSS variable on the panel that it is in, which lays itself out by it.

    Args:
        **kwargs: initial values of traits.

    Example:
        >>> Splitter(variable="--fxx-height", unit="px", value=520.0).value
        520.0
    """

    _esm = _HERE / "splitter.js"
    _css = _HERE / "splitter.css"

    value = traitlets.Float(50.0).tag(sync=True)
    """Where the separator is."""

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


class FullScreenButton(anywidget.AnyWidget):
    """A button that fills the screen with the panel that it is in, whose style sheet it has.

    Example:
        >>> FullScreenButton().panel
        '.fxx-explorer'
    """

    _esm = _HERE / "full_screen_button.js"
    _css = _HERE / "explorer.css"

    panel = traitlets.Unicode(".fxx-explorer").tag(sync=True)
    """CSS selector of the panel."""
