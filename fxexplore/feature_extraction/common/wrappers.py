"""Models that are wrapped, compiled or sharded."""

from __future__ import annotations

import sys
from functools import partial

import torch
from torch import nn

from .isolation import on_leaving


def plain_module(model: nn.Module) -> nn.Module:
    """The model inside the wrappers of ``torch.compile`` and of data parallelism."""
    while True:
        inner = dict(model.named_children()).get("_orig_mod")
        if isinstance(model, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
            inner = model.module
        if not isinstance(inner, nn.Module):
            return model
        model = inner


def sharded_parameter(model: nn.Module) -> str | None:
    """The path of a parameter that ``fully_shard`` has split, if there is one."""
    tensor = sys.modules.get("torch.distributed.tensor")
    if tensor is None:
        return None
    split = (path for path, p in model.named_parameters() if isinstance(p, tensor.DTensor))
    return next(split, None)


def reshard(model: nn.Module) -> None:
    """Split what a run of a sharded model gathered: FSDP keeps its state outside of modules."""
    kind = getattr(sys.modules.get("torch.distributed.fsdp"), "FSDPModule", None)
    if kind is not None:
        for module in model.modules():
            if isinstance(module, kind):
                module.reshard()


def run_uncompiled(model: nn.Module) -> None:
    """Run what ``torch.compile`` compiled inside ``model`` as Python code again.

    Until the innermost :func:`restores` ends.
    """
    if "torch._dynamo" in sys.modules and _holds_compiled(model):
        from torch._dynamo import eval_frame

        on_leaving(partial(setattr, eval_frame, "_stance", eval_frame._stance))
        torch.compiler.set_stance("force_eager")


def _holds_compiled(model: nn.Module) -> bool:
    if model.__dict__.get("_compiled_call_impl"):
        return True
    registries = [model._modules]
    seen = {id(model._modules)}
    for (
        children
    ) in registries:  # a loop over a list that grows is fast: this runs before each extraction
        if "_orig_mod" in children:
            return True
        for child in children.values():
            if child is None:
                continue
            attributes = child.__dict__
            if attributes.get("_compiled_call_impl"):
                return True
            inner = attributes["_modules"]
            if inner and id(inner) not in seen:
                seen.add(id(inner))
                registries.append(inner)
    return False
