"""The explorer: tree, diagram, feature maps and code of one model, side by side."""

from __future__ import annotations

import base64
import difflib
import html
import io
import pathlib
import traceback
from collections.abc import Callable
from typing import Any

import ipywidgets as widgets
import torch
import traitlets
from torch import nn

from fxexplore.feature_extraction import create_feature_extractor
from fxexplore.feature_extraction.harmless import untouched
from fxexplore.feature_extraction.tracing import checked_model
from fxexplore.model_graph import ModelGraph, Module, open_model
from fxexplore.model_graph.inputs import example_inputs_for
from fxexplore.views.feature_maps import plot_feature_maps
from fxexplore.views.numbers import short_count
from fxexplore.views.outline import to_html
from fxexplore.views.snippet import to_python

from .node_graph import NodeGraph
from .node_tree import NodeTree

_DPI = 200  # sharp on screens with two pixels for one
_STYLE = f"<style>{(pathlib.Path(__file__).parent / 'explorer.css').read_text()}</style>"


def explore(
    model: nn.Module, example_inputs: Any = None, *, tracer_kwargs: dict[str, Any] | None = None
) -> Explorer:
    """Show what is inside a model, and what each part of it computes.

    Args:
        model: the model to look at; it is left as it is.
        example_inputs: what to run it on: a tensor, a tuple of positional arguments, a
            dict of keyword arguments, or a pair of both. By default a photograph.
        tracer_kwargs: as for :func:`fxexplore.create_feature_extractor`.

    Returns:
        A widget; it is shown if it is the last line of a notebook's cell.

    Raises:
        TypeError: if an argument is of the wrong kind.
        torch.fx.proxy.TraceError: if the model cannot be opened.

    Example:
        >>> from torch import nn
        >>> explorer = explore(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()))
        >>> explorer.selected = ["1"]
        >>> explorer.run()
        >>> {name: tuple(value.shape) for name, value in explorer.features.items()}
        {'1': (1, 4, 222, 222)}
    """
    return Explorer(model, example_inputs, tracer_kwargs=tracer_kwargs)


class Explorer(widgets.VBox):
    """Tree, diagram, feature maps and code of one model, on one selection and one fold state.

    Args:
        model: as for :func:`explore`.
        example_inputs: likewise.
        tracer_kwargs: likewise.
        name: the expression that stands for the model in the code that is shown.
        inputs_name: the expression that stands for ``example_inputs`` there.
    """

    selected = traitlets.List(traitlets.Unicode())
    """Names of the ticked nodes and modules."""

    return_nodes = traitlets.Dict()
    """The ticked names with their keys in ``features``; follows ``selected``."""

    expanded = traitlets.List(traitlets.Unicode())
    """Paths of the unfolded modules."""

    focused = traitlets.Unicode()
    """Name of the row or box that was clicked last."""

    query = traitlets.Unicode()
    """Words that the tree is searched for."""

    features = traitlets.Dict(read_only=True)
    """The values of the return nodes at the last run, by key."""

    def __init__(
        self,
        model: nn.Module,
        example_inputs: Any = None,
        *,
        tracer_kwargs: dict[str, Any] | None = None,
        name: str = "model",
        inputs_name: str = "x",
    ) -> None:
        self.model = checked_model(model)
        self.graph: ModelGraph = open_model(self.model, example_inputs, tracer_kwargs=tracer_kwargs)
        self.tree = NodeTree(self.graph)
        self.diagram = NodeGraph(self.graph)
        self._name = name
        self._inputs_name = inputs_name
        self._tracer_kwargs = tracer_kwargs
        self._example_inputs = example_inputs
        self._input_words, self._input_code = self._inputs_in_words()
        self._header = widgets.HTML(_STYLE + self._headline())
        self._run_button = widgets.Button(
            description="Run", button_style="primary", layout=widgets.Layout(width="80px")
        )
        self._run_button.on_click(lambda _: self._guarded(self.run))
        self._maps = widgets.VBox(layout=widgets.Layout(max_height="450px", overflow="auto"))
        self._code = widgets.HTML()
        self._footer = widgets.HTML()
        self._error = widgets.HTML()
        super().__init__(self._parts())
        self.add_class("fxx-explorer")
        for trait in ("selected", "expanded", "focused"):
            traitlets.link((self.tree, trait), (self, trait))
            traitlets.link((self, trait), (self.diagram, trait))
        traitlets.link((self.tree, "query"), (self, "query"))
        self._show_selection()

    def extractor(self) -> nn.Module:
        """The feature extractor of the ticked nodes, as the code that is shown makes it.

        Raises:
            ValueError: if nothing is ticked.
        """
        if not self.return_nodes:
            raise ValueError("nothing is ticked; tick a node in the tree, or set selected")
        is_recorded = self.graph.backend == "recorded"
        inputs = example_inputs_for(self.model, self._example_inputs) if is_recorded else None
        return create_feature_extractor(
            self.model,
            return_nodes=self.return_nodes,
            tracer_kwargs=self._tracer_kwargs,
            example_inputs=inputs and (inputs.args, inputs.kwargs),
            backend=self.graph.backend,
            mode="eval",
        )

    def run(self) -> None:
        """Run the model in eval mode as far as the ticked nodes need, and show their values.

        Raises:
            ValueError: if nothing is ticked, or there are no example inputs.
        """
        extractor = self.extractor()
        inputs = example_inputs_for(self.model, self._example_inputs)
        self._run_button.disabled = True
        try:
            with untouched(self.model), torch.no_grad():
                extractor.eval()
                features = extractor(*inputs.args, **inputs.kwargs)
        finally:
            self._run_button.disabled = False
        self.set_trait("features", features)
        self._error.value = ""
        self._maps.children = [_picture(key, value) for key, value in features.items()]

    @traitlets.validate("selected")
    def _check_selected(self, proposal: dict[str, Any]) -> list[str]:
        for name in proposal["value"]:
            self._check_name(name)
        return list(dict.fromkeys(proposal["value"]))

    @traitlets.validate("return_nodes")
    def _check_return_nodes(self, proposal: dict[str, Any]) -> dict[str, str]:
        for name in proposal["value"]:
            self._check_name(name)
        return dict(proposal["value"])

    def _check_name(self, name: str) -> None:
        if name not in self.graph.index:
            near = difflib.get_close_matches(name, self.graph.index, n=3)
            hint = f"; did you mean {', '.join(near)}?" if near else ""
            raise traitlets.TraitError(f"'{name}' is no node or module of this model{hint}")
        item = self.graph[name]
        if isinstance(item, Module) and not item.returns:
            raise traitlets.TraitError(
                f"'{name}' is a {item.cls} that forward never calls, so it returns nothing; "
                f"choose something inside it"
            )

    @traitlets.observe("selected")
    def _on_selected(self, change: dict[str, Any]) -> None:
        keys = self.return_nodes
        self.return_nodes = {name: keys.get(name, name) for name in change["new"]}

    @traitlets.observe("return_nodes")
    def _on_return_nodes(self, change: dict[str, Any]) -> None:
        self.selected = list(change["new"])
        self._show_selection()

    def _parts(self) -> list[widgets.Widget]:
        self.tree.layout = widgets.Layout(flex="1 1 0%", min_width="300px")
        inputs = widgets.HTML(f"input: {html.escape(self._input_words)}")
        maps = widgets.VBox([widgets.HBox([self._run_button, inputs]), self._error, self._maps])
        tabs = widgets.Tab(
            [self.diagram, maps, self._code], titles=["Diagram", "Feature maps", "Code"]
        )
        tabs.layout = widgets.Layout(flex="1 1 0%", min_width="300px")
        body = widgets.HBox([self.tree, tabs])
        return [self._header, body, self._footer]

    def _headline(self) -> str:
        facts = [
            f"{short_count(self.graph.parameters)} parameters",
            *([f"{short_count(self.graph.flops)}FLOPs"] if self.graph.flops else []),
            f"{len(self.graph.nodes)} nodes",
            self._way_in(),
        ]
        return (
            f'<div class="fxx-bar"><b>{html.escape(self.graph.model)}</b> '
            f'<span class="fxx-quiet">{" · ".join(facts)}</span></div>'
        )

    def _way_in(self) -> str:
        if not self.graph.reason:
            return self.graph.backend
        reason = html.escape(self.graph.reason, quote=True)
        return f'<span title="{reason}" tabindex="0"><u>{self.graph.backend}</u></span>'

    def _inputs_in_words(self) -> tuple[str, str | None]:
        try:
            inputs = example_inputs_for(self.model, self._example_inputs)
        except (TypeError, ValueError) as problem:
            return str(problem), None
        return f"{inputs.source} {inputs.shapes}", inputs.code

    def _show_selection(self) -> None:
        code = to_python(
            self.return_nodes,
            model=self._name,
            inputs=self._input_code,
            recorded_on=self._recorded_on(),
        )
        self._code.value = f'<pre class="fxx-code">{html.escape(code)}</pre>'
        chips = "".join(
            f'<span class="fxx-chip">{html.escape(name)} → <b>{html.escape(key)}</b></span>'
            for name, key in self.return_nodes.items()
        )
        none = '<span class="fxx-quiet">(none yet; tick a node in the tree)</span>'
        label = '<span class="fxx-quiet">return nodes</span>'
        self._footer.value = f'<div class="fxx-bar">{label} {chips or none}</div>'

    def _recorded_on(self) -> str | None:
        if self.graph.backend != "recorded":
            return None
        given = self._example_inputs is not None
        return f"{self._name}, {self._inputs_name}" if given else self._name

    def _guarded(self, action: Callable[[], None]) -> None:
        """Run what a click asks for; an error is shown where the click was."""
        try:
            action()
        except Exception as problem:  # noqa: BLE001  # whatever the user's model raises
            details = "".join(traceback.format_exception(problem))
            self._error.value = (
                '<div class="fxx-error" role="alert">'
                f"<b>{html.escape(type(problem).__name__)}</b>: "
                f"{html.escape(str(problem))}<details><summary>Traceback</summary>"
                f"<pre>{html.escape(details)}</pre></details></div>"
            )

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        """The live widget, and the same as HTML for pages where no kernel runs."""
        bundle: dict[str, Any] = super()._repr_mimebundle_(**kwargs)
        picture = base64.b64encode(self.diagram.svg.encode()).decode()
        bundle["text/html"] = (
            f"{to_html(self.graph, self.expanded, self.return_nodes)}"
            f'<img alt="Diagram of the model" src="data:image/svg+xml;base64,{picture}">'
        )
        return bundle


def _picture(key: str, value: Any) -> widgets.HTML:
    figure = plot_feature_maps({key: value})
    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=_DPI)
    data = base64.b64encode(png.getvalue()).decode()
    alt = html.escape(f"Feature maps of {key}", quote=True)
    return widgets.HTML(f'<img class="fxx-map" alt="{alt}" src="data:image/png;base64,{data}">')
