"""``ModelGraph``: the nodes of a model, how values flow between them, and who contains whom."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import graphviz

_FORMAT = 1


@dataclasses.dataclass(frozen=True)
class Part:
    """One tensor of an output that is a nesting, such as a tuple or a dict.

    Attributes:
        path: how Python gets at it, such as ``"[0]"``, ``"['boxes']"`` or ``".logits"``.
        shape: its shape.
        dtype: its dtype, such as ``"float32"``.
    """

    path: str
    shape: tuple[int, ...]
    dtype: str


@dataclasses.dataclass(frozen=True)
class Node:
    """A leaf module's call, an operation, an input, or a parameter that is read.

    Attributes:
        name: qualified name, unique in the graph.
        kind: ``"input"``, ``"module"``, ``"operation"``, ``"parameter"``, or ``"size"`` for
            an operation on sizes and flags, whose result is no tensor.
        target: class of the module, name of the operation, or path of the parameter.
        parent: path of the module that the node is shown in; ``""`` for the top.
        detail: the module's ``extra_repr``; ``""`` for other kinds.
        inputs: names of the nodes whose values it reads.
        parameters: numbers held by the leaf module or parameter; 0 at repeated calls.
        call: which call of its leaf module this is, counted from 1.
        calls: how often the leaf module is called in one run.
        source: file and line of the operation in the model's code, if known.
        shape: shape of the output tensor, if known.
        dtype: dtype of the output tensor, such as ``"float32"``, if known.
        flops: floating point operations of one call, if known.
        frozen: how many of the parameters need no gradient.
        shared: other paths of the same module or parameter.
        activation_bytes: bytes of the tensors in its output, if known; 0 for parameters.
        parts: the tensors of an output that is no single tensor, if known.
    """

    name: str
    kind: str
    target: str
    parent: str = ""
    detail: str = ""
    inputs: tuple[str, ...] = ()
    parameters: int = 0
    call: int = 1
    calls: int = 1
    source: str | None = None
    shape: tuple[int, ...] | None = None
    dtype: str | None = None
    flops: int | None = None
    frozen: int = 0
    shared: tuple[str, ...] = ()
    activation_bytes: int | None = None
    parts: tuple[Part, ...] = ()


@dataclasses.dataclass(frozen=True)
class Module:
    """A module that contains nodes, or that never ran: an inner node of the hierarchy.

    Attributes:
        path: qualified name, as ``named_modules()`` gives it.
        cls: name of its class.
        parameters: numbers held by it and everything below, shared ones counted once.
        returns: whether forward calls it, so that it has an output to return.
        shape: shape of the tensor that it returns, if known.
        dtype: dtype of that tensor, such as ``"float32"``, if known.
        flops: floating point operations of everything below, if all are known.
        detail: its ``extra_repr``.
        frozen: how many of the parameters need no gradient.
        shared: other paths of the same module.
        calls: how often it is called in one run; 0 for a mere container.
        ran: False for a registered module of which nothing ran; it has no rows inside. None
            if the model has not been run yet, so that nobody knows.
        activation_bytes: bytes of the outputs of all nodes below, if all are known.
        parts: the tensors of what it returns, if that is no single tensor.
    """

    path: str
    cls: str
    parameters: int = 0
    returns: bool = True
    shape: tuple[int, ...] | None = None
    flops: int | None = None
    dtype: str | None = None
    detail: str = ""
    frozen: int = 0
    shared: tuple[str, ...] = ()
    calls: int = 1
    ran: bool | None = True
    activation_bytes: int | None = None
    parts: tuple[Part, ...] = ()


@dataclasses.dataclass(frozen=True)
class Row:
    """A line of the hierarchy, in order of execution, parents before children.

    Attributes:
        item: the node, or the module that contains the rows that follow.
        depth: how many modules it is in.
        end: index of the row after the last one that it contains.
    """

    item: Node | Module
    depth: int
    end: int

    @property
    def name(self) -> str:
        """The qualified name of the node or module."""
        return self.item.path if isinstance(self.item, Module) else self.item.name


@dataclasses.dataclass(frozen=True)
class ModelGraph:
    """A model as the views see it: plain data, with no tensor and no module in it.

    Attributes:
        model: name of the model's class.
        nodes: every node, in order of execution.
        modules: every module that contains nodes, and the outermost of those that never ran.
        outputs: names of the nodes that the model returns.
        parameters: numbers held by the whole model.
        mode: ``"eval"`` or ``"train"``.
        backend: the way in which the model was opened, ``"symbolic"`` or ``"recorded"``;
            ``""`` if it is not open yet, and these are but its registered modules.
        reason: why it was recorded although tracing was tried; ``""`` if it was not.
        inputs: what the shapes are for, in words; ``""`` if there were no inputs.
        missing: why facts are missing from some node on; ``""`` if none are.
        flops: floating point operations of one run, if known.
        frozen: how many of the parameters need no gradient.
        activation_bytes: bytes of what modules and operations give in one run, if known.

    Example:
        >>> from torch import nn
        >>> from fxexplore import open_model
        >>> graph = open_model(nn.Sequential(nn.Linear(4, 2), nn.ReLU()))
        >>> [(row.depth, row.name) for row in graph.rows]
        [(0, 'input'), (0, '0'), (0, '1')]
        >>> ModelGraph.from_json(graph.to_json()) == graph
        True
    """

    model: str
    nodes: tuple[Node, ...]
    modules: tuple[Module, ...]
    outputs: tuple[str, ...] = ()
    parameters: int = 0
    mode: str = "eval"
    backend: str = "symbolic"
    reason: str = ""
    inputs: str = ""
    missing: str = ""
    flops: int | None = None
    frozen: int = 0
    activation_bytes: int | None = None

    @functools.cached_property
    def rows(self) -> tuple[Row, ...]:
        """The hierarchy as a list; a module stands where its first node runs."""
        return tuple(_rows(self.nodes, {module.path: module for module in self.modules}))

    @functools.cached_property
    def index(self) -> Mapping[str, int]:
        """The row of every node and module, by qualified name."""
        return {row.name: i for i, row in enumerate(self.rows)}

    def __getitem__(self, name: str) -> Node | Module:
        """The node or module of that qualified name.

        Raises:
            KeyError: if there is none.
        """
        return self.rows[self.index[name]].item

    def children(self, path: str = "") -> list[str]:
        """Names of what is directly inside the module at ``path``; the top for ``""``."""
        position = self.index[path] + 1 if path else 0
        end = self.rows[position - 1].end if path else len(self.rows)
        names = []
        while position < end:
            names.append(self.rows[position].name)
            position = self.rows[position].end
        return names

    def ancestors(self, name: str) -> list[str]:
        """Paths of the modules that contain ``name``, the outermost first."""
        return _ancestors(self._parent(name), self._module_paths)

    @functools.cached_property
    def _module_paths(self) -> frozenset[str]:
        return frozenset(module.path for module in self.modules)

    def label(self, name: str) -> str:
        """The name of a node or module inside the module that it is shown in."""
        outer = self.ancestors(name)
        return name[len(outer[-1]) + 1 :] if outer and name.startswith(outer[-1] + ".") else name

    def _parent(self, name: str) -> str:
        item = self[name]
        return item.path.rpartition(".")[0] if isinstance(item, Module) else item.parent

    def to_json(self) -> str:
        """Write the graph as a JSON document."""
        return json.dumps({"format": _FORMAT, **dataclasses.asdict(self)})

    @classmethod
    def from_json(cls, document: str) -> ModelGraph:
        """Read what :meth:`to_json` wrote.

        Raises:
            ValueError: if the document is none of ours.
        """
        data = json.loads(document)
        if not isinstance(data, dict) or data.pop("format", None) != _FORMAT:
            raise ValueError(f"not a model graph in format {_FORMAT}, as to_json() writes it")
        data["nodes"] = tuple(_from_dict(Node, node) for node in data["nodes"])
        data["modules"] = tuple(_from_dict(Module, module) for module in data["modules"])
        graph: ModelGraph = _from_dict(cls, data)
        return graph

    def to_dot(
        self, expanded: Collection[str] | None = None, selected: Collection[str] = ()
    ) -> graphviz.Digraph:
        """Draw the hierarchy as DOT: see :func:`fxexplore.views.diagram.to_dot`."""
        from fxexplore.views import to_dot

        return to_dot(self, expanded, selected)


def _from_dict(cls: type[Any], data: dict[str, Any]) -> Any:
    # JSON has lists where frozen data has tuples.
    fields = {k: tuple(v) if isinstance(v, list) else v for k, v in data.items()}
    if "parts" in fields:
        fields["parts"] = tuple(_from_dict(Part, part) for part in fields["parts"])
    return cls(**fields)


def _ancestors(path: str, modules: Collection[str]) -> list[str]:
    """The registered modules on the way down to ``path``, itself included."""
    parts = path.split(".")
    prefixes = (".".join(parts[:depth]) for depth in range(1, len(parts) + 1))
    return [prefix for prefix in prefixes if prefix in modules]


def _rows(nodes: tuple[Node, ...], modules: Mapping[str, Module]) -> Iterator[Row]:
    children: dict[str, list[Node | Module]] = {"": []}
    for node in nodes:
        parent = ""
        for path in _ancestors(node.parent, modules):
            if path not in children:
                children[path] = []
                children[parent].append(modules[path])
            parent = path
        children[parent].append(node)
    for path, module in modules.items():
        if not module.ran:
            # What never ran has no place in the order of execution: it stands last.
            parent = next(reversed(_ancestors(path.rpartition(".")[0], modules)), "")
            children.setdefault(parent, []).append(module)
            children[path] = []

    def walk(path: str, depth: int, start: int) -> Iterator[Row]:
        for item in children[path]:
            if isinstance(item, Module):
                inside = list(walk(item.path, depth + 1, start + 1))
                yield Row(item, depth, start + 1 + len(inside))
                yield from inside
                start += 1 + len(inside)
            else:
                yield Row(item, depth, start + 1)
                start += 1

    return walk("", 0, 0)
