"""Promise 3: an interrupt at any moment leaves nothing patched, switched or registered."""

from __future__ import annotations

import contextlib
import ctypes
import math
import random
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.fx import _symbolic_trace as fx_internals
from torch.utils import _python_dispatch

from fxexplore import (
    create_feature_extractor,
    extract_features,
    get_graph_node_names,
    open_model,
)
from fxexplore.feature_extraction.common import isolation
from fxexplore.feature_extraction.recorded import follower

X = torch.ones(2, 1, 6, 6)


class Plain(nn.Module):
    """Something frozen, something random where it trains, and a function that fx wraps."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3)
        self.norm = nn.Sequential(nn.BatchNorm2d(2), nn.Dropout(0.5))
        self.head = nn.Linear(2, 2)
        self.register_buffer("scale", torch.ones(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.norm(self.conv(x)).relu() * math.sqrt(2.0) * self.scale
        return self.head(x.mean((2, 3)))


class Branching(Plain):
    """Has to be recorded."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x if x.sum() > 1e9 else super().forward(x)


class Counting(Branching):
    """Changes its buffer and its attributes, and draws numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[int] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls.append(len(self.calls))
        self.scale.add_(torch.rand(()) * 0)
        self.scale.mul_(2)
        return super().forward(x)


def _action(name: str) -> tuple[nn.Module, Callable[[], object]]:
    cls = {"names": Plain, "trace": Plain, "open": Plain, "verify": Plain, "traced": Plain}
    model = cls.get(name, Branching if name in ("modules", "operations") else Counting)().train()
    model.norm[0].eval()
    nodes = ["norm", "head"] if name == "modules" else ["norm.0", "relu"]
    if name in ("modules", "operations", "traced"):
        extractor = create_feature_extractor(model, nodes, example_inputs=X, mode="eval")
        extractor.eval()
        return model, lambda: extractor(X)
    actions: dict[str, Callable[[], object]] = {
        "names": lambda: get_graph_node_names(model),
        "trace": lambda: create_feature_extractor(model, nodes),
        "record": lambda: create_feature_extractor(model, nodes, example_inputs=X),
        "open": lambda: open_model(model, X),
        "open recorded": lambda: open_model(model, X),
        "verify": lambda: open_model(model, X, verify=True, mode="train"),
        "features": lambda: extract_features(model, nodes, X),
    }
    return model, actions[name]


ACTIONS = (
    "names", "trace", "record", "open", "open recorded", "verify", "features",
    "modules", "operations", "traced",
)  # fmt: skip


def everything(model: nn.Module) -> dict[str, Any]:
    """All that could be left behind, by value or by identity."""
    facts: dict[str, Any] = {
        "gradients": torch.is_grad_enabled(),
        "function modes": torch._C._len_torch_function_stack(),
        "dispatch modes": torch._C._len_torch_dispatch_stack(),
        "in a dispatch mode": _python_dispatch._is_in_torch_dispatch_mode,
        "patched": (nn.Module.__call__, nn.Module.__getattr__, math.sqrt, len),
        "apply": torch.autograd.Function.__dict__["apply"],
        "globals": {key: id(value) for key, value in globals().items()},
        "tracing": (fx_internals.CURRENT_PATCHER, fx_internals._get_is_fx_tracing()),
        "pending": list(isolation._pending.actions),
        "lock": (dict(isolation.lock._readers), dict(isolation.lock._owners)),
        "mutex": isolation.lock._mutex.locked(),
        "beside others": isolation._is_beside_others.get(),
        "followers": list(follower._active.followers),
        "warnings": list(warnings.filters),
        "random": (random.getstate(), torch.get_rng_state().tolist()),
    }
    for path, module in model.named_modules():
        for name, value in vars(module).items():
            facts[f"{path} {name}"] = value if isinstance(value, bool) else id(value)
            if isinstance(value, dict):
                facts[f"{path} {name} content"] = [(k, id(v)) for k, v in value.items()]
            elif isinstance(value, list):
                facts[f"{path} {name} content"] = [id(v) for v in value]
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        facts[name] = (tensor.tolist(), tensor.requires_grad, id(tensor.grad))
    return facts


def _left(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    return {
        key: after.get(key) for key in before.keys() | after if before.get(key) != after.get(key)
    }


# --- interrupts ----------------------------------------------------------------------


def at_event(action: Callable[[], object], at: int) -> int:
    """Interrupt where Python itself could: when a function begins, or a built-in one has ended.

    Returns:
        How many such moments there were.
    """
    count = 0

    def look(_frame: Any, event: str, _argument: Any) -> None:
        nonlocal count
        if event in ("call", "c_return"):
            count += 1
            if count == at:
                sys.setprofile(None)
                raise KeyboardInterrupt

    sys.setprofile(look)
    try:
        action()
    finally:
        sys.setprofile(None)
    return count


def _send_signal(thread: int) -> None:
    signal.pthread_kill(thread, signal.SIGINT)


def _send_exception(thread: int) -> None:
    interrupt = ctypes.py_object(KeyboardInterrupt)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), interrupt)


def at_random(action: Callable[[], object], send: Callable[[int], None], longest: float) -> None:
    """Interrupt from another thread, somewhere within the time that the action takes."""
    me, moment, sent = threading.get_ident(), random.Random().uniform(0, longest), threading.Event()
    begins = threading.Event()

    def later() -> None:
        begins.wait()
        time.sleep(moment)
        send(me)
        sent.set()

    thread = threading.Thread(target=later)
    thread.start()
    try:
        begins.set()
        action()
        while not sent.is_set():
            time.sleep(0.0001)
        time.sleep(0.0001)
    except KeyboardInterrupt:
        pass
    while thread.is_alive():
        thread.join()


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    """Python says so where an interrupt hits a finaliser, which cannot raise."""
    monkeypatch.setattr(sys, "unraisablehook", lambda _: None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _interrupted_at_events(name: str, moments: Callable[[int], range]) -> None:
    model, action = _action(name)
    action()
    before = everything(model)
    count = at_event(action, 0)
    assert _left(before, everything(model)) == {}
    for at in moments(count):
        with contextlib.suppress(KeyboardInterrupt):
            at_event(action, at)
        left = _left(before, everything(model))
        assert left == {}, f"{name}, interrupted at {at} of {count}: {left}"
    action()


def _interrupted_at_random(name: str, send: Callable[[int], None], times: int) -> None:
    model, action = _action(name)
    action()
    before = everything(model)
    began = time.monotonic()
    action()
    duration = time.monotonic() - began
    for number in range(times):
        at_random(action, send, 1.1 * duration)
        left = _left(before, everything(model))
        assert left == {}, f"{name}, interrupt number {number}: {left}"
    action()


SENDERS = [_send_signal, _send_exception]


@pytest.mark.parametrize("name", ACTIONS)
def test_an_interrupt_leaves_nothing_behind(name):
    _interrupted_at_events(name, lambda count: range(1, count, max(1, count // 15)))


@pytest.mark.parametrize("send", SENDERS)
@pytest.mark.parametrize("name", ["trace", "record", "operations"])
def test_an_interrupt_from_another_thread_leaves_nothing_behind(name, send):
    _interrupted_at_random(name, send, 10)


class Interrupted(nn.Module):
    """Raises something else while it cleans up after an interrupt, as torch.fx may."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        try:
            raise KeyboardInterrupt
        finally:
            x.size(7)[7].nowhere()


@pytest.mark.parametrize("backend", ["symbolic", "recorded"])
def test_an_interrupt_arrives_as_one_whatever_is_raised_on_its_way(backend):
    with pytest.raises(KeyboardInterrupt):
        open_model(Interrupted(), X, backend=backend)


@pytest.mark.slow
@pytest.mark.parametrize("name", ACTIONS)
def test_of_thousands_of_interrupts_none_leaves_anything_behind(name):
    _interrupted_at_events(name, lambda count: range(1, count, max(1, count // 500)))


@pytest.mark.slow
@pytest.mark.parametrize("send", SENDERS)
@pytest.mark.parametrize("name", ACTIONS)
def test_of_thousands_from_another_thread_none_leaves_anything_behind(name, send):
    _interrupted_at_random(name, send, 250)
