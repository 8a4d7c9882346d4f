"""Run or trace a model, and leave it and the process as they were, also when interrupted.

What is changed for a while goes by :func:`on_leaving`: the action that puts it back is noted
first. An interrupt may come at any moment, also while things are put back; so an action may run
twice, and one that did not get through runs again at the end of the :func:`restores` around.
"""

from __future__ import annotations

import copy
import functools
import math
import random
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager
from contextvars import ContextVar
from functools import partial
from operator import is_
from typing import Any, NamedTuple, ParamSpec, TypeVar

import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils import _python_dispatch
from torch.utils.hooks import RemovableHandle

from .tensors import state_tensors, storage_of, tensors_in

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")
Action = Callable[[], object]


class isolated(AbstractContextManager[nn.Module]):  # noqa: N801  # as contextlib's own
    """A block that may run or trace a model, and leaves everything as it was.

    Put back, also after an error, are every submodule's attributes and ``training`` flag;
    which parameters, buffers, submodules and hooks are registered; ``requires_grad`` and
    ``grad`` of the parameters; and the random state of torch on every device, of numpy and
    of Python. If the model is run, the values of its buffers are put back too. Meanwhile no
    other thread isolates a model, or runs a recorded feature extractor.

    Args:
        model: the model.
        inputs: what it is going to be run on; None if it is traced, which computes nothing.
        training: the mode that it is put into, unless it is in it: what its owner froze, such
            as a batch norm in eval mode inside a model in train mode, stays frozen. By
            default it stays in the mode in which it is.
        as_twin: give a copy that shares the parameters instead, if there can be one. Other
            threads, which may run the model meanwhile, then see nothing of it.

    Example:
        >>> model = nn.Sequential(nn.BatchNorm1d(1)).eval()
        >>> with isolated(model, (torch.ones(2, 1),), training=True) as isolated_model:
        ...     _ = isolated_model(torch.ones(2, 1))
        >>> model.training, model[0].running_mean
        (False, tensor([0.]))
    """

    def __init__(
        self,
        model: nn.Module,
        inputs: Any = None,
        *,
        training: bool | None = None,
        as_twin: bool = False,
    ) -> None:
        self._model, self._inputs, self._training = model, inputs, training
        self._as_twin = as_twin
        self._twin: nn.Module | None = None
        self._saved: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
        self._guarded: dict[int, list[torch.Tensor]] = {}
        self._begin: Action = partial(int)  # where this begins among the pending actions

    def __enter__(self) -> nn.Module:
        """Note how everything is, switch the mode, and give the model or its twin."""
        on_leaving(self._begin)
        make_room_to_recurse(nesting_of(self._model))
        self._twin = twin_of(self._model) if self._as_twin else None
        model = self._model if self._twin is None else self._twin
        if self._twin is None:
            lock.write()
        # A recorded extractor has all modules of its model but the outermost.
        inner = vars(model).get("_recorded_model")
        whole = [model] if inner is None else [model, inner]
        if not _is_beside_others.get():
            on_leaving(RandomState().put_back)
        on_leaving(_Before.of([module for part in whole for module in part.modules()]).put_back)
        if self._inputs is not None:
            with torch._C.DisableTorchFunction():
                on_leaving(self._put_back_numbers)
                self._note_numbers(whole)
        if self._training is not None:
            switch_mode(model, self._training)
        return model

    def __exit__(self, *_: object) -> None:
        """Put back what has changed."""
        if self._begin in _pending.actions:  # else a block around has done so
            _leave(_pending.actions.index(self._begin))

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
            # torch renormalises these in place, where no mode sees it.
            if getattr(module, "max_norm", None) is not None:
                for parameter in module.parameters(recurse=False):
                    self._save(parameter)

    def before_write(self, written: Any) -> None:
        """Keep the values of a parameter or an input that is about to be overwritten."""
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


class _Before(NamedTuple):
    """The state of modules before a block: everything but the values of their tensors."""

    flags: list[tuple[nn.Module, bool]]
    filled: list[tuple[Any, Any]]
    empty: list[Any]
    gradients: list[tuple[nn.Parameter, bool, torch.Tensor | None]]

    @classmethod
    def of(cls, modules: list[nn.Module]) -> _Before:
        parameters = [p for module in modules for p in module._parameters.values()]
        containers = [
            held
            for module in modules
            for held in (vars(module), *vars(module).values())
            if type(held) in _CONTAINERS
        ]
        return cls(
            [(module, module.training) for module in modules],
            [(held, held.copy()) for held in containers if held],
            [held for held in containers if not held],
            [(p, p.requires_grad, p.grad) for p in parameters if p is not None],
        )

    def put_back(self) -> None:
        """Put back what changed, and only that: another thread may be running the model."""
        for module, training in self.flags:
            if vars(module).get("training") is not training:
                module.training = training  # an extractor switches its graph by its own setter
        for held, before in self.filled:
            if not _same(held, before):
                _refill(held, before)
        for held in filter(None, self.empty):
            held.clear()
        for parameter, requires_grad, gradient in self.gradients:
            if parameter.requires_grad != requires_grad:
                parameter.requires_grad_(requires_grad)
            if parameter.grad is not gradient and not _is_beside_others.get():
                parameter.grad = gradient


_CONTAINERS = {dict, list, set, type(nn.Module()._forward_hooks)}


def _same(now: Any, before: Any) -> bool:
    """Whether two containers hold the very same objects (``==`` would compare tensors)."""
    if len(now) != len(before):
        return False
    if isinstance(now, dict):
        return list(now) == list(before) and all(map(is_, now.values(), before.values()))
    return now == before if isinstance(now, set) else all(map(is_, now, before))


def _refill(held: Any, before: Any) -> None:
    if isinstance(held, list):
        held[:] = before
        return
    if isinstance(held, dict):
        for key in [key for key in held if key not in before]:
            del held[key]
        for key, value in before.items():
            if key not in held or held[key] is not value:
                held[key] = value
        if list(held) == list(before):
            return
    held.clear()
    held.update(before)


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
    except Exception:  # noqa: BLE001  # locks, file handles, any __deepcopy__ of the user's, ...
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


def beside_others() -> None:
    """Have :func:`isolated` leave random state and gradients alone until the block ends.

    For work in a background thread: what other threads draw and learn meanwhile must stay.
    """
    on_leaving(partial(_is_beside_others.set, _is_beside_others.get()))
    _is_beside_others.set(True)


# --- putting back ------------------------------------------------------------------------


class _Pending(threading.local):
    """What is to be done when blocks of this thread end, in the order in which it was noted."""

    def __init__(self) -> None:
        self.actions: list[Action] = []


_pending = _Pending()


def on_leaving(action: Action) -> None:
    """Have an action done when the innermost :func:`restores` or :func:`isolated` ends.

    Args:
        action: what puts something back. It is noted before that is changed, and may be done
            twice.
    """
    _pending.actions.append(action)


def restores(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Decorate a function: the actions of :func:`on_leaving` are done, last first, when it ends.

    Also puts back the modes of torch that are active in this thread, and whether gradients are
    enabled.

    Example:
        >>> numbers = [1]
        >>> @restores
        ... def change():
        ...     on_leaving(lambda: numbers.__setitem__(0, 1))
        ...     numbers[0] = 2
        >>> change()
        >>> numbers
        [1]
    """

    @functools.wraps(function)
    def restoring(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        depth, filters = len(_pending.actions), warnings.filters
        try:
            try:
                on_leaving(_ThreadState().put_back)
                return function(*args, **kwargs)
            except KeyboardInterrupt as interrupt:
                # Ends the blocks whose own end was interrupted before it began.
                traceback.clear_frames(interrupt.__traceback__)
                # torch looks functions up while it ignores warnings, and may not have come back.
                on_leaving(partial(setattr, warnings, "filters", filters))
                raise
            except Exception as error:
                # torch.fx may raise while it cleans up after an interrupt.
                if isinstance(error.__context__, KeyboardInterrupt):
                    raise error.__context__ from None
                raise
            finally:
                _leave(depth)
        finally:
            _leave(depth)

    return restoring


def _leave(depth: int) -> None:
    """Do the pending actions, whatever they raise; one that is interrupted is done again."""
    problem: BaseException | None = None
    while len(_pending.actions) > depth:
        try:
            _pending.actions[-1]()
            _pending.actions.pop()
        except Exception as failure:  # noqa: BLE001, PERF203  # the others are done all the same
            problem = failure
            _pending.actions.pop()
        except BaseException as interrupt:  # noqa: BLE001  # raised below
            problem = interrupt
    if problem is not None:
        raise problem


class _ThreadState:
    """The modes of torch that are active in this thread, and whether gradients are enabled."""

    _FLAGS = tuple(name for name, value in vars(_python_dispatch).items() if value is False)

    def __init__(self) -> None:
        self._gradients = torch.is_grad_enabled()
        self._functions = self._function_modes()
        self._dispatches = torch._C._len_torch_dispatch_stack()
        self._flags = {name: getattr(_python_dispatch, name) for name in self._FLAGS}

    @staticmethod
    def _function_modes() -> list[Any]:
        count = torch._C._len_torch_function_stack()
        return [torch._C._get_function_stack_at(position) for position in range(count)]

    def put_back(self) -> None:
        if self._function_modes() != self._functions:
            # torch pops a mode while it handles a call, so that one may be missing too.
            while torch._C._len_torch_function_stack():
                torch._C._pop_torch_function_stack()
            for mode in self._functions:
                torch._C._push_on_torch_function_stack(mode)
        while torch._C._len_torch_dispatch_stack() > self._dispatches:
            torch._C._pop_torch_dispatch_stack(None)
        vars(_python_dispatch).update(self._flags)
        if torch.is_grad_enabled() != self._gradients:
            torch._C._set_grad_enabled(self._gradients)


def turn_on(mode: TorchFunctionMode) -> None:
    """Turn on a mode of torch, in this thread, until the block ends."""
    on_leaving(_ThreadState().put_back)
    torch._C._push_on_torch_function_stack(mode)


_FRAMES = 16  # that tracing, recording or copying a module takes at most


def nesting_of(model: nn.Module) -> int:
    """How deep the modules of a model are nested."""
    paths: list[str] = [path for path, _ in model.named_modules()]
    return max(path.count(".") for path in paths)


def make_room_to_recurse(nesting: int) -> None:
    """Let Python recurse deeper until the block ends, if modules are nested so deep.

    A model that runs can then be traced, which takes more frames for each module.
    """
    limit = sys.getrecursionlimit()
    if _FRAMES * nesting > limit:
        lock.patch()
        on_leaving(partial(sys.setrecursionlimit, limit))
        sys.setrecursionlimit(limit + _FRAMES * nesting)


_MISSING = object()


def patch(owner: Any, name: str, value: Any) -> None:
    """Set an attribute of a class or a Python module until the block ends."""
    on_leaving(partial(_set_back, owner, name, vars(owner).get(name, _MISSING)))
    setattr(owner, name, value)


def _set_back(owner: Any, name: str, before: Any) -> None:
    if before is not _MISSING:
        setattr(owner, name, before)
    elif name in vars(owner):
        delattr(owner, name)


def hook(
    module: nn.Module,
    function: Callable[..., Any],
    *,
    before: bool = False,
    always: bool = False,
) -> None:
    """Hang a hook on a module until the block ends.

    Args:
        module: the module, which may be a scripted one.
        function: what is called, with keyword arguments too.
        before: call it before the forward of the module, and before other hooks.
        always: call it after a forward that raised as well.
    """
    hooks: Any = module._forward_pre_hooks if before else module._forward_hooks
    flags = [module._forward_pre_hooks_with_kwargs if before else module._forward_hooks_with_kwargs]
    if always:
        flags.append(module._forward_hooks_always_called)
    key = RemovableHandle(hooks).id
    for held in (hooks, *flags):
        on_leaving(partial(held.pop, key, None))
    for flag in flags:
        flag[key] = True
    hooks[key] = function
    if before:
        hooks.move_to_end(key, last=False)


# --- threads -----------------------------------------------------------------------------


class ReadersWriterLock:
    """Lets many threads run recorded extractors, or one isolate a model.

    Isolating a model puts all its hooks back, also those that an extractor in another thread
    has registered meanwhile. A thread never waits for itself. Since a model may itself wait for
    other threads, waiting ends after a minute, except before patching torch for the whole
    process. Each method holds the lock until the block ends.
    """

    _PATIENCE = 60.0
    _PAUSE = 0.001

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._readers: dict[int, int] = {}
        self._owners: dict[str, int] = {}

    def read(self) -> None:
        """Hold the lock together with other readers."""
        me = threading.get_ident()
        before = self._readers.get(me, 0)
        on_leaving(partial(self._set_count, me, before))
        self._enter(
            lambda: before or self._owners.get("writing", me) == me,
            partial(self._set_count, me, before + 1),
            self._PATIENCE,
        )

    def _set_count(self, reader: int, count: int) -> None:
        self._readers[reader] = count
        if not count:
            self._readers.pop(reader, None)

    def write(self) -> None:
        """Hold the lock alone."""
        if threading.get_ident() not in self._readers:
            self._own("writing", lambda: not self._readers, self._PATIENCE)
        self.patch()

    def patch(self) -> None:
        """Hold the lock for patching the process; readers may hold it too."""
        self._own("patching", lambda: True, math.inf)

    def _own(self, what: str, is_ready: Callable[[], bool], patience: float) -> None:
        me = threading.get_ident()
        if self._owners.get(what) != me:
            on_leaving(partial(self._disown, what, me))
            self._enter(
                lambda: what not in self._owners and is_ready(),
                partial(self._owners.__setitem__, what, me),
                patience,
            )

    def _disown(self, what: str, owner: int) -> None:
        if self._owners.get(what) == owner:
            self._owners.pop(what, None)

    def _enter(self, may_enter: Callable[[], object], enter: Action, patience: float) -> None:
        end = time.monotonic() + patience
        while True:
            with self._mutex:
                if may_enter() or time.monotonic() > end:
                    enter()
                    return
            time.sleep(self._PAUSE)


lock = ReadersWriterLock()
