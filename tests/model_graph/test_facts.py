"""Facts against independent truth: forward hooks, torch's FLOP counter, torchinfo."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import torch
import torchvision
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from fxexplore.inputs import example_inputs_for
from fxexplore.model_graph import ModelGraph, Module, open_model
from tests.marks import mostly_thorough
from tests.models import WAYS_IN
from tests.peers.test_any_model import copied_inputs, timm_model, torchvision_model, transformer

# --- truth -----------------------------------------------------------------------------


def tensors(value: Any) -> Iterator[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from tensors(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from tensors(item)
    elif dataclasses.is_dataclass(value) or type(value).__module__.startswith(
        ("torchvision", "transformers")
    ):
        yield from tensors(list(vars(value).values()))  # detections, key-value caches


def facts_of(value: Any) -> list[tuple[tuple[int, ...], str, int]]:
    return [
        (tuple(t.shape), str(t.dtype).removeprefix("torch."), t.numel() * t.element_size())
        for t in tensors(value)
    ]


def seen_by_hooks(model: nn.Module, args: Any, kwargs: Any) -> dict[str, list[Any]]:
    """The facts of what each module returned, call by call."""
    seen: dict[str, list[Any]] = {}
    handles = [
        module.register_forward_hook(
            lambda _m, _a, output, path=path: seen.setdefault(path, []).append(facts_of(output))
        )
        for path, module in model.named_modules()
        if path
    ]
    with torch.no_grad():
        model(*copied_inputs(args), **copied_inputs(kwargs))
    for handle in handles:
        handle.remove()
    return seen


def of_item(item: Any) -> list[tuple[tuple[int, ...], str]]:
    if item.shape is not None:
        assert item.parts == ()
        return [(item.shape, item.dtype)]
    assert item.dtype is None
    return [(part.shape, part.dtype) for part in item.parts]


def check_values(graph: ModelGraph, seen: dict[str, list[Any]]) -> int:
    """Compare shapes, dtypes, bytes and calls with what hooks saw; how many were compared."""
    nodes = [node for node in graph.nodes if node.kind == "module"]
    paths = {node.name: node for node in nodes if node.calls == 1 and node.name in seen}
    for path, node in paths.items():
        assert of_item(node) == [fact[:2] for fact in seen[path][0]], path
        assert node.activation_bytes == sum(fact[2] for fact in seen[path][0]), path
        assert len(seen[path]) == node.calls
    modules = [module for module in graph.modules if module.calls]
    for module in modules:
        assert of_item(module) == [fact[:2] for fact in seen[module.path][-1]], module.path
        assert module.calls == len(seen[module.path])
    return len(paths) + len(modules)


def check_what_never_ran(graph: ModelGraph, model: nn.Module, seen: dict[str, list[Any]]) -> None:
    idle = {module.path for module in graph.modules if not module.ran}
    for path in idle:
        assert not [other for other in seen if other == path or other.startswith(f"{path}.")]
        assert isinstance(model.get_submodule(path), nn.Module)
    for module in graph.modules:
        assert module.ran or (module.calls, module.has_value) == (0, False)


def check_flops(graph: ModelGraph, model: nn.Module, args: Any, kwargs: Any) -> None:
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # torch's counter does not know fused attention
    try:
        one_by_one = sdpa_kernel(SDPBackend.MATH)
        with one_by_one, FlopCounterMode(display=False) as counter, torch.no_grad():
            model(*copied_inputs(args), **copied_inputs(kwargs))
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
    assert graph.flops == counter.get_total_flops()
    counts = counter.get_flop_counts()
    root = type(model).__name__
    first = {m: path for path, m in model.named_modules()}
    for module in graph.modules:
        inside = model.get_submodule(module.path).modules()
        if any(not f"{first[m]}.".startswith(f"{module.path}.") for m in inside):
            continue  # a module of another block is called here, whose row has its operations
        if module.calls == 1 and not module.shared:
            counted = sum(counts.get(f"{root}.{module.path}", {}).values())
            assert module.flops == counted, module.path


def check_sums(graph: ModelGraph, model: nn.Module) -> None:
    parameters = list(model.parameters())
    assert graph.parameters == sum(p.numel() for p in parameters)
    assert graph.frozen == sum(p.numel() for p in parameters if not p.requires_grad)
    for module in graph.modules:
        own = list(model.get_submodule(module.path).parameters())
        assert module.parameters == sum(p.numel() for p in own)
        assert module.frozen == sum(p.numel() for p in own if not p.requires_grad)
        row = graph.index[module.path]
        inside = [r.item for r in graph.rows[row + 1 : graph.rows[row].end]]
        below = [item for item in inside if not isinstance(item, Module)]
        if module.ran and all(node.activation_bytes is not None for node in below):
            assert module.activation_bytes == sum(node.activation_bytes for node in below)


def check(model: nn.Module, inputs: Any = None) -> int:
    inputs = example_inputs_for(model, inputs)
    for index, parameter in enumerate(model.parameters()):
        parameter.requires_grad_(index % 3 > 0)
    graph = open_model(model, (inputs.args, inputs.kwargs), mode="eval")
    seen = seen_by_hooks(model, inputs.args, inputs.kwargs)
    compared = check_values(graph, seen)
    check_what_never_ran(graph, model, seen)
    check_sums(graph, model)
    model.requires_grad_(False)  # the counter of torch trips over parameters as arguments
    check_flops(graph, model, inputs.args, inputs.kwargs)
    assert ModelGraph.from_json(graph.to_json()) == graph
    return compared


# --- models ------------------------------------------------------------------------------

FEW = ["resnet18", "googlenet", "swin_t", "shufflenet_v2_x0_5", "deeplabv3_mobilenet_v3_large"]
DETECTORS = ["ssdlite320_mobilenet_v3_large"]
LARGE = 100_000_000


@pytest.mark.parametrize("name", mostly_thorough(FEW + DETECTORS, "resnet18"))
def test_facts_of_torchvisions_models_are_those_of_a_run(name):
    assert check(torchvision_model(name).eval())


@pytest.mark.parametrize("name", mostly_thorough(["bert", "t5", "clip"], "bert"))
def test_facts_of_transformers_are_those_of_a_run(name):
    assert check(transformer(name).eval())


@pytest.mark.slow
@pytest.mark.parametrize("name", torchvision.models.list_models())
def test_facts_of_every_model_of_torchvision(name):
    weights = next(iter(torchvision.models.get_model_weights(name)))
    if weights.meta["num_params"] > LARGE:
        pytest.skip("it takes minutes to build")
    assert check(torchvision_model(name).eval())


TIMM = [
    "levit_128s", "test_vit", "test_efficientnet", "test_byobnet", "test_nfnet", "cait_xxs24_224",
    "coat_tiny", "crossvit_tiny_240", "davit_tiny", "edgenext_xx_small", "gcvit_xxtiny",
    "mvitv2_tiny", "nest_tiny", "pit_xs_224", "swinv2_tiny_window8_256", "volo_d1_224",
    "xcit_nano_12_p8_224", "vit_small_resnet50d_s16_224",
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", TIMM)
def test_facts_of_models_of_timm(name):
    pytest.importorskip("timm")
    assert check(timm_model(name).eval())


@pytest.mark.parametrize(("odd", "backend"), WAYS_IN.values(), ids=WAYS_IN)
def test_facts_of_odd_models(odd, backend):
    model = odd.model()
    graph = open_model(model, odd.inputs(), backend=backend)
    seen = seen_by_hooks(model, *odd.inputs())
    known = [n for n in graph.nodes if n.activation_bytes is not None]
    check_values(dataclasses.replace(graph, nodes=tuple(known)), seen)
    check_what_never_ran(graph, model, seen)


class Borrower(nn.Module):
    def __init__(self):
        super().__init__()
        self.own = nn.Conv2d(3, 4, 3)

    def forward(self, x, borrowed):
        return borrowed(self.own(x))


class Lender(nn.Module):
    """A module is called by another than it belongs to, as in CoaT."""

    def __init__(self):
        super().__init__()
        self.block, self.lent = Borrower(), nn.Sequential(nn.Conv2d(4, 5, 1))

    def forward(self, x):
        return self.block(x, self.lent)


@torch.fx.wrap
def shrunk(sizes):
    sizes[0] -= 1
    return sizes


class WritesItsList(nn.Module):
    def forward(self, x):
        return x.new_zeros(shrunk([3, x.shape[1]]))


def test_a_function_may_write_to_the_list_that_it_is_given():
    graph = open_model(WritesItsList(), torch.ones(1, 4), backend="symbolic")
    assert (graph["new_zeros"].shape, graph.missing) == ((2, 4), "")


@pytest.mark.parametrize("backend", ["symbolic", "recorded"])
def test_a_call_counts_for_the_module_that_it_belongs_to_whoever_calls(backend):
    graph = open_model(Lender(), torch.ones(1, 3, 8, 8), backend=backend)
    own, lent = 2 * 6 * 6 * 4 * 3 * 9, 2 * 6 * 6 * 5 * 4
    assert (graph["block"].flops, graph["lent"].flops, graph.flops) == (own, lent, own + lent)
    sizes = [4 * 6 * 6 * 4, 4 * 6 * 6 * 5]
    assert [graph[path].activation_bytes for path in ("block", "lent")] == sizes


@pytest.mark.parametrize(
    "name", mostly_thorough(["resnet18", "googlenet", "efficientnet_b0", "mnasnet0_5"], "resnet18")
)
def test_totals_are_those_of_torchinfo(name):
    torchinfo = pytest.importorskip("torchinfo")
    model, x = torchvision_model(name).eval(), torch.randn(2, 3, 96, 96)
    for index, parameter in enumerate(model.parameters()):
        parameter.requires_grad_(index % 4 > 0)
    graph = open_model(model, x)
    truth = torchinfo.summary(model, input_data=x, verbose=0)
    assert graph.parameters == truth.total_params
    assert graph.parameters - graph.frozen == truth.trainable_params
    paths = {module: path for path, module in model.named_modules()}
    layers = {paths[layer.module]: layer for layer in truth.summary_list if layer.executed}
    nodes = [node for node in graph.nodes if node.kind == "module" and node.calls == 1]
    assert len(nodes) > 40
    for item in (*nodes, *(module for module in graph.modules if module.calls)):
        name = item.path if isinstance(item, Module) else item.name
        if item.shape is not None:
            assert item.shape == tuple(layers[name].output_size), name
        assert item.parameters == max(layers[name].num_params, 0), name
    if all(layers[node.name].is_leaf_layer for node in nodes):
        # torchinfo counts layers with parameters, twice for their gradients.
        held = [node.activation_bytes for node in nodes if node.parameters]
        assert 2 * sum(held) == truth.total_output_bytes


def test_recorded_and_traced_graphs_have_the_same_facts():
    model, x = torchvision_model("resnet18").eval(), torch.randn(1, 3, 64, 64)
    traced, recorded = (open_model(model, x, backend=way) for way in ("symbolic", "recorded"))
    # Where modules are called in the code is only seen in a run.
    sources = {node.name: node.source for node in traced.nodes}
    assert [dataclasses.replace(n, source=sources[n.name]) for n in recorded.nodes] == [
        *traced.nodes
    ]
    assert recorded.modules == traced.modules
    assert (recorded.flops, recorded.activation_bytes) == (traced.flops, traced.activation_bytes)


# --- one fact each -----------------------------------------------------------------------


class Nested(nn.Module):
    def forward(self, x):
        return {"sum": x + 1, "pair": (x.double(), [x > 0])}


def test_a_nested_output_tells_its_tensors_by_how_python_gets_at_them():
    graph = open_model(nn.Sequential(Nested()), torch.ones(2, 3))
    item = graph["0"]
    assert [(part.path, part.shape, part.dtype) for part in item.parts] == [
        ("['sum']", (2, 3), "float32"),
        ("['pair'][0]", (2, 3), "float64"),
        ("['pair'][1][0]", (2, 3), "bool"),
    ]
    assert item.shape is None
    names = {"value": Nested()(torch.ones(2, 3))}
    for part in item.parts:
        assert tuple(eval(f"value{part.path}", names).shape) == part.shape


def test_attributes_of_returned_objects_are_told_from_items():
    @dataclasses.dataclass
    class Box:
        corners: torch.Tensor

    class Boxes(nn.Module):
        def forward(self, x):
            return Box(x + 1)

    for backend in ("symbolic", "recorded"):
        graph = open_model(nn.Sequential(Boxes(), Read()), torch.ones(2, 3), backend=backend)
        assert [part.path for part in graph["0"].parts] == [".corners"]


class Read(nn.Module):
    def forward(self, box):
        return box.corners * 2


@pytest.mark.parametrize("backend", ["symbolic", "recorded"])
def test_operations_have_flops_of_their_own(backend):
    class Products(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(3, 4))

        def forward(self, x):
            return torch.relu(x @ self.weight) @ self.weight.t()

    graph = open_model(nn.Sequential(Products()), torch.ones(2, 3), backend=backend)
    flops = {node.target: node.flops for node in graph.nodes}
    assert flops["matmul"] == 2 * 2 * 4 * 3
    assert flops["relu"] == flops["input"] == flops["0.weight"] == 0
    assert graph["0"].flops == graph.flops == 96


@pytest.mark.parametrize("backend", ["symbolic", "recorded"])
def test_each_call_of_a_module_has_flops_of_its_own(backend):
    class Thrice(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(4, 4)

        def forward(self, x):
            return self.fc(self.fc(x) + self.fc(x[:1]))

    graph = open_model(Thrice(), torch.ones(2, 4), backend=backend)
    calls = [node for node in graph.nodes if node.kind == "module"]
    assert [(node.call, node.calls) for node in calls] == [(1, 3), (2, 3), (3, 3)]
    assert [node.flops for node in calls] == [64, 32, 64]


@pytest.mark.parametrize("backend", ["symbolic", "recorded"])
def test_frozen_shared_and_idle_parts_say_so(backend):
    class Parts(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = nn.Linear(4, 4, bias=False)
            self.block = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
            self.block[0].bias.requires_grad_(False)
            self.again = self.block
            self.idle = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
            self.attention = nn.MultiheadAttention(4, 2)
            self.weights = nn.ModuleList([nn.Linear(4, 4)])

        def forward(self, x):
            x = self.again(self.block(self.embed(x)))
            x = self.attention(x, x, x)[0]
            return nn.functional.linear(x, self.weights[0].weight)

    graph = open_model(Parts(), torch.ones(2, 4), backend=backend)
    assert (graph.frozen, graph["block"].frozen, graph["block.0"].frozen) == (4, 4, 4)
    assert graph["block"].shared == ("again",)
    assert graph["block.0"].shared == ("again.0",)
    assert (graph["block"].calls, graph["block"].dtype) == (2, "float32")
    idle = [module for module in graph.modules if not module.ran]
    assert [(module.path, module.cls, module.parameters) for module in idle] == [
        ("idle", "Sequential", 40)
    ]
    assert graph.rows[-1].item is idle[0]


def test_a_container_is_not_called():
    class Listed(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.ModuleList([nn.Sequential(nn.Linear(4, 4)), nn.ReLU()])

        def forward(self, x):
            for layer in self.layers:
                x = layer(x)
            return x

    graph = open_model(Listed())
    listed = graph["layers"]
    assert (listed.ran, listed.calls, listed.has_value, listed.shape) == (True, 0, True, None)
    assert graph["layers.0"].calls == 1


def test_parameters_and_inputs_are_no_activations():
    class Adds(nn.Module):
        def __init__(self):
            super().__init__()
            self.bias = nn.Parameter(torch.zeros(8))

        def forward(self, x):
            return x + self.bias

    graph = open_model(Adds(), torch.ones(2, 8))
    assert {node.name: node.activation_bytes for node in graph.nodes} == {
        "x": 64, "bias": 0, "add": 64,
    }  # fmt: skip
    assert graph.activation_bytes == 64
