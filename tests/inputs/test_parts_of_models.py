"""What a part of a model runs on when it is opened by itself."""

import gc
import weakref

import pytest
import torch
from torch import nn

from fxexplore import explore, open_model
from fxexplore.inputs import example_inputs_for


class Sum(nn.Module):
    def forward(self, x, y):
        return x + y


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(9, 4)
        self.stem = nn.Conv2d(3, 8, 3, stride=2)
        self.body = nn.Sequential(nn.Conv2d(8, 8, 3), nn.ReLU())
        self.sum = Sum()

    def forward(self, x, ids):
        x = self.stem(x)
        return self.sum(self.body(x), x[..., 2:, 2:]), self.words(ids)


INPUTS = torch.rand(2, 3, 33, 33), torch.zeros(2, 7, dtype=torch.long)


@pytest.mark.parametrize("backend", ["symbolic", "recorded"])
def test_is_what_the_whole_gave_it_when_that_was_opened_before(backend):
    net = Net()
    explorer = explore(net.body, name="net.body")
    assert "1×8×224×224 <details><summary>guessed noise" in explorer.header.children[0].value
    assert "guessed noise" in explorer.static()._repr_html_()
    graph = open_model(net, INPUTS, backend=backend)
    explorer = explore(net.body, name="net.body", selected=["0"])
    assert "2×8×16×16 <details><summary>noise" in explorer.header.children[0].value
    explorer.wait()
    assert explorer.graph.flops == graph["body"].flops
    scope = {"net": net}
    exec(explorer.code.text, scope)
    assert torch.equal(scope["features"]["0"], explorer.run()["0"])
    words = example_inputs_for(net.words)
    assert (words.shapes, words.args[0].dtype) == ("2×7", torch.long)
    exec("\n".join(words.lines), scope)
    assert torch.equal(scope["x"], words.args[0])


def test_is_no_longer_known_when_the_whole_is_gone_and_holds_nothing():
    net = Net()
    open_model(net, INPUTS)
    part = weakref.ref(net.body)
    del net
    gc.collect()
    assert part() is None


def test_two_arguments_are_not_told_apart():
    net = Net()
    open_model(net, INPUTS)
    with pytest.raises(ValueError, match="no example inputs could be inferred for Sum"):
        example_inputs_for(net.sum)
