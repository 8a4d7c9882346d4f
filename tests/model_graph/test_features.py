"""The values of nodes in one call: against hooks, with the graph that they are of."""

import copy
import pickle

import pytest
import torch
import torchvision
from torch import nn

import fxexplore
from fxexplore import Features, extract_features, open_model, plot_feature_maps


@pytest.fixture(scope="module")
def resnet():
    return torchvision.models.resnet18(weights=None)


def by_hooks(model, paths, *args, training=False):
    """What modules return, caught by forward hooks on a copy."""
    model = copy.deepcopy(model).train(training)
    caught = {}
    for path in paths:
        model.get_submodule(path).register_forward_hook(
            lambda _m, _i, out, path=path: caught.update({path: out.clone()})
        )
    with torch.no_grad():
        model(*args)
    return caught


@pytest.mark.parametrize("mode", ["eval", "train"])
@pytest.mark.parametrize("backend", ["symbolic", "recorded"])
def test_values_are_those_that_forward_hooks_see(resnet, mode, backend):
    x = torch.randn(2, 3, 64, 64)
    paths = ["layer1", "layer4.1.bn2"]
    before = copy.deepcopy(resnet.state_dict())
    features = extract_features(resnet, paths, x, mode=mode, backend=backend)
    for path, value in by_hooks(resnet, paths, x, training=mode == "train").items():
        torch.testing.assert_close(features[path], value)
        assert not features[path].requires_grad
    assert features.graph.mode == mode
    assert features.graph.backend == backend
    assert resnet.training
    for key, value in resnet.state_dict().items():
        assert torch.equal(value, before[key]), key


def test_features_know_their_graph_and_their_keys(resnet):
    features = extract_features(resnet, {"layer1": "low", "layer2": "high"})
    assert list(features) == ["low", "high"]
    assert features.return_nodes == {"layer1": "low", "layer2": "high"}
    assert features.graph == open_model(resnet)
    for again in (copy.copy(features), pickle.loads(pickle.dumps(features))):
        assert isinstance(again, Features)
        assert again.return_nodes == features.return_nodes
        assert again.graph == features.graph


class WritesToItsInput(nn.Module):
    def forward(self, x):
        return x.mul_(2).relu()


def test_the_inputs_stay_as_they_were():
    x = torch.ones(2, 3)
    assert torch.equal(extract_features(WritesToItsInput(), ["relu"], x)["relu"], x * 2)
    assert torch.equal(x, torch.ones(2, 3))


def test_feature_maps_know_axes_and_calls_with_nothing_else_said():
    class Channels(nn.Module):
        """Its channels are last, which the shape does not tell."""

        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 16, 1)
            self.act = nn.ReLU()

        def forward(self, x):
            return self.act(self.act(self.conv(x)).permute(0, 2, 3, 1))

    features = extract_features(
        Channels(), {"act": "last", "act_1": "second"}, torch.ones(1, 3, 16, 16)
    )
    figure = plot_feature_maps(features)
    given = plot_feature_maps(
        dict(features), graph=features.graph, return_nodes=features.return_nodes
    )
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles == [axes.get_title(loc="left") for axes in given.axes]
    assert "call 2 of 2" in " ".join(titles)
    assert len(fxexplore.plot_comparison(features, features).axes) == 3 * len(features)


def test_without_inputs_the_error_says_what_is_missing():
    class Unknown(nn.Module):
        def forward(self, this, that):
            return this + that

    with pytest.raises(ValueError, match=r"nothing to run the model on.*example_inputs"):
        extract_features(Unknown(), ["add"])


def test_what_find_returns_can_be_extracted(resnet):
    names = open_model(resnet).children("layer1.0")
    assert list(extract_features(resnet, names)) == names
