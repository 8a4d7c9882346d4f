"""Recorded nodes and extractors, against plain runs of the same models."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import random
import threading
import warnings

import pytest
import torch
import torchvision
from torch import fx, nn
from torch.overrides import _get_current_function_mode_stack

from fxexplore.feature_extraction import create_feature_extractor
from fxexplore.feature_extraction.common.tensors import TensorInfo, tensors_in
from fxexplore.feature_extraction.recorded.extractor import RecordedFeatureExtractor
from fxexplore.feature_extraction.recorded.recorder import record
from fxexplore.feature_extraction.symbolic.trace import traced
from tests.models import IMAGE, ODD, UNTRACEABLE, VECTOR

RUNNABLE = {name: case for name, case in {**ODD, **UNTRACEABLE}.items() if name != "Raises"}


def extractor_of(model, keys, args, kwargs=None, **options):
    recording = record(model, args, kwargs, **options)
    keys = keys if isinstance(keys, dict) else {key: key for key in keys}
    if model.training:
        return RecordedFeatureExtractor(model, keys, {}, recording, None)
    return RecordedFeatureExtractor(model, {}, keys, None, recording)


def cloned(value):
    if isinstance(value, torch.Tensor):
        return value.detach().clone()
    if isinstance(value, (list, tuple)):
        return [cloned(item) for item in value]
    if isinstance(value, dict):
        return {key: cloned(item) for key, item in value.items()}
    return [cloned(item) for item in tensors_in(value)]


def module_outputs(model, args, kwargs=None):
    """What every module returned at its last call, by forward hooks of a plain run."""
    outputs, handles = {}, []
    for path, module in model.named_modules():
        if path:

            def hook(_module, _args, output, path=path):
                outputs.pop(path, None)
                outputs[path] = cloned(output)

            handles.append(nn.Module.register_forward_hook(module, hook))
    try:
        with torch.no_grad():
            torch.manual_seed(0)
            model(*args, **(kwargs or {}))
    finally:
        for handle in handles:
            handle.remove()
    return outputs


def state_of(model):
    """Everything of a model that a run must leave as it was."""
    return {
        "flags": [module.training for module in model.modules()],
        "hooks": [
            (len(module._forward_hooks), len(module._forward_pre_hooks))
            for module in model.modules()
        ],
        "attributes": [sorted(vars(module)) for module in model.modules()],
        "state": {key: value.clone() for key, value in state_dict(model).items()},
        "grads": [parameter.grad for parameter in model.parameters()],
        "random": torch.get_rng_state(),
        "python random": random.getstate(),
    }


def state_dict(model):
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


def assert_untouched(model, before):
    after = state_of(model)
    for part in ("flags", "hooks", "attributes", "grads", "python random"):
        assert after[part] == before[part], part
    assert torch.equal(after["random"], before["random"])
    for key, value in before["state"].items():
        torch.testing.assert_close(after["state"][key], value, rtol=0, atol=0, equal_nan=True)


def assert_nothing_patched():
    assert not _get_current_function_mode_stack()
    assert type(torch.autograd.Function.__dict__["apply"]) is _TYPE_OF_APPLY
    now = _patchable()
    assert [name for name, function in _PATCHABLE.items() if now[name] is not function] == []
    assert not torch.nn.modules.module._global_forward_hooks


def _patchable():
    from torch.fx._symbolic_trace import _wrapped_fns_to_patch

    found = {"__call__": nn.Module.__call__, "__getattr__": nn.Module.__getattr__}
    for module in (torchvision.ops, torchvision.models.swin_transformer):
        found.update({(module.__name__, name): value for name, value in vars(module).items()})
    for (_, name), scope in _wrapped_fns_to_patch.items():
        found[scope.get("__name__"), name] = scope.get(name)
    return found


_TYPE_OF_APPLY = type(torch.autograd.Function.__dict__["apply"])
_PATCHABLE = _patchable()


@pytest.fixture(autouse=True)
def nothing_is_left_patched():
    yield
    assert_nothing_patched()


def check_modules(model, args, kwargs=None, options=None):
    """Every module's output, extracted all at once, equals the plain run's."""
    expected = module_outputs(model, *fresh(args, kwargs))
    before = state_of(model)
    recording = record(model, *fresh(args, kwargs), **(options or {}))
    assert_untouched(model, before)
    reached = [path for path in expected if path in recording.module_returns]
    leaves = {n.target: n.name for n in recording.nodes.values() if n.op == "call_module"}
    keys = {path: path for path in reached} | {
        name: path for path, name in leaves.items() if path in expected
    }
    mode = "train" if model.training else "eval"
    extractor = RecordedFeatureExtractor(
        model,
        keys if mode == "train" else {},
        keys if mode == "eval" else {},
        recording if mode == "train" else None,
        recording if mode == "eval" else None,
    )
    with torch.no_grad():
        torch.manual_seed(0)
        a, k = fresh(args, kwargs)
        values = extractor(*a, **k)
    assert set(values) == set(keys.values())
    for key, value in values.items():
        torch.testing.assert_close(
            cloned(value), expected[key], rtol=0, atol=0, equal_nan=True, msg=lambda m, k=key: k + m
        )
    inside_leaves = tuple(path + "." for path in recording.leaf_spec.leaves)
    missed = [p for p in expected if p not in keys.values() and not p.startswith(inside_leaves)]
    assert missed == []
    assert sum(module._forward_hooks != {} for module in model.modules()) == sum(
        hooks != 0 for hooks, _ in before["hooks"]
    )
    return recording


def fresh(args, kwargs):
    return copy.deepcopy(args), copy.deepcopy(kwargs or {})


# --- names ---------------------------------------------------------------------------

# What symbolic tracing evaluates while it traces, a real run shows.
EXPECTED_DIFFERENCES = {
    "StrangeNames": "an fx.GraphModule cannot run a child that is called 'dotted.name'",
    "WritesIntoAConstant": "a tensor made of constants alone is computed while tracing",
    "ReadsParametersAsAList": "parameters that come out of parameters() are no proxies",
    "DrawsInForward": "a tensor made of constants alone is computed while tracing",
    "ManyInputs": "items of *args are nodes of their own",
}


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
    different = set(symbolic) ^ set(recording.names)
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


def test_what_reads_a_value_of_buffers_alone_does_not_seem_to_read_the_inputs():
    nodes = record(Sizes().eval(), (VECTOR,)).nodes
    product = next(node for node in nodes.values() if node.name == "mul")
    assert product.inputs == ("rows",)
    last = next(node for node in nodes.values() if node.name == "mul_2")
    assert last.inputs == ("getitem_3", "rows")


def test_a_size_kept_in_an_attribute_is_not_taken_for_a_constant():
    class Sized(Sizes):
        def forward(self, x):
            self.count = x.shape[0]
            return (self.rows * self.count)[:1] + x * 2

    recorded, traced_ones = recorded_and_traced_names(Sized().eval(), (VECTOR,))
    assert recorded == traced_ones


SMALL_TORCHVISION = {
    "resnet18": (2, 3, 32, 32),
    "shufflenet_v2_x0_5": (2, 3, 32, 32),
    "swin_t": (1, 3, 64, 64),
    "vit_b_32": (1, 3, 224, 224),
    "mobilenet_v3_small": (2, 3, 32, 32),
    "r3d_18": (2, 3, 2, 16, 16),
    "lraspp_mobilenet_v3_large": (2, 3, 64, 64),
}


def torchvision_model(name, training=False):
    options = {"weights": None}
    if name in ("googlenet", "inception_v3"):
        options["init_weights"] = False
    if name.startswith(
        ("fcn", "deeplab", "lraspp", "faster", "mask", "keypoint", "retina", "fcos")
    ):
        options["weights_backbone"] = None
    if name.startswith("ssd"):
        options["weights_backbone"] = None
    torch.manual_seed(0)
    return torchvision.models.get_model(name, **options).train(training)


@pytest.mark.parametrize("name", SMALL_TORCHVISION)
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


# --- nodes and edges -----------------------------------------------------------------


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
    assert inputs == ["batch", "pair", "scale", "extra"]
    assert recording.nodes["mul"].inputs == ("batch", "pair")


def test_tensors_are_not_kept_alive():
    import gc
    import weakref

    class Makes(nn.Module):
        def forward(self, x):
            y = x * 2
            made.append(weakref.ref(y))
            return y + 1

    made = []
    recording = record(Makes(), (VECTOR,))
    gc.collect()
    assert made[0]() is None
    assert recording.nodes["mul"].output.shape == (2, 4)


def test_leaf_modules_are_the_callers():
    class Block(nn.Sequential):
        pass

    model = nn.Sequential(Block(nn.Linear(4, 4), nn.ReLU()), nn.ReLU()).eval()
    assert list(record(model, (VECTOR,)).nodes) == ["input", "0.0", "0.1", "1"]
    leaves = {"leaf_modules": {Block}}
    assert list(record(model, (VECTOR,), tracer_kwargs=leaves).nodes) == ["input", "0", "1"]


# --- every module's value ------------------------------------------------------------


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("name", sorted(RUNNABLE))
def test_odd_models_give_what_forward_hooks_give(name, training):
    case = RUNNABLE[name]
    args, kwargs = case.inputs()
    model = case.model(training)
    if case.counts or name in ("MoreInTrainMode", "FrozenBatchNorm"):
        model = model.eval()
    check_modules(model, args, kwargs)


@pytest.mark.parametrize(
    "name",
    [
        "fasterrcnn_mobilenet_v3_large_320_fpn",
        "ssdlite320_mobilenet_v3_large",
        pytest.param("retinanet_resnet50_fpn", marks=pytest.mark.slow),
        pytest.param("keypointrcnn_resnet50_fpn", marks=pytest.mark.slow),
    ],
)
def test_detectors_give_what_forward_hooks_give(name):
    model = torchvision_model(name)
    if hasattr(model.transform, "min_size"):
        model.transform.min_size, model.transform.max_size = (64,), 96
    generator = torch.Generator().manual_seed(0)
    images = [
        torch.rand(3, 64, 64, generator=generator),
        torch.rand(3, 48, 64, generator=generator),
    ]
    recording = check_modules(model, (images,))
    assert "backbone" in recording.module_returns


def test_optical_flow_gives_what_forward_hooks_give():
    model = torchvision_model("raft_small")
    generator = torch.Generator().manual_seed(0)
    pair = (torch.rand(1, 3, 128, 128, generator=generator), torch.rand(1, 3, 128, 128))
    check_modules(model, pair, {"num_flow_updates": 2})


def tiny_transformers():
    transformers = pytest.importorskip("transformers")
    size = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    size |= {"intermediate_size": 32}
    ids = torch.arange(6)[None]
    picture = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    sound = torch.rand(1, 80, 60, generator=torch.Generator().manual_seed(0))
    t = transformers
    text = {"vocab_size": 50}
    return {
        "bert": lambda: (
            t.BertModel(t.BertConfig(**size, **text)),
            {"input_ids": ids, "attention_mask": torch.ones(1, 6, dtype=torch.long)},
        ),
        "gpt2": lambda: (
            t.GPT2Model(t.GPT2Config(n_embd=16, n_layer=2, n_head=2, n_positions=32, **text)),
            {"input_ids": ids},
        ),
        "llama": lambda: (
            t.LlamaModel(t.LlamaConfig(**size, **text, num_key_value_heads=2)),
            {"input_ids": ids},
        ),
        "vit": lambda: (
            t.ViTModel(t.ViTConfig(**size, image_size=32, patch_size=8)),
            {"pixel_values": picture},
        ),
        "clip": lambda: (
            t.CLIPModel(
                t.CLIPConfig(
                    text_config={**size, **text, "projection_dim": 8, "eos_token_id": 5},
                    vision_config={**size, "image_size": 32, "patch_size": 8},
                    projection_dim=8,
                )
            ),
            {"input_ids": ids, "pixel_values": picture},
        ),
        "t5": lambda: (
            t.T5Model(t.T5Config(d_model=16, d_kv=8, d_ff=32, num_layers=2, num_heads=2, **text)),
            {"input_ids": ids, "decoder_input_ids": ids},
        ),
        "whisper": lambda: (
            t.WhisperModel(
                t.WhisperConfig(
                    d_model=16, encoder_layers=2, decoder_layers=2, encoder_attention_heads=2,
                    decoder_attention_heads=2, encoder_ffn_dim=32, decoder_ffn_dim=32,
                    max_source_positions=30, max_target_positions=20, vocab_size=50,
                    pad_token_id=0, bos_token_id=1, eos_token_id=2, decoder_start_token_id=1,
                )
            ),
            {"input_features": sound, "decoder_input_ids": ids},
        ),
    }  # fmt: skip


@pytest.mark.parametrize("name", ["bert", "gpt2", "llama", "vit", "clip", "t5", "whisper"])
def test_transformers_give_what_forward_hooks_give(name):
    torch.manual_seed(0)
    model, inputs = tiny_transformers()[name]()
    check_modules(model.eval(), (), inputs)


@pytest.mark.parametrize("name", ["test_vit", "levit_128s", "test_byobnet"])
def test_timm_models_give_what_forward_hooks_give(name):
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    model = timm.create_model(name, pretrained=False).eval()
    check_modules(model, (torch.rand(1, *model.pretrained_cfg["input_size"]),))


def test_batch_norm_statistics_are_put_back_in_train_mode():
    model = torchvision_model("resnet18", training=True)
    images = torch.randn(2, 3, 32, 32)
    before = state_of(model)
    record(model, (images,))
    assert_untouched(model, before)


# --- operations ----------------------------------------------------------------------


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


@pytest.mark.parametrize("name", ["resnet18", "swin_t", "shufflenet_v2_x0_5"])
def test_all_nodes_equal_symbolic_nodes(name):
    from fxexplore.feature_extraction import create_feature_extractor

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


def test_lists_that_grow_later_are_as_they_were_returned():
    class Lists(nn.Module):
        def forward(self, x):
            return [x * 2]

    class Grows(nn.Module):
        def __init__(self):
            super().__init__()
            self.lists = Lists()
            self.fc = nn.Linear(4, 4)

        def forward(self, x):
            outputs = self.lists(x)
            outputs.append(x)
            return self.fc(outputs[0])

    values = extractor_of(Grows(), ["lists", "fc"], (VECTOR,))(VECTOR)
    assert len(values["lists"]) == 1


# --- runs that end early, or elsewhere -----------------------------------------------


class StopsAt(nn.Module):
    """A model whose later part must not be reached."""

    def __init__(self):
        super().__init__()
        self.early = nn.Linear(4, 4)
        self.block = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
        self.late = nn.Linear(4, 4)
        self.fails = False

    def forward(self, x):
        try:
            with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
                x = self.block(self.early(x) + 1)
        except Exception:  # noqa: BLE001
            x = x * 0
        if self.fails:
            raise RuntimeError("too late")
        return self.late(x.float())


@pytest.mark.parametrize("spec", ["early", "add", "block.0", "block", "x"])
def test_nothing_after_the_last_wanted_value_runs(spec):
    model = StopsAt().eval()
    extractor = extractor_of(model, [spec], (VECTOR,))
    model.fails = True
    before = state_of(model)
    torch.set_grad_enabled(True)
    value = extractor(VECTOR)[spec]
    assert torch.is_grad_enabled()
    assert not torch.is_autocast_enabled("cpu")
    assert_untouched(model, before)
    assert value.shape == (2, 4)


def test_a_model_that_catches_everything_cannot_swallow_the_end():
    class Swallows(StopsAt):
        def forward(self, x):
            try:
                x = self.early(x)
            except BaseException:  # noqa: BLE001
                x = x * 0
            return self.late(x) + 1

    model = Swallows()
    for specs in (["early"], ["early", "x"]):
        torch.testing.assert_close(
            extractor_of(model, specs, (VECTOR,))(VECTOR)["early"], model.early(VECTOR)
        )


def test_a_value_that_is_not_reached_is_an_error_that_names_it_and_the_shapes():
    class Branches(nn.Module):
        def __init__(self):
            super().__init__()
            self.positive, self.negative = nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, x):
            return self.positive(x) if x.sum() > 0 else self.negative(x) * 2

    model = Branches()
    for spec in ("negative", "mul"):
        extractor = extractor_of(model, [spec], (-torch.ones(2, 4),))
        with pytest.raises(RuntimeError, match=f"'{spec}' was not reached on inputs .3×4."):
            extractor(torch.ones(3, 4))


def test_the_last_call_of_a_module_in_a_loop_is_the_last_on_these_inputs():
    class Loops(nn.Module):
        def __init__(self):
            super().__init__()
            self.block = nn.Sequential(nn.Linear(4, 4))

        def forward(self, x, times):
            for _ in range(times):
                x = self.block(x)
            return x

    model = Loops()
    extractor = extractor_of(model, ["block"], (VECTOR, 2))
    torch.testing.assert_close(extractor(VECTOR, 5)["block"], model(VECTOR, 5))


def test_unknown_names_are_errors_that_list_near_ones():
    model = torchvision_model("resnet18")
    recording = record(model, (torch.randn(1, 3, 32, 32),))
    with pytest.raises(ValueError, match=r"Did you mean: .*layer1\.0\.conv1"):
        RecordedFeatureExtractor(model, {}, {"layer1.0.conv": "a"}, None, recording)
    extractor = RecordedFeatureExtractor(model, {}, {"layer1": "a"}, None, recording)
    with pytest.raises(RuntimeError, match="recorded in eval mode only"):
        extractor.train()(torch.randn(2, 3, 32, 32))


def test_a_model_that_raises_is_left_as_it_was():
    class Raises(nn.Module):
        def __init__(self):
            super().__init__()
            self.bn = nn.BatchNorm1d(4)
            self.register_buffer("calls", torch.zeros(()))

        def forward(self, x):
            self.calls.add_(1)
            self.extra = self.bn(x)
            self.train(False)
            random.random()
            torch.rand(2)
            if x.shape[0] == 2:
                raise ArithmeticError("half-way")
            return self.extra

    model, three = Raises().train(), torch.randn(3, 4)
    before = state_of(model)
    with pytest.raises(ArithmeticError, match="half-way"):
        record(model, (VECTOR,))
    assert_untouched(model, before)
    extractor = extractor_of(model, ["bn"], (three,))
    assert_untouched(model, before)
    assert extractor(VECTOR)["bn"].shape == (2, 4)  # stops before it raises


def test_inputs_and_parameters_that_forward_overwrites_are_put_back():
    class Writes(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.randn(4))
            self.embedding = nn.Embedding(3, 4, max_norm=0.1)
            self.relu = nn.ReLU(inplace=True)

        def forward(self, x):
            with torch.no_grad():
                self.weight[:2].clamp_(min=5)
            return self.relu(x) * self.weight + self.embedding(torch.tensor(1))

    model, x = Writes(), VECTOR.clone()
    before = state_of(model)
    record(model, (x,))
    assert_untouched(model, before)
    assert torch.equal(x, VECTOR)


# --- as a module ---------------------------------------------------------------------


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


@pytest.mark.parametrize("specs", [["layer2"], ["layer2", "layer1.0.add"]])
def test_threads_run_one_extractor_at_once(specs):
    model = torchvision_model("resnet18")
    images = [torch.randn(1, 3, 32, 32) for _ in range(4)]
    extractor = extractor_of(model, specs, (images[0],))
    with torch.no_grad():
        expected = [extractor(image)["layer2"] for image in images]
    wrong = []

    def work(index):
        with torch.no_grad():
            values = [extractor(images[index])["layer2"] for _ in range(5)]
        wrong.extend(index for value in values if not torch.equal(value, expected[index]))

    in_threads(work, 4)
    assert wrong == []
    assert all(not module._forward_hooks for module in model.modules())


def in_threads(work, count):
    errors = []

    def guarded(index):
        try:
            work(index)
        except Exception as error:  # noqa: BLE001
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(index,)) for index in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


def test_threads_record_while_others_run_the_model():
    model = torchvision_model("shufflenet_v2_x0_5")
    image = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        expected, names = model(image), list(record(model, (image,)).nodes)

    def work(index):
        for _ in range(3):
            if index % 2:
                assert list(record(model, (image,)).nodes) == names
            else:
                with torch.no_grad():
                    assert torch.equal(model(image), expected)

    in_threads(work, 4)
    assert all(not m._forward_hooks and not m._forward_pre_hooks for m in model.modules())


@pytest.mark.parametrize("spec", ["layer2", "layer1.0.add"])
def test_threads_record_and_extract_from_one_model(spec):
    model = torchvision_model("resnet18")
    image = torch.randn(1, 3, 32, 32)
    expected = extractor_of(model, [spec], (image,))(image)[spec]

    def work(_index):
        for _ in range(4):
            value = extractor_of(model, [spec], (image,))(image)[spec]
            assert torch.equal(value, expected)

    in_threads(work, 4)
    assert all(not m._forward_hooks and not m._forward_pre_hooks for m in model.modules())


def test_recordings_can_be_pickled():
    model = torchvision_model("swin_t")
    recording = record(model, (torch.randn(1, 3, 64, 64),))
    twin = pickle.loads(pickle.dumps(recording))
    assert twin.nodes.keys() == recording.nodes.keys()
    assert ("torchvision.ops.stochastic_depth", "stochastic_depth") in twin.leaf_spec.wrapped


def test_a_recording_around_another_sees_none_of_its_book_keeping():
    class Inner(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("scale", torch.ones(4))
            self.drop = nn.Dropout()

        def forward(self, x):
            return self.drop(x).contiguous() * self.scale

    inner = Inner().eval()

    class Outer(nn.Module):
        def forward(self, x):
            record(inner, (x,))
            return x + 1

    names = list(record(Outer(), (VECTOR,)).nodes)
    assert names == ["x", "contiguous", "mul", "add"] or names[-1] == "add"
    assert not {"clone", "view_as", "equal", "untyped_storage"} & set(names)


def test_recording_nests():
    inner = nn.Sequential(nn.Linear(4, 4), nn.ReLU()).eval()

    class Nests(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = inner
            self.fc = nn.Linear(4, 4)

        def forward(self, x):
            names.append(list(record(self.inner, (x,)).nodes))
            return self.fc(self.inner(extractor(x)["0"])) + 1

    names = []
    extractor = extractor_of(inner, ["0"], (VECTOR,))
    recording = record(Nests().eval(), (VECTOR,))
    assert names == [["input", "0", "1"]]
    assert list(recording.nodes)[-2:] == ["fc", "add"]
    values = extractor_of(Nests().eval(), ["add"], (VECTOR,))(VECTOR)
    assert values["add"].shape == (2, 4)


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


def test_copied_containers_keep_their_kind():
    @dataclasses.dataclass
    class Pair:
        a: torch.Tensor

    class Gives(nn.Module):
        def forward(self, x):
            return Pair(x * 2), {"b": x * 3}

    class Overwrites(nn.Module):
        def __init__(self):
            super().__init__()
            self.gives = Gives()
            self.fc = nn.Linear(4, 4)

        def forward(self, x):
            pair, more = self.gives(x)
            pair.a.zero_()
            more["b"].zero_()
            more["c"] = 1
            return self.fc(x)

    pair, more = extractor_of(Overwrites(), ["gives", "fc"], (VECTOR,))(VECTOR)["gives"]
    assert isinstance(pair, Pair)
    torch.testing.assert_close(pair.a, VECTOR * 2)
    assert list(more) == ["b"]
    torch.testing.assert_close(more["b"], VECTOR * 3)


def test_hooks_of_the_model_run_and_show_in_the_values():
    model = nn.Sequential(nn.Linear(4, 4), nn.Sequential(nn.Linear(4, 4)), nn.ReLU()).eval()
    model[0].register_forward_hook(lambda _m, _a, output: output * 2)
    model[1].register_forward_hook(lambda _m, _a, output: output + 1)
    check_modules(model, (VECTOR,))
    recording = record(model, (VECTOR,))
    assert recording.nodes["2"].inputs == recording.module_returns["1"].nodes


def test_shared_modules_answer_to_both_paths_with_their_last_call():
    case = ODD["SharedUnderTwoPaths"]
    model = case.model()
    paths = [path for path, _ in model.named_modules(remove_duplicate=False) if path]
    expected = module_outputs(model, case.args)
    first = {module: path for path, module in model.named_modules()}
    second = next(path for path in paths if path not in first.values())
    value = extractor_of(model, [second], case.args)(*case.args)[second]
    torch.testing.assert_close(value, expected[first[model.get_submodule(second)]])


def test_meta_models_are_recorded_without_computing():
    with torch.device("meta"):
        model = torchvision.models.resnet18(weights=None).eval()
        recording = record(model, (torch.empty(1, 3, 64, 64),))
    assert recording.module_returns["layer4"].output.shape == (1, 512, 2, 2)


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


def test_images_of_any_size_go_through_one_extractor():
    model = torchvision_model("resnet18")
    extractor = extractor_of(model, ["layer1"], (IMAGE.new_zeros(1, 3, 32, 32),))
    assert extractor(torch.zeros(2, 3, 48, 64))["layer1"].shape == (2, 64, 12, 16)
