"""What the modules of an opened model were given, for when one of them is opened by itself."""

from __future__ import annotations

from collections import defaultdict

import torch
from torch import nn

from fxexplore.inputs import remember_input

from .graph import ModelGraph
from .nodes import prefixes


def remember_passed_inputs(model: nn.Module, graph: ModelGraph) -> None:
    """Remember for each module what it was given, where that is one tensor of a known shape.

    Args:
        model: the model; none of its modules is held alive.
        graph: its graph, with shapes.

    Example:
        >>> from fxexplore import open_model
        >>> from fxexplore.inputs import example_inputs_for
        >>> net = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2), nn.Conv2d(8, 4, 3))
        >>> graph = open_model(net, torch.ones(1, 3, 65, 65))
        >>> example_inputs_for(net[1]).shapes
        '1×8×32×32'
    """
    nodes = {node.name: node for node in graph.nodes}
    around = {
        n.name: [*([n.name] if n.kind == "module" else ()), *prefixes(n.parent)]
        for n in nodes.values()
    }
    given: dict[str, set[tuple[tuple[int, ...] | None, str | None]]] = defaultdict(set)
    for node in nodes.values():
        for name in node.inputs:
            if name in nodes:
                inside = set(around[name])
                fact = nodes[name].shape, nodes[name].dtype
                for path in around[node.name]:
                    if path not in inside:
                        given[path].add(fact)
    modules = dict(model.named_modules(remove_duplicate=False))
    for path, facts in given.items():
        shape, dtype = next(iter(facts))
        if len(facts) == 1 and path in modules and shape is not None and dtype is not None:
            remember_input(modules[path], graph.model, shape, getattr(torch, dtype))
