"""A model opened in eval mode and in train mode, each when it is first asked for."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import traitlets
from torch import nn

from fxexplore.model_graph import ModelGraph
from fxexplore.model_graph.opening import Opening

MODES = ("eval", "train")
_SLOW = 0.5  # seconds after which a person wonders


class Modes:
    """The graphs of a model in its modes.

    Args:
        model: the model; it is left as it is.
        example_inputs: as for :func:`fxexplore.open_model`.
        options: further arguments of :class:`~fxexplore.model_graph.opening.Opening`.

    Example:
        >>> from torch import nn
        >>> modes = Modes(nn.Sequential(nn.ReLU()), None, {})
        >>> modes.graph("train").mode, modes.only("train")
        ('train', ())
    """

    def __init__(self, model: nn.Module, example_inputs: Any, options: dict[str, Any]) -> None:
        self._model = model
        self._example_inputs = example_inputs
        self._options = options
        self._openings: dict[str, Opening] = {}
        self._annotated: dict[str, ModelGraph] = {}
        self.is_slow = False
        """Whether opening took long, so that the next will too."""

    def graph(self, mode: str) -> ModelGraph:
        """What is known of the graph in a mode, which is opened if it was not yet.

        Raises:
            traitlets.TraitError: if ``mode`` is no mode, or the model does not open in it.
        """
        self._open(mode)
        return self._annotated.get(mode) or self._openings[mode].graph

    def is_annotated(self, mode: str) -> bool:
        """Whether every fact about the graph in a mode is known."""
        return mode in self._annotated or self.graph(mode).backend == "recorded"

    def annotated(self, mode: str) -> ModelGraph:
        """The graph in a mode with every fact; in any thread, if the mode is open already."""
        self._open(mode)
        if mode not in self._annotated:
            self._annotated[mode] = self._openings[mode].annotated()
        return self._annotated[mode]

    def extractor(self, mode: str, return_nodes: Mapping[str, str]) -> nn.Module:
        """The feature extractor of some nodes; the model is not opened anew for it.

        Args:
            mode: a mode that is open.
            return_nodes: the names of the return nodes with their output keys.
        """
        return self._openings[mode].extractor(dict(return_nodes))

    def only(self, mode: str) -> tuple[str, ...]:
        """Names of the nodes of a mode that the other mode lacks, if that is open too."""
        others = [opening for other, opening in self._openings.items() if other != mode]
        if not others:
            return ()
        elsewhere = {node.name for node in others[0].graph.nodes}
        return tuple(n.name for n in self._openings[mode].graph.nodes if n.name not in elsewhere)

    def _open(self, mode: str) -> None:
        if mode in self._openings:
            return
        if mode not in MODES:
            raise traitlets.TraitError(f"mode is {mode!r}; write 'eval' or 'train'")
        began = time.monotonic()
        opening = Opening(self._model, self._example_inputs, mode=mode, **self._options)
        self.is_slow |= time.monotonic() - began > _SLOW
        self._openings[mode] = opening
