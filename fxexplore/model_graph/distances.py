"""How far the numbers of two models are apart, one parameter at a time."""

from __future__ import annotations

import math
from collections import defaultdict

import torch
from torch import nn

from .nodes import prefixes

_AT_ONCE = 1 << 22  # numbers of a parameter that are compared at once


def distances(first: nn.Module, second: nn.Module) -> dict[str, float]:
    """How far parameters of the same names and shapes moved from one model to another.

    Args:
        first: the model as it was.
        second: the model as it is.

    Returns:
        The norm of the difference relative to the norm of the first, for each parameter, for
        those in each module, and for all (``""``).

    Example:
        >>> a, b = nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False)
        >>> _ = nn.init.constant_(a.weight, 1.0), nn.init.constant_(b.weight, 1.5)
        >>> distances(a, b)
        {'': 0.5, 'weight': 0.5}
    """
    others = dict(second.named_parameters(remove_duplicate=False))
    squares: dict[tuple[int, int], tuple[float, float]] = {}
    inside: defaultdict[str, set[tuple[int, int]]] = defaultdict(set)
    for name, a in first.named_parameters(remove_duplicate=False):
        b = others.get(name)
        if b is None or not _is_comparable(a, b):
            continue
        pair = (id(a), id(b))  # one that is shared counts once
        if pair not in squares:
            squares[pair] = _squares(a, b)
        for path in ("", *prefixes(name)):
            inside[path].add(pair)
    found = {}
    for path, pairs in inside.items():
        difference, size = map(sum, zip(*(squares[pair] for pair in pairs), strict=True))
        found[path] = math.sqrt(difference / size) if size else math.inf if difference else 0.0
    return found


def _squares(a: torch.Tensor, b: torch.Tensor) -> tuple[float, float]:
    """The sums of squares of the difference and of the first."""
    difference = size = 0.0
    for one, other in zip(*(_parts(tensor) for tensor in (a, b)), strict=True):
        old, new = one.double(), other.to(one.device).double()
        difference += float((new - old).square().sum())
        size += float(old.square().sum())
    return difference, size


def _parts(tensor: torch.Tensor) -> tuple[torch.Tensor, ...]:
    numbers = tensor.detach()
    numbers = torch.view_as_real(numbers) if numbers.is_complex() else numbers
    return torch.split(numbers.flatten(), _AT_ONCE)


def _is_comparable(a: torch.Tensor, b: torch.Tensor) -> bool:
    if nn.parameter.is_lazy(a) or nn.parameter.is_lazy(b) or a.is_meta or b.is_meta:
        return False
    return a.shape == b.shape and a.layout == b.layout == torch.strided


def differing_buffers(first: nn.Module, second: nn.Module) -> dict[str, list[str]]:
    """The names of the buffers that differ, such as running statistics, by path of the module.

    Args:
        first: the model as it was.
        second: the model as it is.
    """
    others = dict(second.named_buffers())
    found: defaultdict[str, list[str]] = defaultdict(list)
    for name, a in first.named_buffers():
        b = others.get(name)
        if b is None or a is b or not _is_comparable(a, b):
            continue
        if not torch.equal(a, b.to(a)):
            path, _, label = name.rpartition(".")
            found[path].append(label)
    return dict(found)
