"""Bring the graphs of a model to the explorer: names first, and the rest when it is found."""

from __future__ import annotations

from collections.abc import Callable

from fxexplore.model_graph import ModelGraph, Opening

from .background import running_loop
from .errand import Errand
from .feature_maps.running import RandomState
from .modes import Modes, check_mode
from .notice import Notice
from .shell import present_shell

_SOON = 0.5  # seconds that the first opening may hold up a cell: most models are open by then
_STOPPED = (
    "Stopped before the model had run: these are but its registered modules. "
    "Run the cell again to open it."
)


class Loader:
    """Opens a model in its modes and finds its facts, beside the kernel where that can be.

    A model that can be traced is traced in the thread that runs the cells. One that has to be
    run is run as a copy in a thread of its own, which can be stopped. Facts are found in a
    thread too.

    Args:
        modes: the model.
        notice: where progress and errors are shown.
        show: shows a graph.

    Attributes:
        opening: the mode that is being opened beside the kernel; ``""`` for none.
    """

    def __init__(self, modes: Modes, notice: Notice, show: Callable[[ModelGraph], None]) -> None:
        self._modes = modes
        self._notice = notice
        self._show = show
        self._errand = Errand(notice)
        self._random: RandomState | None = None
        self.opening = ""

    def first(self, mode: str) -> ModelGraph:
        """What is known within half a second; a graph that comes later is shown by itself.

        Raises:
            traitlets.TraitError: if ``mode`` is no mode.
            Exception: if the model does not open, and that shows within that time.
        """
        check_mode(mode)
        if running_loop() is None:
            return self._modes.annotated(mode)  # nobody would bring the facts later
        problems: list[Exception] = []
        is_waiting = True

        def opened() -> None:
            if not is_waiting:
                self._show(self._modes.graph(mode))

        def failed(problem: Exception) -> None:
            if is_waiting:
                problems.append(problem)
            else:
                self._notice.error(problem, f"The model does not open in {mode} mode")

        self.open(mode, opened, failed, lambda: self._notice.say(_STOPPED))
        try:
            self._errand.wait(_SOON)
        except KeyboardInterrupt:
            self.stop()
            raise
        is_waiting = False
        self._random = None  # a cell runs: what the rest of it draws must not be undone
        if problems:
            raise problems[0]
        is_open = self._modes.is_open(mode)
        return self._modes.graph(mode) if is_open else self._modes.before_run(mode)

    def open(
        self,
        mode: str,
        opened: Callable[[], None],
        failed: Callable[[Exception], None],
        stopped: Callable[[], None] | None = None,
    ) -> None:
        """Open the model in a mode, beside the kernel if it has to be run.

        Args:
            mode: the mode.
            opened: called when it is open.
            failed: called with the reason if it does not open.
            stopped: called if somebody stops it.

        Raises:
            KeyboardInterrupt: if it has to be opened in this thread, and is interrupted.
        """
        self.stop()
        if self._modes.is_slow and not self._modes.is_open(mode):
            self._notice.progress(f"Opening the model in {mode} mode; interrupt the kernel to stop")
        try:
            work = None if self._modes.open_by_tracing(mode) else self._modes.opener(mode)
            if work is None:
                self._modes.graph(mode)
        except Exception as problem:  # noqa: BLE001  # whatever the user's model raises
            return failed(problem)
        finally:
            if self._notice.is_progress:
                self._notice.clear()
        if work is None:
            return opened()

        def settle(action: Callable[[], None]) -> None:
            self.opening = ""
            if self._random is not None:
                self._random.put_back()
            action()

        def deliver(opening: Opening) -> None:
            self._modes.take(mode, opening)
            settle(opened)

        self.opening = mode
        self._random = RandomState(present_shell())
        return self._errand.start(
            work,
            deliver,
            lambda problem: settle(lambda: failed(problem)),
            f"Running the model once in {mode} mode, to see what it does",
            lambda: settle(stopped or _nothing),
        )

    def complete(self, mode: str) -> ModelGraph:
        """Wait until the model is open in a mode, or open it here; gives its graph.

        Raises:
            Exception: what opening raises, if the model does not open.
        """
        if self.opening == mode:
            self._random = None  # as above
            self._errand.wait()
        return self._modes.graph(mode)

    def find_facts(self, mode: str) -> None:
        """Look for the shapes and FLOPs of a mode that is open, and show them."""
        if self._modes.is_annotated(mode):
            self._take(self._modes.annotated(mode))
            return
        self._errand.start(
            lambda _: self._modes.annotated(mode),
            self._take,
            lambda problem: self._notice.error(problem, "Shapes and FLOPs could not be found"),
            "Finding shapes and FLOPs",
        )

    def _take(self, graph: ModelGraph) -> None:
        self._show(graph)
        if graph.missing and not self._notice.words:
            self._notice.say(graph.missing[0].upper() + graph.missing[1:])

    def wait(self, seconds: float) -> bool:
        """Block until nothing is on its way, but not longer than ``seconds``; says whether."""
        self._random = None  # as above
        return self._errand.wait(seconds)

    def stop(self) -> None:
        """Stop what is on its way."""
        self._errand.stop()


def _nothing() -> None:
    """What happens when nobody wants to know."""
