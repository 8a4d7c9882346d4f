"""Read a model graph off a tracer, or off a recording."""

from __future__ import annotations

import dataclasses
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import fx, nn

from fxexplore.feature_extraction import NodePathTracer, Recording, operation_name

from .annotations import class_and_detail, parameter_count, size_of, value_of
from .findings import Findings, prefixes, with_findings
from .graph import ModelGraph, Module, Node

_KINDS = {
    "placeholder": "input",
    "call_module": "module",
    "call_function": "operation",
    "call_method": "operation",
    "get_attr": "parameter",
}


class Seen(NamedTuple):
    """A node as either way in sees it.

    Attributes:
        name: qualified name.
        op: opcode, as in torch.fx.
        target: path of the module or parameter, or what is called.
        module: path of the module whose forward ran it.
        inputs: names of the nodes whose values it read.
        source: file and line, if known.
        is_size: whether it computes sizes or flags rather than tensors.
    """

    name: str
    op: str
    target: Any
    module: str
    inputs: tuple[str, ...]
    source: tuple[str, int] | None
    is_size: bool = False


def graph_of_tracer(tracer: NodePathTracer, mode: str) -> ModelGraph:
    """Read the graph that a tracer traced, without what only a run shows.

    Args:
        tracer: the tracer.
        mode: the mode that it traced the model in.
    """
    names = tracer.node_to_qualname
    sizes = _sizes(tracer.graph)
    seen = [
        Seen(
            name=name,
            op=node.op,
            target=node.target,
            module=str(node.meta["module"]),
            inputs=_named_inputs(node, names),
            source=node.meta.get("source"),
            is_size=node in sizes,
        )
        for node, name in names.items()
    ]
    calls = {path: returned.calls for path, returned in tracer.module_returns.items()}
    output = next(node for node in tracer.graph.nodes if node.op == "output")
    outputs = _named_inputs(output, names)
    read = {str(node.target) for node in tracer.graph.nodes if node.op == "get_attr"}
    return _graph(tracer.root, seen, calls, outputs, read, mode=mode, backend="symbolic")


def graph_before_run(model: nn.Module, mode: str) -> ModelGraph:
    """The registered modules, for a model that shows its nodes only when it runs.

    Args:
        model: the model.
        mode: the mode in which it is to be opened.

    Example:
        >>> graph = graph_before_run(nn.Sequential(nn.Linear(4, 2), nn.ReLU()), "eval")
        >>> [row.name for row in graph.rows], graph["0"].ran
        (['0', '1'], None)
    """
    modules = dict(model.named_modules())
    paths_of = _paths_of_shared(dict(model.named_modules(remove_duplicate=False)))
    count = parameter_count(model)
    return ModelGraph(
        model=type(model).__name__,
        nodes=(),
        modules=tuple(
            _module(path, module, 0, paths_of, ran=None) for path, module in modules.items() if path
        ),
        parameters=count.total,
        frozen=count.frozen,
        mode=mode,
        backend="",
        missing="what runs, shapes and FLOPs are unknown before the model has run once",
    )


def graph_of_recording(model: nn.Module, recording: Recording, mode: str) -> ModelGraph:
    """Read the graph that a recording holds.

    Args:
        model: the model that was recorded.
        recording: the recording.
        mode: the mode that it was recorded in.
    """
    names = set(recording.names)
    nodes = [recording.nodes[name] for name in recording.names]
    seen = [
        Seen(
            name=node.name,
            op=node.op,
            target=node.target,
            module=node.module,
            inputs=tuple(name for name in node.inputs if name in names),
            source=node.source,
        )
        for node in nodes
    ]
    returns = recording.module_returns
    calls = {path: returned.calls for path, returned in returns.items()}
    outputs = tuple(name for name in recording.output if name in names)
    read = {str(node.target) for node in recording.nodes.values() if node.op == "get_attr"}
    findings = Findings(
        values={node.name: value_of(node.output) for node in nodes},
        flops={node.name: node.flops for node in nodes if node.flops is not None},
        returned={path: value_of(returned.output) for path, returned in returns.items()},
        module_flops={p: r.flops for p, r in returns.items() if r.flops is not None},
    )
    graph = _graph(model, seen, calls, outputs, read, mode=mode, backend="recorded")
    return dataclasses.replace(with_findings(graph, findings), flops=recording.flops)


# --- what the model shows ------------------------------------------------------------


def _graph(
    root: nn.Module,
    seen: list[Seen],
    calls: Mapping[str, int],
    outputs: tuple[str, ...],
    read: set[str],
    **facts: Any,
) -> ModelGraph:
    modules = dict(root.named_modules(remove_duplicate=False))
    paths_of = _paths_of_shared(modules)
    nodes = tuple(_nodes(seen, modules, paths_of))
    inner = _paths_of_modules(nodes, modules)
    leaves = {str(s.target) for s in seen if s.op == "call_module"}
    ran = {*inner, *leaves, *calls, *(path.rpartition(".")[0] for path in read)}
    never = list(_never_ran(root, ran, leaves))
    count = parameter_count(root)
    return ModelGraph(
        model=type(root).__name__,
        nodes=nodes,
        modules=tuple(
            _module(path, modules[path], calls.get(path, 0), paths_of, ran=path in ran)
            for path in (*inner, *never)
        ),
        outputs=outputs,
        parameters=count.total,
        frozen=count.frozen,
        **facts,
    )


def _nodes(
    seen: list[Seen], modules: Mapping[str, nn.Module], paths_of: Mapping[int, list[str]]
) -> Iterable[Node]:
    calls = Counter(s.target for s in seen if s.op == "call_module")
    so_far: Counter[Any] = Counter()
    for s in seen:
        facts: dict[str, Any] = {"parent": s.module}
        if s.op == "call_module":
            so_far[s.target] += 1
            facts = _leaf_facts(s.target, modules, paths_of, so_far[s.target], calls[s.target])
        elif s.op == "get_attr":
            facts |= _parameter_facts(str(s.target), modules, paths_of)
        else:
            facts["target"] = operation_name(s.op, s.target)
        yield Node(
            name=s.name,
            kind="size" if s.is_size else _KINDS[s.op],
            inputs=s.inputs,
            source=f"{os.path.basename(s.source[0])}:{s.source[1]}" if s.source else None,
            **facts,
        )


def _leaf_facts(
    path: str,
    modules: Mapping[str, nn.Module],
    paths_of: Mapping[int, list[str]],
    call: int,
    calls: int,
) -> dict[str, Any]:
    module = modules[path]
    target, detail = class_and_detail(module)
    count = parameter_count(module)
    return {
        "target": target,
        "detail": detail,
        "parent": _parent_path(path, modules),
        # A repeated call holds no parameters of its own.
        "parameters": count.total if call == 1 else 0,
        "frozen": count.frozen if call == 1 else 0,
        "shared": _others(path, module, paths_of),
        "call": call,
        "calls": calls,
    }


def _parameter_facts(
    path: str, modules: Mapping[str, nn.Module], paths_of: Mapping[int, list[str]]
) -> dict[str, Any]:
    owner, _, attribute = path.rpartition(".")
    parameter = modules[owner]._parameters.get(attribute) if owner in modules else None
    if parameter is None:
        return {"target": path}
    size = size_of(parameter)
    return {
        "target": path,
        "parameters": size,
        "frozen": 0 if parameter.requires_grad else size,
        "shared": _others(path, parameter, paths_of),
    }


def _module(
    path: str,
    module: nn.Module,
    calls: int,
    paths_of: Mapping[int, list[str]],
    ran: bool | None,
) -> Module:
    cls, detail = class_and_detail(module)
    count = parameter_count(module)
    return Module(
        path=path,
        cls=cls,
        detail=detail,
        parameters=count.total,
        frozen=count.frozen,
        returns=calls > 0,
        calls=calls,
        shared=_others(path, module, paths_of),
        ran=ran,
    )


def _paths_of_shared(modules: Mapping[str, nn.Module]) -> dict[int, list[str]]:
    """The paths of each module and parameter that has several, by its ``id``."""
    paths: dict[int, list[str]] = {}
    for path, module in modules.items():
        paths.setdefault(id(module), []).append(path)
        prefix = f"{path}." if path else ""
        for name, parameter in module._parameters.items():
            if parameter is not None:
                paths.setdefault(id(parameter), []).append(prefix + name)
    return {key: found for key, found in paths.items() if len(found) > 1}


def _others(path: str, item: Any, paths_of: Mapping[int, list[str]]) -> tuple[str, ...]:
    return tuple(other for other in paths_of.get(id(item), ()) if other != path)


def _paths_of_modules(nodes: tuple[Node, ...], modules: Mapping[str, nn.Module]) -> list[str]:
    """The modules that contain nodes, parents before children."""
    paths: dict[str, None] = {}
    for node in nodes:
        missing = []
        path = node.parent
        while path and path not in paths:
            missing.append(path)
            path = _parent_path(path, modules)
        paths.update(dict.fromkeys(reversed(missing)))
    return list(paths)


def _never_ran(root: nn.Module, ran: set[str], leaves: set[str]) -> Iterator[str]:
    """The outermost modules of which nothing ran; what is inside leaf modules is not seen."""

    def walk(module: nn.Module, prefix: str) -> Iterator[str]:
        for name, child in module.named_children():
            path = prefix + name
            if first_paths.get(child) != path or path in leaves:
                continue
            if path in active:
                yield from walk(child, f"{path}.")
            else:
                yield path

    first_paths = {module: path for path, module in root.named_modules()}
    active = {prefix for path in ran for prefix in prefixes(path)}
    return walk(root, "")


# --- paths and edges -----------------------------------------------------------------


def _parent_path(path: str, modules: Mapping[str, nn.Module]) -> str:
    """The module that contains the one at ``path``; names of modules may hold dots."""
    parent = path.rpartition(".")[0]
    while parent not in modules:
        parent = parent.rpartition(".")[0]
    return parent


def _named_inputs(node: fx.Node, names: Mapping[fx.Node, str]) -> tuple[str, ...]:
    """Names of the nodes that feed ``node``, looking through those without a name."""
    found: dict[str, None] = {}
    for source in node.all_input_nodes:
        if source in names:
            found[names[source]] = None
        else:
            found.update(dict.fromkeys(_named_inputs(source, names)))
    return tuple(found)


_SIZE_METHODS = {"dim", "element_size", "ndimension", "nelement", "numel", "size", "stride"}
_SIZE_ATTRIBUTES = {"device", "dtype", "layout", "ndim", "requires_grad", "shape"}
_PYTHON = {"_operator", "builtins", "math"}


def _sizes(graph: fx.Graph) -> set[fx.Node]:
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
