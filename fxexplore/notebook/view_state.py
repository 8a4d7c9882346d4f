"""How an explorer is looked at, for the one that comes after it to go on with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fxexplore.model_graph import ModelGraph

from .graph_view import why_not_ticked

KEPT = ("detail", "return_nodes", "expanded", "focused", "query")
"""The traits that an explorer goes on with, in the order in which they are set."""


def state_that_fits(former: Mapping[str, Any], graph: ModelGraph) -> dict[str, Any]:
    """What of a former state goes for a graph: ticks, folds and focus whose names are the same.

    Where nothing is the same it is another model, and begins as any does.

    Args:
        former: traits by name.
        graph: the graph that is shown now.
    """
    index, keys = graph.index, former.get("return_nodes", {})
    ticked = {name: key for name, key in keys.items() if not why_not_ticked(graph, name)}
    unfolded = [path for path in former.get("expanded", ()) if path in index]
    focused = former.get("focused", "")
    known = {**former, "return_nodes": ticked, "expanded": unfolded}
    known["focused"] = focused if focused in index else ""
    return {n: known[n] for n in KEPT if n in former and (known[n] or not former[n])}
