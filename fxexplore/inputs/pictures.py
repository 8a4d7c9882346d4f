"""Pictures from files and variables, as red, green and blue in eight bits."""

from __future__ import annotations

import dataclasses
import io
import os
import warnings
from typing import TYPE_CHECKING, Any

import torch

from .samples import IMAGENET_MEAN, IMAGENET_STD, RGB

if TYPE_CHECKING:
    from PIL import Image

MOST_PIXELS = 50_000_000  # 150 MB in RGB; telephones make pictures of 12 to 48 million
_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF")  # none that starts a program
_ORIENTATION = 0x0112  # the tag of EXIF
_UPRIGHT = 1
_BYTE = 255
_WORD = 65535
_CHANNELS = (1, 3, 4)
_WITH_CHANNELS = 3


@dataclasses.dataclass(frozen=True)
class Picture:
    """A picture and where it comes from.

    Attributes:
        image: a PIL image in mode ``"RGB"``, upright.
        name: what it goes by, such as the name of its file.
        notes: what was changed to get there, in words.
    """

    image: Image.Image
    name: str
    notes: tuple[str, ...] = ()


def read_picture(source: Any, name: str | None = None) -> Picture:
    """Read a picture, turn it upright and convert it to RGB.

    Args:
        source: the bytes of a file (PNG, JPEG, WebP, BMP, GIF or TIFF), its path, a PIL
            image, or an array or tensor of shape H×W, H×W×C or C×H×W with 1, 3 or 4
            channels: integers, or floats from 0 to 1.
        name: what the picture goes by; by default its path or kind.

    Raises:
        ValueError: if it is no picture, is too large, or has other channels.
        TypeError: if ``source`` is of another kind.
        OSError: if there is no such file.

    Example:
        >>> picture = read_picture(torch.ones(4, 6))
        >>> picture.image.size, picture.notes
        ((6, 4), ('greyscale',))
    """
    from PIL import Image

    if isinstance(source, (str, os.PathLike)):
        path = os.fspath(source)
        name = name or os.path.basename(path)
        with open(path, "rb") as file:
            return _converted(_opened(file, name), name)
    if isinstance(source, (bytes, bytearray, memoryview)):
        name = name or "picture"
        return _converted(_opened(io.BytesIO(source), name), name)
    if isinstance(source, Image.Image):
        return _converted(source, name or "picture")
    if isinstance(source, torch.Tensor):
        source = _numbers_of(source)
    if hasattr(source, "__array_interface__"):
        image, notes = _from_array(source, name or "array")
        converted = _converted(image, name or "array")
        return dataclasses.replace(converted, notes=(*notes, *converted.notes))
    raise TypeError(
        f"a {type(source).__name__} is no picture; give a path, the bytes of a file, a PIL image, "
        f"an array or a tensor"
    )


def sample_photograph() -> Picture:
    """Matplotlib's photograph of Grace Hopper."""
    from matplotlib import cbook

    return read_picture(cbook.get_sample_data("grace_hopper.jpg", asfileobj=False), "photograph")


def as_seen(pixels: torch.Tensor) -> torch.Tensor:
    """What the input of a model shows, for people to look at, if its preparation is unknown.

    Args:
        pixels: channels × height × width, 1 or 3 channels.

    Returns:
        3 × height × width from 0 to 1: as it is if it is in that range already, else with
        ImageNet's normalisation turned back if that gives it, else scaled to its own range.

    Example:
        >>> as_seen(torch.tensor([[[-2.0, 0.0, 2.0]]]))[0]
        tensor([[0.0000, 0.5000, 1.0000]])
    """
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


def _opened(file: Any, name: str) -> Image.Image:
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            # What PIL warns of is refused below, in words.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(file, formats=_FORMATS)
        _refuse_large(image.size, name)
        image.load()
    except Image.DecompressionBombError:
        raise ValueError(
            f"{name} has more than {2 * (Image.MAX_IMAGE_PIXELS or 0) // 1_000_000} megapixels; "
            f"at most {MOST_PIXELS // 1_000_000} are read. Make it smaller first"
        ) from None
    except UnidentifiedImageError:
        raise ValueError(f"{name} is no picture; give a PNG, JPEG or WebP file") from None
    except (OSError, SyntaxError) as problem:  # what PIL raises for broken files
        raise ValueError(f"{name} is broken or cut off: {problem}") from None
    return image


def _refuse_large(size: tuple[int, int], name: str) -> None:
    width, height = size
    if not width or not height:
        raise ValueError(f"{name} is {width} × {height} pixels: there is nothing in it")
    if width * height > MOST_PIXELS:
        raise ValueError(
            f"{name} has {width * height / 1e6:.0f} megapixels ({width} × {height}); at most "
            f"{MOST_PIXELS // 1_000_000} are read. Make it smaller first"
        )


def _converted(image: Image.Image, name: str) -> Picture:
    from PIL import ImageOps

    _refuse_large(image.size, name)
    notes = []
    if image.getexif().get(_ORIENTATION, _UPRIGHT) != _UPRIGHT:
        image = ImageOps.exif_transpose(image)
        notes.append("turned upright")
    image, note = _in_rgb(image)
    return Picture(image, name, (*notes, note) if note else tuple(notes))


def _in_rgb(image: Image.Image) -> tuple[Image.Image, str]:
    """The picture in RGB, and what had to be changed for it."""
    if image.mode == "RGB":
        return image, ""
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        grey, note = _in_bytes(image)
        return grey.convert("RGB"), note
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        return _on_white(image), "transparency on white"
    words = {"1": "black and white", "L": "greyscale", "P": ""}
    return image.convert("RGB"), words.get(image.mode, f"converted from {image.mode}")


def _on_white(image: Image.Image) -> Image.Image:
    from PIL import Image as Pillow

    image = image.convert("RGBA")
    ground = Pillow.new("RGBA", image.size, "white")
    return Pillow.alpha_composite(ground, image).convert("RGB")


def _in_bytes(image: Image.Image) -> tuple[Image.Image, str]:
    """A greyscale picture of more than eight bits in eight."""
    import numpy as np

    values = np.asarray(image).astype(np.float64)
    if image.mode.startswith("I"):
        return _grey(values / _WORD), "16 bit greyscale"
    scaled, note = _in_unit_range(values)
    return _grey(scaled), f"greyscale{note}"


def _grey(values: Any) -> Image.Image:
    import numpy as np
    from PIL import Image

    return Image.fromarray((values.clip(0, 1) * _BYTE).round().astype(np.uint8))


def _in_unit_range(values: Any) -> tuple[Any, str]:
    """Floats from 0 to 1, and how they were brought there."""
    import numpy as np

    if not np.isfinite(values).all():
        raise ValueError("the values of the picture are not all finite")
    low, high = float(values.min()), float(values.max())
    if low >= 0 and high <= 1:
        return values, ""
    if low >= 0 and high <= _BYTE:
        return values / _BYTE, ", read as 0 … 255"
    return (values - low) / (high - low), f", scaled from {low:.3g} … {high:.3g}"


def _numbers_of(tensor: torch.Tensor) -> Any:
    if tensor.device.type == "meta":
        raise ValueError("a tensor on the meta device has no values to look at")
    if tensor.is_complex():
        raise ValueError("a tensor of complex numbers is no picture")
    tensor = tensor.detach().cpu()
    return (tensor.float() if tensor.is_floating_point() else tensor).numpy()


def _from_array(source: Any, name: str) -> tuple[Image.Image, tuple[str, ...]]:
    import numpy as np
    from PIL import Image

    values = _channels_last(np.asarray(source), name)
    _refuse_large((values.shape[1], values.shape[0]), name)
    notes: tuple[str, ...] = ()
    if values.dtype == np.uint8:
        in_bytes = values
    else:
        if values.dtype == np.uint16:
            scaled, note = values / _WORD, "16 bit"
        else:
            scaled, note = _in_unit_range(values.astype(np.float64))
        in_bytes = (scaled * _BYTE).round().astype(np.uint8)
        notes = (note.removeprefix(", "),) if note else ()
    if values.ndim == _WITH_CHANNELS and values.shape[-1] == 1:
        in_bytes = in_bytes[..., 0]
    return Image.fromarray(np.ascontiguousarray(in_bytes)), notes


def _channels_last(values: Any, name: str) -> Any:
    """H×W or H×W×C, from C×H×W too and from a batch of one."""
    shape = "×".join(map(str, values.shape)) or "scalar"
    if values.dtype.kind not in "buif":
        raise ValueError(f"{name} holds {values.dtype}; a picture holds numbers")
    if values.ndim > _WITH_CHANNELS and values.shape[0] == 1:
        values = values[0]
    if values.ndim == _WITH_CHANNELS:
        if values.shape[-1] in _CHANNELS:
            return values
        if values.shape[0] in _CHANNELS:
            return values.transpose(1, 2, 0)
        channels = min(values.shape[0], values.shape[-1])
        raise ValueError(
            f"{name} is {shape}, with {channels} channels; a picture has 1 (grey), 3 (RGB) or 4 "
            f"(RGBA)"
        )
    if values.ndim == _WITH_CHANNELS - 1:
        return values
    raise ValueError(f"{name} is {shape}; a picture is H×W, H×W×C or C×H×W")
