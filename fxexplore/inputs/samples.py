"""Sample tensors: noise, an impulse, a checkerboard."""

from __future__ import annotations

from typing import Any

import torch

TOKENS = 8
FRAMES = 16
_SQUARES = 8  # of a checkerboard, along its shorter side


def noise(*shape: int) -> torch.Tensor:
    """Normal random numbers, the same every time.

    Example:
        >>> torch.equal(noise(2, 3), noise(2, 3))
        True
    """
    # A generator of its own: the global random state belongs to the user.
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def impulse(*shape: int) -> torch.Tensor:
    """One in the middle of zeros, which shows what a single point does.

    Example:
        >>> impulse(1, 1, 3, 3).flatten()
        tensor([0., 0., 0., 0., 1., 0., 0., 0., 0.])
    """
    values = torch.zeros(shape)
    middle: tuple[Any, ...] = (..., *(size // 2 for size in shape[2:]))
    values[middle] = 1
    return values


def checkerboard(*shape: int) -> torch.Tensor:
    """Squares of 1 and -1, eight along the shorter side, in every channel.

    Example:
        >>> checkerboard(1, 1, 8, 8)[0, 0, :2, :3]
        tensor([[ 1., -1.,  1.],
                [-1.,  1., -1.]])
    """
    side = max(1, min(shape[2:]) // _SQUARES)
    squares = [torch.arange(size) // side for size in shape[2:]]
    odd = torch.stack(torch.meshgrid(*squares, indexing="ij")).sum(0) % 2
    return (1.0 - 2 * odd).expand(shape).contiguous()
