"""``verify=True`` raises where a trace is wrong, and nowhere else."""

from __future__ import annotations

import operator

import pytest
import torch
from torch import nn

from fxexplore import create_feature_extractor, open_model

X = torch.ones(2, 4)


class ReturnsAParameter(nn.Module):
    def __init__(self):
        super().__init__()
        self.cls, self.fc = nn.Parameter(torch.randn(1, 4)), nn.Linear(4, 4)

    def forward(self, x):
        return self.fc(x) * 2, self.cls


class CannotBeDifferentiated(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 4)

    def forward(self, x):
        y = self.fc(x).sigmoid()
        squared = y * y
        y.add_(1)
        return squared


class CalculatesWithSizes(nn.Module):
    """Names have other suffixes when it is recorded, and one line makes several operations."""

    def forward(self, x):
        parts = torch.split(x.reshape(x.shape[0] * x.shape[1], 1), 4)
        return [part * (i + x.shape[0] * 3) for i, part in enumerate((parts[0], parts[1]))]


@pytest.mark.parametrize(
    "cls", [ReturnsAParameter, CannotBeDifferentiated, CalculatesWithSizes], ids=str
)
def test_what_is_right_passes(cls):
    assert open_model(cls(), X, verify=True).backend == "symbolic"


@pytest.mark.parametrize("mode", ["eval", "train"])
def test_a_model_without_numbers_passes(mode):
    with torch.device("meta"):
        model, x = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)), torch.ones(1, 3, 8, 8)
    assert open_model(model, x, mode=mode, verify=True)["1"].shape == (1, 4, 6, 6)


def test_a_graph_says_which_names_are_others_when_recorded():
    graph = open_model(CalculatesWithSizes(), X)
    arithmetic = [n.name for n in graph.nodes if n.target in ("mul", "add")]
    assert [name for name in graph.differing if graph[name].target != "getitem"] == arithmetic
    assert open_model(ReturnsAParameter(), X).differing == ()


class NamesATuple(nn.Module):
    """A run sees nothing of ``parts[0]``, and all of ``a, b = ...`` and of an item of a tensor."""

    def forward(self, x):
        row = x[0]
        a, b = torch.split(x, 2, 1)
        parts = torch.split(x, 2, 1)
        return a + b, row[1:], parts[1][:, 0]


def test_a_graph_says_that_an_item_of_a_tuple_with_a_name_is_not_recorded():
    traced, recorded = (open_model(NamesATuple(), X, backend=b) for b in ("symbolic", "recorded"))
    shapes = [
        {n.name: n.shape for n in g.nodes if n.target == "getitem"} for g in (traced, recorded)
    ]
    wrong = {name for name in shapes[0] if shapes[0][name] != shapes[1].get(name)}
    assert wrong == {"getitem_4", "getitem_5"}
    assert set(traced.differing) == wrong


class AddsInPlaceByFunction(nn.Module):
    """A run sees ``operator.iadd(y, 1)`` as ``y.add_(1)``, and a trace as ``y += 1``."""

    def forward(self, x):
        y = x * 2
        y = operator.iadd(y, 1)
        y += 1
        return y + 1


def test_a_graph_says_that_an_operator_that_is_called_has_another_name_when_recorded():
    traced, recorded = (
        open_model(AddsInPlaceByFunction(), X, backend=b) for b in ("symbolic", "recorded")
    )
    assert [n.name for n in traced.nodes] == ["x", "mul", "add", "add_1", "add_2"]
    assert [n.name for n in recorded.nodes] == ["x", "mul", "add_", "add", "add_1"]
    assert traced.differing == ("add", "add_1", "add_2")


def test_a_parameter_that_is_returned_can_be_wanted():
    model = ReturnsAParameter().eval()
    options = {"example_inputs": X, "backend": "recorded", "mode": "eval"}
    assert torch.equal(create_feature_extractor(model, ["cls"], **options)(X)["cls"], model.cls)
