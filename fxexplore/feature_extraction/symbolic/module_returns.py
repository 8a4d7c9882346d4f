"""What a traced module returned: nodes in the nesting that its forward gave them."""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import fx, nn

from fxexplore.feature_extraction.common.tensors import SCALARS

from .proxies import holds_proxy


@dataclasses.dataclass(frozen=True)
class ModuleReturn:
    """What a traced-into module returned at its last call.

    Attributes:
        value: nodes and constants in the nesting of tuples, lists, dicts and
            :class:`Built` objects that the module returned.
        after: the last node that existed at that moment; the value is the one the
            module returned until some later node overwrites it in place.
        order: how many modules had returned before.
        calls: how often the module was called.
    """

    value: Any
    after: fx.Node
    order: int
    calls: int = 1


@dataclasses.dataclass(frozen=True)
class Built:
    """A dataclass instance or named tuple that is built anew from its fields."""

    cls: type
    fields: dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Opaque:
    """An object with traced values in it that generated code cannot build: only its class."""

    cls: type


def with_nodes(value: Any, constant: Callable[[Any], Any]) -> Any:
    """Copy a module's return value, with nodes in the place of proxies and of constants.

    Args:
        value: what the module returned.
        constant: gives the node that reads a tensor or another object.
    """

    def copied(item: Any) -> Any:
        if isinstance(item, fx.Proxy):
            return item.node
        is_size = isinstance(item, torch.Size)  # of which fx would make a tuple
        if type(item) in SCALARS and not is_size:
            return item
        names = _fields(item)
        if names is not None:
            return Built(type(item), {name: copied(getattr(item, name)) for name in names})
        if isinstance(item, (tuple, list)) and not is_size:
            return type(item)(copied(v) for v in item)
        if isinstance(item, dict):
            return {key: copied(v) for key, v in item.items()}
        return Opaque(type(item)) if _is_opaque(item) else constant(item)

    return copied(value)


def _fields(value: Any) -> list[str] | None:
    """The names of the fields of a named tuple or a dataclass."""
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return list(value._fields)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return [field.name for field in dataclasses.fields(value)]
    return None


def _is_opaque(value: Any) -> bool:
    if isinstance(value, (nn.Module, type)):
        return False
    items = list(value) if isinstance(value, (set, frozenset, deque)) else []
    held = [*items, *getattr(value, "__dict__", {}).values()]
    return isinstance(value, Iterator) or holds_proxy(held)


def nodes_in(value: Any) -> Iterator[fx.Node]:
    """Every node in a nesting of tuples, lists, dicts and ``Built`` objects."""
    if isinstance(value, fx.Node):
        yield value
    if isinstance(value, Built):
        value = value.fields
    if isinstance(value, dict):
        value = value.values()
    elif not isinstance(value, (tuple, list)):
        return
    for item in value:
        yield from nodes_in(item)


def as_argument(graph: fx.Graph, value: Any, copies: Mapping[fx.Node, fx.Node]) -> Any:
    """Write what a module returned as an argument of a node of ``graph``."""
    if isinstance(value, fx.Node):
        return copies[value]
    if isinstance(value, (tuple, list)):
        return type(value)(as_argument(graph, item, copies) for item in value)
    if isinstance(value, dict):
        return {key: as_argument(graph, item, copies) for key, item in value.items()}
    if isinstance(value, Opaque):
        raise ValueError(  # noqa: TRY004 - as for all that cannot be returned
            f"a {value.cls.__name__} is among what was asked for, which a traced graph cannot "
            f"build; give backend='recorded' and example_inputs=..."
        )
    if isinstance(value, Built):
        fields = as_argument(graph, value.fields, copies)
        return graph.call_function(value.cls, (), fields)
    return value
