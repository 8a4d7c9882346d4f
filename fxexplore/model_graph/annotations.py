"""What a run shows of a graph: shapes, dtypes, bytes and FLOPs, and the sums of each module."""

from __future__ import annotations

import dataclasses
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from fxexplore.feature_extraction import Attributes, TensorInfo

from .graph import ModelGraph
from .nodes import Node, Part


class Findings(NamedTuple):
    """What a run shows of nodes and modules; what it does not show is not in it.

    Attributes:
        values: what nodes gave, by name, as ``described`` copies it.
        flops: floating point operations of nodes, by name; None where some have no formula.
        returned: what modules returned, by path.
    """

    values: Mapping[str, Any]
    flops: Mapping[str, int | None]
    returned: Mapping[str, Any]


def annotated(graph: ModelGraph, findings: Findings) -> ModelGraph:
    """The same graph with what a run shows of its nodes, and the sums of it.

    Args:
        graph: the graph of the model.
        findings: what the run showed.
    """
    nodes = tuple(_annotated(node, findings) for node in graph.nodes)
    # Of a module that raised, and of those around it, only a part ran.
    broken = () if graph.error is None else ((graph.error.name, None),)
    flops, uncounted = _sums((*((node.parent, node.flops) for node in nodes), *broken))
    memory, unknown = _sums(
        (*((n.parent, n.activation_bytes) for n in nodes if n.kind != "input"), *broken)
    )
    memory = {path: total for path, total in memory.items() if path not in unknown}
    modules = []
    for module in graph.modules:
        facts = _facts(findings.returned, module.path) | {
            "flops": flops.get(module.path),
            "flops_at_least": module.path in uncounted,
            "activation_bytes": memory.get(module.path),
        }
        modules.append(dataclasses.replace(module, **facts))
    return dataclasses.replace(
        graph,
        nodes=nodes,
        modules=tuple(modules),
        flops=flops.get(""),
        flops_at_least="" in uncounted,
        activation_bytes=memory.get(""),
    )


def _annotated(node: Node, findings: Findings) -> Node:
    facts = _facts(findings.values, node.name) | {"flops": findings.flops.get(node.name)}
    if node.kind in ("parameter", "size"):
        facts["activation_bytes"] = 0
    return dataclasses.replace(node, **facts)


def _facts(values: Mapping[str, Any], name: str) -> dict[str, Any]:
    return facts_of(values[name]) if name in values else {}


def facts_of(value: Any) -> dict[str, Any]:
    """The facts of a value: of a tensor its shape, dtype and bytes, else those of its parts.

    Args:
        value: the value, as ``described`` copies it: without its numbers.

    Example:
        >>> import torch
        >>> from fxexplore.feature_extraction import described
        >>> facts_of(described({"boxes": torch.ones(3, 4)}))["parts"]
        (Part(path="['boxes']", shape=(3, 4), dtype='float32'),)
    """
    if isinstance(value, TensorInfo):
        return {"shape": value.shape, "dtype": _dtype(value), "activation_bytes": _bytes(value)}
    found = list(_tensors(value, ""))
    return {
        "parts": tuple(Part(path, tensor.shape, _dtype(tensor)) for path, tensor in found),
        "activation_bytes": sum(_bytes(tensor) for _, tensor in found),
    }


def _tensors(value: Any, path: str) -> Iterator[tuple[str, TensorInfo]]:
    if isinstance(value, TensorInfo):
        yield path, value
    elif isinstance(value, Attributes):
        for name, item in value.items():
            yield from _tensors(item, f"{path}.{name}")
    elif isinstance(value, (Mapping, list, tuple)):
        items = value.items() if isinstance(value, Mapping) else enumerate(value)
        for key, item in items:
            yield from _tensors(item, f"{path}[{key!r}]")


def _dtype(tensor: TensorInfo) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _bytes(tensor: TensorInfo) -> int:
    return math.prod(tensor.shape) * tensor.dtype.itemsize


def _sums(numbers: Iterable[tuple[str, int | None]]) -> tuple[dict[str, int], set[str]]:
    """The sums of what is known below each path, and of the model as ``""``.

    Args:
        numbers: pairs of the path of the module that a node is in, and the node's number.

    Returns:
        The sums, and the paths below which some number is unknown.
    """
    sums: dict[str, int] = {}
    unknown: set[str] = set()
    by_depth: defaultdict[int, dict[str, None]] = defaultdict(dict)
    for parent, number in numbers:
        by_depth[parent.count(".")][parent] = None
        if number is None:
            unknown.add(parent)
        else:
            sums[parent] = sums.get(parent, 0) + number
    # Inwards out, each sum once: models may be nested deeply.
    for depth in range(max(by_depth, default=0), -1, -1):
        for path in by_depth[depth]:
            outer = path.rpartition(".")[0]
            if not path:
                continue
            if depth:
                by_depth[depth - 1][outer] = None
            if path in sums:
                sums[outer] = sums.get(outer, 0) + sums[path]
            if path in unknown:
                unknown.add(outer)
    return sums, unknown
