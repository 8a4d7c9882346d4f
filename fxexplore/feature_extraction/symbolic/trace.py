"""Trace a model symbolically in one mode, with the default leaves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn
from torch.fx.proxy import TraceError

from fxexplore.feature_extraction.common.isolation import isolated, restores
from fxexplore.feature_extraction.common.leaves import default_tracer_kwargs
from fxexplore.feature_extraction.common.wrappers import sharded_parameter

from .errors import only_defaults
from .tracer import NodePathTracer


@restores
def traced(
    model: nn.Module,
    training: bool,
    tracer_kwargs: Mapping[str, Any] | None = None,
    concrete_args: dict[str, Any] | None = None,
) -> NodePathTracer:
    """Trace a model in train or in eval mode and return the tracer.

    Args:
        model: the model to trace; it is left as it is.
        training: True for train mode, False for eval mode.
        tracer_kwargs: as for :func:`create_feature_extractor`.
        concrete_args: as for :func:`create_feature_extractor`.

    Raises:
        TypeError: if an argument is of the wrong kind.
        torch.fx.proxy.TraceError: if the model cannot be traced symbolically.
    """
    tracer = NodePathTracer(**default_tracer_kwargs(tracer_kwargs))
    sharded = sharded_parameter(model)
    if sharded is not None:
        raise TraceError(
            f"'{sharded}' is sharded, and is only whole while the model's own code runs, which a "
            f"symbolic trace would not do"
        )
    with isolated(model, training=training):
        tracer.trace(model, concrete_args=concrete_args)
    if tracer.fixed_arguments and not tracer.node_to_qualname:
        raise only_defaults(model, tracer.fixed_arguments, "no operation at all")
    return tracer
