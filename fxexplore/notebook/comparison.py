"""Two models in one tree, with what differs marked."""

from __future__ import annotations

import html
from typing import Any

import ipywidgets as widgets

from fxexplore.model_graph import Comparison, compare  # noqa: F401  # the public names
from fxexplore.views import opening_fold, to_document, to_html, to_text

from .brief import Brief
from .cells import made_in_present_cell
from .closing import close_comm, close_parts
from .node_tree import NodeTree
from .small_widgets import FullScreenButton, SaveButton, Splitter, keep_page_of


class ComparisonPanel(Brief, widgets.VBox):
    """The tree of two models, which folds and is searched like any tree.

    Args:
        comparison: what differs between them.

    Example:
        >>> from torch import nn
        >>> panel = ComparisonPanel(compare(nn.Sequential(nn.ReLU()), nn.Sequential(nn.GELU())))
        >>> panel.tree.marks[1]
        '≠ ReLU → GELU: what it was in the first model → what it is in the second'
    """

    def __init__(self, comparison: Comparison) -> None:
        graph = comparison.graph
        self.tree = NodeTree(graph, ticks=False).add_class("fxx-left")
        words = f"<b>{html.escape(graph.model)}</b> <span>{html.escape(graph.compared)}</span>"
        save = SaveButton(
            lambda: to_document(graph.model, to_html(graph)),
            label="Save page",
            file_name="comparison.html",
        ).add_class("fxx-needs-kernel")
        headline = widgets.HTML(words).add_class("fxx-headline")
        header = widgets.HBox([headline, save, FullScreenButton()]).add_class("fxx-header")
        height = Splitter(
            value=520, least=240, most=1600, unit="px", variable="--fxx-height", label="Height"
        )
        super().__init__([header, widgets.HBox([self.tree]).add_class("fxx-body"), height])
        self.add_class("fxx-explorer")
        keep_page_of(self)
        made_in_present_cell(self)

    def close(self) -> None:
        """Take the widget with its parts off the page."""
        close_parts(self)
        comm = self.comm
        super().close()
        close_comm(comm)


def _bundle(comparison: Comparison) -> tuple[dict[str, Any], dict[str, Any]]:
    """The live widget, and the same as HTML and as text for pages where no kernel runs."""
    graph, panel = comparison.graph, ComparisonPanel(comparison)
    bundle: dict[str, Any] = panel._repr_mimebundle_()
    metadata: dict[str, Any] = (panel.tree._repr_mimebundle_() or ({}, {}))[1]
    text = to_text(graph, opening_fold(graph))
    return bundle | {"text/plain": text, "text/html": to_html(graph)}, metadata


Comparison.shown_as["bundle"] = _bundle
