"""Example inputs: given by the caller, or inferred from the model and the library it is from."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from fxexplore.feature_extraction.ways_in import as_arguments

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
_RGB = 3
_TOKENS = 8
_FRAMES = 16


@dataclasses.dataclass(frozen=True)
class ExampleInputs:
    """What a model is run on.

    Attributes:
        args: positional arguments of forward.
        kwargs: keyword arguments of forward.
        source: where they come from, in words.
    """

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    source: str

    @property
    def shapes(self) -> str:
        """The shapes of the tensors among the arguments, such as ``"1×3×224×224"``."""
        tensors = _tensors((*self.args, *self.kwargs.values()))
        return ", ".join("×".join(map(str, t.shape)) for t in tensors)

    @property
    def code(self) -> str | None:
        """An expression that makes an input of the same shape; None for several inputs."""
        if self.kwargs or len(self.args) != 1 or not isinstance(self.args[0], torch.Tensor):
            return None
        tensor = self.args[0]
        if not tensor.is_floating_point():
            return None
        return f"torch.randn({', '.join(map(str, tensor.shape))})"


def example_inputs_for(model: nn.Module, example_inputs: Any = None) -> ExampleInputs:
    """Take the caller's example inputs, or infer what the model takes.

    Args:
        model: the model that is to run on them.
        example_inputs: a tensor, a tuple of positional arguments, a dict of keyword
            arguments, or a pair of both. By default inferred: from the configuration that
            models of timm and transformers carry, from the kind of a model of torchvision,
            else from the model's first layer. Pictures are matplotlib's photograph of
            Grace Hopper.

    Raises:
        TypeError: if ``example_inputs`` is none of these.
        ValueError: if nothing was given and nothing could be inferred.

    Example:
        >>> example_inputs_for(nn.Conv2d(3, 8, 3)).shapes
        '1×3×224×224'
        >>> example_inputs_for(nn.Linear(2, 1), torch.ones(5, 2)).shapes
        '5×2'
    """
    if example_inputs is not None:
        return ExampleInputs(*as_arguments(example_inputs), "given")
    for infer in (_from_timm, _from_transformers, _from_torchvision, _from_first_layer):
        inferred = infer(model)
        if inferred is not None:
            return _on_device_of(model, inferred)
    raise ValueError(_nothing_inferred(model))


def _nothing_inferred(model: nn.Module) -> str:
    first = _first_layer(model)
    required = ", ".join(_required_arguments(model)) or "none"
    layer = "no layer" if first is None else f"{type(first).__name__}({first.extra_repr()})"
    return (
        f"no example inputs could be inferred for {type(model).__name__}: its forward takes "
        f"({required}) and its first layer is {layer}. Give example_inputs=torch.randn(...) in the "
        f"shape that the model expects, or a tuple or dict of arguments"
    )


# --- by library ------------------------------------------------------------------------


def _from_timm(model: nn.Module) -> ExampleInputs | None:
    config = getattr(model, "pretrained_cfg", None) or getattr(model, "default_cfg", None)
    if not isinstance(config, dict) or "input_size" not in config:
        return None
    channels, height, width = config["input_size"]
    first = _first_layer(model)
    if isinstance(first, nn.Conv2d) and first.in_channels != channels:
        channels = first.in_channels  # timm.create_model(..., in_chans=1)
    mean, std = config.get("mean", IMAGENET_MEAN), config.get("std", IMAGENET_STD)
    return _picture(channels, (height, width), "timm's pretrained_cfg", mean, std)


def _from_transformers(model: nn.Module) -> ExampleInputs | None:
    main = getattr(model, "main_input_name", None)
    config = getattr(model, "config", None)
    if not isinstance(main, str) or config is None:
        return None
    accepted = inspect.signature(model.forward).parameters
    wanted = {name: _TRANSFORMERS[name] for name in _TRANSFORMERS if name in accepted}
    kwargs = {}
    for name, make in wanted.items():
        needed = name == main or name in _companions(model, main)
        value = make(config) if needed else None
        if value is not None:
            kwargs[name] = value
    return ExampleInputs((), kwargs, "transformers' config") if main in kwargs else None


def _companions(model: nn.Module, main: str) -> set[str]:
    """Inputs that go together with the main one."""
    config = model.config
    names = set()
    if getattr(config, "is_encoder_decoder", False):
        names.add("decoder_input_ids")
    if main in ("input_ids", "pixel_values"):
        both = _part(config, "text_config") is not config
        if both and _part(config, "vision_config") is not config:
            names |= {"input_ids", "pixel_values"}
    if _part(config, "audio_config") is not config and _part(config, "text_config") is not config:
        names |= {"input_ids", "input_features"}
    return names


def _part(config: Any, name: str) -> Any:
    part = getattr(config, name, None)
    return config if part is None or isinstance(part, (dict, str)) else part


def _ids(config: Any) -> torch.Tensor:
    vocabulary = getattr(_part(config, "text_config"), "vocab_size", None) or _TOKENS
    ids = torch.arange(2, 2 + _TOKENS).remainder(vocabulary).unsqueeze(0)
    # CLIP and its kin look for the end of the text by its id.
    end = getattr(_part(config, "text_config"), "eos_token_id", None)
    if isinstance(end, int) and 0 <= end < vocabulary:
        ids[0, -1] = end
    return ids


def _pixels(config: Any) -> torch.Tensor | None:
    vision = _part(config, "vision_config")
    size = getattr(vision, "image_size", None) or getattr(vision, "crop_size", None) or 224
    height, width = (size, size) if isinstance(size, int) else tuple(size)[-2:]
    channels = getattr(vision, "num_channels", None) or getattr(vision, "in_channels", None)
    picture = _pixels_of_size(channels or _RGB, (height, width))
    frames = getattr(vision, "num_frames", None)
    return picture.unsqueeze(1).repeat(1, frames, 1, 1, 1) if frames else picture


def _features_of_sound(config: Any) -> torch.Tensor:
    sound = _part(config, "audio_config")
    positions = getattr(sound, "max_source_positions", None)
    if hasattr(sound, "num_mel_bins") and positions:  # Whisper: its strides halve the steps
        return _noise(1, int(sound.num_mel_bins), 2 * int(positions))
    return _noise(1, 128, int(getattr(sound, "input_feat_per_channel", 80)))


def _sound(config: Any) -> torch.Tensor:
    bins = getattr(config, "num_mel_bins", None)
    if bins and getattr(config, "max_length", None) and hasattr(config, "frequency_stride"):
        return _noise(1, config.max_length, bins)  # spectrogram transformers
    return _noise(1, 8000)  # half a second of a waveform


_TRANSFORMERS: dict[str, Callable[[Any], torch.Tensor | None]] = {
    "input_ids": _ids,
    "decoder_input_ids": _ids,
    "pixel_values": _pixels,
    "input_features": _features_of_sound,
    "input_values": _sound,
}


def _from_torchvision(model: nn.Module) -> ExampleInputs | None:
    home = type(model).__module__
    kind = type(model).__name__
    source = "torchvision's known input"
    if home.startswith("torchvision.models.detection"):
        return ExampleInputs(([photograph(320)[0]],), {}, source)
    if home.startswith("torchvision.models.optical_flow"):
        picture = photograph(128)
        return ExampleInputs((picture, picture.roll(2, dims=-1)), {}, source)
    if home.startswith("torchvision.models.video"):
        size = 112 if kind == "VideoResNet" else 224
        clip = photograph(size).unsqueeze(2).repeat(1, 1, _FRAMES, 1, 1)
        return ExampleInputs((clip,), {}, source)
    if kind == "Inception3":
        return _picture(_RGB, (299, 299), source)
    return None


# --- by first layer --------------------------------------------------------------------

# Layers that say what a model takes; convolutions of every dimension among them.
_LAYERS = (nn.Linear, nn.Embedding, nn.EmbeddingBag, nn.modules.conv._ConvNd, nn.RNNBase)


def _first_layer(model: nn.Module) -> nn.Module | None:
    return next((m for m in model.modules() if isinstance(m, _LAYERS)), None)


def _required_arguments(model: nn.Module) -> list[str]:
    parameters = inspect.signature(model.forward).parameters.values()
    variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [p.name for p in parameters if p.default is p.empty and p.kind not in variable]


def _from_first_layer(model: nn.Module) -> ExampleInputs | None:
    if len(_required_arguments(model)) > 1:
        return None
    first = _first_layer(model)
    source = f"the first layer, {type(first).__name__}"
    if isinstance(first, nn.Conv2d):
        size = getattr(model, "image_size", 224)
        size = size if isinstance(size, int) else 224
        return _picture(first.in_channels, (size, size), source)
    made: torch.Tensor | None = None
    if isinstance(first, nn.Conv1d):
        made = _noise(1, first.in_channels, 256)
    elif isinstance(first, nn.Conv3d):
        made = _noise(1, first.in_channels, _FRAMES, 112, 112)
    elif isinstance(first, nn.Linear):
        made = _noise(1, first.in_features)
    elif isinstance(first, (nn.Embedding, nn.EmbeddingBag)):
        made = torch.arange(_TOKENS).remainder(first.num_embeddings).unsqueeze(0)
    elif isinstance(first, nn.RNNBase):
        made = _noise(1, _TOKENS, first.input_size)
    return None if made is None else ExampleInputs((made,), {}, source)


def _picture(
    channels: int,
    size: tuple[int, int],
    source: str,
    mean: tuple[float, ...] = IMAGENET_MEAN,
    std: tuple[float, ...] = IMAGENET_STD,
) -> ExampleInputs:
    word = "photograph" if channels in (1, _RGB) else "noise"
    pixels = _pixels_of_size(channels, size, mean, std)
    return ExampleInputs((pixels,), {}, f"{word} ({source})")


def _pixels_of_size(
    channels: int,
    size: tuple[int, int],
    mean: tuple[float, ...] = IMAGENET_MEAN,
    std: tuple[float, ...] = IMAGENET_STD,
) -> torch.Tensor:
    if channels not in (1, _RGB):
        return _noise(1, channels, *size)
    picture = photograph(size, mean, std)
    return picture.mean(dim=1, keepdim=True) if channels == 1 else picture


def _noise(*shape: int) -> torch.Tensor:
    # A generator of its own: the global random state belongs to the user.
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def photograph(
    size: int | tuple[int, int] = 224,
    mean: tuple[float, ...] = IMAGENET_MEAN,
    std: tuple[float, ...] = IMAGENET_STD,
) -> torch.Tensor:
    """The sample photograph, cropped and normalised as ImageNet models expect.

    Args:
        size: height and width in pixels, or one number for a square.
        mean: what is subtracted from red, green and blue in the range 0 to 1.
        std: what they are divided by then.

    Returns:
        A float tensor of shape 1 × 3 × height × width.
    """
    import matplotlib.image
    from matplotlib import cbook
    from torchvision.transforms import v2

    file = cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)
    pixels = torch.from_numpy(matplotlib.image.imread(file).copy())
    height, width = (size, size) if isinstance(size, int) else size
    prepare = v2.Compose(
        [
            v2.Resize(max(height, width), antialias=True),
            v2.CenterCrop((height, width)),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(mean, std),
        ]
    )
    batch: torch.Tensor = prepare(pixels.permute(2, 0, 1)).unsqueeze(0)
    return batch


# --- where the model is ----------------------------------------------------------------


def _on_device_of(model: nn.Module, inputs: ExampleInputs) -> ExampleInputs:
    """Move inferred inputs to the model's device, and to its dtype if they have one to lose."""
    parameter = next((p for p in model.parameters() if p.is_floating_point()), None)
    if parameter is None:
        return inputs

    def moved(value: Any) -> Any:
        if isinstance(value, list):
            return [moved(item) for item in value]
        if not isinstance(value, torch.Tensor):
            return value
        dtype = parameter.dtype if value.is_floating_point() else value.dtype
        return value.to(parameter.device, dtype)

    return ExampleInputs(
        tuple(moved(value) for value in inputs.args),
        {name: moved(value) for name, value in inputs.kwargs.items()},
        inputs.source,
    )


def _tensors(values: Any) -> list[torch.Tensor]:
    found = []
    for value in values:
        if isinstance(value, torch.Tensor):
            found.append(value)
        elif isinstance(value, (list, tuple)):
            found += _tensors(value)
    return found
