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

from .annotations import class_and_detail, parameter_count
from .graph import ModelGraph, Module, Node

_KINDS = {
    "placeholder": "input",
    "call_module": "module",
    "call_function": "operation",
    "call_method": "operation",
    "get_attr": "parameter",
}


def open_model(
    model: nn.Module,
    *,
    mode: str = "eval",
    tracer_kwargs: Mapping[str, Any] | None = None,
    concrete_args: dict[str, Any] | None = None,
) -> ModelGraph:
    """Read the graph of a model, which is left as it is.

    Args:
        model: the model to open.
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
    return _graph_of(traced(model, mode == "train", tracer_kwargs, concrete_args), mode)


def _graph_of(tracer: NodePathTracer, mode: str) -> ModelGraph:
    root = tracer.root
    modules = dict(all_paths(root))
    nodes = tuple(_nodes(tracer, modules))
    output = next(node for node in tracer.graph.nodes if node.op == "output")
    return ModelGraph(
        model=type(root).__name__,
        nodes=nodes,
        modules=tuple(_modules(tracer, nodes, modules)),
        outputs=_named_inputs(output, tracer.node_to_qualname),
        parameters=parameter_count(root),
        mode=mode,
    )


def _nodes(tracer: NodePathTracer, modules: Mapping[str, nn.Module]) -> list[Node]:
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
    tracer: NodePathTracer, nodes: tuple[Node, ...], modules: Mapping[str, nn.Module]
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
    return [
        Module(
            path=path,
            cls=class_and_detail(modules[path])[0],
            parameters=parameter_count(modules[path]),
            returns=path in tracer.module_returns,
        )
        for path in paths
    ]


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
