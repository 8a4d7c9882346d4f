"""What a run shows of a model's nodes and modules, and the sums of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from fxexplore.feature_extraction import NodePathTracer

from .annotations import UNKNOWN, Value, value_of
from .graph import ModelGraph, Node
from .shapes import ShapeRun


class Findings(NamedTuple):
    """What a run shows of nodes and modules; what it does not show is not in it.

    Attributes:
        values: what nodes gave, by name.
        flops: floating point operations of nodes, by name.
        returned: what modules returned, by path.
        module_flops: floating point operations of modules, by path, where the run counted
            them; those of others are the sums of their nodes.
    """

    values: Mapping[str, Value]
    flops: Mapping[str, int]
    returned: Mapping[str, Value]
    module_flops: Mapping[str, int]


def findings_of_run(tracer: NodePathTracer, run: ShapeRun) -> Findings:
    """Run a traced graph for its shapes, and sort what it shows.

    Args:
        tracer: the tracer that traced it.
        run: the run, which is yet to be made.
    """
    outcomes = run.outcomes()
    known = {n: outcomes[node] for node, n in tracer.node_to_qualname.items() if node in outcomes}
    returned = run.returned(outcomes)
    return Findings(
        values={name: value_of(outcome.value) for name, outcome in known.items()},
        flops={name: outcome.flops for name, outcome in known.items()},
        returned={path: value_of(value) for path, value in returned.items()},
        module_flops={},
    )


def with_findings(graph: ModelGraph, findings: Findings) -> ModelGraph:
    """The same graph with what a run shows of its nodes, and the sums of it.

    Args:
        graph: the graph of the model.
        findings: what the run showed.
    """
    nodes = tuple(_found(node, findings) for node in graph.nodes)
    paths = {module.path for module in graph.modules}
    inside = {node.name: _containing(node.parent, paths) for node in nodes}
    flops = _sums({node.name: node.flops for node in nodes}, inside)
    memory = _sums({n.name: n.activation_bytes for n in nodes if n.kind != "input"}, inside)
    return dataclasses.replace(
        graph,
        nodes=nodes,
        modules=tuple(
            dataclasses.replace(
                module,
                flops=flops.get(module.path, findings.module_flops.get(module.path)),
                activation_bytes=memory.get(module.path),
                **_facts_of(findings.returned.get(module.path, UNKNOWN)),
            )
            for module in graph.modules
        ),
        flops=flops.get(""),
        activation_bytes=memory.get(""),
    )


def _found(node: Node, findings: Findings) -> Node:
    value = findings.values.get(node.name, UNKNOWN)
    is_activation = node.kind not in ("parameter", "size")
    return dataclasses.replace(
        node,
        flops=findings.flops.get(node.name),
        activation_bytes=value.bytes if is_activation else 0,
        **_facts_of(value),
    )


def _facts_of(value: Value) -> dict[str, Any]:
    return {"shape": value.shape, "dtype": value.dtype, "parts": value.parts}


def _containing(path: str, modules: set[str]) -> tuple[str, ...]:
    """The modules on the way up from ``path``, and ``""`` for the model."""
    return (*(prefix for prefix in prefixes(path) if prefix in modules), "")


def _sums(
    numbers: Mapping[str, int | None], inside: Mapping[str, tuple[str, ...]]
) -> dict[str, int]:
    """The sums of each module; one with a node whose number is unknown has none."""
    sums: dict[str, int] = {}
    unknown: set[str] = set()
    for name, number in numbers.items():
        for path in inside[name]:
            if number is None:
                unknown.add(path)
            else:
                sums[path] = sums.get(path, 0) + number
    return {path: total for path, total in sums.items() if path not in unknown}


def prefixes(path: str) -> Iterator[str]:
    """A path and those above it, but for the model's own.

    Example:
        >>> list(prefixes("layer1.0.conv1"))
        ['layer1.0.conv1', 'layer1.0', 'layer1']
    """
    while path:
        yield path
        path = path.rpartition(".")[0]
