"""A picture says which call of a module it shows, and hooks confirm it."""

import pytest
import torch
from torch import nn

from fxexplore import (
    create_feature_extractor,
    open_model,
    plot_channel,
    plot_comparison,
    plot_feature_maps,
)
from fxexplore.views.outline import marks


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.lin = nn.Linear(4, 4)

    def forward(self, x):
        return self.lin(x).relu() + 1


class Repeating(nn.Module):
    """Calls a block and an activation three times, by two names each."""

    def __init__(self):
        super().__init__()
        self.block = self.same_block = Block()
        self.act = self.same_act = nn.Tanh()
        self.once = nn.Linear(4, 4)

    def forward(self, x):
        x = self.same_act(self.block(x))
        x = self.act(self.same_block(x))
        return self.once(self.act(self.block(x)))


REPEATED = {
    "block": "last of 3 calls",
    "same_block": "last of 3 calls",
    "block.lin": "call 1 of 3",
    "block.lin_1": "call 2 of 3",
    "block.lin_2": "call 3 of 3",
    "same_block.lin": "last of 3 calls",
    "act": "call 1 of 3",
    "act_1": "call 2 of 3",
    "same_act": "last of 3 calls",
}


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return Repeating().eval()


@pytest.fixture(scope="module")
def x():
    return torch.randn(2, 4, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module", params=["symbolic", "recorded"])
def graph(request, model, x):
    return open_model(model, x, backend=request.param)


def features_of(model, graph, x, names):
    example = x if graph.backend == "recorded" else None
    options = {"example_inputs": example, "backend": graph.backend, "mode": "eval"}
    return create_feature_extractor(model, names, **options)(x)


def seen_by_hook(module, model, x):
    """What a module returned, call by call."""
    seen = []
    hook = module.register_forward_hook(lambda _module, _args, output: seen.append(output.clone()))
    with hook:
        model(x)
    return seen


@pytest.mark.parametrize("name", REPEATED)
def test_the_call_that_is_named_is_the_one_that_a_hook_sees(model, graph, x, name):
    said = graph.which_call(name)
    assert said == REPEATED[name]
    (value,) = features_of(model, graph, x, [name]).values()
    seen = seen_by_hook(model.get_submodule(name.partition("_1")[0].partition("_2")[0]), model, x)
    call = len(seen) if said.startswith("last") else int(said.split()[1])
    assert [torch.equal(value, one) for one in seen] == [i + 1 == call for i in range(3)]


def test_pictures_say_it_in_their_titles(model, graph, x):
    features = features_of(model, graph, x, {"block": "mine", "act_1": "act_1", "once": "once"})
    options = {"graph": graph, "return_nodes": {"block": "mine"}}
    figure = plot_feature_maps(features, **options)
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles == ["act_1 · call 2 of 3", "mine · last of 3 calls", "once"]
    enlarged = plot_channel(features, "mine", 2, **options)
    assert enlarged.axes[0].get_title(loc="left") == "mine · last of 3 calls · channel 2"
    compared = plot_comparison({"mine": features["mine"]}, {"mine": features["mine"]}, **options)
    for axes in compared.axes:
        assert axes.texts[0].get_text().startswith("last of 3 calls · ")
    alone = plot_feature_maps(features["mine"])
    assert alone.axes[0].get_title(loc="left") == "tensor"


def test_the_tree_says_it(graph):
    words = {"3 calls": "the same module is called 3 times; its value is that of the last call"}
    assert words.items() <= marks(graph["block"]).items()
    assert marks(graph["act_1"])["call 2 of 3"] == "the same module is called 3 times"
