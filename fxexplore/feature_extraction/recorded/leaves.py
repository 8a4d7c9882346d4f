"""What running a model has to know of its parts: the modules and functions that stay whole."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn

from fxexplore.feature_extraction.symbolic.tracer import LeafModuleAwareTracer

from .whole_functions import APPLY, wrapped_functions


class Anatomy(NamedTuple):
    """What following needs to know of a model, as plain data.

    Attributes:
        leaves: paths of the modules whose calls become one node each.
        wrapped: functions that become one node each: the Python modules whose global
            names refer to them, with these names.
    """

    leaves: frozenset[str]
    wrapped: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, model: nn.Module, tracer: LeafModuleAwareTracer) -> Anatomy:
        """Decide about the leaves and wrapped functions of ``model`` as ``tracer`` does."""
        leaves = frozenset(
            path
            for path, module in model.named_modules()
            if path
            and (isinstance(module, torch.jit.ScriptModule) or tracer.is_leaf_module(module, path))
        )
        return cls(leaves, (*wrapped_functions(model, tracer), APPLY))

    def narrowed(self, model: nn.Module, used: set[tuple[str, str]]) -> Anatomy:
        """Leave out functions that the model neither called nor sees in its classes' files."""
        homes = {cls.__module__ for module in model.modules() for cls in type(module).__mro__}
        homes.discard("builtins")
        kept = (entry for entry in self.wrapped if entry in used or entry[0] in homes)
        return Anatomy(self.leaves, tuple(kept))
