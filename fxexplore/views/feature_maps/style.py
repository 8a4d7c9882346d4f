"""How figures look: colours and text from the user's rcParams, ticks and colour bars."""

from __future__ import annotations

import dataclasses
import functools
import math
import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .arrays import Scale

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap

NOT_FINITE_COLOUR = "magenta"  # in no colour map of ours
MOST_LABELS = 40
_NARROW = 3.0  # inches, below which axes have fewer numbers
_WIDEST_LABEL = 1.2  # inches
_LINE = 1.3
_PIXEL_FONT = 72.0


@dataclasses.dataclass(frozen=True)
class Style:
    """How a figure looks.

    Attributes:
        text: colour of text.
        size: points of the font of names.
        sequential: name of the colour map for values of one sign.
        diverging: name of the colour map for values of both signs.
    """

    text: str
    size: float
    sequential: str
    diverging: str

    @classmethod
    def of_the_user(cls) -> Style:
        """Read the rcParams that are in force now."""
        import matplotlib as mpl
        from matplotlib.colors import to_rgb

        text = mpl.rcParams["text.color"]
        # The ground may be transparent; the text is not.
        is_dark = sum(to_rgb(text)) > 1.5  # noqa: PLR2004
        dark = "berlin" if "berlin" in mpl.colormaps else "coolwarm"  # matplotlib 3.10 has it
        size, sequential = float(mpl.rcParams["font.size"]), mpl.rcParams["image.cmap"]
        return cls(text, size, sequential, dark if is_dark else "RdBu_r")

    @property
    def small(self) -> float:
        """Points of the font of facts."""
        return self.size * 0.8

    @property
    def ticks(self) -> float:
        """Points of the font of ticks."""
        return self.small * 0.9

    @property
    def line(self) -> float:
        """Inches from one line of facts to the next."""
        return self.small * _LINE / 72

    @property
    def words(self) -> dict[str, Any]:
        """Arguments of all text that comes from a model: it is no formula and no TeX."""
        return {"parse_math": False, "usetex": False, "color": self.text}

    def colours(self, *, diverging: bool) -> Colormap:
        """The colour map for values of one or of both signs."""
        import matplotlib as mpl

        name = self.diverging if diverging else self.sequential
        return mpl.colormaps[name].with_extremes(over=NOT_FINITE_COLOUR, bad=(0, 0, 0, 0))


# --- text that fits ------------------------------------------------------------------------


def clean(text: str) -> str:
    """Text without line breaks and control characters.

    Example:
        >>> clean(chr(9) + "conv1")
        ' conv1'
    """
    return "".join(" " if unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") else c for c in text)


def text_width(text: str, size: float, *, bold: bool = False) -> float:
    """Inches that a line of text takes in the user's font."""
    import matplotlib as mpl

    family = tuple(mpl.rcParams["font.family"])
    return sum(_width(family, character, bold=bold) for character in text) * size / _PIXEL_FONT


@functools.lru_cache(maxsize=4096)
def _width(family: tuple[str, ...], character: str, *, bold: bool) -> float:
    import warnings

    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    font = FontProperties(family=list(family), weight="bold" if bold else "normal", size=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a missing glyph is told of when it is drawn
        # Two of them, less one: a lone space has no width.
        both = text_to_path.get_text_width_height_descent(f"|{character}|", font, False)[0]
        bars = text_to_path.get_text_width_height_descent("||", font, False)[0]
    return max(0.0, float(both - bars))


def shortened(text: str, size: float, width: float, *, bold: bool = False) -> str:
    """Text that fits, cut off at its left: the end of a qualified name says the most.

    Args:
        text: any text.
        size: of the font, in points.
        width: inches to fit in.
        bold: whether the font is bold.
    """
    text = clean(text)
    if text_width(text, size, bold=bold) <= width:
        return text
    room = width - text_width("…", size, bold=bold)
    start = len(text)
    while start and room >= (last := text_width(text[start - 1], size, bold=bold)):
        room -= last
        start -= 1
    return "…" + text[start:]


def wrapped(parts: Sequence[str], size: float, width: float) -> list[str]:
    """Facts in lines, with dots between; a fact is not broken if it fits in a line.

    Args:
        parts: the facts.
        size: of the font, in points.
        width: inches of a line.
    """
    lines: list[str] = []
    for part in map(clean, parts):
        words = [part] if text_width(part, size) <= width else part.split()
        for i, word in enumerate(words):
            begins = i == 0 and len(words) > 1  # what is broken has a line to begin with
            longer = f"{lines[-1]}{' ' if i else ' · '}{word}" if lines else word
            if lines and not begins and text_width(longer, size) <= width:
                lines[-1] = longer
            else:
                lines.append(shortened(word, size, width))
    return lines


# --- ticks and colour bars -----------------------------------------------------------------


def inches(axes: Axes) -> tuple[float, float]:
    """Width and height of Axes, before their aspect is applied."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    box = axes.get_position(original=True)
    width, height = figure.get_size_inches()
    return float(box.width * width), float(box.height * height)


def whole_numbers(axis: Any) -> None:
    """Let an axis have ticks at whole numbers, as many as there is room for."""
    from matplotlib.ticker import MaxNLocator

    ticks = 8 if inches(axis.axes)[0] > _NARROW else 4
    axis.set_major_locator(MaxNLocator(integer=True, nbins=ticks, min_n_ticks=1))


def label_width(labels: Sequence[str], style: Style) -> float:
    """Inches that the names of tokens take beside their axis."""
    widths = [text_width(name, style.ticks) for name in labels]
    return 0.12 + min(_WIDEST_LABEL, max(widths)) if widths else 0.0


def name_ticks(axis: Any, labels: Sequence[str], style: Style, word: str = "") -> None:
    """Put names, such as those of tokens, at the ticks of an axis; numbers where it has none."""
    if not labels:
        axis.set_label_text(word, fontsize=style.small)
        axis.labelpad = 2
        whole_numbers(axis)
        return
    places = range(0, len(labels), math.ceil(len(labels) / MOST_LABELS))
    names = [shortened(labels[i], style.ticks, _WIDEST_LABEL) for i in places]
    axis.set_ticks(places, names, fontsize=style.ticks)
    for label in axis.get_ticklabels():
        rotation = 90 if axis.axis_name == "x" else 0
        label.set(parse_math=False, usetex=False, rotation=rotation)


def bare(axes: Axes) -> None:
    """Take away the frame and the marks at the ticks."""
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)


def colour_bar(axes: Axes, colours: Any, scale: Scale, style: Style) -> None:
    """What the colours stand for, beside the Axes."""
    import numpy as np

    width, height = (max(side, 0.1) for side in inches(axes))
    tall = min(1.0, 1.8 / height)
    bar = axes.inset_axes((1 + 0.08 / width, 1 - tall, 0.09 / width, tall))
    bar.imshow(
        np.linspace(0, 1, 128)[:, None], cmap=colours, aspect="auto", origin="lower",
        extent=(0, 1, 0, 1),
    )  # fmt: skip
    names = ["−max" if scale.diverging else "min", "0", "max"]
    if scale.low is not None and scale.high is not None:
        numbers = (scale.low, 0.0, scale.high)
        names = [f"{number:.2g}".replace("-", "−") for number in numbers]
    ticks = list(zip((0.0, 0.5, 1.0), names, ("bottom", "center", "top"), strict=True))
    ticks = ticks if scale.diverging else ticks[::2]
    bar.yaxis.tick_right()
    bar.set_yticks([tick[0] for tick in ticks], [tick[1] for tick in ticks])
    bar.tick_params(length=2, pad=2, labelsize=style.small * 0.85)
    bar.xaxis.set_visible(False)
    for label, (_, _, side) in zip(bar.get_yticklabels(), ticks, strict=True):
        label.set(va=side)  # numbers stay within the height of the bar
    for spine in bar.spines.values():
        spine.set_visible(False)
