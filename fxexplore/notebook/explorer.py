"""The explorer: tree, diagram, feature maps and code of one model, side by side."""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import ipywidgets as widgets
import traitlets
from IPython.core.interactiveshell import InteractiveShell
from IPython.display import DisplayHandle
from torch import fx, nn

from fxexplore.feature_extraction import (
    keys_by_mode,
    model_and_tracer,
)
from fxexplore.inputs import ExampleInputs, InferredOnce
from fxexplore.layout import warm_up
from fxexplore.model_graph import Features, ModelGraph, ValueCheck, ValueRange
from fxexplore.views import (
    Detail,
    Direction,
    value_marks,
)

from .cells import forget_result, made_in_present_cell
from .closing import close_comm, close_parts, close_since, open_comms
from .code_tab import CodeTab
from .feature_maps import FeatureMapsPanel
from .feature_maps.runs import computed
from .header import Header
from .model_watch import ModelWatch
from .modes import Modes, check_mode
from .node_facts import NodeFacts
from .node_graph import NodeGraph
from .node_tree import NodeTree
from .notice import Notice
from .problems import with_line
from .return_nodes import ReturnNodes
from .saved_forms import SavedForms
from .shell import variable_of
from .small_widgets import SaveButton, Splitter, keep_page_of
from .view_state import KEPT, state_that_fits


class Explorer(SavedForms):
    """Show what is inside a model, and what each part of it computes.

    Tree, diagram, feature maps and code of one model, on one selection and one fold state. The
    widget is shown if it is the last line of a notebook's cell. ``explore`` is another name for it.

    Args:
        model: the model to look at, which is left as it is; or its traced graph.
        example_inputs: what to run it on: a tensor, a tuple of positional arguments, a
            dict of keyword arguments, or a pair of both. By default those of
            :func:`fxexplore.example_inputs_for`, for most models of pictures a photograph.
        mode: the mode whose nodes are shown, and that is run; by default eval, or the mode of a
            traced graph. The explorer can change it.
        backend: ``"symbolic"`` to trace, ``"recorded"`` to record one run, ``"auto"`` to
            record only what cannot be traced.
        tracer_kwargs: keyword arguments for :class:`fxexplore.NodePathTracer`, such as
            ``{"leaf_modules": [MyBlock]}``.
        concrete_args: values for arguments of forward while tracing.
        name: the expression that stands for the model in the code that is shown; by default the
            variable of the notebook that holds it, or ``model``.
        inputs_name: the expression that stands for ``example_inputs`` there;
            by default the variable that holds it, or ``x``.
        tokenizer: for a model of text: turns a sentence into arguments of the model, as the
            tokenizers of transformers do.
        tokenizer_name: the expression that stands for it there; by default the
            variable that holds it, or ``tokenizer``.
        inputs_line: the line of the notebook that texts suggest for other inputs, such as
            ``"%fxnodes --inputs batch model"``; by default they suggest ``example_inputs=``.
        shell: the IPython shell whose variables can be named as inputs; by default the
            present one.
        selected: names of the nodes that are ticked.
        return_nodes: the ticked names with their output keys, instead of ``selected``.
        expanded: paths of the modules that are unfolded; by default those that say much in few
            boxes.
        focused: name of the node whose facts are shown; ``""`` for none.
        query: what the tree is searched for, as ``ModelGraph.find`` describes it.
        direction: where the diagram leads: ``"down"`` from the top, ``"right"`` from the left.
        detail: how much is shown: ``"modules"``; ``"operations"``, without sizes, asserts,
            constants, and views that only pass values on; or ``"everything"``.
        layout: CSS of the widget as a whole, such as ``{"width": "900px"}``.

    Attributes:
        tree: the tree of names.
        diagram: the picture.
        maps: the feature maps.
        code: the code of the selection.
        node: the facts of the focused node.
        chips: the return nodes with their keys.
        notice: the line that says what is going on.

    Raises:
        TypeError: if an argument is of the wrong kind.
        torch.fx.proxy.TraceError: if the model cannot be opened.

    Example:
        >>> from torch import nn
        >>> explorer = explore(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()), selected=["1"])
        >>> {name: tuple(value.shape) for name, value in explorer.run().items()}
        {'1': (1, 4, 222, 222)}
        >>> explorer = Explorer(nn.Sequential(nn.ReLU(), nn.Sigmoid()), selected=["0"])
        >>> explorer.return_nodes = {"0": "first"}
        >>> print(explorer.code.text.splitlines()[6].strip())
        "0": "first",
    """

    mode = traitlets.Unicode("eval")
    """``"eval"`` or ``"train"``: the mode whose nodes are shown, and that is run."""

    direction = traitlets.Enum(get_args(Direction), "down")
    """Where the diagram leads: ``"down"`` from the top, or ``"right"`` from the left."""

    features = traitlets.Dict(read_only=True)
    """The values of the return nodes at the last run, by key."""

    _modes: Modes

    def __init__(
        self,
        model: nn.Module | fx.Graph,
        example_inputs: Any = None,
        *,
        mode: Literal["eval", "train"] | None = None,
        backend: Literal["auto", "symbolic", "recorded"] = "auto",
        tracer_kwargs: dict[str, Any] | None = None,
        concrete_args: dict[str, Any] | None = None,
        name: str | None = None,
        inputs_name: str | None = None,
        tokenizer: Any = None,
        tokenizer_name: str | None = None,
        inputs_line: str = "",
        shell: InteractiveShell | None = None,
        selected: Sequence[str] | None = None,
        return_nodes: Mapping[str, str] | Sequence[str] | None = None,
        expanded: Sequence[str] | None = None,
        focused: str = "",
        query: str = "",
        direction: Direction = "down",
        detail: Detail = "operations",
        layout: widgets.Layout | dict[str, str] | None = None,
    ) -> None:
        known = open_comms()
        try:
            self.given_layout = layout if isinstance(layout, widgets.Layout) else None
            name = name or variable_of(model, "model", shell)
            inputs_name = inputs_name or variable_of(example_inputs, "x", shell)
            tokenizer_name = tokenizer_name or variable_of(tokenizer, "tokenizer", shell)
            self.model, tracer = model_and_tracer(model)
            first_mode = mode or ("eval" if tracer is None else tracer.mode)
            options = {"tracer_kwargs": tracer_kwargs, "concrete_args": concrete_args}
            warm_up()  # while the model is opened
            in_words = functools.partial(with_line, line=inputs_line)
            self._inputs = InferredOnce(self.model, example_inputs, name, inputs_name, in_words)
            self._shown_early: list[DisplayHandle] = []
            self._former: dict[str, Any] = {}
            self.notice = Notice(in_words)
            self._watch = ModelWatch(
                self.model,
                self.notice,
                self.open_again,
                lambda: self.maps.start(),  # noqa: PLW0108  # they are made below
            )
            self._modes = Modes(
                self.model if tracer is None else model,
                self._inputs,
                {"backend": backend, **options},
                self.notice,
                self._take,
            )
            graph = self._modes.first(first_mode)
            self.maps = FeatureMapsPanel(
                self.model,
                graph,
                make_extractor=self.extractor,
                example_inputs=self._inputs.known or _NOT_YET,
                name=name,
                tokenizer=tokenizer,
                tokenizer_name=tokenizer_name,
                shell=shell,
            )
            self.code = CodeTab(name, options)
            self.header = Header(graph, self._inputs.known)
            self.tree = NodeTree(graph, detail=detail)
            self.diagram = NodeGraph(graph, detail=detail, direction=direction)
            self.node = NodeFacts(graph)
            self.chips = ReturnNodes()
            super().__init__(
                graph,
                self._laid_out(),
                mode=first_mode,
                detail=detail,
                layout={} if layout is None else layout,
            )
            self.add_class("fxx-explorer")
            self._connect()
            self._modes.find_facts(first_mode)
            if expanded is not None:
                self.expanded = list(expanded)
            if selected is not None:
                self.selected = list(selected)
            if return_nodes is not None:
                self.return_nodes, _ = keys_by_mode(return_nodes, None, None)
            self.focused, self.query = focused, query
            given = {
                "expanded": expanded,
                "return_nodes": return_nodes if selected is None else selected,
                "focused": focused or None,
                "query": query or None,
                "detail": None if detail == "operations" else detail,
            }
            former = made_in_present_cell(self, name)
            self._former = {n: v for n, v in former.items() if given.get(n) is None}
            self._go_on()
            self._focus_failure()
        except BaseException:
            # Also when it is interrupted: ipywidgets would keep all that was made.
            if "_modes" in vars(self):
                self._modes.stop()
            close_since(known)
            raise

    # --- what can be done ---------------------------------------------------------------

    def extractor(self) -> nn.Module:
        """The feature extractor of the ticked nodes, as the code that is shown makes it.

        Raises:
            ValueError: if nothing is ticked.
        """
        if not self.return_nodes:
            raise ValueError("nothing is ticked; tick a node in the tree, or set selected")
        self._watch.check()
        self.complete()
        return self._modes.extractor(self.mode, self.return_nodes)

    def run(self) -> Features:
        """Run the model as far as the ticked nodes need, and show their values.

        Returns:
            The values by key, with the graph that they are of.

        Raises:
            ValueError: if nothing is ticked, there are no example inputs, or it is closed.
        """
        if self.comm is None:
            raise ValueError("this explorer is closed; make another one with explore(model)")
        return self.maps.run()

    def check_values(self) -> ValueCheck:
        """Run the model once, and show the first node whose value has NaN or Inf.

        The values are looked at one by one, as they are computed, and none is kept.

        Returns:
            The name of that node, the ranges of what it reads, and those of all values before it.

        Raises:
            ValueError: if there are no example inputs.

        Example:
            >>> explore(nn.Linear(2, 2)).check_values().first
            ''
        """
        self.complete()
        extractor, take = self._modes.checking(self.mode)
        check: ValueCheck = computed(extractor, self.maps.next_run(), take=take)
        self._show_check(check)
        return check

    def open_again(self) -> None:
        """Open the model anew, because it has changed; what has the same name stays as it is.

        Example:
            >>> from torch import nn
            >>> model = nn.Sequential(nn.ReLU(), nn.Conv2d(3, 4, 3))
            >>> explorer = Explorer(model, selected=["1"])
            >>> model[0] = nn.GELU()
            >>> explorer.look_again()
            >>> explorer.notice.words
            "The model has changed since it was opened: '0' is another module, a GELU"
            >>> explorer.open_again()
            >>> explorer.graph["0"].cls, explorer.selected
            ('GELU', ['1'])
        """
        self.notice.clear()
        self.maps.forget()
        former = self.view_state
        self._modes.forget()
        self._watch.begin()
        self.header.switch.disabled = False
        try:
            graph = self._modes.first(self.mode)
        except Exception as problem:  # noqa: BLE001  # whatever the user's model raises
            self.notice.error(problem, "The model does not open any more")
            return
        self._former = former
        self._show(graph)
        self._modes.find_facts(self.mode)

    def look_again(self) -> None:
        """Say so where the model is no longer what is shown; done after every cell and tick."""
        if self.comm is not None:
            self._watch.look(is_outdated=self.maps.is_outdated)

    @property
    def view_state(self) -> dict[str, Any]:
        """How it is looked at, which an explorer goes on with if the cell is run again."""
        traits = {name: getattr(self, name) for name in KEPT}
        return traits | {"tab": self._tabs.selected_index, "inputs": self.maps.inputs.state}

    def close(self) -> None:
        """Stop what runs, drop all values, and take the widget with its parts off the page."""
        if self.comm is None:
            return
        self._modes.stop()
        self.maps.close()
        forget_result(self)
        close_parts(self)
        comm = self.comm
        super().close()
        close_comm(comm)

    def __del__(self) -> None:
        """Close it, but not while Python ends: nobody sees it then."""
        if not sys.is_finalizing():
            super().__del__()

    # --- its parts ----------------------------------------------------------------------

    def _laid_out(self) -> list[widgets.Widget]:
        tabs = self._tabs = widgets.Tab(
            [self.diagram, self.maps, self.code, self.node],
            titles=["Diagram", "Feature maps", "Code", "Node"],
        )
        columns = Splitter(value=46.0, label="Width of the tree")
        body = widgets.HBox([self.tree, columns, tabs])
        height = Splitter(
            value=None, least=240, most=1600, unit="px", variable="--fxx-height", label="Height"
        )
        save = SaveButton(self.page, label="Save page", file_name=f"{self.model._get_name()}.html")
        save.add_class("fxx-needs-kernel")
        footer = widgets.HBox([self.chips, self.code.copy_button, save])
        for part, cls in ((self.tree, "left"), (tabs, "right"), (body, "body"), (footer, "footer")):
            part.add_class(f"fxx-{cls}")
        return [self.header, self.notice, body, height, footer]

    def _connect(self) -> None:
        self.expanded = self.tree.expanded
        self.direction = self.diagram.direction
        both = (
            "selected",
            "expanded",
            "open_groups",
            "focused",
            "query",
            "hits",
            "detail",
            "values",
        )
        self.share(self.tree, *both)
        self.share(self.diagram, *both, "direction")
        self.share(self.chips, "return_nodes", "focused")
        self.share(self.node, "focused", "values")
        self.share(self.maps, "return_nodes")
        self.maps.observe(self._on_features, "features")
        self.observe(lambda _: self.look_again(), "return_nodes")
        self.header.switch.observe(lambda change: self._switch(change["new"]), "value")
        self.header.check.on_click(lambda _: self._check_values())
        self.maps.observe(lambda change: self._show_values(change["new"]), "ranges")
        self.observe(lambda _: self._show_code(), "return_nodes")
        self.maps.inputs.observe(lambda _: self._show_code(), "chosen")
        keep_page_of(self)
        self._show_code()

    def _on_features(self, change: dict[str, Any]) -> None:
        self.set_trait("features", change["new"])
        ran = self.maps.last_inputs
        if change["new"] and ran is not None and ran is not self._modes.inputs:
            self._modes.follow(self.mode, ran)
            self.header.inputs = ran
            self.header.show(self.graph)
        self.look_again()

    def refused(self, problem: traitlets.TraitError) -> None:
        """Say why a part's value was not taken."""
        self.notice.error(problem)

    # --- its mode -----------------------------------------------------------------------

    @traitlets.validate("mode")
    def _check_mode(self, proposal: dict[str, Any]) -> str:
        mode: str = proposal["value"]
        check_mode(mode)
        if mode == self.graph.mode:
            return mode
        try:
            self._modes.graph(mode)
        except Exception as problem:
            raise traitlets.TraitError(
                f"the model does not open in {mode} mode: {problem}"
            ) from problem
        return mode

    @traitlets.observe("mode")
    def _on_mode(self, change: dict[str, Any]) -> None:
        mode = change["new"]
        if mode == self.graph.mode:
            return
        self.values = {}  # they are of the other mode
        self._show(self._modes.graph(mode))
        self.header.switch.value = mode
        self._modes.find_facts(mode)

    def _check_values(self) -> None:
        """What a click on the button asks for."""
        self.notice.clear()
        try:
            self.complete()
            self._modes.check_values(self.mode, self.maps.next_run(), self._show_check)
        except Exception as problem:  # noqa: BLE001  # whatever the user's model raises
            self.notice.error(problem)

    def _show_check(self, check: ValueCheck) -> None:
        self._show_values(check.ranges)
        if check.first:
            self.focused = check.first
            self.notice.alert(check.words)
        else:
            self.notice.say(check.words)

    def _show_values(self, ranges: Mapping[str, ValueRange]) -> None:
        self.values = value_marks(self.graph, ranges)

    def _switch(self, mode: str) -> None:
        """What a click on the switch asks for."""
        if self._modes.opening not in ("", mode):
            self._modes.stop()  # another mind
        if mode == self.mode:
            return
        self.notice.clear()
        try:
            self._modes.open(mode, lambda problem: self._switched(mode, problem), self._take_back)
        except KeyboardInterrupt as problem:
            self._take_back()
            self.notice.error(problem)

    def _switched(self, mode: str, problem: Exception | None) -> None:
        if problem is None:
            self.mode = mode
            return
        self.header.refuse(mode, self.mode)
        self._modes.find_facts(self.mode)
        self.notice.error(problem, f"The model does not open in {mode} mode")

    def _take_back(self) -> None:
        """Stay in the mode that is shown."""
        self.header.switch.value = self.mode
        self._modes.find_facts(self.mode)

    # --- its graph ----------------------------------------------------------------------

    def complete(self) -> None:
        """Wait for a model that is still being opened, and open it if somebody stopped that."""
        graph = self._modes.graph(self.mode)
        if not self.graph.backend:
            self._show(graph)
            self._show_again()

    def _take(self, graph: ModelGraph) -> None:
        """Take a graph that was found in the background."""
        if graph is not self.graph and graph.mode == self.mode:
            self._show(graph)
            self._show_again()

    def _show(self, graph: ModelGraph) -> None:
        """Show another graph of the model, and say which ticked names are gone."""
        self.header.inputs = self._modes.inputs
        inputs = self._inputs.known
        if inputs is not None:
            self.maps.inputs.offer(inputs)
        gone = self.replace_graph(graph)
        self.tree.only = self.diagram.only = self._modes.only(graph.mode)
        for part in (self.tree, self.diagram, self.node, self.maps):
            part.graph = graph
        self.header.show(graph)
        self._go_on()
        self._show_code()
        self._focus_failure()
        if gone:
            names = ", ".join(gone)
            self.notice.say(
                f"No longer ticked, because {graph.mode} mode has no such node: {names}"
            )

    def _go_on(self) -> None:
        """Take up the state of the explorer before this one, once all of the graph is there."""
        if not self.graph.backend or not self._former:
            return
        former, self._former = self._former, {}
        for name, value in state_that_fits(former, self.graph).items():
            setattr(self, name, value)
        self._tabs.selected_index = former["tab"]
        with contextlib.suppress(Exception):  # a variable may be gone
            self.maps.inputs.choose_again(former["inputs"])

    def _focus_failure(self) -> None:
        """Lead to where the model raised, if nothing else has the focus."""
        error = self.graph.error
        if error is not None and error.name in self.graph.index and not self.focused:
            around = self.graph.ancestors(error.name)
            self.expanded = [*dict.fromkeys([*self.expanded, *around])]
            self.focused = error.name

    def _show_code(self) -> None:
        self.code.show(self.graph, self.return_nodes, self.maps.current_inputs)


explore = Explorer

_NOT_YET = ExampleInputs((), {}, "none", missing="what the model runs on is being found")
