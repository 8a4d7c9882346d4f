"""A model that raises half-way is open as far as it ran, and says where it raised."""

import copy

import pytest
import torch
from torch import nn
from torch.fx.proxy import TraceError

from fxexplore import ModelGraph, open_model, to_html, to_text
from fxexplore.model_graph import Opening

X = torch.ones(1, 1, 32, 32)


class LeNet(nn.Module):
    """Its head is for pictures of 28×28."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 16, 5)
        self.norm = nn.BatchNorm2d(16)
        self.head = nn.Sequential(nn.Dropout(), nn.Linear(2304, 10), nn.ReLU())
        self.last = nn.Linear(10, 10)

    def forward(self, x):
        x = nn.functional.max_pool2d(self.norm(self.conv(x)), 2)
        return self.last(self.head(x.flatten(1)))


class Operation(LeNet):
    def forward(self, x):
        try:  # what the model catches is not where it raised
            if x.sum() > 0:
                x.add(torch.ones(3, 3))
        except RuntimeError:
            x = self.conv(x)
        return self.last(x + torch.ones(3, 3))


class Raises(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(32, 2)
        self.block = Refuses()
        self.last = nn.Linear(2, 2)

    def forward(self, x):
        return self.last(self.block(self.first(x)))


class Refuses(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.ReLU()

    def forward(self, x):
        if self.inner(x).sum() > -1:
            raise ValueError("<b>no</b>")
        return x


MET = "mat1 and mat2 shapes cannot be multiplied (1×3136 and 2304×10)"
SIZES = "The size of tensor a (28) must match the size of tensor b (3) at non-singleton dimension 3"

CASES = {
    "leaf": (LeNet, "head.1", MET, "self.last(self.head(x.flatten(1)))"),
    "operation": (Operation, "add", SIZES, "self.last(x + torch.ones(3, 3))"),
    "own code": (Raises, "block", "<b>no</b>", 'raise ValueError("<b>no</b>")'),
}
IDLE = {"leaf": {"head.2"}, "operation": {"norm", "head"}, "own code": set()}
SHAPES = {
    "leaf": [(1, 3136), (10, 2304), (10,)],
    "operation": [(1, 16, 28, 28), (3, 3)],
    "own code": [(1, 1, 32, 2)],
}


def really_ran(model):
    """What leaf modules gave before the model raised, as hooks see it."""
    seen = {}
    for path, module in model.named_modules():
        if not list(module.children()):
            module.register_forward_hook(
                lambda *call, path=path: seen.update({path: tuple(call[-1].shape)})
            )
    with pytest.raises((RuntimeError, ValueError)):
        model.eval()(X)
    return seen


@pytest.mark.parametrize("backend", ["auto", "recorded"])
@pytest.mark.parametrize("case", CASES)
def test_what_ran_is_there_and_the_place_where_it_raised_is_told(case, backend):
    cls, name, message, code = CASES[case]
    model = cls()
    state = copy.deepcopy(model.state_dict())
    graph = open_model(model, X, backend=backend, partial=True)
    error = graph.error
    assert (error.name, error.message) == (name, message)
    assert error.source.startswith("test_models_that_raise.py:")
    assert error.source.endswith(f"{code}`")
    assert [part.shape for part in error.met] == SHAPES[case]
    leaves = {n.name: n.shape for n in graph.nodes if n.kind == "module" and n.shape}
    assert leaves == really_ran(cls())
    items = {row.name: row.item for row in graph.rows}
    idle = {n for n, i in items.items() if not i.reached or getattr(i, "ran", True) is False}
    assert idle == IDLE[case] | {"last"}
    assert graph[name].shape is None
    assert graph.activation_bytes is None
    assert graph.flops_at_least
    assert ModelGraph.from_json(graph.to_json()) == graph
    assert message in graph.missing
    assert message in to_text(graph)
    assert "<b>no</b>" not in to_html(graph)
    assert "✗ raised" in to_html(graph)
    assert model.training
    assert all(torch.equal(value, model.state_dict()[key]) for key, value in state.items())


def test_a_raise_in_a_nested_module_leaves_the_sums_around_it_unknown():
    graph = open_model(nn.Sequential(Raises(), nn.ReLU()), X, partial=True)
    assert graph.error.name == "0.block"
    assert graph["0.first"].flops == 32 * 32 * 2 * 2
    assert graph["0"].flops_at_least
    assert graph["0.block"].activation_bytes is None
    assert graph["0.block.inner"].shape == (1, 1, 32, 2)


def test_what_ran_can_be_extracted_and_the_rest_says_what_the_model_says():
    model = Raises().eval()
    opening = Opening(model, X, partial=True)
    assert opening.extractor(["block.inner"])(X)["block.inner"].shape == (1, 1, 32, 2)
    with pytest.raises(ValueError, match="last"):
        opening.extractor(["last"])


@pytest.mark.parametrize("mode", ["eval", "train"])
def test_without_partial_it_is_as_before(mode):
    with pytest.raises(TraceError, match="cannot be opened"):
        open_model(Raises(), X, mode=mode)
    assert open_model(LeNet(), torch.ones(1, 1, 28, 28), mode=mode, partial=True).error is None


def test_arguments_that_forward_does_not_take_are_no_failure_of_the_model():
    for backend in ("auto", "recorded"):
        with pytest.raises((TypeError, TraceError), match="argument"):
            open_model(Raises(), (X, X), backend=backend, partial=True)


class NeedsNumbers(nn.Module):
    def forward(self, x):
        return x[x.nonzero()[0]] + 1


def test_what_needs_numbers_did_not_raise():
    graph = open_model(NeedsNumbers(), torch.ones(3), backend="symbolic")
    assert graph.missing
    assert graph.error is None


def test_the_line_of_a_module_is_that_of_the_model_and_of_nobody_outside():
    for backend in ("symbolic", "recorded"):
        graph = open_model(nn.Sequential(nn.Linear(2, 2), nn.ReLU()), backend=backend)
        assert {node.source for node in graph.nodes} == {None}


def test_what_has_no_value_because_the_model_raised_before_says_so():
    opening = Opening(LeNet(), X, backend="recorded", partial=True)
    with pytest.raises(ValueError, match=r"'head\.1' has no value: the model raised before \(mat1"):
        opening.extractor(["head.1"])
