"""What a traced module returned: nodes in the nesting that its forward gave them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from torch import fx


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


def with_nodes(value: Any) -> Any:
    """Copy a module's return value, with nodes in the place of proxies."""
    if isinstance(value, fx.Proxy):
        return value.node
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        fields = zip(value._fields, value, strict=True)
        return Built(type(value), {name: with_nodes(v) for name, v in fields})
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields_ = dataclasses.fields(value)
        return Built(type(value), {f.name: with_nodes(getattr(value, f.name)) for f in fields_})
    if isinstance(value, (tuple, list)):
        return type(value)(with_nodes(v) for v in value)
    if isinstance(value, dict):
        return {key: with_nodes(v) for key, v in value.items()}
    return value


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
    if isinstance(value, Built):
        fields = as_argument(graph, value.fields, copies)
        return graph.call_function(value.cls, (), fields)
    return value
