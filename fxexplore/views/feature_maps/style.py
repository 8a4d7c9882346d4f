"""Colours and text of figures, from the user's rcParams."""

from __future__ import annotations

import dataclasses
import functools
import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.colors import Colormap

NOT_FINITE_COLOUR = "magenta"  # in no colour map of ours
_SMALL = 0.8
_LINE = 1.3
_PIXEL_FONT = 72.0


@dataclasses.dataclass(frozen=True)
class Style:
    """How a figure looks.

    Attributes:
        text: colour of text.
        is_dark: whether the ground is dark, as text is light.
        size: points of the font of names.
        small: points of the font of facts.
        sequential: name of the colour map for values of one sign.
        diverging: name of the colour map for values of both signs.
    """

    text: str
    is_dark: bool
    size: float
    small: float
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
        size = float(mpl.rcParams["font.size"])
        dark = "berlin" if "berlin" in mpl.colormaps else "coolwarm"  # matplotlib 3.10 has it
        return cls(
            text=text,
            is_dark=is_dark,
            size=size,
            small=size * _SMALL,
            sequential=mpl.rcParams["image.cmap"],
            diverging=dark if is_dark else "RdBu_r",
        )

    def colours(self, *, diverging: bool) -> Colormap:
        """The colour map for values of one or of both signs."""
        import matplotlib as mpl

        name = self.diverging if diverging else self.sequential
        return mpl.colormaps[name].with_extremes(over=NOT_FINITE_COLOUR, bad=(0, 0, 0, 0))

    @property
    def line(self) -> float:
        """Inches from one line of facts to the next."""
        return self.small * _LINE / 72

    @property
    def words(self) -> dict[str, Any]:
        """Arguments of all text that comes from a model: it is no formula and no TeX."""
        return {"parse_math": False, "usetex": False, "color": self.text}


def clean(text: str) -> str:
    """Text without line breaks and control characters.

    Example:
        >>> clean(chr(9) + "conv1")
        ' conv1'
    """
    return "".join(" " if unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") else c for c in text)


def text_width(text: str, size: float, *, bold: bool = False) -> float:
    """Inches that a line of text takes in the user's font."""
    return sum(_width(c, bold=bold) for c in text) * size / _PIXEL_FONT


@functools.lru_cache(maxsize=4096)
def _width_in(family: tuple[str, ...], character: str, *, bold: bool) -> float:
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


def _width(character: str, *, bold: bool) -> float:
    import matplotlib as mpl

    return _width_in(tuple(mpl.rcParams["font.family"]), character, bold=bold)


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
    while start > 0:
        room -= text_width(text[start - 1], size, bold=bold)
        if room < 0:
            break
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
    for part in parts:
        longer = f"{lines[-1]} · {part}" if lines else part
        if lines and text_width(longer, size) <= width:
            lines[-1] = longer
        else:
            lines += _broken(clean(part), size, width)
    return lines


def _broken(text: str, size: float, width: float) -> list[str]:
    lines = [""]
    for word in text.split(" "):
        longer = f"{lines[-1]} {word}".lstrip()
        if text_width(longer, size) <= width:
            lines[-1] = longer
        else:
            lines += [shortened(word, size, width)]
    return [line for line in lines if line] or [""]
