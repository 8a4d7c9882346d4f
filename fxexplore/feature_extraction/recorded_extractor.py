"""An extractor that runs the model's own code again, and stops after the last wanted value."""

from __future__ import annotations

import copy
import dataclasses
import math
import threading
from collections.abc import Callable, Mapping
from types import FrameType
from typing import Any, NamedTuple

import torch
from torch import nn

from .following import Anatomy, Call, Follower, stopping_allowed
from .recording import Recording, bound_arguments
from .return_nodes import Names
from .tensors import shapes_of, tensors_in, version
from .tracers import all_paths
from .wrappers import plain_module, uncompiled


class Wanted(NamedTuple):
    """One value that an extractor returns.

    Attributes:
        spec: what the caller asked for.
        key: the key of the value in the result.
        kind: ``argument``, ``module`` or ``operation``.
        target: the argument's name, the module's path, or the node's name.
        call: which call of the module; 0 is the last.
        calls: for the last call, how many there are; 0 if that may differ.
        order: position in the recording.
        overwritten: position at which the value's memory is written, if it is.
    """

    spec: str
    key: str
    kind: str
    target: str
    call: int
    calls: int
    order: int
    overwritten: int | None


class Plan(NamedTuple):
    """How the values wanted in one mode are to be had.

    Attributes:
        wanted: the values.
        anatomy: as for :class:`Recording`.
        whole_run: a module may be called any number of times, so nothing can be cut off.
        follows: operations have to be followed; otherwise hooks on modules will do.
    """

    wanted: tuple[Wanted, ...]
    anatomy: Anatomy
    whole_run: bool
    follows: bool

    def is_copied(self, wanted: Wanted) -> bool:
        """Whether a value is overwritten before the run ends."""
        last = math.inf if self.whole_run else max(w.order for w in self.wanted)
        return wanted.overwritten is not None and wanted.overwritten <= last


def planned(
    model: nn.Module, recording: Recording, keys: Mapping[str, str], mode: str, other: Any = None
) -> Plan:
    """Resolve specs against a recording.

    Args:
        model: the model that was recorded.
        recording: the recording in ``mode``.
        keys: the wanted names with their output keys.
        mode: ``"train"`` or ``"eval"``, for the words of errors.
        other: the recording in the other mode, if there is one.

    Raises:
        ValueError: if a name is unknown.
    """
    modules = dict(all_paths(model))
    first_paths = {module: path for path, module in model.named_modules()}
    elsewhere = _known(other) if other is not None else ()
    names = Names(
        _known(recording),
        model,
        lambda _, path: path in recording.anatomy.leaves,
        mode,
        elsewhere,
    )
    wanted = names.resolved(
        keys, lambda spec, key: _wanted(spec, key, recording, modules, first_paths)
    )
    inside = {
        inner
        for path in recording.anatomy.leaves
        for inner in modules[path].modules()
        if inner is not modules[path]
    }
    return Plan(
        tuple(wanted),
        recording.anatomy,
        whole_run=any(w.kind == "module" and w.call == w.calls == 0 for w in wanted),
        follows=any(
            w.kind == "operation" or (w.kind == "module" and modules[w.target] in inside)
            for w in wanted
        ),
    )


def _known(recording: Recording) -> list[str]:
    return [*recording.nodes, *recording.module_returns]


def _wanted(
    spec: str,
    key: str,
    recording: Recording,
    modules: dict[str, nn.Module],
    first_paths: dict[nn.Module, str],
) -> Wanted | None:
    node = recording.nodes.get(spec)
    if node is not None:
        if node.op == "placeholder":
            kind, target = "argument", recording.arguments[spec]
        elif node.op == "call_module":
            kind, target = "module", node.target
        else:
            kind, target = "operation", spec
        return Wanted(spec, key, kind, target, node.call, 0, node.order, node.overwritten)
    module = modules.get(spec)
    if module is not None and spec:
        path = first_paths[module]
        returned = recording.module_returns.get(path)
        if returned is None:
            calls = [n for n in recording.nodes.values() if n.op == "call_module"]
            calls = [n for n in calls if n.target == path]
            if calls:
                last = calls[-1]
                count = 0 if path in recording.repeated else last.call
                order, overwritten = last.order, last.overwritten
                return Wanted(spec, key, "module", path, 0, count, order, overwritten)
        else:
            count = 0 if path in recording.repeated else returned.calls
            order, overwritten = returned.order, returned.overwritten
            return Wanted(spec, key, "module", path, 0, count, order, overwritten)
    return None


class RecordedFeatureExtractor(nn.Module):
    """Runs a model's own code, and returns chosen values from inside it.

    Nothing after the last wanted value is run. The parameters and submodules are the
    model's, under the same names; ``train()`` and ``eval()`` switch the model itself.
    Several threads may run one extractor at the same time.

    Args:
        model: the model that was recorded.
        train_keys: names of the values wanted in train mode, with their output keys.
        eval_keys: the same for eval mode.
        train_recording: a recording in train mode; ``None`` if the model has none.
        eval_recording: a recording in eval mode; ``None`` if the model has none.

    Raises:
        ValueError: if a name is unknown, or there is no recording.

    Example:
        >>> import torch
        >>> from fxexplore.feature_extraction.recording import record
        >>> model = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.ReLU()).eval()
        >>> recording = record(model, (torch.ones(1, 2),))
        >>> extractor = RecordedFeatureExtractor(model, {}, {"0": "hidden"}, None, recording)
        >>> extractor(torch.ones(5, 2))["hidden"].shape
        torch.Size([5, 3])
    """

    _recorded_model: nn.Module

    def __init__(
        self,
        model: nn.Module,
        train_keys: Mapping[str, str],
        eval_keys: Mapping[str, str],
        train_recording: Recording | None = None,
        eval_recording: Recording | None = None,
    ) -> None:
        super().__init__()
        if train_recording is None and eval_recording is None:
            raise ValueError("no recording: give train_recording or eval_recording")
        model = plain_module(model)
        self.__dict__["_recorded_model"] = model
        # The very same dicts, so that what is replaced in one is replaced in the other.
        for shared in ("_parameters", "_buffers", "_modules", "_non_persistent_buffers_set"):
            self.__dict__[shared] = getattr(model, shared)
        plans: dict[bool, Plan | None] = {True: None, False: None}
        if train_recording is not None:
            plans[True] = planned(model, train_recording, train_keys, "train", eval_recording)
        if eval_recording is not None:
            plans[False] = planned(model, eval_recording, eval_keys, "eval", train_recording)
        self._plans = plans
        self._copied_too: set[str] = set()
        self.training = model.training

    def train(self, mode: bool = True) -> RecordedFeatureExtractor:
        """Switch the model, and the extractor with it."""
        self._recorded_model.train(mode)
        self.training = mode
        return self

    def forward(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Run the model on the arguments of its forward.

        Returns:
            The wanted values by key, in order of execution.

        Raises:
            RuntimeError: if a wanted value was not reached on these inputs.
        """
        plan = self._plans[self.training]
        if plan is None:
            mode, other = ("train", "eval") if self.training else ("eval", "train")
            raise RuntimeError(
                f"the model was recorded in {other} mode only, and this is {mode} mode; call "
                f".{other}() first"
            )
        catch = _Catch(plan, self._copied_too)
        run = _follow if plan.follows else _hook
        try:
            catch.arguments(self._recorded_model, args, kwargs)
            with stopping_allowed():
                run(self._recorded_model, plan, catch, args, kwargs)
        except _Enough as enough:
            if enough.catch is not catch:
                raise
        finally:
            # A traceback that somebody keeps must not keep the values.
            catch.is_over = True
        return catch.results(args, kwargs)


class _Enough(BaseException):
    """Ends a run. No Exception, which a model may catch."""

    def __init__(self, catch: _Catch) -> None:
        super().__init__()
        self.catch = catch


class _Catch:
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
        if not self._open:
            raise _Enough(self)

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


def _hook(
    model: nn.Module, plan: Plan, catch: _Catch, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    """Run the model with hooks on the wanted modules only."""
    by_path: dict[str, list[Wanted]] = {}
    for wanted in plan.wanted:
        if wanted.kind == "module":
            by_path.setdefault(wanted.target, []).append(wanted)
    handles = []
    try:
        for path, wanted_here in by_path.items():
            module = _module_at(model, path)
            hook = _returned_hook(catch, wanted_here)
            handles.append(nn.Module.register_forward_hook(module, hook))
        with uncompiled(model):
            model(*args, **kwargs)
    finally:
        for handle in handles:
            handle.remove()


def _module_at(model: nn.Module, path: str) -> nn.Module:
    try:
        module: nn.Module = model.get_submodule(path)
    except AttributeError:  # a child whose own name has a dot in it
        module = dict(model.named_modules())[path]
    return module


def _returned_hook(catch: _Catch, wanted: list[Wanted]) -> Callable[..., None]:
    count = 0

    def hook(_module: nn.Module, _args: Any, output: Any) -> None:
        nonlocal count
        if catch.is_mine:
            count += 1
            catch.returned(wanted, count, output)

    return hook


def _follow(
    model: nn.Module, plan: Plan, catch: _Catch, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    _CatchingFollower(model, plan, catch).run(args, kwargs)


class _CatchingFollower(Follower):
    """Names every operation as the recording did, and catches the wanted ones."""

    def __init__(self, model: nn.Module, plan: Plan, catch: _Catch) -> None:
        super().__init__(model, plan.anatomy)
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
