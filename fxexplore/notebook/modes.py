"""A model opened in eval mode and in train mode, and what is found out about it meanwhile."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Mapping
from typing import Any

import traitlets
from torch import nn

from fxexplore.feature_extraction import beside_others, restores, twin_of
from fxexplore.inputs import ExampleInputs, InferredOnce
from fxexplore.model_graph import (
    ModelGraph,
    Opening,
    ValueCheck,
    checked_values,
    graph_before_run,
    names_to_check,
)
from fxexplore.views import error_in_words

from .feature_maps.runs import Run, computed
from .notice import Notice
from .shell import present_shell
from .task import Progress, Task, running_loop, watched

MODES = ("eval", "train")
_DONE = 60.0  # seconds within which facts are there
_SOON = 0.5  # seconds after which a person wonders what is going on
_STOPPED = (
    "Stopped before the model had run: these are but its registered modules. "
    "Run the cell again to open it."
)

Ended = Callable[[Exception | None], None]


class Modes:
    """The graphs of a model in its modes, each opened when it is first asked for.

    A model that can be traced is traced in the thread that runs the cells, because the traced
    graph is of the model itself. One that has to be run is run in a background thread, which
    can be stopped, as a twin: it shares the parameters, and its flags and buffers are its own,
    so that nothing of the run shows in the model meanwhile. Shapes and FLOPs are found in a
    background thread too.

    Args:
        model: the model, which is left as it is; or its traced graph, which is of one mode.
        example_inputs: as for :func:`fxexplore.open_model`.
        options: further arguments of :class:`~fxexplore.model_graph.opening.Opening`.
        notice: where progress and errors are shown.
        show: shows a graph that comes later.

    Attributes:
        opening: the mode that is being opened in the background; ``""`` for none.

    Example:
        >>> from torch import nn
        >>> modes = Modes(nn.Sequential(nn.ReLU()), None, {}, Notice(), print)
        >>> modes.graph("train").mode, modes.only("train")
        ('train', [])
    """

    def __init__(
        self,
        model: Any,
        example_inputs: Any,
        options: dict[str, Any],
        notice: Notice,
        show: Callable[[ModelGraph], None],
    ) -> None:
        self._model = model
        self._backend = options.get("backend")
        self._inputs = (
            example_inputs
            if isinstance(example_inputs, InferredOnce)
            else InferredOnce(model, example_inputs)
        )
        self._first_inputs = self._inputs
        self._opening: Callable[..., Opening] = functools.partial(Opening, **options)
        self._notice = notice
        self._show = show
        self._openings: dict[str, Opening] = {}
        self._annotated: dict[str, ModelGraph] = {}
        self._task: Task[Any] | None = None
        self._stopped: Callable[[], None] | None = None
        self._is_slow = False  # opening took long in the thread that runs the cells
        self._first = ""
        self.opening = ""

    # --- what is there ------------------------------------------------------------------

    def graph(self, mode: str) -> ModelGraph:
        """What is known of the graph in a mode: waits if it is being opened, or opens it here.

        Raises:
            traitlets.TraitError: if ``mode`` is no mode.
            Exception: what :class:`Opening` raises, if the model does not open in it.
        """
        check_mode(mode)
        while self._task is not None and self.opening == mode:
            self._task.wait()
        self._open(mode)
        return self._annotated.get(mode) or self._openings[mode].graph

    def extractor(self, mode: str, return_nodes: Mapping[str, str]) -> nn.Module:
        """The feature extractor of some nodes; the model is not opened anew for it.

        Args:
            mode: a mode that is open.
            return_nodes: the names of the return nodes with their output keys.
        """
        return self._openings[mode].extractor(dict(return_nodes))

    def only(self, mode: str) -> list[str]:
        """Names of the nodes of a mode that the other mode lacks, if that is open too."""
        others = [opening for other, opening in self._openings.items() if other != mode]
        if not others or mode not in self._openings:
            return []
        elsewhere = {node.name for node in others[0].graph.nodes}
        return [n.name for n in self._openings[mode].graph.nodes if n.name not in elsewhere]

    # --- opening it ---------------------------------------------------------------------

    def first(self, mode: str) -> ModelGraph:
        """What is known within half a second; a graph that comes later is shown by itself.

        Raises:
            traitlets.TraitError: if ``mode`` is no mode.
            Exception: if the model does not open, and that shows within that time.
        """
        check_mode(mode)
        self._first = mode
        is_late = False

        def ended(problem: Exception | None) -> None:
            if not is_late and problem is not None:
                raise problem
            if problem is not None:
                self._notice.error(problem, f"The model does not open in {mode} mode")
            elif is_late:
                graph = self.graph(mode)
                self._show(graph)
                self._report(graph)
                if graph.backend != "recorded":
                    self.find_facts(mode)

        self.open(mode, ended, lambda: self._notice.say(_STOPPED), patience=_SOON)
        is_late = True
        if running_loop() is None:
            self._annotated[mode] = self._openings[mode].annotated()  # nobody would bring it later
        is_open = mode in self._openings
        return self.graph(mode) if is_open else graph_before_run(self._model, mode)

    def open(
        self,
        mode: str,
        ended: Ended,
        stopped: Callable[[], None] | None = None,
        *,
        patience: float = 0.0,
    ) -> None:
        """Open the model in a mode, in the background if it has to be run.

        Args:
            mode: the mode.
            ended: called when it is open, or with the reason if it does not open.
            stopped: called if somebody stops it.
            patience: seconds to wait for it here.

        Raises:
            KeyboardInterrupt: if it has to be opened in this thread, and is interrupted.
        """
        self.stop()
        twin = None
        may_run = isinstance(self._model, nn.Module) and running_loop() is not None
        try:
            if may_run and (self._inputs.known is None or not self._can_be_traced(mode)):
                twin = twin_of(self._model)
            if twin is None:
                self._open(mode)
        except Exception as problem:  # noqa: BLE001  # whatever the user's model raises
            return ended(problem)
        if twin is None:
            return ended(None)
        if self._inputs.known is None:
            return self._find_inputs(twin, mode, ended, stopped, patience)
        return self._run_twin(twin, mode, ended, stopped, patience)

    def _run_twin(
        self,
        twin: nn.Module,
        mode: str,
        ended: Ended,
        stopped: Callable[[], None] | None,
        patience: float,
    ) -> None:
        """Open a model in the background by running it as a twin."""
        make = self._maker(mode)

        def opened(task: Task[Opening]) -> None:
            self.opening = ""
            try:
                opening = task.result()
                if opening.graph.backend == "recorded":
                    self._openings[mode] = opening.of_original(self._model)
                else:
                    self._open(mode)
            except Exception as problem:  # noqa: BLE001  # whatever the user's model raises
                ended(problem)
            else:
                ended(None)

        self.opening = mode
        words = f"Running the model once in {mode} mode, to see what it does"
        work = _run_as(twin, make)
        self._start(work, opened, words, stopped, patience=patience, shell=present_shell())

    def _find_inputs(
        self,
        twin: nn.Module,
        mode: str,
        ended: Ended,
        stopped: Callable[[], None] | None,
        patience: float,
    ) -> None:
        """Find in the background what the model runs on, and then open it."""

        def found(task: Task[Any]) -> None:
            self.opening = ""
            try:
                task.result()
            except Exception as problem:  # noqa: BLE001  # whatever the user's model raises
                return ended(problem)
            return self.open(mode, ended, stopped, patience=patience)

        self.opening = mode
        words = "Finding inputs that the model runs on"
        work = _run_as(twin, self._inputs.get)
        self._start(work, found, words, stopped, patience=patience, shell=present_shell())

    def find_facts(self, mode: str) -> None:
        """Look for the shapes and FLOPs of a mode, if that is open, and show them."""
        if mode not in self._openings:
            return

        def found(task: Task[ModelGraph]) -> None:
            try:
                graph = self._annotated[mode] = task.result()
            except Exception as problem:  # noqa: BLE001  # whatever the user's model raises
                self._notice.error(problem, "Shapes and FLOPs could not be found")
                return
            self._show(graph)
            self._report(graph)

        known, opening = self._annotated.get(mode), self._openings[mode]
        in_background = known is None and opening.graph.backend != "recorded"
        words = "Finding shapes and FLOPs"
        self._start(
            lambda _: known or opening.annotated(), found, words, in_background=in_background
        )

    @property
    def inputs(self) -> ExampleInputs | None:
        """What shapes are for, if that is known."""
        return self._inputs.known

    def follow(self, mode: str, inputs: ExampleInputs) -> None:
        """Show the shapes for other inputs, which the model has run on.

        Args:
            mode: a mode that is open.
            inputs: the inputs.
        """
        if self.inputs is not None and self.inputs.shapes == inputs.shapes:
            self._inputs = InferredOnce(self._model, inputs)
            return
        self.stop()
        former = self._openings, self._annotated, self._inputs

        def take_back() -> None:
            self._openings, self._annotated, self._inputs = former

        def ended(problem: Exception | None) -> None:
            if problem is not None:
                take_back()
                self._notice.error(problem, "The shapes for this input could not be found")
            else:
                self._show(self.graph(mode))

        openings = {known: opening.on(inputs) for known, opening in self._openings.items()}
        self._openings = {known: o for known, o in openings.items() if o is not None}
        self._annotated, self._inputs = {}, InferredOnce(self._model, inputs)
        if mode in self._openings:
            self.find_facts(mode)
        else:
            self.open(mode, ended, take_back)

    def check_values(self, mode: str, run: Run, ended: Callable[[ValueCheck], None]) -> None:
        """Look for the first value that is not finite, in the background if that can be.

        Args:
            mode: a mode that is open.
            run: what to run the model on.
            ended: called with what was found.
        """
        self.wait(_DONE)  # what is on its way would be lost
        extractor, take = self.checking(mode)
        twin = twin_of(extractor) if running_loop() is not None else None

        def found(task: Task[ValueCheck]) -> None:
            try:
                check = task.result()
            except Exception as problem:  # noqa: BLE001  # whatever the user's model raises
                self._notice.error(problem, "The model does not run")
            else:
                ended(check)

        self._start(
            lambda now: computed(twin or extractor, run, None if twin is None else now, take),
            found,
            "Looking for the first NaN",
            in_background=twin is not None,
            shell=present_shell(),
        )

    def checking(self, mode: str) -> tuple[nn.Module, Callable[[nn.Module, Any, Any], ValueCheck]]:
        """An extractor of every node, and what runs it to look at the values."""
        graph = self.graph(mode)
        extractor = self.extractor(mode, {name: name for name in names_to_check(graph)})
        return extractor, lambda model, args, kwargs: checked_values(model, graph, args, kwargs)

    def _report(self, graph: ModelGraph) -> None:
        """Say what a graph lacks, and why."""
        if graph.error is not None:
            rest = f"What comes after did not run. The inputs: {graph.inputs}"
            self._notice.alert(f"{error_in_words(graph)}. {rest}")
        elif graph.missing and not self._notice.words:
            self._notice.say(graph.missing[0].upper() + graph.missing[1:])

    def forget(self) -> None:
        """Know nothing of the model any more, which has changed."""
        self.stop()
        self._openings.clear()
        self._annotated.clear()
        self._inputs = self._first_inputs
        self._inputs.forget()

    def wait(self, seconds: float) -> bool:
        """Block until nothing is on its way, but not longer than ``seconds``; says whether."""
        deadline = time.monotonic() + seconds
        while self._task is not None:
            if not self._task.wait(max(0.0, deadline - time.monotonic())):
                return False
        return True

    def stop(self) -> None:
        """Stop what is on its way."""
        task, self._task = self._task, None
        if task is None or not task.is_pending:
            return
        task.cancel()
        self.opening = ""
        self._clear_progress()
        if self._stopped is not None:
            self._stopped()

    def _maker(self, mode: str) -> Callable[..., Opening]:
        """What opens a model in a mode: in the first one also a model that raises half-way."""
        further = {"example_inputs": self._inputs, "mode": mode, "partial": mode == self._first}
        return functools.partial(self._opening, **further)

    def _can_be_traced(self, mode: str) -> bool:
        """Open the model in a mode without running it, if that can be done."""
        if mode not in self._openings and self._backend != "recorded":
            try:
                self._open(mode, backend="symbolic")
            except Exception:  # noqa: BLE001  # whatever it was: the next way in tells
                return False
        return mode in self._openings

    def _open(self, mode: str, **options: Any) -> None:
        """Open the model in this thread, if it is not open."""
        if mode in self._openings:
            return
        if self._is_slow:
            self._notice.progress(f"Opening the model in {mode} mode; interrupt the kernel to stop")
        began = time.monotonic()
        try:
            self._openings[mode] = self._maker(mode)(self._model, **options)
        finally:
            self._clear_progress()
        self._is_slow |= time.monotonic() - began > _SOON

    # --- its task -----------------------------------------------------------------------

    def _start(
        self,
        work: Callable[[Progress], Any],
        ended: Callable[[Task[Any]], None],
        words: str,
        stopped: Callable[[], None] | None = None,
        *,
        patience: float = 0.0,
        **options: Any,
    ) -> None:
        """Start a task in place of the last, and speak of it if it takes long."""
        began: float | None = time.monotonic()

        def end(task: Task[Any]) -> None:
            self._task = None  # and with it the result
            self._clear_progress()
            ended(task)

        def speak(_: Progress) -> None:
            nonlocal began
            if began is not None and time.monotonic() - began > _SOON:
                self._notice.progress(words, self.stop)
                began = None

        self.stop()
        self._task = Task(work, end, ticked=speak, **options)
        self._stopped = stopped
        self._task.start(patience)

    def _clear_progress(self) -> None:
        if self._notice.is_progress:
            self._notice.clear()


def _run_as(twin: nn.Module, run: Callable[[nn.Module], Any]) -> Callable[[Progress], Any]:
    """The work of a task that runs a twin beside other threads, and can be stopped."""

    @restores
    def work(progress: Progress) -> Any:
        beside_others()
        with watched(twin, progress):
            return run(twin)

    return work


def check_mode(mode: str) -> None:
    """Refuse what is no mode.

    Raises:
        traitlets.TraitError: saying what there is.
    """
    if mode not in MODES:
        raise traitlets.TraitError(f"mode is {mode!r}; write 'eval' or 'train'")
