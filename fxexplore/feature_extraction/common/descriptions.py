"""What is kept of the values of a run: their nesting, with shapes in the place of tensors."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import torch

from .tensors import tensors_in


@dataclasses.dataclass(frozen=True)
class TensorInfo:
    """What is kept of a tensor that a run computed."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    device: torch.device


def described(value: Any) -> Any:
    """Copy a value with :class:`TensorInfo` in the place of tensors.

    Example:
        >>> described({"a": [torch.ones(2)], "n": 3})["a"][0].shape
        (2,)
    """
    if isinstance(value, torch.Tensor):
        return TensorInfo(tuple(value.shape), value.dtype, value.device)
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (tuple, list)):
        items = [described(item) for item in value]
        return items if isinstance(value, list) else tuple(items)
    if isinstance(value, Mapping):
        return {key: described(item) for key, item in value.items()}
    attributes = {} if isinstance(value, type) else getattr(value, "__dict__", {})
    held = {n: described(v) for n, v in attributes.items() if any(True for _ in tensors_in(v))}
    return Attributes(held) if held else type(value).__name__


class Attributes(dict[str, Any]):
    """The attributes of an object, told from the items of a dict."""
