"""The feature extractor that is an ``fx.GraphModule``."""

from __future__ import annotations

import inspect
import keyword
import pkgutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import fx, nn
from torch.fx.node import map_aggregate
from torch.fx.proxy import TraceError

from .runtime import refuse
from .slicing import sliced
from .tracer import LeafModuleAwareTracer


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

    def each_value(
        self, look: Callable[[str, Any], None], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        """Run the model, and show each wanted value as it is made; none is kept.

        Args:
            look: is given a key and the value.
            args: positional arguments of the model's forward.
            kwargs: keyword arguments of it.
        """
        given = inspect.signature(self.forward).bind(*args, **kwargs).arguments
        _Showing(self, look, given).run()

    # Attributes that are generated again for a copy.
    _DERIVED = ("_graph", "_code", "_generated", "_lineno_map", "_prologue_start")

    def __getstate__(self) -> dict[str, Any]:
        kept = {k: v for k, v in self.__dict__.items() if k not in self._DERIVED}
        for name in ("train_graph", "eval_graph"):
            kept[name] = _graph_to_data(kept[name])
        return kept

    def __setstate__(self, state: dict[str, Any]) -> None:
        state = {k: v.copy() if isinstance(v, dict) else v for k, v in state.items()}
        train, evaluation = state.pop("train_graph"), state.pop("eval_graph")
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        eval_graph = _graph_from_data(evaluation)
        self._adopt(eval_graph if train == evaluation else _graph_from_data(train), eval_graph)

    def __reduce__(self) -> tuple[Any, ...]:
        return _empty_extractor, (type(self).__name__,), self.__getstate__()

    # Copies are made like pickles, and not as fx.GraphModule makes them.
    __copy__ = __deepcopy__ = None  # type: ignore[assignment]


class _Showing(fx.Interpreter):
    """Runs the present graph of an extractor node by node, and shows each of its values.

    A value is let go when no other node needs it.
    """

    def __init__(
        self,
        extractor: GraphFeatureExtractor,
        look: Callable[[str, Any], None],
        given: Mapping[str, Any],
    ) -> None:
        graph, copies = fx.Graph(), {}  # type: tuple[fx.Graph, dict[fx.Node, fx.Node]]
        graph.graph_copy(extractor.graph, copies)
        graph.output(None)  # or that would need all of them
        super().__init__(extractor, graph=graph)
        self.extra_traceback = False
        self._look, self._given = look, given
        self._keys: dict[fx.Node, list[str]] = {}
        for key, value in next(iter(reversed(extractor.graph.nodes))).args[0].items():
            if isinstance(value, fx.Node):
                self._keys.setdefault(copies[value], []).append(key)

    def placeholder(self, target: Any, args: Any, kwargs: Any) -> Any:  # noqa: ARG002 - fx's
        return self._given.get(target.lstrip("*"), *args)

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        for key in self._keys.get(n, ()):
            self._look(key, value)
        return value if n.users else None


def graph_extractor(
    root: nn.Module,
    tracers: Mapping[str, LeafModuleAwareTracer],
    keys: Mapping[str, dict[str, str]],
) -> GraphFeatureExtractor:
    """Make an extractor from what tracers saw of a model.

    Args:
        root: the model.
        tracers: the tracer of each mode in which the model was traced.
        keys: for each mode the names of the return nodes with their output keys.

    Raises:
        ValueError: if a name is unknown.
    """
    graphs: dict[str, fx.Graph] = {}
    for mode, tracer in tracers.items():
        others = [other for other in tracers.values() if other is not tracer]
        known = [(*other.node_to_qualname.values(), *other.module_returns) for other in others]
        graphs[mode] = sliced(tracer, keys[mode], mode, {name for names in known for name in names})
    if len(set(tracers.values())) < len(tracers) and keys["train"] == keys["eval"]:
        graphs["train"] = graphs["eval"]
    for mode, other in (("train", "eval"), ("eval", "train")):
        if mode not in graphs:
            graphs[mode] = _refusing_graph(graphs[other], mode, other)
    constants = {k: v for tracer in tracers.values() for k, v in tracer.constants.items()}
    return GraphFeatureExtractor(
        root, graphs["train"], graphs["eval"], type(root).__name__, constants
    )


def _refusing_graph(opened_graph: fx.Graph, mode: str, other: str) -> fx.Graph:
    """A graph with the same arguments that says that there is none in this mode."""
    graph = fx.Graph()
    for node in opened_graph.nodes:
        if node.op == "placeholder":
            graph.node_copy(node)
    message = f"the model was opened in {other} mode only, and this is {mode} mode; call .{other}()"
    graph.output(graph.call_function(refuse, (message,)))
    return graph


@contextmanager
def _spelled_for_code(graph: fx.Graph) -> Iterator[None]:
    """Spell the paths in a graph so that fx can put any of them into Python source.

    fx writes ``self.name`` where a name is an identifier and ``getattr(self, "name")``
    elsewhere, without escaping keywords, quotes and backslashes.
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
    _raise_on_clashes(wanted)
    shared_whole = ""
    for path, module in source.named_modules(remove_duplicate=False):
        if shared_whole and path.startswith(shared_whole):
            continue
        if path and path in wanted:
            _container(target, path, source.training)[0].add_module(path.rpartition(".")[2], module)
            shared_whole = path + "."
            continue
        for name, value in (
            *module._parameters.items(),
            *module._buffers.items(),
            *vars(module).items(),
        ):
            full = f"{path}.{name}" if path else name
            if full not in wanted:
                continue
            owner, field = _container(target, full, source.training)
            if name in module._buffers:
                persistent = name not in module._non_persistent_buffers_set
                owner.register_buffer(field, value, persistent=persistent)
            else:
                setattr(owner, field, value)
    for name in wanted.intersection(constants):
        if isinstance(constants[name], torch.Tensor):
            # A buffer, so that it goes along to another device.
            target.register_buffer(name, constants[name], persistent=False)
        else:
            setattr(target, name, constants[name])


def _raise_on_clashes(wanted: Iterable[str]) -> None:
    """Raise if a part of the model has the name of something that a GraphModule is made of."""
    for path in wanted:
        name = path.partition(".")[0]
        if hasattr(fx.GraphModule, name) or name in ("train_graph", "eval_graph"):
            raise TraceError(
                f"the model calls a part of itself '{name}', which is a name of fx.GraphModule's "
                f"own. Give example_inputs=... and backend='recorded', or rename it."
            )


def _container(target: nn.Module, path: str, training: bool) -> tuple[nn.Module, str]:
    """The module of ``target`` that is to hold ``path``, and the last part of the path."""
    *parents, field = path.split(".")
    for name in parents:
        child = target._modules.get(name)
        if child is None:
            child = nn.Module()
            child.training = training
            target.add_module(name, child)
        target = child
    return target, field


class _Ref(str):
    """Stands for the node of that name in the arguments of another."""

    __slots__ = ()


class _Named(str):
    """Stands for a function that is found by name but cannot be pickled itself."""

    __slots__ = ()


def _graph_to_data(graph: fx.Graph) -> list[tuple[Any, ...]]:
    """Write a graph as a list of rows of picklable values.

    Args:
        graph: any graph whose functions can be imported or pickled.
    """
    return [
        (
            node.op,
            node.name,
            _named(node.target),
            fx.node.map_arg(node.args, lambda n: _Ref(n.name)),
            fx.node.map_arg(node.kwargs, lambda n: _Ref(n.name)),
            node.type,
            node.meta.get("qualified_name"),
        )
        for node in graph.nodes
    ]


def _graph_from_data(rows: list[tuple[Any, ...]]) -> fx.Graph:
    """Build the graph that :func:`_graph_to_data` wrote."""
    graph = fx.Graph()
    nodes: dict[str, fx.Node] = {}

    def with_node(value: Any) -> Any:
        return nodes[value] if isinstance(value, _Ref) else value

    for op, name, target, args, kwargs, type_expr, qualified_name in rows:
        node = graph.create_node(
            op,
            _found(target),
            map_aggregate(args, with_node),
            map_aggregate(kwargs, with_node),
            name,
            type_expr,
        )
        if qualified_name is not None:
            node.meta["qualified_name"] = qualified_name
        nodes[name] = node
    return graph


def _named(target: Any) -> Any:
    """A function by its name where that finds it: some of torch's are closures."""
    if not callable(target) or isinstance(target, str):
        return target
    named = _Named(f"{getattr(target, '__module__', '')}:{getattr(target, '__name__', '')}")
    try:
        return named if _found(named) is target else target
    except (ImportError, AttributeError, ValueError):
        return target  # pickle may find it in its own ways


def _found(target: Any) -> Any:
    return pkgutil.resolve_name(target) if isinstance(target, _Named) else target
