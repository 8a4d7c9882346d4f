"""Graphviz in a process of its own, with a time limit: DOT in, one picture out.

``pygraphviz`` brings Graphviz along, as a library. It runs in a worker process, which is started
ahead, so that no picture waits for its imports. Where it is not installed, a ``dot`` on the PATH
serves; the environment variable ``FXEXPLORE_DOT`` names one that is to be used in any case.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib.util
import os
import pathlib
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from concurrent.futures import CancelledError
from typing import NamedTuple

TIME_LIMIT = 5.0
_WORKER = pathlib.Path(__file__).with_name("worker.py")
_TICK = 0.05  # seconds between two looks at whether to stop
_NO_WINDOW = getattr(subprocess, "CREATE_NO_WINDOW", 0)  # on Windows only

_turn = threading.Lock()  # one layout at a time: the time limit is for a processor of its own
_spares: list[subprocess.Popen[bytes]] = []  # workers that wait for a graph
_processes: set[subprocess.Popen[bytes]] = set()  # all that have not ended, spares too


class LayoutTimeoutError(Exception):
    """Graphviz did not finish in time; the message says what to do."""


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

    Graphviz runs in a process of its own: in this one it would hold the GIL, could not be
    stopped, and would write to the notebook's stderr.

    Args:
        dot_source: a graph in the DOT language.
        time_limit: seconds after which that process is killed.

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
    return svg_element(lay_out([dot_source], time_limit=time_limit).picture)


def svg_element(file: bytes) -> str:
    """The ``<svg>`` element of an SVG file, without the prologue."""
    text = file.decode()
    return text[text.index("<svg") :].strip()


def lay_out(
    sources: Iterable[str],
    *,
    time_limit: float = TIME_LIMIT,
    file_format: str = "svg",
    stop: threading.Event | None = None,
) -> Layout:
    """Lay out a graph, in a simpler version if that takes too long.

    Args:
        sources: DOT graphs, tried in turn until one is laid out in time.
        time_limit: seconds that each may take.
        file_format: what Graphviz writes, such as ``"svg"`` or ``"png"``.
        stop: set it in another thread, and the layout ends.

    Raises:
        concurrent.futures.CancelledError: if ``stop`` was set.
        LayoutTimeoutError: if the last of the sources takes too long.
        ValueError: if Graphviz refuses it, with what it says.
        RuntimeError: if there is no Graphviz.

    Example:
        >>> lay_out(["digraph { a -> b }", "digraph { a }"]).attempt
        0
    """
    stop = stop or threading.Event()
    failure: Exception = ValueError("there is nothing to lay out")
    with _turn:
        try:
            for attempt, source in enumerate(sources):
                try:
                    return Layout(_picture(source, file_format, time_limit, stop), attempt)
                except (LayoutTimeoutError, ValueError) as problem:  # noqa: PERF203  # it takes seconds
                    failure = problem
            raise failure
        finally:
            _start_spare()  # for the next one


def warm_up() -> None:
    """Start a worker, so that the next picture need not wait for it."""
    if _turn.acquire(blocking=False):  # else there is one soon
        try:
            _start_spare()
        finally:
            _turn.release()


def _picture(source: str, file_format: str, time_limit: float, stop: threading.Event) -> bytes:
    if stop.is_set():
        raise CancelledError
    request = source.encode(errors="replace")
    dot = _dot_program()
    with _worker() if dot is None else _started([dot, f"-T{file_format}"]) as process:
        try:
            if dot is None:
                assert process.stdout is not None
                process.stdout.read(1)  # it is ready; until then, its time does not count
                request = f"{file_format} {time_limit} {len(request)}\n".encode() + request
            picture, said = _answer(process, request, time_limit, stop)
        finally:
            process.kill()
            _processes.discard(process)
    if process.returncode == 0:
        return picture
    words = said.decode(errors="replace").strip()[-500:]
    raise ValueError(
        f"Graphviz cannot lay out this graph: {words}"
        if words
        else "Graphviz stopped in the middle of this graph; fold a module"
    )


def _answer(
    process: subprocess.Popen[bytes], request: bytes, time_limit: float, stop: threading.Event
) -> tuple[bytes, bytes]:
    """What a process writes to stdout and stderr."""
    deadline = time.monotonic() + time_limit
    unsent: bytes | None = request
    while not stop.is_set():
        left = deadline - time.monotonic()
        try:
            return process.communicate(unsent, min(_TICK, max(0.0, left)))
        except subprocess.TimeoutExpired:
            unsent = None  # it is on its way
        if left <= 0:
            raise LayoutTimeoutError(
                f"the picture is too dense to lay out in {time_limit:g} seconds; fold a module"
            )
    raise CancelledError


def _dot_program() -> str | None:
    """The ``dot`` to use; None for a worker."""
    chosen = os.environ.get("FXEXPLORE_DOT")
    if chosen or importlib.util.find_spec("pygraphviz"):
        return chosen
    on_path = shutil.which("dot")
    if on_path:
        return on_path
    raise RuntimeError(
        "there is no Graphviz to lay out the diagram: `pip install pygraphviz`, or install "
        "Graphviz so that `dot` is on the PATH"
    )


def _start_spare() -> None:
    with contextlib.suppress(RuntimeError, ValueError):  # told to whoever asks for a picture
        if not _spares and _dot_program() is None:
            _spares.append(_new_worker())


def _worker() -> subprocess.Popen[bytes]:
    while _spares:
        spare = _spares.pop()
        if spare.poll() is None:
            return spare
        with spare:  # somebody killed it
            _processes.discard(spare)
    return _new_worker()


def _new_worker() -> subprocess.Popen[bytes]:
    return _started([sys.executable, str(_WORKER), *sys.path])


def _started(command: list[str]) -> subprocess.Popen[bytes]:
    try:
        process = subprocess.Popen(  # noqa: S603  # this Python, or the user's own choice
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,  # pipes without locks, which a fork could leave locked
            creationflags=_NO_WINDOW,
        )
    except OSError as problem:
        raise ValueError(f"{command[0]} does not start: {problem.strerror}") from None
    _processes.add(process)
    return process


def _in_a_forked_child() -> None:
    """A child has neither the threads nor a right to the processes; it makes its own."""
    global _turn  # noqa: PLW0603
    _turn = threading.Lock()
    for process in _processes:
        for pipe in (process.stdin, process.stdout, process.stderr):
            assert pipe is not None
            pipe.close()
        process.returncode = 0  # as far as the child is concerned
    _processes.clear()
    _spares.clear()


def _at_exit() -> None:
    for process in list(_processes):
        process.kill()


if hasattr(os, "register_at_fork"):  # not on Windows, where nothing forks
    os.register_at_fork(after_in_child=_in_a_forked_child)
atexit.register(_at_exit)
