"""Count floating point operations, and touch nothing else meanwhile."""

from __future__ import annotations

import contextlib
from typing import Any

from torch.utils.flop_counter import FlopCounterMode


class FlopCounter(FlopCounterMode):
    """torch's counter, of the operations of this thread alone.

    torch's own also tells modules apart, by hooks on all modules of the process; those
    would run in other threads' models too.

    Example:
        >>> import torch
        >>> with FlopCounter() as counter:
        ...     _ = torch.ones(2, 3) @ torch.ones(3, 4)
        >>> counter.get_total_flops()
        48
    """

    def __init__(self) -> None:
        super().__init__(display=False)
        self.mod_tracker: Any = _NoModules()


class _NoModules(contextlib.nullcontext[None]):
    """What the counter asks for the modules that run: the whole alone."""

    parents = frozenset({"Global"})
