"""Tensors as matplotlib figures: one image per node, a tile per channel."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from .numbers import shape_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from fxexplore.model_graph.graph import ModelGraph

_COLUMNS = 6
_GAP = 1
_DIMENSIONS_OF_MAPS = 4
_BARS = 64


class Grid(NamedTuple):
    """Channels as tiles of one image.

    Attributes:
        pixels: height × width, NaN between the tiles and after the last.
        columns: how many tiles stand side by side.
        shown: how many channels are tiles of the image.
    """

    pixels: torch.Tensor
    columns: int
    shown: int


def plot_feature_maps(
    features: Any,
    *,
    view: str = "channels",
    channels: int | Sequence[int] | slice = 24,
    sort: str = "index",
    scale: str = "channel",
    layout: str | Mapping[str, str] | None = None,
    index: int = 0,
    image: Any = None,
    graph: ModelGraph | None = None,
    return_nodes: Mapping[str, str] | None = None,
    tokens: Sequence[str] | None = None,
    query: int | tuple[int, int] | None = None,
    axes: Axes | None = None,
) -> Figure:
    """Draw the values of nodes.

    A batch of maps (N×C×H×W) becomes a grid of its first channels, each scaled to its own
    range; a matrix or a batch of tokens (N×L×C) a heat map; a batch of vectors (N×C) a
    row of bars; anything else the histogram of its values. The figure is not registered
    with pyplot, so it is shown once and needs no closing.

    Args:
        features: what an extractor returned, or one tensor.
        channels: how many channels to show of each batch of maps.
        index: which item of the batch to show.

    Returns:
        A ``matplotlib.figure.Figure`` with one row of axes per tensor.

    Raises:
        ValueError: if there is no tensor in ``features``, or ``channels`` is below 1.

    Example:
        >>> figure = plot_feature_maps({"conv1": torch.rand(1, 8, 14, 14)})
        >>> figure.axes[0].get_title(loc="left")
        'conv1'
    """
    from matplotlib.figure import Figure

    del view, sort, scale, layout, image, graph, return_nodes, tokens, query, axes
    if not isinstance(channels, int):
        channels = 24
    if channels < 1:
        raise ValueError(f"channels is {channels}; show at least 1")
    tensors = _tensors(features)
    if not tensors:
        raise ValueError("there is no tensor to draw in features")
    heights = [_height(tensor, channels) for tensor in tensors.values()]
    figure = Figure(figsize=(6.0, sum(heights)), layout="constrained")
    rows = figure.subplots(len(tensors), 1, squeeze=False, height_ratios=heights)
    for (axes,), (name, tensor) in zip(rows, tensors.items(), strict=True):
        _draw(axes, tensor, channels, index)
        axes.set_title(name, loc="left", fontsize=10, fontweight="bold", pad=18, parse_math=False)
        axes.text(
            0, 1, statistics(tensor), transform=axes.transAxes, fontsize=8, alpha=0.7, va="bottom"
        )
    return figure


def plot_channel(
    features: Any,
    key: str,
    channel: int,
    *,
    image: Any = None,
    layout: str | Mapping[str, str] | None = None,
    index: int = 0,
    graph: ModelGraph | None = None,
    return_nodes: Mapping[str, str] | None = None,
    tokens: Sequence[str] | None = None,
) -> Figure:
    """Draw one channel of one node large."""
    del image, layout, graph, return_nodes, tokens
    from matplotlib.figure import Figure

    tensor = _tensors(features)[key]
    figure = Figure(figsize=(6.0, 6.0), layout="constrained")
    axes = figure.subplots()
    axes.imshow(_readable(tensor)[index, channel].numpy())
    axes.set_title(f"{key} · channel {channel}", loc="left", parse_math=False)
    return figure


def channel_at(figure: Figure, x: float, y: float) -> tuple[str, int] | None:
    """The key and channel under a point of a figure, in fractions from the top left."""
    figure.draw_without_rendering()
    for axes in figure.axes:
        box = axes.get_position()
        if box.contains(x, 1 - y) and axes.images:
            height, width = axes.images[0].get_array().shape
            column = int((x - box.x0) / box.width * width)
            row = int((box.y1 - (1 - y)) / box.height * height)
            tile_height, tile_width, columns, count = axes._fxx_tiles
            channel = row // (tile_height + _GAP) * columns + column // (tile_width + _GAP)
            if channel < count:
                return axes.get_title(loc="left"), channel
    return None


def plot_comparison(
    first: Any, second: Any, *, labels: tuple[str, str] = ("first", "second"), **options: Any
) -> Figure:
    """Draw the same nodes of two dicts of features."""
    one, two = _tensors(first), _tensors(second)
    both = {}
    for key, value in one.items():
        both[f"{key} {labels[0]}"] = value
        both[f"{key} {labels[1]}"] = two[key]
        both[f"{key} difference"] = two[key] - value
    return plot_feature_maps(both, **options)


def statistics(tensor: torch.Tensor) -> str:
    """Shape, range, mean and share of zeros of a tensor, in one line.

    Example:
        >>> statistics(torch.tensor([[0.0, 2.0, 4.0, 0.0]]))
        '1×4 · 0 … 4 · mean 1.5 · 50 % zeros'
    """
    values = _readable(tensor)
    finite = values[values.isfinite()]
    parts = [shape_text(tuple(tensor.shape))]
    if finite.numel():
        zeros = (finite == 0).double().mean().item()
        parts += [
            f"{finite.min().item():.3g} … {finite.max().item():.3g}",
            f"mean {finite.mean().item():.3g}",
            f"{zeros:.0%} zeros".replace("%", " %"),
        ]
    if finite.numel() < values.numel():
        parts.append(f"{values.numel() - finite.numel()} not finite")
    return " · ".join(parts)


def channel_grid(maps: torch.Tensor, channels: int) -> Grid:
    """Lay the first channels of one item out as tiles of one image.

    Args:
        maps: C × H × W.
        channels: how many channels to show at most.

    Example:
        >>> grid = channel_grid(torch.arange(8.0).reshape(2, 2, 2), channels=2)
        >>> grid.pixels.shape, grid.columns, grid.shown
        (torch.Size([2, 5]), 2, 2)
        >>> grid.pixels[0]
        tensor([0.0000, 0.3333,    nan, 0.0000, 0.3333])
    """
    shown = maps[:channels].float()
    count, height, width = shown.shape
    low, high = shown.amin(dim=(1, 2), keepdim=True), shown.amax(dim=(1, 2), keepdim=True)
    # A constant channel has no range; it is drawn at the low end of the scale.
    tiles = (shown - low) / torch.where(high > low, high - low, torch.ones_like(high))
    columns = min(count, _COLUMNS)
    rows = math.ceil(count / columns)
    pixels = torch.full(
        (rows * (height + _GAP) - _GAP, columns * (width + _GAP) - _GAP), float("nan")
    )
    for i, tile in enumerate(tiles):
        top, left = i // columns * (height + _GAP), i % columns * (width + _GAP)
        pixels[top : top + height, left : left + width] = tile
    return Grid(pixels, columns, count)


def _tensors(features: Any, name: str = "") -> dict[str, torch.Tensor]:
    """The tensors in a nesting of dicts, tuples and lists, named by their way down."""
    if isinstance(features, torch.Tensor):
        return {name or "tensor": features}
    if isinstance(features, Mapping):
        items = [(f"{name}.{key}" if name else str(key), v) for key, v in features.items()]
    elif isinstance(features, (tuple, list)):
        items = [(f"{name}[{i}]", value) for i, value in enumerate(features)]
    else:
        return {}
    found: dict[str, torch.Tensor] = {}
    for key, value in items:
        found |= _tensors(value, key)
    return found


def _readable(tensor: torch.Tensor) -> torch.Tensor:
    if tensor.device.type == "meta":
        raise ValueError("a tensor on the meta device has no values to draw")
    values = tensor.detach().cpu()
    return (values.abs() if values.is_complex() else values).double()


def _is_maps(tensor: torch.Tensor) -> bool:
    return tensor.ndim == _DIMENSIONS_OF_MAPS and tensor.numel() > 0 and min(tensor.shape[-2:]) > 1


def _height(tensor: torch.Tensor, channels: int) -> float:
    """Inches for the axes of a tensor on a figure 6 inches wide."""
    if not _is_maps(tensor):
        return 2.0
    count = min(channels, tensor.shape[1])
    columns = min(count, _COLUMNS)
    tile = 5.8 / columns * tensor.shape[2] / tensor.shape[3]
    return 0.5 + min(12.0, math.ceil(count / columns) * tile)


def _draw(axes: Axes, tensor: torch.Tensor, channels: int, index: int) -> None:
    values = _readable(tensor)
    if _is_maps(tensor):
        grid = channel_grid(values[min(index, len(values) - 1)], channels)
        axes.imshow(grid.pixels.numpy(), cmap="viridis", interpolation="nearest")
        axes.axis("off")
        axes._fxx_tiles = (*tensor.shape[2:], grid.columns, grid.shown)
        if grid.shown < tensor.shape[1]:
            note = f"{grid.shown} of {tensor.shape[1]} channels"
            axes.set_title(note, loc="right", fontsize=8, alpha=0.7, pad=18)
        return
    item = values[min(index, len(values) - 1)] if values.ndim > 1 and len(values) else values
    if item.ndim == 1 and 0 < len(item) <= _BARS:
        axes.bar(range(len(item)), item.numpy(), width=0.9)
        axes.set_xlabel("channel", fontsize=8)
    elif item.ndim == 1 and len(item):
        axes.plot(item.numpy(), linewidth=0.7)
        axes.set_xlabel("channel", fontsize=8)
    elif item.ndim == 2 and item.numel():  # noqa: PLR2004
        axes.imshow(item.numpy(), aspect="auto", cmap="viridis", interpolation="nearest")
        axes.set(xlabel="channel", ylabel="token")
    else:
        axes.hist(values[values.isfinite()].flatten().numpy(), bins=50)
    axes.tick_params(labelsize=7)
