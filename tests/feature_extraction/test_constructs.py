"""Constructs of Python and torch inside forward that are easily got wrong."""

from __future__ import annotations

import copy
import dataclasses
import pickle

import numpy as np
import pytest
import torch
from torch import nn
from torch.fx.proxy import TraceError
from torch.utils.checkpoint import checkpoint

from fxexplore import open_model
from fxexplore.feature_extraction import create_feature_extractor, get_graph_node_names
from tests.feature_extraction.truth import returned_by_modules, same

X = torch.randn(2, 3)
BOTH_WAYS = pytest.mark.parametrize("backend", ["symbolic", "recorded"])


class Outer(nn.Module):
    """Calls a module and goes on with the first tensor in what that returned."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        value = self.inner(x)
        while not isinstance(value, (torch.Tensor, torch.fx.Proxy)):
            value = next(iter(value.values() if isinstance(value, dict) else value))
        return value + x


class OwnBuffer(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("pe", torch.ones(3))

    def forward(self, x):  # noqa: ARG002
        return self.pe


class WithConstant(nn.Module):
    def forward(self, x):
        return {"h": x.relu(), "mask": torch.ones(3), "n": 3, "shape": torch.Size([3])}


class WithObject(nn.Module):
    def forward(self, x):
        return x.relu(), nn.ReLU, x.shape


class Assigned(nn.Module):
    def forward(self, x):
        fresh = torch.zeros(2, 3)
        fresh[:, 1] = x[:, 2]
        return fresh


@BOTH_WAYS
@pytest.mark.parametrize("inner", [OwnBuffer, WithConstant, WithObject, Assigned])
def test_modules_may_return_constants_and_buffers(inner, backend):
    model = Outer(inner()).eval()
    truth = returned_by_modules(model, (X,))["inner"][0]
    options = {"example_inputs": X, "backend": backend, "mode": "eval"}
    extractor = create_feature_extractor(model, ["inner", "add"], **options)
    for one in (extractor, copy.deepcopy(extractor), pickle.loads(pickle.dumps(extractor))):
        for _ in range(2):
            assert same(one(X)["inner"], truth)
    if inner is WithConstant:
        assert type(one(X)["inner"]["shape"]) is torch.Size


def test_a_buffer_that_was_returned_is_the_models_own():
    model = Outer(OwnBuffer()).eval()
    extractor = create_feature_extractor(model, ["inner"])
    model.inner.pe.fill_(7)
    assert same(extractor(X)["inner"], model.inner.pe)


class Plain:
    def __init__(self, h):
        self.h = h

    def values(self):
        return [self.h]


def test_an_object_that_code_cannot_build_is_recorded_or_refused():
    class Returns(nn.Module):
        def forward(self, x):
            return Plain(x.relu())

    class Uses(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = Returns()

        def forward(self, x):
            return self.inner(x).h + 1

    assert same(create_feature_extractor(Uses(), ["add"])(X)["add"], X.relu() + 1)
    with pytest.raises(ValueError, match=r"a Plain is among what was asked for.*recorded"):
        create_feature_extractor(Uses(), ["inner"])


@dataclasses.dataclass
class Held:
    h: torch.Tensor


@dataclasses.dataclass(frozen=True, slots=True)
class Slotted:
    h: torch.Tensor


@BOTH_WAYS
@pytest.mark.parametrize("cls", [Held, Slotted])
def test_a_dataclass_is_as_it_was_returned(cls, backend):
    class Returns(nn.Module):
        def forward(self, x):
            return cls(x * 2)

    class Writes(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = Returns()

        def forward(self, x):
            out = self.inner(x)
            return out.h.add_(1) * 3

    options = {"example_inputs": X, "backend": backend}
    values = create_feature_extractor(Writes(), ["inner", "mul"], **options)(X)
    assert torch.equal(values["inner"].h, X * 2)
    assert torch.equal(values["mul"], (X * 2 + 1) * 3)


class Draws(nn.Module):
    def __init__(self):
        super().__init__()
        self.unwanted, self.wanted = nn.Dropout(), nn.Dropout()

    def forward(self, x):
        aside = self.unwanted(x) + nn.functional.dropout(x, 0.5, self.training)
        return aside, self.wanted(x)


@BOTH_WAYS
@pytest.mark.parametrize("mode", ["train", "eval"])
def test_wanted_operations_draw_what_they_draw_in_the_model(backend, mode):
    model, x = Draws().train(mode == "train"), torch.ones(4, 8)
    model.unwanted.train()  # as for Monte Carlo dropout
    model.wanted.train()
    truth = returned_by_modules(model, (x,))["wanted"][0]
    extractor = create_feature_extractor(model, ["wanted"], example_inputs=x, backend=backend)
    torch.manual_seed(0)
    assert same(extractor(x)["wanted"], truth)
    if backend == "symbolic" and mode == "train":  # and nothing is kept that does not draw
        assert [n.target for n in extractor.eval_graph.nodes if n.op == "call_module"] == ["wanted"]


@BOTH_WAYS
def test_a_script_module_inside_is_a_leaf(backend):
    scripted = torch.jit.script(nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3)))
    model = nn.Sequential(scripted, nn.ReLU()).eval()
    graph = open_model(model, X, backend=backend)
    assert [node.name for node in graph.nodes][1:] == ["0", "1"]
    options = {"example_inputs": X, "backend": backend, "mode": "eval"}
    assert same(create_feature_extractor(model, ["0"], **options)(X)["0"], scripted(X))


@BOTH_WAYS
@pytest.mark.parametrize("reentrant", [True, False])
def test_what_is_checkpointed_is_open(backend, reentrant):
    class Checkpointed(nn.Module):
        def __init__(self):
            super().__init__()
            self.block = nn.Sequential(nn.Linear(3, 3), nn.ReLU())

        def forward(self, x):
            return checkpoint(self.block, x, use_reentrant=reentrant) + 1

    model = Checkpointed()
    options = {"example_inputs": X, "backend": backend if reentrant else "auto"}
    values = create_feature_extractor(model, ["block.0", "block", "add"], **options)(X)
    truth = returned_by_modules(model, (X,))
    assert same(values["block.0"], truth["block.0"][0])
    assert same(values["add"], truth[""][0])


class Tries(nn.Module):
    def forward(self, x):
        try:
            y = self.folded(x)
        except RuntimeError:
            y = x.flatten()
        return y.relu()

    def folded(self, x):
        return x.view(7, -1)


class TriesAndRaises(nn.Module):
    def forward(self, x):
        try:
            y = x.view(3, -1)
        except RuntimeError as problem:
            raise ValueError("no") from problem
        try:
            return y.relu()
        finally:
            del y


def test_a_try_that_may_go_another_way_is_recorded():
    with pytest.warns(UserWarning, match="in a try, whose except branch"):
        extractor = create_feature_extractor(Tries(), ["relu"], example_inputs=X)
    assert same(extractor(X)["relu"], Tries()(X))
    with pytest.raises(TraceError, match="in a try"):
        get_graph_node_names(Tries(), backend="symbolic")
    assert get_graph_node_names(TriesAndRaises(), backend="symbolic")[1] == ["x", "view", "relu"]


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_an_index_into_a_buffer_scripts():
    class Divides(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("buf", torch.arange(1.0, 4))

        def forward(self, x):
            return x / self.buf[None, None, :]

    extractor = create_feature_extractor(Divides(), ["truediv"])
    assert same(torch.jit.script(extractor)(X)["truediv"], Divides()(X))


def test_a_value_that_no_graph_holds_is_named():
    class Scales(nn.Module):
        def forward(self, x):
            return x * np.float32(2)

    with pytest.raises(TraceError, match="an operation is given a float32, which no graph holds"):
        get_graph_node_names(Scales())


class Unfinished(nn.Module):
    def __init__(self):  # and not super().__init__()
        pass


def test_a_module_that_was_not_initialised_is_named():
    for model in (Unfinished(), nn.Sequential(nn.Sequential(Unfinished()))):
        for opens in (get_graph_node_names, open_model):
            with pytest.raises(TypeError, match=r"Unfinished, whose __init__ does not call super"):
                opens(model)


@pytest.mark.parametrize("kind", ["list", "dict"])
def test_inputs_that_hold_themselves_are_refused(kind):
    inputs = [X] if kind == "list" else {"x": X}
    inputs.append(inputs) if kind == "list" else inputs.update(y=inputs)
    for opens in (get_graph_node_names, open_model):
        with pytest.raises(ValueError, match="hold themselves"):
            opens(nn.ReLU(), example_inputs=inputs)
