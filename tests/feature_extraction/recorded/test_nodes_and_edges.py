"""What a recording says of its nodes: which value fed which operation, kind, source line."""

from __future__ import annotations

import dataclasses
import pickle
import warnings

import torch
import torchvision
from torch import nn

from fxexplore.feature_extraction.common.tensors import TensorInfo
from fxexplore.feature_extraction.recorded.recorder import record
from tests.feature_extraction.recorded.plain_runs import extractor_of, torchvision_model
from tests.feature_extraction.recorded.test_names import Sizes
from tests.models import UNTRACEABLE, VECTOR


def test_edges_say_which_value_fed_which_operation():
    class Residual(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(4, 4)
            self.drop = nn.Dropout()

        def forward(self, x):
            y = self.drop(self.fc(x))
            return torch.cat([x, self.drop(y) + y], dim=1)

    nodes = record(Residual().eval(), (VECTOR,)).nodes
    edges = {name: node.inputs for name, node in nodes.items()}
    assert edges == {
        "x": (),
        "fc": ("x",),
        "drop": ("fc",),
        "drop_1": ("drop",),
        "add": ("drop_1", "drop"),
        "cat": ("x", "add"),
    }


def test_an_operation_in_place_produces_the_argument_it_changes():
    class InPlace(nn.Module):
        def forward(self, x):
            y = x.clone()
            part = y[:, :2]
            part.add_(1)
            y[:, 3] = 0
            out = torch.empty_like(y)
            torch.mul(y, 2, out=out)
            return out + y

    nodes = record(InPlace(), (VECTOR,)).nodes
    assert nodes["setitem"].inputs == ("clone", "add_")
    assert nodes["setitem"].output.shape == (2, 4)
    assert nodes["add"].inputs == ("mul", "setitem")


def test_a_node_says_what_it_is_and_where_it_comes_from():
    recording = record(UNTRACEABLE["BranchesOnData"].model(), UNTRACEABLE["BranchesOnData"].args)
    node = recording.nodes["mul"]
    assert (node.op, node.target, node.module) == ("call_method", "mul", "")
    assert node.source is not None
    assert node.source[0].endswith("models.py")
    assert isinstance(node.output, TensorInfo)
    assert recording.output == (list(recording.nodes)[-1],)
    orders = [node.order for node in recording.nodes.values()]
    assert orders == sorted(set(orders))


def test_what_torch_does_not_see_goes_through_the_module_that_does_it():
    class Numpy(nn.Module):
        def forward(self, x):
            return torch.from_numpy(x.detach().numpy() * 2)

    class Scripted(nn.Module):
        def forward(self, x):
            return x + 1

    class Hides(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(4, 4)
            self.numpy = Numpy()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self.scripted = torch.jit.script(Scripted())

        def forward(self, x):
            return self.scripted(self.numpy(self.fc(x))) * 2

    model = Hides()
    recording = record(model, (VECTOR,))
    assert recording.nodes["numpy"].inputs == ("fc",)
    assert recording.nodes["scripted"].inputs == ("numpy",)
    assert recording.nodes["mul"].inputs == ("scripted",)
    values = extractor_of(model, ["numpy", "scripted"], (VECTOR,))(VECTOR)
    torch.testing.assert_close(values["numpy"], model.fc(VECTOR) * 2)
    torch.testing.assert_close(values["scripted"], model.fc(VECTOR) * 2 + 1)


def test_numpy_inside_one_forward_keeps_its_edge():
    class Inline(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(4, 4)

        def forward(self, x):
            return self.fc(torch.from_numpy(x.numpy() * 2))

    assert record(Inline(), (VECTOR,)).nodes["fc"].inputs == ("x",)


def test_what_reads_a_value_of_buffers_alone_does_not_seem_to_read_the_inputs():
    nodes = record(Sizes().eval(), (VECTOR,)).nodes
    product = next(node for node in nodes.values() if node.name == "mul")
    assert product.inputs == ("rows",)
    last = next(node for node in nodes.values() if node.name == "mul_2")
    assert last.inputs == ("getitem_3", "rows")


def test_inputs_of_all_kinds_are_nodes():
    @dataclasses.dataclass
    class Batch:
        image: torch.Tensor

    class Takes(nn.Module):
        def forward(self, batch, pair, options=None, *, scale=None, flag=True, **rest):  # noqa: ARG002
            y = batch.image * pair["a"][0] + rest["extra"]
            return y * scale if flag else y

    recording = record(
        Takes(),
        (Batch(VECTOR.clone()), {"a": [VECTOR.clone(), 1]}),
        {"scale": VECTOR.clone(), "extra": VECTOR.clone()},
    )
    inputs = [name for name, node in recording.nodes.items() if node.op == "placeholder"]
    assert inputs == ["batch", "pair", "options", "scale", "flag", "extra"]
    assert recording.inputs == ["batch", "pair", "scale", "extra"]
    assert recording.nodes["mul"].inputs == ("batch", "pair")


def test_recordings_can_be_pickled():
    model = torchvision_model("swin_t")
    recording = record(model, (torch.randn(1, 3, 64, 64),))
    twin = pickle.loads(pickle.dumps(recording))
    assert twin.nodes.keys() == recording.nodes.keys()
    assert ("torchvision.ops.stochastic_depth", "stochastic_depth") in twin.leaf_spec.wrapped


def test_meta_models_are_recorded_without_computing():
    with torch.device("meta"):
        model = torchvision.models.resnet18(weights=None).eval()
        recording = record(model, (torch.empty(1, 3, 64, 64),))
    assert recording.module_returns["layer4"].output.shape == (1, 512, 2, 2)
