"""Siblings with the same structure, which views fold into one row."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Hashable

from fxexplore.model_graph import ModelGraph, Module, Node, Row

# Folding a pair would save one line and cost a click; three and more are a pattern.
FEWEST = 3


@dataclasses.dataclass(frozen=True)
class SiblingGroup:
    """A group of siblings that stand one after the other and have the same structure.

    Attributes:
        first: index of the first sibling's row in ``graph.rows``.
        count: how many siblings there are.
        end: index of the row after everything that they contain.
    """

    first: int
    count: int
    end: int


def repeated_siblings(graph: ModelGraph) -> tuple[SiblingGroup, ...]:
    """Find the siblings that repeat the same structure one after the other, in linear time.

    Two modules have the same structure if class, arguments, parameters (and how many are
    frozen), output shape and calls are the same, and all of this also holds for what they
    contain, name by name. Operations never count by themselves: two ``add`` in a row
    say more as two rows.

    Returns:
        Groups of at least three siblings, in order of their first rows.

    Example:
        >>> from torch import nn
        >>> from fxexplore import open_model
        >>> repeated_siblings(open_model(nn.Sequential(*[nn.Linear(4, 4) for _ in range(12)])))
        (SiblingGroup(first=1, count=12, end=13),)
    """
    rows = graph.rows
    insides = [_positions(graph, row.name) for row in rows]
    structures = _structures(rows, insides)
    found = []
    for inside in (_positions(graph, ""), *insides):
        for _, equal in itertools.groupby(inside, key=structures.__getitem__):
            members = list(equal)
            item = rows[members[0]].item
            may_fold = isinstance(item, Module) or item.kind == "module"
            if may_fold and len(members) >= FEWEST:
                found.append(SiblingGroup(members[0], len(members), rows[members[-1]].end))
    return tuple(sorted(found, key=lambda group: group.first))


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
    common = (
        item.detail, item.parameters, item.frozen, item.shape, item.calls, item.changes,
    )  # fmt: skip
    if isinstance(item, Module):
        return ("Module", item.cls, item.ran, *common)
    return (item.kind, item.target, item.call, *common)
