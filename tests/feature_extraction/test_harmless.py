"""Promise 3: a model that is opened or run stays as it was, whatever happens."""

from __future__ import annotations

import contextlib
import random
import subprocess
import sys
import threading
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from torch import nn
from torch.fx.proxy import TraceError

from fxexplore.feature_extraction import (
    LeafModuleAwareTracer,
    NodePathTracer,
    create_feature_extractor,
    get_graph_node_names,
    isolated,
    switch_mode,
)
from tests.marks import mostly_thorough
from tests.models import ODD, UNTRACEABLE, VECTOR, Raises

_CONTAINERS = (dict, list, set)


def photograph(model: nn.Module) -> dict[str, Any]:
    """The whole state of a model, by value and by identity."""
    facts: dict[str, Any] = {}
    for path, module in model.named_modules(remove_duplicate=False):
        for name, value in vars(module).items():
            key = f"{path}.{name}"
            facts[key] = _seen(value)
        facts[f"{path} order"] = list(vars(module))
    tensors = [*model.named_parameters(), *model.named_buffers()]
    for name, tensor in tensors:
        gradient = tensor.grad
        facts[f"{name} tensor"] = (
            id(tensor),
            tensor._version,
            tensor.requires_grad,
            tensor.tolist(),
            None if gradient is None else (id(gradient), gradient._version, gradient.tolist()),
        )
    return facts


def _seen(value: Any) -> Any:
    if isinstance(value, dict):
        return id(value), [(key, id(item)) for key, item in value.items()]
    if isinstance(value, list):
        return id(value), [id(item) for item in value]
    if isinstance(value, set):
        return id(value), {id(item) for item in value}
    return value if isinstance(value, (bool, int, float, str, type(None))) else id(value)


def random_states():
    numpy_state = np.random.get_state()  # noqa: NPY002 - the global state is the point
    return (
        torch.random.get_rng_state().tolist(),
        random.getstate(),
        [numpy_state[0], numpy_state[1].tolist(), *numpy_state[2:]],
    )


def prepared(model: nn.Module) -> nn.Module:
    """With gradients, hooks and mixed flags, so that there is something to disturb."""
    for index, parameter in enumerate(model.parameters()):
        parameter.grad = torch.full_like(parameter, float(index))
        parameter.requires_grad_(index % 2 == 0)
    for index, module in enumerate(model.modules()):
        module.training = index % 2 == 0
        module.register_forward_pre_hook(lambda *_: None)
    return model


ALL = {**ODD, **UNTRACEABLE}


@pytest.mark.parametrize("training", mostly_thorough([False, True], True))
@pytest.mark.parametrize("name", [*ALL, "Raises"])
def test_a_model_is_afterwards_the_same_model(name, training):
    model = prepared(Raises() if name == "Raises" else ALL[name].model())
    model.training = training
    before, states = photograph(model), random_states()
    for look in (
        get_graph_node_names,
        lambda m: create_feature_extractor(m, [get_graph_node_names(m)[1][0]]),
        lambda m: create_feature_extractor(m, ["nowhere"]),
        lambda m: NodePathTracer().trace(m),
        lambda m: LeafModuleAwareTracer().trace(m),
    ):
        # What raises, and with which words, is looked at elsewhere.
        with contextlib.suppress(ValueError, KeyError, TypeError, RuntimeError):
            look(model)
        assert photograph(model) == before
        assert random_states() == states


def test_the_models_own_error_comes_through_unchanged_or_as_the_cause():
    with pytest.raises(KeyError, match="half-way"):
        get_graph_node_names(Raises(), backend="symbolic")
    with pytest.raises(TraceError, match="half-way") as caught:
        create_feature_extractor(Raises(), ["fc"])
    assert isinstance(caught.value.__cause__, KeyError)


def test_a_frozen_batch_norm_stays_frozen_in_model_and_extractor():
    model = torchvision.models.resnet18(weights=None).train()
    model.bn1.eval()
    extractor = create_feature_extractor(model, ["bn1", "layer1"])
    assert not model.bn1.training
    assert model.layer1[0].bn1.training
    mean = model.bn1.running_mean.clone()
    extractor(torch.rand(2, 3, 64, 64))
    assert torch.equal(model.bn1.running_mean, mean)
    assert not torch.equal(model.layer1[0].bn1.running_mean, torch.zeros(64))


def test_a_train_method_of_the_models_own_is_respected():
    model = ODD["FrozenBatchNorm"].model(training=True)
    get_graph_node_names(model.eval())
    assert not any(module.training for module in model.modules())


def test_what_the_caller_passes_in_is_not_changed():
    model = torchvision.models.resnet18(weights=None)
    leaves, functions, modules = [nn.ReLU], [len], [random]
    options = {
        "leaf_modules": leaves,
        "autowrap_functions": functions,
        "autowrap_modules": modules,
        "default_leaf_modules": False,
    }
    nodes = {"layer1": "a"}
    concrete: dict[str, Any] = {}
    kept = dict(options)
    create_feature_extractor(model, nodes, tracer_kwargs=options, concrete_args=concrete)
    get_graph_node_names(model, tracer_kwargs=options)
    assert options == kept
    assert (leaves, functions, modules) == ([nn.ReLU], [len], [random])
    assert nodes == {"layer1": "a"}
    assert concrete == {}


def test_torch_is_left_unpatched():
    before = nn.Module.__call__, nn.Module.__getattr__, torch.autograd.Function.apply
    for name in ("CustomBackward", "RootParameter"):
        get_graph_node_names(ODD[name].model())
    with pytest.raises(KeyError):
        get_graph_node_names(Raises(), backend="symbolic")
    assert nn.Module.__call__ is before[0]
    assert nn.Module.__getattr__ is before[1]
    assert torch.autograd.Function.apply == before[2]
    assert not torch.fx.proxy.Proxy.__dict__.get("__iadd__")


def test_isolated_puts_back_the_order_of_attributes_and_children():
    model = nn.Sequential(nn.Linear(1, 1), nn.ReLU())
    before = photograph(model)
    with isolated(model):
        first = model._modules.pop("0")
        model._modules["0"] = first
        del model.training
        model.training = True
    assert photograph(model) == before


def test_isolated_puts_back_what_was_put_into_empty_containers():
    model = nn.ReLU()
    with isolated(model):
        model.register_forward_hook(lambda *_: None)
        model.register_buffer("new", torch.zeros(1))
    assert not model._forward_hooks
    assert not model._buffers


def test_switching_to_the_mode_a_model_has_touches_nothing():
    model = nn.Sequential(nn.BatchNorm1d(1).eval()).train()
    model[0].eval()
    switch_mode(model, training=True)
    assert not model[0].training
    switch_mode(model, training=False)
    assert not model.training


# --- threads -------------------------------------------------------------------------


class _Slow(nn.Module):
    """A model whose trace takes as long as another thread wants."""

    def __init__(self, during):
        super().__init__()
        self.fc = nn.Linear(4, 4)
        self._during = during

    def forward(self, x):
        x = self.fc(x)
        self._during()
        return x + 1


def _in_thread(function):
    results: list[Any] = []

    def run():
        try:
            results.append(function())
        except BaseException as error:  # noqa: BLE001
            results.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, results


@pytest.mark.parametrize(
    "name", ["ReluInPlace", "CustomBackward", "Lists", "UsesMath", "CountsInForward"]
)
def test_another_thread_runs_its_model_undisturbed_while_one_traces(name):
    case = ODD[name]
    args, _ = case.inputs()
    truth = case.model()(*args)
    other = case.model()
    seen: list[Any] = []

    def run_elsewhere():
        # The trace is in the middle of forward, with everything patched, until this ends.
        thread, results = _in_thread(lambda: other(*case.inputs()[0]))
        thread.join()
        seen.append(results[0])

    names = get_graph_node_names(_Slow(run_elsewhere))[1]
    assert names == ["x", "fc", "add"]
    assert len(seen) == 2
    assert torch.equal(seen[0], truth), seen[0]
    assert isinstance(seen[1], torch.Tensor), seen[1]


def test_another_thread_can_train_while_one_traces():
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 1))

    def train():
        model(VECTOR).sum().backward()
        return model[0].weight.grad

    def run_elsewhere():
        thread, results = _in_thread(train)
        thread.join()
        assert isinstance(results[0], torch.Tensor), results[0]

    assert get_graph_node_names(_Slow(run_elsewhere))[1] == ["x", "fc", "add"]


def test_two_threads_trace_at_once():
    models = [torchvision.models.resnet18(weights=None), ODD["CalledTwice"].model()]
    truths = [get_graph_node_names(model) for model in models]
    started = [
        _in_thread(lambda m=model: [get_graph_node_names(m) for _ in range(5)])
        for model in models
        for _ in range(2)
    ]
    for thread, _ in started:
        thread.join()
    found = [results[0] for _, results in started]
    assert found == [[truths[0]] * 5] * 2 + [[truths[1]] * 5] * 2


def test_extractors_run_in_many_threads():
    extractor = create_feature_extractor(ODD["RootParameter"].model(), ["mul"])
    truth = extractor(VECTOR)["mul"]
    started = [_in_thread(lambda: extractor(VECTOR)["mul"]) for _ in range(8)]
    for thread, _ in started:
        thread.join()
    assert all(torch.equal(results[0], truth) for _, results in started)


# --- the cost of importing -----------------------------------------------------------


@pytest.mark.parametrize(
    ("statement", "allowed"),
    [("import fxexplore", ()), ("import fxexplore.feature_extraction", ("torch", "numpy"))],
)
def test_importing_brings_nothing_heavy_along(statement, allowed):
    heavy = {
        "torch",
        "torchvision",
        "matplotlib",
        "ipywidgets",
        "IPython",
        "anywidget",
        "pygraphviz",
    }
    heavy -= set(allowed)
    script = f"{statement}, sys; print(sorted({heavy!r} & set(sys.modules)))"
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"
