"""Who may run a model at the same time as who."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator


class _Gate:
    """Lets recordings run alone, and extractors beside one another.

    A recording puts hooks back as they were, those of an extractor in another thread too.
    Nobody waits for ever: a model may itself wait for other threads.
    """

    _PATIENCE = 60.0

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._running: dict[int, int] = {}
        self._alone: int | None = None

    @contextlib.contextmanager
    def beside_others(self) -> Iterator[None]:
        """Enter as one of many."""
        me = threading.get_ident()
        with self._changed:
            if me not in self._running:
                self._changed.wait_for(lambda: self._alone in (None, me), self._PATIENCE)
            self._running[me] = self._running.get(me, 0) + 1
        try:
            yield
        finally:
            with self._changed:
                self._running[me] -= 1
                if not self._running[me]:
                    del self._running[me]
                    self._changed.notify_all()

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Enter when everybody else is out; a run within a run does not wait."""
        me = threading.get_ident()
        with self._changed:
            is_within = me in self._running or self._alone == me
            if not is_within:
                self._changed.wait_for(
                    lambda: self._alone is None and not self._running, self._PATIENCE
                )
                self._alone = me
        try:
            yield
        finally:
            if not is_within:
                with self._changed:
                    self._alone = None
                    self._changed.notify_all()


gate = _Gate()

# torch.fx patches nn.Module for the whole process while it traces.
one_trace_at_a_time = threading.RLock()
