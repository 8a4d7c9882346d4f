"""The input picture as the array that is drawn under feature maps."""

from __future__ import annotations

from typing import Any

import torch

_CHANNELS = (1, 3, 4)
_BYTE = 255


def picture_of(image: Any) -> torch.Tensor:
    """Read a picture.

    Args:
        image: a tensor of 3×H×W, 1×3×H×W or H×W, an array of H×W×3 or H×W, or a PIL image.
            Bytes, or numbers from 0 to 1; others, such as those of a normalised input, are
            stretched into that range.

    Returns:
        H × W × 3, from 0 to 1.

    Raises:
        ValueError: if this is no picture.

    Example:
        >>> picture_of(torch.rand(1, 3, 20, 30)).shape
        torch.Size([20, 30, 3])
    """
    values = _as_tensor(image)
    shape = tuple(values.shape)
    if values.ndim == 4 and shape[0] == 1:  # noqa: PLR2004
        values = values[0]
    if values.ndim == 2:  # noqa: PLR2004
        values = values.unsqueeze(0)
    is_array = not isinstance(image, torch.Tensor)
    has_three = values.ndim == 3  # noqa: PLR2004
    if (
        has_three
        and values.shape[-1] in _CHANNELS
        and (is_array or values.shape[0] not in _CHANNELS)
    ):
        values = values.permute(2, 0, 1)
    if values.ndim != 3 or values.shape[0] not in _CHANNELS or 0 in values.shape:  # noqa: PLR2004
        raise ValueError(
            f"image has the shape {shape}; give one picture as a tensor of 3×H×W, an array of "
            f"H×W×3, or a PIL image"
        )
    colours = values[:3] if len(values) > 1 else values.expand(3, -1, -1)
    return _in_unit_range(colours, is_bytes=values.dtype == torch.uint8).permute(1, 2, 0)


def _as_tensor(image: Any) -> torch.Tensor:
    import numpy as np

    if isinstance(image, torch.Tensor):
        if image.device.type == "meta":
            raise ValueError("image is on the meta device, where tensors have no values")
        return image.detach().cpu()
    if hasattr(image, "convert") and hasattr(image, "getbands"):  # PIL, of whatever mode
        image = image.convert("RGB")
    array = np.asarray(image)
    if array.dtype.kind not in "buif":
        raise ValueError(
            f"image is a {type(image).__name__}; give a tensor of 3×H×W, an array of H×W×3, or "
            f"a PIL image"
        )
    return torch.from_numpy(array.copy())  # somebody else's memory may be read-only


def _in_unit_range(values: torch.Tensor, *, is_bytes: bool) -> torch.Tensor:
    numbers = torch.nan_to_num(values.double(), 0.0, 0.0, 0.0)
    if is_bytes:
        return numbers / _BYTE
    low, high = numbers.min(), numbers.max()
    if low >= 0 and high <= 1:
        return numbers
    return (numbers - low) / (high - low) if high > low else torch.zeros_like(numbers)
