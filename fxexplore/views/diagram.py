"""The hierarchy as a Graphviz picture: what is unfolded is a cluster, what is folded a box."""

from __future__ import annotations

import bisect
import html
import itertools
import re
import textwrap
from collections.abc import Collection, Iterator
from typing import get_args

import graphviz

from fxexplore.model_graph import ModelGraph, Module, Node

from .detail import Detail, hidden_nodes
from .drawing import OUTPUT, Direction, Drawing, Edges, Link
from .failures import RAISED, error_in_words, failure_at
from .kinds import FILLS, GLYPHS
from .numbers import shape_text, short_count
from .siblings import folded_groups, repeated_siblings

OPENING_BOXES = 60

_MOST_LABELS = 400  # more of them, and room for labels costs Graphviz seconds
_INK, _QUIET, _TICKED, _RED = "#1f2328", "#596070", "#0b63c9", "#b42318"
_ROOM, _LINES = 52, 6  # characters of an error in a line of a box, and lines
_TEXT = {"fontname": "sans-serif", "fontsize": "11", "fontcolor": _INK}
_GRAPH = _TEXT | {
    "bgcolor": "white", "nodesep": "0.2", "ranksep": "0.24", "pad": "0.1",
    "labeljust": "l", "style": "dashed,rounded", "color": "#9aa0ad",
}  # fmt: skip
_BOX = _TEXT | {
    "shape": "box", "style": "filled,rounded", "color": "#667085", "height": "0.3",
    "margin": "0.13,0.05", "penwidth": "0.8",
}  # fmt: skip
_CLUSTER = {"bgcolor": "transparent", "margin": "9"}
_EDGE = _TEXT | {
    "color": "#667085", "arrowsize": "0.55", "penwidth": "0.8", "fontsize": "9",
    "fontcolor": _QUIET, "labeldistance": "4.2", "labelangle": "-78",
}  # fmt: skip
# Fewer rounds of each optimisation; they only help together.
_QUICK = {"mclimit": "0.1", "nslimit": "0.5", "nslimit1": "0.5"}
_NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def opening_fold(
    graph: ModelGraph, limit: int = OPENING_BOXES, hidden: Collection[str] = ()
) -> list[str]:
    """Choose what to unfold so that the first picture says much in few boxes.

    Whole levels are unfolded while they fit; of the first level that does not, only the
    first module is, and so on into its depth. Of a graph of two models that is what is around
    the nodes that were added, removed or changed, if there are any.

    Args:
        graph: the model.
        limit: how many boxes the picture may hold.
        hidden: names of the nodes that have no box.

    Returns:
        Paths of the modules to unfold, parents before children.
    """
    differing = (
        row for row in graph.rows if row.item.changes[:1] and row.item.changes[0][0] in "+−≠"
    )
    around = [path for row in differing for path in graph.ancestors(row.name)]
    if around:
        return list(dict.fromkeys(around))

    hidden = set(hidden)

    def boxes_in(path: str) -> int:
        return sum(name not in hidden for name in graph.children(path))

    for group in repeated_siblings(graph):  # the first stand for all
        others = group.members(graph)[group.period :]
        hidden |= {graph.rows[row].name for row in others}
    boxes = boxes_in("")
    expanded: list[str] = []
    level = _modules_among(graph, graph.children(), hidden)
    while level:
        more = {path: boxes_in(path) - 1 for path in level}
        if boxes + sum(more.values()) <= limit:
            chosen = level
        else:
            chosen = [path for path in level[:1] if boxes + more[path] <= limit]
        boxes += sum(more[path] for path in chosen)
        expanded += chosen
        inside = itertools.chain.from_iterable(graph.children(path) for path in chosen)
        level = _modules_among(graph, inside, hidden)
    return expanded


def _modules_among(
    graph: ModelGraph, names: Collection[str] | Iterator[str], hidden: Collection[str]
) -> list[str]:
    rows = [(graph.index[name], name) for name in names if name not in hidden]
    return [name for row, name in rows if graph.rows[row].end > row + 1]


def to_dot(
    graph: ModelGraph,
    expanded: Collection[str] | None = None,
    selected: Collection[str] = (),
    *,
    edges: Edges = "auto",
    direction: Direction = "down",
    detail: Detail = "operations",
    open_groups: Collection[str] = (),
) -> graphviz.Digraph:
    """Draw a model as DOT.

    Every box and cluster has the id ``row<i>`` of its row in ``graph.rows``, and a class
    that starts with ``fx-`` and says its kind; every edge the id ``edge<tail>-<head>``.
    Operations on sizes and modules that never ran are left out.

    Args:
        graph: the model to draw.
        expanded: paths of the modules that are unfolded; by default :func:`opening_fold`.
        selected: names of the nodes and modules that are ticked.
        edges: which of the edges that longer paths imply are drawn: ``"all"``, ``"fewest"``
            (none of them), or ``"auto"`` (in a dense picture those that stand alone).
        direction: ``"down"`` from the top down, ``"right"`` from left to right.
        detail: how much has a box, ``"modules"``, ``"operations"`` or ``"everything"``; what
            is ticked has one in any case.
        open_groups: names of the first of the siblings of one structure, and of the rounds of a
            loop, that are drawn one by one; others are drawn once, with how often they are there.

    Returns:
        A ``graphviz.Digraph``. Names of the model are escaped in it.

    Raises:
        ValueError: if ``edges``, ``direction`` or ``detail`` is none of those words.

    Example:
        >>> from torch import nn
        >>> from fxexplore import open_model
        >>> dot = to_dot(open_model(nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU())))
        >>> 'row1 -> row2' in dot.source
        True
    """
    for name, word, words in (("edges", edges, Edges), ("direction", direction, Direction)):
        if word not in get_args(words):
            known = ", ".join(map(repr, get_args(words)))
            raise ValueError(f"{name} is {word!r}; write one of {known}")
    hidden = hidden_nodes(graph, detail, selected)
    unfolded = opening_fold(graph, hidden=hidden) if expanded is None else expanded
    groups = folded_groups(graph, open_groups, selected, unfolded)
    return draw(Drawing.of(graph, unfolded, edges, hidden, groups), selected, direction=direction)


def draw(
    drawing: Drawing,
    selected: Collection[str] = (),
    *,
    direction: Direction = "down",
    quick: bool = False,
    straight: bool = False,
) -> graphviz.Digraph:
    """Write what a picture holds as DOT.

    Args:
        drawing: what it holds.
        selected: names of the nodes and modules that are ticked.
        direction: where it leads.
        quick: whether Graphviz shall rather be fast than draw as few crossings as it can.
        straight: whether edges are straight lines, which takes less time again.
    """
    limits = (_QUICK if quick else {}) | ({"splines": "line"} if straight else {})
    return _Draft(drawing, set(selected), limits, direction).dot()


class _Draft:
    def __init__(
        self, drawing: Drawing, selected: set[str], limits: dict[str, str], direction: Direction
    ) -> None:
        self._drawing = drawing
        self._graph = drawing.graph
        self._selected = selected
        self._ticks = sorted(drawing.graph.index[n] for n in selected if n in drawing.graph.index)
        self._limits = limits
        self._ahead = {"rankdir": "LR"} if direction == "right" else {}

    def dot(self) -> graphviz.Digraph:
        graph_attr = _GRAPH | self._limits | self._ahead
        dot = graphviz.Digraph(graph_attr=graph_attr, node_attr=_BOX, edge_attr=_EDGE)
        rows = sorted({*self._drawing.boxes, *self._drawing.clusters}, reverse=True)
        self._fill(dot, rows, len(self._graph.rows))
        if any(head == OUTPUT for _, head in self._drawing.links):
            style = {"fillcolor": FILLS["output"], "class": "fx-output"}
            dot.node("output", f"<{_glyph('output')}output>", id="output", **style)
        if not self._graph.backend:  # no edges are known yet: modules stand as they are registered
            for pair in itertools.pairwise(self._drawing.boxes):
                dot.edge(*map(_box, pair), style="invis")
        drawn = self._drawing.drawn
        # A label has a rank of its own; beside the arrow it may cross others but costs nothing.
        place = "label" if len(drawn) <= _MOST_LABELS and not self._limits else "headlabel"
        for (tail, head), link in drawn.items():
            text = _label_of(link)
            label = {place: graphviz.escape(f" {text}")} if text else {}
            if head != OUTPUT and tail >= head:  # it comes back, to be used in the next round
                label |= {"style": "dashed", "class": "fx-back"}
            dot.edge(_box(tail), _box(head), id=f"edge{tail}-{head}", **label)
        return dot

    def _fill(self, dot: graphviz.Digraph, rows: list[int], end: int) -> None:
        """Draw the rows before ``end``, which are taken off the list, the last one first."""
        while rows and rows[-1] < end:
            row = rows.pop()
            if row in self._drawing.clusters:
                cluster = self._cluster(row)
                self._fill(cluster, rows, self._graph.rows[row].end)
                dot.subgraph(cluster)
            else:
                self._draw_box(dot, row)

    def _cluster(self, row: int) -> graphviz.Digraph:
        module = self._graph.rows[row].item
        assert isinstance(module, Module)
        style = (
            {"class": "fx-unfolded"} | self._fate(module, "fx-unfolded") | self._ticked(module.path)
        )
        label = f"<{self._text(row, self._counted(row, module.cls))}>"
        attributes = _CLUSTER | {"label": label, "id": _box(row)}
        return graphviz.Digraph(f"cluster_{_box(row)}", graph_attr=attributes | style)

    def _draw_box(self, dot: graphviz.Digraph, row: int) -> None:
        item, name = self._graph.rows[row].item, self._graph.rows[row].name
        kind = self._drawing.kind(row)
        if isinstance(item, Module):
            count = item.parameters * self._drawing.siblings(row)
            facts = self._counted(row, item.cls) + (f" · {short_count(count)}" if count else "")
        else:  # other labels say what they are
            facts = self._counted(row, item.target if item.kind == "module" else "")
        style = {"fillcolor": FILLS[kind], "class": f"fx-{kind}"}
        style |= self._fate(item, f"fx-{kind}") | self._ticked(name)
        label = f"<{_glyph(kind)}{self._text(row, facts)}{self._failure(item)}>"
        dot.node(_box(row), label, id=_box(row), **style)

    def _text(self, row: int, facts: str) -> str:
        """A label in HTML: the name, and what stands quietly behind it."""
        mark = "✓ " if self._graph.rows[row].name in self._selected else ""
        if not mark and row not in self._drawing.clusters:
            inside = bisect.bisect_left(self._ticks, self._graph.rows[row].end)
            count = inside - bisect.bisect_left(self._ticks, row)
            mark = f"✓ {count} inside · " if count else ""
        quiet = f'  <font color="{_QUIET}">{_escaped(facts)}</font>' if facts else ""
        return f"{mark}{_escaped(self._drawing.label(row)).strip() or '·'}{quiet}"

    def _counted(self, row: int, cls: str) -> str:
        """A class, and how often it is there."""
        if self._drawing.siblings(row) > 1:
            return f"{self._drawing.siblings(row)} × {cls}"
        item, group = self._graph.rows[row].item, self._drawing.stands_for.get(row)
        calls = group.count if group else item.calls if isinstance(item, Module) else 1
        return " ".join(filter(None, [cls, f"× {calls}" if calls > 1 else ""]))

    def _fate(self, item: Node | Module, cls: str) -> dict[str, str]:
        """How a box or cluster differs because the model raised here, or before."""
        failure = failure_at(self._graph, item)
        if failure == RAISED or (failure and cls != "fx-unfolded"):
            return {"class": f"{cls} fx-failed", "color": _RED, "penwidth": "2.4"}
        if not item.reached:
            style = {"class": f"{cls} fx-unreached", "fontcolor": _QUIET, "fillcolor": "#f6f7f9"}
            return style if cls == "fx-unfolded" else style | {"style": "filled,rounded,dashed"}
        return {}

    def _failure(self, item: Node | Module) -> str:
        """What the model raised here or inside, below the name."""
        if not failure_at(self._graph, item):
            return ""
        lines = textwrap.wrap(error_in_words(self._graph), _ROOM, max_lines=_LINES)
        return "".join(f'<br/><font color="{_RED}">{_escaped(line)}</font>' for line in lines)

    def _ticked(self, name: str) -> dict[str, str]:
        return {"penwidth": "2.4", "color": _TICKED} if name in self._selected else {}


def _glyph(kind: str) -> str:
    return f'<font color="{_QUIET}">{GLYPHS[kind]} </font>'


def _box(row: int) -> str:
    return "output" if row == OUTPUT else f"row{row}"


def _label_of(link: Link) -> str:
    shape = shape_text(link.shape) if link.shape is not None and link.is_new else ""
    return " · ".join(filter(None, [shape, link.words]))


def _escaped(text: str) -> str:
    """Text for an HTML label; a blank of no width after a backslash, or Graphviz reads a code."""
    legal = _NOT_IN_XML.sub("\ufffd", text).replace("\n", "⏎")
    return html.escape(legal).replace("\\", "\\\u200b")
