"""Feature maps as PNGs for a page: in its colours, at its density."""

from __future__ import annotations

import dataclasses
import io
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_DPI = 100  # 6 inches of a figure are 600 pixels of a page
_GREY = "#767676"
_BYTE = 255


@dataclasses.dataclass(frozen=True)
class Look:
    """How feature maps are looked at: the options of ``plot_feature_maps``.

    Attributes:
        view: as there.
        channels: likewise.
        sort: likewise.
        scale: likewise.
        index: likewise.
        query: likewise.
    """

    view: str = "channels"
    channels: int | tuple[int, ...] = 24
    sort: str = "index"
    scale: str = "channel"
    index: int = 0
    query: int | None = None

    def options(self) -> dict[str, Any]:
        """What is not as it is by default."""
        return {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if getattr(self, field.name) != field.default
        }

    @property
    def wants_picture(self) -> bool:
        """Whether the input picture is drawn too."""
        return self.view == "overlay" or self.query is not None


def drawn(make: Callable[[], Figure], ink: str, density: float) -> tuple[Figure, bytes]:
    """Draw a figure for a page: on no ground, in the page's colour of text.

    Args:
        make: makes the figure, following matplotlib's rcParams.
        ink: a colour as CSS computes it.
        density: pixels of the screen for one of the page.

    Returns:
        The figure and its PNG.
    """
    import matplotlib as mpl

    colours: Any = _in_ink(ink)
    with mpl.rc_context(colours):
        figure = make()
        png = io.BytesIO()
        figure.savefig(png, format="png", dpi=_DPI * density)
    return figure, png.getvalue()


def file_of(figure: Figure, kind: str) -> bytes:
    """A figure as the bytes of a file.

    Args:
        figure: the figure.
        kind: ``"png"`` or ``"svg"``.
    """
    content = io.BytesIO()
    figure.savefig(content, format=kind, dpi=2 * _DPI)
    return content.getvalue()


def width_of(figure: Figure) -> int:
    """How wide a figure is on a page, in its pixels."""
    return round(float(figure.get_figwidth()) * _DPI)


def _in_ink(ink: str) -> dict[str, Any]:
    colour = colour_from_css(ink)
    names = ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color")
    grounds = ("figure.facecolor", "axes.facecolor", "savefig.facecolor")
    return dict.fromkeys(names, colour) | dict.fromkeys(grounds, "none")


def colour_from_css(text: str) -> str:
    """A colour that CSS computed, as matplotlib reads it; grey if it is another notation.

    Example:
        >>> colour_from_css("rgba(255, 255, 255, 0.87)"), colour_from_css("rgb(0, 128, 0)")
        ('#ffffffde', '#008000ff')
        >>> colour_from_css("color(srgb 1 0.5 0)"), colour_from_css("mauve-ish")
        ('#ff8000ff', '#767676')
    """
    numbers = [float(part) for part in re.findall(r"(?<![a-z])[\d.]+", text)]
    if text.startswith("color(srgb ") and len(numbers) >= _CHANNELS:
        channels = [_BYTE * number for number in numbers[:_CHANNELS]]
    elif text.startswith("rgb") and len(numbers) >= _CHANNELS:
        channels = numbers[:_CHANNELS]
    else:
        return _GREY
    alpha = numbers[_CHANNELS] if len(numbers) > _CHANNELS else 1.0
    parts = [*channels, _BYTE * alpha]
    return "#" + "".join(f"{min(_BYTE, max(0, round(part))):02x}" for part in parts)


_CHANNELS = 3
