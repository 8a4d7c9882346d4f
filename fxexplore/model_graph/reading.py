"""Read a model graph off a tracer, or off a recording."""

from __future__ import annotations

import dataclasses
import itertools
import operator
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import fx, nn

from fxexplore.feature_extraction import (
    Attributes,
    LeafModuleAwareTracer,
    RecordedFailure,
    RecordedNode,
    Recording,
    described,
    line_in_words,
    operation_name,
    size_nodes,
    where,
)

from .annotations import Findings, annotated, facts_of
from .graph import ModelGraph
from .nodes import Failure, Module, Node, prefixes

_KINDS = {
    "placeholder": "input",
    "call_module": "module",
    "call_function": "operation",
    "call_method": "operation",
    "get_attr": "parameter",
}


def graph_of_tracer(tracer: LeafModuleAwareTracer, mode: str) -> ModelGraph:
    """Read the graph that a tracer traced, without what only a run shows.

    Args:
        tracer: the tracer.
        mode: the mode that it traced the model in.
    """
    names, inputs = tracer.node_to_qualname, tracer.inputs()
    seen = [
        RecordedNode(
            name=name,
            op=node.op,
            target=node.target,
            module=str(node.meta["module"]),
            inputs=_named_inputs(node, names),
            source=node.meta.get("source"),
            output=None,
            order=0,
        )
        for node, name in names.items()
        if node.op != "placeholder" or name in inputs
    ]
    sizes = {names[node] for node in size_nodes(tracer.graph) if node in names}
    calls = {path: returned.calls for path, returned in tracer.module_returns.items()}
    output = next(node for node in tracer.graph.nodes if node.op == "output")
    outputs = _named_inputs(output, names)
    read = {str(node.target) for node in tracer.graph.nodes if node.op == "get_attr"}
    graph = _graph(tracer.root, seen, sizes, calls, outputs, read, mode=mode, backend="symbolic")
    return dataclasses.replace(graph, differing=differing_names(tracer, {}))


def differing_names(tracer: LeafModuleAwareTracer, values: Mapping[str, Any]) -> tuple[str, ...]:
    """Names in a trace that mean another operation, or none, in a recording of the model.

    A run sees no arithmetic on sizes, which are plain numbers there, and nothing of an item that
    is taken out of a tuple which has a name, so that the operations of that name which follow
    have smaller numbers. It sees ``operator.iadd(x, y)`` as ``x.add_(y)``.

    Args:
        tracer: the tracer that traced it.
        values: what nodes gave, by name, as far as a run has shown it.
    """
    sizes = size_nodes(tracer.graph)
    shifted: set[tuple[str, str]] = set()
    found = []
    for node, name in tracer.node_to_qualname.items():
        scope, operation = name.rpartition(".")[0], operation_name(node.op, node.target)
        group = (scope, operation)
        seen_in_runs = node.op == "call_method" or node.target in (getattr, operator.getitem)
        if node in sizes and not seen_in_runs and node.target is not torch._assert:
            shifted.add(group)
        source = node.args[0] if node.args else None
        held = (
            values.get(tracer.node_to_qualname.get(source, "")) if type(source) is fx.Node else None
        )
        if node.meta.get("is_item_of_a_name") and isinstance(held, (tuple, list, Mapping)):
            shifted.add(group)
        if node.meta.get("is_call"):
            shifted |= {group, (scope, f"{operation}_")}
        if group in shifted:
            found.append(name)
    return tuple(found)


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
    registered = _Registered(model)
    paths = [path for path, _ in model.named_modules() if path]
    return ModelGraph(
        model=type(model).__name__,
        nodes=(),
        modules=tuple(registered.module(path, calls=0, ran=None) for path in paths),
        mode=mode,
        backend="",
        missing="what runs, shapes and FLOPs are unknown before the model has run once",
        **_counts(model.parameters()),
    )


def graph_of_recording(model: nn.Module, recording: Recording, mode: str) -> ModelGraph:
    """Read the graph that a recording holds.

    Args:
        model: the model that was recorded.
        recording: the recording.
        mode: the mode that it was recorded in.
    """
    kept_default = recording.arguments.keys() - recording.inputs
    names = [name for name in recording.names if name not in kept_default]
    nodes = [recording.nodes[name] for name in names]
    failure = recording.failure
    failed = [failure.node] if failure is not None and failure.node is not None else []
    returns = recording.module_returns
    calls = {path: returned.calls for path, returned in returns.items()}
    outputs = tuple(name for name in recording.output if name in names)
    read = {str(node.target) for node in recording.nodes.values() if node.op == "get_attr"}
    findings = Findings(
        values={node.name: node.output for node in nodes},
        flops={node.name: node.flops for node in nodes if node.flops is not None},
        returned={path: returned.output for path, returned in returns.items()},
    )
    seen = [*nodes, *failed]
    graph = _graph(model, seen, set(), calls, outputs, read, mode=mode, backend="recorded")
    if failure is not None:
        modules = dict(model.named_modules(remove_duplicate=False))
        leaves = [modules[node.target] for node in failed if node.op == "call_module"]
        error = failure_of(failure, leaves[0] if leaves else None)
        graph = dataclasses.replace(graph, error=error)
    return dataclasses.replace(annotated(graph, findings), flops=recording.flops)


def failure_of(failure: RecordedFailure, leaf: nn.Module | None) -> Failure:
    """What a graph says of the place where its model raised.

    Args:
        failure: where it raised.
        leaf: the leaf module that raised, if one did.
    """
    met = facts_of(failure.given)["parts"]
    if leaf is not None:
        own = {name: described(p) for name, p in leaf.named_parameters(recurse=False)}
        met += facts_of(Attributes(own))["parts"]
    lines = failure.message.strip().splitlines() or [failure.kind]
    return Failure(
        name=failure.name,
        kind=failure.kind,
        message=_in_words(lines[0]),
        source=failure.source and line_in_words(failure.source),
        met=met,
    )


def _in_words(message: str) -> str:
    """A message of torch with shapes as they stand everywhere else.

    Example:
        >>> _in_words("a and b must have same reduction dim, but got [1, 400] X [256, 10].")
        'mat1 and mat2 shapes cannot be multiplied (1×400 and 256×10)'
    """
    on_meta = r"a and b must have same reduction dim, but got \[(\d+), (\d+)\] X \[(\d+), (\d+)\]\."
    real = r"mat1 and mat2 shapes cannot be multiplied (\1x\2 and \3x\4)"
    return re.sub(r"(?<=\d)x(?=\d)", "×", re.sub(on_meta, real, message))


# --- what the model shows ------------------------------------------------------------


def _graph(
    root: nn.Module,
    seen: list[RecordedNode],
    sizes: set[str],
    calls: Mapping[str, int],
    outputs: tuple[str, ...],
    read: set[str],
    **facts: Any,
) -> ModelGraph:
    registered = _Registered(root)
    nodes = tuple(_nodes(seen, sizes, registered))
    inner = _paths_of_modules(nodes, registered)
    leaves = {str(s.target) for s in seen if s.op == "call_module"}
    ran = {*inner, *leaves, *calls, *(path.rpartition(".")[0] for path in read)}
    never = _never_ran(root, ran, leaves)
    return ModelGraph(
        model=type(root).__name__,
        nodes=nodes,
        modules=tuple(
            registered.module(path, calls.get(path, 0), ran=path in ran)
            for path in (*inner, *never)
        ),
        outputs=outputs,
        **_counts(root.parameters()),
        **facts,
    )


def _nodes(seen: list[RecordedNode], sizes: set[str], registered: _Registered) -> Iterator[Node]:
    names = {s.name for s in seen}
    calls = Counter(s.target for s in seen if s.op == "call_module")
    so_far: Counter[Any] = Counter()
    for s in seen:
        facts: dict[str, Any] = {"parent": s.module, "target": str(s.target)}
        if s.op == "call_module":
            so_far[s.target] += 1
            call = {"call": so_far[s.target], "calls": calls[s.target]}
            facts = registered.leaf_facts(s.target) | call
            if call["call"] > 1:
                facts |= _counts([])  # a repeated call holds no parameters of its own
        elif s.op == "get_attr":
            facts |= registered.parameter_facts(facts["target"])
        else:
            facts["target"] = operation_name(s.op, s.target)
        yield Node(
            name=s.name,
            kind="size" if s.name in sizes else _KINDS[s.op],
            inputs=tuple(name for name in s.inputs if name in names),
            source=where(s.source) if s.source else None,
            **facts,
        )


class _Registered:
    """The registered modules and parameters of a model, and what is known without a run."""

    def __init__(self, root: nn.Module) -> None:
        self._modules = dict(root.named_modules(remove_duplicate=False))
        self._paths: dict[int, list[str]] = {}
        """The paths of each module and parameter, by its ``id``."""
        self._inside: dict[str, list[torch.Tensor]] = {path: [] for path in self._modules}
        """The parameters of each module and of those below it, shared ones once."""
        around: dict[torch.Tensor, set[str]] = {}
        for path, module in self._modules.items():
            self._paths.setdefault(id(module), []).append(path)
            prefix = f"{path}." if path else ""
            for name, parameter in module._parameters.items():
                if parameter is not None:
                    self._paths.setdefault(id(parameter), []).append(prefix + name)
                    around.setdefault(parameter, set()).update(prefixes(path))
        for parameter, paths in around.items():
            for path in paths & self._inside.keys():
                self._inside[path].append(parameter)

    def parent(self, path: str) -> str:
        """The module that contains the one at ``path``; names of modules may hold dots."""
        parent = path.rpartition(".")[0]
        while parent not in self._modules:
            parent = parent.rpartition(".")[0]
        return parent

    def module(self, path: str, calls: int, *, ran: bool | None) -> Module:
        """The module at a path that is no leaf."""
        cls = type(self._modules[path]).__name__
        facts = self._facts(path)
        return Module(path=path, cls=cls, calls=calls, ran=ran, **facts)

    def leaf_facts(self, path: str) -> dict[str, Any]:
        """What is known of the call of a leaf module."""
        target = type(self._modules[path]).__name__
        return {"target": target, "parent": self.parent(path), **self._facts(path)}

    def parameter_facts(self, path: str) -> dict[str, Any]:
        """What is known of a parameter; nothing of other attributes, such as buffers."""
        owner, _, attribute = path.rpartition(".")
        parameter = getattr(self._modules.get(owner), "_parameters", {}).get(attribute)
        if parameter is None:
            return {}
        return {"shared": self._others(path, parameter), **_counts([parameter])}

    def _facts(self, path: str) -> dict[str, Any]:
        module = self._modules[path]
        try:
            detail = str(module.extra_repr())
        except Exception:  # noqa: BLE001  # a stranger's code, and only a label
            detail = ""
        shared = self._others(path, module)
        return {"detail": detail, "shared": shared, **_counts(self._inside[path])}

    def _others(self, path: str, item: Any) -> tuple[str, ...]:
        return tuple(other for other in self._paths[id(item)] if other != path)


def _counts(parameters: Iterable[torch.Tensor]) -> dict[str, Any]:
    """How many numbers parameters hold, and how many of them need no gradient."""
    sizes = [(parameter.numel(), parameter.requires_grad) for parameter in parameters]
    return {
        "parameters": sum(size for size, _ in sizes),
        "frozen": sum(size for size, is_trained in sizes if not is_trained),
    }


def _paths_of_modules(nodes: tuple[Node, ...], registered: _Registered) -> list[str]:
    """The modules that contain nodes, parents before children."""
    paths: dict[str, None] = {}
    for node in nodes:
        missing = []
        path = node.parent
        while path and path not in paths:
            missing.append(path)
            path = registered.parent(path)
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
    active: set[str] = set()
    for path in ran:
        for prefix in itertools.takewhile(lambda prefix: prefix not in active, prefixes(path)):
            active.add(prefix)
    return walk(root, "")


def _named_inputs(node: fx.Node, names: Mapping[fx.Node, str]) -> tuple[str, ...]:
    """Names of the nodes that feed ``node``, looking through those without a name."""
    found: dict[str, None] = {}
    for source in node.all_input_nodes:
        if source in names:
            found[names[source]] = None
        else:
            found.update(dict.fromkeys(_named_inputs(source, names)))
    return tuple(found)
