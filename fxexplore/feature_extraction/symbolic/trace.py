"""Open a model symbolically: trace it in one mode, with what should always be a leaf."""

from __future__ import annotations

import inspect
import math
import sys
from collections.abc import Iterable, Mapping
from typing import Any

from torch import fx, nn
from torch.fx.proxy import TraceError

from fxexplore.feature_extraction.common.isolation import isolated
from fxexplore.feature_extraction.common.source import only_defaults
from fxexplore.feature_extraction.common.wrappers import sharded_parameter

from .tracer import LeafModuleAwareTracer, NodePathTracer


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
        concrete_args: likewise.

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


def default_tracer_kwargs(tracer_kwargs: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Complete keyword arguments for a tracer with what should always be a leaf.

    Args:
        tracer_kwargs: the caller's, which are not changed.

    Returns:
        New keyword arguments, in which torchvision's operations and what timm registers
        are leaf modules (if they are loaded, and unless ``default_leaf_modules`` was
        False), and their functions and those of ``math`` become nodes.

    Raises:
        TypeError: if a keyword is unknown.
    """
    kwargs = dict(tracer_kwargs or {})
    with_leaves = kwargs.pop("default_leaf_modules", True)
    known = set(inspect.signature(LeafModuleAwareTracer).parameters)
    for name in kwargs:
        if name not in known:
            raise TypeError(
                f"tracer_kwargs has no '{name}'; known are: {', '.join(sorted(known))}, "
                f"default_leaf_modules"
            )
    defaults = _defaults_of_libraries()
    if not with_leaves:
        defaults["leaf_modules"] = []
    for name, values in defaults.items():
        own = kwargs.get(name, ())
        # What is no collection is left to the tracer, which says so.
        if isinstance(own, Iterable) and not isinstance(own, str):
            kwargs[name] = (*own, *values)
    return kwargs


def _defaults_of_libraries() -> dict[str, list[Any]]:
    """What loaded libraries want to be one node.

    They are looked at, not imported: a model that uses them has loaded them.
    """
    modules, functions, leaves = [math], [], []
    ops = sys.modules.get("torchvision.ops")
    if ops is not None:
        modules.append(ops)
        classes = [value for value in vars(ops).values() if inspect.isclass(value)]
        leaves += [cls for cls in classes if issubclass(cls, nn.Module)]
    timm = sys.modules.get("timm.models")
    if timm is not None:
        leaves += timm.get_notrace_modules()
        functions += timm.get_notrace_functions()
    return {
        "autowrap_modules": modules,
        "autowrap_functions": functions,
        "leaf_modules": leaves,
    }


def tracer_of_graph(graph: fx.Graph) -> NodePathTracer:
    """The tracer that made a graph.

    Raises:
        TypeError: if it was not made by :class:`NodePathTracer` from a module.
    """
    tracer = getattr(graph, "_fxexplore_tracer", None)
    if tracer is None or not isinstance(tracer.root, nn.Module):
        raise TypeError(
            "this fx.Graph does not know its model: only what NodePathTracer().trace(model) "
            "returned can be given instead of a model"
        )
    assert isinstance(tracer, NodePathTracer)
    return tracer
