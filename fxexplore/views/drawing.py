"""What a picture of a model holds: boxes, clusters, and the edges between them.

A dense model has many edges that longer paths imply, such as those from every layer of a dense
block to every later one. Graphviz needs minutes for them and the eye can't follow them, so a
dense picture leaves them out; :attr:`Drawing.left_out` still knows them.
"""

from __future__ import annotations

import bisect
import dataclasses
import functools
import itertools
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Literal

from fxexplore.model_graph import ModelGraph, Module, Node

from .kinds import kind_of
from .siblings import SiblingGroup

OUTPUT = -1
"""Stands for the box of the model's outputs, which is no row."""

Pair = tuple[int, int]
_Shape = tuple[int, ...] | None

# Edges that longer paths imply are drawn while they pass by no more boxes than this in all.
_BYPASSED = 60
_NEARLY = 0.9


Edges = Literal["all", "auto", "fewest"]
"""Which of the edges that longer paths imply are drawn: every one; all in a sparse picture, in a
dense one those that stand alone, as around a residual; or none: the transitive reduction."""

Direction = Literal["down", "right"]
"""Where a picture leads: from the top down, or from left to right."""


@dataclasses.dataclass(frozen=True)
class Link:
    """The edges between two boxes.

    Attributes:
        count: how many there are.
        tensors: how many tensors flow, each of which may be used more than once.
        shape: of the tensor that flows, where it is known and one.
        is_new: whether the box that it leaves made the shape, rather than passed it on.
    """

    count: int
    shape: tuple[int, ...] | None
    is_new: bool = False
    tensors: int = 1

    @property
    def words(self) -> str:
        """What there is more than one of: tensors, or uses of one."""
        if self.tensors > 1:
            return f"{self.tensors} tensors"
        times = {1: "", 2: "used twice"}
        return times.get(self.count, f"used {self.count} times")


@dataclasses.dataclass(frozen=True)
class Drawing:
    """The picture of one fold state, before it is laid out.

    Attributes:
        graph: the model.
        boxes: rows of what is drawn as a box, in order of execution.
        clusters: rows of the unfolded modules that have something to show.
        links: what flows between boxes, by the rows of tail and head.
        left_out: those of ``links`` that are not drawn.
        groups: the siblings and rounds of a loop that are drawn once.
    """

    graph: ModelGraph
    boxes: tuple[int, ...]
    clusters: frozenset[int]
    links: Mapping[Pair, Link]
    left_out: frozenset[Pair] = frozenset()
    groups: tuple[SiblingGroup, ...] = ()

    @classmethod
    def of(
        cls,
        graph: ModelGraph,
        expanded: Collection[str],
        edges: Edges = "auto",
        hidden: Collection[str] = (),
        groups: Collection[SiblingGroup] = (),
    ) -> Drawing:
        """Find out what is in the picture of a fold state.

        Args:
            graph: the model.
            expanded: paths of the modules that are unfolded.
            edges: which edges are drawn.
            hidden: names of the nodes that have no box: what flows in flows on.
            groups: the siblings and rounds of a loop of which the first stand for all.
        """
        first = list(range(len(graph.rows)))  # the row that stands for each row
        grouped = [False] * len(first)
        skips = {}  # where the second of a group starts, and where the group ends
        for group in sorted(groups, key=lambda group: -group.first):
            members = group.members(graph)
            skips[members[group.period]] = group.end
            grouped[group.first : group.end] = [True] * (group.end - group.first)
            for i, start in enumerate(members[group.period :]):
                like, size = members[i % group.period], graph.rows[start].end - start
                first[start : start + size] = first[like : like + size]
        boxes, clusters, stand_in = _visible(graph, set(expanded), hidden, skips)
        links = _links(graph, [stand_in[row] for row in first], first, grouped)
        drawing = cls(graph, tuple(boxes), frozenset(clusters), links, groups=tuple(groups))
        return drawing.with_edges(edges)

    def with_edges(self, edges: Edges) -> Drawing:
        """The same boxes with other edges."""
        return dataclasses.replace(self, left_out=frozenset(_left_out(self.links, edges)))

    @property
    def drawn(self) -> dict[Pair, Link]:
        """The links that are drawn."""
        return {pair: link for pair, link in self.links.items() if pair not in self.left_out}

    @functools.cached_property
    def stands_for(self) -> Mapping[int, SiblingGroup]:
        """The groups of which a row is among the first."""
        return {
            row: group for group in self.groups for row in group.members(self.graph)[: group.period]
        }

    def kind(self, row: int) -> str:
        """The kind of box that a row has, see :func:`.kinds.kind_of`."""
        item = self.graph.rows[row].item
        if isinstance(item, Module) and self.graph.rows[row].end == row + 1:
            return kind_of(Node(item.path, "module", item.cls))  # not run yet, so a leaf perhaps
        return kind_of(item)

    def siblings(self, row: int) -> int:
        """How many modules of one structure a row stands for."""
        group = self.stands_for.get(row)
        return 1 if group is None or group.is_loop else group.count

    def label(self, row: int) -> str:
        """The name of a row inside its module, or the first and the last of siblings."""
        label = self.graph.rows[row].label
        if self.siblings(row) == 1:
            return label
        last = self.stands_for[row].members(self.graph)[-1]
        return f"{label} … {self.graph.rows[last].label}"

    def crowded(self, most: int = 3) -> list[tuple[str, int]]:
        """The unfolded modules with most boxes, and how many those are.

        Modules that hold nearly the whole picture say little and come last.

        Args:
            most: how many modules to name.
        """
        rows = self.graph.rows
        counts = [
            (row, bisect.bisect_left(self.boxes, rows[row].end) - bisect.bisect(self.boxes, row))
            for row in sorted(self.clusters)
        ]
        whole = len(self.boxes)
        counts.sort(key=lambda pair: (pair[1] > _NEARLY * whole, -pair[1]))
        return [(rows[row].name, count) for row, count in counts[:most]]


def _visible(
    graph: ModelGraph, expanded: set[str], hidden: Collection[str], skips: Mapping[int, int]
) -> tuple[list[int], list[int], list[int]]:
    """Rows of boxes and clusters, and for each row the box that stands for it or -1."""
    rows = graph.rows
    flows = [
        row.item.kind != "size" if isinstance(row.item, Node) else row.item.ran is None
        for row in rows
    ]
    before = list(itertools.accumulate(flows, initial=0))  # tensors before each row
    shows = [row.name not in hidden and before[row.end] > before[i] for i, row in enumerate(rows)]
    shown = list(itertools.accumulate(shows, initial=0))
    boxes, clusters = [], []
    stand_in = [-1] * len(rows)
    position = 0
    while position < len(rows):
        row = rows[position]
        if position in skips:
            position = skips[position]  # the first of its kind stands for it
        elif not shows[position]:
            position = row.end  # it never ran, computes sizes only, or is hidden
        elif row.name in expanded and shown[row.end] > shown[position + 1]:
            clusters.append(position)
            position += 1
        else:
            boxes.append(position)
            stand_in[position : row.end] = [position] * (row.end - position)
            position = row.end
    return boxes, clusters, stand_in


def _links(
    graph: ModelGraph, stand_in: list[int], first: list[int], grouped: list[bool]
) -> dict[Pair, Link]:
    flows: defaultdict[Pair, dict[Pair, _Shape]] = defaultdict(dict)
    arriving: defaultdict[int, set[_Shape]] = defaultdict(set)
    for source, shape, reader in _flows(graph, stand_in):
        tail, head = stand_in[source], OUTPUT if reader == OUTPUT else stand_in[reader]
        pair = (source, reader)
        comes_back = False
        if reader != OUTPUT and grouped[source] and grouped[reader]:
            pair = first[source], first[reader]  # what each round does counts once
            comes_back = pair[1] != reader and pair[0] >= pair[1]
        if tail != head or comes_back:  # what comes back into a box in the next round is drawn
            flows[tail, head][pair] = shape
            arriving[head].add(shape)
    links: dict[Pair, Link] = {}
    for (tail, head), flowing in flows.items():
        found = set(flowing.values())
        shape = found.pop() if len(found) == 1 else None
        is_new = shape is not None and shape not in arriving[tail]
        arriving[tail].add(shape)  # the first edge alone says it
        tensors = len({source for source, _ in flowing})
        links[tail, head] = Link(len(flowing), shape, is_new, tensors)
    return links


def _flows(graph: ModelGraph, stand_in: list[int]) -> Iterator[tuple[int, _Shape, int]]:
    """Each tensor that flows: the row that makes it, its shape, and the row that reads it."""
    sent: dict[str, dict[str, tuple[int, _Shape]]] = {}  # by node: what it makes, or passes on
    for node in graph.nodes:
        if node.kind == "size":
            continue
        row = graph.index[node.name]
        read = [sent[source] for source in node.inputs if source in sent]
        if stand_in[row] < 0:
            sent[node.name] = {
                name: (source, node.shape) for found in read for name, (source, _) in found.items()
            }
            continue
        sent[node.name] = {node.name: (row, node.shape)}
        yield from ((source, shape, row) for found in read for source, shape in found.values())
    for name in graph.outputs:
        yield from ((source, shape, OUTPUT) for source, shape in sent.get(name, {}).values())


def _left_out(links: Mapping[Pair, Link], edges: Edges) -> Iterable[Pair]:
    if edges == "all":
        return ()
    implied = implied_edges(links)
    if edges == "fewest":
        return implied
    rank = _ranks(links)
    boxes = len(rank)
    if sum(rank[head] - rank[tail] - 1 for tail, head in implied) <= _BYPASSED + boxes:
        return ()
    out = Counter(tail for tail, _ in implied)
    into = Counter(head for _, head in implied)
    return [(tail, head) for tail, head in implied if out[tail] > 1 or into[head] > 1]


def implied_edges(pairs: Iterable[Pair]) -> list[Pair]:
    """The edges whose ends are joined by a longer path as well.

    Sets of reachable boxes are the bits of whole numbers. Edges against the order of
    execution, as a module makes that is called twice, are never among them.

    Args:
        pairs: tails and heads, as rows.

    Example:
        >>> implied_edges([(0, 1), (1, 2), (0, 2)])
        [(0, 2)]
    """
    after = _forward(pairs)
    ends = sorted({end for tail, heads in after.items() for end in (tail, *heads)}, key=_order)
    bit = {end: 1 << i for i, end in enumerate(ends)}
    reached = dict.fromkeys(ends, 0)
    implied = []
    for tail in reversed(ends):
        for head in sorted(after.get(tail, ()), key=_order):
            if reached[tail] & bit[head]:
                implied.append((tail, head))
            reached[tail] |= reached[head] | bit[head]
    return implied


def _ranks(pairs: Iterable[Pair]) -> dict[int, int]:
    """The length of the longest path that leads to each box."""
    after = _forward(pairs)
    ranks: defaultdict[int, int] = defaultdict(int)
    for tail in sorted(after, key=_order):
        for head in after[tail]:
            ranks[head] = max(ranks[head], ranks[tail] + 1)
    return ranks


def _forward(pairs: Iterable[Pair]) -> dict[int, list[int]]:
    after: defaultdict[int, list[int]] = defaultdict(list)
    for tail, head in pairs:
        if _order(tail) < _order(head):
            after[tail].append(head)
    return after


def _order(row: int) -> float:
    return float("inf") if row == OUTPUT else row
