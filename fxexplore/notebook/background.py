"""Work in a thread whose result is handed over in the thread that asked for it."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

Result = TypeVar("Result")


class Background(Generic[Result]):
    """One piece of work in a daemon thread.

    The result is handed over once: by the event loop that runs where this was made, or by
    :meth:`wait`, whichever comes first. After :meth:`cancel` it is dropped.

    Args:
        work: what to do in the thread.
        deliver: takes the result, in the thread that made this.
        fail: takes what ``work`` raised, likewise.

    Raises:
        RuntimeError: if no event loop runs in this thread.

    Example:
        >>> async def main():
        ...     results = []
        ...     Background(lambda: 6 * 7, results.append, print).wait(60)
        ...     return results
        >>> asyncio.run(main())
        [42]
    """

    def __init__(
        self,
        work: Callable[[], Result],
        deliver: Callable[[Result], None],
        fail: Callable[[Exception], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._work = work
        self._deliver = deliver
        self._fail = fail
        self._outcome: Callable[[], None] = _nothing
        self._settled = False  # read and written in the asking thread alone
        self._thread = threading.Thread(target=self._run, name="fxexplore-work", daemon=True)
        self._thread.start()

    @property
    def is_pending(self) -> bool:
        """Whether there still is something to hand over."""
        return not self._settled

    def wait(self, seconds: float | None = None) -> bool:
        """Block until the result is handed over, but not longer than ``seconds``, if given.

        Returns:
            Whether nothing is pending any more.
        """
        self._thread.join(seconds)
        if not self._thread.is_alive():
            self._hand_over()
        return self._settled

    def cancel(self) -> None:
        """Drop the result: a thread cannot be broken off, but nobody hears of it any more."""
        self._settled = True

    def _run(self) -> None:
        try:
            self._outcome = functools.partial(self._deliver, self._work())
        except Exception as problem:  # noqa: BLE001  # whatever the user's model raises
            self._outcome = functools.partial(self._fail, problem)
        # A loop that was closed meanwhile raises: nobody is left to hand the result to.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._hand_over)

    def _hand_over(self) -> None:
        if not self._settled:
            self._settled = True
            self._outcome()


def running_loop() -> asyncio.AbstractEventLoop | None:
    """The event loop of this thread, if one runs, as in a kernel."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _nothing() -> None:
    """The outcome of work that has not ended."""
