"""Example inputs: given by the caller, or inferred from the model and the library it is from."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import nn

from fxexplore.feature_extraction import as_arguments

from .samples import (
    FRAMES,
    IMAGENET_MEAN,
    IMAGENET_STD,
    RGB,
    TOKENS,
    as_model_has_it,
    noise,
    photograph,
    pixels_of_size,
    required_arguments,
    tensors_of,
)
from .transformers_inputs import arguments_from_config


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
        tensors = tensors_of((*self.args, *self.kwargs.values()))
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
            return ExampleInputs(
                as_model_has_it(model, inferred.args),
                as_model_has_it(model, inferred.kwargs),
                inferred.source,
            )
    raise ValueError(_nothing_inferred(model))


def _nothing_inferred(model: nn.Module) -> str:
    first = _first_layer(model)
    required = ", ".join(required_arguments(model)) or "none"
    layer = "none that tells" if first is None else f"{type(first).__name__}({first.extra_repr()})"
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
    named = config.get("first_conv") or ()
    named = (named,) if isinstance(named, str) else named
    first = next((m for path, m in model.named_modules() if path in named), None)
    if isinstance(first, nn.Conv2d) and first.groups == 1 and not _moves_space_to_depth(model):
        channels = first.in_channels  # timm.create_model(..., in_chans=1)
    mean, std = config.get("mean", IMAGENET_MEAN), config.get("std", IMAGENET_STD)
    return _picture(channels, (height, width), "timm's pretrained_cfg", mean, std)


def _moves_space_to_depth(model: nn.Module) -> bool:
    """Whether pixels become channels before the first convolution, as in TResNet."""
    return any(type(m).__name__ in ("SpaceToDepth", "PixelUnshuffle") for m in model.modules())


def _from_transformers(model: nn.Module) -> ExampleInputs | None:
    made = arguments_from_config(model)
    return None if made is None else ExampleInputs((), *made)


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
        clip = photograph(size).unsqueeze(2).repeat(1, 1, FRAMES, 1, 1)
        return ExampleInputs((clip,), {}, source)
    if kind == "Inception3":
        return _picture(RGB, (299, 299), source)
    return None


# --- by first layer --------------------------------------------------------------------

# Layers that say what a model takes; convolutions of every dimension among them.
_LAYERS = (nn.Linear, nn.Embedding, nn.EmbeddingBag, nn.modules.conv._ConvNd, nn.RNNBase)


def _first_layer(model: nn.Module) -> nn.Module | None:
    return next((m for m in model.modules() if isinstance(m, _LAYERS)), None)


def _from_first_layer(model: nn.Module) -> ExampleInputs | None:
    if len(required_arguments(model)) > 1:
        return None
    first = _first_layer(model)
    source = f"for the first layer, {type(first).__name__}"
    if isinstance(first, nn.Conv2d):
        size = getattr(model, "image_size", 224)
        size = size if isinstance(size, int) else 224
        return _picture(first.in_channels, (size, size), source)
    made: torch.Tensor | None = None
    word = "noise"
    if isinstance(first, nn.Conv1d):
        made = noise(1, first.in_channels, 256)
    elif isinstance(first, nn.Conv3d):
        made = noise(1, first.in_channels, FRAMES, 112, 112)
    elif isinstance(first, nn.Linear):
        made = noise(1, first.in_features)
    elif isinstance(first, (nn.Embedding, nn.EmbeddingBag)):
        made = torch.arange(TOKENS).remainder(first.num_embeddings).unsqueeze(0)
        word = "numbers in order"
    elif isinstance(first, nn.RNNBase):
        made = noise(1, TOKENS, first.input_size)
    return None if made is None else ExampleInputs((made,), {}, f"{word} ({source})")


def _picture(
    channels: int,
    size: tuple[int, int],
    source: str,
    mean: tuple[float, ...] = IMAGENET_MEAN,
    std: tuple[float, ...] = IMAGENET_STD,
) -> ExampleInputs:
    word = "photograph" if channels in (1, RGB) else "noise"
    pixels = pixels_of_size(channels, size, mean, std)
    return ExampleInputs((pixels,), {}, f"{word} ({source})")


# --- where the model is ----------------------------------------------------------------
