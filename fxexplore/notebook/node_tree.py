"""The tree of node names as a widget of its own."""

from __future__ import annotations

import itertools
import math
from array import array
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import anywidget
import traitlets

from fxexplore.model_graph import ModelGraph, Module, Node, Row
from fxexplore.views import (
    RAISED,
    SiblingGroup,
    detail_of,
    failure_at,
    hidden_nodes,
    marks,
    opening_fold,
    repeated_siblings,
    shape_text,
)

from .assets import asset
from .graph_view import GraphWidget

_COLUMNS = ("output", "parameters", "flops")
_MOST_NAMES = 100  # of unfolded modules that travel by name
_FLAGS = {
    "tickable": 1, "module": 2, "operation": 4, "size": 8, "never ran": 16, "at least": 32,
    "raised": 64, "operations": 128, "everything": 256,
}  # fmt: skip


def _pack_texts(texts: Sequence[str], _: Any) -> dict[str, Any]:
    """Texts as the wire has them: each once, and which of them stands in each row."""
    places = {text: i for i, text in enumerate(dict.fromkeys(texts))}
    return {"words": list(places), "of": _int32(places[text] for text in texts)}


def _pack_subset(names: Collection[str], ordered: Sequence[str]) -> list[Any]:
    """Some of the ordered names as the wire has them.

    Few travel by name. Many travel as places in the order: where a stretch of names starts,
    where it ends, where the next one starts, ... Unfolding all of 20,000 modules is two numbers.
    """
    if len(names) <= _MOST_NAMES:
        return list(names)
    chosen = set(names)
    is_in = [False, *(name in chosen for name in ordered), False]
    return [i for i in range(len(ordered) + 1) if is_in[i] != is_in[i + 1]]


def _unpack_subset(value: list[Any], ordered: Sequence[str]) -> list[str]:
    if not value or isinstance(value[0], str):
        return value
    return [name for i in range(0, len(value), 2) for name in ordered[value[i] : value[i + 1]]]


def _texts(**tags: Any) -> Any:
    # Without a trait for the elements: to check 100,000 would take longer than to make them.
    return traitlets.List().tag(sync=True, to_json=_pack_texts, **tags)


class NodeTree(GraphWidget, anywidget.AnyWidget):
    """A collapsible tree of qualified names with ticks.

    The rows are described once; ticking, folding and searching change one trait each. A graph
    that is set later, such as the same one with more facts, sends the columns that differ.

    Args:
        graph: the model to show.
        **traits: initial values of traits.

    Example:
        >>> from torch import nn
        >>> from fxexplore import open_model
        >>> tree = NodeTree(open_model(nn.Sequential(nn.Linear(4, 2), nn.ReLU())))
        >>> tree.labels
        ['input', '0', '1']
        >>> tree.selected = ["1"]
    """

    _esm = asset(
        "node_tree_rows.js",
        "node_tree_search.js",
        "node_tree_state.js",
        "node_tree_parts.js",
        "node_tree.js",
    )
    _css = asset("node_tree.css")

    expanded: traitlets.List[Any] = traitlets.List().tag(
        sync=True,
        to_json=lambda names, tree: _pack_subset(names, tree._modules),
        from_json=lambda value, tree: _unpack_subset(value, tree._modules),
    )
    """Paths of the modules that are unfolded."""

    open_groups: traitlets.List[Any] = traitlets.List().tag(
        sync=True,
        to_json=lambda names, tree: _pack_subset(names, tree._group_names),
        from_json=lambda value, tree: _unpack_subset(value, tree._group_names),
    )
    """The groups of siblings and of rounds of a loop that are open, by the names of their first
    rows."""

    columns = traitlets.List(traitlets.Enum(_COLUMNS), list(_COLUMNS)).tag(sync=True)
    """The columns beside the names that are shown, where there is room."""

    ticks = traitlets.Bool(True).tag(sync=True)
    """Whether rows have boxes to tick."""

    sort = traitlets.Enum(("execution", "parameters", "flops"), "execution").tag(sync=True)
    """The order of siblings: that of execution, or most parameters or FLOPs first."""

    labels = _texts()
    """What stands in each row, in order of execution: the name inside its module."""

    names = traitlets.Dict().tag(sync=True)
    """Names that are not the name of the module around, a dot and the label, by row."""

    classes = _texts()
    """The class of each row's module, or the name of its operation."""

    notes = _texts()
    """The class with its arguments, or where the operation is in the code."""

    shapes = _texts()
    """The shape of each row's output; ``""`` where it is not known."""

    marks = _texts()
    """What is special about each row: lines of short words, a colon, and what they mean."""

    depth = traitlets.Bytes().tag(sync=True)
    """How many modules each row is in (int32)."""

    flags = traitlets.Bytes().tag(sync=True)
    """Sums of 1 for a row that can be ticked, 2 for a module, 4 for an operation, 8 for an
    operation on sizes, 16 for what never ran, 32 for more FLOPs than are counted, 64 for where the
    model raised, 128 for what is hidden among modules, 256 for what is shown in everything only
    (int32)."""

    groups = traitlets.Bytes().tag(sync=True)
    """Of each group of siblings with the same structure the first row, how many rows it is, and
    how many of them are one round of a loop; -1 for one that is none (int32)."""

    parameters = traitlets.Bytes().tag(sync=True)
    """The number of parameters of each row (float64)."""

    flops = traitlets.Bytes().tag(sync=True)
    """The floating point operations of each row; NaN where unknown (float64)."""

    whole = traitlets.Dict().tag(sync=True)
    """The parameters and the FLOPs of the model, as far as they are known."""

    def __init__(self, graph: ModelGraph, **traits: Any) -> None:
        self._graph = graph
        hidden = hidden_nodes(graph, traits.get("detail", "operations"))
        traits.setdefault("expanded", opening_fold(graph, hidden=hidden))
        super().__init__(graph, **self._describe(traits.get("only", [])), **traits)
        self.observe(lambda _: self._show_marks(), ["only", "values"])

    def _show_marks(self) -> None:
        self.marks = _marks(self._graph, self.only, self.values)

    def _show_graph(self) -> None:
        before = (self._modules, self._group_names)
        for trait, value in self._describe(self.only).items():
            self.set_trait(trait, value)
        known = set(self._group_names)
        self.open_groups = [name for name in self.open_groups if name in known]
        if before != (self._modules, self._group_names):
            # What travels as places has other places now.
            self.send_state(["expanded", "open_groups"])

    def _describe(self, only: Collection[str]) -> dict[str, Any]:
        rows = self._graph.rows
        items = [row.item for row in rows]
        found = repeated_siblings(self._graph)
        self._modules = [row.name for row in rows if isinstance(row.item, Module)]
        self._group_names = [rows[group.first].name for group in found]
        return {
            "labels": [row.label for row in rows],
            "names": _other_names(rows),
            "classes": [item.cls for item in items],
            "notes": [item.description for item in items],
            "shapes": ["" if item.shape is None else shape_text(item.shape) for item in items],
            "marks": _marks(self._graph, only, self.values),
            "depth": _int32(row.depth for row in rows),
            "flags": _int32(_flags(self._graph, item) for item in items),
            "groups": _int32(itertools.chain.from_iterable(map(_packed, found))),
            "parameters": _float64(item.parameters for item in items),
            "flops": _float64(math.nan if item.flops is None else item.flops for item in items),
            "whole": {"parameters": self._graph.parameters, "flops": self._graph.flops or 0},
        }


def _packed(group: SiblingGroup) -> tuple[int, int, int]:
    return group.first, group.count * group.period, group.period if group.is_loop else -1


def _marks(
    graph: ModelGraph, only: Collection[str], values: Mapping[str, Sequence[str]]
) -> list[str]:
    here = set(only)
    found = (
        marks(
            row.item,
            only_in=graph.mode if row.name in here else "",
            graph=graph,
            value=values.get(row.name, ("", "")),
        )
        for row in graph.rows
    )
    return [
        "\n".join(f"{_word(words)}: {' '.join(why.split())}" for words, why in one.items())
        for one in found
    ]


def _word(text: str) -> str:
    """Words in one line without the colon that ends them."""
    return " ".join(text.replace(":", "∶").split())


def _other_names(rows: Sequence[Row]) -> dict[str, str]:
    """The names that are not the name of the module around, a dot and the label, by row."""
    names = {}
    outer: list[str] = []
    for i, row in enumerate(rows):
        del outer[row.depth :]
        if row.name != ".".join([*outer[-1:], row.label]):
            names[str(i)] = row.name
        outer.append(row.name)
    return names


def _int32(numbers: Iterable[int]) -> bytes:
    return array("i", numbers).tobytes()


def _float64(numbers: Iterable[float]) -> bytes:
    return array("d", numbers).tobytes()


def _flags(graph: ModelGraph, item: Node | Module) -> int:
    if isinstance(item, Node):
        flags = _FLAGS.get(item.kind, 0) if item.kind != "module" else 0
        flags |= _FLAGS.get(detail_of(graph, item), 0)
    else:
        flags = _FLAGS["module"] | _FLAGS["never ran"] * (item.ran is False)
    flags |= _FLAGS["never ran"] * (not item.reached)
    flags |= _FLAGS["raised"] * (failure_at(graph, item) == RAISED)
    flags |= _FLAGS["at least"] * item.flops_at_least
    return flags | _FLAGS["tickable"] * item.has_value
