"""Trace a model symbolically in one mode, with the default leaves."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from torch import nn
from torch.fx.proxy import TraceError

from fxexplore.feature_extraction.common.isolation import isolated, restores
from fxexplore.feature_extraction.common.leaves import default_tracer_kwargs
from fxexplore.feature_extraction.common.validation import Arguments
from fxexplore.feature_extraction.common.wrappers import sharded_parameter

from .errors import only_defaults
from .signature import with_given
from .tracer import NodePathTracer


@restores
def traced(
    model: nn.Module,
    training: bool,
    tracer_kwargs: Mapping[str, Any] | None = None,
    concrete_args: Mapping[str, Any] | None = None,
    given: Arguments | None = None,
) -> NodePathTracer:
    """Trace a model in train or in eval mode and return the tracer.

    Args:
        model: the model to trace; it is left as it is.
        training: True for train mode, False for eval mode.
        tracer_kwargs: as for :func:`create_feature_extractor`.
        concrete_args: as for :func:`create_feature_extractor`.
        given: what it is to run on, if that is known: those optional arguments are inputs.

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
    concrete = with_given(model, concrete_args, given)
    with isolated(model, training=training):
        _trace(tracer, model, concrete)
    if tracer.fixed_arguments and len(tracer.node_to_qualname) == len(tracer.fixed_arguments):
        raise only_defaults(model, tracer.fixed_arguments, "no operation at all")
    return tracer


def _trace(tracer: NodePathTracer, model: nn.Module, concrete: dict[str, Any]) -> None:
    """Trace with ``*args`` as an input where forward does not ask for their number, or without."""
    try:
        tracer.trace(model, concrete)
    except TraceError:
        parameters = inspect.signature(model.forward).parameters.values()
        rest = {p.name: () for p in parameters if p.kind is p.VAR_POSITIONAL}
        if rest and not rest.keys() & concrete.keys():
            with suppress(Exception):
                tracer.trace(model, {**concrete, **rest})
                return
        raise
