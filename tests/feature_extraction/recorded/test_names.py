"""Names of recorded nodes: those of symbolic tracing."""

from __future__ import annotations

import copy

import pytest
import torch
import torchvision
from torch import fx, nn

from fxexplore.feature_extraction import create_feature_extractor
from fxexplore.feature_extraction.common.tensors import TensorInfo, tensors_in
from fxexplore.feature_extraction.recorded.recorder import record
from fxexplore.feature_extraction.symbolic.trace import traced
from tests.feature_extraction.recorded.plain_runs import SMALL_TORCHVISION, torchvision_model
from tests.marks import mostly_thorough
from tests.models import ODD, VECTOR

# What symbolic tracing evaluates while it traces, a real run shows.
EXPECTED_DIFFERENCES = {
    "StrangeNames": "an fx.GraphModule cannot run a child that is called 'dotted.name'",
    "WritesIntoAConstant": "a tensor made of constants alone is computed while tracing",
    "ReadsParametersAsAList": "parameters that come out of parameters() are no proxies",
    "DrawsInForward": "a tensor made of constants alone is computed while tracing",
    "ManyInputs": "items of *args are nodes of their own",
}


class Recurrent(nn.Module):
    """Unpacks a tuple in a tuple, and takes items later."""

    def __init__(self):
        super().__init__()
        self.lstm, self.fc = nn.LSTM(3, 8, batch_first=True), nn.Linear(8, 2)

    def forward(self, x):
        out, (hidden, _) = self.lstm(x)
        return self.fc(out[:, -1]) + self.fc(hidden[-1])


class Transposes(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(3, 3))
        self.inner.forward = lambda x: self.inner[0](x).mT
        self.fc = nn.Linear(2, 2)

    def forward(self, x):
        return self.fc(self.inner(x)).T


def test_a_transposed_tensor_is_named_where_it_is_transposed():
    recording = assert_same_names(Transposes(), False, (torch.randn(2, 3),))
    assert recording.names == ["x", "inner.0", "inner.getattr", "fc", "getattr"]


def test_items_of_nested_tuples_have_the_names_of_symbolic_tracing():
    recording = assert_same_names(Recurrent(), False, (torch.randn(2, 5, 3),))
    assert recording.nodes["getitem_2"].inputs == ("getitem_1",)
    assert recording.nodes["getitem_4"].output.shape == (2, 8)


@pytest.mark.parametrize("name", sorted(set(ODD) - set(EXPECTED_DIFFERENCES)))
@pytest.mark.parametrize("training", [False, True])
def test_names_are_those_of_symbolic_tracing_on_odd_models(name, training):
    case = ODD[name]
    model = case.model(training)
    args, kwargs = case.inputs()
    assert_same_names(model, training, args, kwargs)


def tensor_valued_names(model, training, args, kwargs=None):
    """Names of the symbolic nodes whose value holds tensors, with their values' shapes."""
    tracer = traced(model, training)
    shapes = {}

    class Run(fx.Interpreter):
        def call_function(self, target, args, kwargs):
            return super().call_function(target, thawed(args), kwargs)

        def run_node(self, node):
            value = super().run_node(node)
            name = tracer.node_to_qualname.get(node)
            if name is not None and any(True for _ in tensors_in(value)):
                shapes[name] = [tuple(tensor.shape) for tensor in tensors_in(value)]
            return value

    twin = copy.deepcopy(model)
    with torch.no_grad():
        Run(fx.GraphModule(twin, tracer.graph)).run(*args, *(kwargs or {}).values())
    return shapes


def thawed(value):
    """Lists of a graph cannot be changed, and some torchvision functions change theirs."""
    if isinstance(value, (tuple, list)) and type(value).__module__ != "torch":
        items = [thawed(item) for item in value]
        return items if isinstance(value, list) else tuple(items)
    return value


def assert_same_names(model, training, args, kwargs=None, tolerance=0.0):
    symbolic = tensor_valued_names(model, training, args, kwargs)
    recording = record(model, args, kwargs)
    kept_default = recording.arguments.keys() - recording.inputs  # no tensors either
    different = set(symbolic) ^ (set(recording.names) - kept_default)
    assert len(different) <= tolerance * len(symbolic), sorted(different)[:10]
    for name in set(symbolic) & set(recording.names):
        assert symbolic[name] == shapes_in(recording.nodes[name].output), name
    return recording


def shapes_in(output):
    if isinstance(output, TensorInfo):
        return [output.shape]
    if isinstance(output, dict):
        output = list(output.values())
    if isinstance(output, (list, tuple)):
        return [shape for item in output for shape in shapes_in(item)]
    return []


def recorded_and_traced_names(model, args):
    # The nodes without a tensor, such as sizes, are no features of a recording.
    wanted = tensor_valued_names(model, False, args)
    return record(model, args).names, list(wanted)


class Attention(nn.Module):
    """What maxvit does: a view of a buffer comes before the views of features."""

    def __init__(self):
        super().__init__()
        self.side = 2
        self.register_buffer("index", torch.arange(4).view(2, 2))
        self.table = nn.Parameter(torch.rand(4, 3))

    def forward(self, x):
        flat = self.index.view(-1)
        bias = self.table[flat].view(self.side, self.side, -1)
        return x.view(-1, 1, 1, 1) + bias.view(1, 2, 2, 3)


class Sizes(nn.Module):
    """What is computed from a buffer and the size of an input: tracing sees both."""

    def __init__(self):
        super().__init__()
        self.register_buffer("rows", torch.rand(9, 4))

    def forward(self, x):
        count = x.shape[0]
        fixed = self.rows[:2].mul(2)[1]
        return x[:, :4] + self.rows.mul(x.size(0))[0] + self.rows.mul(count)[1] * fixed[None]


class Keeps(nn.Module):
    """A buffer that holds a feature once forward has written one into it."""

    def __init__(self):
        super().__init__()
        self.register_buffer("kept", torch.zeros(2, 4))
        self.register_buffer("steps", torch.zeros(()))
        self.size = 0

    def forward(self, x):
        before = self.kept.sum()
        self.steps += 1
        self.kept.copy_(x * 2)
        return self.kept.sum() + before + x.sum() + self.steps


@pytest.mark.parametrize("cls", [Attention, Sizes, Keeps])
def test_operations_on_buffers_alone_have_no_name_in_a_recording_either(cls):
    recorded, traced_ones = recorded_and_traced_names(cls().eval(), (VECTOR,))
    assert recorded == traced_ones


@pytest.mark.parametrize("cls", [Attention, Sizes, Keeps])
def test_names_after_operations_on_buffers_mean_the_same_both_ways(cls):
    torch.manual_seed(0)
    model = cls().eval()
    recorded, _ = recorded_and_traced_names(model, (VECTOR,))
    values = []
    for backend in ("recorded", "symbolic"):
        extractor = create_feature_extractor(
            model, recorded, example_inputs=VECTOR, backend=backend, mode="eval"
        )
        values.append(extractor(VECTOR))
        for buffer in model.buffers():
            if cls is Keeps:
                buffer.zero_()
    assert list(values[0]) == list(values[1])
    for name in recorded:
        torch.testing.assert_close(values[0][name], values[1][name], rtol=0, atol=0)


def test_a_size_kept_in_an_attribute_is_not_taken_for_a_constant():
    class Sized(Sizes):
        def forward(self, x):
            self.count = x.shape[0]
            return (self.rows * self.count)[:1] + x * 2

    recorded, traced_ones = recorded_and_traced_names(Sized().eval(), (VECTOR,))
    assert recorded == traced_ones


@pytest.mark.parametrize("name", mostly_thorough(SMALL_TORCHVISION, "resnet18", "swin_t"))
def test_names_are_those_of_symbolic_tracing_on_torchvision(name):
    assert_same_names(torchvision_model(name), False, (torch.randn(SMALL_TORCHVISION[name]),))


def torchvision_input(name):
    if name.startswith("mvit"):
        return (1, 3, 16, 224, 224)
    if name == "s3d":
        return (1, 3, 16, 224, 224)
    if name.startswith("swin3d"):
        return (1, 3, 4, 64, 64)
    if name.startswith(("r3d", "mc3", "r2plus1d")):
        return (2, 3, 4, 32, 32)
    if name.startswith(("vit", "maxvit", "inception", "alexnet", "vgg", "squeezenet")):
        side = 299 if name == "inception_v3" else 224
        return (1, 3, side, side)
    return (2, 3, 64, 64)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        name
        for home in ("", ".segmentation", ".video")
        for name in torchvision.models.list_models(
            module=__import__(f"torchvision.models{home}", fromlist=["_"])
        )
    ],
)
@pytest.mark.parametrize("training", [False, True])
def test_names_are_those_of_symbolic_tracing_on_all_of_torchvision(name, training):
    shape = torchvision_input(name)
    if training:
        shape = (2, *shape[1:])
    model = torchvision_model(name, training)
    recording = assert_same_names(model, training, (torch.randn(shape),), tolerance=0.01)
    # What differs by rule: buffers are nodes of a recording, but have no symbolic name.
    extra = set(recording.nodes) - set(recording.names)
    buffers = {path for path, _ in model.named_buffers()}
    assert {recording.nodes[extra_name].target for extra_name in extra} <= buffers


def test_exceptions_that_the_model_catches_do_not_confuse_names():
    class Fails(nn.Module):
        def __init__(self, leaf):
            super().__init__()
            self.inner = leaf

        def forward(self, x):
            return self.inner(x)

    class Catches(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = Fails(nn.Linear(3, 3))
            self.b = nn.Linear(4, 4)

        def forward(self, x):
            try:
                return self.a(x)
            except RuntimeError:
                return self.b(x) + 1

    assert list(record(Catches(), (VECTOR,)).nodes) == ["x", "b", "add"]


def test_leaf_modules_are_the_callers():
    class Block(nn.Sequential):
        pass

    model = nn.Sequential(Block(nn.Linear(4, 4), nn.ReLU()), nn.ReLU()).eval()
    assert list(record(model, (VECTOR,)).nodes) == ["input", "0.0", "0.1", "1"]
    leaves = {"leaf_modules": {Block}}
    assert list(record(model, (VECTOR,), tracer_kwargs=leaves).nodes) == ["input", "0", "1"]
