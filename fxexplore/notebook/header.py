"""The first line of the explorer: what model this is, and in which mode it is open."""

from __future__ import annotations

import html

import ipywidgets as widgets

from fxexplore.inputs import ExampleInputs
from fxexplore.model_graph import ModelGraph
from fxexplore.views import short_count, short_flops

from .brief import Brief
from .modes import MODES
from .small_widgets import FullScreenButton


class Header(Brief, widgets.HBox):
    """Facts of the whole model, the switch between its modes, and full screen.

    Args:
        graph: the model.
        inputs: what it is run on by default, if that is known.

    Attributes:
        inputs: the same, which may be known later.
        switch: the radio buttons of eval and train mode.
        check: the button that asks for the first value that is not finite.
    """

    def __init__(self, graph: ModelGraph, inputs: ExampleInputs | None = None) -> None:
        self.inputs = inputs
        self._facts = widgets.HTML().add_class("fxx-headline")
        self.switch = widgets.RadioButtons(
            options=MODES, value=graph.mode, orientation="horizontal", tooltip=_SWITCH
        ).add_class("fxx-mode")
        self.check = widgets.Button(description="Find NaN", tooltip=_CHECK)
        self.check.add_class("fxx-needs-kernel")
        super().__init__([self._facts, self.switch, self.check, FullScreenButton()])
        self.add_class("fxx-header")
        self.show(graph)

    def show(self, graph: ModelGraph) -> None:
        """Show the facts of a graph."""
        self._facts.value = headline(graph, self.inputs)

    def refuse(self, wanted: str, mode: str) -> None:
        """Go back to ``mode``, because the model does not open in the one that was wanted."""
        self.switch.value = mode
        self.switch.disabled = True
        self.switch.tooltip = f"The model opens in {mode} mode alone, not in {wanted} mode"


_CHECK = "Run the model once, and find the first node whose value has NaN or Inf"
_SWITCH = "eval mode as in use; train mode with dropout and batch statistics"


def headline(graph: ModelGraph, inputs: ExampleInputs | None = None) -> str:
    """The facts of a whole model as a line of HTML.

    Args:
        graph: the model.
        inputs: what its shapes are for, if that is known.

    Example:
        >>> headline(ModelGraph("Net", (), (), parameters=2000))
        '<b>Net</b> <span>2.00 k parameters · 0 nodes · symbolic</span>'
    """
    facts = [
        f"{short_count(graph.parameters)} parameters",
        *([short_flops(graph.flops, graph.flops_at_least)] if graph.flops else []),
        *([f"{len(graph.nodes):,} nodes"] if graph.backend else []),
        *([_input(inputs, graph)] if inputs is not None and not inputs.missing else []),
        _way_in(graph),
    ]
    return f"<b>{html.escape(graph.model)}</b> <span>{' · '.join(facts)}</span>"


def _input(inputs: ExampleInputs, graph: ModelGraph) -> str:
    word, _, detail = inputs.source.partition(" (")
    source = _folded(word, inputs.source) if detail else html.escape(word)
    names = [node.name for node in graph.nodes if node.kind == "input"]
    what = f"inputs {', '.join(names)}:" if len(names) > 1 else "input"
    return f"{html.escape(what)} {html.escape(inputs.shapes)} {source}"


def _way_in(graph: ModelGraph) -> str:
    if graph.reason:
        return _folded(graph.backend, f"Not traced, but run once: {graph.reason}")
    return html.escape(graph.backend) or "not run yet"


def _folded(word: str, details: str) -> str:
    # Folds out by mouse, finger and keyboard, where a tooltip needs a mouse.
    return f"<details><summary>{html.escape(word)}</summary>{html.escape(details)}</details>"
