"""Siblings with the same structure and the rounds of a loop, which views fold into one."""

from __future__ import annotations

import bisect
import dataclasses
import re
from collections.abc import Collection, Hashable, Iterator

from fxexplore.model_graph import ModelGraph, Module, Node, Row

# Folding a pair would save one line and cost a click; three and more are a pattern.
FEWEST = 3
_TRIES = 4  # lengths of a round that are tried at each place


@dataclasses.dataclass(frozen=True)
class SiblingGroup:
    """A group of siblings that stand one after the other and have the same structure.

    Attributes:
        first: index of the first sibling's row in ``graph.rows``.
        count: how often the structure is there.
        end: index of the row after everything that they contain.
        period: how many siblings make the structure: more than one in a loop that calls
            several modules and operations in each round.
        is_loop: whether they are calls of the same modules, rather than several modules.
    """

    first: int
    count: int
    end: int
    period: int = 1
    is_loop: bool = False

    def members(self, graph: ModelGraph) -> list[int]:
        """The rows of the siblings."""
        found = [self.first]
        while len(found) < self.count * self.period:
            found.append(graph.rows[found[-1]].end)
        return found


def repeated_siblings(graph: ModelGraph) -> tuple[SiblingGroup, ...]:
    """Find what repeats the same structure one after the other, in linear time.

    Two modules have the same structure if class, arguments, parameters (and how many are
    frozen), output shape and calls are the same, and all of this also holds for what they
    contain, name by name. Operations never count by themselves: two ``add`` in a row
    say more as two rows. But where a module is called again and again, the same calls and
    operations from the same lines of code, round after round, are a loop.

    Returns:
        Groups of at least three, in order of their first rows.

    Example:
        >>> from torch import nn
        >>> from fxexplore import open_model
        >>> repeated_siblings(open_model(nn.Sequential(*[nn.Linear(4, 4) for _ in range(12)])))
        (SiblingGroup(first=1, count=12, end=13, period=1, is_loop=False),)
    """
    kept: dict[str, tuple[SiblingGroup, ...]] = vars(graph)  # as its rows are
    if "repeated_siblings" not in kept:
        kept["repeated_siblings"] = _repeated(graph)
    return kept["repeated_siblings"]


def _repeated(graph: ModelGraph) -> tuple[SiblingGroup, ...]:
    rows = graph.rows
    insides = [*(_positions(graph, row.name) for row in rows), _positions(graph, "")]
    structures = _structures(rows, insides)
    found: list[SiblingGroup] = []
    containers: set[int] = set()  # whose modules are called in turn by the module around
    # What is inside comes before what contains it; the model itself is the last.
    for place in (*range(len(rows) - 1, -1, -1), len(rows)):
        inside = insides[place]
        items = [rows[position].item for position in inside]
        around = [rows[place].item] if place < len(rows) else []
        calls = max((item.calls for item in (*items, *around)), default=0)
        if calls >= FEWEST or not containers.isdisjoint(inside):
            tokens = [_token(item, structures[i]) for item, i in zip(items, inside, strict=True)]
        else:
            tokens = [structures[position] for position in inside]
        for start, period, count in _rounds(tokens):
            is_loop = any(isinstance(token, tuple) for token in tokens[start : start + period])
            if is_loop or (period == 1 and _is_module(items[start])):
                end = rows[inside[start + count * period - 1]].end
                found.append(SiblingGroup(inside[start], count, end, period, is_loop))
                if not is_loop and around and not around[0].calls:
                    containers.add(place)
    return tuple(sorted(found, key=lambda group: group.first))


def group_words(graph: ModelGraph, group: SiblingGroup, hidden: Collection[str] = ()) -> str:
    """What a group is, in words: how often what is there.

    Args:
        graph: the model.
        group: the group.
        hidden: names of the nodes that are not shown.
    """
    if group.period == 1:
        rest = "one loop" if group.is_loop else "same structure"
        return f"{group.count} × {graph.rows[group.first].item.description}, {rest}"
    names = [
        graph.rows[row].label
        for row in group.members(graph)[: group.period]
        if graph.rows[row].name not in hidden
    ]
    return f"{group.count} × {', '.join(names[:FEWEST])}{' …' * (len(names) > FEWEST)}, one loop"


def folded_groups(
    graph: ModelGraph,
    open_groups: Collection[str] = (),
    keep: Collection[str] = (),
    expanded: Collection[str] = (),
) -> list[SiblingGroup]:
    """The groups that a picture draws once.

    Args:
        graph: the model.
        open_groups: names of the first siblings of those that are drawn one by one.
        keep: names that are shown in any case, such as those that are ticked: a group with one
            of them is drawn one by one, too.
        expanded: paths of unfolded modules: likewise, unless they are the first of their group.
    """
    known, error = graph.index, graph.error
    names = [*keep, *([error.name] if error is not None else [])]
    kept, unfolded = (sorted(known[n] for n in each if n in known) for each in (names, expanded))

    def is_kept(group: SiblingGroup) -> bool:
        others = group.members(graph)[group.period]
        return any(
            bisect.bisect_left(rows, start) < bisect.bisect_left(rows, group.end)
            for rows, start in ((kept, group.first), (unfolded, others))
        )

    return [
        group
        for group in repeated_siblings(graph)
        if graph.rows[group.first].name not in open_groups and not is_kept(group)
    ]


def _is_module(item: Node | Module) -> bool:
    return isinstance(item, Module) or item.kind == "module"


def _rounds(tokens: list[Hashable]) -> Iterator[tuple[int, int, int]]:
    """Where the same tokens come round after round: starts, lengths of a round, and how many."""
    last: dict[Hashable, int] = {}
    again = [len(tokens)] * len(tokens)  # where each token comes next
    for i in range(len(tokens) - 1, -1, -1):
        again[i] = last.get(tokens[i], len(tokens))
        last[tokens[i]] = i
    start = 0
    while start < len(tokens):
        other = again[start]
        for _ in range(_TRIES):
            if other >= len(tokens):
                break
            end, period = other, other - start
            if period > 1 and not isinstance(tokens[start], tuple):
                break
            while end < len(tokens) and tokens[end] == tokens[end - period]:
                end += 1
            count = (end - start) // period
            if count >= FEWEST:
                yield start, period, count
                start += count * period - 1
                break
            other = again[other]
        start += 1


def _token(item: Node | Module, structure: int) -> Hashable:
    """What comes again in each round of a loop: the same module, or operation in the code."""
    if isinstance(item, Module) or (item.kind == "module" and item.calls == 1):
        return structure
    path = item.target
    if item.kind == "module":
        path = re.sub(r"_\d+$", "", item.name) if item.call > 1 else item.name
    return (item.kind, path, item.detail, item.shape, item.source, item.reached, item.changes)


def _positions(graph: ModelGraph, path: str) -> list[int]:
    """The rows directly inside a module."""
    return [graph.index[name] for name in graph.children(path)]


def _structures(rows: tuple[Row, ...], insides: list[list[int]]) -> list[int]:
    """A number for each row; the same numbers are the same structures."""
    numbers: dict[Hashable, int] = {}
    structures = [0] * len(rows)
    for i in range(len(rows) - 1, -1, -1):  # what is inside comes before what contains it
        inside = tuple((rows[child].label, structures[child]) for child in insides[i])
        key = (*_facts(rows[i].item), inside)
        structures[i] = numbers.setdefault(key, len(numbers))
    return structures


def _facts(item: Node | Module) -> tuple[Hashable, ...]:
    numbers = (item.parameters, item.frozen, item.shape, item.calls)
    common = (item.detail, item.reached, item.changes, *numbers)
    if isinstance(item, Module):
        return ("Module", item.cls, item.ran, *common)
    return (item.kind, item.target, item.call, *common)
