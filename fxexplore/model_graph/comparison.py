"""Two models by the names of their nodes: what was added, removed, changed, and what moved."""

from __future__ import annotations

import dataclasses
import math
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any, ClassVar, Literal

from torch import fx, nn

from fxexplore.feature_extraction import model_and_tracer, nearest

from .distances import differing_buffers, distances
from .graph import ModelGraph
from .nodes import Facts, Module, Node, prefixes
from .opening import open_model

_NAMED = 3  # how many of the modules that moved most a summary names

Kind = Literal["added", "removed", "changed", "moved"]
"""How a node differs; ``"moved"`` if only its numbers do."""


@dataclasses.dataclass(frozen=True)
class Change:
    """How a node or module differs between two models.

    Attributes:
        name: its qualified name.
        kind: ``"added"``, ``"removed"``, ``"changed"``, or ``"moved"`` if only numbers differ.
        words: what differs, each as what it was → what it is.
        moved: how far its parameters moved: the norm of their difference relative to the norm
            of the first model's; None where there are none of the same names and shapes.
    """

    name: str
    kind: Kind
    words: tuple[str, ...] = ()
    moved: float | None = None

    @property
    def marks(self) -> tuple[str, ...]:
        """The same in short words, each behind a sign of its kind."""
        if self.kind in ("added", "removed"):
            return ({"added": "+ added", "removed": "− removed"}[self.kind],)
        sign = "Δ" if self.kind == "moved" else "≠"
        moved = [f"Δ {in_percent(self.moved)}"] if self.moved else []
        return (*(f"{sign} {words}" for words in self.words), *moved)


@dataclasses.dataclass(frozen=True, repr=False)
class Comparison:
    """How two models differ, by the names of their nodes and modules.

    It is what :func:`fxexplore.compare` returns: an iterable of :class:`Change`, false if
    nothing differs. In a notebook it shows one tree of both models with what differs marked.

    Attributes:
        first: the graph of the first model.
        second: the graph of the second.
        graph: the nodes and modules of both, with what differs in their ``changes``.
        changes: what differs, by name, in order of execution.
        moved: how far all parameters of the same names and shapes moved; None if there are
            none, or graphs were compared rather than models.

    Example:
        >>> comparison = compare(nn.Sequential(nn.Linear(4, 4)), nn.Sequential(nn.Linear(4, 8)))
        >>> [(change.name, change.words) for change in comparison]  # doctest: +ELLIPSIS
        [('0', ('out_features=4 → 8', 'output 1×4 → 1×8', '20 → 40 parameters'))]
        >>> comparison
        Comparison(Sequential → Sequential: 1 changed)
    """

    first: ModelGraph
    second: ModelGraph
    graph: ModelGraph
    changes: Mapping[str, Change]
    moved: float | None = None

    shown_as: ClassVar[dict[str, Callable[[Comparison], Any]]] = {}
    """How it is shown as a ``"bundle"``: ``fxexplore.notebook`` puts its function here."""

    def __iter__(self) -> Iterator[Change]:
        return iter(self.changes.values())

    def __len__(self) -> int:
        return len(self.changes)

    def __getitem__(self, name: str) -> Change:
        """What differs in the node or module of that name.

        Raises:
            KeyError: if nothing does, naming those that are like it.
        """
        if name not in self.changes:
            near = ", ".join(nearest(str(name), self.changes))
            raise KeyError(f"nothing differs in {name!r}{near and f'; did you mean: {near}?'}")
        return self.changes[name]

    def of_kind(self, kind: str) -> list[str]:
        """Names of what was ``"added"``, ``"removed"``, ``"changed"`` or ``"moved"``."""
        return [change.name for change in self if change.kind == kind]

    @property
    def added(self) -> list[str]:
        """Names of what only the second model has."""
        return self.of_kind("added")

    @property
    def removed(self) -> list[str]:
        """Names of what only the first model has."""
        return self.of_kind("removed")

    @property
    def changed(self) -> list[str]:
        """Names of what both have, and what differs in more than numbers."""
        return self.of_kind("changed")

    @property
    def summary(self) -> str:
        """What differs, in one line."""
        counts: Counter[str] = Counter(change.kind for change in self)
        kinds = ("added", "removed", "changed")
        found = [f"{counts[kind]:,} {kind}" for kind in kinds if counts[kind]]
        if self.moved is not None:
            top = [c for c in self if c.moved and "." not in c.name]
            top.sort(key=lambda change: -(change.moved or 0.0))
            most = ", ".join(f"{c.name} {in_percent(c.moved)}" for c in top[:_NAMED])
            found.append(
                f"parameters moved {in_percent(self.moved)}" + (f" (most: {most})" if most else "")
                if self.moved
                else "parameters of the same names and shapes are equal"
            )
        buffers = counts["moved"] and not self.moved
        found += [f"buffers of {counts['moved']:,} modules differ"] if buffers else []
        return ", ".join(found) or "no difference"

    def __repr__(self) -> str:
        return f"Comparison({self.first.model} → {self.second.model}: {self.summary})"

    def _repr_html_(self) -> str | None:
        return self.graph._repr_html_()

    def _repr_mimebundle_(self, **_: Any) -> Any:
        show = self.shown_as.get("bundle")
        return show(self) if show else None


def compare(
    first: nn.Module | fx.Graph | ModelGraph,
    second: nn.Module | fx.Graph | ModelGraph,
    example_inputs: Any = None,
    *,
    mode: Literal["eval", "train"] | None = None,
    backend: Literal["auto", "symbolic", "recorded"] = "auto",
) -> Comparison:
    """Find out what differs between two models, which are left as they are.

    What stands under the same name in both is compared: class, arguments, output, number of
    parameters, and what it reads. Of parameters and buffers of the same names and shapes the
    numbers are compared too, one at a time.

    Args:
        first: the model as it was: a model, its traced graph, or what :func:`open_model` gave.
        second: the model as it is.
        example_inputs: what both run on, as for :func:`open_model`.
        mode: the mode that both are opened in, as for :func:`open_model`.
        backend: how both are opened, as for :func:`open_model`.

    Returns:
        What differs. In a notebook it shows itself, as a tree of both.

    Raises:
        TypeError: if one of them is no model.
        torch.fx.proxy.TraceError: if one of them cannot be opened.

    Example:
        >>> import copy, torch
        >>> model = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
        >>> before = copy.deepcopy(model)
        >>> with torch.no_grad():
        ...     _ = model[0].weight.mul_(1.1)
        >>> model[1] = nn.GELU()
        >>> comparison = compare(before, model)
        >>> comparison.changed, comparison["1"].words
        (['1'], ('ReLU → GELU',))
        >>> 0.05 < comparison["0"].moved < 0.1
        True
    """

    def opened(model: nn.Module | fx.Graph | ModelGraph) -> ModelGraph:
        if isinstance(model, ModelGraph):
            return model
        return open_model(model, example_inputs, mode=mode, backend=backend, partial=True)

    graphs = opened(first), opened(second)
    if isinstance(first, ModelGraph) or isinstance(second, ModelGraph):
        return comparison_of(*graphs)
    a, b = model_and_tracer(first)[0], model_and_tracer(second)[0]
    return comparison_of(*graphs, distances(a, b), differing_buffers(a, b))


def comparison_of(
    first: ModelGraph,
    second: ModelGraph,
    moved: Mapping[str, float] | None = None,
    buffers: Mapping[str, list[str]] | None = None,
) -> Comparison:
    """Compare two graphs.

    Args:
        first: of the first model.
        second: of the second model.
        moved: how far parameters moved, as :func:`.distances.distances` tells.
        buffers: the names of the buffers that differ, by the path of their module.
    """
    moved, buffers = moved or {}, buffers or {}
    old = {row.name: row.item for row in first.rows}
    new = {row.name: row.item for row in second.rows}
    common = old.keys() & new.keys()
    has_rows = {
        row.name for graph in (first, second) for i, row in enumerate(graph.rows) if row.end > i + 1
    }
    changes: dict[str, Change] = {}
    items: dict[str, Node | Module] = {}
    for name in _merged(old, new):
        item = items[name] = new.get(name) or old[name]
        if name in has_rows and isinstance(item, Node):  # a module of nodes in one of them
            items[name] = Module(path=name, cls=item.cls, **_facts(item))
        if name not in common:
            changes[name] = Change(name, "added" if name in new else "removed")
            continue
        words = tuple(_differences(old[name], new[name], common))
        holds = item.target if isinstance(item, Node) and item.kind == "parameter" else name
        others = (", ".join(buffers[name]),) if name in buffers else ()
        if words or others or moved.get(holds):
            kind: Kind = "changed" if words else "moved"
            changes[name] = Change(name, kind, words or others, moved.get(holds))
    inside = Counter(
        path
        for change in changes.values()
        if change.kind != "moved"
        for path in list(prefixes(change.name))[1:]
    )
    marked = [
        dataclasses.replace(
            item,
            changes=(
                *(changes[name].marks if name in changes else ()),
                *([f"{inside[name]:,} inside"] if inside[name] else []),
            ),
        )
        for name, item in items.items()
    ]
    graph = dataclasses.replace(
        second,
        model=first.model if first.model == second.model else f"{first.model} → {second.model}",
        nodes=tuple(item for item in marked if isinstance(item, Node)),
        modules=tuple(item for item in marked if isinstance(item, Module)),
    )
    ordered = {row.name: changes[row.name] for row in graph.rows if row.name in changes}
    found = Comparison(first, second, graph, ordered, moved.get(""))
    compared = f"{_both(first, second)} · {found.summary}"
    return dataclasses.replace(found, graph=dataclasses.replace(graph, compared=compared))


def in_percent(share: float | None) -> str:
    """A relative distance as people read it.

    Example:
        >>> [in_percent(x) for x in (0.01234, 1.5, 0.0000012, math.inf, math.nan)]
        ['1.2 %', '150 %', '0.00012 %', 'from 0', 'NaN']
    """
    if share is None or math.isnan(share):
        return "NaN"
    if math.isinf(share):
        return "from 0"
    percent = 100 * share
    return f"{percent:.0f} %" if percent >= 10 else f"{percent:.2g} %"  # noqa: PLR2004


def _both(first: ModelGraph, second: ModelGraph) -> str:
    """Facts of both models, what is equal once."""
    facts = [
        (f"{g.parameters:,} parameters", f"{len(g.nodes):,} nodes", g.inputs, g.mode)
        for g in (first, second)
    ]
    pairs = zip(*facts, strict=True)
    return " · ".join(a if a == b else f"{a} → {b}" for a, b in pairs if a or b)


# --- what is aligned ------------------------------------------------------------------


def _merged(old: Iterable[str], new: Mapping[str, Any]) -> Iterator[str]:
    """The names of both in the second's order; what is gone stands behind what was before it."""
    gone: defaultdict[str, list[str]] = defaultdict(list)
    last = ""
    for name in old:
        if name in new:
            last = name
        else:
            gone[last].append(name)
    yield from gone[""]
    for name in new:
        yield name
        yield from gone[name]


def _facts(item: Node | Module) -> dict[str, Any]:
    return {field.name: getattr(item, field.name) for field in dataclasses.fields(Facts)}


def _differences(a: Node | Module, b: Node | Module, common: Collection[str]) -> Iterator[str]:
    if a.cls != b.cls:
        yield f"{a.cls} → {b.cls}"
    elif a.detail != b.detail:
        yield _in_arguments(a.detail, b.detail)
    if a.has_value != b.has_value:
        yield "ran → never ran" if a.has_value else "never ran → runs"
    if a.calls != b.calls:
        yield f"called {a.calls} → {b.calls} times"
    if isinstance(a, Node) and isinstance(
        b, Node
    ):  # the rest of a module follows from what is inside
        yield from _differing_facts(a, b, common)


def _differing_facts(a: Node, b: Node, common: Collection[str]) -> Iterator[str]:
    if a.shape is not None and b.shape is not None and a.shape != b.shape:
        yield f"output {_shape(a.shape)} → {_shape(b.shape)}"
    if a.dtype and b.dtype and a.dtype != b.dtype:
        yield f"{a.dtype} → {b.dtype}"
    if a.parameters != b.parameters:
        yield f"{a.parameters:,} → {b.parameters:,} parameters"
    elif a.frozen != b.frozen:
        yield "frozen → trained" if a.frozen > b.frozen else "trained → frozen"
    # What reads a node that was added or removed is told there.
    if a.inputs != b.inputs and all(name in common for name in (*a.inputs, *b.inputs)):
        yield f"reads {', '.join(a.inputs) or 'nothing'} → {', '.join(b.inputs) or 'nothing'}"


def _shape(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape)) or "scalar"


def _in_arguments(a: str, b: str) -> str:
    """The arguments that differ, what they were → what they are.

    Example:
        >>> _in_arguments("3, 64, kernel_size=(7, 7), bias=False", "3, 32, kernel_size=(7, 7)")
        '64 → 32, bias=False → nothing'
    """
    old, new = (re.split(r", (?![^(\[]*[)\]])", text) if text else [] for text in (a, b))
    size = max(len(old), len(new))
    pairs = zip(*(parts + [""] * (size - len(parts)) for parts in (old, new)), strict=True)
    return ", ".join(
        f"{was or 'nothing'} → {now.removeprefix(_key(was)) or 'nothing'}"
        for was, now in pairs
        if was != now
    )


def _key(argument: str) -> str:
    name, sign, _ = argument.partition("=")
    return name + sign if sign else ""
