"""Which call of a module that is called several times a value is of."""

from __future__ import annotations

from fxexplore.model_graph import ModelGraph, Module, Node


def which_call(graph: ModelGraph, name: str) -> str:
    """Which call a return node of that name gives, in words; ``""`` if there is but one.

    Args:
        graph: the model.
        name: qualified name of a node, which is one call; or of a module, which is the last,
            by whichever of its paths.

    Example:
        >>> from torch import nn
        >>> from fxexplore import open_model
        >>> inner = nn.Sequential(nn.Linear(2, 2))
        >>> graph = open_model(nn.Sequential(inner, inner))
        >>> [which_call(graph, name) for name in ("0", "1", "0.0", "0.0_1", "input")]
        ['last of 2 calls', 'last of 2 calls', 'call 1 of 2', 'call 2 of 2', '']
    """
    if name in graph.index:
        return call_of(graph[name])
    item = next((row.item for row in graph.rows if name in row.item.shared), None)
    return _last_of(item.calls) if item is not None and item.calls > 1 else ""


def call_of(item: Node | Module) -> str:
    """Which call the value of a node or module is of, in words; ``""`` if there is but one.

    Example:
        >>> call_of(Node("relu_1", "module", "ReLU", call=2, calls=3))
        'call 2 of 3'
    """
    if item.calls <= 1:
        return ""
    return _last_of(item.calls) if isinstance(item, Module) else f"call {item.call} of {item.calls}"


def _last_of(calls: int) -> str:
    return f"last of {calls} calls"
