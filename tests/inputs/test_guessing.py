"""What a model takes is found by trying, where nothing tells; the model stays as it was."""

import copy
import random

import pytest
import torch
import torchvision
from torch import nn

from fxexplore import open_model
from fxexplore.inputs import example_inputs_for, guessing, inferred, known_inputs
from tests.models import ODD

from . import tutorial_models as t


@pytest.fixture(autouse=True)
def _time_enough(monkeypatch):
    monkeypatch.setattr(guessing, "SECONDS", 20.0)


def runs(model):
    inputs = known_inputs(model)
    if inputs.missing:
        return False
    try:
        with torch.no_grad():
            model.eval()(*inputs.args, **inputs.kwargs)
    except Exception:  # noqa: BLE001  # the guess was wrong
        return False
    return True


class Forwards(nn.Conv2d):
    """Takes more than it names, as the models of ultralytics do."""

    def forward(self, x, *args, **kwargs):
        return super().forward(x, *args, **kwargs)


def test_arguments_without_a_name_are_not_needed():
    assert example_inputs_for(Forwards(3, 4, 3)).shapes == "1×3×224×224"


SHAPES = {
    t.LeNet5: "1×1×32×32",  # its linear layer tells the side
    t.Siamese: "1×1×100×100, 1×1×100×100",
    t.Dqn: "1×4×84×84",
    t.DcganGenerator: "1×100×1×1",
    t.PatchVit: "1×3×32×32",  # its positions tell the side
    t.EcgNet: "1×12×1000",
    t.NoChannel: "1×28×28",
    t.ChannelsLast: "1×224×224×3",
    t.SeriesTransformer: "1×96×7",
    t.CharRnn: "1×57, 1×128",  # an attribute tells the state, and the sum the rest
    t.GruWithState: "1×8×9, 2×1×14",
    t.TextBag: "8, 1",
    t.ImageAndText: "1×3×224×224, 1×8",
    t.TimeEmbedded: "1×3×64×64, 1",
    t.Recommender: "1×8, 1×8",
    t.LightningLike: "1×2×3",
}


@pytest.mark.parametrize("cls", SHAPES, ids=lambda cls: cls.__name__)
def test_what_runs_is_found(cls):
    model = cls()
    inputs = example_inputs_for(model)
    assert inputs.shapes == SHAPES[cls]
    assert runs(model)
    graph = open_model(model)
    assert not graph.missing
    assert graph.inputs.startswith(f"{inputs.source} {inputs.shapes}")


@pytest.mark.thorough
@pytest.mark.parametrize("half", [t.SEEN, t.UNSEEN], ids=["seen", "unseen"])
def test_nearly_all_models_of_tutorials_run_on_what_is_guessed(half, monkeypatch):
    monkeypatch.setattr(guessing, "SECONDS", 2.0)
    fail = [cls.__name__ for cls in half if not runs(cls())]
    assert len(fail) <= 0.1 * len(half), fail


def test_the_words_say_what_was_guessed(monkeypatch):
    assert known_inputs(nn.Linear(3, 2)).source == "guessed noise (for the first layer, Linear)"
    assert "photograph (what ran, of " in known_inputs(t.LeNet5()).source
    monkeypatch.setattr(guessing, "SECONDS", 0.5)
    assert "the model does not run on it" in known_inputs(t.Whisperlike()).source


def test_what_is_known_is_not_tried(monkeypatch):
    def fail(*_):
        raise AssertionError

    monkeypatch.setattr(inferred, "find_arguments", fail)
    for model in (torchvision.models.alexnet(weights=None), t.LightningLike()):
        assert not known_inputs(model).missing
    assert known_inputs(t.Siamese(), torch.ones(1)).is_given


def test_guesses_end_in_time(monkeypatch):
    class Slow(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(8, 8)

        def forward(self, x):
            while True:
                x = self.layer(x)

    monkeypatch.setattr(guessing, "SECONDS", 0.3)
    assert "takes too long" in known_inputs(Slow()).source


def everything(model):
    return {
        "state": {name: tensor.clone() for name, tensor in model.state_dict().items()},
        "modes": [module.training for module in model.modules()],
        "hooks": [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()],
        "needs": [p.requires_grad for p in model.parameters()],
        "attributes": [sorted(map(str, vars(m))) for m in model.modules()],
        "random": (torch.get_rng_state().tolist(), random.getstate()),
    }


def same(first, second):
    state, other = first.pop("state"), second.pop("state")
    return first == second and all(
        torch.equal(other[name].nan_to_num(), value.nan_to_num()) for name, value in state.items()
    )


class Draws(nn.Module):
    """Changes itself, draws, and raises: on whatever it is given."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 4)
        self.norm = nn.BatchNorm1d(4)
        self.register_buffer("seen", torch.zeros(1))

    def forward(self, x, y):
        self.seen += torch.rand(1)
        self.last = x
        self.layer.weight.data.add_(random.random())
        self.norm.train()
        self.norm(torch.randn(8, 4))
        raise RuntimeError("expected 3D (got 2D)", y)


@pytest.mark.parametrize("name", ["Draws", *ODD])
def test_a_model_that_guesses_break_is_left_as_it_was(name, monkeypatch):
    monkeypatch.setattr(guessing, "SECONDS", 0.2)
    model = Draws() if name == "Draws" else ODD[name].model()
    if any(map(nn.parameter.is_lazy, [*model.parameters(), *model.buffers()])):
        return
    before = everything(model)
    memo = copy.copy(vars(model))
    known_inputs(model)
    assert same(everything(model), before)
    assert vars(model).keys() == memo.keys()
