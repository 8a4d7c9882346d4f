"""The simplest feature-maps tab: a button that runs the model, and a picture per return node."""

from __future__ import annotations

import base64
import contextlib
import html
import io
from collections.abc import Callable, Iterator
from typing import Any

import ipywidgets as widgets
import torch
import traitlets
from torch import nn

from fxexplore.feature_extraction.harmless import untouched
from fxexplore.model_graph import ModelGraph
from fxexplore.model_graph.inputs import ExampleInputs, example_inputs_for
from fxexplore.views.feature_maps import plot_feature_maps

from .notice import Notice

_DPI = 200


class PlainMaps(widgets.VBox):
    """Runs an extractor on example inputs and shows what it returns."""

    return_nodes = traitlets.Dict()
    features = traitlets.Dict(read_only=True)

    def __init__(
        self,
        model: nn.Module,
        graph: ModelGraph,
        *,
        make_extractor: Callable[[], nn.Module],
        example_inputs: Any = None,
        **_: Any,
    ) -> None:
        self.graph = graph
        self._model = model
        self._make_extractor = make_extractor
        self._example_inputs = example_inputs
        self.notice = Notice()
        button = widgets.Button(description="Run", button_style="primary")
        button.on_click(lambda _: self._clicked())
        self._maps = widgets.VBox()
        words = html.escape(graph.inputs)
        super().__init__([widgets.HBox([button, widgets.HTML(words)]), self.notice, self._maps])

    @property
    def current_inputs(self) -> ExampleInputs:
        return example_inputs_for(self._model, self._example_inputs)

    def run(self) -> None:
        extractor = self._make_extractor()
        inputs = self.current_inputs
        with untouched(self._model), torch.no_grad(), _buffers_kept(self._model):
            extractor.train(self.graph.mode == "train")
            self.set_trait("features", extractor(*inputs.args, **inputs.kwargs))
        self.notice.clear()
        self._maps.children = [_picture(key, value) for key, value in self.features.items()]

    def _clicked(self) -> None:
        try:
            self.run()
        except Exception as problem:  # noqa: BLE001  # whatever the user's model raises
            self.notice.error(problem)


@contextlib.contextmanager
def _buffers_kept(model: nn.Module) -> Iterator[None]:
    numbers = [(buffer, buffer.clone()) for buffer in model.buffers()]
    try:
        yield
    finally:
        for buffer, before in numbers:
            buffer.data.copy_(before)


def _picture(key: str, value: Any) -> widgets.HTML:
    figure = plot_feature_maps({key: value})
    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=_DPI)
    data = base64.b64encode(png.getvalue()).decode()
    alt = html.escape(f"Feature maps of {key}", quote=True)
    return widgets.HTML(f'<img class="fxx-map" alt="{alt}" src="data:image/png;base64,{data}">')
