"""A model opened in eval mode and in train mode, each when it is first asked for."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import traitlets
from torch import nn

from fxexplore.feature_extraction import beside_others, twin_of
from fxexplore.model_graph import ModelGraph, Opening, graph_before_run

from .feature_maps.running import Progress, watched

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
        """Whether opening took long in the thread that runs the cells, so that it will again."""

    def is_open(self, mode: str) -> bool:
        """Whether the model is open in a mode."""
        return mode in self._openings

    def graph(self, mode: str) -> ModelGraph:
        """What is known of the graph in a mode, which is opened if it was not yet.

        Raises:
            traitlets.TraitError: if ``mode`` is no mode.
            Exception: what :class:`Opening` raises, if the model does not open in it.
        """
        self._open(mode)
        return self._annotated.get(mode) or self._openings[mode].graph

    def before_run(self, mode: str) -> ModelGraph:
        """What is known of a mode that is not open yet: the registered modules."""
        return graph_before_run(self._model, mode)

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
        if not others or mode not in self._openings:
            return ()
        elsewhere = {node.name for node in others[0].graph.nodes}
        return tuple(n.name for n in self._openings[mode].graph.nodes if n.name not in elsewhere)

    # --- beside the kernel --------------------------------------------------------------

    def open_by_tracing(self, mode: str) -> bool:
        """Open the model in a mode without running it; says whether that could be done.

        It has to be in the thread that runs the cells: a traced graph is of the model itself.
        """
        if mode not in self._openings and self._options.get("backend") != "recorded":
            try:
                self._open(mode, backend="symbolic")
            except Exception:  # noqa: BLE001  # whatever it was: the next way in tells
                return False
        return mode in self._openings

    def opener(self, mode: str) -> Callable[[Progress], Opening] | None:
        """What opens a copy of the model by running it, in any thread.

        The copy shares the parameters. Its flags and buffers are its own, so that nothing of
        the run shows in the model meanwhile.

        Returns:
            The work to do, which raises what :class:`Opening` raises, or
            :class:`~.feature_maps.running.Stop`; :meth:`take` takes its result. None if the
            model cannot be copied.
        """
        twin = twin_of(self._model)
        if twin is None:
            return None

        def work(progress: Progress) -> Opening:
            with beside_others(), watched(twin, progress):
                return self._opening(twin, mode)

        return work

    def take(self, mode: str, opening: Opening) -> None:
        """Take what :meth:`opener` opened, in the thread that runs the cells."""
        if opening.graph.backend == "recorded":
            self._openings[mode] = opening.of_original(self._model)
        else:
            self._open(mode)

    def _open(self, mode: str, **options: Any) -> None:
        if mode in self._openings:
            return
        check_mode(mode)
        began = time.monotonic()
        self._openings[mode] = self._opening(self._model, mode, **options)
        self.is_slow |= time.monotonic() - began > _SLOW

    def _opening(self, model: nn.Module, mode: str, **options: Any) -> Opening:
        return Opening(model, self._example_inputs, mode=mode, **(self._options | options))


def check_mode(mode: str) -> None:
    """Refuse what is no mode.

    Raises:
        traitlets.TraitError: saying what there is.
    """
    if mode not in MODES:
        raise traitlets.TraitError(f"mode is {mode!r}; write 'eval' or 'train'")
