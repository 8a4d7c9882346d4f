"""Compiled, parallel and wrapped models are the models inside."""

from __future__ import annotations

import torch
from torch import nn

from fxexplore.feature_extraction.recorded.extractor import RecordedFeatureExtractor
from fxexplore.feature_extraction.recorded.recorder import record
from tests.feature_extraction.recorded.plain_runs import (
    extractor_of,
    module_outputs,
    torchvision_model,
)


def test_compiled_and_parallel_models_are_the_models_inside():
    model = torchvision_model("resnet18")
    image = torch.randn(1, 3, 32, 32)
    names = list(record(model, (image,)).nodes)
    compiled = torch.compile(model)
    assert list(record(compiled, (image,)).nodes) == names
    assert list(record(nn.DataParallel(model), (image,)).nodes) == names
    expected = extractor_of(model, ["layer1"], (image,))(image)["layer1"]
    recording = record(model, (image,))
    extractor = RecordedFeatureExtractor(compiled, {}, {"layer1": "layer1"}, None, recording)
    torch.testing.assert_close(extractor(image)["layer1"], expected)


def test_compiled_parts_of_a_model_run_as_python():
    model = torchvision_model("resnet18")
    image = torch.randn(1, 3, 32, 32)
    expected = module_outputs(model, (image,))["layer1"]
    model.layer1 = torch.compile(model.layer1)
    model.layer2.compile()
    recording = record(model, (image,))
    assert "layer1._orig_mod.0.conv1" in recording.nodes
    assert "layer2.0.conv1" in recording.nodes
    values = extractor_of(model, ["layer1", "layer2.0.add"], (image,))(image)
    torch.testing.assert_close(values["layer1"], expected)
