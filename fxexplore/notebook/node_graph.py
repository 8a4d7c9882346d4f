"""The diagram as a widget of its own."""

from __future__ import annotations

import pathlib
from typing import Any

import anywidget
import traitlets

from fxexplore.model_graph.graph import ModelGraph
from fxexplore.views.diagram import opening_fold, to_dot
from fxexplore.views.layout import LayoutTimeoutError, to_svg

_HERE = pathlib.Path(__file__).parent


class NodeGraph(anywidget.AnyWidget):
    """Graphviz's picture of a model, with modules that fold and unfold.

    Args:
        graph: the model to show.
        **kwargs: initial values of traits.

    Example:
        >>> from torch import nn
        >>> from fxexplore import open_model
        >>> diagram = NodeGraph(open_model(nn.Sequential(nn.Linear(4, 2), nn.ReLU())))
        >>> diagram.svg[:4], diagram.boxes["row1"]
        ('<svg', '0')
    """

    _esm = _HERE / "node_graph.js"
    _css = _HERE / "node_graph.css"

    selected = traitlets.List(traitlets.Unicode()).tag(sync=True)
    """Names of the ticked nodes and modules."""

    expanded = traitlets.List(traitlets.Unicode()).tag(sync=True)
    """Paths of the modules that are unfolded; a change draws a new picture."""

    focused = traitlets.Unicode().tag(sync=True)
    """Name of the box that was clicked last; ``""`` for none."""

    foldable = traitlets.List(traitlets.Unicode()).tag(sync=True)
    """Paths of the modules that can be unfolded."""

    svg = traitlets.Unicode().tag(sync=True)
    """The picture, laid out."""

    boxes = traitlets.Dict().tag(sync=True)
    """The name of the node or module behind each id in the picture."""

    message = traitlets.Unicode().tag(sync=True)
    """What there is to say about the picture, such as why it is not the newest."""

    def __init__(self, graph: ModelGraph, **kwargs: Any) -> None:
        kwargs.setdefault("expanded", opening_fold(graph))
        self._graph = graph
        super().__init__(foldable=[module.path for module in graph.modules], **kwargs)
        self.observe(lambda _: self._draw(), "expanded")
        self._draw()

    def _draw(self) -> None:
        try:
            svg = to_svg(to_dot(self._graph, self.expanded).source)
        except (LayoutTimeoutError, ValueError) as problem:
            self.message = f"This is the last picture: {problem}." if self.svg else f"{problem}."
            return
        with self.hold_sync():
            self.boxes = {f"row{i}": row.name for i, row in enumerate(self._graph.rows)}
            self.svg = svg
            self.message = ""
