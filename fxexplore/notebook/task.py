"""Work that may take long: in a background thread, with progress and a way to stop."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import functools
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

import torch
from torch import nn

from fxexplore.feature_extraction import RandomState

Result = TypeVar("Result")

_TICK = 0.1  # seconds between two looks at how far the work is


class Stop(BaseException):
    """Ends work that somebody stopped. No Exception, which a model may catch."""


class Progress:
    """How far work is, and whether it is to stop.

    Attributes:
        stop: set it, and the work ends where it looks at it.
        total: how many leaf modules there are.
        calls: how many calls of leaf modules have begun.
        at: path of the module that was called last.
    """

    def __init__(self) -> None:
        self.stop = threading.Event()
        self.total = self.calls = 0
        self.at = ""


class Task(Generic[Result]):
    """One piece of work, whose result is handed over in the thread that asked for it.

    Where an event loop runs, as in a kernel, the work is done in a daemon thread, so that a
    kernel can shut down meanwhile; the loop hands the result over, or :meth:`wait` does,
    whichever comes first. Elsewhere the work is done at once.

    Neither the thread nor the loop keeps a task alive: when nobody refers to it any more, the
    work is stopped, and its result dropped.

    Args:
        work: what to do. It is given the :class:`Progress`, whose ``stop`` it may look at to
            raise :class:`Stop`, and which it may write to. It must not refer to the task's owner.
        ended: called once with the task when the work has ended.
        ticked: called with the progress ten times a second while it goes on.
        in_background: False for what has to be done in this thread.
        shell: for work that may draw random numbers in the background: the IPython shell. The
            random state is put back when the work has ended, unless a cell has ended
            meanwhile, which may have drawn some too.

    Attributes:
        progress: how far the work is.

    Example:
        >>> task = Task(lambda progress: 6 * 7, lambda task: print(task.result()))
        >>> task.start()
        42
    """

    def __init__(
        self,
        work: Callable[[Progress], Result],
        ended: Callable[[Task[Result]], None],
        *,
        ticked: Callable[[Progress], None] | None = None,
        in_background: bool = True,
        shell: Any = None,
    ) -> None:
        self.progress = Progress()
        self._work = work
        self._ended = ended
        self._ticked = ticked
        self._outcome: concurrent.futures.Future[Result] = concurrent.futures.Future()
        self._loop = running_loop() if in_background else None
        self._draws = _Draws(shell if self._loop is not None else None)
        self.is_pending = True
        """Whether the result is still to be handed over."""

    def __del__(self) -> None:
        """Stop work that nobody waits for."""
        self.progress.stop.set()

    def start(self, seconds: float = 0.0) -> None:
        """Begin the work.

        Args:
            seconds: seconds to wait for its end here.
        """
        if self._loop is None:
            _do(self._work, self.progress, self._outcome)
            self._hand_over()
            return
        me = weakref.ref(self)
        arrive = functools.partial(self._loop.call_soon_threadsafe, _arrive, me, self._draws)
        arguments = (self._work, self.progress, self._outcome, arrive)
        threading.Thread(target=_do, args=arguments, name="fxexplore-task", daemon=True).start()
        self._loop.call_later(_TICK, _tick, me, self._loop)
        if seconds:
            try:
                self._hand_over_within(seconds)
            except KeyboardInterrupt:
                self.cancel()
                raise
            self._draws.forget()  # the cell goes on, and may draw some

    def result(self) -> Result:
        """What the work gave; raises what it raised."""
        return self._outcome.result()

    def wait(self, seconds: float | None = None) -> bool:
        """Block until the result is handed over, but not longer than ``seconds``, if given.

        Returns:
            Whether nothing is pending any more.
        """
        self._draws.forget()  # a cell runs: what it has drawn must not be undone
        self._hand_over_within(seconds)
        return not self.is_pending

    def cancel(self) -> None:
        """Stop the work, and forget it: nobody is told how it ended."""
        self.progress.stop.set()
        self.is_pending = False

    def _hand_over_within(self, seconds: float | None) -> None:
        if concurrent.futures.wait([self._outcome], seconds).done:
            self._draws.put_back()
            self._hand_over()

    def _hand_over(self) -> None:
        if self.is_pending:
            self.is_pending = False
            self._ended(self)


class _Draws:
    """The random state before work in the background, to be put back after it."""

    def __init__(self, shell: Any) -> None:
        self._shell = shell
        self._cells = getattr(shell, "execution_count", None)
        self._before = None if shell is None else RandomState()

    def put_back(self) -> None:
        if self._before is not None and self._shell.execution_count == self._cells:
            self._before.put_back()
        self.forget()

    def forget(self) -> None:
        self._before = None


def _do(
    work: Callable[[Progress], Result],
    progress: Progress,
    outcome: concurrent.futures.Future[Result],
    arrive: Callable[[], object] | None = None,
) -> None:
    """Do the work, in this thread or in one of its own, which then has a loop to tell."""
    try:
        outcome.set_result(work(progress))
    except BaseException as problem:  # noqa: BLE001  # raised where the result is asked for
        # A SystemExit that the user's model raises must not end the loop.
        may_pass = arrive is None or isinstance(problem, (Exception, Stop))
        outcome.set_exception(problem if may_pass else RuntimeError(repr(problem)))
    # A loop that was closed meanwhile raises: nobody is left to hand the result to.
    with contextlib.suppress(RuntimeError):
        if arrive is not None:
            arrive()


def _arrive(me: weakref.ref[Task[Any]], draws: _Draws) -> None:
    draws.put_back()
    task = me()
    if task is not None:
        task._hand_over()


def _tick(me: weakref.ref[Task[Any]], loop: asyncio.AbstractEventLoop) -> None:
    task = me()
    if task is not None and task.is_pending and task._ticked is not None:
        task._ticked(task.progress)
        loop.call_later(_TICK, _tick, me, loop)


@contextmanager
def watched(model: nn.Module, progress: Progress) -> Iterator[None]:
    """Count the calls of a model's leaf modules in the block, and raise at the next once stopped.

    Args:
        model: the twin that is run, or the model where nobody else runs it.
        progress: follows the run, and can stop it.

    Raises:
        Stop: when a leaf module is called after ``progress.stop`` was set.
    """
    leaves = {path: m for path, m in model.named_modules() if not any(m.children())}
    progress.total = len(leaves)

    def watch(path: str, *_: Any) -> None:
        if progress.stop.is_set():
            raise Stop
        progress.calls += 1
        progress.at = path

    with contextlib.ExitStack() as hooks:
        for path, module in leaves.items():
            if not isinstance(module, torch.jit.ScriptModule):
                hook = functools.partial(watch, path)
                hooks.enter_context(module.register_forward_pre_hook(hook, prepend=True))
        yield


def running_loop() -> asyncio.AbstractEventLoop | None:
    """The event loop of this thread, if one runs, as in a kernel."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
