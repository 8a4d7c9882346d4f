"""Count floating point operations (FLOPs); a multiply-add counts 2."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode


def _of_layer(
    inputs: Sequence[int], from_input: Sequence[int], from_hidden: Sequence[int], *_: Any, **__: Any
) -> int:
    """A fused layer: each step of each sequence multiplies with both matrices."""
    steps = math.prod(inputs[:-1])
    return 2 * steps * (math.prod(from_input) + math.prod(from_hidden))


def _of_stack(inputs: Sequence[int], weights: Sequence[Sequence[int]], *_: Any, **__: Any) -> int:
    """All fused layers at once: each step multiplies with every matrix."""
    matrices = (shape for shape in weights if len(shape) == 2)  # noqa: PLR2004
    return 2 * math.prod(inputs[:-1]) * sum(map(math.prod, matrices))


# What torch's counter does not know: recurrent layers as one kernel.
_RECURRENT = {
    torch.ops.aten.mkldnn_rnn_layer: _of_layer,
    torch.ops.aten._cudnn_rnn: _of_stack,
    torch.ops.aten.miopen_rnn: _of_stack,
}


class FlopCounter(FlopCounterMode):
    """torch's FLOP counter, for the operations of this thread alone; a multiply-add counts 2.

    torch's own also counts per module, by hooks on all modules of the process, which would
    run in other threads' models too.

    Example:
        >>> with FlopCounter() as counter:
        ...     _ = torch.ones(2, 3) @ torch.ones(3, 4)
        >>> counter.get_total_flops()
        48
    """

    def __init__(self) -> None:
        super().__init__(display=False, custom_mapping=_RECURRENT)
        self.mod_tracker: Any = _NoModules()


class _NoModules(contextlib.nullcontext[None]):
    """Stands in for the counter's module tracker: all that runs is one global module."""

    parents = frozenset({"Global"})


class FlopsByPart:
    """What a counter counts, by operation and by module, as a run goes on.

    Args:
        counter: the counter, which is on during the run.
    """

    def __init__(self, counter: FlopCounter) -> None:
        self.counter = counter
        self._before = 0
        self._entered: list[int] = []
        self._of_modules: dict[str, int] = {}

    @property
    def total(self) -> int:
        """What was counted so far."""
        return int(self.counter.get_total_flops())

    def starts(self) -> None:
        """An operation starts."""
        self._before = self.total

    def taken(self) -> int:
        """What was counted since the last operation started or ended."""
        total = self.total
        taken, self._before = total - self._before, total
        return taken

    def enters(self) -> None:
        """The forward of a module begins."""
        self._entered.append(self.total)

    def leaves(self, path: str) -> int:
        """The forward of a module ends; what all its calls so far took."""
        taken = self._of_modules.get(path, 0) + self.total - self._entered.pop()
        self._of_modules[path] = taken
        return taken
