"""The picture of a model, laid out: views write the DOT, and ``layout`` has Graphviz draw it."""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal

from . import layout, views
from .model_graph import ModelGraph


def to_svg(
    graph: ModelGraph,
    expanded: Collection[str] | None = None,
    selected: Collection[str] = (),
    *,
    edges: Literal["auto", "all", "fewest"] = "auto",
    direction: Literal["down", "right"] = "down",
    detail: Literal["modules", "operations", "everything"] = "operations",
    time_limit: float = layout.TIME_LIMIT,
) -> str:
    """Draw a model as SVG.

    Args:
        graph: the model to draw, as ``open_model`` gives it.
        expanded: paths of the modules that are unfolded; by default those that say much in few
            boxes.
        selected: names of the nodes and modules that are marked as ticked.
        edges: which of the edges that longer paths imply are drawn: ``"all"``, ``"fewest"``
            (none of them), or ``"auto"`` (in a dense picture those that stand alone).
        direction: ``"down"`` from the top down, ``"right"`` from left to right.
        detail: how much has a box; ``"operations"`` leaves out sizes, asserts, constants and views.
        time_limit: seconds after which Graphviz is stopped.

    Returns:
        An ``<svg>`` element.

    Raises:
        ValueError: if ``edges``, ``direction`` or ``detail`` is none of those words.
        fxexplore.layout.LayoutTimeoutError: if the layout takes longer than that.
        RuntimeError: if there is no Graphviz.

    Example:
        >>> from torch import nn
        >>> from fxexplore import open_model
        >>> to_svg(open_model(nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU())))[:4]
        '<svg'
    """
    dot = views.to_dot(graph, expanded, selected, edges=edges, direction=direction, detail=detail)
    return layout.to_svg(str(dot.source), time_limit=time_limit)
