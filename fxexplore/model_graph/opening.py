"""Open a model: from a module to its :class:`ModelGraph`."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from typing import Any

import torch
from torch import fx, nn

from fxexplore.feature_extraction.extractors import traced
from fxexplore.feature_extraction.naming import operation_name
from fxexplore.feature_extraction.tracers import NodePathTracer, all_paths

from .annotations import Outputs, class_and_detail, outputs_of, parameter_count
from .graph import ModelGraph, Module, Node
from .inputs import example_inputs_for

_KINDS = {
    "placeholder": "input",
    "call_module": "module",
    "call_function": "operation",
    "call_method": "operation",
    "get_attr": "parameter",
}


def open_model(
    model: nn.Module,
    example_inputs: Any = None,
    *,
    mode: str = "eval",
    tracer_kwargs: Mapping[str, Any] | None = None,
    concrete_args: dict[str, Any] | None = None,
) -> ModelGraph:
    """Read the graph of a model, which is left as it is.

    Args:
        model: the model to open.
        example_inputs: what shapes are found for: a tensor, a tuple of positional
            arguments, a dict of keyword arguments, or a pair of both; by default those of
            :func:`~fxexplore.model_graph.inputs.example_inputs_for`, if there are any.
        mode: ``"eval"`` or ``"train"``: the mode to trace it in.
        tracer_kwargs: as for :func:`fxexplore.create_feature_extractor`.
        concrete_args: likewise.

    Returns:
        The nodes that :func:`fxexplore.get_graph_node_names` lists for that mode, with
        their modules.

    Raises:
        ValueError: if ``mode`` is neither.
        TypeError: if ``model`` is not a module.
        torch.fx.proxy.TraceError: if the model cannot be traced symbolically.

    Example:
        >>> import torchvision
        >>> graph = open_model(torchvision.models.resnet18(weights=None))
        >>> graph.children("layer1.0")
        ['layer1.0.conv1', 'layer1.0.bn1', 'layer1.0.relu', 'layer1.0.conv2', 'layer1.0.bn2', \
'layer1.0.add', 'layer1.0.relu_1']
    """
    if mode not in ("eval", "train"):
        raise ValueError(f"mode is {mode!r}; write 'eval' or 'train'")
    tracer = traced(model, mode == "train", tracer_kwargs, concrete_args)
    return _graph_of(tracer, mode, _outputs(tracer, mode == "train", example_inputs))


def _outputs(
    tracer: NodePathTracer, training: bool, example_inputs: Any
) -> Mapping[fx.Node, Outputs]:
    try:
        inputs = example_inputs_for(tracer.root, example_inputs)
    except ValueError:
        return {}  # no inputs to be had, so no shapes
    return outputs_of(tracer, training, inputs.args, inputs.kwargs)


def _graph_of(tracer: NodePathTracer, mode: str, outputs: Mapping[fx.Node, Outputs]) -> ModelGraph:
    root = tracer.root
    modules = dict(all_paths(root))
    nodes = tuple(_nodes(tracer, modules, outputs))
    output = next(node for node in tracer.graph.nodes if node.op == "output")
    return ModelGraph(
        model=type(root).__name__,
        nodes=nodes,
        modules=tuple(_modules(tracer, nodes, modules, outputs)),
        outputs=_named_inputs(output, tracer.node_to_qualname),
        parameters=parameter_count(root),
        mode=mode,
    )


def _nodes(
    tracer: NodePathTracer,
    modules: Mapping[str, nn.Module],
    outputs: Mapping[fx.Node, Outputs],
) -> list[Node]:
    calls = Counter(n.target for n in tracer.graph.nodes if n.op == "call_module")
    seen: Counter[Any] = Counter()
    sizes = _sizes(tracer.graph)
    nodes = []
    for fx_node, name in tracer.node_to_qualname.items():
        seen[fx_node.target] += 1
        target, detail, parameters, call, of = _described(fx_node, modules), "", 0, 1, 1
        parent = str(fx_node.meta["module"])
        if fx_node.op == "call_module":
            module = modules[str(fx_node.target)]
            detail = class_and_detail(module)[1]
            call, of = seen[fx_node.target], calls[fx_node.target]
            parameters = parameter_count(module) if call == 1 else 0
            parent = _parent_path(str(fx_node.target), modules)
        elif fx_node.op == "get_attr":
            owner, _, attribute = str(fx_node.target).rpartition(".")
            parameters = modules[owner]._parameters[attribute].numel()  # type: ignore[union-attr]
        nodes.append(
            Node(
                name=name,
                kind="size" if fx_node in sizes else _KINDS[fx_node.op],
                target=target,
                parent=parent,
                detail=detail,
                inputs=_named_inputs(fx_node, tracer.node_to_qualname),
                parameters=parameters,
                call=call,
                calls=of,
                source=_short(fx_node.meta.get("source")),
                shape=outputs[fx_node].shape if fx_node in outputs else None,
                dtype=outputs[fx_node].dtype if fx_node in outputs else None,
                flops=outputs[fx_node].flops if fx_node in outputs else None,
            )
        )
    return nodes


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


def _described(node: fx.Node, modules: Mapping[str, nn.Module]) -> str:
    if node.op == "call_module":
        return class_and_detail(modules[str(node.target)])[0]
    if node.op == "get_attr":
        return str(node.target)
    return operation_name(node.op, node.target)


def _modules(
    tracer: NodePathTracer,
    nodes: tuple[Node, ...],
    modules: Mapping[str, nn.Module],
    outputs: Mapping[fx.Node, Outputs],
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
            returns=path in tracer.module_returns,
            shape=_returned_shape(tracer, path, outputs),
            flops=flops.get(path),
        )
        for path in paths
    ]


def _returned_shape(
    tracer: NodePathTracer, path: str, outputs: Mapping[fx.Node, Outputs]
) -> tuple[int, ...] | None:
    returned = tracer.module_returns.get(path)
    if returned is None or not isinstance(returned.value, fx.Node):
        return None  # a tuple or a dict has no one shape
    return outputs[returned.value].shape if returned.value in outputs else None


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


def _short(source: tuple[str, int] | None) -> str | None:
    return f"{os.path.basename(source[0])}:{source[1]}" if source else None
