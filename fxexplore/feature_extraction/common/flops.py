"""Count floating point operations (FLOPs); a multiply-add counts 2."""

from __future__ import annotations

import contextlib
import functools
import math
import re
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


def _of_attention(
    query: Sequence[int], key: Sequence[int], value: Sequence[int], *_: Any, **__: Any
) -> int:
    """Scores of each query with each key, and means of the values; heads may share keys."""
    return 2 * math.prod(query[:-1]) * key[-2] * (query[-1] + value[-1])


def _of_multi_head_attention(
    query: Sequence[int], key: Sequence[int], _value: Any, width: int, *_: Any, **__: Any
) -> int:
    """Attention with the four projections around it."""
    batch, queries, keys = *query[:2], key[1]
    return 4 * batch * width * (width * (queries + keys) + queries * keys)


def _of_encoder_layer(src: Sequence[int], width: int, *args: Any, **_: Any) -> int:
    """Attention of a sequence to itself, and the two layers of the feed-forward network."""
    feed_forward = [weight for weight in args[-6:] if len(weight or ()) == 2]  # noqa: PLR2004
    of_weights = 2 * math.prod(src[:2]) * sum(map(math.prod, feed_forward))
    return _of_multi_head_attention(src, src, src, width) + of_weights


def _of_vector(matrix: Sequence[int], *_: Any, **__: Any) -> int:
    """A product with a vector."""
    return 2 * math.prod(matrix)


_aten = torch.ops.aten

# What torch's counter does not know, or not for each device: kernels that do much at once.
_FORMULAS = {
    _aten.mkldnn_rnn_layer: _of_layer,
    _aten._cudnn_rnn: _of_stack,
    _aten.miopen_rnn: _of_stack,
    _aten._scaled_dot_product_flash_attention_for_cpu: _of_attention,
    _aten._scaled_dot_product_flash_attention: _of_attention,
    _aten._scaled_dot_product_efficient_attention: _of_attention,
    _aten._scaled_dot_product_cudnn_attention: _of_attention,
    _aten._scaled_dot_product_fused_attention_overrideable: _of_attention,
    _aten._native_multi_head_attention: _of_multi_head_attention,
    _aten._transformer_encoder_layer_fwd: _of_encoder_layer,
    _aten.mv: _of_vector,
    _aten.dot: _of_vector,
    _aten.vdot: _of_vector,
    _aten.addmv: lambda _added, matrix, *_, **__: _of_vector(matrix),
}

# Operations of torch that multiply more than each number by another. If they have no formula,
# what they take is unknown; what others take counts nothing, by convention.
_MULTIPLIES = re.compile(
    r"mm(_|$)|matmul|attention|rnn|conv(?!ert)|_[cp]dist_|(?<!upsample_)(bi|tri)?linear|_fft_"
    r"|linalg_(?!vector_norm|cross|diagonal|check_errors)|(?<!re)solve|cholesky"
)


class FlopCounter(FlopCounterMode):
    """torch's FLOP counter, for the operations of this thread alone; a multiply-add counts 2.

    torch's own also counts per module, by hooks on all modules of the process, which would
    run in other threads' models too. It has no formula for some kernels that devices choose
    for attention and recurrent layers, which then would count nothing.

    Example:
        >>> with FlopCounter() as counter:
        ...     _ = torch.ones(2, 3) @ torch.ones(3, 4)
        ...     counter.taken()
        48
        >>> counter.total
        48
    """

    def __init__(self) -> None:
        super().__init__(display=False, custom_mapping=_FORMULAS)
        self.mod_tracker: Any = _NoModules()
        self._uncounted = 0  # operations without a formula
        self._before = (0, 0)

    @property
    def total(self) -> int:
        """What was counted so far."""
        return int(self.get_total_flops())

    def starts(self) -> None:
        """Begin to count what one operation of the model takes."""
        self._before = self.total, self._uncounted

    def taken(self) -> int | None:
        """What it took; None if something in it has no formula. The next one starts."""
        total, uncounted = self._before
        self.starts()
        return self.total - total if self._uncounted == uncounted else None

    def _count_flops(self, func_packet: Any, out: Any, args: Any, kwargs: Any) -> Any:
        try:
            super()._count_flops(func_packet, out, args, kwargs)  # type: ignore[no-untyped-call]
        except Exception:  # noqa: BLE001  # a formula that does not know this use of the operation
            self._uncounted += 1
        else:
            if func_packet not in self.flop_registry:
                self._uncounted += _has_no_formula(func_packet)
        return out


@functools.cache
def _has_no_formula(operation: Any) -> bool:
    name = getattr(operation, "_qualified_op_name", "")
    is_of_torch = name.startswith(("aten::", "prim::", "prims::"))
    return not is_of_torch or _MULTIPLIES.search(name) is not None


class _NoModules(contextlib.nullcontext[None]):
    """Stands in for the counter's module tracker: all that runs is one global module."""

    parents = frozenset({"Global"})
