"""From the channels of one item to the arrays that are drawn. No matplotlib in here."""

from __future__ import annotations

import dataclasses
import math
import operator
from collections.abc import Sequence
from typing import Any

import torch

NOT_FINITE = 2.0  # of the range of the scale, above which the colour for NaN and Inf begins
_RGB = 3
_IMAGE_CHANNELS = (1, 3, 4)
_BYTE = 255


# --- channels ------------------------------------------------------------------------------


def chosen_channels(
    values: torch.Tensor, channels: int | Sequence[int] | slice, sort: str, key: str
) -> list[int]:
    """The channels to show, in the order to show them in.

    Args:
        values: C × any.
        channels: how many to show, which ones, or a slice.
        sort: ``"index"``, ``"energy"``, ``"variance"`` or ``"sparsity"``, the highest first.
        key: name of the tensor, for the error.

    Raises:
        ValueError: if a channel does not exist, or none is chosen.

    Example:
        >>> chosen_channels(torch.tensor([[1.0], [3.0], [2.0]]), 2, "energy", "a")
        [1, 2]
    """
    chosen = list(range(len(values)))
    if isinstance(channels, slice):
        chosen = chosen[channels]
    elif not isinstance(channels, int):
        chosen = [checked_channel(channel, len(values), key) for channel in channels]
    if sort != "index" and values.numel():
        flat = torch.nan_to_num(values.flatten(1), 0.0, 0.0, 0.0).double()
        ranks = {
            "energy": lambda: flat.square().mean(dim=1),
            "variance": lambda: flat.var(dim=1, correction=0),
            "sparsity": lambda: (flat == 0).double().mean(dim=1),
        }[sort]().tolist()
        chosen.sort(key=lambda channel: -ranks[channel])
    chosen = chosen[:channels] if isinstance(channels, int) else chosen
    if not chosen:
        raise ValueError(f"channels={channels} is none of the {len(values)} of {key!r}")
    return chosen


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


# --- values as colours ---------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Scale:
    """What the ends of a scale of colours stand for.

    Attributes:
        low: lowest value; None if each channel has its own.
        high: highest value; None if each channel has its own.
        diverging: whether both signs occur, so that zero is the middle.
    """

    low: float | None
    high: float | None
    diverging: bool


def on_scale(
    values: Sequence[torch.Tensor], *, each: bool = False, signed: bool = False
) -> tuple[list[torch.Tensor], Scale]:
    """Values in the range 0 to 1 of a scale that they share; what is not finite becomes 2.

    Args:
        values: C × any, of one shape.
        each: whether every channel has a scale of its own.
        signed: whether zero is the middle, even if all values have one sign.

    Example:
        >>> on_scale([torch.tensor([[0.0, 1.0, 4.0, float("inf")]])])
        ([tensor([[0.0000, 0.2500, 1.0000, 2.0000]])], Scale(low=0.0, high=4.0, diverging=False))
        >>> on_scale([torch.tensor([[0.0, 1.0], [0.0, 9.0]])], each=True)[0]
        [tensor([[0., 1.],
                [0., 1.]])]
    """
    import numpy as np

    # In numpy: for arrays of this size the threads of torch wait for each other longer than
    # they compute, on a machine that does anything else.
    rows = [v.reshape(len(v), -1).numpy() for v in values]
    finite = [np.isfinite(r) for r in rows]
    pairs = list(zip(rows, finite, strict=True))
    lows = [np.where(f, r, np.inf).min(axis=1, initial=np.inf) for r, f in pairs]
    highs = [np.where(f, r, -np.inf).max(axis=1, initial=-np.inf) for r, f in pairs]
    low, high = np.min(lows, axis=0).astype(float), np.max(highs, axis=0).astype(float)
    if not each:
        low, high = low.min(initial=np.inf), high.max(initial=-np.inf)
    diverging = signed or bool(low.min(initial=np.inf) < 0 < high.max(initial=-np.inf))
    low, high = np.where(low > high, 0, low), np.where(low > high, 1, high)  # nothing is finite
    if diverging:
        # Zero has one colour in all channels, whatever signs each has.
        high = np.maximum(abs(low), abs(high))
        low = -high
    scale = Scale(None, None, diverging) if each else Scale(float(low), float(high), diverging)
    low, span = low[..., None], (high - low)[..., None]
    units = []
    for v, (r, f) in zip(values, pairs, strict=True):
        with np.errstate(invalid="ignore"):
            unit = ((r.astype(float) - low) / np.where(span > 0, span, 1)).clip(0, 1)
        # A constant has no range; it is drawn at the low end, or in the middle if about zero.
        unit = np.where(span > 0, unit, 0.5 if diverging else 0)
        unit[~f] = NOT_FINITE
        units.append(torch.from_numpy(unit.astype(np.float32)).reshape(v.shape))
    return units, scale


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
    if fitted.numel() and (fitted != fitted[0]).any():
        # Numbers near the largest would overflow when they are squared.
        fitted = fitted / fitted.abs().max()
        points, share = _principal_components(fitted - fitted.mean(dim=0))
        # The outermost hundredths are cut off.
        low, high = (torch.quantile(points[: 2**20], q, dim=0) for q in (0.01, 0.99))
        span = torch.where(high > low, high - low, 1)
        colours[is_finite, : points.shape[1]] = ((points - low) / span).clamp(0, 1)
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
    total = gram.trace()
    # What is left of the others is rounding, which would be stretched to full colours.
    is_there = variances > 1e-12 * total
    vectors = vectors[:, is_there]
    loadings = centred.T @ vectors if is_wide else vectors
    loadings = loadings / loadings.norm(dim=0)
    largest = loadings.gather(0, loadings.abs().argmax(dim=0, keepdim=True))
    return centred @ (loadings * largest.sign()), float(variances[is_there].sum() / total)


# --- many maps as one ----------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Tiles:
    """Channels as tiles of one image.

    Attributes:
        pixels: height × width, NaN between the tiles and after the last.
        height: of a tile, in pixels.
        width: of a tile, in pixels.
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
        rows, columns = self.pixels.shape
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


def strips(video: torch.Tensor, frames: list[int], fill: float = math.nan) -> torch.Tensor:
    """Every channel of a video as one wide tile, frames from left to right.

    Args:
        video: C × T × H × W.
        frames: which frames to show.
        fill: what stands in the gaps.

    Returns:
        C × H × (T · W with a gap after each frame but the last).
    """
    channels, _, height, width = video.shape
    gap = max(1, round(0.02 * width))
    padded = torch.nn.functional.pad(video[:, frames], (0, gap), value=fill)
    wide = padded.permute(0, 2, 1, 3).reshape(channels, height, len(frames) * (width + gap))
    return wide[..., : wide.shape[-1] - gap]


def frames_shown(length: int, most: int) -> list[int]:
    """At most ``most`` frames, evenly spread from the first to the last.

    Example:
        >>> frames_shown(8, 3)
        [0, 4, 7]
    """
    if length <= most:
        return list(range(length))
    return [round(i * (length - 1) / (most - 1)) for i in range(most)]


# --- the input picture ---------------------------------------------------------------------


def image_of(image: Any) -> torch.Tensor:
    """Read a picture.

    Args:
        image: a tensor of 3×H×W, 1×3×H×W or H×W, an array of H×W×3 or H×W, or a PIL image.
            Bytes, or numbers from 0 to 1; others, such as those of a normalised input, are
            stretched into that range.

    Returns:
        H × W × 3, from 0 to 1.

    Raises:
        ValueError: if this is no picture.

    Example:
        >>> image_of(torch.rand(1, 3, 20, 30)).shape
        torch.Size([20, 30, 3])
    """
    import numpy as np

    what = "give one picture as a tensor of 3×H×W, an array of H×W×3, or a PIL image"
    is_tensor = isinstance(image, torch.Tensor)
    if is_tensor and image.device.type == "meta":
        raise ValueError("image is on the meta device, where tensors have no values")
    if hasattr(image, "convert") and hasattr(image, "getbands"):  # PIL, of whatever mode
        image = image.convert("RGB")
    array = None if is_tensor else np.array(image)
    if array is not None and array.dtype.kind not in "buif":
        raise ValueError(f"image is a {type(image).__name__}; {what}")
    values = image.detach().cpu() if array is None else torch.from_numpy(array)
    shape = tuple(values.shape)
    if len(shape) == 4 and shape[0] == 1:  # noqa: PLR2004
        values = values[0]
    if values.ndim == 2:  # noqa: PLR2004
        values = values.unsqueeze(0)
    first, last = values.shape[:1], values.shape[-1:]
    if last and last[0] in _IMAGE_CHANNELS and not (is_tensor and first[0] in _IMAGE_CHANNELS):
        values = values.movedim(-1, 0)
    if values.ndim != 3 or values.shape[0] not in _IMAGE_CHANNELS or not values.numel():  # noqa: PLR2004
        raise ValueError(f"image has the shape {shape}; {what}")
    colours = values[:3] if len(values) > 1 else values.expand(3, -1, -1)
    numbers = torch.nan_to_num(colours.double(), 0.0, 0.0, 0.0).permute(1, 2, 0)
    if values.dtype == torch.uint8:
        return numbers / _BYTE
    low, high = numbers.min(), numbers.max()
    if low >= 0 and high <= 1:
        return numbers
    return (numbers - low) / (high - low) if high > low else torch.zeros_like(numbers)


def with_picture(colours: torch.Tensor, image: torch.Tensor, opacity: float) -> torch.Tensor:
    """Colours over a picture, or beside it.

    Args:
        colours: 3 × H × W from 0 to 1, NaN where there is none.
        image: H × W × 3.
        opacity: of the colours over the picture; at 1, which hides it, it stands beside them.

    Example:
        >>> with_picture(torch.ones(3, 1, 1), torch.zeros(2, 2, 3), 0.25)[0].tolist()
        [[0.25, 0.25], [0.25, 0.25]]
        >>> with_picture(torch.ones(3, 1, 1), torch.zeros(2, 2, 3), 1.0).shape
        torch.Size([3, 2, 5])
    """
    # Every value keeps its own pixels, also where there are more of them than in the picture.
    times = math.ceil(
        max(have / has for have, has in zip(colours.shape[1:], image.shape, strict=False))
    )
    picture = image.permute(2, 0, 1).repeat_interleave(times, 1).repeat_interleave(times, 2)
    wide = torch.nn.functional.interpolate(colours.unsqueeze(0), picture.shape[1:])[0]
    if opacity < 1:
        return wide * opacity + picture * (1 - opacity)
    gap = wide.new_full((_RGB, wide.shape[1], max(1, round(0.04 * wide.shape[2]))), -1)
    return torch.cat([wide, gap, picture], dim=2)


def resized(maps: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
    """Maps at the size of a picture, bilinear.

    Args:
        maps: C × H × W.
        image: H × W × 3.
    """
    size = (image.shape[0], image.shape[1])
    wide = torch.nn.functional.interpolate(
        maps.unsqueeze(0).double(), size, mode="bilinear", align_corners=False
    )
    return wide.squeeze(0)
