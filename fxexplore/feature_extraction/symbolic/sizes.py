"""Which nodes of a traced graph are sizes and flags, and no tensors."""

from __future__ import annotations

import torch
from torch import fx

_SIZE_METHODS = {"dim", "element_size", "ndimension", "nelement", "numel", "size", "stride"}
_SIZE_ATTRIBUTES = {"device", "dtype", "layout", "ndim", "requires_grad", "shape"}
_PYTHON = {"_operator", "builtins", "math"}


def size_nodes(graph: fx.Graph) -> set[fx.Node]:
    """The operations on sizes and flags, whose results are no tensors."""
    sizes: set[fx.Node] = set()
    for node in graph.nodes:
        if node.op == "call_method":
            is_size = node.target in _SIZE_METHODS
        elif node.op != "call_function":
            is_size = False
        elif node.target is getattr:
            is_size = node.args[1] in _SIZE_ATTRIBUTES
        elif getattr(node.target, "__module__", "") in _PYTHON:
            is_size = bool(node.all_input_nodes) and sizes.issuperset(node.all_input_nodes)
        else:
            is_size = node.target is torch._assert
        if is_size:
            sizes.add(node)
    return sizes
