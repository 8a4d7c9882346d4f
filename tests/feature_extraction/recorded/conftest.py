"""Every test of recording checks that nothing of torch is left patched."""

from __future__ import annotations

import pytest
import torch
import torchvision
from torch import nn
from torch.overrides import _get_current_function_mode_stack


def assert_nothing_patched():
    assert not _get_current_function_mode_stack()
    assert type(torch.autograd.Function.__dict__["apply"]) is _TYPE_OF_APPLY
    now = _patchable()
    assert [name for name, function in _PATCHABLE.items() if now[name] is not function] == []
    assert not torch.nn.modules.module._global_forward_hooks


def _patchable():
    from torch.fx._symbolic_trace import _wrapped_fns_to_patch

    found = {"__call__": nn.Module.__call__, "__getattr__": nn.Module.__getattr__}
    for module in (torchvision.ops, torchvision.models.swin_transformer):
        found.update({(module.__name__, name): value for name, value in vars(module).items()})
    for (_, name), scope in _wrapped_fns_to_patch.items():
        found[scope.get("__name__"), name] = scope.get(name)
    return found


_TYPE_OF_APPLY = type(torch.autograd.Function.__dict__["apply"])


_PATCHABLE = _patchable()


@pytest.fixture(autouse=True)
def nothing_is_left_patched():
    yield
    assert_nothing_patched()
