"""Feature extractors cut out of a model, and the names of what can be cut out."""

from __future__ import annotations

import copy
import difflib
import inspect
import keyword
import math
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import fx, nn
from torch.fx.proxy import TraceError

from .harmless import switch_mode, untouched
from .serializing import graph_from_data, graph_to_data
from .slicing import Observation, sliced
from .tracers import LeafModuleAwareTracer, NodePathTracer, all_paths, one_trace_at_a_time

ReturnNodes = Iterable[str] | Mapping[str, str]


def create_feature_extractor(
    model: nn.Module | fx.Graph,
    return_nodes: ReturnNodes | None = None,
    train_return_nodes: ReturnNodes | None = None,
    eval_return_nodes: ReturnNodes | None = None,
    tracer_kwargs: dict[str, Any] | None = None,
    suppress_diff_warning: bool = False,
    concrete_args: dict[str, Any] | None = None,
) -> GraphFeatureExtractor:
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
            the value in the result.
        train_return_nodes: the same for train mode only, if the two modes differ.
        eval_return_nodes: the same for eval mode only.
        tracer_kwargs: keyword arguments for :class:`NodePathTracer`. The operations of
            torchvision stay leaf modules besides the ``leaf_modules`` given here, unless
            ``"default_leaf_modules": False`` is among them.
        suppress_diff_warning: do not warn when the nodes of train and eval mode differ.
        concrete_args: values for arguments of forward while tracing; see
            :meth:`NodePathTracer.trace`.

    Returns:
        An ``fx.GraphModule`` with the arguments of the model's forward, which returns a
        dict from key to value in order of execution, and which changes between train
        and eval mode as the model does.

    Raises:
        ValueError: if the return nodes are missing, unknown or clash.
        TypeError: if an argument is of the wrong kind.
        torch.fx.proxy.TraceError: if the model cannot be traced symbolically.

    Example:
        >>> import torch, torchvision
        >>> model = torchvision.models.resnet18(weights=None).eval()
        >>> extractor = create_feature_extractor(model, {"layer1": "low", "layer4.1.add": "high"})
        >>> {key: tuple(value.shape) for key, value in extractor(torch.ones(1, 3, 64, 64)).items()}
        {'low': (1, 64, 16, 16), 'high': (1, 512, 2, 2)}
    """
    train_keys, eval_keys = _keys_by_mode(return_nodes, train_return_nodes, eval_return_nodes)
    if isinstance(model, fx.Graph):
        tracers = _tracers_of_graph(model)
        root = tracers[0].root
    else:
        root = _checked_model(model)
        tracers = _traced_in_both_modes(root, tracer_kwargs, concrete_args)
    train_tracer, eval_tracer = tracers
    train_graph = _wanted_graph(train_tracer, train_keys, "train", other=eval_tracer)
    if eval_tracer is train_tracer and eval_keys == train_keys:
        eval_graph = train_graph
    else:
        eval_graph = _wanted_graph(eval_tracer, eval_keys, "eval", other=train_tracer)
    if not suppress_diff_warning:
        _warn_graph_differences(train_tracer, eval_tracer)
    return GraphFeatureExtractor(
        root,
        train_graph,
        eval_graph,
        type(root).__name__,
        {**train_tracer.constants, **eval_tracer.constants},
    )


def get_graph_node_names(
    model: nn.Module,
    tracer_kwargs: dict[str, Any] | None = None,
    suppress_diff_warning: bool = False,
    concrete_args: dict[str, Any] | None = None,
) -> tuple[list[str], list[str]]:
    """List the names of all nodes of a model, in order of execution.

    Args:
        model: the model to look at; it is left as it is.
        tracer_kwargs: as for :func:`create_feature_extractor`.
        suppress_diff_warning: do not warn when the two lists differ.
        concrete_args: as for :func:`create_feature_extractor`.

    Returns:
        The names in train mode and the names in eval mode.

    Raises:
        TypeError: if an argument is of the wrong kind.
        torch.fx.proxy.TraceError: if the model cannot be traced symbolically.

    Example:
        >>> import torchvision
        >>> model = torchvision.models.resnet18(weights=None)
        >>> train_nodes, eval_nodes = get_graph_node_names(model)
        >>> eval_nodes[:5]
        ['x', 'conv1', 'bn1', 'relu', 'maxpool']
    """
    train_tracer, eval_tracer = _traced_in_both_modes(
        _checked_model(model), tracer_kwargs, concrete_args
    )
    if not suppress_diff_warning:
        _warn_graph_differences(train_tracer, eval_tracer)
    return _names(train_tracer), _names(eval_tracer)


class GraphFeatureExtractor(fx.GraphModule):
    """What :func:`create_feature_extractor` returns: two graphs in one module.

    The forwards of both are generated once; setting ``training``, as ``train()`` and
    ``eval()`` do, chooses between them. Parameters, buffers and leaf modules are those
    of the model, under the same names and in the same order.

    Args:
        root: the model that owns what the graphs read and call.
        train_graph: the graph that runs in train mode.
        eval_graph: the graph that runs in eval mode.
        class_name: the name that ``repr`` shows.
        constants: tensors that the graphs read and ``root`` does not have, by name.
    """

    def __init__(
        self,
        root: nn.Module,
        train_graph: fx.Graph,
        eval_graph: fx.Graph,
        class_name: str = "GraphModule",
        constants: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(nn.Module(), fx.Graph(), class_name)
        _share(root, self, (train_graph, eval_graph), constants or {})
        self._adopt(train_graph, eval_graph)
        self.training = root.training

    def _adopt(self, train_graph: fx.Graph, eval_graph: fx.Graph) -> None:
        self.train_graph = train_graph
        self.eval_graph = eval_graph
        for graph in {train_graph: None, eval_graph: None}:
            self.graph = graph  # generates its forward
        self._choose_graph()

    def recompile(self) -> Any:
        """Generate the forward of the present graph anew, as is needed after editing it."""
        with _spelled_for_code(self._graph):
            python_code = super().recompile()
        self.__dict__.setdefault("_generated", {})[self._graph] = (self._code, type(self).forward)
        return python_code

    def _choose_graph(self) -> None:
        graph = self.train_graph if self.training else self.eval_graph
        self._graph = graph
        self._code, type(self).forward = self.__dict__["_generated"][graph]

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name == "training" and "eval_graph" in self.__dict__:
            self._choose_graph()

    # What GraphModule generates anew for a copy.
    _DERIVED = ("_graph", "_code", "_generated", "_lineno_map", "_prologue_start")

    def __getstate__(self) -> dict[str, Any]:
        kept = {k: v for k, v in self.__dict__.items() if k not in self._DERIVED}
        for name in ("train_graph", "eval_graph"):
            kept[name] = graph_to_data(kept[name])
        return kept

    def __setstate__(self, state: dict[str, Any]) -> None:
        state = dict(state)
        train, evaluation = state.pop("train_graph"), state.pop("eval_graph")
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        eval_graph = graph_from_data(evaluation)
        self._adopt(eval_graph if train == evaluation else graph_from_data(train), eval_graph)

    def __reduce__(self) -> tuple[Any, ...]:
        return _empty_extractor, (type(self).__name__,), self.__getstate__()

    def __deepcopy__(self, memo: dict[int, Any]) -> GraphFeatureExtractor:
        twin = _empty_extractor(type(self).__name__)
        memo[id(self)] = twin
        twin.__setstate__(copy.deepcopy(self.__getstate__(), memo))
        return twin

    def __copy__(self) -> GraphFeatureExtractor:
        twin = _empty_extractor(type(self).__name__)
        state = self.__getstate__()
        twin.__setstate__({k: v.copy() if isinstance(v, dict) else v for k, v in state.items()})
        return twin


@contextmanager
def _spelled_for_code(graph: fx.Graph) -> Iterator[None]:
    """Spell the paths in a graph so that fx can put any of them into Python source.

    fx writes ``self.name`` where a name is an identifier and ``getattr(self, "name")``
    elsewhere, without a thought for keywords, quotes or backslashes.
    """
    changed = []
    for node in graph.nodes:
        if node.op in ("get_attr", "call_module"):
            spelled = ".".join(map(_spelled, node.target.split(".")))
            if spelled != node.target:
                changed.append((node, node.target))
                node.target = spelled
    try:
        yield
    finally:
        for node, target in changed:
            node.target = target


def _spelled(name: str) -> str:
    if name.isascii() and name.isidentifier() and not keyword.iskeyword(name):
        return name
    if name.isascii() and name.isalnum() and not name.isidentifier():
        return name  # the numbers of nn.Sequential
    # One escape at least, so that it is no identifier; what follows is plain ASCII.
    return "".join(f"\\U{ord(letter):08x}" for letter in name)


def _empty_extractor(class_name: str) -> GraphFeatureExtractor:
    empty = fx.Graph()
    return GraphFeatureExtractor(nn.Module(), empty, empty, class_name)


def _share(
    source: nn.Module,
    target: nn.Module,
    graphs: Iterable[fx.Graph],
    constants: Mapping[str, Any],
) -> None:
    """Give ``target`` the parts of ``source`` that the graphs name, in source's order."""
    wanted = {
        str(node.target)
        for graph in graphs
        for node in graph.nodes
        if node.op in ("get_attr", "call_module")
    }
    shared_whole = ""
    for path, module in all_paths(source):
        if shared_whole and path.startswith(shared_whole):
            continue
        if path and path in wanted:
            _container(target, path, source)[0].add_module(path.rpartition(".")[2], module)
            shared_whole = path + "."
            continue
        for name, value in _tensors_and_attributes(module):
            full = f"{path}.{name}" if path else name
            if full not in wanted:
                continue
            owner, field = _container(target, full, source)
            if isinstance(value, nn.Parameter):
                owner.register_parameter(field, value)
            elif name in module._buffers:
                persistent = name not in module._non_persistent_buffers_set
                owner.register_buffer(field, value, persistent=persistent)
            else:
                setattr(owner, field, value)
    _add_constants(target, {k: v for k, v in constants.items() if k in wanted})


def _add_constants(target: nn.Module, constants: Mapping[str, Any]) -> None:
    for name, value in constants.items():
        if isinstance(value, torch.Tensor):
            # A buffer, so that it goes along to another device.
            target.register_buffer(name, value, persistent=False)
        else:
            setattr(target, name, value)


def _tensors_and_attributes(module: nn.Module) -> Iterator[tuple[str, Any]]:
    yield from module._parameters.items()
    yield from module._buffers.items()
    yield from vars(module).items()


def _container(target: nn.Module, path: str, source: nn.Module) -> tuple[nn.Module, str]:
    """The module of ``target`` that is to hold ``path``, and the last part of the path."""
    *parents, field = path.split(".")
    counterpart: nn.Module | None = source
    for name in parents:
        counterpart = counterpart and counterpart._modules.get(name)
        child = target._modules.get(name)
        if child is None:
            child = nn.Module()
            child.training = (counterpart or source).training
            target.add_module(name, child)
        target = child
    return target, field


def _keys_by_mode(
    return_nodes: ReturnNodes | None,
    train_return_nodes: ReturnNodes | None,
    eval_return_nodes: ReturnNodes | None,
) -> tuple[dict[str, str], dict[str, str]]:
    """The wanted names with their output keys, for train and for eval mode."""
    if (train_return_nodes is None) != (eval_return_nodes is None):
        raise ValueError(
            "train_return_nodes and eval_return_nodes go together: give both, or return_nodes alone"
        )
    if return_nodes is None and train_return_nodes is None:
        raise ValueError(
            "no return nodes: give return_nodes, or train_return_nodes and eval_return_nodes"
        )
    if return_nodes is not None and train_return_nodes is not None:
        raise ValueError(
            "give either return_nodes, or train_return_nodes and eval_return_nodes, not both"
        )
    if return_nodes is not None:
        keys = _keys("return_nodes", return_nodes)
        return keys, keys
    assert train_return_nodes is not None  # for mypy
    assert eval_return_nodes is not None
    return (
        _keys("train_return_nodes", train_return_nodes),
        _keys("eval_return_nodes", eval_return_nodes),
    )


def _keys(argument: str, nodes: ReturnNodes) -> dict[str, str]:
    if isinstance(nodes, (str, bytes)):
        # torchvision raises ValueError for all that is wrong with a request.
        raise ValueError(f"{argument} is the string {nodes!r}; write [{nodes!r}]")  # noqa: TRY004
    if not isinstance(nodes, Iterable):
        raise ValueError(  # noqa: TRY004
            f"{argument} is {nodes!r}; give a list of names, or a dict from names to keys"
        )
    pairs = nodes.items() if isinstance(nodes, Mapping) else ((node, node) for node in nodes)
    keys = {str(node): str(key) for node, key in pairs}
    if not keys:
        raise ValueError(f"{argument} is empty; name at least one node")
    first_with: dict[str, str] = {}
    for node, key in keys.items():
        if key in first_with:
            raise ValueError(
                f"{argument} gives the output key '{key}' to two nodes, '{first_with[key]}' and "
                f"'{node}'; keys must differ"
            )
        first_with[key] = node
    return keys


def _checked_model(model: nn.Module) -> nn.Module:
    if not isinstance(model, nn.Module):
        raise TypeError(
            f"model is a {type(model).__name__}; give a torch.nn.Module"
            + (f", such as an instance {model.__name__}()" if inspect.isclass(model) else "")
        )
    if isinstance(model, torch.jit.ScriptModule):
        raise TraceError(
            "model is a TorchScript module, whose code cannot be traced symbolically; give the "
            "module that it was scripted from"
        )
    return model


def _tracers_of_graph(graph: fx.Graph) -> tuple[NodePathTracer, NodePathTracer]:
    tracer = getattr(graph, "_fxexplore_tracer", None)
    if tracer is None or not isinstance(tracer.root, nn.Module):
        raise TypeError(
            "this fx.Graph does not know its model: only what NodePathTracer().trace(model) "
            "returned can be given instead of a model"
        )
    return tracer, tracer


def _traced_in_both_modes(
    model: nn.Module,
    tracer_kwargs: Mapping[str, Any] | None,
    concrete_args: dict[str, Any] | None,
) -> tuple[NodePathTracer, NodePathTracer]:
    return (
        traced(model, True, tracer_kwargs, concrete_args),
        traced(model, False, tracer_kwargs, concrete_args),
    )


def traced(
    model: nn.Module,
    training: bool,
    tracer_kwargs: Mapping[str, Any] | None = None,
    concrete_args: dict[str, Any] | None = None,
) -> NodePathTracer:
    """Trace a model in train or in eval mode and return the tracer.

    Args:
        model: the model to trace; it is left as it is.
        training: True for train mode, False for eval mode.
        tracer_kwargs: as for :func:`create_feature_extractor`.
        concrete_args: likewise.

    Raises:
        TypeError: if an argument is of the wrong kind.
        torch.fx.proxy.TraceError: if the model cannot be traced symbolically.
    """
    tracer = NodePathTracer(**default_tracer_kwargs(tracer_kwargs))
    with one_trace_at_a_time, untouched(_checked_model(model)):
        switch_mode(model, training)
        tracer.trace(model, concrete_args=concrete_args)
    return tracer


def default_tracer_kwargs(tracer_kwargs: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Complete keyword arguments for a tracer with what should always be a leaf.

    Args:
        tracer_kwargs: the caller's, which are not changed.

    Returns:
        New keyword arguments, in which torchvision's operations are leaf modules (if
        torchvision is loaded, and unless ``default_leaf_modules`` was False) and its
        functions and those of ``math`` become nodes.

    Raises:
        TypeError: if a keyword is unknown.
    """
    kwargs = dict(tracer_kwargs or {})
    with_leaves = kwargs.pop("default_leaf_modules", True)
    known = set(inspect.signature(LeafModuleAwareTracer).parameters)
    for name in kwargs:
        if name not in known:
            raise TypeError(
                f"tracer_kwargs has no '{name}'; known are: {', '.join(sorted(known))}, "
                f"default_leaf_modules"
            )
    autowrap, leaves = [math], []
    # Looked at, not imported: a model that uses torchvision has loaded it.
    ops = sys.modules.get("torchvision.ops")
    if ops is not None:
        autowrap.append(ops)
        if with_leaves:
            leaves = [v for v in vars(ops).values() if inspect.isclass(v)]
            leaves = [cls for cls in leaves if issubclass(cls, nn.Module)]
    for name, defaults in (("autowrap_modules", autowrap), ("leaf_modules", leaves)):
        own = kwargs.get(name, ())
        # What is no collection is left to the tracer, which says so.
        if isinstance(own, Iterable) and not isinstance(own, str):
            kwargs[name] = (*own, *defaults)
    return kwargs


def _names(tracer: NodePathTracer) -> list[str]:
    return list(tracer.node_to_qualname.values())


def _wanted_graph(
    tracer: NodePathTracer, keys: dict[str, str], mode: str, other: NodePathTracer
) -> fx.Graph:
    modules = dict(all_paths(tracer.root))
    nodes = {name: node for node, name in tracer.node_to_qualname.items()}
    observations = [
        _observation(spec, key, tracer, nodes, modules, mode, other) for spec, key in keys.items()
    ]
    return sliced(tracer, observations, modules)


def _observation(
    spec: str,
    key: str,
    tracer: NodePathTracer,
    nodes: dict[str, fx.Node],
    modules: dict[str, nn.Module],
    mode: str,
    other: NodePathTracer,
) -> Observation:
    """Find the moment and the place where the value that ``spec`` names is to be had."""
    if spec in nodes:
        return Observation(key, nodes[spec], after=nodes[spec], order=-1)
    module = modules.get(spec)
    if module is not None and spec:
        path = next(path for path, candidate in modules.items() if candidate is module)
        returned = tracer.module_returns.get(path)
        if returned is not None:
            return Observation(key, returned.value, returned.after, returned.order)
        calls = [n for n in nodes.values() if n.op == "call_module" and n.target == path]
        if calls:
            return Observation(key, calls[-1], after=calls[-1], order=-1)
    raise ValueError(_unknown(spec, nodes, tracer, module, mode, other))


def _unknown(
    spec: str,
    nodes: dict[str, fx.Node],
    tracer: NodePathTracer,
    module: nn.Module | None,
    mode: str,
    other: NodePathTracer,
) -> str:
    """Say why ``spec`` cannot be returned, and what is near it."""
    known = [*nodes, *tracer.module_returns]
    leaf = _enclosing_leaf(spec, tracer) if spec not in other.node_to_qualname.values() else None
    if leaf is not None:
        path, hidden_by = leaf
        return (
            f"'{spec}' is inside the leaf module '{path}' ({type(hidden_by).__name__}), which is "
            f"one node. {_how_to_open(hidden_by)}"
        )
    if module is not None and spec:
        inside = [name for name in known if name.startswith(spec + ".")]
        problem = f"'{spec}' is a {type(module).__name__} that forward never calls in {mode} mode"
        near = [inside[-1]] if inside else []
    else:
        problem = f"node '{spec}' is not present in the model in {mode} mode"
        # Names that end alike first: most misses are a path that lacks its beginning.
        near = [name for name in known if name.endswith(f".{spec}")][:3]
        near += difflib.get_close_matches(spec, known, n=5, cutoff=0.5)
    if spec in other.node_to_qualname.values() or spec in other.module_returns:
        return (
            f"{problem}, only in {'train' if mode == 'eval' else 'eval'} mode; give "
            f"train_return_nodes and eval_return_nodes separately"
        )
    hint = f" Did you mean: {', '.join(dict.fromkeys(near))}?" if near else ""
    return f"{problem}.{hint} get_graph_node_names(model) lists all names."


def _enclosing_leaf(spec: str, tracer: NodePathTracer) -> tuple[str, nn.Module] | None:
    """The leaf module that hides what ``spec`` names, with its path."""
    path, module = "", tracer.root
    for name in spec.split("."):
        child = module._modules.get(name)
        if child is None:
            return None
        if path and tracer.is_leaf_module(module, path):
            return path, module
        path, module = f"{path}.{name}" if path else name, child
    return None


def _how_to_open(leaf: nn.Module) -> str:
    if any(cls.__module__.startswith("torchvision.ops") for cls in type(leaf).__mro__):
        return "tracer_kwargs={'default_leaf_modules': False} opens it."
    if type(leaf).__module__.startswith(("torch.nn", "torch.ao.nn")):
        return "The modules of torch.nn always are; ask for its own output instead."
    return f"Take {type(leaf).__name__} out of leaf_modules to open it."


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
    train_nodes, eval_nodes = _names(train_tracer), _names(eval_tracer)
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
        stacklevel=3,
    )
