"""The code of a selection, to read and to copy."""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import Any

import ipywidgets as widgets

from fxexplore.inputs import ExampleInputs
from fxexplore.model_graph import ModelGraph
from fxexplore.views import to_python

from .brief import Brief
from .small_widgets import CopyButton


class CodeTab(Brief, widgets.VBox):
    """The call of ``create_feature_extractor`` that gives what the explorer shows.

    Args:
        name: the expression that stands for the model.
        options: further arguments that the model was opened with.

    Attributes:
        text: the code.
        copy_button: copies it; may be shown in other places too.

    Example:
        >>> tab = CodeTab()
        >>> tab.show(ModelGraph("M", (), ()), {"layer1": "layer1"})
        >>> tab.text.splitlines()[-1]
        '    features = extractor(x)  # x is what the model takes'
    """

    def __init__(self, name: str = "model", options: Mapping[str, Any] | None = None) -> None:
        self.text = ""
        self.copy_button = CopyButton(label="Copy extractor code")
        self._name = name
        self._options = options or {}
        self._page = widgets.HTML()
        super().__init__([self._page, self.copy_button])
        self.add_class("fxx-code-tab")

    def _told(self) -> list[str]:
        return [f"{len(self.text.splitlines())} lines"]

    def show(
        self,
        graph: ModelGraph,
        return_nodes: Mapping[str, str],
        inputs: ExampleInputs | None = None,
    ) -> None:
        """Show the code for a selection.

        Args:
            graph: the model.
            return_nodes: the names of the return nodes with their output keys.
            inputs: what it is run on, if that is known.
        """
        self.text = to_python(
            return_nodes,
            inputs,
            model=self._name,
            mode=graph.mode,
            recorded=graph.backend == "recorded",
            options=self._options,
        )
        self.copy_button.text = self.text if return_nodes else ""
        self._page.value = f'<pre class="fxx-code" tabindex="0">{html.escape(self.text)}</pre>'
