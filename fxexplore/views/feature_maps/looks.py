"""Which picture a tensor gets: from its kind and the way to look at it to the bodies drawn."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence

import torch

from .bodies import (
    Bars,
    Body,
    Colours,
    Curve,
    HeatMap,
    Histogram,
    ImageGrid,
    Words,
)
from .tensor_parts import Item
from .ways_to_look import (
    Channels,
    Limits,
    chosen_channels,
    frames_shown,
    limits_of,
    principal_colours,
    resized,
    scaled,
    scaled_channels,
    strips,
    tiled,
)

_FRAMES = 16
_SORTED = {"energy": "most energy first", "variance": "highest variance first",
           "sparsity": "most zeros first"}  # fmt: skip

Query = int | tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Look:
    """How to look at tensors, checked.

    Attributes:
        view: one of ``ways_to_look.VIEWS``.
        channels: how many, which ones, or a slice.
        sort: one of ``ways_to_look.SORTS``.
        scale: one of ``ways_to_look.SCALES``.
        picture: the input, H × W × 3.
        tokens: names of tokens.
        query: the token whose attention is drawn: its number, or its place in the grid.
        signed: whether colours are centred at zero whatever the values.
    """

    view: str = "channels"
    channels: Channels = 24
    sort: str = "index"
    scale: str = "channel"
    picture: torch.Tensor | None = None
    tokens: Sequence[str] = ()
    query: Query | None = None
    signed: bool = False


@dataclasses.dataclass
class Drawn:
    """The bodies of one or more items on one scale, and what was done, in words."""

    bodies: list[Body]
    notes: list[str] = dataclasses.field(default_factory=list)


def drawn(items: Sequence[Item], look: Look, key: str) -> Drawn:
    """Choose and prepare the pictures of items.

    Args:
        items: of the same kind and shape; several share their scales.
        look: how to look at them.
        key: name of the tensor, for errors.

    Raises:
        ValueError: if a channel or query token does not exist, or ``overlay`` has no picture.
    """
    kind = items[0].kind
    if look.view == "histogram" or kind == "unplaced":
        every = [item.values for item in items]
        return Drawn([Histogram([v], span=every) for v in every])
    if kind == "scalar":
        return Drawn([Words(f"{item.values.item():.6g}", large=True) for item in items])
    if kind == "attention":
        return _attention(items, look, key)
    draw: Callable[..., Drawn] = {"sequence": _sequence, "vector": _vector}.get(kind, _maps)
    return draw(items, look, key)


# --- maps and video ------------------------------------------------------------------------


def _maps(
    items: Sequence[Item],
    look: Look,
    key: str,
    *,
    noun: str = "channel",
    ground: torch.Tensor | None = None,
    labels: Sequence[str] = (),
    mark: tuple[int, ...] = (),
) -> Drawn:
    values = [item.values for item in items]
    if look.view == "pca":
        return _principal(values)
    notes = []
    numbers: Sequence[int] = ()
    if look.view == "channels":
        chosen = _chosen(values[0], look, key)
        values = [v[chosen] for v in values]
        notes += _choice_in_words(len(chosen), len(items[0].values), look, noun)
        numbers = chosen
    else:
        values, words = _mean(values, look, key, noun)
        notes.append(words)
    if look.view == "overlay":
        values, ground = _over_picture(values, look)
    elif ground is not None:
        values = [_at_size(v, ground) for v in values]
    units, limits, diverging = _on_scale(values, look, single=not numbers)
    if values[0].ndim == 4:  # noqa: PLR2004  # video
        notes += _frames_in_words(values[0].shape[1])
        units = [strips(unit, _FRAMES)[0] for unit in units]
    columns = _columns(len(units[0]), units[0].shape[1] / units[0].shape[2])
    marks = _marks(mark, items[0].values.shape[-2:], units[0].shape[-2:])
    most = _widest(units[0])
    grids = [
        ImageGrid(
            tiled(unit, columns), list(numbers), limits, diverging, ground, marks, labels, most
        )
        for unit in units
    ]
    return Drawn(list(grids), notes)


def _widest(tiles: torch.Tensor) -> float:
    """Inches that a tile is wide at most: more for a single one, and for a strip."""
    count, height, width = tiles.shape
    return (3.2 if count == 1 else 1.9) * max(1.0, math.sqrt(width / height))


def _columns(count: int, aspect: float) -> int:
    """How many tiles stand side by side, so that they fill a picture wider than high."""
    target = math.sqrt(count * (1.7 if aspect > 0.25 else 0.8) * aspect)  # noqa: PLR2004
    near = range(max(1, math.ceil(target * 0.7)), max(1, math.floor(target * 1.35)) + 1)
    near = near or range(max(1, round(target)), max(1, round(target)) + 1)
    return min(near, key=lambda columns: (-count % columns, abs(columns - target)))


def _chosen(values: torch.Tensor, look: Look, key: str) -> list[int]:
    chosen = chosen_channels(values, look.channels, look.sort, key)
    if not chosen:
        raise ValueError(f"channels={look.channels} is none of the {len(values)} of {key!r}")
    return chosen


def _choice_in_words(shown: int, count: int, look: Look, noun: str) -> list[str]:
    order = f", {_SORTED[look.sort]}" if look.sort in _SORTED else ""
    if shown < count:
        return [f"{shown} of {count} {noun}s{order}"]
    return [f"{count} {noun}{'s' * (count > 1)}{order}"] if order else []


def _frames_in_words(length: int) -> list[str]:
    if length <= _FRAMES:
        return [f"{length} frame{'s' * (length > 1)} from left to right"]
    return [f"{len(frames_shown(length, _FRAMES))} of {length} frames from left to right"]


def _mean(
    values: list[torch.Tensor], look: Look, key: str, noun: str
) -> tuple[list[torch.Tensor], str]:
    """The mean over all channels, or over those that were asked for one by one."""
    if not isinstance(look.channels, int):
        chosen = _chosen(values[0], dataclasses.replace(look, sort="index"), key)
        values = [v[chosen] for v in values]
    count = len(values[0])
    means = [v.double().mean(dim=0, keepdim=True) for v in values]
    return means, f"mean over {count} {noun}{'s' * (count > 1)}"


def _on_scale(
    values: list[torch.Tensor], look: Look, *, single: bool
) -> tuple[list[torch.Tensor], Limits | None, bool]:
    """Values in the range 0 to 1, what these stand for, and whether zero is the middle."""
    everything = limits_of(*values)
    if look.signed:
        most = max(abs(everything.low), abs(everything.high))
        everything = Limits(-most, most, diverging=True)
    if single or look.scale == "shared" or len(values[0]) == 1:
        return [scaled(v, everything) for v in values], everything, everything.diverging
    units = [
        scaled_channels(v, everything.diverging, *(other for other in values if other is not v))
        for v in values
    ]
    return units, None, everything.diverging


def _over_picture(
    values: list[torch.Tensor], look: Look
) -> tuple[list[torch.Tensor], torch.Tensor]:
    if look.picture is None:
        raise ValueError("view='overlay' lays maps over the input; give it as image=")
    flat = [v.mean(dim=1) if v.ndim == 4 else v for v in values]  # noqa: PLR2004  # over time
    return [_at_size(v, look.picture) for v in flat], look.picture


def _at_size(values: torch.Tensor, picture: torch.Tensor) -> torch.Tensor:
    return resized(values, (picture.shape[0], picture.shape[1]))


def _marks(
    mark: tuple[int, ...], grid: Sequence[int], tile: Sequence[int]
) -> list[tuple[float, float, float, float]]:
    """The outline of a place of the grid, in pixels of a tile."""
    if len(mark) != 2:  # noqa: PLR2004
        return []
    height, width = tile[0] / grid[0], tile[1] / grid[1]
    return [(mark[0] * height, mark[1] * width, height, width)]


def _principal(values: list[torch.Tensor], labels: Sequence[str] = ()) -> Drawn:
    pictures, share = principal_colours(*values)
    notes = [f"3 principal components as red, green, blue: {share:.0%} of the variance".replace(
        "%", " %")]  # fmt: skip
    if values[0].ndim == 4:  # noqa: PLR2004  # video
        notes += _frames_in_words(values[0].shape[1])
        pictures = [_strip_of_colours(picture) for picture in pictures]
        return Drawn([Colours(p.permute(1, 2, 0), most=8) for p in pictures], notes)
    if values[0].ndim == 2:  # noqa: PLR2004  # sequence
        pictures = [picture.unsqueeze(1) for picture in pictures]
    return Drawn([Colours(p.permute(1, 2, 0), labels) for p in pictures], notes)


def _strip_of_colours(video: torch.Tensor) -> torch.Tensor:
    """Frames side by side, −1 between them."""
    marked = torch.where(video.isnan(), -2.0, video)
    strip = torch.nan_to_num(strips(marked, _FRAMES)[0], nan=-1.0)
    return torch.where(strip == -2.0, math.nan, strip)  # noqa: PLR2004


# --- attention -----------------------------------------------------------------------------


def _attention(items: Sequence[Item], look: Look, key: str) -> Drawn:
    reading = items[0].reading
    queries, keys = items[0].values.shape[1:]
    folds = bool(reading.grid) and reading.prefix + math.prod(reading.grid) + reading.suffix == keys
    if look.query is None and not (look.view == "overlay" and folds):
        square = [dataclasses.replace(item, kind="maps") for item in items]
        calm = dataclasses.replace(look, view="channels" if look.view == "overlay" else look.view)
        fits = len(look.tokens) == queries == keys
        result = _maps(square, calm, key, noun="head", labels=look.tokens if fits else ())
        result.notes.append("rows are queries, columns keys")
        if look.view == "overlay":
            result.notes.append("tokens make no grid that is known: not laid over the input")
        return result
    mark: tuple[int, ...] = ()
    if look.query is None:
        rows = [item.values.mean(dim=1) for item in items]
        words = "attention that each place gets, mean over queries"
    else:
        number, mark = _query_number(look.query, reading.grid, reading.prefix, queries, key)
        rows = [item.values[:, number] for item in items]
        words = f"attention of query token {number}"
    if not folds:
        sequences = [
            dataclasses.replace(item, kind="sequence", values=row)
            for item, row in zip(items, rows, strict=True)
        ]
        result = _sequence(sequences, look, key, noun="head")
    else:
        result = _attention_on_grid(items, rows, look, key, mark if queries == keys else ())
    result.notes.insert(0, words)
    return result


def _attention_on_grid(
    items: Sequence[Item],
    rows: Sequence[torch.Tensor],
    look: Look,
    key: str,
    mark: tuple[int, ...],
) -> Drawn:
    reading = items[0].reading
    places = slice(reading.prefix, reading.prefix + math.prod(reading.grid))
    folded = [
        dataclasses.replace(item, kind="maps", values=row[:, places].reshape(-1, *reading.grid))
        for item, row in zip(items, rows, strict=True)
    ]
    on_picture = look.picture if len(reading.grid) == 2 and look.view != "pca" else None  # noqa: PLR2004
    return _maps(folded, look, key, noun="head", ground=on_picture, mark=mark)


def _query_number(
    query: Query, grid: tuple[int, ...], prefix: int, count: int, key: str
) -> tuple[int, tuple[int, ...]]:
    """The number of a query token, and its place in the grid if it has one."""
    if isinstance(query, int):
        if not -count <= query < count:
            raise ValueError(f"query={query} is not there: {key!r} has tokens 0 to {count - 1}")
        number = query % count
        place = number - prefix
        if len(grid) == 2 and 0 <= place < math.prod(grid):  # noqa: PLR2004
            return number, divmod(place, grid[1])
        return number, ()
    sizes = "×".join(map(str, grid))
    if len(query) != len(grid) or any(not 0 <= q < size for q, size in zip(query, grid)):  # noqa: B905
        has = f"a grid of {sizes}" if grid else "no grid that is known; give a token's number"
        raise ValueError(f"query={tuple(query)} is not there: {key!r} has {has}")
    number = 0
    for q, size in zip(query, grid, strict=True):
        number = number * size + q
    return number + prefix, tuple(query)


# --- sequences and vectors -----------------------------------------------------------------


def _sequence(items: Sequence[Item], look: Look, key: str, *, noun: str = "channel") -> Drawn:
    values = [item.values for item in items]
    length = values[0].shape[1]
    labels = look.tokens if len(look.tokens) == length else ()
    notes = _no_places(look) if look.view == "overlay" else []
    word = "token" if labels or items[0].reading.axes.endswith("LC") else "position"
    if look.view == "pca":
        return _principal(values, labels)
    if look.view == "mean" or len(values[0]) == 1:
        means, words = _mean(values, look, key, noun)
        span = means if len(means) > 1 else ()
        curves = [Curve(mean, labels=labels, across=word, span=span) for mean in means]
        return Drawn(list(curves), [*notes, words] if len(values[0]) > 1 else notes)
    # A heat map has room for all channels: a number of them is for tiles.
    every = len(values[0]) if isinstance(look.channels, int) else look.channels
    chosen = _chosen(values[0], dataclasses.replace(look, channels=every), key)
    notes += _choice_in_words(len(chosen), len(values[0]), look, noun)
    units, limits, diverging = _on_scale([v[chosen] for v in values], look, single=False)
    by_rows = items[0].reading.axes.endswith("LC")
    maps = [
        HeatMap(u.T if by_rows else u, chosen, by_rows, limits, diverging, labels, (noun, word))
        for u in units
    ]
    return Drawn(list(maps), notes)


def _vector(items: Sequence[Item], look: Look, key: str) -> Drawn:
    notes = _no_places(look) if look.view != "channels" else []
    values = [item.values for item in items]
    chosen = list(range(len(values[0])))
    if not isinstance(look.channels, int):
        chosen = _chosen(values[0], dataclasses.replace(look, sort="index"), key)
        notes += _choice_in_words(len(chosen), len(values[0]), look, "channel")
    values = [v[chosen] for v in values]
    span = values if len(values) > 1 else ()
    return Drawn([Bars(v, chosen, span) for v in values], notes)


def _no_places(look: Look) -> list[str]:
    return [f"a tensor without places has no view={look.view!r}: drawn as channels"]
