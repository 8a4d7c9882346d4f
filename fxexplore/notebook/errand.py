"""One piece of work at a time beside the kernel, with progress and a way to stop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from .background import Background, running_loop
from .feature_maps.running import Progress, Stop
from .notice import Notice

Result = TypeVar("Result")

_SOON = 0.5  # seconds after which a person wonders what is going on


class Errand:
    """The work that an explorer waits for; a newer one takes the place of the last.

    Where an event loop runs, as in a kernel, work is done in a thread, and the notice speaks
    of it if it takes longer than half a second; elsewhere it is done at once.

    Args:
        notice: where progress is shown.

    Example:
        >>> errand = Errand(Notice())
        >>> errand.start(lambda progress: 6 * 7, print, print, "Computing")
        42
    """

    def __init__(self, notice: Notice) -> None:
        self._notice = notice
        self._background: Background[Any] | None = None
        self._progress = Progress()
        self._timer: asyncio.TimerHandle | None = None
        self._speaks = False
        self._stopped: Callable[[], None] | None = None

    @property
    def is_pending(self) -> bool:
        """Whether work is on its way."""
        return self._background is not None

    def start(
        self,
        work: Callable[[Progress], Result],
        deliver: Callable[[Result], None],
        fail: Callable[[Exception], None],
        words: str,
        stopped: Callable[[], None] | None = None,
    ) -> None:
        """Do some work.

        Args:
            work: what to do; it may look at ``progress.stop`` and raise
                :class:`~.feature_maps.running.Stop`.
            deliver: takes the result, in the thread that made this.
            fail: takes what was raised, likewise.
            words: what it is, for the notice.
            stopped: called if somebody stops it, or something newer takes its place.
        """
        self.stop()
        loop = running_loop()
        if loop is None:
            try:
                result = work(Progress())
            except Exception as problem:  # noqa: BLE001  # told to whoever asked
                return fail(problem)
            return deliver(result)
        progress = self._progress = Progress()

        def guarded() -> Result | None:
            try:
                return work(progress)
            except Stop:
                return None  # nobody waits for it

        self._stopped = stopped
        self._background = Background(guarded, self._ending(deliver), self._ending(fail))
        self._timer = loop.call_later(_SOON, lambda: self._speak(words))
        return None

    def wait(self, seconds: float | None = None) -> bool:
        """Block until it is done, but not longer than ``seconds``; says whether it is."""
        return self._background is None or self._background.wait(seconds)

    def stop(self) -> None:
        """Drop what is being done, and end it where it looks at ``progress.stop``."""
        if self._background is None:
            return
        self._progress.stop.set()
        self._background.cancel()
        stopped = self._stopped
        self._end()
        if stopped is not None:
            stopped()

    def _ending(self, action: Callable[[Any], None]) -> Callable[[Any], None]:
        def ended(outcome: Any) -> None:
            self._end()
            action(outcome)

        return ended

    def _end(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._speaks and self._notice.is_progress:
            self._notice.clear()
        self._background = self._timer = self._stopped = None
        self._speaks = False

    def _speak(self, words: str) -> None:
        self._speaks = True
        self._notice.progress(words, self.stop)
