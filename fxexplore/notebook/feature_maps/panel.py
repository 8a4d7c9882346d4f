"""Feature maps of the ticked nodes: choose an input, run, look, compare."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, cast

import ipywidgets as widgets
import traitlets
from torch import nn

from fxexplore.feature_extraction import Backend, Mode, create_feature_extractor, twin_of
from fxexplore.inputs import ExampleInputs, known_inputs
from fxexplore.model_graph import Features, ModelGraph
from fxexplore.notebook.brief import Brief, ticked
from fxexplore.notebook.closing import close_parts
from fxexplore.notebook.shell import present_shell, variable_of
from fxexplore.notebook.small_widgets import SaveButton
from fxexplore.notebook.task import Stop, Task, running_loop
from fxexplore.views.feature_maps import PlotOptions, extent_of

from .cards import MapCards
from .controls import MapControls
from .feature_map_view import file_of
from .input_chooser import InputChooser
from .runs import Run, Runs, Shown, computed, state_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MEGABYTE = 1_000_000


class FeatureMapsPanel(Brief, widgets.VBox):
    """Feature maps of the ticked nodes, and what they are of.

    Args:
        model: the model, which is left as it is.
        graph: its graph, in the mode in which it is to run.
        make_extractor: makes the extractor of ``return_nodes``.
        example_inputs: as for :func:`fxexplore.inputs.known_inputs`.
        name: the expression that the model goes by in code.
        tokenizer: turns a sentence into arguments, as those of transformers do.
        tokenizer_name: the expression that it goes by in code.
        shell: the IPython shell whose variables can be named; by default the present one.

    Example:
        >>> from fxexplore import create_feature_extractor, open_model
        >>> model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
        >>> make_extractor = lambda: create_feature_extractor(model, panel.return_nodes)
        >>> panel = FeatureMapsPanel(model, open_model(model), make_extractor=make_extractor)
        >>> panel.return_nodes = {"1": "1"}
        >>> {name: tuple(value.shape) for name, value in panel.run().items()}
        {'1': (1, 4, 222, 222)}
    """

    graph = traitlets.Instance(ModelGraph)
    """The graph of the model, in the mode in which it is to run."""

    return_nodes = traitlets.Dict()
    """The ticked names with their keys in ``features``."""

    features = traitlets.Dict(read_only=True)
    """The values of the return nodes that are held of the last run, by key."""

    ranges = traitlets.Dict(read_only=True)
    """The ranges of the values of the last run, by name."""

    options = traitlets.Instance(PlotOptions, ())
    """How they are drawn."""

    comparing = traitlets.Bool(False)
    """Whether the run that was kept is drawn beside the last."""

    kept_bytes = traitlets.Int(512 * _MEGABYTE)
    """The most bytes of values that are held: of the last run, and of the run that is kept."""

    def _told(self) -> list[str]:
        ran = f"{len(self.features)} values" if self.features else "not run"
        return [self.graph.model, ticked(len(self.return_nodes)), ran]

    def __init__(
        self,
        model: nn.Module,
        graph: ModelGraph,
        *,
        make_extractor: Callable[[], nn.Module],
        example_inputs: Any = None,
        name: str = "model",
        tokenizer: Any = None,
        tokenizer_name: str = "tokenizer",
        shell: Any = None,
        **kwargs: Any,
    ) -> None:
        self.model = model
        self.graph = graph
        self.make_extractor = make_extractor
        self._name = name
        self.shell = shell
        self._runs = Runs(self.kept_bytes)
        self._task: Task[Mapping[str, Any]] | None = None
        self._saved = ""
        save = SaveButton(self._made_file, label="Save").add_class("fxx-needs-kernel")
        self.controls = MapControls(save)
        self.inputs = InputChooser(
            model,
            example_inputs,
            name=name,
            tokenizer=tokenizer,
            tokenizer_name=tokenizer_name,
            shell=shell,
            buttons=(self.controls.run, self.controls.view),
        )
        self.cards = MapCards()
        super().__init__(**kwargs)
        self.children = [
            self.cards.page,
            self.inputs,
            self.controls.folded,
            self.controls.status,
            widgets.VBox([self.cards.detail, self.cards.pictures]).add_class("fxx-scroll"),
        ]
        self.add_class("fxx-maps")
        self._listen()
        self._show()

    # --- from Python --------------------------------------------------------------------

    @property
    def current_inputs(self) -> ExampleInputs | None:
        """What the next run is on; None if nothing was given and nothing could be inferred."""
        chosen: ExampleInputs | None = self.inputs.chosen
        return chosen

    @property
    def last_inputs(self) -> ExampleInputs | None:
        """What the last run was on; None if nothing has run."""
        return None if self._runs.last is None else self._runs.last.inputs

    @property
    def message(self) -> str:
        """How things are, in a line: what is missing, what has changed, how far a run is."""
        return str(self.controls.message)

    @property
    def problem(self) -> str:
        """What went wrong last at a click, in words; ``""`` if nothing did."""
        problem = self.controls.problem
        return "" if problem is None else f"{type(problem).__name__}: {problem}"

    @property
    def held_bytes(self) -> int:
        """How many bytes of values are held: of the last run, and of the run that is kept."""
        return self._runs.bytes

    @property
    def is_outdated(self) -> bool:
        """Whether numbers were written into the model since the values that are shown."""
        last = self._runs.last
        if not self.features or last is None or last.is_other:
            return False
        return last.state != state_of(self.model)

    def forget(self) -> None:
        """Drop the values of the last run."""
        self._cancel()
        self.controls.running, self.controls.problem = False, None
        self._runs = Runs(self.kept_bytes)
        self.comparing = False
        self._show()

    def run(self) -> Features:
        """Run the model as far as the ticked nodes need, and show their values.

        Returns:
            The values by key, with the graph that they are of.

        Raises:
            ValueError: if nothing is ticked, or there are no inputs.
        """
        self._cancel()
        self.controls.running = False
        extractor, run, nodes = self._prepared()
        values = computed(extractor, run)
        self._finished(run, nodes, values)
        return Features(values, self.graph, nodes)

    def start(self) -> None:
        """Run as the button does: in the background if that can be; errors are shown."""
        self._guarded(self._start)

    def wait(self, seconds: float = 60.0) -> bool:
        """Block until the run that the button started has ended, and draw.

        Args:
            seconds: for how long at most.

        Returns:
            Whether it has ended.
        """
        has_ended = self._task is None or not self._task.is_pending or self._task.wait(seconds)
        self.cards.draw()
        return has_ended

    def keep(self) -> None:
        """Keep the last run, to compare others with it.

        Raises:
            ValueError: if nothing has run yet.
        """
        self._runs.keep()
        self._show()

    def discard(self) -> None:
        """Drop the run that was kept."""
        self._runs.forget_kept()
        self.comparing = False
        self._show()

    def compare(self, other_inputs: Any = None, *, other_model: nn.Module | None = None) -> Figure:
        """Run twice, and show both runs and their difference.

        Args:
            other_inputs: run the model on the present inputs and on these.
            other_model: run the present inputs through the model and through this one, which
                has nodes of the same names.

        Returns:
            The figure that is shown.

        Raises:
            ValueError: if neither or both are given, nothing is ticked, or the other model
                has no node of a ticked name.
        """
        if (other_inputs is None) == (other_model is None):
            raise ValueError("give what to compare with: other inputs, or other_model=")
        self.comparing = False
        self.run()
        self.keep()
        if other_model is not None:
            self._run_other(other_model)
        else:
            inputs_name = variable_of(other_inputs, "other_inputs", self.shell)
            self.inputs.chosen = known_inputs(self.model, other_inputs, self._name, inputs_name)
            self.run()
        self.comparing = True
        return self.figure()

    def figure(self, key: str | None = None) -> Figure:
        """All that is shown as one figure, as matplotlib's rcParams have it.

        Args:
            key: of the one value to draw; by default all are.

        Raises:
            ValueError: if nothing is shown.
        """
        return self._shown().plot(*([] if key is None else [key]))

    def channel_figure(self, key: str, channel: int) -> Figure:
        """One channel of a value drawn large, with the input beside it.

        Args:
            key: of the value.
            channel: its number.

        Raises:
            ValueError: if nothing is shown, or there is no such channel.
        """
        return self._shown().plot_channel(key, channel)

    @property
    def code(self) -> str:
        """The code that makes the figure, and saves it where that was done; else a comment does.

        Raises:
            ValueError: if nothing has run yet.
        """
        line = self._save_line
        return self._shown().code(line if line == self._saved else f"# {line}")

    def close(self) -> None:
        """Stop what runs, drop the values and close the widgets."""
        if self.comm is None:
            return
        self.forget()
        self.cards.close()
        close_parts(self)
        super().close()

    # --- running ------------------------------------------------------------------------

    def _prepared(self) -> tuple[nn.Module, Run, dict[str, str]]:
        """The extractor, the run and the return nodes of a run now.

        Raises:
            ValueError: if nothing is ticked, or there are no inputs.
        """
        if not self.return_nodes:
            raise ValueError("nothing is ticked; tick a node in the tree, or set selected")
        # First, for it waits until the model is open, and with that for its inputs.
        extractor = self.make_extractor()
        return extractor, self.next_run(), dict(self.return_nodes)

    def next_run(self) -> Run:
        """What a run now would be of.

        Raises:
            ValueError: if there are no inputs.
        """
        chosen = self.current_inputs
        if chosen is None:
            raise ValueError(self.inputs.missing)
        return Run(chosen, self.graph.mode == "train", state_of(self.model), chosen.label)

    def _start(self) -> None:
        """What the button does: run, in the background if that can be, or stop the run."""
        if self._task is not None and self._task.is_pending:
            self._task.progress.stop.set()
            return
        self.controls.problem, self.controls.message = None, ""
        self.inputs.forget_problem()
        extractor, run, nodes = self._prepared()
        twin = twin_of(extractor) if running_loop() is not None else None
        self.controls.running = twin is not None
        self._task = Task(
            lambda progress: computed(
                twin or extractor, run, progress if twin is not None else None
            ),
            lambda task: self._guarded(lambda: self._ended(task, run, nodes)),
            ticked=self.controls.show_progress,
            in_background=twin is not None,
            shell=self.shell or present_shell(),
        )
        self._task.start()
        if twin is None and running_loop() is not None:
            words = "this model cannot be copied, so that its runs cannot be stopped"
            self.controls.message = words

    def _cancel(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()

    def _ended(self, task: Task[Mapping[str, Any]], run: Run, nodes: Mapping[str, str]) -> None:
        self.controls.running = False
        self._task = None  # which has all values, above the limit too
        try:
            self._finished(run, nodes, task.result())
        except Stop:
            self.controls.message = "stopped; the pictures are those of the run before"

    def _finished(self, run: Run, nodes: Mapping[str, str], values: Mapping[str, Any]) -> None:
        self.controls.problem = None
        self._runs.add(run, {name: values[key] for name, key in nodes.items()})
        self._show()

    def _run_other(self, model: nn.Module) -> None:
        """Run another model with nodes of the same names."""
        run = self.next_run()
        run = dataclasses.replace(run, label="other model", state=state_of(model), is_other=True)
        recorded = self.graph.backend == "recorded"
        extractor = create_feature_extractor(
            model,
            return_nodes=dict(self.return_nodes),
            example_inputs=(run.inputs.args, run.inputs.kwargs) if recorded else None,
            backend=cast("Backend", self.graph.backend),
            mode=cast("Mode", self.graph.mode),
        )
        values = computed(extractor, run)
        self._runs.keep("this model")
        self._finished(run, self.return_nodes, values)

    # --- showing ------------------------------------------------------------------------

    def _listen(self) -> None:
        shown = ["graph", "return_nodes", "options", "comparing"]
        self.observe(lambda _: self._guarded(self._show), shown)
        self.observe(lambda c: self._set_limit(c["new"]), "kept_bytes")
        self.inputs.observe(lambda _: self._guarded(self._show), "chosen")
        controls = self.controls
        controls.run.on_click(lambda _: self.start())
        controls.keep.on_click(lambda _: self._guarded(self.keep))
        controls.discard.on_click(lambda _: self.discard())
        for control in (controls.kind, controls.dpi):
            control.observe(lambda _: self._show_code(), "value")
        traitlets.link((self, "options"), (controls, "options"))
        traitlets.link((self, "comparing"), (controls.compare, "value"))
        # It is rounded in the field, which leaves it as it was set.
        in_megabytes = (lambda n: max(1, n // _MEGABYTE), lambda n: n * _MEGABYTE)
        traitlets.link((self, "kept_bytes"), (controls.limit, "value"), in_megabytes)

    def _set_limit(self, limit: int) -> None:
        self._runs.limit_to(limit)
        self._guarded(self._show)

    def _show(self) -> None:
        """Bring features, pictures and words up to date; nothing is run."""
        values = self._runs.used(sorted(self.return_nodes, key=self._when_computed))
        features = Features(
            {self.return_nodes[name]: value for name, value in values.items()},
            self.graph,
            {name: self.return_nodes[name] for name in values},
        )
        self.set_trait("features", features)
        self.set_trait("ranges", dict(self._runs.ranges))
        self.controls.show_state(self._runs, extent_of(features))
        self.controls.message = self._words()
        self.cards.show(self._shown() if features else None)
        self._show_code()

    def _when_computed(self, name: str) -> tuple[int, int]:
        position = self.graph.index.get(name, 0)
        row = self.graph.rows[position]
        return row.end, -row.depth

    def _words(self) -> str:
        """What is missing among the pictures, or has changed since."""
        parts = self._runs.missing(self.return_nodes)
        if not self.return_nodes:
            parts.append("tick a node to see its feature maps")
        if self.graph.error is not None:
            where = self.graph.error.name or "its own code"
            parts.append(
                f"the model raises in {where}: on these inputs only what comes before runs"
            )
        if self.comparing:
            parts.append(self._runs.unlike(self.return_nodes))
        last = self._runs.last
        if self.features and last is not None and not last.is_other:
            training = self.graph.mode == "train"
            now = Run(self.inputs.chosen, training, state_of(self.model), "")
            parts.append(now.changed_since(last))
        return " · ".join(filter(None, parts))

    def _shown(self) -> Shown:
        """What there is to draw.

        Raises:
            ValueError: if there is nothing.
        """
        runs, features = self._runs, cast("Features", self.features)
        if runs.last is None or not features:
            raise ValueError("there is nothing to draw; tick a node and run")
        shown = Shown(features, self.options, runs.last, name=self._name)
        if runs.kept is None or not self.comparing:
            return shown
        nodes = features.return_nodes
        kept = {nodes[name]: runs.kept_values[name] for name in runs.alike(nodes)}
        return dataclasses.replace(shown, kept=runs.kept, kept_features=kept)

    # --- taking away --------------------------------------------------------------------

    def _made_file(self) -> bytes:
        """The figure as the file that is chosen; nothing if there is none, which is said."""
        kind, dpi = self.controls.kind.value, self.controls.dpi.value
        try:
            content = file_of(self.figure(), kind, dpi if kind == "png" else "figure")
        except Exception as problem:  # noqa: BLE001  # whatever the user's values are
            self.controls.problem = problem
            return b""
        self._saved = self._save_line
        self._show_code()
        return content

    @property
    def _save_line(self) -> str:
        """The code that saves the figure as the button does."""
        kind = self.controls.kind.value
        dpi = f", dpi={self.controls.dpi.value}" * (kind == "png")
        return f'figure.savefig("feature_maps.{kind}"{dpi})'

    def _show_code(self) -> None:
        self.controls.save.file_name = f"feature_maps.{self.controls.kind.value}"
        self.controls.copy.text = self.code if self.features else ""

    def _guarded(self, action: Callable[[], Any]) -> None:
        """Do what a click asks for; an error is shown in words."""
        try:
            action()
        except Exception as problem:  # noqa: BLE001  # whatever the user's model raises
            self.controls.problem = problem
