"""A recorded extractor as a module: parameters, gradients, modes, copies."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch

from fxexplore.feature_extraction.recorded.extractor import RecordedFeatureExtractor
from fxexplore.feature_extraction.recorded.recorder import record
from tests.feature_extraction.recorded.plain_runs import extractor_of, torchvision_model
from tests.models import ODD


@pytest.mark.parametrize("specs", [["layer2"], ["layer2", "layer1.0.add"]])
def test_gradients_are_those_of_the_model(specs):
    model = torchvision_model("resnet18")
    image = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    extractor_of(model, specs, (image,))(image)["layer2"].square().sum().backward()
    ours = {name: p.grad for name, p in model.named_parameters()}
    model.zero_grad()
    x = model.maxpool(model.relu(model.bn1(model.conv1(image))))
    model.layer2(model.layer1(x)).square().sum().backward()
    for name, parameter in model.named_parameters():
        assert (ours[name] is None) == (parameter.grad is None), name
        if parameter.grad is not None:
            torch.testing.assert_close(ours[name], parameter.grad)


def test_parameters_are_the_models_under_the_same_names():
    model = torchvision_model("resnet18")
    extractor = extractor_of(model, ["layer2"], (torch.randn(1, 3, 32, 32),))
    assert dict(extractor.named_parameters()).keys() == dict(model.named_parameters()).keys()
    assert all(a is b for a, b in zip(extractor.parameters(), model.parameters(), strict=True))
    assert extractor.state_dict().keys() == model.state_dict().keys()
    extractor.double()
    assert extractor(torch.randn(1, 3, 32, 32).double())["layer2"].dtype == torch.float64
    assert model.fc.weight.dtype == torch.float64


def test_train_and_eval_switch_between_recordings():
    model = ODD["MoreInTrainMode"].model(training=True)
    args = ODD["MoreInTrainMode"].args
    train_recording = record(model, args)
    eval_recording = record(model.eval(), args)
    last_train, last_eval = list(train_recording.nodes)[-1], list(eval_recording.nodes)[-1]
    extractor = RecordedFeatureExtractor(
        model, {last_train: "t"}, {last_eval: "e"}, train_recording, eval_recording
    )
    assert list(extractor(*args)) == ["e"]
    assert list(extractor.train()(*args)) == ["t"]
    assert model.training
    assert list(extractor.eval()(*args)) == ["e"]


@pytest.mark.parametrize("twin_of", [copy.deepcopy, lambda e: pickle.loads(pickle.dumps(e))])
@pytest.mark.parametrize("specs", [["layer2"], ["layer2", "layer1.0.add"]])
def test_copies_are_independent_and_equal(twin_of, specs):
    model = torchvision_model("resnet18")
    image = torch.randn(1, 3, 32, 32)
    extractor = extractor_of(model, specs, (image,))
    twin = twin_of(extractor)
    assert not twin.training
    expected = extractor(image)
    with torch.no_grad():
        model.conv1.weight.zero_()
    for key, value in twin(image).items():
        torch.testing.assert_close(value, expected[key])
    assert twin._recorded_model.conv1 is twin.conv1
    assert not torch.equal(extractor(image)["layer2"], expected["layer2"])
