"""Run a model's own code, catch the wanted values, and stop after the last of them."""

from __future__ import annotations

import copy
import dataclasses
import threading
from collections.abc import Callable, Mapping
from types import FrameType
from typing import Any

import torch
from torch import nn

from fxexplore.feature_extraction.common.isolation import hook
from fxexplore.feature_extraction.common.tensors import tensors_in, version
from fxexplore.feature_extraction.common.validation import bound_arguments, shapes_of
from fxexplore.feature_extraction.common.wrappers import run_uncompiled

from .follower import Call, Follower
from .plan import Plan, Wanted


class StopForward(BaseException):
    """Ends a run. A BaseException, so that models, which catch Exceptions, cannot catch it."""

    def __init__(self, catch: Catch) -> None:
        super().__init__()
        self.catch = catch


class Catch:
    """The values that one run gives."""

    def __init__(self, plan: Plan, copied_too: set[str]) -> None:
        self._plan = plan
        self._copied = {w.key for w in plan.wanted if plan.is_copied(w)} | copied_too
        self._copied_too = copied_too
        self._open = {wanted.key for wanted in plan.wanted}
        self._values: dict[str, Any] = {}
        self._versions: list[tuple[str, torch.Tensor, int]] = []
        self._thread = threading.get_ident()
        self.counts: dict[str, int] = {}
        self.is_over = False

    def arguments(self, model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Catch the wanted arguments of forward."""
        wanted = [w for w in self._plan.wanted if w.kind == "argument"]
        if wanted:
            given = bound_arguments(model, args, kwargs)
            for w in wanted:
                if w.target in given:
                    self._take(w, given[w.target][0], done=True)
            self.end_if_enough()

    def returned(self, wanted: list[Wanted], count: int, value: Any) -> None:
        """Catch what a module returned at its call number ``count``."""
        self.end_if_enough()
        for w in wanted:
            if w.call in (0, count):
                self._take(w, value, done=count in (w.call, w.calls))
        self.end_if_enough()

    def computed(self, wanted: Wanted, value: Any) -> None:
        """Catch the result of an operation."""
        self._take(wanted, value, done=True)
        self.end_if_enough()

    def end_if_enough(self) -> None:
        """End the run once nothing is missing, also if the model swallowed the end before."""
        if not self._open and self.is_mine:
            raise StopForward(self)

    def _take(self, wanted: Wanted, value: Any, done: bool) -> None:
        key = wanted.key
        is_copied = key in self._copied
        value = _kept(value, is_copied)
        if not is_copied:
            self._versions = [row for row in self._versions if row[0] != key]
            self._versions += [(key, t, version(t)) for t in tensors_in(value)]
        self._values.pop(key, None)
        self._values[key] = value
        if done:
            self._open.discard(key)

    def results(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        """The values, or an error if one is missing or no longer what it was."""
        missing = [w.spec for w in self._plan.wanted if w.key not in self._values]
        if missing:
            names = ", ".join(f"'{name}'" for name in missing)
            raise RuntimeError(
                f"{names} was not reached on inputs {shapes_of(args, kwargs)}: forward went "
                f"another way than on the inputs it was recorded with"
            )
        spoilt = {key for key, tensor, before in self._versions if version(tensor) != before}
        if spoilt:
            self._copied_too |= spoilt
            raise RuntimeError(
                f"{', '.join(sorted(spoilt))} was overwritten in place on inputs "
                f"{shapes_of(args, kwargs)}, though not on the inputs it was recorded with; from "
                f"now on it is copied first, so run the extractor again"
            )
        return self._values

    @property
    def is_mine(self) -> bool:
        """Whether the run and the asking thread are the same."""
        return not self.is_over and threading.get_ident() == self._thread


def run_with_hooks(
    model: nn.Module, plan: Plan, catch: Catch, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    """Run the model with hooks on the wanted modules only."""
    by_path: dict[str, list[Wanted]] = {}
    for wanted in plan.wanted:
        if wanted.kind == "module":
            by_path.setdefault(wanted.target, []).append(wanted)
    for path, wanted_here in by_path.items():
        hook(_module_at(model, path), _returned_hook(catch, wanted_here))
    run_uncompiled(model)
    model(*args, **kwargs)


def _module_at(model: nn.Module, path: str) -> nn.Module:
    try:
        module: nn.Module = model.get_submodule(path)
    except AttributeError:  # a child whose own name has a dot in it
        module = dict(model.named_modules())[path]
    return module


def _returned_hook(catch: Catch, wanted: list[Wanted]) -> Callable[..., None]:
    count = 0

    def take(_module: nn.Module, _args: Any, *others: Any) -> None:
        nonlocal count
        if catch.is_mine:
            count += 1
            catch.returned(wanted, count, others[-1])

    return take


def run_followed(
    model: nn.Module, plan: Plan, catch: Catch, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    """Run the model and follow each of its operations."""
    _CatchingFollower(model, plan, catch).run(args, kwargs)


class _CatchingFollower(Follower):
    """Names every operation as the recording did, and catches the wanted ones."""

    def __init__(self, model: nn.Module, plan: Plan, catch: Catch) -> None:
        super().__init__(model, plan.leaf_spec)
        self._catch = catch
        self._operations = {w.target: w for w in plan.wanted if w.kind == "operation"}
        self._modules_wanted: dict[str, list[Wanted]] = {}
        for wanted in plan.wanted:
            if wanted.kind == "module":
                self._modules_wanted.setdefault(wanted.target, []).append(wanted)

    def run(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """Name the arguments, and run the model."""
        for key, (value, required) in bound_arguments(self.model, args, kwargs).items():
            if required or any(True for _ in tensors_in(value)):
                self._namer.operation("", key)
        return super().run(args, kwargs)

    def called(
        self,
        call: Call,
        inputs: Any,  # noqa: ARG002 - a recording wants to know
        result: Any,
        written: Any,
        frame: FrameType | None,  # noqa: ARG002 - likewise
    ) -> Any:
        """Catch a wanted result."""
        if call.op == "call_module":
            wanted = self._modules_wanted.get(call.target)
            if wanted is not None:
                self._catch.returned(wanted, call.nth, result)
            return result
        self._catch.end_if_enough()
        if call.name in self._operations:
            value = written if result is None else result
            self._catch.computed(self._operations[call.name], value)
        return result

    def left(self, path: str, count: int, result: Any, failed: bool) -> None:
        """Catch what a wanted module returned."""
        wanted = self._modules_wanted.get(path)
        if wanted is not None and not failed:
            self._catch.returned(wanted, count, result)


def _kept(value: Any, is_copied: bool) -> Any:
    """Copy containers, to which the model may add later, and tensors if asked to."""
    if isinstance(value, torch.Tensor):
        return value.clone() if is_copied else value
    if type(value) in (list, tuple):
        return type(value)(_kept(item, is_copied) for item in value)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(_kept(item, is_copied) for item in value))
    if isinstance(value, dict):
        twin = copy.copy(value)
        for key, item in value.items():
            twin[key] = _kept(item, is_copied)
        return twin
    if dataclasses.is_dataclass(value) or (is_copied and any(True for _ in tensors_in(value))):
        twin = copy.copy(value)
        for name, item in vars(value).items() if hasattr(value, "__dict__") else ():
            object.__setattr__(twin, name, _kept(item, is_copied))
        return twin
    return value
