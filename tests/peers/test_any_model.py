"""Whole model zoos: every model opens on inferred inputs, and gives what its modules return.

A table of results is printed by ``pytest -m slow -s tests/peers/test_any_model.py``.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import inspect
import random
import re
import signal
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import pytest
import torch
import torchvision
from torch import nn

from fxexplore import create_feature_extractor
from fxexplore.inputs import example_inputs_for
from fxexplore.model_graph import open_model
from tests.feature_extraction.truth import copied, same
from tests.marks import mostly_thorough

COMPARED = 12  # module outputs of each model
SECONDS = 240  # for each model
LARGEST = 60_000_000  # the most parameters of a tiny transformer


# --- one model -----------------------------------------------------------------------


class Row(NamedTuple):
    """The result for one model."""

    name: str
    opened: bool
    right: bool
    backend: str = ""
    compared: int = 0
    seconds: float = 0.0
    why: str = ""

    def __str__(self) -> str:
        marks = ("opened" if self.opened else "-", "right" if self.right else "-")
        head = f"{self.name:48} {marks[0]:7} {marks[1]:6} {self.backend:9}"
        return f"{head} {self.compared:3} {self.seconds:6.1f}s  {self.why}".rstrip()


class _Slow(BaseException):
    """Raised by the clock; no Exception, which a model may catch."""


@contextlib.contextmanager
def at_most(seconds: int) -> Iterator[None]:
    def ring(*_: Any) -> None:
        raise _Slow

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def looked_at(name: str, build: Callable[[], nn.Module]) -> Row:
    """Build a model, open it and compare; an error becomes a row of the table."""
    start = time.monotonic()
    row = Row(name, opened=False, right=False)
    try:
        with at_most(SECONDS), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.manual_seed(0)
            row = compared(name, build().eval())
    except _Slow:
        row = row._replace(why=f"took over {SECONDS} s")
    except Exception as error:  # noqa: BLE001 - the table tells
        row = row._replace(why=f"not built: {_words(error)}")
    gc.collect()
    return row._replace(seconds=time.monotonic() - start)


def compared(name: str, model: nn.Module) -> Row:
    """Open a model on inferred inputs, and compare module outputs with forward hooks."""
    row = Row(name, opened=False, right=False)
    try:
        graph = open_model(model)
        inputs = example_inputs_for(model)
    except Exception as error:  # noqa: BLE001 - the table tells
        return row._replace(why=_words(error))
    row = row._replace(opened=True, backend=graph.backend)
    leaves = {node.name for node in graph.nodes if node.kind == "module"}
    try:
        truth = seen_by_hooks(model, inputs.args, inputs.kwargs, leaves)
        with torch.no_grad():
            extractor = create_feature_extractor(
                model,
                list(truth),
                example_inputs=(inputs.args, inputs.kwargs),
                mode="eval",
                suppress_diff_warning=True,
            )
            torch.manual_seed(0)
            values = extractor(*copied_inputs(inputs.args), **copied_inputs(inputs.kwargs))
    except Exception as error:  # noqa: BLE001 - the table tells
        return row._replace(why=_words(error))
    wrong = [path for path in truth if not same(plain(values[path]), truth[path])]
    why = f"differs: {', '.join(wrong)}" if wrong else ""
    return row._replace(right=bool(truth) and not wrong, compared=len(truth), why=why)


def seen_by_hooks(
    model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], leaves: set[str]
) -> dict[str, Any]:
    """What some of the modules that ran returned, as their names mean it.

    The first run says which modules are called, the second copies what a few of them return.
    """
    called: dict[str, None] = {}
    _run_with_hooks(model, args, kwargs, lambda path, _: called.setdefault(path))
    candidates = [path for path in called if path and not _in(path, leaves)]
    chosen = set(random.Random(0).sample(candidates, min(COMPARED, len(candidates))))
    truth: dict[str, Any] = {}

    def keep(path: str, output: Any) -> None:
        # The bare name of a leaf module is its first call, a module's spec is its last.
        if path in chosen and not (path in leaves and path in truth):
            truth[path] = plain(output)

    _run_with_hooks(model, args, kwargs, keep)
    return truth


def _run_with_hooks(
    model: nn.Module,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    see: Callable[[str, Any], Any],
) -> None:
    handles = []
    for path, module in model.named_modules():

        def hook(_module: nn.Module, _args: Any, output: Any, path: str = path) -> None:
            see(path, output)

        handles.append(module.register_forward_hook(hook))
    try:
        with torch.no_grad():
            torch.manual_seed(0)
            model(*copied_inputs(args), **copied_inputs(kwargs))
    finally:
        for handle in handles:
            handle.remove()


def copied_inputs(value: Any) -> Any:
    """The same containers around cloned tensors: a model may write to what it is given."""
    if isinstance(value, torch.Tensor):
        return value.clone()
    if isinstance(value, dict):
        return {key: copied_inputs(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(copied_inputs(item) for item in value)
    return value


def plain(value: Any) -> Any:
    """Copies of the tensors in lists and dicts; objects such as key-value caches as dicts."""
    value = copied(value)
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    if type(value).__module__.startswith("transformers.cache_utils"):
        return plain(vars(value))
    return value


def _in(path: str, leaves: set[str]) -> bool:
    parts = path.split(".")
    return any(".".join(parts[:i]) in leaves for i in range(1, len(parts)))


def _words(error: BaseException) -> str:
    words = f"{type(error).__name__}: {' | '.join(str(error).split(chr(10)))}"
    return words if len(words) < 400 else f"{words[:120]} … {words[-280:]}"


def table(title: str, rows: Iterable[Row]) -> list[Row]:
    """Print the rows as they come, and the sums at the end."""
    print(f"\n{title}")
    done = []
    for row in rows:
        print(row, flush=True)
        done.append(row)
    ways = ", ".join(
        f"{n} {way}" for way, n in Counter(r.backend for r in done if r.opened).items()
    )
    print(
        f"{title}: {sum(r.opened for r in done)} opened ({ways}) and "
        f"{sum(r.right for r in done)} right, of {len(done)}"
    )
    return done


# --- torchvision ---------------------------------------------------------------------

TORCHVISION = torchvision.models.list_models()


def torchvision_model(name: str) -> nn.Module:
    builder = torchvision.models.get_model_builder(name)
    options: dict[str, Any] = {"weights": None}
    if "weights_backbone" in inspect.signature(builder).parameters:
        options["weights_backbone"] = None
    if name in ("googlenet", "inception_v3"):
        options["init_weights"] = False
    return builder(**options)


@pytest.mark.slow
def test_every_model_of_torchvision():
    rows = table(
        "torchvision",
        (looked_at(name, lambda name=name: torchvision_model(name)) for name in TORCHVISION),
    )
    assert [row.name for row in rows if not row.right] == []


# --- timm ----------------------------------------------------------------------------

# Words in names, from small to large; names are ordered by the largest word, then by numbers.
_SIZES = (
    ("test", "zepto", "atto", "femto", "pico", "xxtiny", "xxs", "xxsmall", "nano", "t0", "s0"),
    ("tiny", "xtiny", "xs", "xsmall", "mini", "micro", "b0", "005", "002"),
    ("small", "s", "lite", "18", "26", "t"),
    ("medium", "m", "base", "b", "50", "101"),
    ("large", "l", "xlarge", "xl", "huge", "h", "giant", "g", "gigantic", "so400m", "152"),
)


def _size_by_name(name: str) -> tuple[int, int, str]:
    words = set(name.split("_"))
    ranks = [rank for rank, group in enumerate(_SIZES) if words & set(group)]
    first = 0 if "test" in words else max(ranks, default=2)
    return first, sum(map(int, re.findall(r"\d+", name))), name


class _Built(Exception):  # noqa: N818 - no error
    """Raised with the class that an entry point of timm is about to build."""


def classes_of_timm() -> dict[tuple[str, type], list[str]]:
    """The names of timm's models by the file that they are in and the class that they build."""
    timm = pytest.importorskip("timm")

    def stop(cls: type, *_: Any, **__: Any) -> None:
        raise _Built(cls)

    classes: dict[tuple[str, type], list[str]] = {}
    with pytest.MonkeyPatch.context() as patch:
        for name, module in list(sys.modules.items()):
            if name.startswith("timm.") and hasattr(module, "build_model_with_cfg"):
                patch.setattr(module, "build_model_with_cfg", stop)
        for name in timm.list_models():
            entry = timm.models.model_entrypoint(name)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                try:
                    entry()
                except _Built as built:
                    file = entry.__module__.rpartition(".")[2]
                    classes.setdefault((file, built.args[0]), []).append(name)
    return classes


def smallest_of_timm() -> dict[str, str]:
    """For every class in every file of timm, the name of its smallest variant.

    Those that seem smallest by name are built on the meta device, to count parameters.
    """
    timm = pytest.importorskip("timm")

    def size(name: str) -> int:
        try:
            with torch.device("meta"):
                model = timm.create_model(name, pretrained=False)
        except Exception:  # noqa: BLE001 - its initialisation needs numbers
            model = timm.create_model(name, pretrained=False)
        return sum(p.numel() for p in model.parameters())

    return {
        f"{file}.{cls.__name__}": min(sorted(names, key=_size_by_name)[:4], key=size)
        for (file, cls), names in sorted(classes_of_timm().items(), key=str)
    }


# Classes whose smallest variant takes minutes: the same code with fewer layers, on less.
_SMALLER = {
    "deepseek_vit_": {"depth": 2, "img_size": 182},
    "gemma4_vit_": {"depth": 2, "img_size": 240},
    "qwen3_vit_": {"depth": 2, "img_size": 256},
    "mobilenetv5_": {"img_size": 256},
}


def timm_model(name: str) -> nn.Module:
    options = next((dict(o) for start, o in _SMALLER.items() if name.startswith(start)), {})
    size = options.get("img_size")
    if size is not None:
        options["pretrained_cfg_overlay"] = {"input_size": (3, size, size)}
    if "depth" not in options:
        options.pop("img_size", None)  # it takes any
    return importlib.import_module("timm").create_model(name, pretrained=False, **options)


@pytest.mark.slow
def test_the_smallest_model_of_every_class_of_timm():
    smallest = smallest_of_timm()
    rows = table(
        "timm",
        (
            looked_at(f"{cls} ({name})", lambda name=name: timm_model(name))
            for cls, name in smallest.items()
        ),
    )
    assert len(rows) > 100
    assert [row.name for row in rows if not row.right] == []


# --- transformers --------------------------------------------------------------------

# What makes an architecture small, by the name of the field.
_SMALL: dict[str, int] = {
    **dict.fromkeys(("hidden_size", "d_model", "n_embd", "dim", "emb_dim", "embedding_size"), 32),
    **dict.fromkeys(("embed_dim", "projection_dim", "hidden_dim", "encoder_hidden_size"), 32),
    **dict.fromkeys(("decoder_hidden_size", "d_embed", "word_embed_proj_dim"), 32),
    **dict.fromkeys(("intermediate_size", "encoder_ffn_dim", "decoder_ffn_dim", "ffn_dim"), 64),
    **dict.fromkeys(("d_ff", "n_inner", "d_inner", "mlp_dim", "ffn_hidden_size"), 64),
    **dict.fromkeys(("num_hidden_layers", "num_layers", "n_layer", "n_layers"), 4),
    **dict.fromkeys(("encoder_layers", "decoder_layers", "num_decoder_layers"), 2),
    **dict.fromkeys(("decoder_num_hidden_layers", "encoder_num_hidden_layers", "depth"), 2),
    **dict.fromkeys(("num_attention_heads", "n_head", "n_heads", "num_heads"), 4),
    **dict.fromkeys(("encoder_attention_heads", "decoder_attention_heads"), 4),
    **dict.fromkeys(("decoder_num_attention_heads", "encoder_num_attention_heads"), 4),
    "num_key_value_heads": 4,
    "num_kv_heads": 4,
    **dict.fromkeys(("head_dim", "d_kv", "qk_rope_head_dim", "qk_nope_head_dim"), 8),
    **dict.fromkeys(("v_head_dim", "qk_head_dim", "d_head", "attention_head_dim"), 8),
    **dict.fromkeys(("q_lora_rank", "kv_lora_rank", "moe_intermediate_size"), 16),
    **dict.fromkeys(("num_experts", "num_local_experts", "n_routed_experts"), 4),
    **dict.fromkeys(("num_experts_per_tok", "num_experts_per_token"), 2),
    **dict.fromkeys(("n_group", "topk_group"), 1),
    "vocab_size": 99,
    "max_position_embeddings": 128,
    "max_source_positions": 32,
    "max_target_positions": 32,
    "num_queries": 12,
    "rotary_dim": 4,
    "out_hidden_size": 32,
}
_PICTURE = 64  # pixels


def tiny(config_class: type) -> Any:
    """A configuration of that class with the usual fields made small."""
    default = config_class()
    return config_class(**_shrunk(default))


def _shrunk(config: Any) -> dict[str, Any]:
    fields = {key: value for key, value in vars(config).items() if not key.startswith("_")}
    small: dict[str, Any] = {}
    in_stages = any(isinstance(fields.get(key), (list, tuple)) for key in ("num_heads", "depths"))
    for key, value in fields.items():
        if hasattr(value, "to_dict") and hasattr(value, "model_type"):
            small[key] = {**_shrunk(value), "model_type": value.model_type}
        elif in_stages and key in ("embed_dim", "hidden_size"):
            continue  # the heads of each stage are chosen for it
        elif type(value) is int and key in _SMALL and value > _SMALL[key]:
            small[key] = _SMALL[key]
        elif (
            type(value) is int
            and key.endswith(("_token_id", "_token_index"))
            and value >= _SMALL["vocab_size"]
        ):
            small[key] = 90 + len(small) % 9
    rope = fields.get("rope_parameters")
    if isinstance(rope, dict) and not any(isinstance(part, dict) for part in rope.values()):
        # The sections of the three axes have half of what is rotated of each head.
        half = int(_SMALL["head_dim"] * rope.get("partial_rotary_factor", 1)) // 2
        sections = [half - 2 * (half // 3), half // 3, half // 3]
        small["rope_parameters"] = {**rope, "mrope_section": sections}
    patch = fields.get("patch_size")
    image = fields.get("image_size")
    if type(image) is int and type(patch) is int and patch > 4 and image > 4 * patch:
        small["image_size"] = max(4 * patch, _PICTURE // patch * patch)
    return small


def transformer(model_type: str) -> nn.Module:
    transformers = pytest.importorskip("transformers")
    config = tiny(transformers.CONFIG_MAPPING[model_type])
    cls = transformers.MODEL_MAPPING[type(config)]
    cls = cls[0] if isinstance(cls, (tuple, list)) else cls
    try:
        with torch.device("meta"):
            size = sum(p.numel() for p in cls(config).parameters())
    except Exception:  # noqa: BLE001 - it is weighed with its numbers then
        size = 0
    if size > LARGEST:
        raise ValueError(f"not tiny enough: {size:,} parameters")
    return cls(config)


def transformers_of_all_kinds() -> list[str]:
    transformers = pytest.importorskip("transformers")
    from transformers.models.auto.modeling_auto import MODEL_MAPPING_NAMES

    return [name for name in MODEL_MAPPING_NAMES if name in transformers.CONFIG_MAPPING]


# Architectures that have to be right, each of them.
RIGHT = {
    "text": """
        bert roberta albert distilbert electra deberta-v2 xlm-roberta modernbert mobilebert
        squeezebert convbert fnet funnel big_bird longformer xlnet ctrl gpt2 gpt_neox gptj opt
        bloom llama mistral mixtral qwen2 qwen3 gemma gemma2 gemma3_text phi phi3 falcon mpt
        olmo2 cohere starcoder2 stablelm granite mamba t5 bart pegasus mbart camembert codegen
        cohere2 deepseek_v3 ernie4_5 glm4 gpt_bigcode gpt_oss granitemoe lfm2 llama4_text led
        longt5 marian mt5 m2m_100 minimax modernbert-decoder mpnet nllb-moe nystromformer olmoe
        prophetnet qwen3_moe qwen3_next recurrent_gemma rembert roformer rwkv smollm3 splinter
        switch_transformers t5gemma tapas udop xglm yoso
    """,
    "vision": """
        vit deit swin swinv2 convnext convnextv2 resnet regnet dinov2 mobilevit mobilenet_v2
        poolformer pvt_v2 segformer yolos dpt hiera cvt levit focalnet vit_mae aimv2
        data2vec-vision dinov3_vit dinov3_convnext glpn hgnet_v2 ijepa imagegpt mobilenet_v1
        mobilevitv2 pvt rf_detr sam_vision_model swiftformer timesformer videomae vitdet vivit
        textnet
    """,
    "audio": """
        wav2vec2 hubert wavlm unispeech-sat whisper speech_to_text audio-spectrogram-transformer
        sew data2vec-audio wav2vec2-conformer encodec dac moonshine parakeet_ctc qwen2_audio
        univnet vits wav2vec2-bert xcodec mimi_encoder pe_audio sew-d unispeech
    """,
    "multimodal": """
        clip siglip blip chinese_clip clipseg owlvit vilt groupvit llava layoutlm lxmert
        visual_bert clap git altclip aya_vision gemma3 idefics2 idefics3 internvl llama4
        llava_next llava_onevision mistral3 mllama owlv2 phi4_multimodal pixtral qwen2_vl
        qwen2_5_vl qwen3_vl siglip2 smolvlm video_llava voxtral vipllava
    """,
}


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for names in RIGHT.values() for name in names.split()])
def test_a_tiny_transformer_of_this_kind_is_right(name):
    if name not in transformers_of_all_kinds():
        pytest.skip("this version of transformers does not have it")
    row = looked_at(name, lambda: transformer(name))
    print(row)
    assert row.right, row
    assert row.compared


@pytest.mark.slow
def test_no_tiny_transformer_of_any_kind_gives_a_wrong_value():
    names = transformers_of_all_kinds()
    rows = table(
        "transformers", (looked_at(name, lambda name=name: transformer(name)) for name in names)
    )
    assert [row.name for row in rows if row.why.startswith("differs")] == []
    assert sum(row.right for row in rows) >= 0.7 * len(rows)


# --- a few, always -------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", mostly_thorough(["bert", "gpt2", "clip", "whisper", "t5", "vit"], "bert")
)
def test_a_tiny_transformer_gives_what_its_modules_return(name):
    row = looked_at(name, lambda: transformer(name))
    assert row.right, row
    assert row.compared


@pytest.mark.thorough
def test_a_model_of_timm_gives_what_its_modules_return():
    pytest.importorskip("timm")
    row = looked_at("levit", lambda: timm_model("levit_128s"))
    assert row.right, row


@pytest.mark.thorough
def test_a_detector_gives_what_its_modules_return():
    row = looked_at("ssdlite", lambda: torchvision_model("ssdlite320_mobilenet_v3_large"))
    assert row.right, row
