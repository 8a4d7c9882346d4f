"""Read a model graph off a tracer, or off a recording."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import torch
from torch import fx, nn

from fxexplore.feature_extraction.naming import operation_name
from fxexplore.feature_extraction.recording import Recording, TensorInfo
from fxexplore.feature_extraction.tracers import NodePathTracer, all_paths

from .annotations import Outputs, class_and_detail, parameter_count
from .graph import ModelGraph, Module, Node

_KINDS = {
    "placeholder": "input",
    "call_module": "module",
    "call_function": "operation",
    "call_method": "operation",
    "get_attr": "parameter",
}
_UNKNOWN = Outputs(None, None, None)


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
        output: what came out, if known.
    """

    name: str
    op: str
    target: Any
    module: str
    inputs: tuple[str, ...]
    source: tuple[str, int] | None
    is_size: bool
    output: Outputs


def graph_of_tracer(
    tracer: NodePathTracer, mode: str, outputs: Mapping[fx.Node, Outputs]
) -> ModelGraph:
    """Read the graph that a tracer traced.

    Args:
        tracer: the tracer.
        mode: the mode that it traced the model in.
        outputs: what is known of the values of its nodes.
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
            output=outputs.get(node, _UNKNOWN),
        )
        for node, name in names.items()
    ]
    returned = {
        path: outputs[value.value].shape
        if isinstance(value.value, fx.Node) and value.value in outputs
        else None  # a tuple or a dict has no one shape
        for path, value in tracer.module_returns.items()
    }
    output = next(node for node in tracer.graph.nodes if node.op == "output")
    flops = [s.output.flops for s in seen if s.output.flops is not None]
    return _graph(
        tracer.root,
        seen,
        returned,
        outputs=_named_inputs(output, names),
        flops=sum(flops) if flops and len(flops) == len(seen) else None,
        mode=mode,
        backend="symbolic",
    )


def graph_of_recording(
    model: nn.Module, recording: Recording, mode: str, flops: Mapping[str, int]
) -> ModelGraph:
    """Read the graph that a recording holds.

    Args:
        model: the model that was recorded.
        recording: the recording.
        mode: the mode that it was recorded in.
        flops: floating point operations by path of module, ``""`` for the whole.
    """
    calls = Counter(n.target for n in recording.nodes.values() if n.op == "call_module")
    names = set(recording.names)
    seen = []
    for name in recording.names:
        node = recording.nodes[name]
        once = node.op == "call_module" and calls[node.target] == 1
        tensor = node.output if isinstance(node.output, TensorInfo) else None
        seen.append(
            Seen(
                name=name,
                op=node.op,
                target=node.target,
                module=node.module,
                inputs=tuple(i for i in node.inputs if i in names),
                source=node.source,
                is_size=False,
                output=Outputs(
                    tensor.shape if tensor else None,
                    str(tensor.dtype).removeprefix("torch.") if tensor else None,
                    flops.get(node.target, 0) if once and flops else None,
                ),
            )
        )
    returned = {
        path: value.output.shape if isinstance(value.output, TensorInfo) else None
        for path, value in recording.module_returns.items()
    }
    outputs = tuple(name for name in recording.output if name in names)
    graph = _graph(model, seen, returned, outputs, flops.get(""), mode=mode, backend="recorded")
    return graph.with_module_flops(flops)


def _graph(
    root: nn.Module,
    seen: list[Seen],
    returned: Mapping[str, tuple[int, ...] | None],
    outputs: tuple[str, ...],
    flops: int | None,
    **facts: Any,
) -> ModelGraph:
    modules = dict(all_paths(root))
    nodes = tuple(_nodes(seen, modules))
    return ModelGraph(
        model=type(root).__name__,
        nodes=nodes,
        modules=tuple(_modules(nodes, modules, returned)),
        outputs=outputs,
        parameters=parameter_count(root),
        flops=flops,
        **facts,
    )


def _nodes(seen: list[Seen], modules: Mapping[str, nn.Module]) -> Iterable[Node]:
    calls = Counter(s.target for s in seen if s.op == "call_module")
    so_far: Counter[Any] = Counter()
    for s in seen:
        parent, target, detail, parameters, call, of = s.module, "", "", 0, 1, 1
        if s.op == "call_module":
            module = modules[s.target]
            so_far[s.target] += 1
            call, of = so_far[s.target], calls[s.target]
            target, detail = class_and_detail(module)
            parameters = parameter_count(module) if call == 1 else 0
            parent = _parent_path(s.target, modules)
        elif s.op == "get_attr":
            target = str(s.target)
            parameters = _size_of(target, modules)
        else:
            target = operation_name(s.op, s.target)
        yield Node(
            name=s.name,
            kind="size" if s.is_size else _KINDS[s.op],
            target=target,
            parent=parent,
            detail=detail,
            inputs=s.inputs,
            parameters=parameters,
            call=call,
            calls=of,
            source=f"{os.path.basename(s.source[0])}:{s.source[1]}" if s.source else None,
            shape=s.output.shape,
            dtype=s.output.dtype,
            flops=s.output.flops,
        )


def _size_of(path: str, modules: Mapping[str, nn.Module]) -> int:
    owner, _, attribute = path.rpartition(".")
    value = modules[owner]._parameters.get(attribute) if owner in modules else None
    return 0 if value is None else value.numel()


def _modules(
    nodes: tuple[Node, ...],
    modules: Mapping[str, nn.Module],
    returned: Mapping[str, tuple[int, ...] | None],
) -> list[Module]:
    """The modules that contain nodes, parents before children."""
    paths: dict[str, None] = {}
    for node in nodes:
        missing = []
        path = node.parent
        while path and path not in paths:
            missing.append(path)
            path = _parent_path(path, modules)
        paths.update(dict.fromkeys(reversed(missing)))
    flops = _sums_of_flops(nodes, modules)
    return [
        Module(
            path=path,
            cls=class_and_detail(modules[path])[0],
            parameters=parameter_count(modules[path]),
            returns=path in returned,
            shape=returned.get(path),
            flops=flops.get(path),
        )
        for path in paths
    ]


def _sums_of_flops(nodes: tuple[Node, ...], modules: Mapping[str, nn.Module]) -> dict[str, int]:
    """FLOPs of each module; a module with a node whose FLOPs are unknown has none."""
    sums: dict[str, int] = {}
    unknown: set[str] = set()
    for node in nodes:
        path = node.parent
        while path:
            if node.flops is None:
                unknown.add(path)
            else:
                sums[path] = sums.get(path, 0) + node.flops
            path = _parent_path(path, modules)
    return {path: flops for path, flops in sums.items() if path not in unknown}


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
