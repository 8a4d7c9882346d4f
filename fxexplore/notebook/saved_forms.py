"""What an explorer is where no widget is: in a saved notebook, in a page, as text."""

from __future__ import annotations

import time
from typing import Any

import ipywidgets as widgets
from IPython.display import DisplayHandle, display

from fxexplore.views import StaticPage, to_document, to_html, to_text

from .code_tab import CodeTab
from .modes import Modes
from .node_graph import NodeGraph
from .node_tree import NodeTree
from .shared_state import SharedState
from .shell import is_interactive

_DISPLAY_WAIT = 1.0  # seconds that the first display may wait, so that it is saved with facts
_BATCH_WAIT = 120.0  # the same where a notebook is run to be read, and nobody is held up


class SavedForms(SharedState, widgets.VBox):
    """The display of an explorer, and what stands in for it where no kernel runs."""

    tree: NodeTree
    diagram: NodeGraph
    code: CodeTab
    _modes: Modes
    _shown_early: list[DisplayHandle]

    def wait(self, seconds: float = 60.0) -> bool:
        """Block until facts and picture are there, but not longer than ``seconds``.

        Returns:
            Whether they are.
        """
        deadline = time.monotonic() + seconds
        found = self._modes.wait(seconds)
        return self.diagram.wait(max(0.0, deadline - time.monotonic())) and found

    def static(self) -> StaticPage:
        """Tree, picture and code without the widget, for pages that are read with no kernel.

        Example:
            >>> from torch import nn
            >>> from fxexplore import Explorer
            >>> Explorer(nn.Sequential(nn.ReLU())).static()
            Sequential · 0 parameters · 2 nodes · eval · symbolic
            node   output  params  FLOPs  class
            input                         input
            0                             ReLU
        """
        self.wait()
        return StaticPage(self._fragment(), self._as_text())

    def page(self) -> str:
        """The same as an HTML document of its own."""
        self.wait()
        return to_document(self.graph.model, self._fragment())

    def _ipython_display_(self) -> None:
        """Show a model that is still being opened, and once more when it is open.

        Raises:
            NotImplementedError: if all is there, for IPython to show it as any other result.
        """
        self.wait(_display_wait())
        if not self._modes.opening:
            raise NotImplementedError
        data, metadata = self._bundle()
        self._shown_early.append(display(data, metadata=metadata, raw=True, display_id=True))

    def _repr_mimebundle_(self, **_: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """The live widget, and the same as HTML for pages where no kernel runs."""
        self.wait(_display_wait())
        return self._bundle()

    def _bundle(self) -> tuple[dict[str, Any], dict[str, Any]]:
        bundle: dict[str, Any] = super()._repr_mimebundle_()
        # Where Colab is to load what the parts need, which only anywidget's own display tells.
        metadata = (self.tree._repr_mimebundle_() or ({}, {}))[1]
        return bundle | {"text/plain": self._as_text(), "text/html": self._fragment()}, metadata

    def _show_again(self) -> None:
        """Give the notebook the page that it is to be saved with."""
        if self._shown_early:
            self.diagram.wait(_DISPLAY_WAIT)
        while self._shown_early:
            data, metadata = self._bundle()
            self._shown_early.pop().update(data, metadata=metadata, raw=True)

    def _as_text(self) -> str:
        return to_text(self.graph, self.expanded, detail=self.detail)

    def _fragment(self) -> str:
        return to_html(
            self.graph,
            svg=self.diagram.svg,
            expanded=self.expanded,
            return_nodes=self.return_nodes,
            code=self.code.text if self.return_nodes else "",
            detail=self.detail,
        )


def _display_wait() -> float:
    return _DISPLAY_WAIT if is_interactive() else _BATCH_WAIT
