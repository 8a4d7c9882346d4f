"""Which chart a tensor gets: from an item and the options to what is drawn."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import torch

from fxexplore.model_graph import Reading

from .arrays import (
    checked_channel,
    chosen_channels,
    frames_shown,
    on_scale,
    principal_colours,
    resized,
    strips,
    tiled,
    with_picture,
)
from .charts import Bars, Chart, ColourImage, Curve, HeatMap, Histogram, TileGrid, Words
from .options import Channels, PlotOptions, Query
from .tensors import Item, facts

_FRAMES = 16
_ORDERS = {"energy": ", most energy first", "variance": ", highest variance first",
           "sparsity": ", most zeros first"}  # fmt: skip
_VIDEO, _FLAT = 4, 2  # axes of C×T×H×W; axes of a grid without time


def charts_of(
    items: Sequence[Item], sides: Sequence[PlotOptions], key: str, *, signed: bool = False
) -> tuple[list[Chart], list[str]]:
    """Choose and prepare the charts of items.

    Args:
        items: of the same kind and shape; several share their scales.
        sides: how to draw each; but for ``image`` and ``tokens`` the first one's go.
        key: name of the tensor, for errors.
        signed: whether zero is in the middle of colours, whatever the values.

    Returns:
        One chart for each item, and what was done, in words.

    Raises:
        ValueError: if a channel or query token does not exist, or ``overlay`` has no picture.
    """
    kind, options = items[0].kind, sides[0]
    values = [item.values for item in items]
    if options.view == "histogram" or kind == "unplaced":
        return [Histogram(v, values) for v in values], []
    if kind == "scalar":
        return [Words(f"{v.item():.6g}", is_large=True) for v in values], []
    render = _Render(sides, key, signed=signed)
    if kind == "attention":
        return render.attention(values, items[0].reading), render.notes
    if kind == "sequence":
        return render.sequence(values, items[0].reading), render.notes
    return (render.vector if kind == "vector" else render.maps)(values), render.notes


class _Render:
    """One tensor on its way to charts; every method takes the values of all items.

    Attributes:
        notes: what was done, in words.
    """

    def __init__(self, sides: Sequence[PlotOptions], key: str, *, signed: bool) -> None:
        self._options = sides[0]
        self._sides = sides
        self._key = key
        self._signed = signed
        self.notes: list[str] = []

    def maps(
        self,
        values: list[torch.Tensor],
        *,
        noun: str = "channel",
        is_over: bool = False,
        is_named: bool = False,
        place: tuple[int, int] | None = None,
    ) -> list[Chart]:
        """Maps and videos as tiles, over a picture if they are to be.

        Args:
            values: C×H×W or C×T×H×W.
            noun: what a channel is called.
            is_over: whether they lie over the input, if it is a picture.
            is_named: whether rows and columns are tokens.
            place: row and column that are outlined.
        """
        view = self._options.view
        if view == "pca":
            return self._principal(values)
        grid = values[0].shape[-2:]
        numbers: Sequence[int] = ()
        if view == "channels":
            numbers = self._chosen(values[0], noun, self._options.channels, self._options.sort)
            values = [v[numbers] for v in values]
        else:
            values = self._mean(values, noun)
        grounds = [side.image if is_over or view == "overlay" else None for side in self._sides]
        if view == "overlay":
            if grounds[0] is None:
                raise ValueError("view='overlay' lays maps over the input; give it as image=")
            values = [v.mean(dim=1) if v.ndim == _VIDEO else v for v in values]  # over time
        pairs = zip(values, grounds, strict=True)
        values = [v if ground is None else resized(v, ground) for v, ground in pairs]
        each = self._options.scale == "channel" and len(values[0]) > 1
        units, scale = on_scale(values, each=each, signed=self._signed)
        if units[0].ndim == _VIDEO:
            frames = self._frames(units[0].shape[1])
            units = [strips(unit, frames) for unit in units]
        charts: list[Chart] = []
        for unit, ground, side in zip(units, grounds, self._sides, strict=True):
            count, height, width = unit.shape
            marks = []
            if place is not None:
                tall, wide = height / grid[0], width / grid[1]
                marks = [(place[0] * tall, place[1] * wide, tall, wide)]
            most = (3.2 if count == 1 else 1.9) * max(1.0, math.sqrt(width / height))
            tiles = tiled(unit, _columns(count, height / width))
            labels = side.tokens or () if is_named else ()
            charts.append(
                TileGrid(
                    tiles, numbers, scale, ground, marks, labels, most, opacity=side.drawn_opacity
                )
            )
        return charts

    def attention(self, values: list[torch.Tensor], reading: Reading) -> list[Chart]:
        """Attention as a map per head; of one query, or over the picture, as what it attends to.

        Args:
            values: heads × queries × keys.
            reading: tells the grid of the tokens.
        """
        options = self._options
        queries, keys = values[0].shape[1:]
        first, last = reading.prefix, reading.prefix + math.prod(reading.grid)
        grid = reading.grid if last + reading.suffix == keys else ()
        if options.query is None and not (options.view == "overlay" and grid):
            self.notes.append("rows are queries, columns keys")
            if options.view == "overlay":
                self.notes.append("tokens make no grid that is known: not laid over the input")
                self._options = dataclasses.replace(options, view="channels")
            fits = len(options.tokens or ()) == queries == keys
            return self.maps(values, noun="head", is_named=fits)
        place = None
        if options.query is None:
            rows = [v.mean(dim=1) for v in values]
            self.notes.append("attention that each place gets, mean over queries")
        else:
            number = self._query_number(options.query, reading, queries)
            rows = [v[:, number] for v in values]
            self.notes.append(f"attention of query token {number}")
            if len(grid) == _FLAT and queries == keys and first <= number < last:
                place = divmod(number - first, grid[1])
        if not grid:
            return self.sequence(rows, reading, "head")
        maps = [row[:, first:last].reshape(-1, *grid) for row in rows]
        return self.maps(maps, noun="head", is_over=len(grid) == _FLAT, place=place)

    def _query_number(self, query: Query, reading: Reading, count: int) -> int:
        import numpy as np

        grid = reading.grid
        if isinstance(query, int):
            if not -count <= query < count:
                has = f"tokens 0 to {count - 1}"
                raise ValueError(f"query={query} is not there: {self._key!r} has {has}")
            return query % count
        try:
            return reading.prefix + int(np.ravel_multi_index(query, grid))
        except ValueError:
            has = "no grid that is known; give a token's number"
            if grid:
                has = f"a grid of {'×'.join(map(str, grid))}"
            raise ValueError(f"query={query} is not there: {self._key!r} has {has}") from None

    def sequence(
        self, values: list[torch.Tensor], reading: Reading, noun: str = "channel"
    ) -> list[Chart]:
        """Sequences as heat maps, or as a curve where there is one channel.

        Args:
            values: C×L.
            reading: tells whether tokens are rows.
            noun: what a channel is called.
        """
        count, length = values[0].shape
        tokens = [side.tokens or () for side in self._sides]
        names = [these if len(these) == length else () for these in tokens]
        by_rows = reading.axes.endswith("LC")
        word = "token" if names[0] or by_rows else "position"
        self._say_no_places("mean", "pca")
        if self._options.view == "pca":
            return self._principal(values, names)
        if self._options.view == "mean" or count == 1:
            means = [mean[0] for mean in self._mean(values, noun)]
            span = means if len(means) > 1 else ()
            pairs = zip(means, names, strict=True)
            return [Curve(mean, labels, word, span) for mean, labels in pairs]
        # A heat map has room for all channels: a number of them is for tiles.
        channels = self._options.channels
        channels = count if isinstance(channels, int) else channels
        chosen = self._chosen(values[0], noun, channels, self._options.sort)
        each = self._options.scale == "channel" and len(chosen) > 1
        units, scale = on_scale([v[chosen] for v in values], each=each, signed=self._signed)
        return [
            HeatMap(unit.T if by_rows else unit, chosen, by_rows, scale, labels, (noun, word))
            for unit, labels in zip(units, names, strict=True)
        ]

    def vector(self, values: list[torch.Tensor]) -> list[Chart]:
        """Vectors as sorted bars."""
        self._say_no_places()
        chosen = list(range(len(values[0])))
        if not isinstance(self._options.channels, int):
            chosen = self._chosen(values[0], "channel", self._options.channels, "index")
        values = [v[chosen] for v in values]
        return [Bars(v, chosen, values if len(values) > 1 else ()) for v in values]

    # --- steps on the way ------------------------------------------------------------------

    def _chosen(self, values: torch.Tensor, noun: str, channels: Channels, sort: str) -> list[int]:
        """The channels to show; says how many, and in which order."""
        chosen = chosen_channels(values, channels, sort, self._key)
        order, count = _ORDERS.get(sort, ""), len(values)
        if len(chosen) < count:
            self.notes.append(f"{len(chosen)} of {count} {noun}s{order}")
        elif order and count > 1:
            self.notes.append(f"{count} {noun}s{order}")
        return chosen

    def _mean(self, values: list[torch.Tensor], noun: str) -> list[torch.Tensor]:
        """The mean over all channels, or over those that were asked for one by one."""
        if not isinstance(self._options.channels, int):
            chosen = chosen_channels(values[0], self._options.channels, "index", self._key)
            values = [v[chosen] for v in values]
        if len(values[0]) > 1:
            self.notes.append(f"mean over {len(values[0])} {noun}s")
        return [v.double().mean(dim=0, keepdim=True) for v in values]

    def _principal(
        self, values: list[torch.Tensor], names: Sequence[Sequence[str]] = ()
    ) -> list[Chart]:
        pictures, share = principal_colours(*values)
        words = "3 principal components" + " of both" * (len(values) > 1)
        words += f" as red, green, blue: {100 * share:.0f} % of the variance"
        self.notes.append(words)
        most = 3.2
        if values[0].ndim == _VIDEO:
            frames, most = self._frames(values[0].shape[1]), 8
            pictures = [strips(picture, frames, fill=-1) for picture in pictures]
        elif values[0].ndim == _FLAT:  # a sequence
            pictures = [picture.unsqueeze(1) for picture in pictures]
        else:
            pictures = [
                p if side.image is None else with_picture(p, side.image, side.drawn_opacity)
                for p, side in zip(pictures, self._sides, strict=True)
            ]
        return [
            ColourImage(p.permute(1, 2, 0), labels, most)
            for p, labels in zip(pictures, names or [()] * len(pictures), strict=True)
        ]

    def _frames(self, length: int) -> list[int]:
        """The frames to show; says how many."""
        shown = frames_shown(length, _FRAMES)
        count = f"{len(shown)} of {length}" if len(shown) < length else f"{length}"
        self.notes.append(f"{count} frame{'s' * (length > 1)} from left to right")
        return shown

    def _say_no_places(self, *possible: str) -> None:
        view = self._options.view
        if view not in ("channels", *possible):
            self.notes.append(f"a tensor without places has no view={view!r}: drawn as channels")


def _columns(count: int, aspect: float) -> int:
    """How many tiles stand side by side, so that they fill a picture wider than high."""
    target = math.sqrt(count * (1.7 if aspect > 0.25 else 0.8) * aspect)  # noqa: PLR2004
    near = range(max(1, math.ceil(target * 0.7)), max(1, math.floor(target * 1.35)) + 1)
    near = near or range(max(1, round(target)), max(1, round(target)) + 1)
    return min(near, key=lambda columns: (-count % columns, abs(columns - target)))


def channel_chart(
    item: Item, options: PlotOptions, key: str, channel: int
) -> tuple[Chart, str, list[str]]:
    """The chart of one channel, what it is called, and its facts.

    Args:
        item: what holds the channel.
        options: of which the names of tokens are used.
        key: name of the tensor, for errors.
        channel: its number.

    Raises:
        ValueError: if there is no such channel.
    """
    if item.kind in ("scalar", "unplaced"):
        charts, _ = charts_of([item], [options], key)
        return charts[0], "", facts(item.values)
    number = checked_channel(channel, len(item.values), key)
    title = f" · {'head' if item.kind == 'attention' else 'channel'} {number}"
    values = item.values[number : number + 1]
    if item.kind == "vector":
        rank = int((item.values > values).sum()) + 1
        words = Words(f"{values.item():.6g}", is_large=True)
        return words, title, [f"rank {rank} of {len(item.values)}"]
    (chart,), _ = charts_of([dataclasses.replace(item, values=values)], [options], key)
    if isinstance(chart, TileGrid):
        chart.channels, chart.most, chart.is_numbered = [number], 8, False
    return chart, title, facts(values)
