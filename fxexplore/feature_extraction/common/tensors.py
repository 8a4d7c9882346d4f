"""The tensors in a value, or in a model, and whether they were written to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import nn

# Types whose values hold no tensor, and those that have no items either.
NO_TENSORS = frozenset({type(None), bool, int, float, str, torch.dtype, torch.device})
SCALARS = NO_TENSORS | {torch.Size, complex, bytes, torch.layout, type(Ellipsis)}


def tensors_in(value: Any, depth: int = 12) -> Iterator[torch.Tensor]:
    """Every tensor in a nesting of containers, dataclasses and other plain objects."""
    if isinstance(value, torch.Tensor):
        yield value
    elif depth > 0 and type(value) not in SCALARS:  # deeper, a container holds itself
        items, cost = _items(value)
        for item in items:
            if type(item) not in NO_TENSORS:
                yield from tensors_in(item, depth - cost)


def _items(value: Any) -> tuple[Iterable[Any], int]:
    """What a value holds, and how fast to tire of looking into it."""
    if isinstance(value, (tuple, list, set, frozenset)):
        return value, 1
    if isinstance(value, Mapping):
        return list(value.values()), 1
    if isinstance(value, slice):
        return (value.start, value.stop, value.step), 1
    if isinstance(value, (nn.Module, type)) or callable(value):
        return (), 1
    # Dataclasses, torchvision's ImageList, transformers' caches.
    return list(getattr(value, "__dict__", {}).values()), 4


def state_tensors(model: nn.Module) -> Iterator[tuple[str, torch.Tensor, bool]]:
    """Parameters, buffers and tensor attributes: path, tensor, whether it is a parameter."""
    for path, module in model.named_modules():
        prefix = f"{path}." if path else ""
        for is_parameter, found in ((True, module._parameters), (False, module._buffers)):
            for name, tensor in found.items():
                if tensor is not None:
                    yield prefix + name, tensor, is_parameter
        for name, tensor in vars(module).items():
            if isinstance(tensor, torch.Tensor):
                yield prefix + name, tensor, False


def version(tensor: torch.Tensor) -> int:
    """How often a tensor was written in place; inference tensors do not count."""
    return -1 if tensor.is_inference() else tensor._version


def changed(versions: list[tuple[torch.Tensor, int]]) -> list[torch.Tensor] | None:
    """The tensors that were written in place since their versions were noted."""
    return [tensor for tensor, before in versions if version(tensor) != before] or None


def storage_of(tensor: torch.Tensor) -> int:
    """What tells the memory of two living tensors apart; 0 if they have none."""
    try:
        return int(tensor.untyped_storage()._cdata)
    except (NotImplementedError, RuntimeError, AttributeError):  # sparse and wrapper tensors
        return 0
