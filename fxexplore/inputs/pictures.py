"""Pictures from files and variables, as red, green and blue in eight bits."""

from __future__ import annotations

import dataclasses
import io
import os
import warnings
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from PIL import Image

MOST_PIXELS = 50_000_000  # 150 MB in RGB; phones make pictures of 12 to 48 million
_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF")  # none whose reader starts another program
_ORIENTATION = 0x0112  # a tag of EXIF
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
        code: the expression that reads it.
    """

    image: Image.Image
    name: str
    notes: tuple[str, ...] = ()
    code: str = ""


def read_picture(source: Any, name: str | None = None, code: str | None = None) -> Picture:
    """Read a picture, turn it upright and convert it to RGB.

    Args:
        source: the bytes of a file (PNG, JPEG, WebP, BMP, GIF or TIFF), its path, a PIL
            image, a ``Picture``, or an array or tensor of shape H×W, H×W×C or C×H×W with 1, 3 or 4
            channels: integers, or floats from 0 to 1.
        name: what the picture goes by; by default the name of its file, or its kind.
        code: the expression that reads it; by default the file of that name is read.

    Raises:
        ValueError: if it is no picture, is too large, or has other channels.
        TypeError: if ``source`` is of another kind.
        OSError: if there is no such file.

    Example:
        >>> picture = read_picture(torch.ones(4, 6))
        >>> picture.image.size, picture.notes
        ((6, 4), ('greyscale',))
    """
    from PIL import Image, ImageOps

    if isinstance(source, Picture):
        return dataclasses.replace(source, code=code or source.code)
    notes: list[str] = []
    if isinstance(source, (str, os.PathLike)):
        name, code = name or os.path.basename(source), code or f"read_picture({str(source)!r})"
        with open(source, "rb") as file:
            image = _opened(file, name)
    elif isinstance(source, (bytes, bytearray, memoryview)):
        name = name or "picture"
        image = _opened(io.BytesIO(source), name)
    elif isinstance(source, Image.Image):
        name, image = name or "picture", source
    elif isinstance(source, torch.Tensor) or hasattr(source, "__array_interface__"):
        name = name or "array"
        image, notes = _from_array(_array_of(source), name)
    else:
        raise TypeError(
            f"a {type(source).__name__} is no picture; give a path, the bytes of a file, a PIL "
            f"image, an array or a tensor"
        )
    _refuse_large(image.size, name)
    if image.getexif().get(_ORIENTATION, _UPRIGHT) != _UPRIGHT:
        image = ImageOps.exif_transpose(image)
        notes.append("turned upright")
    image, more = _in_rgb(image, name)
    return Picture(image, name, (*notes, *more), code or f"read_picture({name!r})")


def sample_photograph() -> Picture:
    """Matplotlib's photograph of Grace Hopper."""
    from matplotlib import cbook

    file = cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)
    return read_picture(file, "photograph", "sample_photograph()")


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


def _in_rgb(image: Image.Image, name: str) -> tuple[Image.Image, list[str]]:
    """The picture in RGB, and what had to be changed for it."""
    from PIL import Image as Pillow

    notes: list[str] = []
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        image, notes = _from_array(_array_of(image), name)
    if image.mode == "RGB":
        return image, notes
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Pillow.alpha_composite(Pillow.new("RGBA", image.size, "white"), image)
        return image.convert("RGB"), ["transparency on white"]
    words = {"1": "black and white", "L": "greyscale", "P": ""}
    note = words.get(image.mode, f"converted from {image.mode}")
    return image.convert("RGB"), [*notes, note] if note else notes


def _array_of(source: Any) -> Any:
    """A tensor, an array or a PIL image as an array of numpy."""
    import numpy as np

    if isinstance(source, torch.Tensor):
        if source.device.type == "meta":
            raise ValueError("a tensor on the meta device has no values to look at")
        if source.is_complex():
            raise ValueError("a tensor of complex numbers is no picture")
        source = source.detach().cpu()
        return (source.float() if source.is_floating_point() else source).numpy()
    values = np.asarray(source)
    # PIL reads files of 16 bits in modes of 32 bits.
    is_wide = getattr(source, "mode", "").startswith("I")
    return values.clip(0, _WORD).astype(np.uint16) if is_wide else values


def _from_array(values: Any, name: str) -> tuple[Image.Image, list[str]]:
    """An array as a picture of eight bits, and what had to be changed for it."""
    import numpy as np
    from PIL import Image

    values = _channels_last(values, name)
    _refuse_large((values.shape[1], values.shape[0]), name)
    note = ""
    if values.dtype != np.uint8:
        if values.dtype == np.uint16:
            values, note = values / _WORD, "16 bit"
        else:
            values, note = _in_unit_range(values.astype(np.float64))
        values = (values * _BYTE).round().astype(np.uint8)
    if values.ndim == _WITH_CHANNELS and values.shape[-1] == 1:
        values = values[..., 0]
    return Image.fromarray(np.ascontiguousarray(values)), [note] if note else []


def _in_unit_range(values: Any) -> tuple[Any, str]:
    """Floats from 0 to 1, and how they were brought there."""
    import numpy as np

    if not np.isfinite(values).all():
        raise ValueError("the values of the picture are not all finite")
    low, high = float(values.min()), float(values.max())
    if low >= 0 and high <= 1:
        return values, ""
    if low >= 0 and high <= _BYTE:
        return values / _BYTE, "read as 0 … 255"
    return (values - low) / (high - low), f"scaled from {low:.3g} … {high:.3g}"


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
