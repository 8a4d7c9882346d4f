"""The arguments of forward: which are inputs, and what their names give."""

from __future__ import annotations

import functools

import pytest
import torch
import torchvision
from torch import nn
from torch.fx.proxy import TraceError
from torchvision.models import feature_extraction as theirs

from fxexplore import explore, extract_features, open_model
from fxexplore.feature_extraction import create_feature_extractor, get_graph_node_names
from tests.feature_extraction.truth import same

X, MASK = torch.randn(2, 3), torch.tensor([1.0, 0.0, 1.0])
BOTH_WAYS = pytest.mark.parametrize("backend", ["symbolic", "recorded"])


class Masked(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3, 3)

    def forward(self, x, mask=None, scale=2.0):
        x = self.fc(x) * scale
        return x if mask is None else x.masked_fill(mask == 0, -1.0)


class Clip(nn.Module):
    """Two towers; what was not given is not run."""

    def __init__(self):
        super().__init__()
        self.visual, self.words = nn.Linear(3, 2), nn.Embedding(9, 2)

    def forward(self, image=None, text=None):
        image = None if image is None else self.visual(image)
        text = None if text is None else self.words(text).mean(1)
        return image, text


@BOTH_WAYS
def test_what_is_given_is_what_is_opened(backend):
    model = Masked().eval()
    options = {"example_inputs": (X, MASK), "backend": backend, "mode": "eval"}
    names = get_graph_node_names(model, **options)[1]
    assert names == ["x", "mask", "scale", "fc", "mul", "eq", "masked_fill"]
    graph = open_model(model, (X, MASK), backend=backend)
    assert [n.name for n in graph.nodes] == [n for n in names if n != "scale"]
    assert graph.inputs == "given 2×3, 3 for x, mask"
    extractor = create_feature_extractor(model, ["masked_fill", "mask", "scale"], **options)
    values = extractor(X, MASK)
    assert same(values, {"mask": MASK, "scale": 2.0, "masked_fill": model(X, MASK)})
    assert same(extract_features(model, ["masked_fill"], (X, MASK), backend=backend)["masked_fill"],
                values["masked_fill"])  # fmt: skip


@BOTH_WAYS
def test_inputs_that_are_optional_open_what_they_are_for(backend):
    model, text = Clip().eval(), torch.tensor([[1, 2, 3]])
    graph = open_model(model, {"image": X, "text": text}, backend=backend)
    assert [n.name for n in graph.nodes] == ["image", "text", "visual", "words", "mean"]
    alone = open_model(model, {"text": text}, backend=backend)
    assert [n.name for n in alone.nodes] == ["text", "words", "mean"]
    explorer = explore(model, {"image": X, "text": text}, backend=backend)
    assert "inputs image, text: 2×3, 1×3" in explorer.header.children[0].value
    explorer.selected = ["mean"]
    names = {"model": model, "x": {"image": X, "text": text}}
    exec(explorer.code.text, names)
    assert same(names["features"]["mean"], explorer.run()["mean"])


@BOTH_WAYS
def test_arguments_with_a_default_have_torchvisions_names_and_give_it(backend):
    model = Masked().eval()
    assert theirs.get_graph_node_names(model.fc)[1]  # the peer opens no model that asks for None
    options = {"example_inputs": X, "backend": backend, "mode": "eval"}
    assert get_graph_node_names(model, **options)[1] == ["x", "mask", "scale", "fc", "mul"]
    extractor = create_feature_extractor(model, ["mask", "scale", "x"], **options)
    assert same(extractor(X), {"x": X, "mask": None, "scale": 2.0})


def test_a_number_that_is_given_does_not_become_the_default():
    extractor = create_feature_extractor(Masked(), ["mul"], example_inputs=(X, None, 3.0))
    assert same(extractor(X, None, 3.0)["mul"], extractor(X, scale=3.0)["mul"])
    with pytest.raises(ValueError, match=r"'scale'.*kept the value 3\.0"):
        extractor(X)


class Sum(nn.Module):
    def forward(self, x, *xs, gain=2.0):
        return x * gain + xs[0].relu()


class Loop(nn.Module):
    def forward(self, x, *xs):
        for other in xs:
            x = x + other
        return x.relu()


@BOTH_WAYS
def test_more_arguments_are_an_input(backend):
    options = {"example_inputs": (X, X), "backend": backend, "mode": "eval"}
    names = get_graph_node_names(Sum(), **options)[1]
    assert {"x", "xs", "gain", "mul", "relu", "add"} <= set(names)
    extractor = create_feature_extractor(Sum(), ["add"], **options).eval()
    assert same(extractor(X, -X)["add"], Sum()(X, -X))


def test_more_arguments_whose_number_matters_are_recorded_if_given():
    assert get_graph_node_names(Loop())[1] == ["x", "relu"]
    with pytest.raises(TypeError):
        create_feature_extractor(Loop(), ["relu"])(X, X)
    with pytest.warns(UserWarning, match="recording one run"):
        extractor = create_feature_extractor(Loop(), ["relu"], example_inputs=(X, X))
    assert same(extractor(X, -2 * X)["relu"], Loop()(X, -2 * X))


def test_return_nodes_go_for_the_mode_that_has_none_of_its_own():
    model = torchvision.models.resnet18(weights=None)
    extractor = create_feature_extractor(model, ["layer1"], eval_return_nodes=["avgpool"])
    image = torch.rand(2, 3, 64, 64)
    assert list(extractor.train()(image)) == ["layer1"]
    assert list(extractor.eval()(image)) == ["avgpool"]


# --- forwards of another kind -----------------------------------------------------------


class Static(nn.Module):
    @staticmethod
    def forward(x):
        return x.relu() + 1


def assigned():
    model = Masked()
    model.forward = functools.partial(model.forward, scale=3.0)
    return model


@pytest.mark.parametrize("make", [Static, assigned])
def test_a_forward_that_fx_would_not_call_is_recorded(make):
    model = make().eval()
    last = get_graph_node_names(model, example_inputs=X, backend="recorded")[1][-1]
    with pytest.warns(UserWarning, match=r"which torch\.fx ignores"):
        extractor = create_feature_extractor(model, [last], example_inputs=X)
    assert same(extractor(X)[last], model(X))
    with pytest.raises(TraceError, match=r"which torch\.fx ignores"):
        get_graph_node_names(model)


class Async(nn.Module):
    async def forward(self, x):
        return x.relu()


class Generator(nn.Module):
    def forward(self, x):
        yield x.relu()


class Holds(nn.Module):
    """As ultralytics' YOLO: it is called, and has no forward."""

    def __init__(self):
        super().__init__()
        self.model, self.task = nn.Linear(3, 3), "detect"

    def train(self, mode=True):  # noqa: ARG002
        raise AssertionError("this would train")

    def __call__(self, x):
        return self.model(x)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (Async, "forward of Async is async"),
        (Generator, "forward of Generator is a generator"),
        (Holds, r"no forward of its own; open what it holds: model\.model \(Linear\)"),
        (lambda: nn.ModuleList([nn.ReLU()]), r"open what it holds: model\[0\] \(ReLU\)"),
    ],
)
def test_what_has_no_forward_that_runs_is_refused_in_words(make, words):
    for opens in (get_graph_node_names, open_model, explore):
        with pytest.raises(TypeError, match=words):
            opens(make())


def test_values_for_arguments_come_by_name():
    for opens in (get_graph_node_names, open_model):
        with pytest.raises(TypeError, match=r"concrete_args is a tuple; give a dict"):
            opens(Masked(), concrete_args=(1,))
