"""Run an extractor: stoppable, and out of the way of the user's own runs."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.utils._pytree import tree_map

from fxexplore.feature_extraction import isolated, restores, switch_mode
from fxexplore.notebook.task import Stop, Task, watched


@restores
def computed(
    extractor: nn.Module,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    *,
    training: bool = False,
    task: Task[Any] | None = None,
) -> dict[str, Any]:
    """Run an extractor once, without gradients, and leave its model as it was.

    Args:
        extractor: the extractor; in a task a twin, whose flags change, and whose buffers may.
        args: positional arguments, which are copied: a model may write into its inputs.
        kwargs: keyword arguments, likewise.
        training: whether to run in train mode; what is frozen then stays frozen.
        task: follows the run, and can stop it.

    Raises:
        Stop: if ``task.stop`` was set.
    """
    args, kwargs = tree_map(_copied, (args, kwargs))
    features: dict[str, Any]
    if task is None:
        isolation = isolated(extractor, (args, kwargs), training=training, as_twin=True)
        with isolation as model, torch.no_grad():
            features = model(*args, **kwargs)
        return features
    switch_mode(extractor, training)
    with watched(extractor, task), torch.no_grad():
        features = extractor(*args, **kwargs)
    if task.stop.is_set():
        raise Stop
    return features


def _copied(value: Any) -> Any:
    return value.clone() if isinstance(value, torch.Tensor) else value
