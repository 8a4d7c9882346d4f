"""What is kept of a value: all of it, or less, along axes that the model's graph tells."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import torch

from fxexplore.feature_extraction import kind_of
from fxexplore.model_graph import Reading

Reduction = Literal["mean", "max", "cls"] | Callable[[torch.Tensor], torch.Tensor] | None
_WAYS = ("mean", "max", "cls")


def reductions_by_key(
    reduce: Reduction | Mapping[str, Reduction], keys: list[str]
) -> dict[str, Reduction]:
    """The reduction of every key.

    Args:
        reduce: one for all keys, or a dict of them by key, in which no key means none.
        keys: the keys.

    Raises:
        ValueError: if a reduction or a key is unknown.

    Example:
        >>> reductions_by_key({"a": "mean"}, ["a", "b"])
        {'a': 'mean', 'b': None}
    """
    by_key = dict(reduce) if isinstance(reduce, Mapping) else dict.fromkeys(keys, reduce)
    strange = [key for key in by_key if key not in keys]
    if strange:
        raise ValueError(f"reduce has {strange[0]!r}, which is no key; they are {', '.join(keys)}")
    for way in by_key.values():
        if way is not None and not callable(way) and way not in _WAYS:
            raise ValueError(
                f"reduce is {way!r}; write 'mean', 'max', 'cls', a function, or a dict of these"
            )
    return {key: by_key.get(key) for key in keys}


def reduced(
    value: torch.Tensor,
    way: Reduction,
    reading: Reading,
    mask: torch.Tensor | None,
    key: str,
) -> torch.Tensor:
    """A value with less in it.

    Args:
        value: batch × any.
        way: ``"mean"`` or ``"max"`` over all axes but batch, channels and heads; ``"cls"`` for
            the first token; or a function of the value.
        reading: what the axes are.
        mask: batch × tokens, which tokens count; None for all.
        key: of the value, for the errors.

    Raises:
        ValueError: if the axes are not known, or there is no first token to speak of.

    Example:
        >>> reduced(torch.ones(2, 3, 4, 4), "mean", Reading("NCHW"), None, "x").shape
        torch.Size([2, 3])
    """
    if way is None:
        return value
    if callable(way):
        return _by_function(value, way, key)
    if "?" in reading.axes or "N" not in reading.axes:
        raise ValueError(
            f"what the axes of {key!r} stand for is not known (its shape is "
            f"{tuple(value.shape)}); give a function of the value as reduce"
        )
    if way == "cls":
        if "L" not in reading.axes or reading.is_attention or (reading.grid and not reading.prefix):
            raise ValueError(f"{key!r} has no class token: its axes are {reading.axes}")
        return value.select(reading.axes.index("L"), 0)
    return _over_places(value, way, reading, mask)


def _by_function(
    value: torch.Tensor, way: Callable[[torch.Tensor], torch.Tensor], key: str
) -> torch.Tensor:
    result = way(value)
    if not isinstance(result, torch.Tensor):
        raise ValueError(  # noqa: TRY004  # of the request
            f"reduce gave {kind_of(result)} for {key!r}; it has to give a tensor"
        )
    return result


def _over_places(
    value: torch.Tensor, way: str, reading: Reading, mask: torch.Tensor | None
) -> torch.Tensor:
    kept = "NH" if reading.is_attention else "NC"
    if "L" in reading.axes and not reading.is_attention and "H" in reading.axes:
        kept = "NHC"
    axes = [i for i, letter in enumerate(reading.axes) if letter not in kept]
    if not axes:
        return value
    is_token = tokens_that_count(value, reading, mask)
    if way == "max":
        held = value if is_token is None else value.masked_fill(~is_token, -torch.inf)
        return held.amax(axes)
    if is_token is None:
        return value.mean(axes)
    return value.masked_fill(~is_token, 0).sum(axes) / is_token.expand(value.shape).sum(axes)


def tokens_that_count(
    value: torch.Tensor, reading: Reading, mask: torch.Tensor | None
) -> torch.Tensor | None:
    """Which numbers of a value are of tokens that are no padding; None if all are.

    Args:
        value: batch × any.
        reading: what the axes are.
        mask: batch × tokens.

    Returns:
        Booleans that broadcast with the value.
    """
    if mask is None:
        return None
    counted: torch.Tensor | None = None
    for i, letter in enumerate(reading.axes):
        if letter == "L" and value.shape[i] == mask.shape[1] and len(value) == len(mask):
            shape = [len(mask) if axis == "N" else 1 for axis in reading.axes]
            shape[i] = mask.shape[1]
            along = mask.to(value.device).reshape(shape)
            counted = along if counted is None else counted & along
    return counted
