"""How pictures are prepared for a model, as the library that it is from says."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import Any

from torch import nn

from .preprocessing import RGB, Preprocessing, imagenet


def presets_for(model: nn.Module, channels: int, size: tuple[int, int]) -> list[Preprocessing]:
    """The ways to prepare a picture that suit a model, the likeliest first.

    Args:
        model: a model that takes pictures.
        channels: how many channels it takes.
        size: height and width that it is known to take.

    Returns:
        What the library says that the model is from, for every set of weights that fits it;
        then ImageNet's numbers, and the bare pixels from 0 to 1.

    Example:
        >>> import torchvision
        >>> presets = presets_for(torchvision.models.resnet18(weights=None), 3, (224, 224))
        >>> [preset.source for preset in presets][:2]
        ['ResNet18_Weights.IMAGENET1K_V1', "ImageNet's numbers"]
    """
    found = [*_of_timm(model, size), *_of_transformers(model, size), *_of_torchvision(model)]
    plain = Preprocessing(
        (max(size),), size, (0.0,) * RGB, (1.0,) * RGB, source="pixels from 0 to 1"
    )
    found += [imagenet(RGB, size), plain]
    return [preset.with_channels(channels) for preset in found]


def _of_timm(model: nn.Module, size: tuple[int, int]) -> Iterator[Preprocessing]:
    config = getattr(model, "pretrained_cfg", None)
    library: Any = sys.modules.get("timm.data")  # a model of timm has imported it
    if library is None or not isinstance(config, dict) or "mean" not in config:
        return
    config = library.resolve_data_config({"input_size": (RGB, *size)}, model=model)
    steps = {type(step).__name__: step for step in library.create_transform(**config).transforms}
    resize = steps.get("Resize") or steps["ResizeKeepRatio"]
    yield Preprocessing(
        (resize.size,) if isinstance(resize.size, int) else tuple(resize.size),
        size,
        tuple(config["mean"]),
        tuple(config["std"]),
        config["interpolation"],
        "timm's pretrained_cfg",
    )


def _of_torchvision(model: nn.Module) -> Iterator[Preprocessing]:
    """The transforms of the weights that have as many parameters as the model."""
    home = type(model).__module__
    if not home.startswith("torchvision.models"):
        return
    from torchvision import models

    count = sum(parameter.numel() for parameter in model.parameters())
    builders = (n for n in models.list_models() if models.get_model_builder(n).__module__ == home)
    weights = [w for name in builders for w in models.get_model_weights(name)]
    fitting = [w for w in weights if w.meta.get("num_params") == count]
    default = {type(w).DEFAULT for w in fitting}
    for chosen in sorted(fitting, key=lambda w: w not in default):
        transforms = chosen.transforms()
        crop = tuple(getattr(transforms, "crop_size", ()))
        if hasattr(transforms, "mean"):
            yield Preprocessing(
                tuple(transforms.resize_size),
                crop * 2 if len(crop) == 1 else crop,
                tuple(transforms.mean),
                tuple(transforms.std),
                transforms.interpolation.value,
                f"{type(chosen).__name__}.{chosen.name}",
            )


def _of_transformers(model: nn.Module, size: tuple[int, int]) -> Iterator[Preprocessing]:
    config = getattr(model, "config", None)
    if getattr(model, "main_input_name", None) is None or config is None:
        return
    processor, source = _image_processor(config)
    mean, std = (getattr(processor, field, None) for field in ("image_mean", "image_std"))
    if mean is None or std is None:
        return
    normalises = getattr(processor, "do_normalize", True) is not False
    whole = "shortest_edge" not in (getattr(processor, "size", None) or {})
    way = getattr(processor, "resample", None)
    yield Preprocessing(
        size if whole else (min(size),),
        () if whole else size,
        tuple(mean) if normalises else (0.0,) * len(mean),
        tuple(std) if normalises else (1.0,) * len(std),
        getattr(way, "name", "bilinear").lower(),
        source,
    )


def _image_processor(config: Any) -> tuple[Any, str]:
    """The image processor of the weights if it is on disk, else the class of processor."""
    import transformers
    from transformers.models.auto.image_processing_auto import IMAGE_PROCESSOR_MAPPING

    home = getattr(config, "_name_or_path", "")
    if home:
        # Where it is not on disk, the defaults of its class serve.
        with contextlib.suppress(Exception):
            read: Any = transformers.AutoImageProcessor.from_pretrained
            return read(home, local_files_only=True), f"the image processor of {home}"
    kinds = IMAGE_PROCESSOR_MAPPING.get(type(config), None) or ()
    for kind in reversed([*(kinds.values() if isinstance(kinds, dict) else kinds)]):
        if kind is not None:
            return kind, f"the defaults of {kind.__name__}"
    return None, ""
