"""The tensors in a value or in a model, whether they were written to, and descriptions of them."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import nn
from torch.utils._pytree import tree_map

# Types whose values hold no tensor, and those that have no items either.
NO_TENSORS = frozenset({type(None), bool, int, float, str, torch.dtype, torch.device})
# What else modules have for attributes; asking whether it is a tensor is slow.
_NO_STATE = NO_TENSORS | {dict, list, set, tuple, type(nn.Module()._forward_hooks)}
SCALARS = NO_TENSORS | {torch.Size, complex, bytes, torch.layout, type(Ellipsis)}


def tensors_in(value: Any, depth: int = 12) -> Iterator[torch.Tensor]:
    """Every tensor in a nesting of containers, dataclasses and other plain objects."""
    if isinstance(value, torch.Tensor):
        yield value
    elif depth > 0 and type(value) not in SCALARS:  # a container may hold itself
        items, cost = _items(value)
        for item in items:
            if type(item) not in NO_TENSORS:
                yield from tensors_in(item, depth - cost)


def holds_tensor(value: Any) -> bool:
    """Whether there is any tensor in a value."""
    return next(tensors_in(value), None) is not None


def _items(value: Any) -> tuple[Iterable[Any], int]:
    """What a value holds, and how much of the depth it takes up."""
    if isinstance(value, (tuple, list, set, frozenset)):
        return value, 1
    if isinstance(value, Mapping):
        return list(value.values()), 1
    if isinstance(value, slice):
        return (value.start, value.stop, value.step), 1
    if isinstance(value, (nn.Module, type)) or callable(value):
        return (), 1
    # Dataclasses, torchvision's ImageList, transformers' caches.
    return list(_attributes(value).values()), 4


def _attributes(value: Any) -> dict[str, Any]:
    """What an object holds by name, in ``__dict__`` or in the slots of a dataclass."""
    if hasattr(value, "__dict__") or not dataclasses.is_dataclass(value):
        return getattr(value, "__dict__", {})
    return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}


def with_tensors(value: Any, function: Callable[[torch.Tensor], Any]) -> Any:
    """Copy the containers and dataclasses in a value, with a function applied to its tensors.

    Example:
        >>> with_tensors({"a": [torch.ones(2)], "n": 3}, torch.neg)
        {'a': [tensor([-1., -1.])], 'n': 3}
    """

    def copied(leaf: Any) -> Any:
        if isinstance(leaf, torch.Tensor):
            return function(leaf)
        if isinstance(leaf, dict):  # a class of its own
            twin = copy.copy(leaf)
            twin.update({key: with_tensors(item, function) for key, item in leaf.items()})
            return twin
        is_data = dataclasses.is_dataclass(leaf) and not isinstance(leaf, type)
        if is_data or (type(leaf) not in SCALARS and holds_tensor(leaf)):
            twin = copy.copy(leaf)
            for name, item in _attributes(leaf).items():
                object.__setattr__(twin, name, with_tensors(item, function))
            return twin
        return leaf

    return tree_map(copied, value, is_leaf=lambda item: isinstance(item, torch.Size))


def state_tensors(model: nn.Module) -> Iterator[tuple[str, torch.Tensor, bool]]:
    """Each parameter, buffer and tensor attribute once: first path, tensor, is it a parameter."""
    seen: set[int] = set()
    for path, module in model.named_modules():
        parameters = module._parameters
        for held in (parameters, module._buffers, vars(module)):
            for name, value in held.items():
                if type(value) in _NO_STATE or id(value) in seen:
                    continue
                if isinstance(value, torch.Tensor):
                    seen.add(id(value))
                    yield f"{path}.{name}" if path else name, value, held is parameters


def tensors_in_containers(model: nn.Module) -> Iterator[torch.Tensor]:
    """The tensors in lists and dicts that modules have for attributes."""
    for module in model.modules():
        for name, value in vars(module).items():
            if not name.startswith("_") and isinstance(value, (list, tuple, dict)):
                yield from tensors_in(value)


def version(tensor: torch.Tensor) -> int:
    """How often a tensor was written in place; -1 for inference tensors, which do not count."""
    return -1 if tensor.is_inference() else tensor._version


def changed(versions: list[tuple[torch.Tensor, int]]) -> list[torch.Tensor] | None:
    """The tensors that were written in place since their versions were noted."""
    return [tensor for tensor, before in versions if version(tensor) != before] or None


def storage_of(tensor: torch.Tensor) -> int:
    """An identifier of the storage of a living tensor; 0 if it has none."""
    try:
        return int(tensor.untyped_storage()._cdata)
    except (NotImplementedError, RuntimeError, AttributeError, ValueError):  # sparse, wrapped, lazy
        return 0


@dataclasses.dataclass(slots=True)  # not frozen: a run makes one for each operation
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
    attributes = {} if isinstance(value, type) else _attributes(value)
    held = {n: described(v) for n, v in attributes.items() if holds_tensor(v)}
    return Attributes(held) if held else type(value).__name__


class Attributes(dict[str, Any]):
    """The attributes of an object; a dict of its own class, to tell them from the items of one."""
