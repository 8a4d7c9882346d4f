"""The tensors in what a node returned, and one item of their batch in a canonical form."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch

from .tensor_axes import Reading


@dataclasses.dataclass(frozen=True)
class Part:
    """A tensor in a nesting.

    Attributes:
        key: its way down, such as ``"decoder[0].hidden"``.
        top: the first step of it: a key of the features.
        tensor: the tensor.
    """

    key: str
    top: str
    tensor: torch.Tensor


def parts_of(features: Any) -> list[Part]:
    """The tensors in a nesting of dicts, tuples, lists, dataclasses and numbers.

    Example:
        >>> [part.key for part in parts_of({"a": (torch.ones(1), {"b": torch.ones(1)}), "c": 2})]
        ['a[0]', 'a[1].b', 'c']
    """
    return list(_walk(features, "", "", set()))


def _walk(value: Any, key: str, top: str, outer: set[int]) -> Iterator[Part]:
    if isinstance(value, torch.Tensor):
        yield Part(key or "tensor", top or "tensor", value)
    elif isinstance(value, (bool, int, float, complex)):
        yield Part(key or "number", top or "number", torch.tensor(value))
    elif id(value) not in outer:  # a list may hold itself
        for name, inner, is_place in _entries(value):
            below = f"{key}[{name}]" if is_place else f"{key}.{name}" if key else name
            yield from _walk(inner, below, top or below, outer | {id(value)})


def _entries(value: Any) -> Iterator[tuple[str, Any, bool]]:
    if isinstance(value, Mapping):
        yield from ((str(key), inner, False) for key, inner in value.items())
    elif isinstance(value, tuple) and hasattr(value, "_fields"):
        yield from ((name, getattr(value, name), False) for name in value._fields)
    elif isinstance(value, (tuple, list)):
        yield from ((str(i), inner, True) for i, inner in enumerate(value))
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        yield from (
            (field.name, getattr(value, field.name, None), False)
            for field in dataclasses.fields(value)
        )


@dataclasses.dataclass(frozen=True)
class Item:
    """One item of a batch.

    Attributes:
        kind: what the axes of ``values`` are: ``"maps"`` C×H×W, ``"video"`` C×T×H×W,
            ``"sequence"`` C×L, ``"attention"`` heads×L×L, ``"vector"`` C, ``"scalar"``,
            or ``"unplaced"`` for any.
        values: real numbers on the CPU, tokens folded.
        reading: how the tensor was read.
        notes: what was done on the way, in words.
    """

    kind: str
    values: torch.Tensor
    reading: Reading
    notes: tuple[str, ...] = ()


def readable(tensor: torch.Tensor) -> torch.Tensor:
    """The same values as real numbers on the CPU; of complex ones the magnitude."""
    values = tensor.detach()
    if values.layout != torch.strided:
        values = values.to_dense()
    values = values.cpu().resolve_conj().resolve_neg()
    if values.is_complex():
        # Half-precision complex numbers have few operations.
        values = values.to(torch.promote_types(values.dtype, torch.complex64)).abs()
    wide = values.dtype in (torch.float64, torch.int64, torch.int32)
    return values.to(torch.float64 if wide else torch.float32)


def item_of(tensor: torch.Tensor, reading: Reading, index: int) -> Item:
    """Take one item of the batch and bring its axes into the order of its kind.

    Args:
        tensor: any tensor with values.
        reading: what its axes are; a grid that does not fit is not folded.
        index: which item; within the batch.
    """
    values = readable(tensor)
    notes = ("magnitude of complex values",) if tensor.is_complex() else ()
    axes = reading.axes
    if "?" in axes or not values.numel():
        return Item("unplaced", values, reading, notes)
    if "N" in axes:
        values, axes = values.select(axes.index("N"), index), axes.replace("N", "")
    if reading.is_attention:
        heads = values if axes.startswith("H") else values.unsqueeze(0)
        return Item("attention", heads, reading, notes)
    if "L" in axes and "H" in axes:
        # Heads are groups of channels: head 0 has the first ones.
        values = values.permute([axes.index(letter) for letter in "QHCL" if letter in axes])
        values, axes = values.reshape(-1, values.shape[-1]), "CL"
    if "L" in axes:
        return _tokens(values, axes, reading, notes)
    kind = {"": "scalar", "C": "vector"}.get(axes, "video" if "T" in axes else "maps")
    order = [axes.index(letter) for letter in "CTHW" if letter in axes]
    values = values.permute(order) if values.ndim else values
    if "C" not in axes and kind != "scalar":
        values = values.unsqueeze(0)
    if kind in ("maps", "video") and values[0].numel() == 1:
        return Item("vector", values.flatten(), reading, (*notes, "one place: a vector"))
    return Item(kind, values, reading, notes)


def _tokens(values: torch.Tensor, axes: str, reading: Reading, notes: tuple[str, ...]) -> Item:
    """Tokens as C×L, or folded back to the grid that they came from."""
    values = {"L": lambda: values.unsqueeze(0), "LC": lambda: values.T}.get(axes, lambda: values)()
    grid, first = reading.grid, reading.prefix
    if not grid or first + math.prod(grid) + reading.suffix != values.shape[1]:
        return Item("sequence", values, dataclasses.replace(reading, grid=()), notes)
    places = values[:, first : first + math.prod(grid)]
    kind = "maps" if len(grid) == 2 else "video"  # noqa: PLR2004
    return Item(kind, places.reshape(-1, *grid), reading, notes)
