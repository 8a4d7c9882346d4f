"""Follow one real run of a model, and name what it does as symbolic tracing would."""

from __future__ import annotations

import functools
import operator
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from types import FrameType
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from fxexplore.feature_extraction.common.isolation import hook, lock, on_leaving, restores, turn_on
from fxexplore.feature_extraction.common.naming import NodeNamer, operation_name
from fxexplore.feature_extraction.common.source import called_from_here, model_frame
from fxexplore.feature_extraction.common.tensors import (
    NO_TENSORS,
    SCALARS,
    changed,
    holds_tensor,
    state_tensors,
    tensors_in,
)
from fxexplore.feature_extraction.common.torch_ops import FunctionFacts
from fxexplore.feature_extraction.common.validation import bound_arguments
from fxexplore.feature_extraction.common.wrappers import run_uncompiled

from .bytecode import Place, is_called_from, is_operator, items_taken
from .constants import Constants
from .leaves import LeafSpec, run_layer_by_layer, run_wrapped_by

# Inside, what this file does to tensors is not recorded as an operation of the model.
_Unrecorded = torch._C.DisableTorchFunction

_facts_of = functools.lru_cache(maxsize=None)(FunctionFacts)


class Call(NamedTuple):
    """One operation, or one call of a leaf module, as the run just did it.

    Attributes:
        name: the qualified name.
        op: the opcode that an ``fx.Node`` would have.
        target: the path of the module or parameter, the function, or the method's name.
        module: path of the module whose forward ran it.
        call_index: the 1-based call index, for a call of a module.
    """

    name: str
    op: str
    target: Any
    module: str
    call_index: int = 0


class Follower(TorchFunctionMode):
    """Sees the operations and module calls of one run, in the thread that made this object.

    Subclasses say what to do about them, in the methods at the end.

    Args:
        model: the model that is to be run.
        leaf_spec: its leaf modules and wrapped functions.
    """

    def __init__(self, model: nn.Module, leaf_spec: LeafSpec) -> None:
        super().__init__()
        self.model = model
        self._leaf_spec = leaf_spec
        self.used: set[tuple[str, str]] = set()
        self._paths = {module: path for path, module in model.named_modules() if path}
        self._leaves = {m for m, path in self._paths.items() if path in leaf_spec.leaves}
        self._namer = NodeNamer(path for path, _ in model.named_modules(remove_duplicate=False))
        state = list(state_tensors(model))
        self._state = {id(tensor): path for path, tensor, _ in state}
        self._constants = Constants(model, state)
        self._read_once: dict[str, str] = {}
        self._counts: dict[str, int] = {}
        self._stack: list[tuple[nn.Module | None, str, Any]] = [(None, "", None)]
        self._path = ""
        # What runs now is a leaf module or a wrapped function, whose inside is not seen.
        self._inside: Any = None
        self._error_before: BaseException | None = None
        self._thread = threading.get_ident()

    def named_arguments(
        self, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> Iterator[tuple[str, str, Any]]:
        """Name the arguments of forward: the node, the argument, its value."""
        for argument, value in bound_arguments(self.model, args, kwargs).items():
            name = operation_name("placeholder", argument)
            yield self._namer.operation("", name), argument, value

    @restores
    def run(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """Run the model under observation and return what it returns."""
        run_uncompiled(self.model)
        if self._leaf_spec.opens_transformers:
            run_layer_by_layer()
        if self._leaf_spec.wrapped:
            lock.patch()
            run_wrapped_by(self._leaf_spec.wrapped, self._as_one_node)
        for module in self._paths:
            hook(module, self._before_module, before=True)
            hook(module, self._after_module, always=True)
        followers = _active.followers
        on_leaving(partial(followers.__delitem__, slice(len(followers), None)))
        followers.append(self)
        turn_on(self)
        return called_from_here(self.model, *args, **kwargs)

    # --- functions ---------------------------------------------------------------

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Run one operation of torch."""
        kwargs = kwargs or {}
        facts = _facts_of(func)
        written = facts.writes.argument(args, kwargs) if facts.may_write else None
        if written is not None:
            with _Unrecorded():
                self.before_write(written)
        if self._inside is not None:
            return func(*args, **kwargs)
        with _Unrecorded():
            inputs = self.read(args, kwargs)
            is_constant = self._constants.are_all(args, kwargs)
        self.starts()
        try:
            result = func(*args, **kwargs)
        except Exception as problem:
            with _Unrecorded():
                base, op, target = _called_as(facts, model_frame())
                self.raised(problem, Call(base, op, target, self._path), args, kwargs)
            raise
        if type(result) in NO_TENSORS and written is None and not facts.is_traced:
            return result
        frame = model_frame()
        if is_constant and self._constants.are_written(frame):
            with _Unrecorded():
                self._constants.add(result)
                self.computed_constant(inputs, result, written)
            return result
        if written is not None:
            with _Unrecorded():
                self._constants.discard(written)
        base, op, target = _called_as(facts, frame)
        call = Call(self._namer.operation(self._path, base), op, target, self._path)
        with _Unrecorded():
            return self._finish(call, inputs, result, written, frame)

    def _finish(
        self, call: Call, inputs: Any, result: Any, written: Any, frame: FrameType | None
    ) -> Any:
        kind = type(result)
        if kind is not torch.Size and (kind not in NO_TENSORS or written is not None):
            result = self.called(call, inputs, result, written, frame)
        if frame is not None and isinstance(result, (tuple, list)):
            self._name_items(call, result, frame)
        return result

    def _name_items(self, call: Call, result: Any, frame: FrameType) -> None:
        """Unpacking a result, or indexing it, is an operation too where tracing sees it."""
        values: dict[Place, Any] = {(): result}
        names: dict[Place, str] = {(): call.name}
        for place, items in items_taken(frame):
            whole = values.get(place)
            if not isinstance(whole, (tuple, list)):
                continue
            if len(items) > 1 and len(items) != len(whole):
                return
            for at, index in enumerate(items):
                name = self._namer.operation(self._path, "getitem")
                try:
                    value = whole[index]
                except (IndexError, TypeError):
                    return  # the model's own code is about to raise it
                item = Call(name, "call_function", operator.getitem, self._path)
                if type(value) not in SCALARS:
                    self.called(item, [names[place]], value, None, frame)
                values[(*place, at)], names[(*place, at)] = value, name

    def _as_one_node(
        self,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        entry: tuple[str, str],
    ) -> Any:
        """Run a wrapped function as one node."""
        elsewhere = threading.get_ident() != self._thread or self._inside is not None
        if elsewhere or not holds_tensor((args, kwargs)):
            return function(*args, **kwargs)
        self.used.add(entry)
        with _Unrecorded():
            inputs = self.read(args, kwargs)
            versions = self.versions((args, kwargs))
        self.starts()
        self._inside = function
        try:
            result = function(*args, **kwargs)
        finally:
            self._inside = None
        with _Unrecorded():
            base = operation_name("call_function", function)
            name = self._namer.operation(self._path, base)
            call = Call(name, "call_function", function, self._path)
            return self._finish(call, inputs, result, changed(versions), model_frame())

    # --- modules -----------------------------------------------------------------

    # Another thread may meet a hook that does not get keyword arguments yet, or no more.

    def _before_module(self, module: nn.Module, args: Any, kwargs: Any = None) -> None:
        if self._inside is not None or threading.get_ident() != self._thread:
            return
        error = sys.exc_info()[1]
        with _Unrecorded():
            if module in self._leaves:
                self._inside = module
                self._error_before = error
                self._leaf_versions = self.versions((args, kwargs))
                self.starts()
                return
            path = self._paths[module]
            self._stack.append((module, path, error))
            self._path = path
            self.entered(path, args, kwargs)

    def _after_module(self, module: nn.Module, args: Any, *others: Any) -> Any:
        if threading.get_ident() != self._thread or self._inside not in (None, module):
            return None
        with _Unrecorded():
            return self._after_own_module(module, args, *others)

    def _after_own_module(self, module: nn.Module, args: Any, kwargs: Any, result: Any) -> Any:
        if self._inside is not None:
            self._inside = None
            problem = sys.exc_info()[1]
            if problem is not self._error_before:  # forward raised; the model may catch it
                call = Call("", "call_module", self._paths[module], self._path)
                self.raised(problem, call, args, kwargs)
                return None
            return self._after_leaf(module, args, kwargs, result)
        while len(self._stack) > 1:
            entered, path, error = self._stack.pop()
            self._path = self._stack[-1][1]
            if entered is module:
                count = self._counts[path] = self._counts.get(path, 0) + 1
                problem = sys.exc_info()[1]
                if problem is not error:
                    self.raised(problem, Call("", "", path, self._path), args, kwargs)
                self.left(path, count, result, failed=problem is not error)
                break
        return None

    def _after_leaf(self, module: nn.Module, args: Any, kwargs: Any, result: Any) -> Any:
        path = self._paths[module]
        count = self._counts[path] = self._counts.get(path, 0) + 1
        inputs = self.read(args, kwargs)
        call = Call(self._namer.module_call(path), "call_module", path, self._path, count)
        frame = model_frame()
        seen = self.called(call, inputs, result, changed(self._leaf_versions), frame)
        if frame is not None and isinstance(seen, (tuple, list)) and is_called_from(frame):
            self._name_items(call, seen, frame)
        return None if seen is result else seen

    def _state_read(self, tensor: torch.Tensor) -> str:
        """Name the first reading of a parameter, of a buffer or of a tensor attribute."""
        path = self._state[id(tensor)]
        name = self._read_once.get(path)
        if name is None:
            base = operation_name("get_attr", path)
            name = self._read_once[path] = self._namer.operation(self._path, base)
            self.called(Call(name, "get_attr", path, self._path), [], tensor, None, None)
        return name

    def position(self) -> tuple[int, Any]:
        """Where the run is: how deep in modules, and inside of which leaf."""
        return len(self._stack), self._inside

    def back_to(self, position: tuple[int, Any]) -> None:
        """Leave the modules that a run within this run was stopped in."""
        depth, self._inside = position
        while len(self._stack) > depth:
            _, path, _ = self._stack.pop()
            self._path = self._stack[-1][1]
            self.left(path, 0, None, failed=True)

    # --- for subclasses ----------------------------------------------------------

    def before_write(self, written: Any) -> None:
        """An operation is about to overwrite tensors; called inside leaf modules as well."""

    def starts(self) -> None:
        """An operation or a leaf module is about to run."""

    def versions(self, value: Any) -> list[tuple[torch.Tensor, int]]:  # noqa: ARG002 - a default
        """Note the versions of the tensors in a value, to find out who writes them."""
        return []

    def read(self, args: Any, kwargs: Mapping[str, Any]) -> Any:
        """Take note of the arguments of an operation, and return what stands for them."""
        state = self._state
        for tensor in tensors_in((args, kwargs)):
            if id(tensor) in state:
                self._state_read(tensor)

    def called(
        self, call: Call, inputs: Any, result: Any, written: Any, frame: FrameType | None
    ) -> Any:
        """Take note of the result of an operation or a leaf module; return it."""
        raise NotImplementedError

    def computed_constant(self, inputs: Any, result: Any, written: Any) -> None:
        """An operation without a name ran: its result depends on no input."""

    def raised(self, problem: Any, call: Call, args: Any, kwargs: Any) -> None:
        """An operation, a leaf module or the forward of another one raised; it may be caught.

        Args:
            problem: what it raised.
            call: what was called: its name is only how an operation is called, and a module that
                is no leaf has no ``op``.
            args: what it was called on.
            kwargs: the same by name.
        """

    def entered(self, path: str, args: Any, kwargs: Any) -> None:
        """The forward of a module that is no leaf begins."""

    def left(self, path: str, count: int, result: Any, failed: bool) -> None:
        """The forward of a module that is no leaf returned, or raised."""


def _called_as(facts: FunctionFacts, frame: FrameType | None) -> tuple[str, str, Any]:
    """The base name, the opcode and the target of an operation, as tracing sees it."""
    if facts.operator is not None and frame is not None and is_operator(frame):
        return facts.operator
    return facts.base, facts.op, facts.target


class _Active(threading.local):
    """The followers of the runs that are going on in this thread, the outermost first."""

    def __init__(self) -> None:
        self.followers: list[Follower] = []


_active = _Active()


def allow_stopping() -> None:
    """Let ``StopForward`` leave a run in the middle, until the innermost :func:`restores` ends.

    Another run that follows this one then goes on from where it was.
    """
    for follower in _active.followers:
        on_leaving(partial(follower.back_to, follower.position()))
    lock.read()
