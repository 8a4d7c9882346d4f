"""Tensors that a run computes from buffers and constants alone: tracing does not name them."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from types import FrameType, FunctionType, ModuleType
from typing import Any

import torch
from torch import nn

from fxexplore.feature_extraction.common.tensors import tensors_in, tensors_in_containers

from .bytecode import operands_of

# Types of local variables that do not depend on an input of the model. Numbers are not among
# them: they may be sizes of an input, which tracing would see.
_INPUT_INDEPENDENT = (nn.Module, str, type(None), FunctionType, ModuleType, type)


class Constants:
    """The tensors of one run that depend on no input and no parameter, as far as known.

    Tracing computes them while it traces, or leaves their operations without a name; a run
    has to leave them without one too, or the names that follow would mean something else.

    Args:
        model: the model that is run.
        state: its state tensors.
    """

    def __init__(self, model: nn.Module, state: list[tuple[str, torch.Tensor, bool]]) -> None:
        named = [(path, tensor) for path, tensor, is_parameter in state if not is_parameter]
        # A number that forward keeps in an attribute may come from an input; a tensor is known.
        self._names = {path.rpartition(".")[2] for path, _ in named}
        self._known: dict[int, Callable[[], torch.Tensor | None]] = {
            id(tensor): weakref.ref(tensor)
            for tensor in (*(tensor for _, tensor in named), *tensors_in_containers(model))
            if not isinstance(tensor, nn.Parameter)
        }

    def __contains__(self, tensor: torch.Tensor) -> bool:
        known = self._known.get(id(tensor))
        return known is not None and known() is tensor

    def are_all(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
        """Whether an operation reads tensors, and constants only."""
        if not self._known:
            return False
        if args and type(args[0]) is torch.Tensor and args[0] not in self:
            return False  # the usual case
        tensors = list(tensors_in((args, kwargs)))
        return bool(tensors) and all(tensor in self for tensor in tensors)

    def are_written(self, frame: FrameType | None) -> bool:
        """Whether the model's code reads nothing else in the expression that runs now."""
        operands = None if frame is None else operands_of(frame)
        if operands is None or not self._names.issuperset(operands[1]):
            return False
        return all(
            value in self
            if isinstance(value, torch.Tensor)
            else isinstance(value, _INPUT_INDEPENDENT)
            for value in operands[0]
        )

    def add(self, value: Any) -> None:
        """Take the tensors in the result of such an operation for constants too."""
        for tensor in tensors_in(value):
            self._known[id(tensor)] = weakref.ref(tensor)

    def discard(self, written: Any) -> None:
        """Forget tensors that something else was written into."""
        for tensor in tensors_in(written):
            if tensor in self:
                del self._known[id(tensor)]
