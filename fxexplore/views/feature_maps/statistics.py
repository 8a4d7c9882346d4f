"""A tensor's facts in words: shape, type, range, mean, zeros, dead channels, NaN and Inf."""

from __future__ import annotations

import torch

from fxexplore.views.numbers import shape_text

from .tensor_parts import Item, readable

_WITH_PLACES = ("maps", "video", "sequence", "attention")


def statistics(tensor: torch.Tensor) -> str:
    """Shape, type, range, mean and share of zeros of a tensor, in one line.

    Example:
        >>> statistics(torch.tensor([[0.0, 2.0, 4.0, 0.0]]))
        '1×4 · float32 · 0 … 4 · mean 1.5 · 50 % zeros'
    """
    return " · ".join([*form(tensor), *facts(readable(tensor))])


def form(tensor: torch.Tensor) -> list[str]:
    """Shape and type of a tensor, in words."""
    return [shape_text(tuple(tensor.shape)), str(tensor.dtype).removeprefix("torch.")]


def facts(values: torch.Tensor) -> list[str]:
    """What the numbers are like, in words.

    Args:
        values: real numbers of any shape.

    Example:
        >>> facts(torch.tensor([0.0, 1.0, float("nan"), float("-inf")]))
        ['0 … 1', 'mean 0.5', '50 % zeros', '1 NaN', '1 Inf']
    """
    import numpy as np

    numbers = values.reshape(-1).numpy()
    is_finite = np.isfinite(numbers)
    finite = numbers if is_finite.all() else numbers[is_finite]
    parts = []
    if finite.size:
        # Halves, as the sum of the largest numbers is no number.
        mean = 2 * float((finite.astype(np.float64) / 2 / finite.size).sum())
        parts += [
            _range(float(finite.min()), float(finite.max())),
            f"mean {mean:.3g}".replace("-", "−"),
            _percent(1 - np.count_nonzero(finite) / finite.size),
        ]
    elif not numbers.size:
        parts.append("empty")
    for name, count in (("NaN", np.isnan(numbers).sum()), ("Inf", np.isinf(numbers).sum())):
        if count:
            parts.append(f"{int(count):,} {name}")
    return parts


def _range(low: float, high: float) -> str:
    return f"{low:.3g} … {high:.3g}".replace("-", "−")


def _percent(share: float) -> str:
    # A few zeros are not none, and almost all are not all.
    text = "<1" if 0 < share < 0.005 else ">99" if 0.995 <= share < 1 else f"{share:.0%}"[:-1]  # noqa: PLR2004
    return f"{text} % zeros"


def dead_channels(item: Item) -> int:
    """How many channels are zero at all their places.

    Example:
        >>> from fxexplore.views.feature_maps.tensor_axes import Reading
        >>> dead_channels(Item("maps", torch.eye(3).reshape(3, 3, 1) * 0, Reading("NCHW")))
        3
    """
    if item.kind not in _WITH_PLACES or item.values.numel() <= len(item.values):
        return 0
    rows = item.values.reshape(len(item.values), -1).numpy()
    return int((~rows.any(axis=1)).sum())


def item_facts(tensor: torch.Tensor, item: Item, index: int) -> list[str]:
    """The facts of the item that is drawn, of a tensor that holds a batch of them."""
    parts = form(tensor)
    batch = item.reading.batch(tensor.shape)
    if batch > 1:
        parts.append(f"item {index} of {batch}")
    if item.kind == "scalar":
        return parts
    parts += facts(item.values)
    dead = dead_channels(item)
    if item.kind in _WITH_PLACES and len(item.values) > 1:
        parts.append(f"{dead} dead channel{'s' * (dead != 1)}")
    return parts
