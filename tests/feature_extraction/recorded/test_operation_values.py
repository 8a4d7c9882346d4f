"""What operations, arguments and parameters gave, also when they are overwritten later."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from fxexplore.feature_extraction import create_feature_extractor
from fxexplore.feature_extraction.recorded.recorder import record
from tests.feature_extraction.recorded.plain_runs import (
    SMALL_TORCHVISION,
    extractor_of,
    torchvision_model,
)
from tests.marks import mostly_thorough
from tests.models import ODD, VECTOR


def test_operations_are_extracted_as_they_were():
    model = torchvision_model("resnet18")
    image = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    names = ["layer1.0.add", "bn1", "layer4.1.bn2", "flatten"]
    values = extractor_of(model, names, (image,))(image)
    assert list(values) == ["bn1", "layer1.0.add", "layer4.1.bn2", "flatten"]
    with torch.no_grad():
        torch.testing.assert_close(values["bn1"], model.bn1(model.conv1(image)))
        x = model.maxpool(model.relu(model.bn1(model.conv1(image))))
        block = model.layer1[0]
        y = block.bn2(block.conv2(block.relu(block.bn1(block.conv1(x))))) + x
        torch.testing.assert_close(values["layer1.0.add"], y)


@pytest.mark.parametrize(
    "name", mostly_thorough(["resnet18", "swin_t", "shufflenet_v2_x0_5"], "swin_t")
)
def test_all_nodes_equal_symbolic_nodes(name):
    model = torchvision_model(name)
    image = torch.randn(SMALL_TORCHVISION[name], generator=torch.Generator().manual_seed(0))
    names = record(model, (image,)).names
    recorded = extractor_of(model, names, (image,))
    symbolic = create_feature_extractor(model, names)
    with torch.no_grad():
        ours, theirs = recorded(image), symbolic(image)
    assert list(ours) == list(theirs)
    for key, value in ours.items():
        torch.testing.assert_close(value, theirs[key], msg=lambda m, k=key: f"{k}: {m}")


def test_arguments_and_parameters_can_be_wanted():
    case = ODD["RootParameter"]
    model = case.model()
    recording = record(model, case.args)
    name = next(n.name for n in recording.nodes.values() if n.op == "get_attr")
    values = extractor_of(model, ["x", name], case.args)(*case.args)
    assert values["x"] is case.args[0]
    assert values[name] is model.get_parameter(recording.nodes[name].target)


def test_a_value_is_what_it_was_before_it_was_overwritten():
    class Overwrites(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(4, 4)
            self.late = nn.Linear(4, 4)

        def forward(self, x):
            y = self.fc(x)
            view = y.view(-1)
            view.mul_(100)
            x += 1
            outs = [y]
            outs.append(self.late(y))
            return outs

    model = Overwrites()
    expected = model.fc(VECTOR)
    values = extractor_of(model, ["fc", "x", "late"], (VECTOR.clone(),))(VECTOR.clone())
    torch.testing.assert_close(values["fc"], expected)
    torch.testing.assert_close(values["x"], VECTOR)
    values = extractor_of(model, ["x", "view", "late"], (VECTOR.clone(),))(VECTOR.clone())
    torch.testing.assert_close(values["view"], expected.view(-1))


def test_a_value_that_only_other_inputs_overwrite_is_an_error_not_a_wrong_value():
    class SometimesOverwrites(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(4, 4)
            self.last = nn.Linear(4, 4)

        def forward(self, x, overwrite):
            y = self.fc(x)
            if overwrite:
                y.mul_(2)
            return self.last(y)

    model = SometimesOverwrites()
    extractor = extractor_of(model, ["fc", "last"], (VECTOR, False))
    with torch.no_grad():
        with pytest.raises(RuntimeError, match="fc was overwritten in place on inputs"):
            extractor(VECTOR, True)
        torch.testing.assert_close(extractor(VECTOR, True)["fc"], model.fc(VECTOR))
