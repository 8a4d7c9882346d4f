"""Traced where that is possible, recorded otherwise, and a clear error where neither works."""

import functools
import itertools
import sys

import pytest
import torch
import torchvision
from torch import nn
from torch.fx.proxy import TraceError

from fxexplore import (
    ModelGraph,
    create_feature_extractor,
    explore,
    get_graph_node_names,
    open_model,
)
from fxexplore.feature_extraction import GraphFeatureExtractor, RecordedFeatureExtractor
from fxexplore.model_graph import Module
from tests.models import ODD, UNTRACEABLE, VECTOR, BranchesOnData

OPENS_BY_RUNNING = {k: v for k, v in UNTRACEABLE.items() if k != "Raises"}


class Gated(nn.Module):
    """Branches on data inside a submodule."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(4, 4)
        self.branch = BranchesOnData()

    def forward(self, x):
        return self.branch(self.first(x))


class FailsInTrainMode(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 2)

    def forward(self, x):
        if self.training:
            raise RuntimeError("needs targets")
        return self.fc(x)


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
def test_what_can_be_traced_is_traced(odd):
    graph = open_model(odd.model(), odd.inputs())
    assert (graph.backend, graph.reason) == ("symbolic", "")


@pytest.mark.parametrize("odd", OPENS_BY_RUNNING.values(), ids=OPENS_BY_RUNNING)
def test_what_cannot_be_traced_is_recorded_and_the_reason_given(odd):
    graph = open_model(odd.model(), odd.inputs())
    assert graph.backend == "recorded"
    assert graph.reason
    assert ModelGraph.from_json(graph.to_json()) == graph
    names = {node.name for node in graph.nodes}
    assert all(set(node.inputs) <= names for node in graph.nodes)


def test_the_reason_names_module_file_line_and_construct():
    reason = open_model(Gated(), VECTOR).reason
    assert "models.py:" in reason
    assert "'branch.inner'" in reason
    assert "_Branch" in reason
    assert "control flow" in reason
    assert "\n" not in reason


def test_the_choice_of_backend_is_reported_once_with_its_reason():
    with pytest.warns(UserWarning, match=r"recording one run.*control flow") as caught:
        extractor = create_feature_extractor(Gated(), ["first"], example_inputs=VECTOR)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert isinstance(extractor, RecordedFeatureExtractor)


def test_the_requested_backend_is_used():
    model = torchvision.models.resnet18(weights=None).eval()
    x = torch.rand(1, 3, 64, 64)
    symbolic = create_feature_extractor(model, ["layer2"], backend="symbolic")
    recorded = create_feature_extractor(model, ["layer2"], backend="recorded", example_inputs=x)
    assert isinstance(symbolic, GraphFeatureExtractor)
    assert isinstance(recorded, RecordedFeatureExtractor)
    assert torch.equal(symbolic(x)["layer2"], recorded(x)["layer2"])
    with pytest.raises(TraceError):
        get_graph_node_names(Gated(), backend="symbolic", example_inputs=VECTOR)


@pytest.mark.parametrize("name", ["resnet18", "googlenet", "mobilenet_v3_small"])
def test_both_ways_see_the_same_modules_shapes_and_flops(name):
    extra = {"init_weights": False} if name == "googlenet" else {}
    model = torchvision.models.get_model(name, weights=None, **extra)
    x = torch.rand(1, 3, 224, 224)
    traced, recorded = (open_model(model, x, backend=b) for b in ("symbolic", "recorded"))
    rows = {row.name: row.item for row in recorded.rows}
    for row in traced.rows:
        item = row.item
        if isinstance(item, Module) or item.kind in ("module", "input"):
            assert rows[row.name].shape == item.shape, row.name
            assert rows[row.name].parameters == item.parameters
    assert recorded.flops == traced.flops
    assert [m.flops for m in recorded.modules] == [m.flops for m in traced.modules]


def test_neither_way_is_one_error_that_says_what_to_write():
    with pytest.raises(TraceError) as caught:
        get_graph_node_names(Gated())
    text = str(caught.value)
    assert "control flow" in text
    assert "tracer_kwargs={'leaf_modules': [_Branch]}" in text
    assert "example_inputs=" in text


def test_inputs_that_do_not_run_are_told_with_what_went_wrong():
    with pytest.raises(TraceError, match=r"Run on the example inputs.*mat1"):
        open_model(Gated(), torch.rand(2, 7))


@pytest.mark.parametrize("backend", ["auto", "recorded"])
def test_a_model_opens_in_the_one_mode_it_runs_in(backend):
    with pytest.warns(UserWarning, match=r"does not open in train mode.*needs targets"):
        train_nodes, eval_nodes = get_graph_node_names(
            FailsInTrainMode(), example_inputs=VECTOR, backend=backend
        )
    assert train_nodes == []
    assert eval_nodes == ["x", "fc"]


@pytest.mark.parametrize("backend", ["symbolic", "recorded"])
def test_one_mode_alone_can_be_asked_for(backend, recwarn):
    options = {"mode": "eval", "backend": backend, "example_inputs": VECTOR}
    model = FailsInTrainMode()
    assert get_graph_node_names(model, **options) == ([], ["x", "fc"])
    extractor = create_feature_extractor(model, ["fc"], **options)
    with pytest.raises(RuntimeError, match="eval mode only"):
        extractor.train()(VECTOR)
    assert torch.equal(extractor.eval()(VECTOR)["fc"], model.fc(VECTOR))
    assert not recwarn


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "test"}, "mode is 'test'"),
        ({"backend": "magic"}, "backend is 'magic'"),
        ({"backend": "recorded"}, "example_inputs="),
    ],
)
def test_options_that_make_no_sense_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        get_graph_node_names(nn.ReLU(), **options)


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
@pytest.mark.parametrize("mode", ["eval", "train"])
def test_traced_graphs_are_verified_against_a_run(odd, mode):
    open_model(odd.model(), odd.inputs(), mode=mode, verify=True)


def test_verifying_finds_a_value_that_tracing_froze():
    ticks = itertools.count()

    class Clock(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(4, 4)

        def forward(self, x):
            return (self.fc(x) * 2 + next(ticks)).relu()

    with pytest.raises(ValueError, match="value of 'add' differs"):
        open_model(Clock(), VECTOR, verify=True)


def test_verifying_needs_inputs():
    with pytest.raises(ValueError, match="example_inputs"):
        open_model(nn.ReLU(), verify=True)


@pytest.mark.parametrize("wrap", [torch.compile, nn.DataParallel])
def test_wrappers_are_looked_through(wrap):
    model = torchvision.models.resnet18(weights=None).eval()
    x = torch.rand(1, 3, 64, 64)
    names = get_graph_node_names(model)
    assert get_graph_node_names(wrap(model)) == names
    assert [node.name for node in open_model(wrap(model), x).nodes] == names[1]
    features = create_feature_extractor(wrap(model), ["layer1"])(x)
    assert torch.equal(features["layer1"], create_feature_extractor(model, ["layer1"])(x)["layer1"])
    explorer = explore(wrap(model), x)
    explorer.selected = ["layer1"]
    explorer.run()
    assert torch.equal(explorer.features["layer1"], features["layer1"])


def test_the_explorer_works_on_a_recorded_model():
    model = Gated().train()
    explorer = explore(model, VECTOR)
    assert "recorded" in explorer.header.children[0].value
    explorer.selected = ["first", "branch"]
    explorer.run()
    assert all(module.training for module in model.modules())
    assert torch.equal(explorer.features["first"], model.first(VECTOR))
    scope = {"model": model, "x": VECTOR}
    exec(explorer.code.text, scope)
    assert torch.equal(scope["features"]["first"], explorer.features["first"])


def test_a_model_that_does_nothing_without_inputs_is_traced_with_them():
    class Optional(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(4, 2)

        def forward(self, x=None):
            return None if x is None else self.fc(x)

    graph = open_model(Optional(), {"x": torch.ones(1, 4)})
    assert (graph.backend, graph["fc"].shape) == ("symbolic", (1, 2))
    with pytest.raises(TraceError, match="no operation at all"):
        get_graph_node_names(Optional())


@pytest.fixture
def one_process():
    distributed = pytest.importorskip("torch.distributed")
    if not distributed.is_available():
        pytest.skip("torch is built without torch.distributed")
    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    yield distributed
    distributed.destroy_process_group()


def split_over(model, distributed):
    sharding = pytest.importorskip("torch.distributed.fsdp")
    mesh = distributed.device_mesh.init_device_mesh("cpu", (1,))
    for part in (model[0], model):
        sharding.fully_shard(part, mesh=mesh)
    return model


@pytest.mark.parametrize(
    ("wrap", "backend"),
    [
        (lambda model, _: nn.parallel.DistributedDataParallel(model), "symbolic"),
        (split_over, "recorded"),
    ],
    ids=["DistributedDataParallel", "fully_shard"],
)
def test_models_of_several_processes_open_and_give_what_they_compute(one_process, wrap, backend):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Sequential(nn.Linear(4, 4), nn.ReLU()), nn.Linear(4, 2)).eval()
    expected = model[0](VECTOR)
    wrapped = wrap(model, one_process).eval()
    graph = open_model(wrapped, VECTOR)
    assert (graph.backend, graph["0.0"].shape) == (backend, (2, 4))
    extractor = create_feature_extractor(
        wrapped, ["0"], example_inputs=VECTOR, mode="eval", backend=backend
    )
    with torch.no_grad():
        assert torch.equal(extractor(VECTOR)["0"], expected)


class Deep(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.fc, self.inner = nn.Linear(2, 2), inner

    def forward(self, x):
        return self.inner(self.fc(x)) + x


@pytest.mark.parametrize("backend", ["symbolic", "recorded"])
def test_modules_may_be_nested_as_deep_as_python_runs_them(backend):
    model = functools.reduce(lambda inner, _: Deep(inner), range(180), nn.ReLU()).eval()
    limit, vector = sys.getrecursionlimit(), torch.ones(1, 2)
    graph = open_model(model, vector, backend=backend)
    assert len(graph.nodes) == 2 + 2 * 180
    assert graph.parameters == graph["inner"].parameters + 6
    options = {"example_inputs": vector, "backend": backend, "mode": "eval"}
    extractor = create_feature_extractor(model, ["inner.inner.fc"], **options)
    expected = model.inner.inner.fc(model.inner.fc(model.fc(vector)))
    assert torch.equal(extractor(vector)["inner.inner.fc"], expected)
    assert sys.getrecursionlimit() == limit
