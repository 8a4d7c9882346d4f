"""Functions that the generated forwards of extractors call.

torch.jit.script compiles them too: it takes an argument without annotation for a tensor,
and leaves out the ``else`` of a test that a tensor always passes.
"""

from __future__ import annotations

import operator
from typing import Any

import torch

from fxexplore.feature_extraction.common.tensors import with_tensors


class AppliedFunction:
    """``apply`` of an ``autograd.Function``, in a form that graphs can hold and pickle.

    Args:
        function: the subclass of ``torch.autograd.Function``.
    """

    __name__ = "apply"

    def __init__(self, function: type[torch.autograd.Function]) -> None:
        self.function = function

    def __call__(self, *args, **kwargs):
        """Apply the function."""
        return self.function.apply(*args, **kwargs)


def augmented(name: str, value, other):
    """Run ``value += other`` or its like, whatever ``value`` is, and return the result."""
    return getattr(operator, name)(value, other)


def snapshot(value):
    """Copy the tensors in ``value``, because a later operation overwrites them."""
    if isinstance(value, torch.Tensor):
        return value.clone()
    else:
        return with_tensors(value, torch.clone)


def without_gradient(value):
    """Detach the tensors in ``value``, which forward computes under ``no_grad``."""
    if isinstance(value, torch.Tensor):
        return value.detach()
    else:
        return with_tensors(value, torch.detach)


def require_unchanged(value: Any, traced: Any, message: str) -> None:
    """Raise ``ValueError(message)`` if an argument is not what it was while tracing."""
    if torch.jit.is_scripting():  # type: ignore[attr-defined]
        return
    same = value is traced or (type(value) is type(traced) and value == traced)
    if not same:
        raise ValueError(message)


def refuse(message: str) -> dict[str, torch.Tensor]:
    """Raise: the forward of a mode in which the model was not opened."""
    raise RuntimeError(message)
