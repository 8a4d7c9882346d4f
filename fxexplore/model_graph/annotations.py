"""Facts about modules, and about the values that they and operations give."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import nn

from fxexplore.feature_extraction import Attributes, TensorInfo

from .graph import Part


def class_and_detail(module: nn.Module) -> tuple[str, str]:
    """The class of a module and its arguments, as its ``repr`` shows them.

    Args:
        module: any module; one whose ``extra_repr`` raises has no detail.
    """
    try:
        detail = str(module.extra_repr())
    except Exception:  # noqa: BLE001  # a stranger's code, and only a label
        detail = ""
    return type(module).__name__, detail


class ParameterCount(NamedTuple):
    """How many numbers parameters hold.

    Attributes:
        total: all of them.
        frozen: those that need no gradient.
    """

    total: int
    frozen: int


def parameter_count(module: nn.Module) -> ParameterCount:
    """How many numbers the parameters of a module hold, shared ones counted once.

    Example:
        >>> parameter_count(nn.Linear(3, 2))
        ParameterCount(total=8, frozen=0)
    """
    total = frozen = 0
    for parameter in module.parameters():
        size = size_of(parameter)
        total += size
        frozen += 0 if parameter.requires_grad else size
    return ParameterCount(total, frozen)


def size_of(parameter: torch.Tensor) -> int:
    """How many numbers a parameter holds."""
    return parameter.numel()


class Value(NamedTuple):
    """What a node or a module gave, without its numbers.

    Attributes:
        shape: of the tensor; None if the value is no single tensor, or unknown.
        dtype: of the tensor, such as ``"float32"``; None likewise.
        parts: the tensors of any other value.
        bytes: of all its tensors; None if the value is unknown.
    """

    shape: tuple[int, ...] | None = None
    dtype: str | None = None
    parts: tuple[Part, ...] = ()
    bytes: int | None = None


UNKNOWN = Value()


def value_of(described: Any) -> Value:
    """Read the facts off a value.

    Args:
        described: the value, as :func:`~fxexplore.feature_extraction.described`
            copies it.

    Example:
        >>> from fxexplore.feature_extraction import described
        >>> value_of(described({"boxes": torch.ones(3, 4)})).parts
        (Part(path="['boxes']", shape=(3, 4), dtype='float32'),)
    """
    if isinstance(described, TensorInfo):
        return Value(described.shape, _dtype(described), (), _bytes(described))
    found = list(_tensors(described, ""))
    parts = (Part(path, tensor.shape, _dtype(tensor)) for path, tensor in found)
    return Value(None, None, tuple(parts), sum(_bytes(tensor) for _, tensor in found))


def _tensors(value: Any, path: str) -> Iterator[tuple[str, TensorInfo]]:
    if isinstance(value, TensorInfo):
        yield path, value
    elif isinstance(value, Attributes):
        for name, item in value.items():
            yield from _tensors(item, f"{path}.{name}")
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _tensors(item, f"{path}[{key!r}]")
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from _tensors(item, f"{path}[{index}]")


def _dtype(tensor: TensorInfo) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _bytes(tensor: TensorInfo) -> int:
    return math.prod(tensor.shape) * tensor.dtype.itemsize
