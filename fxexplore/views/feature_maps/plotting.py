"""Tensors as matplotlib figures: one chart per tensor, a tile per channel."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fxexplore.feature_extraction import ReturnNodes, keys_by_mode, kind_of
from fxexplore.model_graph import Features, ModelGraph

from .charts import Chart, ColourImage, HeatMap, TileGrid, Words
from .figure import WIDTH, Panel, draw_into, figure_of
from .options import Channels, PlotOptions, Query, Scaling, Sort, View
from .render import channel_chart, charts_of
from .style import NOT_FINITE_COLOUR
from .tensors import FeatureTensors, Layout, Part, facts, form

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def plot_feature_maps(
    features: Any,
    *,
    view: View = "channels",
    channels: Channels = 24,
    sort: Sort = "index",
    scale: Scaling = "channel",
    layout: Layout = None,
    index: int = 0,
    image: Any = None,
    graph: ModelGraph | None = None,
    return_nodes: ReturnNodes | None = None,
    tokens: Sequence[str] | None = None,
    query: Query | None = None,
    opacity: float | None = None,
    captions: bool = True,
    width: float = WIDTH,
    ax: Axes | None = None,
) -> Figure:
    """Draw what nodes computed.

    What the axes of a tensor stand for is found from the model graph where one is given,
    else from its shape; what was assumed is said above the picture. Maps (N×C×H×W,
    N×H×W×C) become a grid of channels; tokens (N×L×C) are folded back to their grid, class
    and register tokens set aside; attention (N×heads×L×L) is one map per head, queries ×
    keys; video a strip over time; other sequences a heat map; vectors sorted bars and the
    highest ones; what cannot be placed a histogram. NaN and Inf are magenta. Colours, fonts
    and ground are those of matplotlib's rcParams. The figure is not registered with pyplot,
    so it is shown once and needs no closing.

    Args:
        features: what ``extract_features`` or an extractor returned, a tensor, or any nesting
            of tensors.
        view: ``"channels"``; their ``"mean"``; ``"pca"``, the first three principal
            components of the channels as red, green and blue; ``"overlay"``, the mean over
            the input picture; or ``"histogram"``.
        channels: how many channels to show, which ones, or a slice. ``"mean"`` and
            ``"overlay"`` take all unless they are chosen one by one.
        sort: ``"index"``, or the highest first by ``"energy"`` (mean square),
            ``"variance"``, or ``"sparsity"`` (share of zeros).
        scale: range of the colours: ``"channel"``, each on its own, or ``"shared"``.
        layout: letters of the axes where they are known better, such as ``"NHWC"``,
            ``"NLC"``, ``"NCTHW"`` or, for attention, ``"NHLL"``; or a dict of them by key.
        index: which item of the batch to show, from 0.
        image: the input picture: 3×H×W from 0 to 1, H×W×3, or PIL. ``"overlay"`` and
            ``query`` draw on it, ``"pca"`` beside it, and it tells the grid of tokens.
        graph: what ``open_model`` gave, to know which module made what; by default that of
            ``features`` where ``extract_features`` returned them.
        return_nodes: names of nodes, or a dict from them to keys, as for the extractor; by
            default those of ``features`` where ``extract_features`` returned them.
        tokens: names of text tokens, for the axis.
        query: of attention, the query token whose weights over the keys are drawn: its
            number, where 0 is the class token if there is one, or its (row, column) in the
            grid.
        opacity: of what lies over the picture, from 0 to 1; by default 0.55, and 1 for ``"pca"``,
            which has the picture beside it then.
        captions: whether facts and notes stand below each name.
        width: of the figure, in inches.
        ax: Axes of your own, for a single tensor.

    Returns:
        A ``matplotlib.figure.Figure`` with one Axes per tensor; the one of ``ax`` if given.

    Raises:
        ValueError: if there is no tensor in ``features``, or an argument does not fit.

    Example:
        >>> import torch
        >>> figure = plot_feature_maps({"conv1": torch.rand(1, 8, 14, 14)}, sort="energy")
        >>> figure.axes[0].get_title(loc="left")
        'conv1'
    """
    options = PlotOptions(
        view, channels, sort, scale, index, query, image, tokens, opacity, captions
    )
    source = _source(features, options, layout, graph, return_nodes)
    rows = _captioned([[_panel(source, part, options)] for part in source.parts], captions)
    if ax is None:
        return figure_of(rows, width)
    if len(rows) > 1:
        raise ValueError(f"ax= takes a single tensor, and features holds {len(rows)}")
    return draw_into(ax, rows[0][0])


def plot_channel(
    features: Any,
    key: str,
    channel: int,
    *,
    image: Any = None,
    layout: Layout = None,
    index: int = 0,
    graph: ModelGraph | None = None,
    return_nodes: ReturnNodes | None = None,
    tokens: Sequence[str] | None = None,
    captions: bool = True,
    width: float = WIDTH,
) -> Figure:
    """Draw one channel of one node large, with the input beside it.

    Args:
        features: what ``extract_features`` or an extractor returned, a tensor, or any nesting
            of tensors.
        key: which of its tensors: its key, or its way down such as ``"decoder[0]"``; a bare
            tensor has the key ``"tensor"``.
        channel: the number of the channel, from 0; of attention that of the head.
        image: the input picture, to be drawn beside it: 3×H×W from 0 to 1, H×W×3, or PIL.
        layout: letters of the axes where they are known better, such as ``"NHWC"``; or a
            dict of them by key.
        index: which item of the batch to show, from 0.
        graph: what ``open_model`` gave, to know which module made what; by default that of
            ``features`` where ``extract_features`` returned them.
        return_nodes: names of nodes, or a dict from them to keys, as for the extractor; by
            default those of ``features`` where ``extract_features`` returned them.
        tokens: names of text tokens, for the axis.
        captions: whether facts and notes stand below each name.
        width: of the figure, in inches.

    Returns:
        A ``matplotlib.figure.Figure`` that is not registered with pyplot.

    Raises:
        ValueError: if there is no such key or channel, or an argument does not fit.

    Example:
        >>> import torch
        >>> figure = plot_channel({"conv1": torch.rand(1, 8, 14, 14)}, "conv1", 5)
        >>> figure.axes[0].get_title(loc="left")
        'conv1 · channel 5'
    """
    options = PlotOptions(index=index, image=image, tokens=tokens, captions=captions)
    source = _source(features, options, layout, graph, return_nodes)
    part = next((part for part in source.parts if part.key == key), None)
    if part is None:
        has = ", ".join(repr(part.key) for part in source.parts)
        raise ValueError(f"{key!r} is no key of features; these are {has}")
    if not part.has_values:
        panel = _panel(source, part, options)
    else:
        item = source.item(part)
        chart, title, known = channel_chart(item, options, key, channel)
        notes = [*item.said, *_colour_note(chart, known)]
        known = [*form(part.tensor)[1:], *known]
        panel = Panel(key, chart, source.name(part) + title, known, notes)
    row = [panel]
    if options.image is not None:
        size = "{}×{}".format(*options.image.shape)
        row.append(Panel("", ColourImage(options.image, most=8), "input", [size]))
    return figure_of(_captioned([row], captions), width)


def plot_comparison(
    first: Any,
    second: Any,
    *,
    labels: tuple[str, str] = ("first", "second"),
    view: View = "channels",
    channels: Channels = 24,
    sort: Sort = "index",
    scale: Scaling = "channel",
    layout: Layout = None,
    index: int = 0,
    image: Any = None,
    graph: ModelGraph | None = None,
    return_nodes: ReturnNodes | None = None,
    tokens: Sequence[str] | None = None,
    query: Query | None = None,
    opacity: float | None = None,
    captions: bool = True,
    width: float = 10.0,
) -> Figure:
    """Draw the same nodes twice, side by side with shared scales, and their difference.

    Args:
        first: what ``extract_features`` or an extractor returned, a tensor, or any nesting of
            tensors.
        second: features with the same keys and shapes: of another input, or of another
            state of the model.
        labels: what the two are called.
        view: ``"channels"``; their ``"mean"``; ``"pca"``, the first three principal
            components of the channels of both as red, green and blue; ``"overlay"``, the
            mean over the input picture; or ``"histogram"``.
        channels: how many channels to show, which ones, or a slice; those of ``first`` are
            shown of ``second`` too.
        sort: ``"index"``, or the highest first in ``first`` by ``"energy"`` (mean square),
            ``"variance"``, or ``"sparsity"`` (share of zeros).
        scale: range of the colours, the same in both: ``"channel"``, one for each channel, or
            ``"shared"``. The difference has one scale of its own.
        layout: letters of the axes where they are known better, such as ``"NHWC"``; or a
            dict of them by key.
        index: which item of the batch to show, from 0.
        image: the input picture: 3×H×W from 0 to 1, H×W×3, or PIL; or a pair of them, one of
            ``first`` and one of ``second``. ``"overlay"``, ``"pca"`` and ``query`` draw on it,
            and it tells the grid of tokens.
        graph: what ``open_model`` gave, to know which module made what; by default that of
            ``first`` where ``extract_features`` returned it.
        return_nodes: names of nodes, or a dict from them to keys, as for the extractor; by
            default those of ``first`` where ``extract_features`` returned it.
        tokens: names of text tokens, for the axis; or a pair of lists of them, one of ``first``
            and one of ``second``.
        query: of attention, the query token whose weights over the keys are drawn: its
            number, or its (row, column) in the grid.
        opacity: of what lies over the picture, from 0 to 1; by default 0.55, and 1 for ``"pca"``,
            which has the picture beside it then.
        captions: whether facts and notes stand below each name.
        width: of the figure, in inches.

    Returns:
        A ``matplotlib.figure.Figure`` with three Axes per tensor: first, second, and second
        less first.

    Raises:
        ValueError: if keys or shapes differ, or an argument does not fit.

    Example:
        >>> import torch
        >>> before, after = torch.rand(1, 4, 8, 8), torch.rand(1, 4, 8, 8)
        >>> figure = plot_comparison({"conv": before}, {"conv": after})
        >>> len(figure.axes)
        3
    """
    sides = [
        PlotOptions(
            view, channels, sort, scale, index, query, its_image, its_tokens, opacity, captions
        )
        for its_image, its_tokens in zip(_of_each(image), _of_each(tokens), strict=True)
    ]
    source = _source(first, sides[0], layout, graph, return_nodes)
    others = {p.key: p for p in _source(second, sides[1], layout, graph, return_nodes).parts}
    if not isinstance(labels, tuple | list) or len(labels) != len(("first", "second")):
        raise ValueError(f"labels is {labels!r}; give two, such as ('before', 'after')")
    _check_alike({part.key: part for part in source.parts}, others, labels)
    rows = [_compared(source, (part, others[part.key]), sides, labels) for part in source.parts]
    return figure_of(_captioned(rows, captions), width)


def _source(
    features: Any,
    options: PlotOptions,
    layout: Layout,
    graph: ModelGraph | None,
    return_nodes: ReturnNodes | None,
) -> FeatureTensors:
    """The tensors of features with what tells their axes; checks what only they can tell."""
    if not isinstance(graph, ModelGraph | None):
        raise TypeError(f"graph is {kind_of(graph)}; give what open_model(model) returns")
    if return_nodes is not None:
        return_nodes, _ = keys_by_mode(return_nodes, None, None)
    if isinstance(features, Features):
        graph = features.graph if graph is None else graph
        return_nodes = features.return_nodes if return_nodes is None else return_nodes
    source = FeatureTensors(
        features, layout, options.index, image_size=options.image_size,
        is_text=bool(options.tokens), graph=graph, return_nodes=return_nodes,
    )  # fmt: skip
    readings = source.readings.values()
    if options.query is not None and not any(reading.is_attention for reading in readings):
        raise ValueError("query= is for attention of N×heads×L×L, and there is none in features")
    lengths = {size for part in source.parts for size in part.tensor.shape}
    if options.tokens and len(options.tokens) not in lengths:
        raise ValueError(f"tokens has {len(options.tokens)} names, and no tensor as many tokens")
    return source


def _panel(source: FeatureTensors, part: Part, options: PlotOptions) -> Panel:
    if not part.has_values:
        words = Words(f"no values: on the {part.tensor.device.type} device")
        return Panel(part.key, words, source.name(part), form(part.tensor))
    item = source.item(part)
    (chart,), notes = charts_of([item], [options], part.key)
    notes = [*item.said, *notes, *_colour_note(chart, item.facts)]
    return Panel(part.key, chart, source.name(part), item.facts, notes)


def _colour_note(chart: Chart, known: Sequence[str]) -> list[str]:
    strange = [fact.split()[1] for fact in known if fact.endswith((" NaN", " Inf"))]
    is_image = isinstance(chart, (TileGrid, HeatMap, ColourImage))
    return [f"{' and '.join(strange)} in {NOT_FINITE_COLOUR}"] if strange and is_image else []


def _compared(
    source: FeatureTensors,
    pair: tuple[Part, Part],
    sides: Sequence[PlotOptions],
    labels: tuple[str, str],
) -> list[Panel]:
    """The panels of two tensors of the same shape, and of their difference."""
    key, options = pair[0].key, sides[0]
    names = [*labels, f"{labels[1]} − {labels[0]}"]
    if not all(part.has_values for part in pair):
        words = Words("no values to compare")
        return [Panel(key, words, key, form(pair[0].tensor), side=name) for name in names]
    items = [source.item(part) for part in pair]
    charts, notes = charts_of(items, sides, key)
    difference = items[1].values - items[0].values
    options = dataclasses.replace(options, scale="shared")
    if options.tokens != sides[1].tokens:
        options = dataclasses.replace(options, tokens=None)
    if not all(side.image is not None and side.image.equal(options.image) for side in sides):
        options = dataclasses.replace(options, image=None)
    if options.view == "channels" and charts[0].channels:
        options = dataclasses.replace(options, channels=charts[0].channels, sort="index")
    elif options.view == "overlay" and options.image is None:
        options = dataclasses.replace(options, view="mean")
    elif options.view == "pca" and isinstance(charts[0], ColourImage):
        # Colours of its own would say nothing beside theirs: the length at each place.
        options = dataclasses.replace(options, view="mean", image=None)
        difference, names[2] = difference.norm(dim=0, keepdim=True), f"|{names[2]}|"
    change = dataclasses.replace(items[0], values=difference)
    (chart,), _ = charts_of([change], [options], key, signed=not names[2].startswith("|"))
    call = [word for word in [source.call(pair[0])] if word]
    panels = [
        Panel(key, chart, key, [*call, *facts(item.values)], side=name)
        for chart, name, item in zip([*charts, chart], names, [*items, change], strict=True)
    ]
    panels[0].notes = [*items[0].said, *notes]
    return panels


def _captioned(rows: list[list[Panel]], captions: bool) -> list[list[Panel]]:
    """Panels with facts and notes, or with their names alone."""
    for panel in (panel for row in rows for panel in row if not captions):
        panel.facts, panel.notes = (), ()
    return rows


def _of_each(value: Any) -> Sequence[Any]:
    """What two sides have: a pair, or the same for both."""
    is_pair = isinstance(value, tuple | list) and len(value) == len(("first", "second"))
    return value if is_pair and not any(isinstance(part, str) for part in value) else (value, value)


def _check_alike(
    first: Mapping[str, Part], second: Mapping[str, Part], labels: tuple[str, str]
) -> None:
    for mine, other, has, lacks in ((first, second, *labels), (second, first, *labels[::-1])):
        missing = [repr(key) for key in mine if key not in other]
        if missing:
            raise ValueError(f"{has} has {', '.join(missing)}, which {lacks} has not")
    for key, part in first.items():
        shapes = tuple(part.tensor.shape), tuple(second[key].tensor.shape)
        if shapes[0] != shapes[1]:
            raise ValueError(
                f"{key!r} is {shapes[0]} in {labels[0]} and {shapes[1]} in {labels[1]}; "
                f"only values of the same shape can be compared"
            )
