"""Tensors as matplotlib figures: one image per node, a tile per channel."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch

from .bodies import Body, Colours, Curve, HeatMap, ImageGrid, Words
from .looks import Look, Query, drawn
from .panels import Panel, draw_into, figure_of, panel_at
from .sources import Layout, Source, checked_look, has_no_values
from .statistics import facts, form, item_facts
from .style import NOT_FINITE_COLOUR, Style
from .tensor_parts import Item, Part, item_of
from .ways_to_look import (
    Channels,
    checked_channel,
    limits_of,
    scaled,
    strips,
    tiled,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from fxexplore.model_graph import ModelGraph


def plot_feature_maps(
    features: Any,
    *,
    view: str = "channels",
    channels: Channels = 24,
    sort: str = "index",
    scale: str = "channel",
    layout: Layout = None,
    index: int = 0,
    image: Any = None,
    graph: ModelGraph | None = None,
    return_nodes: Mapping[str, str] | None = None,
    tokens: Sequence[str] | None = None,
    query: Query | None = None,
    ax: Axes | None = None,
) -> Figure:
    """Draw what nodes computed.

    What the axes of a tensor stand for is found from the model graph where one is given,
    else from its shape; what was assumed is said above the picture. Maps (N×C×H×W,
    N×H×W×C) become a grid of channels; tokens (N×L×C) are folded back to their grid, class
    and register tokens set aside; attention (N×heads×L×L) is one map per head; video a
    strip over time; other sequences a heat map; vectors sorted bars and the highest ones;
    what cannot be placed a histogram. NaN and Inf are magenta. Colours, fonts and ground
    are those of matplotlib's rcParams. The figure is not registered with pyplot, so it is
    shown once and needs no closing.

    Args:
        features: what ``extract_features`` or an extractor returned, a tensor, or any nesting
            of tensors.
        view: ``"channels"``; their ``"mean"``; ``"pca"``, the three main directions of the
            channels as red, green and blue; ``"overlay"``, the mean over the input
            picture; or ``"histogram"``.
        channels: how many channels to show, which ones, or a slice. ``"mean"`` and
            ``"overlay"`` take all unless they are chosen one by one.
        sort: ``"index"``, or ``"energy"``, ``"variance"`` or ``"sparsity"``: highest first.
        scale: ``"channel"``, each on its own range, or ``"shared"``.
        layout: letters of the axes where they are known better, such as ``"NHWC"``,
            ``"NLC"``, ``"NCTHW"`` or, for attention, ``"NHLL"``; or a dict of them by key.
        index: which item of the batch to show.
        image: the input picture: 3×H×W from 0 to 1, H×W×3, or PIL. ``"overlay"`` and
            ``query`` draw on it, and it tells the grid of tokens.
        graph: what ``open_model`` gave, to know which module made what; by default that of
            ``features`` where ``extract_features`` returned them.
        return_nodes: names of nodes with their keys, if the extractor renamed them; by default
            those of ``features``, likewise.
        tokens: names of text tokens, for the axis.
        query: of attention, the token whose view is drawn: its number, where 0 is the
            class token if there is one, or its (row, column) in the grid.
        ax: Axes of your own, for a single tensor.

    Returns:
        A ``matplotlib.figure.Figure`` with one Axes per tensor; the one of ``ax`` if given.

    Raises:
        ValueError: if there is no tensor in ``features``, or an argument does not fit.

    Example:
        >>> figure = plot_feature_maps({"conv1": torch.rand(1, 8, 14, 14)}, sort="energy")
        >>> figure.axes[0].get_title(loc="left")
        'conv1'
    """
    look = checked_look(view, channels, sort, scale, image, tokens, query)
    source = Source(features, layout, index, look, graph, return_nodes)
    style = Style.of_the_user()
    panels = [_panel(source, part, look) for part in source.parts]
    if ax is None:
        return figure_of([[panel] for panel in panels], style)
    if len(panels) > 1:
        raise ValueError(f"ax= takes a single tensor, and features holds {len(panels)}")
    return draw_into(ax, panels[0], style)


def plot_channel(
    features: Any,
    key: str,
    channel: int,
    *,
    image: Any = None,
    layout: Layout = None,
    index: int = 0,
    graph: ModelGraph | None = None,
    return_nodes: Mapping[str, str] | None = None,
    tokens: Sequence[str] | None = None,
) -> Figure:
    """Draw one channel of one node large, with the input beside it.

    Args:
        features: as for :func:`plot_feature_maps`.
        key: which of its tensors: its key, or its way down such as ``"decoder[0]"``.
        channel: which channel; of attention which head.
        image: the input picture, to be drawn beside it.
        layout: as for :func:`plot_feature_maps`.
        index: likewise.
        graph: likewise.
        return_nodes: likewise.
        tokens: likewise.

    Returns:
        A ``matplotlib.figure.Figure`` that is not registered with pyplot.

    Raises:
        ValueError: if there is no such key or channel, or an argument does not fit.

    Example:
        >>> figure = plot_channel({"conv1": torch.rand(1, 8, 14, 14)}, "conv1", 5)
        >>> figure.axes[0].get_title(loc="left")
        'conv1 · channel 5'
    """
    look = checked_look("channels", [channel], "index", "shared", image, tokens, None)
    source = Source(features, layout, index, look, graph, return_nodes)
    part = next((part for part in source.parts if part.key == key), None)
    if part is None:
        has = ", ".join(repr(part.key) for part in source.parts)
        raise ValueError(f"{key!r} is no key of features; these are {has}")
    panel = _panel(source, part, look, enlarged=channel)
    row = [panel]
    if look.picture is not None:
        height, width, _ = look.picture.shape
        row.append(Panel("", _input_body(look.picture), "input", [f"{height}×{width}"]))
    return figure_of([row], Style.of_the_user())


def channel_at(figure: Figure, x: float, y: float) -> tuple[str, int] | None:
    """Find the channel under a point of a figure, such as a click on its picture.

    Args:
        figure: what one of the functions of this module returned.
        x: fraction of the figure's width, from its left.
        y: fraction of its height, from its top.

    Returns:
        The key of the tensor and the number of the channel; None where there is none.

    Example:
        >>> figure = plot_feature_maps({"conv1": torch.rand(1, 1, 14, 14)})
        >>> box = figure.axes[0].get_position()
        >>> channel_at(figure, (box.x0 + box.x1) / 2, 1 - (box.y0 + box.y1) / 2)
        ('conv1', 0)
    """
    found = panel_at(figure, x, y)
    if found is None:
        return None
    panel, across, down = found
    channel = panel.body.channel_at(across, down)
    return None if channel is None else (panel.key, channel)


def plot_comparison(
    first: Any,
    second: Any,
    *,
    labels: tuple[str, str] = ("first", "second"),
    view: str = "channels",
    channels: Channels = 24,
    sort: str = "index",
    scale: str = "channel",
    layout: Layout = None,
    index: int = 0,
    image: Any = None,
    graph: ModelGraph | None = None,
    return_nodes: Mapping[str, str] | None = None,
    tokens: Sequence[str] | None = None,
    query: Query | None = None,
) -> Figure:
    """Draw the same nodes twice, side by side with shared scales, and their difference.

    Args:
        first: features, as for :func:`plot_feature_maps`.
        second: features with the same keys and shapes: of another input, or of another
            state of the model.
        labels: what the two are called.
        view: as for :func:`plot_feature_maps`; colours of ``"pca"`` are fitted to both.
        channels: likewise; chosen and sorted by ``first``.
        sort: likewise.
        scale: likewise, for both together; the difference has one scale of its own.
        layout: likewise.
        index: likewise.
        image: likewise.
        graph: likewise.
        return_nodes: likewise.
        tokens: likewise.
        query: likewise.

    Returns:
        A ``matplotlib.figure.Figure`` with three Axes per tensor: first, second, and second
        less first.

    Raises:
        ValueError: if keys or shapes differ, or an argument does not fit.

    Example:
        >>> before, after = torch.rand(1, 4, 8, 8), torch.rand(1, 4, 8, 8)
        >>> figure = plot_comparison({"conv": before}, {"conv": after})
        >>> len(figure.axes)
        3
    """
    look = checked_look(view, channels, sort, scale, image, tokens, query)
    sources = [
        Source(features, layout, index, look, graph, return_nodes) for features in (first, second)
    ]
    _check_alike(sources[0], sources[1], labels)
    pairs = zip(sources[0].parts, sources[1].parts, strict=True)
    rows = [_compared(sources, pair, look, labels) for pair in pairs]
    return figure_of(rows, Style.of_the_user(), width=10)


def _panel(source: Source, part: Part, look: Look, *, enlarged: int | None = None) -> Panel:
    """The panel of one tensor, or of one of its channels."""
    name = " · ".join(filter(None, [part.key, source.call(part)]))
    if has_no_values(part.tensor):
        device = part.tensor.device.type
        return Panel(part.key, Words(f"no values: on the {device} device"), name, form(part.tensor))
    item = source.item(part)
    known = item_facts(part.tensor, item, source.place(part, item.reading))
    if enlarged is not None:
        body, title, known = _enlarged(item, part.key, enlarged, look)
        title = name + title.removeprefix(part.key)
        notes = _notes(item) + _colour_note(body, known)
        return Panel(part.key, body, title, [*form(part.tensor)[1:], *known], notes)
    result = drawn([item], look, part.key)
    notes = _notes(item, result.notes) + _colour_note(result.bodies[0], known)
    return Panel(part.key, result.bodies[0], name, known, notes)


def _colour_note(body: Body, known: Sequence[str]) -> list[str]:
    strange = [fact.split()[1] for fact in known if fact.endswith((" NaN", " Inf"))]
    is_image = isinstance(body, (ImageGrid, HeatMap, Colours))
    return [f"{' and '.join(strange)} in {NOT_FINITE_COLOUR}"] if strange and is_image else []


def _notes(item: Item, more: Sequence[str] = ()) -> list[str]:
    reading = item.reading
    notes = [reading.equation() if item.kind != "sequence" else "", reading.guess, *item.notes]
    notes += more
    return [note for note in notes if note]


# --- one channel, and two tensors ----------------------------------------------------------


def _enlarged(item: Item, key: str, channel: int, look: Look) -> tuple[Body, str, list[str]]:
    """The picture of one channel, what it is called, and its facts."""
    if item.kind in ("scalar", "unplaced"):
        return drawn([item], look, key).bodies[0], key, facts(item.values)
    noun = "head" if item.kind == "attention" else "channel"
    number = checked_channel(channel, len(item.values), key)
    values = item.values[number : number + 1]
    title = f"{key} · {noun} {number}"
    if item.kind == "vector":
        rank = int((item.values > values).sum()) + 1
        place = f"rank {rank} of {len(item.values)}"
        return Words(f"{values.item():.6g}", large=True), title, [place]
    if item.kind == "sequence":
        labels = look.tokens if len(look.tokens) == values.shape[1] else ()
        return Curve(values, labels=labels), title, facts(values)
    limits = limits_of(values)
    unit = scaled(values, limits)
    tile = strips(unit, 8)[0] if item.kind == "video" else unit
    labels = look.tokens if item.kind == "attention" and len(look.tokens) == tile.shape[2] else ()
    body = ImageGrid(
        tiled(tile, 1), [number], limits, limits.diverging, labels=labels, most=8, numbered=False
    )
    return body, title, facts(values)


def _input_body(picture: torch.Tensor) -> Body:
    return Colours(picture, most=8)


def _compared(
    sources: Sequence[Source], pair: tuple[Part, Part], look: Look, labels: tuple[str, str]
) -> list[Panel]:
    key = pair[0].key
    names = [*labels, f"{labels[1]} − {labels[0]}"]
    titles = [f"{key} · {name}" for name in names]
    if any(has_no_values(part.tensor) for part in pair):
        message = Words("no values to compare")
        return [Panel(key, message, title, form(pair[0].tensor)) for title in titles]
    items = [source.item(part) for source, part in zip(sources, pair, strict=True)]
    if items[0].kind != items[1].kind:
        # Softmax rows are told by their values: where one has them, both are attention.
        items[1] = item_of(pair[1].tensor, items[0].reading, 0)
    change = dataclasses.replace(items[0], values=items[1].values - items[0].values)
    both = drawn(items, look, key)
    chosen = look
    if look.view == "channels" and isinstance(both.bodies[0], ImageGrid):
        chosen = dataclasses.replace(look, channels=both.bodies[0].channels, sort="index")
    chosen = dataclasses.replace(chosen, signed=True, scale="shared")
    difference = drawn([change], chosen, key)
    call = [sources[0].call(pair[0])] if sources[0].call(pair[0]) else []
    known = [[*call, *facts(item.values)] for item in (*items, change)]
    notes = [_notes(items[0], both.notes), _notes(items[1])[:0], []]
    bodies = [*both.bodies, *difference.bodies]
    return [
        Panel(key, body, title, fact, note)
        for body, title, fact, note in zip(bodies, titles, known, notes, strict=True)
    ]


def _check_alike(one: Source, two: Source, labels: tuple[str, str]) -> None:
    shapes = [
        {part.key: tuple(part.tensor.shape) for part in source.parts} for source in (one, two)
    ]
    for mine, other, has, lacks in ((*shapes, *labels), (*shapes[::-1], *labels[::-1])):
        missing = [repr(key) for key in mine if key not in other]
        if missing:
            raise ValueError(f"{has} has {', '.join(missing)}, which {lacks} has not")
    for key, shape in shapes[0].items():
        if shape != shapes[1][key]:
            raise ValueError(
                f"{key!r} is {shape} in {labels[0]} and {shapes[1][key]} in {labels[1]}; "
                f"only values of the same shape can be compared"
            )
