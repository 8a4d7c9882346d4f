"""How much of a model is shown: which operations are plumbing, and which rows are left out."""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal, get_args

from fxexplore.model_graph import ModelGraph, Node

Detail = Literal["modules", "operations", "everything"]
"""What is shown: modules and inputs; operations that compute too; or sizes, asserts, constants
and views as well, which only pass values on."""

DETAILS: tuple[Detail, ...] = get_args(Detail)

_VIEWS = {
    "alias", "bfloat16", "bool", "broadcast_to", "chunk", "clone", "contiguous", "cpu", "cuda",
    "detach", "double", "expand", "expand_as", "flatten", "float", "getattr", "getitem", "half",
    "int", "long", "mH", "mT", "H", "T", "movedim", "moveaxis", "narrow", "permute", "ravel",
    "reshape", "reshape_as", "select", "split", "squeeze", "swapaxes", "swapdims", "t",
    "tensor_split", "to", "transpose", "type", "type_as", "unbind", "unflatten", "unsqueeze",
    "view", "view_as",
}  # fmt: skip
_CONSTANTS = {
    "arange", "as_tensor", "empty", "empty_like", "eye", "full", "full_like", "linspace",
    "new_empty", "new_full", "new_ones", "new_zeros", "ones", "ones_like", "scalar_tensor",
    "tensor", "zeros", "zeros_like",
}  # fmt: skip


def detail_of(graph: ModelGraph, node: Node) -> Detail:
    """The least detail that a node is shown in.

    A view that reads several tensors, such as a table at the places of an index, is no mere view.
    What differs in another model shows in any case.

    Example:
        >>> graph = ModelGraph("Net", (), ())
        >>> [detail_of(graph, Node("x", kind, "view")) for kind in ("module", "size", "operation")]
        ['modules', 'everything', 'everything']
    """
    if node.kind in ("module", "input") or node.changes:
        return "modules"
    if node.kind == "size":
        return "everything"
    if node.kind == "operation":
        name = node.target.strip("_")
        if name in _CONSTANTS or (name in _VIEWS and _tensors_read(graph, node) <= 1):
            return "everything"
    return "operations"


def _tensors_read(graph: ModelGraph, node: Node) -> int:
    items = (graph[name] for name in node.inputs if name in graph.index)
    return sum(not (isinstance(item, Node) and item.kind == "size") for item in items)


def hidden_nodes(
    graph: ModelGraph, detail: Detail = "operations", keep: Collection[str] = ()
) -> frozenset[str]:
    """Names of the nodes that a view of less than everything leaves out.

    Args:
        graph: the model.
        detail: how much is shown.
        keep: names that are shown anyway, such as those that are ticked. The node where the
            model raised always is.

    Raises:
        ValueError: if ``detail`` is no such word.

    Example:
        >>> graph = ModelGraph("Net", (Node("x", "input", "x"), Node("x.T", "operation", "T")), ())
        >>> sorted(hidden_nodes(graph)), sorted(hidden_nodes(graph, "everything"))
        (['x.T'], [])
    """
    if detail not in DETAILS:
        raise ValueError(f"detail is {detail!r}; write one of {', '.join(map(repr, DETAILS))}")
    least, kept = DETAILS.index(detail), set(keep)
    if graph.error is not None:
        kept.add(graph.error.name)
    return frozenset(
        node.name
        for node in graph.nodes
        if node.name not in kept and DETAILS.index(detail_of(graph, node)) > least
    )


def hidden_in_words(count: int, detail: Detail) -> str:
    """How many rows are left out, and what shows them; ``""`` for none.

    Example:
        >>> hidden_in_words(1, "operations")
        '1 row is left out (sizes, asserts, constants, views); detail="everything" shows all'
    """
    what = "operations" if detail == "modules" else "sizes, asserts, constants, views"
    rows = f"{count:,} rows are" if count > 1 else "1 row is"
    return f'{rows} left out ({what}); detail="everything" shows all' if count else ""
