"""Facts that cannot be found are reported as missing, never guessed."""

import pytest
import torch
from torch import nn

from fxexplore import extract_features, get_graph_node_names, open_model


def lazy():
    return nn.Sequential(nn.LazyConv2d(8, 3), nn.Flatten(), nn.LazyLinear(5))


@pytest.mark.parametrize("backend", ["auto", "recorded"])
def test_a_lazy_model_is_shown_after_a_dry_run_of_a_copy_and_stays_lazy(backend):
    model, x = lazy(), torch.ones(1, 3, 8, 8)
    state = torch.get_rng_state()
    assert open_model(model, x, backend=backend)["2"].shape == (1, 5)
    for look in (lambda: open_model(model), lambda: extract_features(model, ["0"], x)):
        with pytest.raises(ValueError, match=r"'0' is a LazyConv2d.*run the model once"):
            look()
    assert torch.equal(torch.get_rng_state(), state)
    assert isinstance(model[0], nn.LazyConv2d)
    assert model(torch.ones(1, 3, 8, 8)).shape == (1, 5)
    assert open_model(model, torch.ones(1, 3, 8, 8))["2"].shape == (1, 5)


def test_a_lazy_model_that_can_be_traced_has_names():
    model = lazy()
    assert get_graph_node_names(model)[1] == ["input", "0", "1", "2"]
    assert isinstance(model[0], nn.LazyConv2d)


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize(("cls", "gates"), [(nn.LSTM, 4), (nn.GRU, 3), (nn.RNN, 1)])
def test_recurrent_layers_count_the_same_both_ways(cls, gates, bidirectional):
    sizes = {"input_size": 8, "hidden_size": 12, "num_layers": 2}
    layers = cls(**sizes, batch_first=True, bidirectional=bidirectional)
    model, x = nn.Sequential(layers), torch.ones(3, 10, 8)
    directions = 2 if bidirectional else 1
    matrices = gates * 12 * directions * ((8 + 12) + (12 * directions + 12))
    for backend in ("symbolic", "recorded"):
        assert open_model(model, x, backend=backend).flops == 2 * 30 * matrices, backend


def test_inputs_that_do_not_fit_are_named_with_the_node_that_cannot_take_them():
    model = nn.Sequential(nn.ReLU(), nn.Conv2d(3, 4, 3))
    graph = open_model(model, torch.ones(1, 4, 8, 8))
    assert graph["0"].shape == (1, 4, 8, 8)
    assert graph["1"].shape is None
    assert "from '1' on" in graph.missing
    assert not open_model(model, torch.ones(1, 3, 8, 8)).missing


class Scaled(nn.Module):
    def forward(self, x):
        return torch.relu(x * 2)


def test_missing_inputs_are_said():
    assert "without inputs" in open_model(Scaled()).missing


class OwnHook(nn.Linear):
    """Its weights are made by a hook that is its own method, as weight standardisation does."""

    def __init__(self):
        super().__init__(4, 4)
        self.seen = 0
        self.register_forward_pre_hook(self.count)

    def count(self, *_):
        self.seen += 1
        self.weight.data = self.weight.data - self.weight.data.mean()


def test_a_hook_that_is_a_method_acts_on_the_copy_whose_shapes_are_found():
    model = nn.Sequential(OwnHook())
    before = model[0].weight.detach().clone()
    assert open_model(model, torch.ones(1, 4))["0"].shape == (1, 4)
    assert model[0].seen == 0
    assert torch.equal(model[0].weight, before)


class Zeros(nn.Module):
    def forward(self, x, y):
        return torch.zeros(x.size(0), y.size(1)) + x @ y


def test_the_reason_for_recording_has_a_place_whatever_was_raised():
    reason = open_model(Zeros(), (torch.ones(3, 4), torch.ones(4, 5))).reason
    assert "test_missing_facts.py" in reason
    assert "torch.zeros(x.size(0), y.size(1))" in reason
