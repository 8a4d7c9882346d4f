"""Cut a traced graph down to what some of its values need."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from typing import Any

from torch import fx, nn

from fxexplore.feature_extraction.common.naming import AUGMENTED_OPERATORS
from fxexplore.feature_extraction.common.return_nodes import Found, Names
from fxexplore.feature_extraction.common.torch_ops import Effects, draws, effects, written_argument

from .module_returns import ModuleReturn, as_argument, nodes_in
from .runtime import augmented, require_unchanged, snapshot, without_gradient
from .sizes import size_nodes
from .tracer import LeafModuleAwareTracer


@dataclasses.dataclass(frozen=True)
class Observation:
    """A wanted value, as it is at one moment of the run.

    Attributes:
        key: the key under which the value is returned.
        value: a node, or nodes in a nesting of tuples, lists, dicts and ``Built`` objects.
        after: the node after which the value is looked at.
        order: breaks ties between values that are looked at after the same node.
    """

    key: str
    value: Any
    after: fx.Node
    order: int


def sliced(
    tracer: LeafModuleAwareTracer,
    keys: Mapping[str, str],
    mode: str,
    elsewhere: Collection[str] = (),
) -> fx.Graph:
    """Build the graph that computes just the wanted values.

    Nothing after the last observation is kept, nor anything that no observation needs.
    An operation that writes in place is kept if a value it writes is read afterwards;
    an observed value that is overwritten afterwards is copied first, and so is a
    constant of the graph, which has to be the same at the next call.

    Args:
        tracer: the tracer that made the graph.
        keys: the wanted names with their output keys.
        mode: ``"train"`` or ``"eval"``, for error messages.
        elsewhere: names that are known in the other mode.

    Returns:
        A graph that returns a dict from key to value, in order of execution.

    Raises:
        ValueError: if a name is unknown.
    """
    nodes = {name: node for node, name in tracer.node_to_qualname.items()}
    returns, root = tracer.module_returns, tracer.root
    sizes = size_nodes(tracer.graph)
    numbers = {name for name, node in nodes.items() if node in sizes}
    names = Names(nodes, numbers, returns, root, mode, elsewhere)
    observations = [_observation(found) for found in names.resolved(keys)]
    modules = dict(root.named_modules(remove_duplicate=False))
    return _Slice(tracer, observations, modules).graph()


def _observation(found: Found) -> Observation:
    """When and where in the graph a value can be read."""
    value = found.value
    if isinstance(value, ModuleReturn):
        return Observation(found.key, value.value, value.after, value.order)
    return Observation(found.key, value, after=value, order=-1)


class _Slice:
    def __init__(
        self,
        tracer: LeafModuleAwareTracer,
        observations: list[Observation],
        modules: Mapping[str, nn.Module],
    ) -> None:
        self._tracer = tracer
        position = {node: i for i, node in enumerate(tracer.graph.nodes)}
        self._position = position
        self._observations = sorted(observations, key=lambda o: (position[o.after], o.order))
        last = position[self._observations[-1].after]
        self._nodes = [
            node for node in position if node.op == "placeholder" or position[node] <= last
        ]
        self._modules = modules
        self._effects = {node: effects(node, modules) for node in self._nodes}
        self._memory = _SharedMemory(self._nodes, self._effects)
        self._observed_after: dict[fx.Node, list[Observation]] = {}
        for observation in self._observations:
            self._observed_after.setdefault(observation.after, []).append(observation)

    def graph(self) -> fx.Graph:
        kept = self._kept()
        writes_to_come = self._last_writes(kept)
        graph = fx.Graph()
        copies: dict[fx.Node, fx.Node] = {}
        constants: dict[str, fx.Node] = {}
        results: dict[str, Any] = {}
        for node in self._nodes:
            if node.op == "placeholder":
                copies[node] = graph.node_copy(node)
        self._check_fixed_arguments(graph, copies)
        for position, node in enumerate(self._nodes):
            if node in kept and node.op != "placeholder":
                copies[node] = self._copy(graph, node, copies, writes_to_come, constants)
            for observation in self._observed_after.get(node, ()):
                overwritten = any(
                    writes_to_come.get(self._memory.of(read), -1) > position
                    for read in nodes_in(observation.value)
                )
                value = as_argument(graph, observation.value, copies)
                results[observation.key] = (
                    graph.call_function(snapshot, (value,)) if overwritten else value
                )
        graph.output(results)
        return graph

    def _kept(self) -> set[fx.Node]:
        kept = {node for node in self._nodes if node.op == "placeholder"}
        read: set[fx.Node] = set()
        draws_later = False
        # In the mode that the model is in, what is frozen keeps its own.
        mode, root = self._tracer.mode == "train", self._tracer.root
        training = None if isinstance(root, nn.Module) and root.training == mode else mode
        state = {self._memory.of(n) for n in self._nodes if self._is_state(n)}
        for node in reversed(self._nodes):
            for observation in self._observed_after.get(node, ()):
                for value in nodes_in(observation.value):
                    kept.add(value)
                    read.add(self._memory.of(value))
            written = {self._memory.of(n) for n in self._effects[node].writes}
            changes_state = node.op != "call_module" and not written.isdisjoint(state)
            if node in kept or changes_state or not written.isdisjoint(read) or draws_later:
                # What draws before it decides which random numbers a wanted operation gets.
                draws_now = draws(node, self._modules, training)
                draws_later = draws_later or draws_now
                if not (node in kept or changes_state or draws_now or written & read):
                    continue
                kept.add(node)
                kept.update(node.all_input_nodes)
                read.update(self._memory.of(n) for n in node.all_input_nodes)
        return kept

    def _is_state(self, node: fx.Node) -> bool:
        """Whether a node reads a tensor that lives on from one call to the next."""
        return node.op == "get_attr" and node.target not in self._tracer.constants

    def _last_writes(self, kept: set[fx.Node]) -> dict[fx.Node, int]:
        last: dict[fx.Node, int] = {}
        for position, node in enumerate(self._nodes):
            if node in kept:
                last.update((self._memory.of(n), position) for n in self._effects[node].writes)
        return last

    def _copy(
        self,
        graph: fx.Graph,
        node: fx.Node,
        copies: dict[fx.Node, fx.Node],
        writes: dict[fx.Node, int],
        constants: dict[str, fx.Node],
    ) -> fx.Node:
        if node.op == "get_attr" and node.target in self._tracer.constants:
            name = str(node.target)
            if name not in constants:
                copy = graph.node_copy(node)
                is_written = self._memory.of(node) in writes
                constants[name] = graph.call_function(snapshot, (copy,)) if is_written else copy
            return constants[name]
        if node.meta.get("no_grad"):
            return self._copy_without_gradient(graph, node, copies)
        if self._is_augmented(node) and self._is_read_later(node.args[0], node):
            # fx would write `x += y; result = x`, which makes a number in `x` another one.
            args = fx.node.map_arg(node.args, copies.__getitem__)
            return graph.call_function(augmented, (_name(node), *args))
        return graph.node_copy(node, copies.__getitem__)

    def _copy_without_gradient(
        self, graph: fx.Graph, node: fx.Node, copies: dict[fx.Node, fx.Node]
    ) -> fx.Node:
        written = written_argument(node.target, node.args, node.kwargs)
        if node.op == "call_module" or not isinstance(written, fx.Node):
            copy = graph.node_copy(node, copies.__getitem__)
            return graph.call_function(without_gradient, (copy,))
        # Written through a detached alias: the value keeps the gradient it had.
        alias = graph.call_function(without_gradient, (copies[written],))
        graph.node_copy(node, lambda n: alias if n is written else copies[n])
        return copies[written]

    def _is_augmented(self, node: fx.Node) -> bool:
        return (
            node.op == "call_function"
            and getattr(node.target, "__module__", None) == "_operator"
            and _name(node) in AUGMENTED_OPERATORS
        )

    def _is_read_later(self, value: Any, node: fx.Node) -> bool:
        """Whether the variable that holds ``value`` is used after ``node``."""
        if not isinstance(value, fx.Node):
            return False
        position = self._position
        return any(position.get(user, -1) > position[node] for user in value.users) or any(
            position[o.after] >= position[node] and value in nodes_in(o.value)
            for o in self._observations
        )

    def _check_fixed_arguments(self, graph: fx.Graph, copies: dict[fx.Node, fx.Node]) -> None:
        for node in self._nodes:
            name = str(node.target)
            if node.op == "placeholder" and name in self._tracer.fixed_arguments:
                traced = self._tracer.fixed_arguments[name]
                message = (
                    f"argument '{name}' was not an input when the model was traced: it kept the "
                    f"value {traced!r}. To give another value, trace with "
                    f"concrete_args={{'{name}': torch.fx.PH}} (a tensor), or with the value itself."
                )
                graph.call_function(require_unchanged, (copies[node], traced, message))


def _name(node: fx.Node) -> str:
    return str(getattr(node.target, "__name__", node.target))


class _SharedMemory:
    """Groups of nodes whose values may share memory (union-find)."""

    def __init__(self, nodes: list[fx.Node], effects_of: Mapping[fx.Node, Effects]) -> None:
        self._parent = {node: node for node in nodes}
        attributes: dict[str, fx.Node] = {}
        for node in nodes:
            for other in effects_of[node].shares:
                self._join(node, other)
            if node.op == "get_attr":
                self._join(node, attributes.setdefault(str(node.target), node))

    def of(self, node: fx.Node) -> fx.Node:
        """The representative of the group that ``node`` is in."""
        root = node
        while self._parent[root] is not root:
            root = self._parent[root]
        while self._parent[node] is not root:
            self._parent[node], node = root, self._parent[node]
        return root

    def _join(self, left: fx.Node, right: fx.Node) -> None:
        self._parent[self.of(left)] = self.of(right)
