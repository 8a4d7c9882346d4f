"""One run, or two to compare, as figures and as code."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from torch import nn

from fxexplore.feature_extraction import tensors_in
from fxexplore.inputs import ExampleInputs
from fxexplore.model_graph import ModelGraph
from fxexplore.views import figure_to_python
from fxexplore.views.feature_maps import plot_channel, plot_comparison, plot_feature_maps

from .pictures import Look

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_OF_TOKENS = 3  # dimensions


@dataclasses.dataclass(frozen=True)
class Job:
    """What one run is of.

    Attributes:
        return_nodes: names of the nodes with their output keys.
        inputs: what the model runs on.
        training: whether it runs in train mode.
        numbers: which tensors in which state the model was made of.
        label: what the run goes by in a comparison.
        is_other: whether it is of another model than the panel's.
    """

    return_nodes: dict[str, str]
    inputs: ExampleInputs
    training: bool
    numbers: tuple[tuple[int, int], ...]
    label: str
    is_other: bool = False


def numbers_of(model: nn.Module) -> tuple[tuple[int, int], ...]:
    """Which tensors a model is made of, and how often each was written to.

    Args:
        model: the model.
    """
    tensors = (*model.parameters(), *model.buffers())
    return tuple((id(t), -1 if t.is_inference() else t._version) for t in tensors)


@dataclasses.dataclass(frozen=True)
class ShownRuns:
    """What there is to draw.

    Attributes:
        features: the values of the last run, by key.
        return_nodes: the ticked names with their keys.
        graph: the graph of the model.
        look: how they are looked at.
        last: what the last run is of.
        first: what it is compared with, if it is.
        kept: the values of that run, by key.
        name: the expression that the model goes by in code.
    """

    features: Mapping[str, Any]
    return_nodes: Mapping[str, str]
    graph: ModelGraph
    look: Look
    last: Job
    first: Job | None = None
    kept: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    name: str = "model"

    def plot(self, *keys: str) -> Figure:
        """Draw some keys, or all of them.

        Args:
            keys: which; those that the other run has too are compared with it.

        Raises:
            ValueError: if a value cannot be looked at in this way.
        """
        values = {key: self.features[key] for key in keys or self.features}
        both = {key: value for key, value in values.items() if key in self.kept}
        if not both or self.first is None:
            return plot_feature_maps(values, **self._options())
        before = {key: self.kept[key] for key in both}
        return plot_comparison(before, both, labels=self._labels, **self._options())

    def plot_channel(self, key: str, channel: int) -> Figure:
        """Draw one channel large, with the input beside it.

        Args:
            key: of the value.
            channel: its number.
        """
        index = self.look.index
        return plot_channel(
            dict(self.features), key, channel,
            image=self.last.inputs.picture(index), index=index, **self._context(),
        )  # fmt: skip

    def code(self) -> str:
        """The code that makes the figure of all keys."""
        index = self.look.index
        compared = self.first if self.kept else None
        keys = self.kept if compared else self.features
        return figure_to_python(
            {name: key for name, key in self.return_nodes.items() if key in keys},
            self.look.options(),
            self.last.inputs,
            model=self.name,
            recorded=self.graph.backend == "recorded",
            mode=self.graph.mode,
            picture=self.last.inputs.picture_code(index) if self._draws_picture else None,
            first=compared.inputs if compared else None,
            labels=self._labels if compared else None,
            other=self.last.is_other,
        )

    @property
    def _labels(self) -> tuple[str, str]:
        first, second = self.first.label if self.first else "", self.last.label
        return (f"{first}, kept", second) if first == second else (first, second)

    @property
    def _draws_picture(self) -> bool:
        """Whether the input picture is drawn, or tells the grid of tokens."""
        tensors = tensors_in(list(self.features.values()))
        return self.look.wants_picture or any(tensor.ndim == _OF_TOKENS for tensor in tensors)

    def _options(self) -> dict[str, Any]:
        options = self.look.options() | self._context()
        picture = self.last.inputs.picture(self.look.index) if self._draws_picture else None
        return options if picture is None else options | {"image": picture}

    def _context(self) -> dict[str, Any]:
        context: dict[str, Any] = {"graph": self.graph, "return_nodes": dict(self.return_nodes)}
        if self.last.inputs.tokens:
            context["tokens"] = self.last.inputs.tokens
        return context
