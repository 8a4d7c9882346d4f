"""Example inputs: given by the caller, or made from the sample photograph."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import nn

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


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
        values = (*self.args, *self.kwargs.values())
        tensors = [v for v in values if isinstance(v, torch.Tensor)]
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
    """Take the caller's example inputs, or make them from the sample photograph.

    Args:
        model: the model that is to run on them.
        example_inputs: a tensor, a tuple of positional arguments, a dict of keyword
            arguments, or a pair of both. By default matplotlib's photograph of Grace
            Hopper, for a model whose first layer is a ``Conv2d`` on 1 or 3 channels.

    Raises:
        TypeError: if ``example_inputs`` is none of these.
        ValueError: if nothing was given and the photograph does not fit.

    Example:
        >>> example_inputs_for(nn.Conv2d(3, 8, 3)).shapes
        '1×3×224×224'
        >>> example_inputs_for(nn.Linear(2, 1), torch.ones(5, 2)).shapes
        '5×2'
    """
    if example_inputs is None:
        return _photograph_for(model)
    given = "given"
    if isinstance(example_inputs, torch.Tensor):
        return ExampleInputs((example_inputs,), {}, given)
    if isinstance(example_inputs, dict):
        return ExampleInputs((), dict(example_inputs), given)
    if isinstance(example_inputs, (tuple, list)):
        if len(example_inputs) == 2 and [type(part) for part in example_inputs] == [tuple, dict]:  # noqa: PLR2004
            return ExampleInputs(example_inputs[0], dict(example_inputs[1]), given)
        return ExampleInputs(tuple(example_inputs), {}, given)
    raise TypeError(
        f"example_inputs is a {type(example_inputs).__name__}; give a tensor, a tuple of "
        f"positional arguments, a dict of keyword arguments, or a pair (tuple, dict)"
    )


# Layers that say what a model takes; convolutions of every dimension among them.
_LAYERS = (nn.Linear, nn.Bilinear, nn.Embedding, nn.modules.conv._ConvNd, nn.RNNBase)


def _photograph_for(model: nn.Module) -> ExampleInputs:
    first = next((m for m in model.modules() if isinstance(m, _LAYERS)), None)
    channels = first.in_channels if isinstance(first, nn.Conv2d) else None
    if channels not in (1, 3):
        what = "no layer" if first is None else f"{type(first).__name__}({first.extra_repr()})"
        raise ValueError(
            f"the first layer is {what}, which takes no photograph; give "
            f"example_inputs=torch.randn(...) in the shape that the model expects"
        )
    size = getattr(model, "image_size", 224)
    size = size if isinstance(size, int) else 224
    picture = photograph(size)
    if channels == 1:
        picture = picture.mean(dim=1, keepdim=True)
    device = next(model.parameters()).device
    return ExampleInputs((picture.to(device),), {}, "photograph")


def photograph(size: int = 224) -> torch.Tensor:
    """The sample photograph, cropped to a square and normalised as ImageNet models expect.

    Args:
        size: height and width in pixels.

    Returns:
        A float tensor of shape 1 × 3 × ``size`` × ``size``.
    """
    import matplotlib.image
    from matplotlib import cbook
    from torchvision.transforms import v2

    file = cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)
    pixels = torch.from_numpy(matplotlib.image.imread(file).copy())
    prepare = v2.Compose(
        [
            v2.Resize(size, antialias=True),
            v2.CenterCrop(size),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(IMAGENET_MEAN, IMAGENET_STD),
        ]
    )
    batch: torch.Tensor = prepare(pixels.permute(2, 0, 1)).unsqueeze(0)
    return batch
