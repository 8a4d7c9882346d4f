"""The query language of :meth:`ModelGraph.find` and of the tree's search box.

The tree has it in JavaScript, in ``notebook/node_tree_search.js``; a test holds both together.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable

from .nodes import Node, Row

_UNITS = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9}
_COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
    "=": operator.eq,
}
_TOP = 10
_EXAMPLES = {
    "class": "class:Conv2d",
    "op": "op:add",
    "shape": "shape:64x56x56",
    "top": "top:params",
}
_TOPS = {"top:params": "parameters", "top:parameters": "parameters", "top:flops": "flops"}
_ASCII = re.IGNORECASE | re.ASCII

_Test = Callable[[Row], bool]


def matching(rows: Iterable[Row], query: str) -> list[Row]:
    """The rows for which every term of a query holds.

    Args:
        rows: the rows of a graph.
        query: the query; see :meth:`ModelGraph.find`.

    Raises:
        ValueError: if a term cannot be read, saying what to write instead.
    """
    terms = re.sub(r"\s*([<>]=?|=)\s*", r"\1", query).split()
    tests = [(term, _test(term)) for term in terms]
    words = [term.lower() for term, test in tests if test is None]
    others = [test for _, test in tests if test is not None]
    found = [
        row
        for row in rows
        if all(test(row) for test in others) and all(_has(row, word) for word in words)
    ]
    tops = [term.lower() for term in terms if term.lower() in _TOPS]
    for top in tops:
        found = _largest(found, _TOPS[top])
    if others or not words:
        return found
    # Everything inside `layer1` has that word in its name. Where words are all that is asked
    # for, a hit is a row whose own label or class has one of them.
    return [row for row in found if any(_is_own(row, word) for word in words)]


def _largest(rows: list[Row], what: str) -> list[Row]:
    """The ten rows with the largest numbers, without what contains others."""
    sized = [row for row in rows if isinstance(row.item, Node) and getattr(row.item, what)]
    largest = sorted(sized, key=lambda row: -getattr(row.item, what))[:_TOP]
    kept = {row.name for row in largest}
    return [row for row in sized if row.name in kept]


def _has(row: Row, word: str) -> bool:
    return word in row.name.lower() or word in row.item.description.lower()


def _is_own(row: Row, word: str) -> bool:
    name = row.name.lower()
    at = name.rfind(word)
    is_in_label = at >= 0 and at + len(word) > len(name) - len(row.label)
    return is_in_label or word in row.item.description.lower()


def _test(term: str) -> _Test | None:
    """What a term asks of a row; None if it is a word."""
    compared = re.fullmatch(r"(params|parameters|flops)([<>]=?|=)(.*)", term, _ASCII)
    if compared:
        return _comparison(term, compared[1].lower(), compared[2], compared[3])
    keyed = re.fullmatch(r"([a-z]+):(.*)", term, _ASCII)
    if keyed:
        return _keyed(term, keyed[1].lower(), keyed[2])
    if not re.search(r"[*?]", term):
        return None
    matches = _glob(term)
    return lambda row: matches(row.label) or matches(row.name)


def _glob(pattern: str) -> Callable[[str], bool]:
    source = re.sub(r"(\\\*)+", ".*", re.escape(pattern)).replace(r"\?", ".")
    expression = re.compile(source, re.IGNORECASE | re.DOTALL)
    return lambda text: expression.fullmatch(text) is not None


def _keyed(term: str, key: str, value: str) -> _Test:
    if key not in _EXAMPLES:
        known = "write class:, op:, shape:, top:, params> or flops>"
        raise ValueError(f"“{term}”: there is no “{key}:”; {known}")
    if not value:
        raise ValueError(f"“{term}”: something must follow the colon, as in {_EXAMPLES[key]}")
    if key == "shape":
        return _shape(term, value)
    if key == "top":
        if term.lower() not in _TOPS:
            raise ValueError(f"“{term}”: write top:params or top:flops")
        return lambda _: True  # among those for which the other terms hold
    matches = _glob(value)
    if key == "class":
        return lambda row: not _is_operation(row) and matches(row.item.cls)
    return lambda row: (
        _is_operation(row) and (matches(row.item.cls) or matches(row.item.cls.rstrip("_")))
    )


def _is_operation(row: Row) -> bool:
    return isinstance(row.item, Node) and row.item.kind in ("operation", "size")


def _shape(term: str, value: str) -> _Test:
    sizes = re.split("[x×,]", value.lower())
    if not all(re.fullmatch(r"\d+|\*", size, re.ASCII) for size in sizes):
        raise ValueError(f"“{term}”: write sizes with x between them, as in shape:64x56x56")

    def holds(row: Row) -> bool:
        if row.item.shape is None:
            return False
        has = [str(size) for size in row.item.shape] or ["scalar"]
        stretches = (has[at : at + len(sizes)] for at in range(len(has) - len(sizes) + 1))
        return any(
            all(size in ("*", other) for size, other in zip(sizes, stretch, strict=True))
            for stretch in stretches
        )

    return holds


def _comparison(term: str, what: str, sign: str, number: str) -> _Test:
    parts = re.fullmatch(r"(\d+\.?\d*|\.\d+)([kmg]?)", number, _ASCII)
    if not parts:
        examples = f"{what}{sign}1.5M or {what}{sign}200k"
        raise ValueError(f"“{term}”: write a number after {sign}, as in {examples}")
    limit, compare = float(parts[1]) * _UNITS[parts[2].lower()], _COMPARISONS[sign]

    def holds(row: Row) -> bool:
        has = row.item.flops if what == "flops" else row.item.parameters
        return has is not None and compare(has, limit)

    return holds
