"""Run or trace a model, and leave it and the process as they were.

Whatever is changed for a while is first put on a list of what to undo, and then changed;
undoing twice does no harm. So what an interrupt left on the list is undone by the block around.
"""

from __future__ import annotations

import copy
import math
import random
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from functools import partial
from operator import is_, itemgetter
from typing import Any, NamedTuple

import torch
from torch import nn

from .tensors import state_tensors, storage_of, tensors_in

Action = Callable[[], object]
Undo = Callable[[Action], None]


def isolated(
    model: nn.Module,
    inputs: Any = None,
    *,
    training: bool | None = None,
    as_twin: bool = False,
) -> Isolation:
    """A block that may run or trace a model, and leaves everything as it was.

    Put back, also after an error, are every submodule's attributes and ``training`` flag;
    which parameters, buffers, submodules and hooks are registered; ``requires_grad`` and
    ``grad`` of the parameters; and the random state of torch on every device, of numpy and
    of Python. If the model is run, the numbers in its buffers are put back too. Meanwhile no
    other thread isolates a model, or runs a recorded feature extractor.

    Args:
        model: the model.
        inputs: what it is going to be run on; None if it is traced, which computes nothing.
        training: the mode that it is put into, unless it is in it: what its owner froze, such
            as a batch norm in eval mode inside a model in train mode, stays frozen. By
            default it stays in the mode in which it is.
        as_twin: give a copy that shares the parameters instead, if there can be one. Other
            threads, which may run the model meanwhile, then see nothing of it.

    Returns:
        A context manager that gives the model, or its twin.

    Example:
        >>> model = nn.Sequential(nn.BatchNorm1d(1)).eval()
        >>> with isolated(model, (torch.ones(2, 1),), training=True) as isolated_model:
        ...     _ = isolated_model(torch.ones(2, 1))
        >>> model.training, model[0].running_mean
        (False, tensor([0.]))
    """
    return Isolation(model, inputs, training, as_twin)


class Isolation(AbstractContextManager[nn.Module]):
    """What :func:`isolated` returns."""

    def __init__(self, model: nn.Module, inputs: Any, training: bool | None, as_twin: bool) -> None:
        self._model, self._inputs, self._training = model, inputs, training
        self._twin = twin_of(model) if as_twin else None
        self._block = undoing()
        self._saved: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
        self._guarded: dict[int, list[torch.Tensor]] = {}

    def __enter__(self) -> nn.Module:
        """Note how everything is, and switch the mode."""
        undo = self._block.__enter__()
        model = self._model if self._twin is None else self._twin
        if self._twin is None:
            lock.write(undo)
        # A recorded extractor has all modules of its model but the outermost.
        inner = vars(model).get("_recorded_model")
        whole = [model] if inner is None else [model, inner]
        before = [_Attributes.of(module) for part in whole for module in part.modules()]
        parameters = [p for saved in before for p in saved.module._parameters.values()]
        gradients = [(p, p.requires_grad, p.grad) for p in parameters if p is not None]
        if not _is_beside_others.get():
            undo(RandomState().put_back)
        undo(partial(_put_back_gradients, gradients))
        undo(lambda: [saved.put_back() for saved in before])
        if self._inputs is not None:
            with torch._C.DisableTorchFunction():
                undo(self._put_back_numbers)
                self._note_numbers(whole)
        if self._training is not None:
            switch_mode(model, self._training)
        return model

    def __exit__(self, *_: object) -> None:
        """Put back what has changed."""
        self._block.__exit__()

    def _note_numbers(self, whole: list[nn.Module]) -> None:
        """Copy buffers now; a parameter or an input is copied when it is about to be written."""
        state = [row for part in whole for row in state_tensors(part)]
        parameters = [tensor for _, tensor, is_parameter in state if is_parameter]
        for tensor in (*parameters, *tensors_in(self._inputs)):
            self._guarded.setdefault(storage_of(tensor), []).append(tensor)
        for _, tensor, is_parameter in state:
            if not is_parameter:
                self._save(tensor)
        for module in self._model.modules():
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

    def _put_back_numbers(self) -> None:
        with torch._C.DisableTorchFunction():
            for tensor, saved in self._saved.values():
                if tensor.shape != saved.shape or tensor.dtype != saved.dtype:
                    tensor.data = saved
                # A write that changes nothing would still count as one for autograd.
                elif not torch.equal(tensor, saved):
                    tensor.data.copy_(saved)


def switch_mode(model: nn.Module, training: bool) -> None:
    """Put a model in train or eval mode, unless it already is in it.

    What is frozen, such as a batch norm in eval mode inside a model in train mode, then stays
    so. Flags are set, and no method called: a model may have a ``train()`` that trains.

    Args:
        model: the model, inside :func:`isolated` or a twin.
        training: True for train mode, False for eval mode.
    """
    if model.training != training:
        for module in model.modules():
            module.training = training


def _put_back_gradients(gradients: list[tuple[nn.Parameter, bool, torch.Tensor | None]]) -> None:
    for parameter, requires_grad, gradient in gradients:
        if parameter.requires_grad != requires_grad:
            parameter.requires_grad_(requires_grad)
        if parameter.grad is not gradient and not _is_beside_others.get():
            parameter.grad = gradient


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


# --- twins and random numbers ------------------------------------------------------------


def twin_of(part: Any, replaced: dict[int, Any] | None = None) -> Any:
    """A copy that shares the parameters, and has flags, buffers and attributes of its own.

    Args:
        part: the module, or a tensor of a model.
        replaced: what stands for what in the copy, by ``id``, instead: the memo of
            ``copy.deepcopy``.

    Returns:
        The copy, or None if something in it cannot be copied.

    Example:
        >>> twin = twin_of(norm := nn.BatchNorm1d(2))
        >>> twin.weight is norm.weight, twin.running_mean is norm.running_mean
        (True, False)
    """
    if replaced is None:
        replaced = {id(parameter): parameter for parameter in part.parameters()}
    try:
        return copy.deepcopy(part, replaced)
    except Exception:  # noqa: BLE001  # locks, handles of files, a stranger's __deepcopy__, ...
        return None


class RandomState:
    """The random state of torch on every device, of numpy and of Python, when this is made.

    Example:
        >>> state = RandomState()
        >>> drawn = torch.rand(1)
        >>> state.put_back()
        >>> torch.equal(drawn, torch.rand(1))
        True
    """

    def __init__(self) -> None:
        self._states: list[tuple[Callable[[Any], object], Any]] = [
            (random.setstate, random.getstate()),
            (torch.set_rng_state, torch.get_rng_state()),
        ]
        numpy = sys.modules.get("numpy")
        if numpy is not None:
            self._states.append((numpy.random.set_state, numpy.random.get_state()))
        for device in (torch.cuda, torch.xpu):
            if device.is_initialized():  # asking for its state would initialise it
                self._states.append((device.set_rng_state_all, device.get_rng_state_all()))
        if torch.backends.mps.is_available():
            self._states.append((torch.mps.set_rng_state, torch.mps.get_rng_state()))

    def put_back(self) -> None:
        """Put it back."""
        for set_state, state in self._states:
            set_state(state)


_is_beside_others: ContextVar[bool] = ContextVar("_is_beside_others", default=False)


@contextmanager
def beside_others() -> Iterator[None]:
    """In this thread :func:`isolated` leaves random state and gradients as the block has them.

    For runs beside other threads, whose draws and steps must not be undone when the run ends.
    """
    token = _is_beside_others.set(True)
    try:
        yield
    finally:
        _is_beside_others.reset(token)


# --- what to undo ------------------------------------------------------------------------


class _Pending(threading.local):
    """What is to be undone in this thread, in the order in which it was done."""

    def __init__(self) -> None:
        self.actions: list[Action] = []


_pending = _Pending()


class undoing(AbstractContextManager[Undo]):  # noqa: N801
    """A block that undoes what it is told, the last first.

    Example:
        >>> numbers = [1]
        >>> with undoing() as undo:
        ...     undo(lambda: numbers.__setitem__(0, 1))
        ...     numbers[0] = 2
        >>> numbers
        [1]
    """

    def __enter__(self) -> Undo:
        """Give what takes an action that undoes something, before that is done."""
        self._depth = len(_pending.actions)
        return _pending.actions.append

    def __exit__(self, *_: object) -> None:
        """Undo."""
        problem: Exception | None = None
        while len(_pending.actions) > self._depth:
            try:
                _pending.actions[-1]()
            except Exception as failure:  # noqa: BLE001  # the rest is undone all the same
                problem = failure
            _pending.actions.pop()
        if problem is not None:
            raise problem


# --- threads -----------------------------------------------------------------------------


class ReadersWriterLock:
    """Lets many threads run recorded extractors, or one isolate a model.

    What isolates a model puts hooks back as they were, those of an extractor in another thread
    too. A thread that is in does not wait for itself; and nobody waits for ever, as a model
    may itself wait for other threads, except for whoever patches torch for the whole process.

    The methods take what :class:`undoing` gives, and put there what leaves again.
    """

    _PATIENCE = 60.0
    _PAUSE = 0.001

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._readers: dict[int, int] = {}
        self._owners: dict[str, int] = {}

    def read(self, undo: Undo) -> None:
        """Enter as one of many."""
        me = threading.get_ident()
        before = self._readers.get(me, 0)

        def set_count(count: int) -> None:
            if count:
                self._readers[me] = count
            else:
                self._readers.pop(me, None)

        undo(partial(set_count, before))
        self._enter(
            lambda: before or self._owners.get("writing", me) == me,
            partial(set_count, before + 1),
            self._PATIENCE,
        )

    def write(self, undo: Undo) -> None:
        """Enter when everybody else is out."""
        if threading.get_ident() not in self._readers:
            self._own("writing", undo, lambda: not self._readers, self._PATIENCE)
        self.patch(undo)

    def patch(self, undo: Undo) -> None:
        """Enter when nobody else patches what is the whole process's; readers may be in."""
        self._own("patching", undo, lambda: True, math.inf)

    def _own(self, what: str, undo: Undo, is_ready: Callable[[], bool], patience: float) -> None:
        me = threading.get_ident()
        if self._owners.get(what) == me:
            return

        def leave() -> None:
            if self._owners.get(what) == me:
                del self._owners[what]

        undo(leave)
        self._enter(
            lambda: what not in self._owners and is_ready(),
            lambda: self._owners.update({what: me}),
            patience,
        )

    def _enter(self, may_enter: Callable[[], object], enter: Action, patience: float) -> None:
        end = time.monotonic() + patience
        while True:
            with self._mutex:
                if may_enter() or time.monotonic() > end:
                    enter()
                    return
            time.sleep(self._PAUSE)


lock = ReadersWriterLock()
