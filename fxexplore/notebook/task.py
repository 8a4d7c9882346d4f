"""Work that may take long: in a background thread, with progress and a way to stop."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import functools
import threading
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


class Task(Generic[Result]):
    """One piece of work, whose result is handed over in the thread that asked for it.

    Where an event loop runs, as in a kernel, the work is done in a daemon thread, so that a
    kernel can shut down meanwhile; the loop hands the result over, or :meth:`wait` does,
    whichever comes first. Elsewhere the work is done at once.

    Args:
        work: what to do. It is given the task, whose ``stop`` it may look at to raise
            :class:`Stop`, and whose progress it may write.
        ended: called once with the task when the work has ended.
        ticked: called with the task ten times a second while it goes on.
        in_background: False for what has to be done in this thread.
        shell: for work that may draw random numbers in the background: the IPython shell. The
            random state is put back when the work has ended, unless a cell has ended
            meanwhile, which may have drawn some too.

    Attributes:
        stop: set it, and the work ends where it looks at it.
        total: how many leaf modules there are.
        calls: how many calls of leaf modules have begun.
        at: path of the module that was called last.

    Example:
        >>> task = Task(lambda task: 6 * 7, lambda task: print(task.result()))
        >>> task.start()
        42
    """

    def __init__(
        self,
        work: Callable[[Task[Result]], Result],
        ended: Callable[[Task[Result]], None],
        *,
        ticked: Callable[[Task[Result]], None] | None = None,
        in_background: bool = True,
        shell: Any = None,
    ) -> None:
        self.stop = threading.Event()
        self.total = self.calls = 0
        self.at = ""
        self._work = work
        self._ended = ended
        self._ticked = ticked
        self._outcome: concurrent.futures.Future[Result] = concurrent.futures.Future()
        self._loop = running_loop() if in_background else None
        self._shell = shell
        self._cells = getattr(shell, "execution_count", None)
        self._random = RandomState() if shell is not None and self._loop is not None else None
        self.is_pending = True
        """Whether the result is still to be handed over."""

    def start(self, seconds: float = 0.0) -> None:
        """Begin the work.

        Args:
            seconds: seconds to wait for its end here.
        """
        if self._loop is None:
            self._run()
            self._hand_over()
            return
        threading.Thread(target=self._run, name="fxexplore-task", daemon=True).start()
        self._loop.call_later(_TICK, self._tick)
        if seconds:
            try:
                self._hand_over_within(seconds)
            except KeyboardInterrupt:
                self.cancel()
                raise
            self._random = None  # the cell goes on, and may draw some

    def result(self) -> Result:
        """What the work gave; raises what it raised."""
        return self._outcome.result()

    def wait(self, seconds: float | None = None) -> bool:
        """Block until the result is handed over, but not longer than ``seconds``, if given.

        Returns:
            Whether nothing is pending any more.
        """
        self._random = None  # a cell runs: what it has drawn must not be undone
        self._hand_over_within(seconds)
        return not self.is_pending

    def cancel(self) -> None:
        """Stop the work, and forget it: nobody is told how it ended."""
        self.stop.set()
        self.is_pending = False

    def _run(self) -> None:
        try:
            result = self._work(self)
        except BaseException as problem:  # noqa: BLE001  # raised where the result is asked for
            # The SystemExit of a stranger's model must not end the loop.
            may_pass = self._loop is None or isinstance(problem, (Exception, Stop))
            self._outcome.set_exception(problem if may_pass else RuntimeError(repr(problem)))
        else:
            self._outcome.set_result(result)
        # A loop that was closed meanwhile raises: nobody is left to hand the result to.
        with contextlib.suppress(RuntimeError):
            if self._loop is not None:
                self._loop.call_soon_threadsafe(self._hand_over)

    def _tick(self) -> None:
        if self._ticked is not None and self._loop is not None and self.is_pending:
            self._ticked(self)
            self._loop.call_later(_TICK, self._tick)

    def _hand_over_within(self, seconds: float | None) -> None:
        if concurrent.futures.wait([self._outcome], seconds).done:
            self._hand_over()

    def _hand_over(self) -> None:
        if self._random is not None and self._shell.execution_count == self._cells:
            self._random.put_back()
        self._random = None
        if self.is_pending:
            self.is_pending = False
            self._ended(self)


@contextmanager
def watched(model: nn.Module, task: Task[Any]) -> Iterator[None]:
    """Count the calls of a model's leaf modules in the block, and raise at the next once stopped.

    Args:
        model: the twin that is run, or the model where nobody else runs it.
        task: what follows the run, and can stop it.

    Raises:
        Stop: when a leaf module is called after ``task.stop`` was set.
    """
    leaves = {path: m for path, m in model.named_modules() if not any(m.children())}
    task.total = len(leaves)

    def watch(path: str, *_: Any) -> None:
        if task.stop.is_set():
            raise Stop
        task.calls += 1
        task.at = path

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
