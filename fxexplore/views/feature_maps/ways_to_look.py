"""From the channels of one item to the arrays that are drawn. No matplotlib in here."""

from __future__ import annotations

import dataclasses
import math
import operator
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from numpy.typing import NDArray

VIEWS = ("channels", "mean", "pca", "overlay", "histogram")
SORTS = ("index", "energy", "variance", "sparsity")
SCALES = ("channel", "shared")

NOT_FINITE = 2.0  # of the range of the scale, above which the colour for NaN and Inf begins
_RGB = 3
_LARGEST = 1e300  # numbers beyond have differences that are no numbers

Channels = int | Sequence[int] | slice


@dataclasses.dataclass(frozen=True)
class Limits:
    """The range of values that a scale of colours spans.

    Attributes:
        low: lowest value.
        high: highest value.
        diverging: whether both signs occur, so that zero is the middle.
    """

    low: float
    high: float
    diverging: bool


def limits_of(*values: torch.Tensor) -> Limits:
    """The range of all finite values; about zero where both signs occur.

    Example:
        >>> limits_of(torch.tensor([-1.0, 3.0, float("nan")]))
        Limits(low=-3.0, high=3.0, diverging=True)
    """
    bounds = [_bounds(_rows(v.reshape(1, -1))) for v in values]
    low = min(float(low[0]) for low, _ in bounds)
    high = max(float(high[0]) for _, high in bounds)
    if low > high:  # nothing is finite
        return Limits(0.0, 1.0, diverging=False)
    if low < 0 < high:
        high = max(-low, high)
        return Limits(-high, high, diverging=True)
    return Limits(low, high, diverging=False)


# In numpy: for arrays of this size the threads of torch wait for each other longer than
# they compute, on a machine that does anything else.
def _rows(values: torch.Tensor) -> NDArray[Any]:
    rows: NDArray[Any] = values.reshape(len(values), -1).numpy()
    return rows


def _bounds(rows: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """The lowest and highest finite value of each row; inf and −inf where there is none."""
    import numpy as np

    finite = np.isfinite(rows)
    if rows.size and finite.all():
        low, high = rows.min(axis=1), rows.max(axis=1)
    else:
        low = np.where(finite, rows, np.inf).min(axis=1, initial=np.inf)
        high = np.where(finite, rows, -np.inf).max(axis=1, initial=-np.inf)
    low, high = low.astype(np.float64), high.astype(np.float64)
    empty = low > high
    low, high = low.clip(-_LARGEST, _LARGEST), high.clip(-_LARGEST, _LARGEST)
    return np.where(empty, np.inf, low), np.where(empty, -np.inf, high)


def scaled(values: torch.Tensor, limits: Limits) -> torch.Tensor:
    """Values in the range 0 to 1 of their scale; what is not finite becomes 2.

    Args:
        values: any shape.
        limits: what 0 and 1 stand for.

    Example:
        >>> scaled(torch.tensor([0.0, 1.0, 4.0, float("inf")]), Limits(0.0, 4.0, False))
        tensor([0.0000, 0.2500, 1.0000, 2.0000])
    """
    rows = _rows(values.reshape(1, -1))
    unit = _unit(rows, limits.low, limits.high, diverging=limits.diverging)
    return torch.from_numpy(unit).reshape(values.shape)


def _unit(rows: NDArray[Any], low: Any, high: Any, *, diverging: bool) -> NDArray[Any]:
    import numpy as np

    low, span = np.asarray(low), np.asarray(high) - low
    # A constant has no range; it is drawn at the low end, or in the middle if about zero.
    with np.errstate(invalid="ignore"):
        unit = (rows.astype(np.float64) - low) / np.where(span > 0, span, 1)
        unit = np.where(span > 0, unit.clip(0, 1), 0.5 if diverging else 0)
    unit[~np.isfinite(rows)] = NOT_FINITE
    return unit.astype(np.float32)


def scaled_channels(values: torch.Tensor, diverging: bool, *partners: torch.Tensor) -> torch.Tensor:
    """Channels in the range 0 to 1, each on its own scale.

    Args:
        values: C × any.
        diverging: whether zero is in the middle of all of them.
        partners: of the same shape; drawn beside it on the same scales.

    Example:
        >>> scaled_channels(torch.tensor([[0.0, 1.0], [0.0, 9.0]]), False)
        tensor([[0., 1.],
                [0., 1.]])
    """
    import numpy as np

    bounds = [_bounds(_rows(v)) for v in (values, *partners)]
    low = np.min([low for low, _ in bounds], axis=0)[:, None]
    high = np.max([high for _, high in bounds], axis=0)[:, None]
    low, high = np.where(low > high, 0, low), np.where(low > high, 1, high)
    if diverging:
        # Zero has one colour in all channels, whatever signs each has.
        high = np.maximum(abs(low), abs(high))
        low = -high
    unit = _unit(_rows(values), low, high, diverging=diverging)
    return torch.from_numpy(unit).reshape(values.shape)


def chosen_channels(values: torch.Tensor, channels: Channels, sort: str, key: str) -> list[int]:
    """The channels to show, in the order to show them in.

    Args:
        values: C × any.
        channels: how many to show, which ones, or a slice.
        sort: ``"index"``, ``"energy"``, ``"variance"`` or ``"sparsity"``, the highest first.
        key: name of the tensor, for the error.

    Raises:
        ValueError: if a channel does not exist.

    Example:
        >>> chosen_channels(torch.tensor([[1.0], [3.0], [2.0]]), 2, "energy", "a")
        [1, 2]
    """
    count = len(values)
    if isinstance(channels, slice):
        pool = list(range(count))[channels]
    elif isinstance(channels, int):
        pool = list(range(count))
    else:
        pool = [checked_channel(channel, count, key) for channel in channels]
    if sort != "index":
        ranks = _ranks(values, sort)
        pool.sort(key=lambda channel: -ranks[channel])
    return pool[:channels] if isinstance(channels, int) else pool


def checked_channel(channel: Any, count: int, key: str) -> int:
    """The index of a channel, counted from the front.

    Raises:
        ValueError: if there is no such channel.
    """
    number = operator.index(channel)
    if not -count <= number < count:
        has = f"channels 0 to {count - 1}" if count else "no channels"
        raise ValueError(f"channel {number} is not there: {key!r} has {has}")
    return number % count


def _ranks(values: torch.Tensor, sort: str) -> list[float]:
    flat = torch.nan_to_num(values.flatten(1), 0.0, 0.0, 0.0).double()
    if not flat.shape[1]:
        return [0.0] * len(flat)
    by = {
        "energy": lambda: flat.square().mean(dim=1),
        "variance": lambda: flat.var(dim=1, correction=0),
        "sparsity": lambda: (flat == 0).double().mean(dim=1),
    }
    ranks: list[float] = by[sort]().tolist()
    return ranks


@dataclasses.dataclass(frozen=True)
class Tiles:
    """Channels as tiles of one image.

    Attributes:
        pixels: height × width, NaN between the tiles and after the last.
        height: of a tile, in pixels.
        width: likewise.
        gap: pixels between tiles.
        columns: how many tiles stand side by side.
        count: how many there are.
    """

    pixels: torch.Tensor
    height: int
    width: int
    gap: int
    columns: int
    count: int

    def corner(self, i: int) -> tuple[int, int]:
        """Row and column of the top left pixel of tile ``i``."""
        row, column = divmod(i, self.columns)
        return row * (self.height + self.gap), column * (self.width + self.gap)

    def at(self, x: float, y: float) -> int | None:
        """The tile under a point, in fractions of the image from the top left."""
        if not (0 <= x < 1 and 0 <= y < 1):
            return None
        rows, columns = self.pixels.shape[:2]
        row, below = divmod(y * rows, self.height + self.gap)
        column, right = divmod(x * columns, self.width + self.gap)
        i = int(row) * self.columns + int(column)
        inside = below < self.height and right < self.width and i < self.count
        return i if inside else None


def tiled(tiles: torch.Tensor, columns: int) -> Tiles:
    """Lay tiles out in rows, as one image.

    Args:
        tiles: tiles × H × W.
        columns: how many stand side by side at most.

    Example:
        >>> tiled(torch.arange(8.0).reshape(2, 2, 2), columns=2).pixels[0]
        tensor([0., 1., nan, 4., 5.])
    """
    count, height, width = tiles.shape
    columns = max(1, min(count, columns))
    rows = math.ceil(count / columns)
    gap = max(1, round(0.04 * min(height, width)))
    pixels = tiles.new_full((rows * (height + gap) - gap, columns * (width + gap) - gap), math.nan)
    laid = Tiles(pixels, height, width, gap, columns, count)
    for i, tile in enumerate(tiles):
        top, left = laid.corner(i)
        pixels[top : top + height, left : left + width] = tile
    return laid


def strips(video: torch.Tensor, frames: int) -> tuple[torch.Tensor, list[int]]:
    """Every channel of a video as one wide tile, frames from left to right.

    Args:
        video: C × T × H × W.
        frames: how many frames to show at most, evenly spread.

    Returns:
        C × H × (T · W with a gap after each frame but the last), and the frames shown.
    """
    channels, length, height, width = video.shape
    shown = frames_shown(length, frames)
    gap = max(1, round(0.02 * width))
    padded = torch.nn.functional.pad(video[:, shown], (0, gap), value=math.nan)
    wide = padded.permute(0, 2, 1, 3).reshape(channels, height, len(shown) * (width + gap))
    return wide[..., : wide.shape[-1] - gap], shown


def frames_shown(length: int, most: int) -> list[int]:
    """At most ``most`` frames, evenly spread from the first to the last.

    Example:
        >>> frames_shown(8, 3)
        [0, 4, 7]
    """
    if length <= most:
        return list(range(length))
    return [round(i * (length - 1) / (most - 1)) for i in range(most)]


def principal_colours(*values: torch.Tensor) -> tuple[list[torch.Tensor], float]:
    """The first three principal components of the channels as red, green and blue.

    The same values give the same colours: the largest loading of each component is positive.

    Args:
        values: C × any, fitted together if there are several.

    Returns:
        3 × any in the range 0 to 1 for each, NaN where a value is not finite; and the
        share of the variance that the colours hold.
    """
    samples = torch.cat([value.flatten(1).T for value in values]).double()
    is_finite = samples.isfinite().all(dim=1)
    colours = samples.new_full((len(samples), _RGB), 0.5)
    colours[~is_finite] = math.nan
    share = 0.0
    fitted = samples[is_finite]
    if fitted.numel():
        # Numbers near the largest would overflow when they are squared.
        fitted = fitted / fitted.abs().max().clamp(min=1e-300)
        points, share = _principal_components(fitted - fitted.mean(dim=0))
        colours[is_finite, : points.shape[1]] = _stretched(points)
    sizes = [value[0].numel() for value in values]
    pictures = [
        part.T.reshape(_RGB, *value.shape[1:])
        for part, value in zip(torch.split(colours, sizes), values, strict=True)
    ]
    return pictures, share


def _principal_components(centred: torch.Tensor) -> tuple[torch.Tensor, float]:
    """The scores of at most three components, and their share of the variance.

    Args:
        centred: samples × channels, of which the mean over the samples is zero.
    """
    is_wide = centred.shape[1] > centred.shape[0]
    # The smaller of the two products has the same eigenvalues, and is solved sooner.
    gram = centred @ centred.T if is_wide else centred.T @ centred
    variances, vectors = torch.linalg.eigh(gram)
    variances, vectors = variances.flip(0)[:_RGB], vectors.flip(1)[:, :_RGB]
    total = gram.trace().clamp(min=1e-300)
    # What is left of the others is rounding, which would be stretched to full colours.
    is_there = variances > 1e-12 * total
    vectors = vectors[:, is_there]
    loadings = centred.T @ vectors if is_wide else vectors
    loadings = loadings / loadings.norm(dim=0)
    largest = loadings.gather(0, loadings.abs().argmax(dim=0, keepdim=True))
    return centred @ (loadings * largest.sign()), float(variances[is_there].sum() / total)


def _stretched(points: torch.Tensor) -> torch.Tensor:
    """Columns in the range 0 to 1, the outermost hundredths cut off."""
    low, high = (torch.quantile(points[: 2**20], q, dim=0) for q in (0.01, 0.99))
    span = torch.where(high > low, high - low, torch.ones_like(high))
    return ((points - low) / span).clamp(0, 1)


def resized(maps: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Maps at another size, bilinear.

    Args:
        maps: C × H × W.
        size: height and width.
    """
    wide = torch.nn.functional.interpolate(
        maps.unsqueeze(0).double(), size, mode="bilinear", align_corners=False
    )
    return wide.squeeze(0)
