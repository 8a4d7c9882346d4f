"""What a model really computes, seen from outside: by hooks, and on clones."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn


class Whole(nn.Module):
    """Holds a model as ``model``, so that what it returns can be asked for like any module's."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, *args, **kwargs):
        return self.model(*args, **kwargs)


def copied(value: Any) -> Any:
    """The value with its tensors cloned; dataclasses and mappings as dicts."""
    if isinstance(value, torch.Tensor):
        return value.detach().clone()
    if dataclasses.is_dataclass(value):
        return copied(vars(value))
    if isinstance(value, Mapping):
        return {k: copied(v) for k, v in value.items()}
    if isinstance(value, (tuple, list)):
        return [copied(v) for v in value]
    return value


def same(left: Any, right: Any) -> bool:
    left, right = copied(left), copied(right)
    if isinstance(left, torch.Tensor) and isinstance(right, torch.Tensor):
        return left.dtype == right.dtype and torch.equal(left.nan_to_num(), right.nan_to_num())
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same(left[k], right[k]) for k in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same, left, right))
    return type(left) is type(right) and left == right


def returned_by_modules(
    model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any] | None = None
) -> dict[str, list[Any]]:
    """Run the model, and collect for each path what each call of that module returned."""
    found: dict[str, list[Any]] = {}
    by_module: dict[nn.Module, list[str]] = {}
    for path, module in model.named_modules(remove_duplicate=False):
        by_module.setdefault(module, []).append(path)

    def hook(module, _args, output):
        for path in by_module[module]:
            found.setdefault(path, []).append(copied(output))

    hooks = [module.register_forward_hook(hook) for module in by_module]
    try:
        torch.manual_seed(0)
        model(*args, **(kwargs or {}))
    finally:
        for handle in hooks:
            handle.remove()
    return found
