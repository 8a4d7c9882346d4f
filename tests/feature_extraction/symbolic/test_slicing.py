"""Only what is needed is kept, and everything that is needed."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
import torch
import torchvision
from hypothesis import given
from hypothesis import strategies as st
from torch import fx, nn

from fxexplore.feature_extraction import NodePathTracer, create_feature_extractor
from fxexplore.feature_extraction.common.torch_ops import draws_random_numbers, effects
from tests.feature_extraction.truth import copied, returned_by_modules, same

# --- random programs of computing, viewing and writing -------------------------------


class Step(NamedTuple):
    kind: str
    operation: str
    on: int  # which earlier value, counted back from the newest
    other: int


_VIEWS = {
    "transpose": lambda a: a.transpose(0, 1),
    "detach": lambda a: a.detach(),
    "view": lambda a: a.view(a.shape) if isinstance(a, torch.Tensor) else a.view_as(a),
    "getitem": lambda a: a[...],
    "expand_as": lambda a: a.expand_as(a),
    "contiguous": lambda a: a.contiguous(),
    "to": lambda a: a.to(torch.float32),
}
_COMPUTING = {
    "add": lambda a, b: a + b,
    "mul": torch.mul,
    "relu": lambda a, _: torch.relu(a),
    "clone": lambda a, _: a.clone(),
    "leaf": None,
}
_WRITING = {
    "add_": lambda a, b: a.add_(b),
    "iadd": None,
    "mul_": lambda a, _: a.mul_(-2),
    "setitem": None,
    "copy_": lambda a, b: a.copy_(b),
    "relu_": lambda a, _: torch.relu_(a),
    "functional": lambda a, _: nn.functional.relu(a, inplace=True),
    "out": lambda a, b: torch.sub(b, 1, out=a),
    "leaf": None,
}
_STEPS = st.one_of(
    st.builds(
        Step, st.just("view"), st.sampled_from(sorted(_VIEWS)), _back := st.integers(0, 4), _back
    ),
    st.builds(Step, st.just("compute"), st.sampled_from(sorted(_COMPUTING)), _back, _back),
    st.builds(Step, st.just("write"), st.sampled_from(sorted(_WRITING)), _back, _back),
)


class Program(nn.Module):
    """Runs the steps; each makes one node, and its result is what eager mode makes of it."""

    def __init__(self, steps: list[Step]):
        super().__init__()
        self.steps = steps
        self.quiet = nn.Hardtanh()
        self.writing = nn.ReLU(inplace=True)
        self.eager: list[torch.Tensor] = []

    def forward(self, x):
        values: list[Any] = [x]
        for step in self.steps:
            result = self._run(
                step, values[-1 - step.on % len(values)], values[-1 - step.other % len(values)]
            )
            values.append(result)
            if isinstance(result, torch.Tensor):
                self.eager.append(result.clone())
        return values[-1]

    def _run(self, step: Step, a: Any, b: Any) -> Any:
        if step.kind == "view":
            return _VIEWS[step.operation](a) if step.operation != "view" else a.view(2, 2)
        if step.operation == "leaf":
            return (self.quiet if step.kind == "compute" else self.writing)(a)
        if step.operation == "iadd":
            a += b
            return a
        if step.operation == "setitem":
            a[0] = 7.0
            return a
        return {**_COMPUTING, **_WRITING}[step.operation](a, b)


def _eager(steps: list[Step], x: torch.Tensor) -> list[torch.Tensor] | None:
    program = Program(steps)
    try:
        program(x.clone())
    except RuntimeError:
        return None  # such as writing with overlapping memory: no program of torch's
    return program.eager


@given(st.lists(_STEPS, min_size=1, max_size=8))
def test_every_value_of_a_random_program_is_the_one_of_eager_mode(steps):
    x = torch.tensor([[1.0, -2.0], [-3.0, 4.0]])
    truth = _eager(steps, x)
    if truth is None:
        return
    program = Program(steps)
    tracer = NodePathTracer()
    graph = tracer.trace(program)
    names = [name for node, name in tracer.node_to_qualname.items() if node.op != "placeholder"]
    assert len(names) == len(steps)
    everything = copied(create_feature_extractor(graph, names)(x.clone()))
    for name, step, value in zip(names, steps, truth, strict=True):
        if step.operation == "setitem":
            continue  # the node is the statement, which has no value
        assert same(everything[name], value), (name, "with all others")
        alone = create_feature_extractor(graph, [name])(x.clone())
        assert same(alone[name], value), (name, "alone")


# --- what is kept --------------------------------------------------------------------


def executed(extractor) -> list[fx.Node]:
    return [n for n in extractor.eval_graph.nodes if n.op not in ("placeholder", "output")]


def test_nothing_after_the_last_wanted_node_runs_or_is_held():
    model = torchvision.models.resnet18(weights=None).eval()
    extractor = create_feature_extractor(model, ["layer1"])
    assert [name for name, _ in extractor.named_children()] == [
        "conv1",
        "bn1",
        "relu",
        "maxpool",
        "layer1",
    ]
    held = sum(p.numel() for p in extractor.parameters())
    assert held < sum(p.numel() for p in model.parameters()) / 10


def test_an_early_layer_of_a_vision_transformer_needs_few_nodes():
    model = torchvision.models.vit_b_16(weights=None).eval()
    extractor = create_feature_extractor(model, ["encoder.layers.encoder_layer_2"])
    assert len(list(extractor.eval_graph.nodes)) <= 48
    assert not any("encoder_layer_3" in name for name, _ in extractor.named_modules())


def test_a_branch_that_no_value_needs_is_left_out():
    class Branches(nn.Module):
        def __init__(self):
            super().__init__()
            self.left, self.right, self.last = nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 2)

        def forward(self, x):
            left, right = self.left(x), self.right(x)
            return self.last(left) + right

    extractor = create_feature_extractor(Branches(), ["last"])
    assert [name for name, _ in extractor.named_children()] == ["left", "last"]


def test_only_values_that_are_overwritten_are_copied():
    model = torchvision.models.resnet18(weights=None).eval()
    copies = {}
    for last in ("layer4", "bn1"):
        extractor = create_feature_extractor(model, ["relu", "layer1", last])
        copies[last] = sum("snapshot" in str(node.target) for node in executed(extractor))
    assert copies == {"layer4": 0, "bn1": 1}  # the ReLU after bn1 works in place


def test_a_model_of_in_place_operations_alone_is_right():
    """torchvision drops these operations as dead, which makes its mvit_v2_s wrong."""
    model = torchvision.models.video.MViT(
        spatial_size=(32, 32),
        temporal_size=4,
        block_setting=[
            torchvision.models.video.mvit.MSBlockConfig(
                1, 16, 32, (3, 3, 3), (3, 3, 3), (1, 1, 1), (1, 2, 2)
            ),
            torchvision.models.video.mvit.MSBlockConfig(
                2, 32, 32, (3, 3, 3), (3, 3, 3), (1, 2, 2), (1, 1, 1)
            ),
        ],
        residual_pool=True,
        residual_with_cls_embed=False,
        rel_pos_embed=True,
        proj_after_attn=True,
    ).eval()
    clip = torch.rand(1, 3, 4, 32, 32)
    truth = returned_by_modules(model, (clip,))
    specs = ["blocks.0.attn", "blocks.0", "blocks.1", "norm", "head"]
    for chosen in (specs, *([spec] for spec in specs)):
        values = create_feature_extractor(model, chosen)(clip)
        assert all(same(values[spec], truth[spec][-1]) for spec in chosen)


# --- what operations are known to do -------------------------------------------------


def _effects_of(model: nn.Module):
    graph = NodePathTracer().trace(model)
    modules = dict(model.named_modules())
    last = [node for node in graph.nodes if node.op.startswith("call")][-1]
    found = effects(last, modules)
    return bool(found.writes), bool(found.shares)


@pytest.mark.parametrize(
    ("module", "writes_shares"),
    [
        (nn.Conv2d(3, 3, 1), (False, False)),
        (nn.ReLU(), (False, False)),
        (nn.ReLU(inplace=True), (True, True)),
        (nn.Dropout(), (False, True)),
        (nn.Identity(), (False, True)),
        (nn.Flatten(), (False, True)),
        (torchvision.ops.DropBlock2d(0.5, 3, inplace=True), (True, True)),
        (torchvision.ops.StochasticDepth(0.5, "row"), (False, True)),
        (torchvision.ops.Conv2dNormActivation(3, 3), (False, False)),
    ],
    ids=str,
)
def test_what_a_leaf_module_may_do_to_memory(module, writes_shares):
    graph = fx.Graph()
    node = graph.call_module("m", (graph.placeholder("x"),))
    found = effects(node, {"m": module})
    assert (bool(found.writes), bool(found.shares)) == writes_shares


@pytest.mark.parametrize(
    ("operation", "writes_shares"),
    [
        (lambda x: x + 1, (False, False)),
        (lambda x: x.add_(1), (True, True)),
        (torch.relu_, (True, True)),
        (lambda x: nn.functional.relu(x, inplace=True), (True, True)),
        (lambda x: nn.functional.relu(x, True), (True, True)),
        (nn.functional.relu, (False, False)),
        (lambda x: x.view(-1), (False, True)),
        (lambda x: x[0], (False, True)),
        (torch.flatten, (False, True)),
        (lambda x: nn.functional.dropout(x, 0.0), (False, True)),
        (lambda x: torch.add(x, 1, out=x), (True, True)),
        (lambda x: torch.matmul(x, x), (False, False)),
    ],
)
def test_what_an_operation_may_do_to_memory(operation, writes_shares):
    class Runs(nn.Module):
        def forward(self, x):
            return operation(x)

    writes, shares = _effects_of(Runs())
    assert writes == writes_shares[0]
    if operation is not nn.functional.relu:  # whose schema is shared with the in-place one
        assert shares == writes_shares[1]


def test_torchs_own_marks_tell_which_operations_draw_random_numbers():
    drawing = [torch.rand, torch.randn_like, torch.bernoulli, torch.Tensor.normal_, torch.dropout]
    assert all(map(draws_random_numbers, drawing))
    assert not any(
        map(draws_random_numbers, [torch.zeros, torch.add, torch.relu, torch.Tensor.add_])
    )
