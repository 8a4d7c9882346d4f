"""``ModelGraph``: the nodes of a model, how values flow between them, and their hierarchy."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, ClassVar

from fxexplore.feature_extraction import nearest

from .nodes import Failure, Module, Node, Part, Row, prefixes
from .queries import matching

_FORMAT = 1


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
        flops: floating point operations of one run, where a multiply-add counts 2, if known.
        flops_at_least: whether some operation is not in that sum, for want of a formula.
        frozen: how many of the parameters need no gradient.
        differing: names of a traced graph that mean another operation, or none, if the model is
            recorded: arithmetic on sizes has names in a trace alone, which shifts those after it.
        activation_bytes: bytes of what modules and operations give in one run, if known.
        error: where the model raised, if it did: what comes after that did not run.
        compared: of a graph of two models how they differ, in words; see
            :func:`fxexplore.compare`.

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
    flops_at_least: bool = False
    frozen: int = 0
    activation_bytes: int | None = None
    differing: tuple[str, ...] = ()
    error: Failure | None = None
    compared: str = ""

    shown_as: ClassVar[dict[str, Callable[[ModelGraph], str]]] = {}
    """How a graph is shown, as ``"text"`` and as ``"html"``.

    ``fxexplore.views`` puts its functions here when it is imported: views know graphs, and
    graphs know nothing of views.
    """

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
            KeyError: if there is none, naming those that are like it.
        """
        return self._row(name).item

    def _row(self, name: str) -> Row:
        if name not in self.index:
            near = ", ".join(nearest(str(name), self.index))
            raise KeyError(f"the graph has no {name!r}{near and f'; did you mean: {near}?'}")
        return self.rows[self.index[name]]

    def children(self, path: str = "") -> list[str]:
        """Names of what is directly inside the module at ``path``; the top for ``""``."""
        end = self._row(path).end if path else len(self.rows)
        position = self.index[path] + 1 if path else 0
        names = []
        while position < end:
            names.append(self.rows[position].name)
            position = self.rows[position].end
        return names

    def ancestors(self, name: str) -> list[str]:
        """Paths of the modules that contain ``name``, the outermost first."""
        item = self[name]
        parent = item.path.rpartition(".")[0] if isinstance(item, Module) else item.parent
        return _ancestors(parent, self._module_paths)

    @functools.cached_property
    def _module_paths(self) -> frozenset[str]:
        return frozenset(module.path for module in self.modules)

    def label(self, name: str) -> str:
        """The name of a node or module inside the module that it is shown in."""
        return self._row(name).label

    def which_call(self, name: str) -> str:
        """Which call a return node of that name gives, in words; ``""`` if there is but one.

        Args:
            name: qualified name of a node, which is one call; or of a module, which is the last,
                by whichever of its paths.

        Example:
            >>> from torch import nn
            >>> from fxexplore import open_model
            >>> inner = nn.Sequential(nn.Linear(2, 2))
            >>> graph = open_model(nn.Sequential(inner, inner))
            >>> [graph.which_call(name) for name in ("0", "1", "0.0", "0.0_1", "input")]
            ['last of 2 calls', 'last of 2 calls', 'call 1 of 2', 'call 2 of 2', '']
        """
        if name in self.index:
            return self[name].which_call
        calls = next((row.item.calls for row in self.rows if name in row.item.shared), 1)
        return f"last of {calls} calls" if calls > 1 else ""

    def find(self, query: str) -> list[str]:
        """Find nodes and modules in the query language of the explorer's tree.

        A query is terms with spaces between, all of which must hold; case does not matter.

        ==================== ==================================================================
        ``relu layer1``      words in the name or the class; one at least in the name that the
                             row itself has, so that ``layer1`` is not all that is inside it
        ``layer?.*.conv*``   names; ``*`` stands for anything, ``?`` for one character
        ``class:Conv2d``     modules of a class; ``*`` and ``?`` too
        ``op:add``           operations by what they compute; ``*`` and ``?`` too
        ``shape:56``         outputs with that size in their shape
        ``shape:64x56x56``   outputs with those sizes in a row; ``*`` for any size
        ``params>1M``        parameters, with ``>  >=  <  <=  =`` and k, M, G
        ``flops>=1G``        floating point operations, a multiply-add counted as 2
        ``top:params``       the ten nodes with most parameters, among those that all other
                             terms find; ``top:flops`` too
        ==================== ==================================================================

        Args:
            query: the query.

        Returns:
            Qualified names in order of execution, as ``return_nodes`` takes them: modules that
            never ran have no value and are not among them.

        Raises:
            ValueError: if a term cannot be read, saying what to write instead.

        Example:
            >>> import torchvision
            >>> from fxexplore import open_model
            >>> graph = open_model(torchvision.models.resnet18(weights=None))
            >>> graph.find("class:conv2d params>2M")
            ['layer4.0.conv2', 'layer4.1.conv1', 'layer4.1.conv2']
        """
        return [row.name for row in matching(self.rows, query) if row.item.has_value]

    def to_json(self) -> str:
        """Write the graph as a JSON document."""
        return json.dumps({"format": _FORMAT, **dataclasses.asdict(self)})

    @classmethod
    def from_json(cls, document: str) -> ModelGraph:
        """Read what :meth:`to_json` wrote.

        Raises:
            ValueError: if the document is none of ours.
        """
        try:
            data = json.loads(document)
            is_graph = data.pop("format") == _FORMAT and {"nodes", "modules"} <= data.keys()
        except (AttributeError, KeyError, TypeError, ValueError):
            is_graph = False
        if not is_graph:
            raise ValueError(f"not a model graph in format {_FORMAT}, as to_json() writes it")
        data["nodes"] = tuple(_from_dict(Node, node) for node in data["nodes"])
        data["modules"] = tuple(_from_dict(Module, module) for module in data["modules"])
        error = data.get("error")
        data["error"] = error and _from_dict(Failure, error)
        graph: ModelGraph = _from_dict(cls, data)
        return graph

    def __repr__(self) -> str:
        show = self.shown_as.get("text")
        return show(self) if show else f"<ModelGraph of {self.model}: {len(self.nodes):,} nodes>"

    def _repr_html_(self) -> str | None:
        show = self.shown_as.get("html")
        return show(self) if show else None


def _from_dict(cls: type[Any], data: dict[str, Any]) -> Any:
    # JSON has lists where frozen data has tuples.
    fields = {k: tuple(v) if isinstance(v, list) else v for k, v in data.items()}
    for name in fields.keys() & {"parts", "met"}:
        fields[name] = tuple(_from_dict(Part, part) for part in fields[name])
    return cls(**fields)


def _ancestors(path: str, modules: Collection[str]) -> list[str]:
    """The registered modules on the way down to ``path``, itself included."""
    return [prefix for prefix in reversed([*prefixes(path)]) if prefix in modules]


def _rows(nodes: tuple[Node, ...], modules: Mapping[str, Module]) -> Iterator[Row]:
    children: dict[str, list[Node | Module]] = {"": []}
    for node in nodes:
        parent, new = node.parent, []
        while parent and parent not in children:  # up to what has its place already
            new += [parent] if parent in modules else []
            parent = parent.rpartition(".")[0]
        for path in reversed(new):
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
            inside = []
            if isinstance(item, Module):
                inside = list(walk(item.path, depth + 1, start + 1))
            start += 1 + len(inside)
            yield Row(item, depth, start, _label(item, path))
            yield from inside

    return walk("", 0, 0)


def _label(item: Node | Module, path: str) -> str:
    """The name of an item inside the module at ``path``."""
    name = item.path if isinstance(item, Module) else item.name
    if isinstance(item, Node) and item.kind == "parameter":
        name = item.target  # its own name, without the path that torch.fx writes before it
    return name.removeprefix(f"{path}.") if path else name
