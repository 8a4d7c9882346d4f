"""Run a model's code and leave the model, and the process, as they were."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn


@contextmanager
def untouched(model: nn.Module) -> Iterator[None]:
    """Put back, also after an error, whatever the block changes about ``model``.

    Covers every submodule's attributes and ``training`` flag, which parameters,
    buffers, submodules and hooks are registered (not the numbers inside tensors),
    and the random state of torch, numpy and Python.

    Args:
        model: the module whose state is kept.
    """
    before = [(module, *_shallow_state(module)) for module in model.modules()]
    trainable = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    with _random_state_kept():
        try:
            yield
        finally:
            for module, attributes, containers in before:
                _restore(module, attributes, containers)
            for parameter, requires_grad in trainable:
                if parameter.requires_grad != requires_grad:
                    parameter.requires_grad_(requires_grad)


def switch_mode(model: nn.Module, training: bool) -> None:
    """Put ``model`` in train or eval mode, unless it already is in it.

    What the owner of a model froze, such as a batch norm in eval mode inside a model in
    train mode, stays frozen that way.

    Args:
        model: the module to switch, inside :func:`untouched`.
        training: True for train mode, False for eval mode.
    """
    if model.training != training:
        model.train(training)


def _shallow_state(module: nn.Module) -> tuple[dict[str, Any], list[tuple[Any, Any]]]:
    attributes = vars(module).copy()
    containers = [(v, v.copy()) for v in attributes.values() if type(v) in _COPIERS and v]
    return attributes, containers


_COPIERS = {dict, list, set, type(nn.Module()._forward_hooks)}


def _restore(
    module: nn.Module, attributes: dict[str, Any], containers: list[tuple[Any, Any]]
) -> None:
    now = vars(module)
    filled = {id(container) for container, _ in containers}
    for value in attributes.values():
        if type(value) in _COPIERS and value and id(value) not in filled:
            value.clear()
    for container, content in containers:
        if isinstance(container, dict):
            _restore_dict(container, content)
        elif not _same(container, content):
            container.clear()
            container.extend(content) if isinstance(container, list) else container.update(content)
    if not _same(now, attributes):
        _restore_dict(now, attributes)
        # A feature extractor chooses its graph when its flag is set.
        module.training = attributes["training"]


def _restore_dict(container: dict[Any, Any], content: dict[Any, Any]) -> None:
    """Put back what changed, and only that: another thread may be running the model."""
    for key in [key for key in container if key not in content]:
        del container[key]
    for key, value in content.items():
        if key not in container or container[key] is not value:
            container[key] = value
    if list(container) != list(content):
        container.clear()
        container.update(content)


def _same(left: Any, right: Any) -> bool:
    """Whether two containers hold the very same objects (``==`` would compare tensors)."""
    if len(left) != len(right):
        return False
    if isinstance(left, dict):
        pairs = zip(left.items(), right.items(), strict=True)
        return all(k == other_k and v is other_v for (k, v), (other_k, other_v) in pairs)
    if isinstance(left, set):
        return {id(item) for item in left} == {id(item) for item in right}
    return all(item is other for item, other in zip(left, right, strict=True))


@contextmanager
def _random_state_kept() -> Iterator[None]:
    python_state = random.getstate()
    numpy = sys.modules.get("numpy")
    numpy_state = numpy.random.get_state() if numpy else None
    # fork_rng would initialise CUDA; states are only read where it already runs.
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else []
    with torch.random.fork_rng(devices=devices):
        try:
            yield
        finally:
            random.setstate(python_state)
            if numpy:
                numpy.random.set_state(numpy_state)
