"""What everything that shows a graph has: the graph, selection, fold state, focus and search."""

from __future__ import annotations

from typing import Any

import ipywidgets as widgets
import traitlets

from fxexplore.model_graph import ModelGraph, Module
from fxexplore.views import DETAILS, error_in_words, failure_at

from .brief import Brief, ticked
from .closing import close_parts


class GraphView(Brief, traitlets.HasTraits):
    """Shows a graph; one that is set later takes its place.

    What the new graph has too stays ticked, unfolded, found and focused.

    Args:
        graph: the model.
        **traits: initial values of traits.
    """

    selected = traitlets.List(traitlets.Unicode())
    """Names of the ticked nodes and modules, in the order of ticking."""

    expanded: traitlets.List[Any] = traitlets.List(traitlets.Unicode())
    """Paths of the unfolded modules."""

    open_groups: traitlets.List[Any] = traitlets.List(traitlets.Unicode())
    """What is shown one by one of the siblings of one structure and the rounds of a loop: each
    such group by the name of its first row. Others are folded into one."""

    focused = traitlets.Unicode()
    """Name of the row or box that was clicked last; ``""`` for none."""

    query = traitlets.Unicode()
    """What the tree is searched for, as :meth:`fxexplore.ModelGraph.find` describes it."""

    hits = traitlets.List(traitlets.Unicode())
    """Names that the search found, at most 2,000."""

    detail = traitlets.Enum(DETAILS, "operations")
    """How much is shown: ``"modules"``; ``"operations"``, without sizes, asserts, constants, and
    views that only pass values on; or ``"everything"``. What is ticked or focused always is."""

    values = traitlets.Dict()
    """What is known of values since the last run, by name: a sign, such as ``"✗ NaN"``, ``""`` for
    nothing special, and words."""

    def __init__(self, graph: ModelGraph, *args: Any, **traits: Any) -> None:
        self._graph = graph
        super().__init__(*args, **traits)

    @property
    def graph(self) -> ModelGraph:
        """The model as it is shown; shapes and FLOPs may come a moment after the names."""
        return self._graph

    def _told(self) -> list[str]:
        return [self._graph.model, self._graph.mode, ticked(len(self.selected))]

    def replace_graph(self, graph: ModelGraph) -> list[str]:
        """Take another graph of the model, and drop the names that it lacks.

        Returns:
            The ticked names that are gone.
        """
        gone = [name for name in self.selected if why_not_ticked(graph, name)]
        self._graph = graph
        self.selected = [name for name in self.selected if name not in gone]
        self.expanded = [path for path in self.expanded if path in graph.index]
        self.open_groups = [name for name in self.open_groups if name in graph.index]
        self.values = {n: words for n, words in self.values.items() if n in graph.index}
        self.hits = [name for name in self.hits if name in graph.index]
        self.focused = self.focused if self.focused in graph.index else ""
        return gone


class GraphWidget(GraphView, widgets.Widget):
    """A widget that shows a graph; anywidget gives it a page."""

    only = traitlets.List(traitlets.Unicode())
    """Names of the nodes that exist in this mode (train or eval) and not in the other."""

    _shared: tuple[str, ...] = ("selected", "expanded", "focused", "query", "hits", "detail")
    """The traits of :class:`GraphView` that the page sees."""

    @property
    def graph(self) -> ModelGraph:
        """The model; what another one has too stays ticked, unfolded and focused."""
        return self._graph

    @graph.setter
    def graph(self, graph: ModelGraph) -> None:
        with self.hold_sync():
            self.replace_graph(graph)
            self._show_graph()

    def close(self) -> None:
        """Take the widget off the page."""
        close_parts(self)
        super().close()

    def _show_graph(self) -> None:
        """Show the present graph."""
        raise NotImplementedError

    @traitlets.default("keys")
    def _keys_of_the_page(self) -> list[str]:
        return list(dict.fromkeys([*self.traits(sync=True), *self._shared]))


def why_not_ticked(graph: ModelGraph, name: str) -> str:
    """Why a name cannot be returned; ``""`` if it can."""
    if name not in graph.index:
        return f"'{name}' is not in the graph"
    item = graph[name]
    if isinstance(item, Module) and item.ran is None:
        return f"'{name}' cannot be ticked before the model has run once"
    if graph.error is not None and graph.backend == "recorded":  # a traced one can run again
        never_ran = isinstance(item, Module) and not item.ran
        if never_ran or failure_at(graph, item):
            return f"'{name}' has no value, because the model raised: {error_in_words(graph)}"
    if isinstance(item, Module) and not item.ran:
        return f"'{name}' is a {item.cls} of which nothing runs in {graph.mode} mode"
    return ""
