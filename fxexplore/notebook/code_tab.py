"""The code of a selection, to read and to copy."""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import Any

import ipywidgets as widgets
import torch

from fxexplore.inputs import ExampleInputs
from fxexplore.model_graph import ModelGraph
from fxexplore.views import to_python

from .copy_button import CopyButton
from .feature_maps.chosen_inputs import ChosenInputs


class CodeTab(widgets.VBox):
    """The call of ``create_feature_extractor`` that gives what the explorer shows.

    Args:
        inputs: what the model is run on by default; None if it is not known.
        name: the expression that stands for the model.
        inputs_name: the expression that stands for the inputs; None if they were inferred.
        options: further arguments that the model was opened with.

    Attributes:
        text: the code.
        copy_button: copies it; may be shown in other places too.

    Example:
        >>> tab = CodeTab(None)
        >>> tab.show(ModelGraph("M", (), ()), {"layer1": "layer1"})
        >>> tab.text.splitlines()[-1]
        'features = extractor(x)  # x is what the model takes'
    """

    def __init__(
        self,
        inputs: ExampleInputs | None,
        name: str = "model",
        inputs_name: str | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self.text = ""
        self.copy_button = CopyButton(label="Copy code")
        self._inputs = inputs
        self._name = name
        self._inputs_name = inputs_name
        self._options = options or {}
        self._page = widgets.HTML()
        super().__init__([self._page, self.copy_button])
        self.add_class("fxx-code-tab")

    def show(
        self,
        graph: ModelGraph,
        return_nodes: Mapping[str, str],
        chosen: ChosenInputs | None = None,
    ) -> None:
        """Show the code for a selection.

        Args:
            graph: the model.
            return_nodes: the names of the return nodes with their output keys.
            chosen: what it is run on, if it is not the default.
        """
        arguments = (
            self._name if self._inputs_name is None else f"{self._name}, {self._inputs_name}"
        )
        recorded = graph.backend == "recorded"
        self.text = to_python(
            return_nodes,
            model=self._name,
            mode=graph.mode,
            inputs=self._expression(),
            inputs_of=arguments if self._inputs is not None else None,
            recorded_on=arguments if recorded else None,
            options=self._options,
            made=None if chosen is None else (chosen.lines, chosen.call, chosen.example),
        )
        self.copy_button.text = self.text if return_nodes else ""
        self._page.value = f'<pre class="fxx-code" tabindex="0">{html.escape(self.text)}</pre>'

    def _expression(self) -> str | None:
        """What makes the input of a model that takes one tensor, in one short line."""
        if self._inputs is None or not _is_plain(self._inputs):
            return None
        return self._inputs_name or self._inputs.code


def _is_plain(inputs: ExampleInputs) -> bool:
    """Whether the inputs are one tensor such as ``torch.randn`` makes."""
    if inputs.kwargs or len(inputs.args) != 1 or not isinstance(inputs.args[0], torch.Tensor):
        return False
    tensor = inputs.args[0]
    return tensor.device.type == "cpu" and tensor.dtype == torch.float32
