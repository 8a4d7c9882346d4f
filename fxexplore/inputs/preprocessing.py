"""How a picture becomes what a model takes: resized, cropped and normalised."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from .samples import IMAGENET_MEAN, IMAGENET_STD, RGB

if TYPE_CHECKING:
    from PIL import Image

LARGEST_SIDE = 4096
_WAYS = ("nearest", "bilinear", "bicubic", "lanczos", "box", "hamming")
_SIDES = 2


@dataclasses.dataclass(frozen=True)
class Preprocessing:
    """Resize, crop and normalise, with the numbers in sight.

    Attributes:
        resize: the length of the shorter side, or height and width; empty to leave it.
        crop: height and width of what is cut from the middle; empty to leave it.
        mean: what is subtracted from each channel in the range 0 to 1.
        std: what each is divided by then; as many numbers as the model has channels.
        interpolation: how pixels are read between pixels.
        source: whose numbers these are, in words.

    Example:
        >>> from PIL import Image
        >>> prepare = Preprocessing(resize=(8,), crop=(8, 8))
        >>> prepare(Image.new("RGB", (20, 10))).shape
        torch.Size([1, 3, 8, 8])
        >>> prepare.words
        'resize 8 · crop 8×8 · ImageNet mean and deviation'
    """

    resize: tuple[int, ...] = ()
    crop: tuple[int, ...] = ()
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    interpolation: str = "bilinear"
    source: str = "resize, crop and normalise"

    def __call__(self, image: Image.Image) -> torch.Tensor:
        """Prepare a picture.

        Args:
            image: in mode ``"RGB"``.

        Returns:
            A float tensor of shape 1 × channels × height × width.
        """
        from torchvision.transforms.v2 import functional

        if len(self.mean) == 1:
            image = image.convert("L")
        if self.resize:
            way = functional.InterpolationMode(self.interpolation)
            image = functional.resize(image, list(self.resize), interpolation=way)
        if self.crop:
            image = functional.center_crop(image, list(self.crop))
        pixels = functional.to_dtype(functional.pil_to_tensor(image), torch.float32, scale=True)
        prepared: torch.Tensor = functional.normalize(pixels, list(self.mean), list(self.std))
        return prepared.unsqueeze(0)

    def seen(self, prepared: torch.Tensor) -> torch.Tensor:
        """Turn back the normalisation, for people to see what a model sees.

        Args:
            prepared: channels × height × width.

        Returns:
            Red, green and blue from 0 to 1, of shape 3 × height × width.
        """
        values = prepared.detach().float().cpu()
        mean, std = (torch.tensor(part).reshape(-1, 1, 1) for part in (self.mean, self.std))
        pixels = (values * std + mean).clamp(0, 1)
        return pixels if len(pixels) == RGB else pixels[:1].expand(RGB, -1, -1)

    @property
    def words(self) -> str:
        """The numbers in one line."""
        parts = [
            f"resize {_sizes(self.resize)}" if self.resize else "",
            f"crop {_sizes(self.crop)}" if self.crop else "",
            _normalisation(self.mean, self.std),
        ]
        return " · ".join(part for part in parts if part)

    @property
    def code(self) -> str:
        """The expression that makes it."""
        defaults = Preprocessing()
        arguments = [
            f"{field}={getattr(self, field)!r}"
            for field in ("resize", "crop", "mean", "std", "interpolation")
            if getattr(self, field) != getattr(defaults, field)
        ]
        return f"Preprocessing({', '.join(arguments)})"


def preprocessing_from_text(
    resize: str,
    crop: str,
    mean: str,
    std: str,
    interpolation: str = "bilinear",
    channels: int = RGB,
) -> Preprocessing:
    """Read numbers that somebody typed.

    Args:
        resize: ``"256"``, ``"256×320"`` or nothing.
        crop: likewise; one number is a square.
        mean: a number, or one for each channel.
        std: likewise, none of them 0.
        interpolation: one of PIL's ways.
        channels: how many channels the model takes.

    Raises:
        ValueError: if they are not as they should be, with what to write instead.

    Example:
        >>> preprocessing_from_text("64", "56 x 48", "0.5", "0.5").words
        'resize 64 · crop 56×48 · mean 0.5, deviation 0.5'
    """
    sides = _whole_numbers("crop", crop)
    if interpolation not in _WAYS:
        raise ValueError(f"interpolation is {interpolation!r}; write one of {', '.join(_WAYS)}")
    deviations = _per_channel("std", std, channels)
    if any(number <= 0 for number in deviations):
        raise ValueError(f"std is {std!r}; every number must be above 0")
    return Preprocessing(
        _whole_numbers("resize", resize),
        sides * _SIDES if len(sides) == 1 else sides,
        _per_channel("mean", mean, channels),
        deviations,
        interpolation,
        "your numbers",
    )


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
    found.append(Preprocessing((max(size),), size, source="ImageNet's numbers"))
    plain = (0.0,) * RGB, (1.0,) * RGB
    found.append(Preprocessing((max(size),), size, *plain, source="pixels from 0 to 1"))
    return [_with_channels(preset, channels) for preset in found]


def _with_channels(preset: Preprocessing, channels: int) -> Preprocessing:
    """The same for a model of grey pictures: one mean, one deviation."""
    if channels == len(preset.mean):
        return preset
    mean, std = (
        (round(sum(numbers) / len(numbers), 3),) * channels for numbers in (preset.mean, preset.std)
    )
    return dataclasses.replace(preset, mean=mean, std=std)


def _of_timm(model: nn.Module, size: tuple[int, int]) -> Iterator[Preprocessing]:
    config = getattr(model, "pretrained_cfg", None)
    if not isinstance(config, dict) or "mean" not in config:
        return
    share = config.get("crop_pct") or 1.0
    squashed = config.get("crop_mode") == "squash"
    edges = tuple(math.floor(side / share) for side in size)
    yield Preprocessing(
        edges if squashed or len(set(size)) > 1 else edges[:1],
        size,
        tuple(config["mean"]),
        tuple(config["std"]),
        config.get("interpolation") or "bilinear",
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
                crop * _SIDES if len(crop) == 1 else crop,
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
    from transformers.models.auto import image_processing_auto

    home = getattr(config, "_name_or_path", "")
    if home:
        try:
            read: Any = transformers.AutoImageProcessor.from_pretrained
            own = read(home, local_files_only=True)
        except Exception:  # noqa: BLE001  # no processor is there; its class tells less, but does
            own = None
        if own is not None:
            return own, f"the image processor of {home}"
    by_type: Any = image_processing_auto.__dict__.get("IMAGE_PROCESSOR_MAPPING_NAMES", {})
    named = by_type.get(getattr(config, "model_type", "")) or ()
    kinds = named.values() if isinstance(named, dict) else named
    kinds = (named,) if isinstance(named, str) else tuple(kinds)
    for kind in reversed([kind for kind in kinds if kind]):
        cls = getattr(transformers, kind, None)
        if cls is not None:
            return cls, f"the defaults of {kind}"
    return None, ""


def _sizes(sides: Iterable[int]) -> str:
    return "×".join(map(str, sides))


def _normalisation(mean: tuple[float, ...], std: tuple[float, ...]) -> str:
    if (mean, std) == (IMAGENET_MEAN, IMAGENET_STD):
        return "ImageNet mean and deviation"
    if not any(mean) and set(std) == {1.0}:
        return "pixels from 0 to 1"
    return f"mean {numbers_text(mean)}, deviation {numbers_text(std)}"


def numbers_text(numbers: tuple[float, ...]) -> str:
    """Numbers of channels in few digits, once if they are all the same.

    Example:
        >>> numbers_text((0.5, 0.5, 0.5)), numbers_text((0.48145466, 0.4578275, 0.408))
        ('0.5', '0.4815 0.4578 0.408')
    """
    shown = numbers[:1] if len(set(numbers)) == 1 else numbers
    return " ".join(f"{number:.4g}" for number in shown)


def _numbers(text: str) -> list[str]:
    return [part for part in re.split(r"[\s,;×x*()\[\]]+", text.strip().lower()) if part]


def _whole_numbers(name: str, text: str) -> tuple[int, ...]:
    parts = _numbers(text)
    if not all(part.isascii() and part.isdigit() for part in parts) or len(parts) > _SIDES:
        raise ValueError(f"{name} is {text!r}; write pixels, such as 224 or 224×320, or nothing")
    sides = tuple(map(int, parts))
    if any(not 1 <= side <= LARGEST_SIDE for side in sides):
        raise ValueError(f"{name} is {text!r}; sides from 1 to {LARGEST_SIDE} pixels are taken")
    return sides


def _per_channel(name: str, text: str, channels: int) -> tuple[float, ...]:
    try:
        numbers = tuple(float(part) for part in _numbers(text))
    except ValueError:
        numbers = ()
    if len(numbers) == 1:
        numbers *= channels
    if len(numbers) != channels or not all(map(math.isfinite, numbers)):
        raise ValueError(
            f"{name} is {text!r}; write one number, or one for each of the {channels} channels"
        )
    return numbers
