"""What every module returned: recorded extraction against forward hooks of a plain run."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import nn

from fxexplore.feature_extraction.recorded.recorder import record
from tests.feature_extraction.recorded.plain_runs import (
    check_modules,
    extractor_of,
    module_outputs,
    torchvision_model,
)
from tests.marks import mostly_thorough
from tests.models import IMAGE, ODD, UNTRACEABLE, VECTOR

RUNNABLE = {name: case for name, case in {**ODD, **UNTRACEABLE}.items() if name != "Raises"}


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
        pytest.param("fasterrcnn_mobilenet_v3_large_320_fpn", marks=pytest.mark.thorough),
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


@pytest.mark.parametrize(
    "name", mostly_thorough(["bert", "gpt2", "llama", "vit", "clip", "t5", "whisper"], "gpt2", "t5")
)
def test_transformers_give_what_forward_hooks_give(name):
    torch.manual_seed(0)
    model, inputs = tiny_transformers()[name]()
    check_modules(model.eval(), (), inputs)


@pytest.mark.parametrize(
    "name", mostly_thorough(["test_vit", "levit_128s", "test_byobnet"], "test_vit")
)
def test_timm_models_give_what_forward_hooks_give(name):
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    model = timm.create_model(name, pretrained=False).eval()
    check_modules(model, (torch.rand(1, *model.pretrained_cfg["input_size"]),))


def test_hooks_of_the_model_run_and_show_in_the_values():
    model = nn.Sequential(nn.Linear(4, 4), nn.Sequential(nn.Linear(4, 4)), nn.ReLU()).eval()
    model[0].register_forward_hook(lambda _m, _a, output: output * 2)
    model[1].register_forward_hook(lambda _m, _a, output: output + 1)
    check_modules(model, (VECTOR,))
    recording = record(model, (VECTOR,))
    assert recording.nodes["2"].inputs == ("1.add",)


def test_shared_modules_answer_to_both_paths_with_their_last_call():
    case = ODD["SharedUnderTwoPaths"]
    model = case.model()
    paths = [path for path, _ in model.named_modules(remove_duplicate=False) if path]
    expected = module_outputs(model, case.args)
    first = {module: path for path, module in model.named_modules()}
    second = next(path for path in paths if path not in first.values())
    value = extractor_of(model, [second], case.args)(*case.args)[second]
    torch.testing.assert_close(value, expected[first[model.get_submodule(second)]])


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


def test_images_of_any_size_go_through_one_extractor():
    model = torchvision_model("resnet18")
    extractor = extractor_of(model, ["layer1"], (IMAGE.new_zeros(1, 3, 32, 32),))
    assert extractor(torch.zeros(2, 3, 48, 64))["layer1"].shape == (2, 64, 12, 16)
