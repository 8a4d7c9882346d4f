"""The pictures that panels are made of: images, heat maps, curves, bars and words.

Every body knows the size it wants, draws itself into Axes, and finds the channel under a
point.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from fxexplore.views.numbers import short_count

from .axes import (
    MOST_LABELS,
    bounded,
    colour_bar,
    inches,
    label_width,
    name_axis,
    name_ticks,
    reach,
    whole_numbers,
)
from .style import NOT_FINITE_COLOUR, Style, shortened, text_width
from .ways_to_look import Limits, Tiles, scaled

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_BAR = 0.62  # inches that a colour bar with its numbers takes
_TICKS = 0.3  # inches below Axes for numbers
_LABEL = 0.62  # of the font's size: numbers of channels in tiles
_BINS = 50
_TOP = 10


class Pads(NamedTuple):
    """Inches around Axes that their ticks and colour bar take."""

    left: float = 0.0
    right: float = 0.0
    bottom: float = 0.06


class Body:
    """Something to draw."""

    def pads(self, style: Style) -> Pads:
        """What stands around the Axes."""
        del style
        return Pads()

    def size(self, width: float) -> tuple[float, float]:
        """Inches of the Axes, where at most ``width`` of them are free."""
        return width, 1.7

    def draw(self, axes: Axes, style: Style) -> None:
        """Draw into the Axes."""
        raise NotImplementedError

    def channel_at(self, x: float, y: float) -> int | None:
        """The channel under a point, in fractions of the Axes from the top left."""
        del x, y
        return None


@dataclasses.dataclass
class ImageGrid(Body):
    """Channels as tiles of one image, in the range 0 to 1 of their scale.

    Attributes:
        tiles: the image.
        channels: the number of the channel in each tile; empty if they are no channels.
        limits: what 0 and 1 stand for; None if it differs from tile to tile.
        diverging: whether zero is in the middle.
        ground: a picture under each tile, H × W × 3.
        marks: rows and columns, heights and widths to outline in each tile.
        labels: names of the rows and columns of a single tile.
        most: inches that a tile is wide at most.
        numbered: whether the number of its channel is written into each tile.
    """

    tiles: Tiles
    channels: Sequence[int]
    limits: Limits | None
    diverging: bool
    ground: torch.Tensor | None = None
    marks: Sequence[tuple[float, float, float, float]] = ()
    labels: Sequence[str] = ()
    most: float = 1.9
    numbered: bool = True

    def pads(self, style: Style) -> Pads:
        room = label_width(self.labels, style) if self.tiles.count == 1 else 0.0
        return Pads(left=room, right=_BAR, bottom=max(room, 0.06))

    def size(self, width: float) -> tuple[float, float]:
        rows, columns = self.tiles.pixels.shape
        width = min(width, self.most * self.tiles.columns)
        return width, width * rows / columns * self._stretch

    @property
    def _stretch(self) -> float:
        """How much taller than wide a pixel is drawn, so that no tile is a hair."""
        aspect = self.tiles.height / self.tiles.width
        return min(max(aspect, 1 / 24), 8) / aspect

    def draw(self, axes: Axes, style: Style) -> None:
        colours = style.colours(diverging=self.diverging)
        rows, columns = self.tiles.pixels.shape
        extent = (-0.5, columns - 0.5, rows - 0.5, -0.5)
        if self.ground is not None:
            axes.imshow(self._tiled_ground(), extent=extent)
        axes.imshow(
            self.tiles.pixels.float().numpy(), cmap=colours, vmin=0, vmax=1, extent=extent,
            interpolation_stage="rgba", alpha=None if self.ground is None else 0.55,
            aspect=self._stretch,
        )  # fmt: skip
        axes.set_anchor("NW")
        if self.labels and self.tiles.count == 1:
            name_ticks(axes, self.labels, style)
        else:
            axes.axis("off")
        self._number(axes, style)
        self._mark(axes)
        colour_bar(axes, colours, self.limits, style, diverging=self.diverging)

    def _tiled_ground(self) -> Any:
        import numpy as np

        ground = np.zeros((*self.tiles.pixels.shape, 4), dtype=np.float32)
        assert self.ground is not None
        for i in range(self.tiles.count):
            top, left = self.tiles.corner(i)
            area = ground[top : top + self.tiles.height, left : left + self.tiles.width]
            area[..., :3], area[..., 3] = self.ground.numpy(), 1
        return ground

    def _number(self, axes: Axes, style: Style) -> None:
        from matplotlib.patheffects import withStroke

        size = style.size * _LABEL
        tile = self.size(inches(axes)[0])[0] / self.tiles.columns
        if not (self.channels and self.numbered) or tile < text_width("0000", size):
            return
        outline = [withStroke(linewidth=1.6, foreground="black")]
        for i, channel in enumerate(self.channels):
            top, left = self.tiles.corner(i)
            axes.annotate(
                str(channel), (left - 0.5, top - 0.5), (2, -2), textcoords="offset points",
                va="top", fontsize=size, color="white", path_effects=outline, usetex=False,
            )  # fmt: skip

    def _mark(self, axes: Axes) -> None:
        from matplotlib.patches import Rectangle

        for i in range(self.tiles.count):
            top, left = self.tiles.corner(i)
            for row, column, height, width in self.marks:
                place = (left + column - 0.5, top + row - 0.5)
                axes.add_patch(
                    Rectangle(place, width, height, fill=False, edgecolor="white", linewidth=1.2)
                )

    def channel_at(self, x: float, y: float) -> int | None:
        i = self.tiles.at(x, y) if self.channels else None
        return None if i is None else self.channels[i]


@dataclasses.dataclass
class Colours(Body):
    """An image of red, green and blue from 0 to 1, NaN where a value is not finite.

    Attributes:
        pixels: H × W × 3; below 0 is empty.
        labels: names of the columns of a picture that is one row.
        most: inches that it is wide at most.
    """

    pixels: torch.Tensor
    labels: Sequence[str] = ()
    most: float = 3.2

    def pads(self, style: Style) -> Pads:
        return Pads(bottom=max(0.06, label_width(self.labels, style)))

    def size(self, width: float) -> tuple[float, float]:
        rows, columns, _ = self.pixels.shape
        if rows == 1:
            return width, 0.45
        width = min(width, self.most * max(1.0, columns / rows))
        return width, width * min(max(rows / columns, 1 / 24), 4)

    def draw(self, axes: Axes, style: Style) -> None:
        from matplotlib.colors import to_rgb

        bad = self.pixels.isnan().any(dim=-1, keepdim=True)
        pixels = torch.where(bad, torch.tensor(to_rgb(NOT_FINITE_COLOUR)), self.pixels)
        opaque = (self.pixels[..., :1] >= 0) | bad
        pixels = torch.cat([pixels.clamp(0, 1), opaque.to(pixels.dtype)], dim=-1)
        rows, columns, _ = pixels.shape
        narrow = rows == 1 or not 1 / 24 <= rows / columns <= 4  # noqa: PLR2004
        axes.imshow(pixels.float().numpy(), aspect="auto" if narrow else "equal")
        axes.set_anchor("NW")
        if self.labels and rows == 1:
            name_ticks(axes, self.labels, style, both=False)
        else:
            axes.axis("off")


@dataclasses.dataclass
class HeatMap(Body):
    """A sequence as a matrix of values in the range 0 to 1 of its scale.

    Attributes:
        matrix: rows × columns.
        channels: the number of the channel in each row or column.
        by_rows: whether tokens are rows; else channels are.
        limits: what 0 and 1 stand for; None if it differs from channel to channel.
        diverging: whether zero is in the middle.
        labels: names of the tokens.
        words: what the channels and positions are called.
    """

    matrix: torch.Tensor
    channels: Sequence[int]
    by_rows: bool
    limits: Limits | None
    diverging: bool
    labels: Sequence[str] = ()
    words: tuple[str, str] = ("channel", "token")

    def pads(self, style: Style) -> Pads:
        room = label_width(self.labels, style)
        left = max(0.55, room + 0.05) if self.by_rows else 0.55
        return Pads(left, _BAR, 0.42 if self.by_rows else max(0.42, room))

    def size(self, width: float) -> tuple[float, float]:
        rows = len(self.matrix)
        fine = rows * (0.2 if self.labels and self.by_rows else 0.05)
        return width, min(max(1.2, fine), 5.0 if self.labels else 2.6)

    def draw(self, axes: Axes, style: Style) -> None:
        colours = style.colours(diverging=self.diverging)
        axes.imshow(
            self.matrix.float().numpy(), cmap=colours, vmin=0, vmax=1, aspect="auto",
            interpolation_stage="rgba",
        )  # fmt: skip
        channel, position = self.words
        across, down = (channel, position) if self.by_rows else (position, channel)
        axes.set_xlabel(across, fontsize=style.small, labelpad=2)
        axes.set_ylabel(down, fontsize=style.small, labelpad=2)
        axes.tick_params(labelsize=style.small * 0.9)
        ordered = list(self.channels) == list(range(len(self.channels)))
        channel_axis = axes.xaxis if self.by_rows else axes.yaxis
        if not ordered:
            step = math.ceil(len(self.channels) / 20)
            places = range(0, len(self.channels), step)
            channel_axis.set_ticks(places, [str(self.channels[i]) for i in places])
        else:
            whole_numbers(channel_axis)
        if self.labels:
            place = "y" if self.by_rows else "x"
            name_axis(axes, place, self.labels, style)
            (axes.set_ylabel if self.by_rows else axes.set_xlabel)("")
        else:
            whole_numbers(axes.yaxis if self.by_rows else axes.xaxis)
        colour_bar(axes, colours, self.limits, style, diverging=self.diverging)

    def channel_at(self, x: float, y: float) -> int | None:
        place = x if self.by_rows else y
        inside = 0 <= x < 1 and 0 <= y < 1
        return self.channels[int(place * len(self.channels))] if inside else None


@dataclasses.dataclass
class Curve(Body):
    """Values over positions, several curves if there are several.

    Attributes:
        values: curves × positions.
        names: of the curves; empty for a single one.
        labels: names of the positions.
        across: what the positions are called.
        span: all values that its scale reaches over, to compare with.
    """

    values: torch.Tensor
    names: Sequence[str] = ()
    labels: Sequence[str] = ()
    across: str = "position"
    span: Sequence[torch.Tensor] = ()

    def pads(self, style: Style) -> Pads:
        return Pads(0.55, 0.1, max(0.42, label_width(self.labels, style)))

    def draw(self, axes: Axes, style: Style) -> None:
        styles = ("-", "--", ":")
        for i, curve in enumerate(bounded(self.values)):
            name = self.names[i] if self.names else None
            marker = "." if curve.numel() <= MOST_LABELS else ""
            axes.plot(curve.numpy(), styles[i % 3], linewidth=0.9, marker=marker, label=name)
        if self.names:
            axes.legend(fontsize=style.small, frameon=False)
        axes.tick_params(labelsize=style.small * 0.9)
        axes.margins(x=0.01)
        reach(self.span, axes.set_ylim)
        if self.labels:
            name_axis(axes, "x", self.labels, style)
        else:
            axes.set_xlabel(self.across, fontsize=style.small, labelpad=2)
            whole_numbers(axes.xaxis)


@dataclasses.dataclass
class Bars(Body):
    """A vector: its values sorted, and the highest by name.

    Attributes:
        values: the values.
        channels: the number of the channel of each.
        span: all values that its scale reaches over, to compare with.
    """

    values: torch.Tensor
    channels: Sequence[int]
    span: Sequence[torch.Tensor] = ()

    def order(self) -> list[int]:
        """Positions of the values from the highest to the lowest, what is not finite last."""
        key = torch.where(self.values.isfinite(), self.values.double(), -math.inf)
        return key.argsort(descending=True, stable=True).tolist()

    def pads(self, style: Style) -> Pads:
        del style
        return Pads(0.55, 0.1, 0.42)

    def draw(self, axes: Axes, style: Style) -> None:
        axes.axis("off")
        order = self.order()
        ranked = bounded(self.values)[order]
        curve = axes.inset_axes((0, 0, 0.52, 1))
        curve.stairs(ranked.numpy(), range(len(ranked) + 1), baseline=0, fill=True)
        curve.axhline(0, color=style.text, linewidth=0.6, alpha=0.5)
        curve.set_xlabel("rank", fontsize=style.small, labelpad=2)
        curve.tick_params(labelsize=style.small * 0.9)
        curve.margins(x=0)
        whole_numbers(curve.xaxis)
        top = axes.inset_axes((0.66, 0, 0.34, 1))
        shown = order[:_TOP]
        top.barh(range(len(shown)), bounded(self.values)[shown].numpy(), height=0.8)
        top.set_yticks(range(len(shown)), [str(self.channels[i]) for i in shown])
        top.invert_yaxis()
        top.tick_params(labelsize=style.small * 0.8)
        words = f"top {len(shown)} channels" if len(shown) < len(order) else "all channels"
        top.set_xlabel(words, fontsize=style.small, labelpad=2)
        top.locator_params(axis="x", nbins=3)
        reach(self.span, curve.set_ylim, top.set_xlim)


@dataclasses.dataclass
class Histogram(Body):
    """How often values occur.

    Attributes:
        values: one or more sets of numbers of any shape, on the same bins.
        names: of the sets; empty for a single one.
        span: further numbers that the bins reach over, to compare with.
    """

    values: Sequence[torch.Tensor]
    names: Sequence[str] = ()
    span: Sequence[torch.Tensor] = ()

    def pads(self, style: Style) -> Pads:
        del style
        return Pads(0.55, 0.1, _TICKS)

    def counts(self) -> tuple[list[torch.Tensor], torch.Tensor]:
        """How many values are in each bin, and the edges of the bins."""
        finite = [bounded(v[v.isfinite()].flatten()) for v in self.values]
        joined = torch.cat([*finite, *(bounded(v[v.isfinite()].flatten()) for v in self.span)])
        low, high = (joined.min().item(), joined.max().item()) if joined.numel() else (0.0, 1.0)
        # A bin must be wider than what numbers of this size can tell apart.
        room = max(abs(low), abs(high)) * 1e-9
        if high - low <= room:
            low, high = low - max(room, 0.5), high + max(room, 0.5)
        edges = torch.linspace(low, high, _BINS + 1, dtype=torch.float64)
        unit = Limits(low, high, diverging=False)
        bins = [(scaled(v, unit) * _BINS).long().clamp(0, _BINS - 1) for v in finite]
        return [torch.bincount(b, minlength=_BINS) for b in bins], edges

    def draw(self, axes: Axes, style: Style) -> None:
        counts, edges = self.counts()
        for i, count in enumerate(counts):
            name = self.names[i] if self.names else None
            alone = len(counts) == 1
            axes.stairs(
                count.numpy(), edges.numpy(), fill=alone, label=name, linewidth=0 if alone else 1
            )
        if self.names:
            axes.legend(fontsize=style.small, frameon=False)
        axes.tick_params(labelsize=style.small * 0.9)
        axes.yaxis.set_major_formatter(lambda count, _: short_count(count))
        whole_numbers(axes.yaxis)
        axes.margins(x=0)


@dataclasses.dataclass
class Words(Body):
    """A number, or a message.

    Attributes:
        text: what to write.
        large: whether it is the point, not an aside.
    """

    text: str
    large: bool = False

    def size(self, width: float) -> tuple[float, float]:
        return width, 0.5 if self.large else 0.3

    def draw(self, axes: Axes, style: Style) -> None:
        axes.axis("off")
        size = style.size * (2 if self.large else 1)
        text = shortened(self.text, size, inches(axes)[0]) if self.large else self.text
        axes.text(0, 0.5, text, fontsize=size, va="center", transform=axes.transAxes, **style.words)
