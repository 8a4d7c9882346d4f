"""What an operation does to the axes of what it reads: rules for one step through a graph."""

from __future__ import annotations

import dataclasses
import math
import re

from .axes import Reading
from .nodes import Node

_FIRST = {1: "NCL", 2: "NCHW", 3: "NCTHW"}  # by the d in Conv1d, Conv2d, Conv3d
_LAST = {2: "NC", 3: "NLC", 4: "NHWC", 5: "NTHWC"}  # by the number of axes
_DIMENSIONAL = re.compile(
    r"(conv|pool|batchnorm|batch_norm|instancenorm|dropout|pad|upsample|norm|fold|act)\w*([123])d"
)
_OF_LAST_AXIS = ("linear", "layernorm", "layer_norm", "rmsnorm", "rms_norm", "embedding", "mlp")
_MOVES = ("permute", "transpose", "movedim", "moveaxis", "swapaxes", "swapdims", "t", "mt", "h")
_RESHAPES = ("flatten", "reshape", "view", "unflatten", "squeeze", "unsqueeze", "contiguous",
             "reshape_as", "view_as", "rearrange")  # fmt: skip
_CLIP_CHANNELS = (1, 2, 3, 4)
_STACKED = 3  # queries, keys and values
# Q is the axis along which queries, keys and values are stacked.
_ORDERS = (
    ("NCHW", "NHWC"), ("NCL", "NLC"), ("NHLC", "NLHC", "NHCL"), ("NCTHW", "NTCHW", "NTHWC"),
    ("NLQHC", "QNHLC", "NHQLC", "QNHCL"),
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Known:
    """The reading of a node's value, with the shape that it was found for."""

    reading: Reading
    shape: tuple[int, ...]

    @property
    def sizes(self) -> dict[str, int]:
        """The size of each axis, by its letter."""
        return dict(zip(self.reading.axes, self.shape, strict=True))

    @property
    def grid(self) -> tuple[int, ...]:
        """Its places: time, height and width, or what its tokens fold back to."""
        if "W" not in self.reading.axes:
            return self.reading.grid
        return tuple(self.sizes[axis] for axis in "THW" if axis in self.reading.axes)


def of_dimensional(operation: str, shape: tuple[int, ...], sources: list[Known]) -> Reading | None:
    """What a layer for one, two or three dimensions gives: channels first."""
    dimensional = _DIMENSIONAL.search(operation)
    first = _FIRST[int(dimensional[2])] if dimensional else ""
    if not first or len(first) != len(shape):
        return None
    same = next((known.reading for known in sources if known.shape == shape), None)
    # Dropout2d and the like work on any order of axes; convolutions do not.
    return same if same and "conv" not in operation else Reading(first)


def of_operation(operation: str, shape: tuple[int, ...]) -> Reading | None:
    """What the operation alone tells."""
    if any(word in operation for word in _OF_LAST_AXIS):
        return _channels_last(shape)
    is_square = len(shape) == 4 and shape[2] == shape[3]  # noqa: PLR2004
    return Reading("NHLL") if operation == "softmax" and is_square else None


def of_input(shape: tuple[int, ...], readers: list[Node]) -> Reading | None:
    """What an input is: a picture or clip with few channels, or what its readers need."""
    if len(shape) == 4:  # noqa: PLR2004
        last = shape[3] in _CLIP_CHANNELS and shape[1] not in _CLIP_CHANNELS
        return Reading("NHWC" if last else "NCHW")
    if len(shape) == 5:  # noqa: PLR2004
        frames = shape[2] in _CLIP_CHANNELS and shape[1] not in _CLIP_CHANNELS
        return Reading("NTCHW" if frames else "NCTHW")
    return of_readers(shape, readers)


def of_readers(shape: tuple[int, ...], readers: list[Node]) -> Reading | None:
    """What the modules that read a value need it to be."""
    for reader in readers:
        target = reader.target.lower()
        dimensional = _DIMENSIONAL.search(target)
        if dimensional and len(_FIRST[int(dimensional[2])]) == len(shape):
            return Reading(_FIRST[int(dimensional[2])])
        if any(word in target for word in _OF_LAST_AXIS) and "embedding" not in target:
            return _channels_last(shape)
    return None


def _channels_last(shape: tuple[int, ...]) -> Reading | None:
    """Channels in the last axis; what the others are is only known of few."""
    axes = _LAST.get(len(shape))
    if axes is None:
        return None
    return Reading(axes, guess=f"read as {' '.join(axes)}" if len(axes) > 3 else "")  # noqa: PLR2004


def derived(
    operation: str, source: Known, shape: tuple[int, ...], sources: list[Known]
) -> Reading | None:
    """The reading of what is computed from ``sources``, from the sizes on both sides."""
    if operation in _MOVES:
        return _moved(source, shape)
    same = next((k.reading for k in sources if k.shape == shape), None)
    if same is not None:
        return same
    if operation in ("matmul", "bmm", "baddbmm", "einsum"):
        return _multiplied(sources, shape)
    if len(source.shape) != len(shape) or operation in _RESHAPES:
        return _reshaped(source, shape)
    return _resized(source, shape)


def _moved(source: Known, shape: tuple[int, ...]) -> Reading | None:
    axes = source.reading.axes
    for orders in _ORDERS:
        for other in orders:
            if axes in orders and other != axes and _size_in(other, source) == shape:
                return dataclasses.replace(source.reading, axes=other)
    return None


def _size_in(order: str, source: Known) -> tuple[int, ...]:
    return tuple(source.sizes[letter] for letter in order)


def _multiplied(sources: list[Known], shape: tuple[int, ...]) -> Reading | None:
    """Queries by keys are attention; attention by values are tokens of heads again."""
    first = sources[0]
    if len(shape) != len(first.shape) or shape[:-1] != first.shape[:-1]:
        return None
    if first.reading.is_attention:
        axes = first.reading.axes[:-1] + "C"
        return dataclasses.replace(first.reading, axes=axes)
    last = sources[-1]
    if first.reading.axes == "NHLC" and last.reading.axes == "NHCL":
        reading = last.reading if last.reading.grid else first.reading
        return dataclasses.replace(reading, axes="NHLL")
    return _resized(first, shape)


def _reshaped(source: Known, shape: tuple[int, ...]) -> Reading | None:
    """Axes that are folded together, or apart."""
    reading, old = source.reading, source.shape
    if len(set(reading.axes)) != len(old):  # attention
        return None
    for axes, size in _foldings(source, shape).items():
        if len(axes) == len(size) and size == shape:
            return dataclasses.replace(reading, axes=axes, grid=source.grid if "L" in axes else ())
    is_vector = len(shape) == 2 and shape[0] == source.sizes.get("N")  # noqa: PLR2004
    return Reading("NC") if is_vector and math.prod(shape) == math.prod(old) else None


def _foldings(source: Known, shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    """Layouts that a value may be reshaped to, with their sizes."""
    axes, sizes, grid = source.reading.axes, source.sizes, source.grid
    n, c, length = sizes.get("N", 1), sizes.get("C", 1), sizes.get("L", math.prod(grid))
    if "Q" in axes:
        rest = axes.replace("Q", "")
        return {rest: _size_in(rest, source)}
    if axes in ("NCHW", "NCTHW", "NCL"):
        maps = (n, c, *grid)
        heads = (*shape[:2], c, length) if math.prod(shape[:2]) == n else ()
        return {"NCL": (n, c, length), "NCHW": maps, "NCTHW": maps, "NHCL": heads}
    if axes in ("NHWC", "NTHWC", "NLC"):
        maps = (n, *grid, c)
        found = {"NLC": (n, length, c), "NHWC": maps, "NTHWC": maps}
        if axes == "NLC" and shape[:2] == (n, length) and math.prod(shape[2:]) == c:
            found |= {"NLHC": shape, "NLQHC": shape if shape[2] == _STACKED else ()}
        return found
    h = sizes.get("H", 1)  # heads, or the height
    others: dict[str, dict[str, tuple[int, ...]]] = {
        "NHCL": {"NCHW": (n * h, c, *grid), "NCTHW": (n * h, c, *grid)},
        "NLHC": {"NLC": (n, length, h * c)},
        "NTCHW": {"NCHW": (n * sizes.get("T", 1), c, h, sizes.get("W", 1))},
    }
    return others.get(axes, {})


def _resized(source: Known, shape: tuple[int, ...]) -> Reading | None:
    """The same axes with other sizes: fewer channels, pooled places, tokens cut off."""
    reading = source.reading
    if len(reading.axes) != len(shape) or reading.is_attention:
        return None
    changed = {
        a for a, was, now in zip(reading.axes, source.shape, shape, strict=True) if was != now
    }
    if changed <= {"C", "N"}:
        return reading
    if "L" not in changed:
        return reading if "W" in reading.axes else None
    if changed != {"L"}:
        return Reading(reading.axes)
    now = shape[reading.axes.index("L")]
    places = math.prod(reading.grid)
    if now == places + reading.suffix:
        return dataclasses.replace(reading, prefix=0, prefix_words="")
    # The special tokens alone have no grid.
    return Reading(reading.axes, prefix_words=reading.prefix_words if now == reading.prefix else "")
