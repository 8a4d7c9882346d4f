"""Sample tensors: the photograph, noise, and how a model wants them."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import nn

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
RGB = 3
TOKENS = 8
FRAMES = 16
SQUARES = 8  # of a checkerboard, along its shorter side


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


def pixels_of_size(
    channels: int,
    size: tuple[int, int],
    mean: tuple[float, ...] = IMAGENET_MEAN,
    std: tuple[float, ...] = IMAGENET_STD,
) -> torch.Tensor:
    """The photograph in 1 or 3 channels, noise in another number of them."""
    if channels not in (1, RGB):
        return noise(1, channels, *size)
    picture = photograph(size, mean, std)
    return picture.mean(dim=1, keepdim=True) if channels == 1 else picture


def noise(*shape: int) -> torch.Tensor:
    """Normal random numbers, the same every time."""
    # A generator of its own: the global random state belongs to the user.
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def impulse(*shape: int) -> torch.Tensor:
    """One in the middle of zeros, which shows what a single point does.

    Example:
        >>> impulse(1, 1, 3, 3).flatten()
        tensor([0., 0., 0., 0., 1., 0., 0., 0., 0.])
    """
    values = torch.zeros(shape)
    middle = values.movedim((0, 1), (-2, -1)) if len(shape) > 1 else values
    for size in shape[2:]:
        middle = middle[size // 2]
    middle.fill_(1)
    return values


def checkerboard(*shape: int) -> torch.Tensor:
    """Squares of 1 and -1, eight along the shorter side, in every channel.

    Example:
        >>> checkerboard(1, 1, 8, 8)[0, 0, :2, :3]
        tensor([[ 1., -1.,  1.],
                [-1.,  1., -1.]])
    """
    side = max(1, min(shape[2:]) // SQUARES)
    squares = sum(
        torch.arange(size).div(side, rounding_mode="floor").reshape(-1, *(1,) * after)
        for after, size in zip(range(len(shape) - 3, -1, -1), shape[2:], strict=True)
    )
    return torch.as_tensor(1 - 2 * (squares % 2)).float().expand(shape).contiguous()


def as_model_has_it(model: nn.Module, value: Any) -> Any:
    """Move tensors to the model's device, and floating ones to its dtype.

    Args:
        model: the model that is to run on them.
        value: tensors in a nesting of tuples, lists and dicts.
    """
    parameter = next((p for p in model.parameters() if p.is_floating_point()), None)
    if parameter is None:
        return value
    if isinstance(value, torch.Tensor):
        dtype = parameter.dtype if value.is_floating_point() else value.dtype
        return value.to(parameter.device, dtype)
    if isinstance(value, (tuple, list)):
        return type(value)(as_model_has_it(model, item) for item in value)
    if isinstance(value, dict):
        return {key: as_model_has_it(model, item) for key, item in value.items()}
    return value


def tensors_of(values: Any) -> list[torch.Tensor]:
    """The tensors in a nesting of lists and tuples."""
    found = []
    for value in values:
        if isinstance(value, torch.Tensor):
            found.append(value)
        elif isinstance(value, (list, tuple)):
            found += tensors_of(value)
    return found


def required_arguments(model: nn.Module) -> list[str]:
    """The arguments of forward that have no default."""
    parameters = inspect.signature(model.forward).parameters.values()
    variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [p.name for p in parameters if p.default is p.empty and p.kind not in variable]
