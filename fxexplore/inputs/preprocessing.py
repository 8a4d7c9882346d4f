"""How a picture becomes what a model takes: resized, cropped and normalised."""

from __future__ import annotations

import dataclasses
import math
import re
from statistics import fmean
from typing import TYPE_CHECKING

import torch

from .pictures import sample_photograph
from .samples import noise

if TYPE_CHECKING:
    from PIL import Image

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
RGB = 3
LARGEST_SIDE = 4096
_SIDES = 2


@dataclasses.dataclass(frozen=True)
class Preprocessing:
    """Resize, crop and normalise, by numbers that can be shown and changed.

    Attributes:
        resize: the length of the shorter side, or height and width; empty to leave it.
        crop: height and width of what is cut from the middle; empty to leave it.
        mean: what is subtracted from each channel in the range 0 to 1.
        std: what each is divided by then; as many numbers as the model has channels.
        interpolation: how pixels are interpolated.
        source: where the numbers come from, in words.

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
        """Undo the normalisation, to show what a model sees.

        Args:
            prepared: channels × height × width.

        Returns:
            Red, green and blue from 0 to 1, of shape 3 × height × width.
        """
        values = prepared.detach().float().cpu()
        mean, std = (torch.tensor(part).reshape(-1, 1, 1) for part in (self.mean, self.std))
        pixels = (values * std + mean).clamp(0, 1)
        return pixels if len(pixels) == RGB else pixels[:1].expand(RGB, -1, -1)

    def with_channels(self, channels: int) -> Preprocessing:
        """The same for a model of grey pictures: one mean, one deviation.

        Args:
            channels: how many channels the model takes.
        """
        if channels == len(self.mean):
            return self
        mean, std = ((round(fmean(n), 3),) * channels for n in (self.mean, self.std))
        return dataclasses.replace(self, mean=mean, std=std)

    @property
    def texts(self) -> dict[str, str]:
        """The numbers as they are typed, by field.

        Example:
            >>> Preprocessing((64,), (56, 48), (0.5,) * 3).texts
            {'resize': '64', 'crop': '56×48', 'mean': '0.5', 'std': '0.229 0.224 0.225'}
        """
        texts = {name: "×".join(map(str, getattr(self, name))) for name in ("resize", "crop")}
        for name in ("mean", "std"):
            numbers = getattr(self, name)
            shown = numbers[:1] if len(set(numbers)) == 1 else numbers
            texts[name] = " ".join(f"{number:.8g}" for number in shown)
        return texts

    @property
    def words(self) -> str:
        """The numbers in one line."""
        texts = self.texts
        parts = [f"{name} {texts[name]}" for name in ("resize", "crop") if texts[name]]
        if (self.mean, self.std) == (IMAGENET_MEAN, IMAGENET_STD):
            parts.append("ImageNet mean and deviation")
        elif (texts["mean"], texts["std"]) == ("0", "1"):
            parts.append("pixels from 0 to 1")
        else:
            parts.append(f"mean {texts['mean']}, deviation {texts['std']}")
        return " · ".join(parts)

    @property
    def code(self) -> str:
        """The expression that makes it."""
        values = [(f, getattr(self, f.name)) for f in dataclasses.fields(self)]
        arguments = [f"{f.name}={v!r}" for f, v in values if v != f.default and f.name != "source"]
        return f"Preprocessing({', '.join(arguments)})"


def photograph(
    size: int | tuple[int, int] = 224,
    mean: tuple[float, ...] = IMAGENET_MEAN,
    std: tuple[float, ...] = IMAGENET_STD,
) -> torch.Tensor:
    """The sample photograph, cropped and normalised as ImageNet models expect.

    Args:
        size: height and width in pixels, or one number for a square.
        mean: what is subtracted from red, green and blue in the range 0 to 1.
        std: what they are divided by then; one number for a grey picture.

    Returns:
        A float tensor of shape 1 × channels × height × width.

    Example:
        >>> photograph(64).shape
        torch.Size([1, 3, 64, 64])
    """
    height, width = (size, size) if isinstance(size, int) else size
    prepare = Preprocessing((max(height, width),), (height, width), mean, std)
    return prepare(sample_photograph().image)


def imagenet(channels: int, size: tuple[int, int]) -> Preprocessing:
    """ImageNet's mean and deviation, with the shorter side resized to what is cropped.

    Args:
        channels: how many channels the model takes.
        size: height and width that it takes.
    """
    prepare = Preprocessing((max(size),), size, source="ImageNet's numbers")
    return prepare.with_channels(channels)


def photograph_or_noise(
    channels: int, prepare: Preprocessing
) -> tuple[torch.Tensor, Preprocessing | None]:
    """The photograph in 1 or 3 channels, with how it was prepared; noise in another number.

    Args:
        channels: how many channels a model takes.
        prepare: how to prepare a picture for it.
    """
    if channels not in (1, RGB):
        return noise(1, channels, *prepare.crop), None
    prepare = prepare.with_channels(channels)
    return prepare(sample_photograph().image), prepare


def as_seen(pixels: torch.Tensor) -> torch.Tensor:
    """What the input of a model shows, for people to look at, if its preparation is unknown.

    Args:
        pixels: channels × height × width, 1 or 3 channels.

    Returns:
        3 × height × width from 0 to 1: as it is if it is in that range already, else with
        ImageNet's normalisation undone if that gives it, else scaled to its own range.

    Example:
        >>> as_seen(torch.tensor([[[-2.0, 0.0, 2.0]]]))[0]
        tensor([[0.0000, 0.5000, 1.0000]])
    """
    pixels = pixels.detach().float().cpu()
    low, high = float(pixels.min()), float(pixels.max())
    if low >= 0 and high <= 1:
        return pixels.expand(RGB, -1, -1)
    if len(pixels) == RGB:
        mean, std = (torch.tensor(n).reshape(-1, 1, 1) for n in (IMAGENET_MEAN, IMAGENET_STD))
        back = pixels * std + mean
        tolerance = 0.02
        if -tolerance <= float(back.min()) and float(back.max()) <= 1 + tolerance:
            return back.clamp(0, 1)
    return ((pixels - low) / ((high - low) or 1)).expand(RGB, -1, -1)


def preprocessing_from_text(
    resize: str,
    crop: str,
    mean: str,
    std: str,
    interpolation: str = "bilinear",
    channels: int = RGB,
) -> Preprocessing:
    """Read numbers that were typed.

    Args:
        resize: ``"256"``, ``"256×320"`` or nothing.
        crop: the same as ``resize``, but one number is a square.
        mean: a number, or one for each channel.
        std: a number, or one for each channel, none of them 0.
        interpolation: one of PIL's methods.
        channels: how many channels the model takes.

    Raises:
        ValueError: if they are not as they should be, with what to write instead.

    Example:
        >>> preprocessing_from_text("64", "56 x 48", "0.5", "0.5").words
        'resize 64 · crop 56×48 · mean 0.5, deviation 0.5'
    """
    sides = _whole_numbers("crop", crop)
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
