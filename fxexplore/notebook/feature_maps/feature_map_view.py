"""A picture of feature maps that tells where it was clicked, and the page it is shown in."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import anywidget
import traitlets

from fxexplore.notebook.assets import asset

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_GREY = "rgb(118, 118, 118)"  # reads on white and on black, until the page tells its own
DPI = 100  # 6 inches of a figure are 600 pixels of a page
_BYTE = 255


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

    _esm = asset("feature_maps/feature_map_view.js")

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
        self.tell = on_message
        """Pass on what was done with the picture."""
        self.on_msg(lambda _, content, __: self.tell(content))


class PageFacts(anywidget.AnyWidget):
    """The page's colour of text, the screen's density, and the width of the panel.

    Example:
        >>> page = PageFacts()
        >>> page.ink, page.density
        ('rgb(118, 118, 118)', 2.0)
    """

    _esm = asset("feature_maps/page_facts.js")
    _css = asset("feature_maps/panel.css")

    ink = traitlets.Unicode(_GREY).tag(sync=True)
    """The colour of text, as CSS computes it."""

    density = traitlets.Float(2.0).tag(sync=True)
    """Pixels of the screen for one of the page."""

    width = traitlets.Int(700).tag(sync=True)
    """Pixels of the page between the sides of the panel."""

    def drawn(self, make: Callable[[], Figure]) -> tuple[Figure, bytes]:
        """Draw a figure for the page: on no ground, in its colour of text, at its density.

        Args:
            make: makes the figure, following matplotlib's rcParams.

        Returns:
            The figure and its PNG.
        """
        import matplotlib as mpl

        names = ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color")
        grounds = ("figure.facecolor", "axes.facecolor", "savefig.facecolor")
        colours: Any = dict.fromkeys(names, colour_from_css(self.ink))
        with mpl.rc_context(colours | dict.fromkeys(grounds, "none")):
            figure = make()
            return figure, file_of(figure, "png", DPI * self.density)


def file_of(figure: Figure, kind: str, dpi: Any) -> bytes:
    """A figure as the bytes of a file.

    Args:
        figure: the figure.
        kind: ``"png"``, ``"svg"`` or ``"pdf"``.
        dpi: pixels of the file for an inch, or ``"figure"`` for the figure's own.
    """
    content = io.BytesIO()
    figure.savefig(content, format=kind, dpi=dpi)
    return content.getvalue()


def colour_from_css(text: str) -> str:
    """A colour that CSS computed, as matplotlib reads it; grey if it is another notation.

    Example:
        >>> colour_from_css("rgba(255, 255, 255, 0.87)"), colour_from_css("rgb(0, 128, 0)")
        ('#ffffffde', '#008000ff')
        >>> colour_from_css("color(srgb 1 0.5 0)"), colour_from_css("mauve-ish")
        ('#ff8000ff', '#767676ff')
    """
    match [float(part) for part in re.findall(r"(?<![a-z])[\d.]+", text)]:
        case [red, green, blue, *alpha] if text.startswith("color(srgb "):
            parts = [_BYTE * red, _BYTE * green, _BYTE * blue, *(_BYTE * a for a in alpha)]
        case [red, green, blue, *alpha] if text.startswith("rgb"):
            parts = [red, green, blue, *(_BYTE * a for a in alpha)]
        case _:
            return colour_from_css(_GREY)
    channels = [*parts, _BYTE][:4]  # opaque, if nothing is said of that
    return "#" + "".join(f"{min(_BYTE, max(0, round(part))):02x}" for part in channels)
