"""Run an extractor: stoppable, and out of the way of the user's own runs."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn

from fxexplore.feature_extraction import switch_mode, untouched
from fxexplore.notebook.task import Stop, Task, watched


def twin_of(extractor: nn.Module) -> nn.Module | None:
    """A copy that shares the parameters, and has flags, buffers and attributes of its own.

    Args:
        extractor: the module to copy.

    Returns:
        The copy, or None if something in the module cannot be copied.

    Example:
        >>> twin = twin_of(norm := nn.BatchNorm1d(2))
        >>> twin.weight is norm.weight, twin.running_mean is norm.running_mean
        (True, False)
    """
    memo: dict[int, Any] = {id(parameter): parameter for parameter in extractor.parameters()}
    try:
        return copy.deepcopy(extractor, memo)
    except Exception:  # noqa: BLE001  # locks, handles of files, tensors with a history, ...
        return None


def computed(
    extractor: nn.Module,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    *,
    training: bool = False,
    task: Task[Any] | None = None,
) -> dict[str, Any]:
    """Run a twin of an extractor once, without gradients.

    Args:
        extractor: a twin: its flags change, and its buffers may.
        args: positional arguments, which are copied: a model may write into its inputs.
        kwargs: keyword arguments, likewise.
        training: whether to run in train mode; what is frozen then stays frozen.
        task: follows the run, and can stop it.

    Raises:
        Stop: if ``task.stop`` was set.
    """
    args, kwargs = _cloned(args), _cloned(kwargs)
    if training:
        switch_mode(extractor, training=True)
    else:
        extractor.eval()
    with torch.no_grad(), watched(extractor, task):
        features: dict[str, Any] = extractor(*args, **kwargs)
    if task is not None and task.stop.is_set():
        raise Stop
    return features


def computed_harmlessly(
    extractor: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], *, training: bool = False
) -> dict[str, Any]:
    """Run an extractor now, and leave the model and the random state as they were.

    Args:
        extractor: the extractor, of which a twin is run if there can be one.
        args: as for :func:`computed`.
        kwargs: likewise.
        training: likewise.
    """
    twin = twin_of(extractor)
    if twin is not None:
        with untouched(twin):
            return computed(twin, args, kwargs, training=training)
    model = getattr(extractor, "_recorded_model", extractor)
    numbers = [(buffer, buffer.clone()) for buffer in model.buffers()]
    try:
        with untouched(model), untouched(extractor):
            return computed(extractor, args, kwargs, training=training)
    finally:
        for buffer, before in numbers:
            buffer.data.copy_(before)


def _cloned(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.clone()
    if type(value) in (list, tuple):
        return type(value)(_cloned(item) for item in value)
    if isinstance(value, dict):
        return {key: _cloned(item) for key, item in value.items()}
    return value
