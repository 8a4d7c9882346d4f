"""Run a model's code and leave the model, and the process, as they were."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from operator import is_, itemgetter
from typing import Any, NamedTuple

import torch
from torch import fx, nn

from .tensors import state_tensors, storage_of, tensors_in


@contextmanager
def untouched(model: nn.Module) -> Iterator[None]:
    """Put back, also after an error, whatever the block changes about ``model``.

    Covers every submodule's attributes and ``training`` flag, which parameters,
    buffers, submodules and hooks are registered (not the numbers inside tensors),
    and the random state of torch, numpy and Python.

    Args:
        model: the module whose state is kept.
    """
    before = [_Attributes.of(module) for module in model.modules()]
    parameters = [p for saved in before for p in saved.module._parameters.values()]
    trainable = [(p, p.requires_grad) for p in parameters if p is not None]
    with _random_state_kept():
        try:
            yield
        finally:
            for saved in before:
                saved.put_back()
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
    if model.training == training:
        return
    try:
        model.train(training)
    except NotImplementedError:
        if not any(map(_is_exported, model.modules())):
            raise
        for module in model.modules():
            module.training = training


def _is_exported(module: nn.Module) -> bool:
    """Whether a module is what ``torch.export`` made, which runs the same in both modes."""
    return isinstance(module, fx.GraphModule) and "train" in vars(module)


class _Attributes(NamedTuple):
    """The attributes of a module as they were, and what was in those that are containers."""

    module: nn.Module
    values: dict[str, Any]
    filled: list[tuple[Any, Any]]
    empty: list[Any]

    @classmethod
    def of(cls, module: nn.Module) -> _Attributes:
        values = vars(module).copy()
        containers = list(_module_containers(values))
        names = list(values)
        if names[: len(_MODULE_ATTRIBUTES)] == _MODULE_ATTRIBUTES:
            names = names[len(_MODULE_ATTRIBUTES) :]
        containers += [values[name] for name in names if values[name].__class__ in _COPIERS]
        if not any(containers):
            return cls(module, values, [], containers)
        filled = [(v, v.copy()) for v in containers if v]
        return cls(module, values, filled, [v for v in containers if not v])

    def put_back(self) -> None:
        if any(self.empty):
            for container in self.empty:
                container.clear()
        for container, content in self.filled:
            if _same(container, content):
                continue
            if isinstance(container, dict):
                _restore_dict(container, content)
                continue
            container.clear()
            container.extend(content) if isinstance(container, list) else container.update(content)
        now = vars(self.module)
        if not _same(now, self.values):
            _restore_dict(now, self.values)
            # A feature extractor chooses its graph when its flag is set.
            self.module.training = self.values["training"]


_COPIERS = {dict, list, set, type(nn.Module()._forward_hooks)}

# What every module has is fetched in one go: this runs for each module of each trace.
_MODULE_ATTRIBUTES = list(vars(nn.Module()))
_module_containers = itemgetter(
    *(name for name, value in vars(nn.Module()).items() if type(value) in _COPIERS)
)


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
    if isinstance(left, set):
        return {id(item) for item in left} == {id(item) for item in right}
    if isinstance(left, dict):
        return list(left) == list(right) and all(map(is_, left.values(), right.values()))
    return all(map(is_, left, right))


_leaves_random_state: ContextVar[bool] = ContextVar("_leaves_random_state", default=False)


@contextmanager
def random_state_left_alone() -> Iterator[None]:
    """In this thread :func:`untouched` leaves the random state of the process as the block has it.

    For runs beside other threads, whose draws and seeds must not be undone when the run ends.
    """
    token = _leaves_random_state.set(True)
    try:
        yield
    finally:
        _leaves_random_state.reset(token)


@contextmanager
def _random_state_kept() -> Iterator[None]:
    if _leaves_random_state.get():
        yield
        return
    python_state = random.getstate()
    numpy = sys.modules.get("numpy")
    numpy_state = numpy.random.get_state() if numpy else None
    # fork_rng would initialise CUDA; states are only read where it already runs.
    has_cuda = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    devices = range(torch.cuda.device_count()) if has_cuda else []
    with torch.random.fork_rng(devices=devices):
        try:
            yield
        finally:
            random.setstate(python_state)
            if numpy:
                numpy.random.set_state(numpy_state)


class NumbersKept(AbstractContextManager[None]):
    """Keeps the numbers of a model and of its inputs, and puts back what the block overwrote.

    Buffers are copied at once; a parameter or an input is copied when something is about to
    write to it.

    Args:
        model: the model that is to be run.
        inputs: what it is run on.
    """

    def __init__(self, model: nn.Module, inputs: Any) -> None:
        self._saved: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
        self._guarded: dict[int, list[torch.Tensor]] = {}
        state = list(state_tensors(model))
        parameters = [tensor for _, tensor, is_parameter in state if is_parameter]
        for tensor in (*parameters, *tensors_in(inputs)):
            self._guarded.setdefault(storage_of(tensor), []).append(tensor)
        for _, tensor, is_parameter in state:
            if not is_parameter:
                self._save(tensor)
        for module in model.modules():
            # torch renormalises these in place, out of sight.
            if getattr(module, "max_norm", None) is not None:
                for parameter in module.parameters(recurse=False):
                    self._save(parameter)

    def before_write(self, written: Any) -> None:
        """Keep the numbers of a parameter or an input that is about to be overwritten."""
        for tensor in tensors_in(written):
            for owner in self._guarded.get(storage_of(tensor), ()):
                self._save(owner)

    def _save(self, tensor: torch.Tensor) -> None:
        if id(tensor) not in self._saved and not tensor.is_meta:
            self._saved[id(tensor)] = (tensor, tensor.detach().clone())

    def __exit__(self, *_: object) -> None:
        with torch._C.DisableTorchFunction():
            for tensor, saved in self._saved.values():
                if tensor.shape != saved.shape or tensor.dtype != saved.dtype:
                    tensor.data = saved
                # A write that changes nothing would still count as one for autograd.
                elif not torch.equal(tensor, saved):
                    tensor.data.copy_(saved)
