"""Run an extractor: stoppable, and out of the way of the user's own runs."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from fxexplore.feature_extraction import isolated, restores, switch_mode
from fxexplore.notebook.task import Stop, Task, watched


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
    switch_mode(extractor, training)
    with torch.no_grad(), watched(extractor, task):
        features: dict[str, Any] = extractor(*args, **kwargs)
    if task is not None and task.stop.is_set():
        raise Stop
    return features


@restores
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
    with isolated(extractor, (args, kwargs), training=training, as_twin=True) as runs:
        return computed(runs, args, kwargs, training=training)


def _cloned(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.clone()
    if type(value) in (list, tuple):
        return type(value)(_cloned(item) for item in value)
    if isinstance(value, dict):
        return {key: _cloned(item) for key, item in value.items()}
    return value
