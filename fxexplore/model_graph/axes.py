"""What the axes of a tensor stand for: batch, channels, places, time, tokens, heads."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import torch

# Letters of a layout. H beside L stands for heads, as in NHLL and NHLC.
LAYOUTS = (
    "NCHW", "NHWC", "NHW", "NLC", "NCL", "NL", "NHLL", "NHLC", "NLHC", "NLL",
    "NCTHW", "NTCHW", "NTHWC", "NC", "N",
)  # fmt: skip
PREFIXES = (1, 0, 2, 5)  # a class token; none; and one for distillation; and four registers
_SMALLEST_FOLD = 36  # fewer tokens than this are as well a sentence
_PICTURE_CHANNELS = (1, 3, 4)


@dataclasses.dataclass(frozen=True)
class Reading:
    """How a tensor is read.

    Attributes:
        axes: a letter for every axis, such as ``"NCHW"``; ``"?"`` if it could not be placed.
        grid: height and width, or time, height and width, that the axis L folds back to;
            empty if it is no grid.
        prefix: how many class and register tokens stand before those of the grid.
        suffix: how many tokens stand after those of the grid.
        prefix_words: what the prefix is, such as ``"cls_token + 4 reg_token"``.
        guess: what was assumed, in words; empty if it is known.
    """

    axes: str
    grid: tuple[int, ...] = ()
    prefix: int = 0
    suffix: int = 0
    prefix_words: str = ""
    guess: str = ""

    @property
    def is_attention(self) -> bool:
        """Whether two axes are tokens: queries × keys."""
        return self.axes.count("L") == 2  # noqa: PLR2004

    def batch(self, shape: Sequence[int]) -> int:
        """How many items a tensor of that shape holds."""
        return shape[self.axes.index("N")] if "N" in self.axes else 1

    def channels(self, shape: Sequence[int]) -> int:
        """How many channels a tensor of that shape has, or heads if it is attention."""
        letter = "H" if self.is_attention else "C"
        return shape[self.axes.index(letter)] if letter in self.axes else 0

    def equation(self) -> str:
        """The tokens as a sum, such as ``"197 tokens = cls_token + 14×14"``."""
        if not self.grid or "L" not in self.axes:
            return ""
        total = self.prefix + math.prod(self.grid) + self.suffix
        parts = ["×".join(map(str, self.grid))]
        if self.prefix:
            special = "1 class" if self.prefix == 1 else f"{self.prefix} class and register"
            parts.insert(0, self.prefix_words or special)
        if self.suffix:
            parts.append(f"{self.suffix} more")
        return f"{total} tokens = {' + '.join(parts)}"


def reading_of_layout(layout: str, shape: Sequence[int], key: str) -> Reading:
    """Take the caller's word for what the axes are.

    Args:
        layout: letters, such as ``"NCHW"`` or ``"n c h w"``; without N there is no batch.
        shape: shape of the tensor.
        key: its name, for the error.

    Raises:
        ValueError: if these are no such letters, or not as many as the tensor has axes.

    Example:
        >>> reading_of_layout("nhwc", (1, 7, 7, 96), "norm").axes
        'NHWC'
    """
    axes = layout.replace(" ", "").upper()
    known = {*LAYOUTS, *(name[1:] for name in LAYOUTS)}
    if axes not in known:
        raise ValueError(
            f"layout={layout!r} is none that is known; write one of {', '.join(LAYOUTS)}, "
            f"without N where there is no batch"
        )
    if len(axes) != len(shape):
        raise ValueError(
            f"layout={layout!r} has {len(axes)} axes, and {key!r} has {len(shape)}: "
            f"its shape is {tuple(shape)}"
        )
    return Reading(axes)


def reading_of_shape(
    tensor: torch.Tensor, image_size: tuple[int, int] | None = None, *, is_text: bool = False
) -> Reading:
    """Judge a tensor by its shape, and by whether its rows are those of a softmax.

    Args:
        tensor: its values, on any device but meta.
        image_size: height and width of the input picture, if known.
        is_text: whether its tokens are known to be words.

    Returns:
        The reading; where two are possible the likelier, with its assumption in words.

    Example:
        >>> reading_of_shape(torch.rand(1, 64, 56, 56)).axes
        'NCHW'
        >>> reading_of_shape(torch.rand(1, 197, 192)).equation()
        '197 tokens = 1 class + 14×14'
    """
    shape = tuple(tensor.shape)
    if 0 in shape:
        return Reading("?")
    match len(shape):
        case 0 | 1 | 2:
            is_ids = not (tensor.is_floating_point() or tensor.is_complex())
            return Reading(("", "C", "NL" if is_ids else "NC")[len(shape)])
        case 3:
            return _of_three(tensor, image_size, is_text=is_text)
        case 4:
            return _of_four(tensor, image_size)
    return _of_five(shape) if len(shape) == 5 else Reading("?")  # noqa: PLR2004


def _guessed(axes: str) -> Reading:
    return Reading(axes, guess=f"read as {' '.join(axes)}")


def _of_three(tensor: torch.Tensor, size: tuple[int, int] | None, *, is_text: bool) -> Reading:
    _, first, last = tensor.shape
    if first == last and _rows_sum_to_one(tensor):
        return Reading("NLL", guess="read as attention, rows sum to 1")
    if is_text:
        return Reading("NLC")
    # The last axis is never folded on its number alone: many widths are squares.
    folded = fold("NLC", first, size) or (fold("NCL", last, size) if size else None)
    return folded or _guessed("NLC")


def fold(axes: str, length: int, image_size: tuple[int, int] | None = None) -> Reading | None:
    """Find the grid that a number of tokens makes, if there is a likely one.

    Args:
        axes: the layout that the tokens are in.
        length: how many tokens.
        image_size: height and width of the input; without it the grid is taken for a square.
    """
    for prefix in PREFIXES:
        grid = grid_of(length - prefix, image_size)
        if grid is not None:
            how = "a square, guessed"
            if image_size:
                how = f"for a picture of {image_size[0]}×{image_size[1]}"
            return Reading(axes, grid, prefix, guess=how)
    return None


def grid_of(count: int, image_size: tuple[int, int] | None) -> tuple[int, int] | None:
    """The grid of so many patches of a picture, or of a square if its size is not known.

    Example:
        >>> grid_of(24, (64, 96))
        (4, 6)
    """
    if image_size is None:
        side = math.isqrt(max(count, 0))
        return (side, side) if side * side == count >= _SMALLEST_FOLD else None
    height, width = image_size
    sizes = ((height // patch, width // patch) for patch in range(1, min(image_size) + 1))
    return next((size for size in sizes if size[0] * size[1] == count > 1), None)


def _of_four(tensor: torch.Tensor, image_size: tuple[int, int] | None) -> Reading:
    _, a, b, c = tensor.shape
    if b == c > 1 and _rows_sum_to_one(tensor):
        reading = fold("NHLL", b, image_size) or Reading("NHLL")
        words = "read as attention, rows sum to 1"
        return dataclasses.replace(reading, guess=f"{words}; {reading.guess}".rstrip("; "))
    is_last = a == b != c and a > 1
    if image_size is not None:
        # How far the proportions of the maps are from those of the picture.
        wanted = math.log(image_size[0] / image_size[1])
        first, last = abs(math.log(b / c) - wanted), abs(math.log(a / b) - wanted)
        if abs(first - last) > math.log(1.1):
            is_last = last < first
    return _guessed("NHWC") if is_last else Reading("NCHW")


def _of_five(shape: tuple[int, ...]) -> Reading:
    _, a, b, c, d = shape
    if b == c != d and c > 1:
        return _guessed("NTHWC")
    if a in _PICTURE_CHANNELS:
        return Reading("NCTHW")
    return _guessed("NTCHW" if b in _PICTURE_CHANNELS or a < b else "NCTHW")


def _rows_sum_to_one(tensor: torch.Tensor) -> bool:
    """Whether these are weights of attention: a softmax over the last axis."""
    if not tensor.is_floating_point():
        return False
    values = tensor.detach().float()
    tolerance = 0.02 if tensor.dtype in (torch.float16, torch.bfloat16) else 1e-3
    return bool((values >= 0).all() and ((values.sum(dim=-1) - 1).abs() < tolerance).all())
