"""Example inputs: given by the caller, or inferred from the model and the library it is from."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from fxexplore.feature_extraction import as_arguments, model_and_tracer

from .example_inputs import ExampleInputs, required_arguments
from .preprocessing import RGB, Preprocessing, imagenet, photograph, photograph_or_noise
from .samples import FRAMES, TOKENS, noise
from .transformers_inputs import from_config


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
    model, _ = model_and_tracer(model)
    inputs = known_inputs(model, example_inputs)
    if inputs.missing:
        raise ValueError(inputs.missing)
    return inputs


def known_inputs(
    model: nn.Module, example_inputs: Any = None, name: str = "model", inputs_name: str = "x"
) -> ExampleInputs:
    """As :func:`example_inputs_for`, where ``missing`` says if there are none, and code says how.

    Args:
        model: the model that is to run on them.
        example_inputs: as for :func:`example_inputs_for`; what this function returned is
            returned as it is.
        name: the expression that the model goes by in code.
        inputs_name: the expression that ``example_inputs`` goes by there.

    Raises:
        TypeError: if ``example_inputs`` is of another kind.

    Example:
        >>> known_inputs(nn.Conv2d(3, 8, 3), name="net").lines[-1]
        'x = example_inputs_for(net).args[0]'
        >>> known_inputs(nn.ReLU()).missing.partition(":")[0]
        'no example inputs could be inferred for ReLU'
    """
    if isinstance(example_inputs, ExampleInputs):
        return example_inputs
    if example_inputs is not None:
        arguments = as_arguments(example_inputs)
        expression = f"example_inputs_for({name}, {inputs_name})"
        return ExampleInputs(*arguments, "given", inputs_name, expression)
    expression = f"example_inputs_for({name})"
    for infer in (_from_timm, from_config, _from_torchvision, _from_first_layer):
        inferred = infer(model)
        if inferred is None:
            continue
        place = inferred.places.get("picture")
        if place is not None and inferred.prepared_by is None and place.shape[-3] in (1, RGB):
            channels, height, width = place.shape[-3:]
            prepare = imagenet(channels, (height, width))
            inferred = dataclasses.replace(inferred, prepared_by=prepare)
        return dataclasses.replace(inferred, expression=expression).to(model)
    return ExampleInputs((), {}, "none", expression=expression, missing=_nothing_inferred(model))


def _nothing_inferred(model: nn.Module) -> str:
    first = _first_layer(model)
    layer = f"its first layer is {type(first).__name__}({first.extra_repr()})" if first else ""
    return (
        f"no example inputs could be inferred for {type(model).__name__}: its forward takes "
        f"({', '.join(required_arguments(model)) or 'none'}) and "
        f"{layer or 'it has no layer that implies a shape'}. Give example_inputs=torch.randn(...) "
        f"in the shape that the model expects, or a tuple or dict of arguments"
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
    numbers = {name: tuple(config[name]) for name in ("mean", "std") if name in config}
    return _picture(channels, (height, width), "timm's pretrained_cfg", **numbers)


def _moves_space_to_depth(model: nn.Module) -> bool:
    """Whether pixels become channels before the first convolution, as in TResNet."""
    return any(type(m).__name__ in ("SpaceToDepth", "PixelUnshuffle") for m in model.modules())


def _from_torchvision(model: nn.Module) -> ExampleInputs | None:
    home, kind = type(model).__module__, type(model).__name__
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

# Layers that imply the shape of an input, and the shapes; pictures have sizes of their own.
_SHAPES: dict[type[nn.Module], Callable[[Any], tuple[int, ...]]] = {
    nn.Conv1d: lambda layer: (1, layer.in_channels, 256),
    nn.Conv3d: lambda layer: (1, layer.in_channels, FRAMES, 112, 112),
    nn.Linear: lambda layer: (1, layer.in_features),
    nn.RNNBase: lambda layer: (1, TOKENS, layer.input_size),
}
_EMBEDDINGS = (nn.Embedding, nn.EmbeddingBag)
_LAYERS = (*_SHAPES, *_EMBEDDINGS, nn.modules.conv._ConvNd)


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
    if isinstance(first, _EMBEDDINGS):
        ids = torch.arange(TOKENS).remainder(first.num_embeddings).unsqueeze(0)
        return ExampleInputs((ids,), {}, f"token ids 0, 1, … ({source})")
    shapes = [shape(first) for kind, shape in _SHAPES.items() if isinstance(first, kind)]
    return ExampleInputs((noise(*shapes[0]),), {}, f"noise ({source})") if shapes else None


def _picture(channels: int, size: tuple[int, int], source: str, **numbers: Any) -> ExampleInputs:
    prepare = Preprocessing((max(size),), size, source="example inputs", **numbers)
    pixels, prepared_by = photograph_or_noise(channels, prepare)
    word = "photograph" if prepared_by else "noise"
    return ExampleInputs((pixels,), {}, f"{word} ({source})", prepared_by=prepared_by)
