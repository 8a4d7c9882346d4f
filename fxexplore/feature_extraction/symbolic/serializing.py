"""Graphs as plain data, so that an extractor can be pickled without tracing it again."""

from __future__ import annotations

import importlib
from typing import Any, NamedTuple

from torch import fx


class _Ref(NamedTuple):
    """Stands for a node in the arguments of another."""

    name: str


class _Named(NamedTuple):
    """Stands for a function that is found by name but cannot be pickled itself."""

    module: str
    path: str


def graph_to_data(graph: fx.Graph) -> list[tuple[Any, ...]]:
    """Write a graph as a list of rows of picklable values.

    Args:
        graph: any graph whose functions can be imported or pickled.
    """
    return [
        (
            node.op,
            node.name,
            _named(node.target),
            fx.node.map_arg(node.args, lambda n: _Ref(n.name)),
            fx.node.map_arg(node.kwargs, lambda n: _Ref(n.name)),
            node.type,
            node.meta.get("qualified_name"),
        )
        for node in graph.nodes
    ]


def graph_from_data(rows: list[tuple[Any, ...]]) -> fx.Graph:
    """Build the graph that :func:`graph_to_data` wrote."""
    graph = fx.Graph()
    nodes: dict[str, fx.Node] = {}
    for op, name, target, args, kwargs, type_expr, qualified_name in rows:
        node = graph.create_node(
            op,
            _found(target),
            _with_nodes(args, nodes),
            _with_nodes(kwargs, nodes),
            name,
            type_expr,
        )
        if qualified_name is not None:
            node.meta["qualified_name"] = qualified_name
        nodes[name] = node
    return graph


def _with_nodes(value: Any, nodes: dict[str, fx.Node]) -> Any:
    if isinstance(value, _Ref):
        return nodes[value.name]
    if isinstance(value, tuple):
        items = [_with_nodes(item, nodes) for item in value]
        return type(value)(*items) if hasattr(value, "_fields") else tuple(items)
    if isinstance(value, list):
        return [_with_nodes(item, nodes) for item in value]
    if isinstance(value, dict):
        return {key: _with_nodes(item, nodes) for key, item in value.items()}
    if isinstance(value, slice):
        return slice(*(_with_nodes(v, nodes) for v in (value.start, value.stop, value.step)))
    return value


def _named(target: Any) -> Any:
    """A function by its name where that finds it: some of torch's are closures."""
    if not callable(target) or isinstance(target, str):
        return target
    module, path = getattr(target, "__module__", None), getattr(target, "__name__", None)
    if module and path:
        named = _Named(module, path)
        try:
            if _found(named) is target:
                return named
        except (ImportError, AttributeError):
            pass  # pickle has its own ways, and its own words if it fails
    return target


def _found(target: Any) -> Any:
    if isinstance(target, _Named):
        return getattr(importlib.import_module(target.module), target.path)
    return target
