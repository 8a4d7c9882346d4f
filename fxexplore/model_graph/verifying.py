"""Compare a traced graph with a real run of the model, node by node."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import fx, nn
from torch.utils._pytree import tree_leaves, tree_map

from fxexplore.feature_extraction import (
    Arguments,
    NodePathTracer,
    OpenedModel,
    RecordedFeatureExtractor,
    RecordedNode,
    extractor_of,
    isolated,
    record,
    restores,
)


@restores
def verify_values(
    model: nn.Module,
    tracer: NodePathTracer,
    training: bool,
    arguments: Arguments,
    tracer_kwargs: Mapping[str, Any] | None = None,
) -> None:
    """Check every value of a traced graph, and the gradients through it, against a run.

    Args:
        model: the model that was traced.
        tracer: the tracer that traced it.
        training: the mode that it was traced in.
        arguments: what the model runs on.
        tracer_kwargs: what the tracer was made with.

    Raises:
        ValueError: if a value or a gradient differs, naming the first node.
    """
    mode = "train" if training else "eval"
    with isolated(model, training=training):
        recording = record(model, *arguments, tracer_kwargs=tracer_kwargs)
        keys = {
            name: name
            for node, name in tracer.node_to_qualname.items()
            if name in recording.nodes and _same_line(node, recording.nodes[name])
        }
        extractor = extractor_of(model, OpenedModel({mode: tracer}), keys, keys)
        traced = _run(model, extractor, arguments)
        real_run = RecordedFeatureExtractor(
            model,
            keys,
            keys,
            recording if training else None,
            None if training else recording,
        )
        real = _run(model, real_run, arguments)
    for name, value in traced.values.items():
        if not value:
            continue  # x[i] = y gives nothing; what it writes shows in the nodes that read x
        _compare(f"value of '{name}'", value, real.values[name])
    for path, gradient in traced.gradients.items():
        _compare(f"gradient of '{path}'", gradient, real.gradients[path])


def _same_line(node: fx.Node, recorded: RecordedNode) -> bool:
    """Whether both ways mean the same operation by a name.

    Operations on buffers and constants alone have a name only in a recording, which
    can shift the suffixes of those that follow.
    """
    is_operation = node.op in ("call_function", "call_method")
    return not is_operation or node.meta.get("source") == recorded.source


class _Run(NamedTuple):
    """What one run of an extractor of all nodes gave.

    Attributes:
        values: the tensors of each node.
        gradients: of the last value that has any, with respect to each parameter.
    """

    values: dict[str, list[torch.Tensor]]
    gradients: dict[str, list[torch.Tensor]]


def _run(model: nn.Module, extractor: nn.Module, arguments: Arguments) -> _Run:
    args, kwargs = tree_map(lambda v: v.clone() if isinstance(v, torch.Tensor) else v, arguments)
    # Both runs begin with the same numbers in buffers, and draw the same ones.
    isolation = isolated(model, arguments)
    with isolation, torch.enable_grad():
        isolation.before_write(list(model.parameters()))
        values = {
            name: [v for v in tree_leaves(value) if isinstance(v, torch.Tensor)]
            for name, value in extractor(*args, **kwargs).items()
        }
    differentiable = [v for vs in values.values() for v in vs if v.requires_grad]
    parameters = {path: p for path, p in model.named_parameters() if p.requires_grad}
    if not differentiable or not parameters:
        return _Run(values, {})
    found = torch.autograd.grad(
        differentiable[-1].double().pow(2).sum(), list(parameters.values()), allow_unused=True
    )
    gradients = zip(parameters, found, strict=True)
    return _Run(values, {path: [] if g is None else [g] for path, g in gradients})


def _compare(what: str, traced: list[torch.Tensor], real: list[torch.Tensor]) -> None:
    if len(traced) != len(real):
        problem = f"{len(traced)} tensors against {len(real)}"
        raise ValueError(f"the {what} differs between the traced graph and a real run: {problem}")
    for ours, theirs in zip(traced, real, strict=True):
        if ours.shape != theirs.shape:
            problem = f"shape {tuple(ours.shape)} against {tuple(theirs.shape)}"
        elif not torch.allclose(ours, theirs, rtol=1e-4, atol=1e-5, equal_nan=True):
            problem = f"by up to {(ours.double() - theirs.double()).abs().max():.3g}"
        else:
            continue
        raise ValueError(f"the {what} differs between the traced graph and a real run: {problem}")
