"""Compare a traced graph with a real run of the model, node by node."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.utils._pytree import tree_leaves, tree_map_only

from fxexplore.feature_extraction import (
    Arguments,
    LeafModuleAwareTracer,
    OpenedModel,
    Recording,
    extractor_of,
    isolated,
    record,
    restores,
    size_nodes,
)


@restores
def verify_values(
    model: nn.Module,
    tracer: LeafModuleAwareTracer,
    mode: str,
    arguments: Arguments,
    tracer_kwargs: Mapping[str, Any] | None = None,
) -> None:
    """Check every value of a traced graph, and the gradients through it, against a run.

    Args:
        model: the model that was traced.
        tracer: the tracer that traced it.
        mode: the mode that it was traced in.
        arguments: what the model runs on.
        tracer_kwargs: what the tracer was made with.

    Raises:
        ValueError: if a value or a gradient differs, naming the first node.
    """
    with isolated(model, training=mode == "train"):
        recording = record(model, *arguments, tracer_kwargs=tracer_kwargs)
        keys = {name: name for name in _alike(tracer, recording)}
        extractor = extractor_of(model, OpenedModel({mode: tracer}), keys, keys)
        traced = _run(model, extractor, arguments)
        real_run = extractor_of(model, OpenedModel(recordings={mode: recording}), keys, keys)
        real = _run(model, real_run, arguments)
    if traced.keys() != real.keys():
        raise ValueError("only one of the traced graph and a real run can be differentiated")
    for what, tensors in traced.items():
        if not tensors:
            continue  # x[i] = y gives nothing; what it writes shows in the nodes that read x
        try:
            torch.testing.assert_close(tensors, real[what], rtol=1e-4, atol=1e-5, equal_nan=True)
        except AssertionError as problem:
            raise ValueError(
                f"the {what} differs between the traced graph and a real run: {problem}"
            ) from None


def _alike(tracer: LeafModuleAwareTracer, recording: Recording) -> list[str]:
    """The names by which both ways mean the same operation.

    Operations on constants alone have a name only in a recording, and arithmetic on sizes or
    items of a tuple that was kept only in a trace, which shifts the suffixes of those that follow:
    of a name that has other suffixes in the other way, none is compared.
    """
    sizes = size_nodes(tracer.graph)
    traced = {name: node for node, name in tracer.node_to_qualname.items() if node not in sizes}
    alone = {_without_number(name) for name in traced.keys() ^ set(recording.names)}
    return [
        name
        for name, node in traced.items()
        if node.op not in ("call_function", "call_method")
        or (
            _without_number(name) not in alone
            and node.meta.get("source") == recording.nodes[name].source
        )
        if name in recording.nodes
    ]


def _without_number(name: str) -> str:
    return re.sub(r"_\d+$", "", name)


def _run(
    model: nn.Module, extractor: nn.Module, arguments: Arguments
) -> dict[str, list[torch.Tensor]]:
    """The tensors of each node, and the gradients of the last of them that has any."""
    args, kwargs = tree_map_only(torch.Tensor, torch.clone, arguments)
    # Both runs begin with the same numbers in buffers, and draw the same ones.
    isolation = isolated(model, arguments)
    with isolation, torch.enable_grad():
        isolation.before_write(list(model.parameters()))
        found = {
            f"value of '{name}'": [v for v in tree_leaves(value) if isinstance(v, torch.Tensor)]
            for name, value in extractor(*args, **kwargs).items()
        }
    differentiable = [v for values in found.values() for v in values if v.requires_grad]
    parameters = {path: p for path, p in model.named_parameters() if p.requires_grad}
    if not differentiable or not parameters:
        return found
    loss = differentiable[-1].double().pow(2).sum()
    try:
        gradients = torch.autograd.grad(loss, list(parameters.values()), materialize_grads=True)
    except RuntimeError:  # forward overwrites what its own gradient needs
        return found
    names = (f"gradient of '{path}'" for path in parameters)
    return found | {name: [g] for name, g in zip(names, gradients, strict=True)}
