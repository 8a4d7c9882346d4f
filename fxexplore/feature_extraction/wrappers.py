"""Models in the wrappers of ``torch.compile`` and ``DataParallel``."""

from __future__ import annotations

import contextlib
import sys
from typing import Any, cast

import torch
from torch import nn


def plain_module(model: nn.Module) -> nn.Module:
    """The model itself, out of the wrappers of ``torch.compile`` and ``DataParallel``."""
    while True:
        inner = dict(model.named_children()).get("_orig_mod")
        if isinstance(model, nn.DataParallel):
            inner = model.module
        if not isinstance(inner, nn.Module):
            return model
        model = inner


def uncompiled(model: nn.Module) -> contextlib.AbstractContextManager[Any]:
    """Run what ``torch.compile`` compiled inside ``model`` as the Python code it was."""
    if "torch._dynamo" in sys.modules and _holds_compiled(model):
        return cast(
            "contextlib.AbstractContextManager[Any]", torch.compiler.set_stance("force_eager")
        )
    return contextlib.nullcontext()


def _holds_compiled(model: nn.Module) -> bool:
    seen = {id(model)}
    to_see = [model]
    while to_see:  # flat, as this runs before each extraction
        attributes = vars(to_see.pop())
        children = attributes.get("_modules", {})
        if attributes.get("_compiled_call_impl") or "_orig_mod" in children:
            return True
        for child in children.values():
            if child is not None and id(child) not in seen:
                seen.add(id(child))
                to_see.append(child)
    return False
