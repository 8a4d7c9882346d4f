"""Run a model's own code, capture the wanted values, and stop after the last of them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from types import FrameType
from typing import Any

import torch
from torch import nn

from fxexplore.feature_extraction.common.isolation import hook
from fxexplore.feature_extraction.common.tensors import tensors_in, version, with_tensors
from fxexplore.feature_extraction.common.validation import bound_arguments, shapes_of
from fxexplore.feature_extraction.common.wrappers import run_uncompiled

from .follower import Call, Follower
from .leaves import run_layer_by_layer
from .plan import Plan, Wanted


class StopForward(BaseException):
    """Ends a run. A BaseException, so that models, which catch Exceptions, cannot catch it."""

    def __init__(self, capture: Capture) -> None:
        super().__init__()
        self.capture = capture


class Capture:
    """The wanted values of one run, as they come."""

    def __init__(self, plan: Plan, copied_too: set[str]) -> None:
        self.plan = plan
        self._copied = {w.key for w in plan.wanted if plan.is_copied(w)} | copied_too
        self._copied_too = copied_too
        self._open = {wanted.key for wanted in plan.wanted}
        self._values: dict[str, Any] = {}
        self._versions: list[tuple[str, torch.Tensor, int]] = []
        self._thread = threading.get_ident()
        self.counts: dict[str, int] = {}
        self.is_over = False

    def arguments(self, model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Capture the wanted arguments of forward."""
        wanted = [w for w in self.plan.wanted if w.kind == "argument"]
        if wanted:
            given = bound_arguments(model, args, kwargs)
            for w in wanted:
                if w.target in given:
                    self._keep(w, given[w.target], done=True)
            self.stop_if_complete()

    def returned(self, wanted: list[Wanted], count: int, value: Any) -> None:
        """Capture what a module returned at its call number ``count``; 0 for an operation."""
        self.stop_if_complete()
        for w in wanted:
            if w.call in (0, count):
                self._keep(w, value, done=count in (w.call, w.calls))
        self.stop_if_complete()

    def stop_if_complete(self) -> None:
        """End the run once nothing is missing, again if a bare ``except`` held it up before."""
        if not self._open and self.is_of_this_thread:
            raise StopForward(self)

    def _keep(self, wanted: Wanted, value: Any, done: bool) -> None:
        key = wanted.key
        is_copied = key in self._copied
        value = with_tensors(value, torch.clone if is_copied else _itself)
        if not is_copied:
            self._versions = [row for row in self._versions if row[0] != key]
            self._versions += [(key, t, version(t)) for t in tensors_in(value)]
        self._values.pop(key, None)
        self._values[key] = value
        if done:
            self._open.discard(key)

    def results(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        """The values, or an error if one is missing or no longer what it was."""
        missing = [w.spec for w in self.plan.wanted if w.key not in self._values]
        if missing:
            names = ", ".join(f"'{name}'" for name in missing)
            raise RuntimeError(
                f"{names} was not reached on inputs {shapes_of(args, kwargs)}: forward took "
                f"another path than on the inputs it was recorded with"
            )
        overwritten = {key for key, tensor, before in self._versions if version(tensor) != before}
        if overwritten:
            self._copied_too |= overwritten
            raise RuntimeError(
                f"{', '.join(sorted(overwritten))} was overwritten in place on inputs "
                f"{shapes_of(args, kwargs)}, though not on the inputs it was recorded with; from "
                f"now on it is copied first, so run the extractor again"
            )
        return self._values

    @property
    def is_of_this_thread(self) -> bool:
        """Whether this thread is the one that runs the model, and still runs it."""
        return not self.is_over and threading.get_ident() == self._thread


class Showing(Capture):
    """Shows the wanted values of one run as they come, and keeps none."""

    def __init__(self, plan: Plan, look: Callable[[str, Any], None]) -> None:
        super().__init__(plan, set())
        self._look = look

    def _keep(self, wanted: Wanted, value: Any, done: bool) -> None:
        self._look(wanted.key, value)
        if done:
            self._open.discard(wanted.key)


def run_with_hooks(
    model: nn.Module, plan: Plan, capture: Capture, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    """Run the model with hooks on the wanted modules only."""
    for path, wanted_here in plan.by_target("module").items():
        hook(_module_at(model, path), _returned_hook(capture, wanted_here))
    run_uncompiled(model)
    if plan.leaf_spec.opens_transformers:
        run_layer_by_layer()
    model(*args, **kwargs)


def _module_at(model: nn.Module, path: str) -> nn.Module:
    try:
        module: nn.Module = model.get_submodule(path)
    except AttributeError:  # a child whose own name has a dot in it
        module = dict(model.named_modules())[path]
    return module


def _returned_hook(capture: Capture, wanted: list[Wanted]) -> Callable[..., None]:
    count = 0

    def take(_module: nn.Module, _args: Any, *others: Any) -> None:
        nonlocal count
        if capture.is_of_this_thread:
            count += 1
            capture.returned(wanted, count, others[-1])

    return take


class CapturingFollower(Follower):
    """Names every operation as the recording did, and captures the wanted ones."""

    def __init__(self, model: nn.Module, plan: Plan, capture: Capture) -> None:
        super().__init__(model, plan.leaf_spec)
        self._capture = capture
        self._operations = plan.by_target("operation")
        self._modules_wanted = plan.by_target("module")

    def run(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """Name the arguments, and run the model."""
        list(self.named_arguments(args, kwargs))
        output = super().run(args, kwargs)
        with torch._C.DisableTorchFunction():
            self.read((output,), {})  # a parameter that is returned is read there
        return output

    def called(
        self,
        call: Call,
        inputs: Any,  # noqa: ARG002 - for recordings
        result: Any,
        written: Any,
        frame: FrameType | None,  # noqa: ARG002 - for recordings
    ) -> Any:
        """Capture a wanted result."""
        if call.op == "call_module":
            wanted = self._modules_wanted.get(call.target)
            if wanted is not None:
                self._capture.returned(wanted, call.call_index, result)
            return result
        self._capture.stop_if_complete()
        if call.name in self._operations:
            value = written if result is None else result
            self._capture.returned(self._operations[call.name], 0, value)
        return result

    def left(self, path: str, count: int, result: Any, failed: bool) -> None:
        """Capture what a wanted module returned."""
        wanted = self._modules_wanted.get(path)
        if wanted is not None and not failed:
            self._capture.returned(wanted, count, result)


def _itself(tensor: torch.Tensor) -> torch.Tensor:
    return tensor
