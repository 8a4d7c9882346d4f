"""A traced graph in the place of a model: what it knows of the model, and what it cannot do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import fx, nn

from fxexplore.feature_extraction.common.tensors import holds_tensor
from fxexplore.feature_extraction.common.validation import (
    Arguments,
    bound_arguments,
    checked_model,
)

from .tracer import LeafModuleAwareTracer, TracedGraph


def model_and_tracer(model: Any) -> tuple[nn.Module, LeafModuleAwareTracer | None]:
    """The module to open, and the tracer if it is traced already.

    Args:
        model: a module; or the graph that one of our tracers made of it, or that an
            ``fx.GraphModule`` has.

    Raises:
        TypeError: if it is neither, saying what to give instead.
    """
    if not isinstance(model, fx.Graph):
        return checked_model(model), None
    owner = model.owning_module
    if isinstance(model, TracedGraph) and isinstance(model.tracer.root, nn.Module):
        root = model.tracer.root
        if owner is None or not _is_copy(owner, root):
            # What was erased from the graph since has no name any more.
            return root, model.tracer.for_nodes(model, {node: node for node in model.nodes})
    if isinstance(owner, nn.Module):
        return checked_model(owner), None
    raise TypeError(
        "this fx.Graph does not know its model: give fx.GraphModule(model, graph) instead, or what "
        "NodePathTracer().trace(model) of fxexplore returned"
    )


def _is_copy(owner: nn.Module, root: nn.Module) -> bool:
    """Whether a ``GraphModule`` holds other tensors than the model that was traced."""
    tensors = {id(tensor) for tensor in (*root.parameters(), *root.buffers())}
    return any(id(tensor) not in tensors for tensor in owner.parameters())


def require_fitting(
    tracer: LeafModuleAwareTracer,
    mode: str,
    backend: str,
    tracer_kwargs: Mapping[str, Any] | None,
    concrete_args: Any,
    given: Arguments | None,
) -> None:
    """Refuse what a graph that is traced already cannot do.

    Raises:
        ValueError: saying what it is, and what to give instead.
    """
    if mode not in (tracer.mode, "both"):
        raise ValueError(
            f"this graph was traced in {tracer.mode} mode and holds nothing of {mode} mode; give "
            f"mode='{tracer.mode}', or NodePathTracer().trace(model.{mode}())"
        )
    unfit = {
        "backend='recorded'": backend == "recorded",
        "tracer_kwargs": bool(tracer_kwargs),
        "concrete_args": bool(concrete_args),
    }
    for argument, is_given in unfit.items():
        if is_given:
            raise ValueError(
                f"{argument} cannot apply to a graph, which is traced already; give the model"
            )
    for name, value in ({} if given is None else bound_arguments(tracer.root, *given)).items():
        if name in tracer.fixed_arguments and holds_tensor(value):
            raise ValueError(
                f"'{name}' is given, and no input of this graph: trace the model with "
                f"concrete_args={{'{name}': torch.fx.PH}}"
            )
