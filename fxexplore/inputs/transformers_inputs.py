"""Example inputs for models of transformers, from their configuration.

Every argument of forward that is needed has a maker in a table, by its name; a maker reads
its sizes from the configuration, whose fields have a few names each.
"""

from __future__ import annotations

import dataclasses
import inspect
import warnings
from collections.abc import Callable, Iterator
from typing import Any, cast

import torch
from torch import nn

from fxexplore.feature_extraction import isolated, patch, required_arguments, restores, tensors_in

from .example_inputs import ExampleInputs, as_model_has_it
from .preprocessing import RGB, imagenet, photograph_or_noise
from .samples import FRAMES, TOKENS, noise


def from_config(model: nn.Module) -> ExampleInputs | None:
    """Make arguments by the names of forward's parameters, in sizes that the config tells.

    Where the shape of one is not certain, the model is run to find one that it takes; where
    it takes no picture or sound so, it is given text alone.

    Args:
        model: any module.

    Returns:
        The inputs; None if this is no model of transformers, or has no argument that is known.
    """
    if getattr(model, "main_input_name", None) is None or not hasattr(model, "config"):
        return None
    asked = _Asked.of(model)
    guesses = list(_guesses(asked, list(_TRANSFORMERS)))
    text_alone = list(_guesses(asked, list(_TEXT)))
    kwargs = guesses[0] if guesses else {}
    has_placeholders = any(name in asked.accepted for name, *_ in asked.placeholders)
    if len(guesses) > 1 or has_placeholders:
        kwargs = next((g for g in [*guesses, *text_alone] if _tried(model, model, g)), kwargs)
    if not kwargs:
        return None
    is_less = bool(guesses) and set(kwargs) < set(guesses[0])
    return ExampleInputs((), kwargs, "transformers' config" + (", text alone" if is_less else ""))


@dataclasses.dataclass(frozen=True)
class _Asked:
    """What a model of transformers takes, and the arguments that are made so far."""

    model: nn.Module
    config: Any
    accepted: frozenset[str]
    needed: frozenset[str]
    given: dict[str, Any]

    @classmethod
    def of(cls, model: nn.Module) -> _Asked:
        main = model.main_input_name
        needed = {main} if isinstance(main, str) else set(cast("list[str]", main))
        accepted = frozenset(inspect.signature(model.forward).parameters)
        needed |= set(required_arguments(model))
        if getattr(model.config, "is_encoder_decoder", False):
            needed.add("decoder_input_ids")
        return cls(model, model.config, accepted, frozenset(needed), {})

    def field(self, part: str, *names: str) -> Any:
        """The first of these fields that a part of the configuration has, or the whole of it.

        Args:
            part: what the model has for ``"text"``, ``"vision"`` or ``"sound"``; "" for all.
            names: the names that the field goes by.
        """
        found = [getattr(self.config, name, None) for name in _PARTS.get(part, ())]
        parts = [p for p in found if p is not None and not isinstance(p, (dict, str))][:1]
        values = (getattr(owner, name, None) for owner in (*parts, self.config) for name in names)
        return next((value for value in values if value is not None), None)

    @property
    def placeholders(self) -> list[tuple[str, int, str]]:
        """The token ids in a text that stand for a picture or a sound."""
        found = [(name, self.field("", *fields), way) for name, fields, way in _PLACEHOLDERS]
        return [row for row in found if isinstance(row[1], int)]

    def wants(self, name: str) -> bool:
        """Whether an argument is needed, or goes together with those that are given."""
        if name not in self.accepted:
            return False
        partner = _TOGETHER.get(name)
        return name in self.needed or (partner is not None and partner in {"", *self.given})


_PARTS = {
    "text": ("text_config", "llm_config", "decoder"),
    "vision": (
        "vision_config", "vision_encoder_config", "image_config", "backbone_config", "vq_config",
    ),
    "sound": ("audio_config", "encoder_config", "speech_config"),
}  # fmt: skip


def _guesses(asked: _Asked, names: list[str]) -> Iterator[dict[str, Any]]:
    """The arguments, once for every shape that an uncertain one may have."""
    if not names:
        if asked.given:
            yield dict(asked.given)
        return
    name, *rest = names
    values = _TRANSFORMERS[name](asked) if asked.wants(name) else []
    for value in values:
        yield from _guesses(dataclasses.replace(asked, given={**asked.given, name: value}), rest)
    if not values:
        yield from _guesses(asked, rest)


@restores
def _tried(model: nn.Module, call: Callable[..., Any], kwargs: dict[str, Any]) -> tuple[Any, ...]:
    """What a call in eval mode gives, in a tuple; nothing in it if the call raises."""
    inputs = as_model_has_it(model, kwargs)
    try:
        with isolated(model, (), training=False), torch.no_grad():
            patch(warnings, "filters", [("ignore", None, Warning, None, 0)])
            return (call(**inputs),)
    except Exception:  # noqa: BLE001  # whatever the model raises, the guess was wrong
        return ()


# --- text ------------------------------------------------------------------------------


def _ids(asked: _Asked) -> list[torch.Tensor]:
    vocabulary = asked.field("text", "vocab_size") or TOKENS
    vocabulary = vocabulary if isinstance(vocabulary, int) else TOKENS
    special = {token for _, token, _ in asked.placeholders}
    plain = [i for i in range(2, 2 + TOKENS + len(special)) if i not in special][:TOKENS]
    ids = torch.tensor([plain]).remainder(vocabulary)
    # CLIP and its kin look for the end of the text by its id.
    end = asked.field("text", "eos_token_id")
    if isinstance(end, int) and 0 <= end < vocabulary:
        ids[0, -1] = end
    return [ids]


def _ids_with_placeholders(asked: _Asked) -> list[torch.Tensor]:
    """Text with as many placeholders as there are features of the picture and of the sound."""
    tokens: list[int] = []
    for argument, token, method in asked.placeholders:
        if argument in asked.given:
            tokens += [token] * _count_of_features(asked, method)
    [ids] = _ids(asked)
    return [torch.cat([ids[:, :1], torch.tensor([tokens]).long(), ids[:, 1:]], dim=1)]


def _count_of_features(asked: _Asked, method: str) -> int:
    make = getattr(asked.model, method, None)
    if make is None:
        return 0
    accepted = inspect.signature(make).parameters
    kwargs = {name: value for name, value in asked.given.items() if name in accepted}
    features = next(iter(_tried(asked.model, make, kwargs)), None)
    pooled = getattr(features, "pooler_output", None)
    tensors = tensors_in(features if pooled is None else pooled)
    return sum(t.numel() // t.shape[-1] for t in tensors if t.dim())


def _is_picture(asked: _Asked) -> list[torch.Tensor]:
    """1 at placeholders of a picture, 0 elsewhere."""
    tokens = [token for argument, token, _ in asked.placeholders if argument == "pixel_values"]
    return [torch.isin(asked.given["input_ids"], torch.tensor(tokens)).long()]


def _boxes(asked: _Asked) -> list[torch.Tensor]:
    """The box of each token on a page."""
    boxes = torch.tensor([0, 0, 1, 1]).repeat(1, asked.given["input_ids"].shape[1], 1)
    return [boxes, boxes.float()]


# --- pictures --------------------------------------------------------------------------


def _picture(asked: _Asked) -> torch.Tensor:
    size = asked.field("vision", "image_size", "crop_size", "img_size", "resolution") or 224
    if isinstance(size, dict):
        size = (size.get("height", 224), size.get("width", 224))
    height, width = (size, size) if isinstance(size, int) else tuple(size)[-2:]
    channels = asked.field("vision", *_CHANNELS) or RGB
    return photograph_or_noise(channels, imagenet(RGB, (height, width)))[0]


def _pixels(asked: _Asked) -> list[torch.Tensor]:
    if {"image_grid_thw", "grid_thw", "spatial_shapes"} & asked.accepted:
        return _patches(asked)
    frames = asked.field("vision", "num_frames")
    picture = _picture(asked)
    if frames:
        return [picture.unsqueeze(1).repeat(1, frames, 1, 1, 1)]
    if {"input_ids", "pixel_attention_mask"} <= asked.accepted:
        return [picture.unsqueeze(1), picture]  # a list of pictures for each text
    return [picture]


def _clip(asked: _Asked) -> list[torch.Tensor]:
    frames = asked.field("vision", "num_frames", "frames_per_clip") or FRAMES
    return [_picture(asked).unsqueeze(1).repeat(1, frames, 1, 1, 1)]


def _side(asked: _Asked) -> int:
    """How many patches a side of a picture has, a multiple of what is merged."""
    names = ("spatial_merge_size", "merge_size", "downsample_factor", "pixel_shuffle_factor")
    side = asked.field("vision", *names)
    return 2 * (side if isinstance(side, int) else 2)


def _patches(asked: _Asked) -> list[torch.Tensor]:
    """The patches of a picture, one in each row."""
    count = _side(asked) ** 2
    patch = asked.field("vision", "patch_size", "spatial_patch_size") or FRAMES
    depth = asked.field("vision", "temporal_patch_size") or 1
    channels = asked.field("vision", *_CHANNELS) or RGB
    row = channels * depth * patch**2
    if "spatial_shapes" in asked.accepted:
        return [noise(1, count, row)]
    in_squares = noise(count, channels, patch, patch)
    return [noise(count, row), in_squares, in_squares.unsqueeze(0)]


_CHANNELS = ("num_channels", "in_channels", "in_chans", "n_channels")


def _pixel_mask(asked: _Asked) -> list[torch.Tensor]:
    shape = asked.given["pixel_values"].shape
    is_patches = len(shape) < 4  # noqa: PLR2004
    return [torch.ones(shape[:2] if is_patches else (*shape[:-3], *shape[-2:])).long()]


# --- sound, and series -----------------------------------------------------------------


def _features_of_sound(asked: _Asked) -> list[torch.Tensor]:
    bins, steps = _bins(asked), 128
    positions = asked.field("sound", "max_source_positions")
    shapes = [(1, steps, bins), (1, bins, steps), (1, 1, steps, bins)]
    if asked.field("sound", "num_mel_bins") and positions:  # Whisper: strides halve the steps
        shapes.insert(0, (1, bins, 2 * int(positions)))
    if asked.field("sound", "input_feat_per_channel"):
        shapes = shapes[:1]
    return [noise(*shape) for shape in shapes]


def _sound_mask(asked: _Asked) -> list[torch.Tensor]:
    sizes, bins = asked.given["input_features"].shape[-2:], _bins(asked)
    return [torch.ones(1, max(sizes, key=lambda size: size if size != bins else 0)).long()]


def _bins(asked: _Asked) -> int:
    """How many frequencies each step has."""
    fields = ("num_mel_bins", "input_feat_per_channel", "num_mel_filters", "mel_bins", "n_mels")
    more = ("feature_projection_input_dim", "input_dim", "feature_size", "input_size")
    return int(asked.field("sound", *fields, *more) or 80)


def _sound(asked: _Asked) -> list[torch.Tensor]:
    config = asked.config
    bins = getattr(config, "num_mel_bins", None)
    if bins and getattr(config, "max_length", None) and hasattr(config, "frequency_stride"):
        return [noise(1, config.max_length, bins)]  # spectrogram transformers
    wave = noise(1, 8000)  # half a second of a waveform
    is_codec = "padding_mask" in asked.accepted or hasattr(config, "codebook_size")
    return [wave.unsqueeze(1), wave] if is_codec else [wave]


def _series(asked: _Asked) -> list[torch.Tensor]:
    steps = asked.field("", "context_length", "seq_length")
    channels = asked.field("", "num_input_channels", "input_size") or 1
    return [noise(1, int(steps or TOKENS), int(channels))]


def _vectors(field: str, default: int = 1) -> Callable[[_Asked], list[torch.Tensor]]:
    """A vector for each step, as wide as a field of the configuration says."""
    return lambda asked: [noise(1, TOKENS, int(asked.field("", field) or default))]


# --- the tables ------------------------------------------------------------------------

# Makers of arguments, in the order in which one needs another; each gives the shapes that it
# may have, likely ones first.
_TRANSFORMERS: dict[str, Callable[[_Asked], list[torch.Tensor]]] = {
    "pixel_values": _pixels,
    "hidden_states": _patches,
    "pixel_values_videos": _clip,
    "image_grid_thw": lambda asked: [torch.tensor([[1, _side(asked), _side(asked)]])],
    "grid_thw": lambda asked: [torch.tensor([[1, _side(asked), _side(asked)]])],
    "spatial_shapes": lambda asked: [torch.tensor([[_side(asked), _side(asked)]])],
    "image_sizes": lambda asked: [torch.tensor([asked.given["pixel_values"].shape[-2:]])],
    "pixel_attention_mask": _pixel_mask,
    "input_features": _features_of_sound,
    "input_features_mask": _sound_mask,
    "feature_attention_mask": _sound_mask,
    "input_values": _sound,
    "past_values": _series,
    "input_ids": _ids_with_placeholders,
    "mm_token_type_ids": _is_picture,
    "qformer_input_ids": _ids,
    "task_inputs": _ids,
    "decoder_input_ids": _ids,
    "bbox": _boxes,
    "visual_feats": _vectors("visual_feat_dim", 2048),
    "visual_pos": _vectors("", 4),
    "query_embeds": _vectors("hidden_size"),
    "encoder_hidden_states": _vectors("encoder_hidden_size"),
    "states": _vectors("state_dim"),
    "actions": _vectors("act_dim"),
    "rewards": _vectors(""),
    "returns_to_go": _vectors(""),
    "timesteps": lambda _: [torch.arange(TOKENS).unsqueeze(0)],
}


# Arguments that are given whenever another is; "" is always.
_TOGETHER = {
    "pixel_values": "",
    "input_features": "",
    "image_grid_thw": "pixel_values",
    "spatial_shapes": "pixel_values",
    "image_sizes": "pixel_values",
    "pixel_attention_mask": "pixel_values",
    "input_features_mask": "input_features",
    "feature_attention_mask": "input_features",
    "input_ids": "",
    "mm_token_type_ids": "image_grid_thw",
    "bbox": "input_ids",
    "visual_feats": "input_ids",
    "visual_pos": "input_ids",
    "encoder_hidden_states": "query_embeds",
    **dict.fromkeys(("actions", "rewards", "returns_to_go", "timesteps"), "states"),
}


_TEXT = ("input_ids", "decoder_input_ids", "bbox")
# The token ids in a text that stand for a picture or a sound: argument, fields of the
# configuration, and the model's method that makes features.
_PLACEHOLDERS = (
    ("pixel_values", ("image_token_id", "image_token_index"), "get_image_features"),
    ("input_features", ("audio_token_id", "audio_token_index"), "get_audio_features"),
)
