"""Feature extractors for any model, and the names of what can be extracted.

There are two ways into a model: its graph, traced symbolically, and a recording of one
real run. This file chooses between them.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from typing import Any

from torch import fx, nn

from .backends import Opened, opened
from .common.return_nodes import Names, ReturnNodes, keys_by_mode
from .common.validation import as_arguments, checked_model
from .recorded.extractor import RecordedFeatureExtractor
from .symbolic.extractor import GraphFeatureExtractor
from .symbolic.runtime import refuse
from .symbolic.slicing import Observation, sliced
from .symbolic.trace import tracer_of_graph
from .symbolic.tracer import NodePathTracer


def create_feature_extractor(
    model: nn.Module | fx.Graph,
    return_nodes: ReturnNodes | None = None,
    train_return_nodes: ReturnNodes | None = None,
    eval_return_nodes: ReturnNodes | None = None,
    tracer_kwargs: dict[str, Any] | None = None,
    suppress_diff_warning: bool = False,
    concrete_args: dict[str, Any] | None = None,
    *,
    example_inputs: Any = None,
    backend: str = "auto",
    mode: str = "both",
) -> GraphFeatureExtractor | RecordedFeatureExtractor:
    """Make a module that returns chosen values from inside ``model``.

    The drop-in counterpart of ``torchvision.models.feature_extraction``'s function of
    that name. A return node is a node name as :func:`get_graph_node_names` lists it, or
    the path of a module, which gives what that module returned at its last call, as it
    was when it returned. The extractor shares the model's parameters and runs nothing
    after the last return node. ``model`` itself is left as it is.

    Args:
        model: the model to take values from, an ``fx.GraphModule`` included, or the
            ``fx.Graph`` that ``NodePathTracer().trace(model)`` gave.
        return_nodes: the names of the return nodes, or a dict from name to the key of
            the value in the result. Both are text; a whole number stands for its digits.
        train_return_nodes: the same for train mode only, if the two modes differ.
        eval_return_nodes: the same for eval mode only.
        tracer_kwargs: keyword arguments for :class:`NodePathTracer`. The operations of
            torchvision stay leaf modules besides the ``leaf_modules`` given here, unless
            ``"default_leaf_modules": False`` is among them.
        suppress_diff_warning: do not warn when the nodes of train and eval mode differ.
        concrete_args: values for arguments of forward while tracing; see
            :meth:`NodePathTracer.trace`.
        example_inputs: what to run a model on that cannot be traced: a tensor, a tuple of
            positional arguments, a dict of keyword arguments, or a pair of both.
        backend: ``"symbolic"`` to trace, ``"recorded"`` to record one run, ``"auto"`` to
            record only what cannot be traced.
        mode: ``"train"`` or ``"eval"`` for an extractor that runs in that mode alone.

    Returns:
        A module with the arguments of the model's forward, which returns a dict from key
        to value in order of execution and changes between train and eval mode as the
        model does. Traced, it is an ``fx.GraphModule``; recorded, it runs the model's own
        code.

    Raises:
        ValueError: if the return nodes are missing, unknown or clash.
        TypeError: if an argument is of the wrong kind.
        torch.fx.proxy.TraceError: if the model cannot be opened.

    Example:
        >>> import torch, torchvision
        >>> model = torchvision.models.resnet18(weights=None).eval()
        >>> extractor = create_feature_extractor(model, {"layer1": "low", "layer4.1.add": "high"})
        >>> {key: tuple(value.shape) for key, value in extractor(torch.ones(1, 3, 64, 64)).items()}
        {'low': (1, 64, 16, 16), 'high': (1, 512, 2, 2)}
    """
    train_keys, eval_keys = keys_by_mode(return_nodes, train_return_nodes, eval_return_nodes)
    if isinstance(model, fx.Graph):
        tracer = tracer_of_graph(model)
        root, way = tracer.root, Opened({"train": tracer, "eval": tracer}, {}, "", {})
    else:
        root, way = _opened(model, example_inputs, backend, mode, tracer_kwargs, concrete_args)
    way.warn(root)
    if not suppress_diff_warning:
        _warn_differences(way)
    return extractor_of(root, way, train_keys, eval_keys)


def get_graph_node_names(
    model: nn.Module,
    tracer_kwargs: dict[str, Any] | None = None,
    suppress_diff_warning: bool = False,
    concrete_args: dict[str, Any] | None = None,
    *,
    example_inputs: Any = None,
    backend: str = "auto",
    mode: str = "both",
) -> tuple[list[str], list[str]]:
    """List the names of all nodes of a model, in order of execution.

    Args:
        model: the model to look at; it is left as it is.
        tracer_kwargs: as for :func:`create_feature_extractor`.
        suppress_diff_warning: do not warn when the two lists differ.
        concrete_args: as for :func:`create_feature_extractor`.
        example_inputs: likewise.
        backend: likewise.
        mode: ``"train"`` or ``"eval"`` for the names of that mode alone.

    Returns:
        The names in train mode and the names in eval mode; none for a mode in which the
        model does not open.

    Raises:
        ValueError: if ``mode`` or ``backend`` is unknown.
        TypeError: if an argument is of the wrong kind.
        torch.fx.proxy.TraceError: if the model cannot be opened.

    Example:
        >>> import torchvision
        >>> model = torchvision.models.resnet18(weights=None)
        >>> train_nodes, eval_nodes = get_graph_node_names(model)
        >>> eval_nodes[:5]
        ['x', 'conv1', 'bn1', 'relu', 'maxpool']
    """
    root, way = _opened(model, example_inputs, backend, mode, tracer_kwargs, concrete_args)
    way.warn(root)
    if not suppress_diff_warning:
        _warn_differences(way)
    return _names(way, "train"), _names(way, "eval")


def _opened(
    model: nn.Module,
    example_inputs: Any,
    backend: str,
    mode: str,
    tracer_kwargs: dict[str, Any] | None,
    concrete_args: dict[str, Any] | None,
) -> tuple[nn.Module, Opened]:
    root = checked_model(model)
    arguments = None if example_inputs is None else as_arguments(example_inputs)
    way = opened(
        root,
        lambda: arguments,
        mode=mode,
        backend=backend,
        tracer_kwargs=tracer_kwargs,
        concrete_args=concrete_args,
    )
    return root, way


def extractor_of(
    root: nn.Module, way: Opened, train_keys: dict[str, str], eval_keys: dict[str, str]
) -> GraphFeatureExtractor | RecordedFeatureExtractor:
    """Make an extractor for a model that is open, from what was traced or recorded then.

    Args:
        root: the model.
        way: the model, opened.
        train_keys: names of the return nodes in train mode with their output keys.
        eval_keys: the same for eval mode.

    Raises:
        ValueError: if a name is unknown.
    """
    if way.recordings:
        recordings = way.recordings.get("train"), way.recordings.get("eval")
        return RecordedFeatureExtractor(root, train_keys, eval_keys, *recordings)
    return _graph_extractor(root, way.tracers, {"train": train_keys, "eval": eval_keys})


def _graph_extractor(
    root: nn.Module, tracers: Mapping[str, NodePathTracer], keys: Mapping[str, dict[str, str]]
) -> GraphFeatureExtractor:
    graphs: dict[str, fx.Graph] = {}
    for mode, tracer in tracers.items():
        known_elsewhere = {name for t in tracers.values() if t is not tracer for name in _known(t)}
        graphs[mode] = _wanted_graph(tracer, keys[mode], mode, known_elsewhere)
    if len({id(t) for t in tracers.values()}) < len(tracers) and keys["train"] == keys["eval"]:
        graphs["train"] = graphs["eval"]
    for mode, other in (("train", "eval"), ("eval", "train")):
        if mode not in graphs:
            graphs[mode] = _refusing_graph(graphs[other], mode, other)
    constants: dict[str, Any] = {}
    for tracer in tracers.values():
        constants |= tracer.constants
    return GraphFeatureExtractor(
        root, graphs["train"], graphs["eval"], type(root).__name__, constants
    )


def extractor_of_tracer(
    tracer: NodePathTracer, keys: dict[str, str], mode: str
) -> GraphFeatureExtractor:
    """Make an extractor for the one mode in which a tracer traced its model.

    Args:
        tracer: the tracer.
        keys: names of the return nodes with their output keys.
        mode: ``"train"`` or ``"eval"``.
    """
    return _graph_extractor(tracer.root, {mode: tracer}, {mode: keys})


def _refusing_graph(opened_graph: fx.Graph, mode: str, other: str) -> fx.Graph:
    """A graph with the same arguments that says that there is none in this mode."""
    graph = fx.Graph()
    for node in opened_graph.nodes:
        if node.op == "placeholder":
            graph.node_copy(node)
    message = f"the model was opened in {other} mode only, and this is {mode} mode; call .{other}()"
    graph.output(graph.call_function(refuse, (message,)))
    return graph


def _known(tracer: NodePathTracer) -> list[str]:
    return [*tracer.node_to_qualname.values(), *tracer.module_returns]


def _wanted_graph(
    tracer: NodePathTracer, keys: dict[str, str], mode: str, elsewhere: set[str]
) -> fx.Graph:
    modules = dict(tracer.root.named_modules(remove_duplicate=False))
    nodes = {name: node for node, name in tracer.node_to_qualname.items()}
    names = Names(_known(tracer), tracer.root, tracer.is_leaf_module, mode, elsewhere)
    observations = names.resolved(
        keys, lambda spec, key: _observation(spec, key, tracer, nodes, modules)
    )
    return sliced(tracer, observations, modules)


def _observation(
    spec: str,
    key: str,
    tracer: NodePathTracer,
    nodes: dict[str, fx.Node],
    modules: dict[str, nn.Module],
) -> Observation | None:
    """Find the moment and the place where the value that ``spec`` names is to be had."""
    if spec in nodes:
        return Observation(key, nodes[spec], after=nodes[spec], order=-1)
    module = modules.get(spec)
    if module is None or not spec:
        return None
    path = next(path for path, candidate in modules.items() if candidate is module)
    returned = tracer.module_returns.get(path)
    if returned is not None:
        return Observation(key, returned.value, returned.after, returned.order)
    calls = [n for n in nodes.values() if n.op == "call_module" and n.target == path]
    return Observation(key, calls[-1], after=calls[-1], order=-1) if calls else None


def _names(way: Opened, mode: str) -> list[str]:
    if mode in way.recordings:
        return way.recordings[mode].names
    return list(way.tracers[mode].node_to_qualname.values()) if mode in way.tracers else []


def _is_subseq(x: Iterable[Any], y: Iterable[Any]) -> bool:
    """Whether the items of ``y`` all occur in ``x``, in the same order.

    Example:
        >>> _is_subseq("abcd", "bd"), _is_subseq("abcd", "db")
        (True, False)
    """
    rest = iter(x)
    return all(any(item == wanted for item in rest) for wanted in y)


def _warn_graph_differences(train_tracer: NodePathTracer, eval_tracer: NodePathTracer) -> None:
    """Warn if the nodes of train and eval mode differ, and name some that do.

    Args:
        train_tracer: the tracer that traced the model in train mode.
        eval_tracer: the tracer that traced it in eval mode.
    """
    train_nodes, eval_nodes = (
        list(tracer.node_to_qualname.values()) for tracer in (train_tracer, eval_tracer)
    )
    _warn_lists(train_nodes, eval_nodes)


def _warn_differences(way: Opened) -> None:
    if len(way.modes) > 1:
        _warn_lists(_names(way, "train"), _names(way, "eval"), stacklevel=4)


def _warn_lists(train_nodes: list[str], eval_nodes: list[str], stacklevel: int = 3) -> None:
    if train_nodes == eval_nodes:
        return
    if _is_subseq(train_nodes, eval_nodes):
        relation = "NOTE: the nodes of eval mode are a subsequence of those of train mode"
    elif _is_subseq(eval_nodes, train_nodes):
        relation = "NOTE: the nodes of train mode are a subsequence of those of eval mode"
    else:
        relation = "The nodes of train mode differ from those of eval mode"
    shown = 3
    examples = [
        f"only in {mode} mode: {', '.join(alone[:shown])}{', ...' if alone[shown:] else ''}"
        for mode, alone in (
            ("train", [name for name in train_nodes if name not in set(eval_nodes)]),
            ("eval", [name for name in eval_nodes if name not in set(train_nodes)]),
        )
        if alone
    ]
    warnings.warn(
        f"{relation} ({'; '.join(examples) or 'they run in another order'}). When choosing nodes "
        f"for feature extraction, you may need train_return_nodes and eval_return_nodes.",
        stacklevel=stacklevel,
    )
