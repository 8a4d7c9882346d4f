"""The charts that a figure is made of: tiles, heat maps, curves, bars, histograms and words.

Each knows the room it wants, draws itself into Axes, and finds the channel under a point.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch

from fxexplore.views.numbers import short_count

from .arrays import Scale, Tiles
from .style import (
    MOST_LABELS,
    NOT_FINITE_COLOUR,
    Style,
    bare,
    colour_bar,
    inches,
    label_width,
    name_ticks,
    shortened,
    text_width,
    whole_numbers,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_BAR = 0.62  # inches that a colour bar with its numbers takes
_NUMBERS = 0.55  # inches beside Axes for numbers
_BELOW = 0.42  # inches below Axes for numbers and a label
_HEIGHT = 1.7  # inches of a chart
_LABEL = 0.62  # of the font's size: numbers of channels in tiles
_BINS = 50
_TOP = 10
_FLATTEST, _TALLEST = 1 / 24, 4  # a picture beyond is drawn with pixels that are no squares


class Room(NamedTuple):
    """Inches that Axes take, and what their ticks and colour bar take around them."""

    width: float
    height: float
    left: float = 0.0
    bottom: float = 0.06


class Chart:
    """Something to draw.

    Attributes:
        channels: the numbers of the channels that it shows, in its order.
    """

    channels: Sequence[int] = ()

    def room(self, width: float, style: Style) -> Room:
        """What it takes where ``width`` inches are free."""
        del style
        return Room(width - _NUMBERS - 0.1, _HEIGHT, _NUMBERS, _BELOW)

    def draw(self, axes: Axes, style: Style) -> None:
        """Draw into the Axes."""
        raise NotImplementedError

    def channel_at(self, x: float, y: float) -> int | None:
        """The channel under a point, in fractions of the Axes from the top left."""


@dataclasses.dataclass
class TileGrid(Chart):
    """Channels as tiles of one image, in the range 0 to 1 of their scale.

    Attributes:
        tiles: the image.
        channels: the number of the channel in each tile; empty if they are no channels.
        scale: what 0 and 1 stand for.
        ground: a picture under each tile, H × W × 3.
        marks: rows and columns, heights and widths to outline in each tile.
        labels: names of the rows and columns of a single tile.
        most: inches that a tile is wide at most.
        is_numbered: whether the number of its channel is written into each tile.
        opacity: of the tiles over the picture.
    """

    tiles: Tiles
    channels: Sequence[int] = dataclasses.field()  # has to be given here
    scale: Scale
    ground: torch.Tensor | None = None
    marks: Sequence[tuple[float, float, float, float]] = ()
    labels: Sequence[str] = ()
    most: float = 1.9
    is_numbered: bool = True
    opacity: float = 1.0

    def room(self, width: float, style: Style) -> Room:
        left = label_width(self._labels, style)
        rows, columns = self.tiles.pixels.shape
        width = min(max(width - left - _BAR, 0.3), self.most * self.tiles.columns)
        return Room(width, width * rows / columns * self._stretch, left, max(left, 0.06))

    @property
    def _labels(self) -> Sequence[str]:
        return self.labels if self.tiles.count == 1 else ()

    @property
    def _stretch(self) -> float:
        """How much taller than wide a pixel is drawn, so that no tile is a hair."""
        aspect = self.tiles.height / self.tiles.width
        return min(max(aspect, _FLATTEST), 2 * _TALLEST) / aspect

    def draw(self, axes: Axes, style: Style) -> None:
        colours = style.colours(diverging=self.scale.diverging)
        rows, columns = self.tiles.pixels.shape
        extent = (-0.5, columns - 0.5, rows - 0.5, -0.5)
        if self.ground is not None:
            ground = torch.zeros((rows, columns, 4))
            for i in range(self.tiles.count):
                top, left = self.tiles.corner(i)
                area = ground[top : top + self.tiles.height, left : left + self.tiles.width]
                area[..., :3], area[..., 3] = self.ground, 1
            axes.imshow(ground.numpy(), extent=extent)
        axes.imshow(
            self.tiles.pixels.float().numpy(), cmap=colours, vmin=0, vmax=1, extent=extent,
            interpolation_stage="rgba", alpha=None if self.ground is None else self.opacity,
            aspect=self._stretch,
        )  # fmt: skip
        axes.set_anchor("NW")
        if self._labels:
            name_ticks(axes.xaxis, self._labels, style)
            name_ticks(axes.yaxis, self._labels, style)
            bare(axes)
        else:
            axes.axis("off")
        self._annotate(axes, style)
        colour_bar(axes, colours, self.scale, style)

    def _annotate(self, axes: Axes, style: Style) -> None:
        """Write the numbers of the channels, and outline the marks."""
        from matplotlib.patches import Rectangle
        from matplotlib.patheffects import withStroke

        size = style.size * _LABEL
        outline = [withStroke(linewidth=1.6, foreground="black")]
        is_wide = inches(axes)[0] / self.tiles.columns >= text_width("000000", size)
        for i in range(self.tiles.count):
            top, left = self.tiles.corner(i)
            if self.channels and self.is_numbered and is_wide:
                axes.annotate(
                    str(self.channels[i]), (left - 0.5, top - 0.5), (2, -2), va="top",
                    textcoords="offset points", fontsize=size, color="white",
                    path_effects=outline, usetex=False,
                )  # fmt: skip
            for row, column, height, width in self.marks:
                place = (left + column - 0.5, top + row - 0.5)
                axes.add_patch(
                    Rectangle(place, width, height, fill=False, edgecolor="white", linewidth=1.2)
                )

    def channel_at(self, x: float, y: float) -> int | None:
        i = self.tiles.at(x, y) if self.channels else None
        return None if i is None else self.channels[i]


@dataclasses.dataclass
class ColourImage(Chart):
    """An image of red, green and blue from 0 to 1, NaN where a value is not finite.

    Attributes:
        pixels: H × W × 3; below 0 is empty.
        labels: names of the columns of an image that is one row.
        most: inches that it is wide at most.
    """

    pixels: torch.Tensor
    labels: Sequence[str] = ()
    most: float = 3.2

    def room(self, width: float, style: Style) -> Room:
        rows, columns, _ = self.pixels.shape
        bottom = max(0.06, label_width(self.labels, style))
        if rows == 1:
            return Room(width, 0.45, bottom=bottom)
        width = min(width, self.most * max(1.0, columns / rows))
        height = width * min(max(rows / columns, _FLATTEST), _TALLEST)
        return Room(width, height, bottom=bottom)

    def draw(self, axes: Axes, style: Style) -> None:
        from matplotlib.colors import to_rgb

        bad = self.pixels.isnan().any(dim=-1, keepdim=True)
        pixels = torch.where(bad, torch.tensor(to_rgb(NOT_FINITE_COLOUR)), self.pixels)
        opaque = (self.pixels[..., :1] >= 0) | bad
        pixels = torch.cat([pixels.clamp(0, 1), opaque.to(pixels.dtype)], dim=-1)
        rows, columns, _ = pixels.shape
        is_strip = rows == 1 or not _FLATTEST <= rows / columns <= _TALLEST
        axes.imshow(pixels.float().numpy(), aspect="auto" if is_strip else "equal")
        axes.set_anchor("NW")
        if self.labels and rows == 1:
            name_ticks(axes.xaxis, self.labels, style)
            axes.yaxis.set_visible(False)
            bare(axes)
        else:
            axes.axis("off")


@dataclasses.dataclass
class HeatMap(Chart):
    """A sequence as a matrix of values in the range 0 to 1 of its scale.

    Attributes:
        matrix: rows × columns.
        channels: the number of the channel in each row or column.
        by_rows: whether tokens are rows; else channels are.
        scale: what 0 and 1 stand for.
        labels: names of the tokens.
        words: what the channels and positions are called.
    """

    matrix: torch.Tensor
    channels: Sequence[int] = dataclasses.field()  # has to be given here
    by_rows: bool
    scale: Scale
    labels: Sequence[str] = ()
    words: tuple[str, str] = ("channel", "token")

    def room(self, width: float, style: Style) -> Room:
        names = label_width(self.labels, style)
        fine = len(self.matrix) * (0.2 if self.labels and self.by_rows else 0.05)
        height = min(max(1.2, fine), 5.0 if self.labels else 2.6)
        left, bottom = max(_NUMBERS, names + 0.05 if self.by_rows else 0), _BELOW
        if not self.by_rows:
            bottom = max(_BELOW, names)
        return Room(max(width - left - _BAR, 0.3), height, left, bottom)

    def draw(self, axes: Axes, style: Style) -> None:
        colours = style.colours(diverging=self.scale.diverging)
        axes.imshow(
            self.matrix.float().numpy(), cmap=colours, vmin=0, vmax=1, aspect="auto",
            interpolation_stage="rgba",
        )  # fmt: skip
        axes.tick_params(labelsize=style.ticks)
        channels, places = (axes.xaxis, axes.yaxis) if self.by_rows else (axes.yaxis, axes.xaxis)
        name_ticks(channels, (), style, self.words[0])
        if list(self.channels) != list(range(len(self.channels))):
            some = range(0, len(self.channels), math.ceil(len(self.channels) / 20))
            channels.set_ticks(some, [str(self.channels[i]) for i in some])
        name_ticks(places, self.labels, style, self.words[1])
        colour_bar(axes, colours, self.scale, style)

    def channel_at(self, x: float, y: float) -> int | None:
        return self.channels[int((x if self.by_rows else y) * len(self.channels))]


@dataclasses.dataclass
class Curve(Chart):
    """Values over positions.

    Attributes:
        values: one for each position.
        labels: names of the positions.
        across: what the positions are called.
        span: all values that its axis reaches over, to compare with.
    """

    values: torch.Tensor
    labels: Sequence[str] = ()
    across: str = "position"
    span: Sequence[torch.Tensor] = ()

    def room(self, width: float, style: Style) -> Room:
        room = super().room(width, style)
        return room._replace(bottom=max(_BELOW, label_width(self.labels, style)))

    def draw(self, axes: Axes, style: Style) -> None:
        marker = "." if self.values.numel() <= MOST_LABELS else ""
        axes.plot(_finite(self.values).numpy(), linewidth=0.9, marker=marker)
        axes.tick_params(labelsize=style.ticks)
        axes.margins(x=0.01)
        _reach(self.span, axes.set_ylim)
        name_ticks(axes.xaxis, self.labels, style, self.across)


@dataclasses.dataclass
class Bars(Chart):
    """A vector: its values sorted, and the highest by name.

    Attributes:
        values: the values.
        numbers: the number of the channel of each.
        span: all values that its axes reach over, to compare with.
    """

    values: torch.Tensor
    numbers: Sequence[int]
    span: Sequence[torch.Tensor] = ()

    def draw(self, axes: Axes, style: Style) -> None:
        axes.axis("off")
        values = _finite(self.values)  # what is not finite comes last
        order = values.nan_to_num(-math.inf).argsort(descending=True, stable=True).tolist()
        curve = axes.inset_axes((0, 0, 0.52, 1))
        curve.stairs(values[order].numpy(), range(len(order) + 1), baseline=0, fill=True)
        curve.axhline(0, color=style.text, linewidth=0.6, alpha=0.5)
        curve.tick_params(labelsize=style.ticks)
        curve.margins(x=0)
        name_ticks(curve.xaxis, (), style, "rank")
        top = axes.inset_axes((0.66, 0, 0.34, 1))
        shown = order[:_TOP]
        top.barh(range(len(shown)), values[shown].numpy(), height=0.8)
        top.set_yticks(range(len(shown)), [str(self.numbers[i]) for i in shown])
        top.invert_yaxis()
        top.tick_params(labelsize=style.small * 0.8)
        words = f"top {len(shown)} channels" if len(shown) < len(order) else "all channels"
        top.set_xlabel(words, fontsize=style.small, labelpad=2)
        top.locator_params(axis="x", nbins=3)
        _reach(self.span, curve.set_ylim, top.set_xlim)


@dataclasses.dataclass
class Histogram(Chart):
    """How often values occur.

    Attributes:
        values: numbers of any shape.
        span: all numbers that the bins reach over, to compare with.
    """

    values: torch.Tensor
    span: Sequence[torch.Tensor]

    def room(self, width: float, style: Style) -> Room:
        return super().room(width, style)._replace(bottom=0.3)  # no label

    def draw(self, axes: Axes, style: Style) -> None:
        import numpy as np

        joined = torch.cat([v[v.isfinite()].double() for v in self.span])
        low, high = (joined.min().item(), joined.max().item()) if joined.numel() else (0.0, 1.0)
        # A bin must be wider than what numbers of this size can tell apart.
        room = max(abs(low), abs(high)) * 1e-9
        if high - low <= room:
            low, high = low - max(room, 0.5), high + max(room, 0.5)
        values = self.values[self.values.isfinite()].double().numpy()
        counts, edges = np.histogram(values, _BINS, (low, high))
        axes.stairs(counts, edges, fill=True)
        axes.tick_params(labelsize=style.ticks)
        axes.yaxis.set_major_formatter(lambda count, _: short_count(count))
        whole_numbers(axes.yaxis)
        axes.margins(x=0)


@dataclasses.dataclass
class Words(Chart):
    """A number, or a message.

    Attributes:
        text: what to write.
        is_large: whether it is the point, not an aside.
    """

    text: str
    is_large: bool = False

    def room(self, width: float, style: Style) -> Room:
        del style
        return Room(width, 0.5 if self.is_large else 0.3)

    def draw(self, axes: Axes, style: Style) -> None:
        axes.axis("off")
        size = style.size * (2 if self.is_large else 1)
        text = shortened(self.text, size, inches(axes)[0]) if self.is_large else self.text
        axes.text(0, 0.5, text, fontsize=size, va="center", transform=axes.transAxes, **style.words)


def _finite(values: torch.Tensor) -> torch.Tensor:
    """Values as double numbers, NaN for what is not finite and leaves a hole in a curve."""
    return values.double().masked_fill(~values.isfinite(), math.nan)


def _reach(values: Sequence[torch.Tensor], *setters: Callable[[float, float], object]) -> None:
    """Let axes reach over all of several sets of values, and zero."""
    finite = [v[v.isfinite()].double() for v in values]
    joined = torch.cat([torch.zeros(1, dtype=torch.float64), *finite])
    if values:
        low, high = joined.amin().item(), joined.amax().item()
        room = 0.05 * (high - low) or 0.5
        for setter in setters:
            setter(low - room * (low < 0), high + room * (high > 0))
