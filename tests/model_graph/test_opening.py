import resource
from pathlib import Path

import pytest
import torch
import torchvision
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from fxexplore import create_feature_extractor
from fxexplore.model_graph import Module, open_model
from tests.marks import mostly_thorough
from tests.models import ODD

MODELS = ["resnet18", "mobilenet_v3_small", "googlenet", "swin_t", "vit_b_16"]


def built(name):
    torch.manual_seed(0)
    extra = {"init_weights": False} if name == "googlenet" else {}
    return torchvision.models.get_model(name, weights=None, **extra).eval()


@pytest.mark.parametrize("name", mostly_thorough(MODELS, "resnet18", "vit_b_16"))
def test_shapes_are_those_of_a_real_run(name):
    model = built(name)
    x = torch.randn(1, 3, 224, 224)
    graph = open_model(model, x)
    wanted = [r.name for r in graph.rows if not isinstance(r.item, Module) or r.item.ran]
    with torch.no_grad():
        values = create_feature_extractor(model, wanted, suppress_diff_warning=True)(x)
    for key, value in values.items():
        if isinstance(value, torch.Tensor):
            assert graph[key].shape == tuple(value.shape), key
        else:
            assert graph[key].shape is None, key
        if isinstance(value, torch.Tensor) and not isinstance(graph[key], Module):
            assert f"torch.{graph[key].dtype}" == str(value.dtype)


@pytest.mark.parametrize(
    "name", mostly_thorough(["resnet18", "mobilenet_v3_small", "googlenet"], "resnet18")
)
def test_flops_are_those_of_torchs_own_counter(name):
    model = built(name)
    x = torch.randn(1, 3, 224, 224)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(x)
    assert open_model(model, x).flops == counter.get_total_flops()


@pytest.mark.parametrize("name", mostly_thorough(MODELS, "resnet18"))
def test_parameters_of_the_parts_add_up(name):
    model = built(name)
    graph = open_model(model)
    assert graph.parameters == sum(p.numel() for p in model.parameters())
    for module in graph.modules:
        parameters = model.get_submodule(module.path).parameters()
        assert module.parameters == sum(p.numel() for p in parameters)


def test_a_repeated_call_holds_no_parameters_of_its_own():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(4, 4)

        def forward(self, x):
            return self.linear(self.linear(x))

    first, second = open_model(Twice()).nodes[1:]
    assert (first.parameters, first.call, first.calls) == (20, 1, 2)
    assert (second.parameters, second.call, second.calls) == (0, 2, 2)


def test_operations_say_where_they_are_in_the_code():
    node = open_model(built("resnet18"))["layer1.0.add"]
    file, line = node.source.split(":")
    assert file == "resnet.py"
    source = Path(torchvision.models.resnet.__file__).read_text().splitlines()
    assert source[int(line) - 1].strip() == "out += identity"


def test_operations_on_sizes_are_told_from_tensors():
    kinds = {node.name: node.kind for node in open_model(built("vit_b_16")).nodes}
    assert kinds["_assert"] == kinds["floordiv"] == kinds["getitem"] == "size"
    assert kinds["class_token"] == "parameter"
    assert kinds["reshape"] == "operation"
    assert kinds["encoder.layers.encoder_layer_0.getitem"] == "operation"


@pytest.mark.thorough
def test_a_big_model_on_the_meta_device_opens_without_memory():
    with torch.device("meta"):
        model = torchvision.models.vit_h_14(weights=None)
    x = torch.empty(1, 3, 224, 224, device="meta")
    assert open_model(model, x)["heads.head"].shape == (1, 1000)


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
def test_opening_leaves_numbers_and_flags_alone(odd):
    model = odd.model(training=True)
    before = {k: (v.clone(), v._version) for k, v in model.state_dict(keep_vars=True).items()}
    flags = [module.training for module in model.modules()]
    open_model(model, (odd.args, odd.kwargs) if odd.kwargs else odd.args)
    assert [module.training for module in model.modules()] == flags
    for key, value in model.state_dict(keep_vars=True).items():
        assert torch.equal(value, before[key][0])
        assert value._version == before[key][1]


@pytest.mark.parametrize("mode", ["evaluation", "", 3])
def test_an_unknown_mode_is_refused(mode):
    with pytest.raises(ValueError, match="'eval' or 'train'"):
        open_model(nn.ReLU(), mode=mode)


def test_a_module_with_a_broken_repr_opens():
    class Broken(nn.Conv2d):
        def extra_repr(self):
            raise RuntimeError("no")

    graph = open_model(nn.Sequential(Broken(3, 1, 1)), tracer_kwargs={"leaf_modules": [Broken]})
    assert graph["0"].description == "Broken"


def test_shapes_stop_where_fake_tensors_cannot_go():
    class Numpy(nn.Module):
        def forward(self, x):
            return torch.from_numpy(x.numpy() + 1)

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Conv2d(3, 4, 1), Numpy()

        def forward(self, x):
            return self.second(self.first(x))

    graph = open_model(Model(), tracer_kwargs={"leaf_modules": [Numpy]})
    assert graph["first"].shape == (1, 4, 224, 224)
    assert graph["second"].shape is None
    assert graph.flops_at_least


@pytest.mark.thorough
def test_a_language_model_of_70_billion_parameters_opens_without_memory():
    transformers = pytest.importorskip("transformers")
    config = transformers.LlamaConfig(
        hidden_size=8192,
        intermediate_size=28672,
        num_hidden_layers=80,
        num_attention_heads=64,
        num_key_value_heads=8,
        vocab_size=128_256,
    )
    with torch.device("meta"):
        model = transformers.LlamaForCausalLM(config)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    graph = open_model(model)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 500_000, "kilobytes; the model would take 280 GB"
    assert graph.parameters > 70e9
    tokens = graph["input_ids"].shape[1]
    assert graph["lm_head"].shape == (1, tokens, 128_256)
    assert graph["lm_head"].flops == 2 * tokens * 8192 * 128_256
    assert graph["model.layers.79"].shape == (1, tokens, 8192)
    products = sum(p.numel() for p in model.parameters() if p.ndim == 2) - 8192 * 128_256
    assert graph.flops > 2 * tokens * products  # and the attention on top
    assert all(parameter.is_meta for parameter in model.parameters())
