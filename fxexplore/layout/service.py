"""DOT laid out as SVG, by Graphviz in a process that is kept alive and can be killed.

``pygraphviz`` brings Graphviz along. Where it is not installed, a ``dot`` on the PATH serves;
the environment variable ``FXEXPLORE_DOT`` names one that is to be used in any case.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib.util
import os
import shutil
import threading
from collections import deque
from collections.abc import Iterable
from concurrent.futures import CancelledError, Future
from typing import NamedTuple

from .process import DotProgram, LayoutProcess, LayoutTimeoutError, WorkerProcess

TIME_LIMIT = 5.0


class Layout(NamedTuple):
    """A graph that was laid out.

    Attributes:
        picture: the file that Graphviz wrote, such as an SVG.
        attempt: which of the sources it shows, counted from 0.
    """

    picture: bytes
    attempt: int


def to_svg(dot_source: str, *, time_limit: float = TIME_LIMIT) -> str:
    """Lay out a DOT graph and draw it as SVG.

    Graphviz runs in a worker process: in this one it would hold the GIL, could not be
    stopped, and would write to the notebook's stderr.

    Args:
        dot_source: a graph in the DOT language.
        time_limit: seconds after which the worker is killed.

    Returns:
        An ``<svg>`` element.

    Raises:
        LayoutTimeoutError: if the layout takes longer than that.
        ValueError: if Graphviz refuses the graph, with what it says.
        RuntimeError: if there is no Graphviz.

    Example:
        >>> to_svg("digraph { a -> b }")[:4]
        '<svg'
    """
    return svg_element(submit([dot_source], time_limit=time_limit).result().picture)


def svg_element(file: bytes) -> str:
    """The ``<svg>`` element of an SVG file, without the prologue."""
    text = file.decode()
    return text[text.index("<svg") :].strip()


def submit(
    sources: Iterable[str], *, time_limit: float = TIME_LIMIT, file_format: str = "svg"
) -> Future[Layout]:
    """Ask for a layout and go on.

    Args:
        sources: DOT graphs, tried in turn until one is laid out in time. The iterable is
            read in another thread.
        time_limit: seconds that each may take.
        file_format: what Graphviz writes, such as ``"svg"`` or ``"png"``.

    Returns:
        A future with a :class:`Layout`, or with what :func:`to_svg` would raise. Give it to
        :func:`cancel` when it is no longer wanted.
    """
    return _service().submit(sources, time_limit, file_format)


def cancel(future: Future[Layout]) -> None:
    """Stop a layout, also one that is running; its future raises ``CancelledError``."""
    _service().cancel(future)


def warm_up() -> None:
    """Start the worker, so that the first picture need not wait for it."""
    _service().warm_up()


class _Request(NamedTuple):
    future: Future[Layout]
    sources: Iterable[str]
    time_limit: float
    file_format: str


class _Service:
    """One layout after the other, in a thread that owns the process."""

    def __init__(self) -> None:
        self._waiting: deque[_Request] = deque()
        self._changed = threading.Condition()
        self._process: LayoutProcess | None = None
        self._running: Future[Layout] | None = None
        self._cancelled = False
        self._is_warm = False
        threading.Thread(target=self._serve, name="fxexplore layout", daemon=True).start()

    def submit(self, sources: Iterable[str], time_limit: float, file_format: str) -> Future[Layout]:
        future: Future[Layout] = Future()
        with self._changed:
            self._waiting.append(_Request(future, sources, time_limit, file_format))
            self._changed.notify()
        return future

    def warm_up(self) -> None:
        with self._changed:
            self._is_warm = True
            self._changed.notify()

    def cancel(self, future: Future[Layout]) -> None:
        future.cancel()  # enough for one that has not begun
        with self._changed:
            if self._running is future:
                self._cancelled = True
                if self._process:
                    self._process.kill()

    def close(self) -> None:
        if self._process:
            self._process.kill()

    def forget(self) -> None:
        """Let go of a process that belongs to the parent of this one."""
        if self._process:
            self._process.let_go()

    def _serve(self) -> None:
        while True:
            with self._changed:
                while not self._waiting and not self._is_warm:
                    self._changed.wait()
                self._is_warm = False
                request = self._waiting.popleft() if self._waiting else None
                if request and request.future.set_running_or_notify_cancel():
                    self._running, self._cancelled = request.future, False
            if self._running and request:
                self._answer(request)
            with contextlib.suppress(RuntimeError):  # said to whoever asks for a picture
                self._started()

    def _answer(self, request: _Request) -> None:
        try:
            layout = self._first_in_time(request)
        except Exception as problem:  # noqa: BLE001  # it is raised where the result is asked for
            self._finish()
            request.future.set_exception(problem)
        else:
            self._finish()
            request.future.set_result(layout)

    def _finish(self) -> None:
        with self._changed:
            self._running = None

    def _first_in_time(self, request: _Request) -> Layout:
        failure: Exception = ValueError("there is nothing to lay out")
        for attempt, source in enumerate(request.sources):
            try:
                process = self._started()
                if self._cancelled:
                    break
                picture = process.lay_out(source, request.file_format, request.time_limit)
                return Layout(picture, attempt)
            except (LayoutTimeoutError, ValueError) as problem:
                failure = problem
            if self._cancelled:
                break
        raise CancelledError if self._cancelled else failure

    def _started(self) -> LayoutProcess:
        if self._process is None or not self._process.is_alive:
            self._process = _new_process()
        return self._process


def _new_process() -> LayoutProcess:
    chosen = os.environ.get("FXEXPLORE_DOT")
    if chosen:
        return DotProgram(chosen)
    if importlib.util.find_spec("pygraphviz"):
        return WorkerProcess()
    on_path = shutil.which("dot")
    if on_path:
        return DotProgram(on_path)
    raise RuntimeError(
        "there is no Graphviz to lay out the diagram: `pip install pygraphviz`, or install "
        "Graphviz so that `dot` is on the PATH"
    )


_lock = threading.Lock()
_current: _Service | None = None


def _service() -> _Service:
    global _current  # noqa: PLW0603  # one process for the whole kernel
    with _lock:
        if _current is None:
            _current = _Service()
        return _current


def _in_a_forked_child() -> None:
    """A child has neither the thread nor a right to the process; it makes its own."""
    global _current, _lock  # noqa: PLW0603
    _lock = threading.Lock()
    if _current:
        _current.forget()
    _current = None


def _at_exit() -> None:
    if _current:
        _current.close()


if hasattr(os, "register_at_fork"):  # not on Windows, where nothing forks
    os.register_at_fork(after_in_child=_in_a_forked_child)
atexit.register(_at_exit)
