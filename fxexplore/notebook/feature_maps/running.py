"""Run an extractor beside the notebook: stoppable, and out of the way of the user's own runs."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from fxexplore import feature_extraction
from fxexplore.feature_extraction import isolated, switch_mode

_TICK = 0.1  # seconds between two looks at how far a run is


class Stop(BaseException):
    """Ends a run that somebody stopped. No Exception, which a model may catch."""


class Progress:
    """How far a run is; written by the thread that runs, read by the one that shows it.

    Attributes:
        total: how many leaf modules there are.
        calls: how many calls of leaf modules have begun.
        at: path of the module that was called last.
        stop: set it, and the run ends at the next module.
    """

    def __init__(self) -> None:
        self.total = 0
        self.calls = 0
        self.at = ""
        self.stop = threading.Event()


def computed(
    extractor: nn.Module,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    *,
    training: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Run a twin of an extractor once, without gradients.

    Args:
        extractor: a twin: its flags change, and its buffers may.
        args: positional arguments, which are copied: a model may write into its inputs.
        kwargs: keyword arguments, likewise.
        training: whether to run in train mode; what is frozen then stays frozen.
        progress: follows the run, and can stop it.

    Raises:
        Stop: if ``progress.stop`` was set.
    """
    args, kwargs = _cloned(args), _cloned(kwargs)
    switch_mode(extractor, training)
    with torch.no_grad(), watched(extractor, progress):
        features: dict[str, Any] = extractor(*args, **kwargs)
    if progress is not None and progress.stop.is_set():
        raise Stop
    return features


def computed_harmlessly(
    extractor: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], *, training: bool = False
) -> dict[str, Any]:
    """Run an extractor now, and leave the model and the random state as they were.

    Args:
        extractor: the extractor, of which a twin is run if there can be one.
        args: as for :func:`computed`.
        kwargs: likewise.
        training: likewise.
    """
    with isolated(extractor, (args, kwargs), training=training, as_twin=True) as runs:
        return computed(runs, args, kwargs, training=training)


@contextmanager
def watched(twin: nn.Module, progress: Progress | None) -> Iterator[None]:
    """Count the calls of a twin's leaf modules in the block, and raise at the next once stopped.

    Args:
        twin: the copy that is run.
        progress: follows the run, and can stop it.

    Raises:
        Stop: when a leaf module is called after ``progress.stop`` was set.
    """
    if progress is None:
        yield
        return
    leaves = {path: m for path, m in twin.named_modules() if not any(m.children())}
    progress.total = len(leaves)

    def watch_at(path: str) -> Callable[..., None]:
        def watch(*_: Any) -> None:
            if progress.stop.is_set():
                raise Stop
            progress.calls += 1
            progress.at = path

        return watch

    handles = [
        module.register_forward_pre_hook(watch_at(path), prepend=True)
        for path, module in leaves.items()
        if not isinstance(module, torch.jit.ScriptModule)
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _cloned(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.clone()
    if type(value) in (list, tuple):
        return type(value)(_cloned(item) for item in value)
    if isinstance(value, dict):
        return {key: _cloned(item) for key, item in value.items()}
    return value


class Runner:
    """One run at a time in a thread of its own, whose end is told in the loop's thread.

    The thread is a daemon, so that a kernel can shut down while it runs.
    """

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None
        self._progress: Progress | None = None

    @property
    def busy(self) -> bool:
        """Whether a run is on its way."""
        return self._progress is not None

    def start(
        self,
        work: Callable[[Progress], Any],
        *,
        loop: asyncio.AbstractEventLoop,
        on_progress: Callable[[Progress], None],
        on_end: Callable[[Any, BaseException | None], None],
    ) -> None:
        """Run ``work`` in a thread.

        Args:
            work: what to do.
            loop: where the other two are called.
            on_progress: called every tenth of a second while it goes on.
            on_end: called with the result, or with what was raised.
        """
        self.stop()
        progress = self._progress = Progress()

        def end(result: Any, problem: BaseException | None) -> None:
            if self._progress is progress:
                self._progress = self._thread = None
                on_end(result, problem)

        def run() -> None:
            outcome: tuple[Any, BaseException | None]
            try:
                outcome = work(progress), None
            except BaseException as problem:  # noqa: BLE001  # told to whoever clicked
                outcome = None, problem
            try:
                loop.call_soon_threadsafe(end, *outcome)
            except RuntimeError:
                return  # the loop is closed: the kernel is gone, and with it the reader

        def tick() -> None:
            if self._progress is progress:
                on_progress(progress)
                loop.call_later(_TICK, tick)

        self._thread = threading.Thread(target=run, name="fxexplore-run", daemon=True)
        self._thread.start()
        loop.call_later(_TICK, tick)

    def ask_to_stop(self) -> None:
        """End the run at its next module; ``on_end`` is told."""
        if self._progress is not None:
            self._progress.stop.set()

    def stop(self) -> None:
        """End the run at its next module, and forget it: ``on_end`` is not told."""
        self.ask_to_stop()
        self._progress = self._thread = None


class RandomState:
    """The random state before a run in a thread, put back after it if the run changed it.

    What the user's cells have drawn meanwhile must not be undone: so it is put back only
    if none has ended since, told by the shell's count of them.

    Args:
        shell: the IPython shell; None if there is none.
    """

    def __init__(self, shell: Any) -> None:
        self._shell = shell
        self._cells = getattr(shell, "execution_count", None)
        self._state = feature_extraction.RandomState()

    def put_back(self) -> None:
        """Put it back, in the thread that runs the cells and while none runs."""
        if self._cells is not None and self._shell.execution_count == self._cells:
            self._state.put_back()
