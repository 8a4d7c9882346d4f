"""``extract_features``: the values of some nodes of a model, in one call."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import fx, nn

from fxexplore.feature_extraction import ReturnNodes, isolated, keys_by_mode, restores

from .graph import ModelGraph
from .opening import Opening


class Features(dict[str, Any]):
    """The values of return nodes by their keys, and which nodes of which graph they are of.

    It is a dict in all other respects, but printed as shapes. The functions that draw feature
    maps read from it what the axes stand for.

    Args:
        values: the values, by key.
        graph: the model that they are of.
        return_nodes: the names of the return nodes with their keys.

    Attributes:
        graph: the model that they are of.
        return_nodes: the names of the return nodes with their keys.
    """

    def __init__(
        self, values: Mapping[str, Any], graph: ModelGraph, return_nodes: Mapping[str, str]
    ) -> None:
        super().__init__(values)
        self.graph = graph
        self.return_nodes = dict(return_nodes)

    def __repr__(self) -> str:
        shown = [f"{key}: {_in_words(value)}" for key, value in itertools.islice(self.items(), 4)]
        more = [f"… {len(self) - len(shown)} more"] if len(self) > len(shown) else []
        return f"Features({', '.join([*shown, *more])})"


def _in_words(value: Any) -> str:
    if isinstance(value, torch.Tensor):
        return "×".join(map(str, value.shape)) or "scalar"
    return type(value).__name__


@restores
def extract_features(
    model: nn.Module | fx.Graph,
    return_nodes: ReturnNodes,
    example_inputs: Any = None,
    *,
    mode: Literal["eval", "train"] | None = None,
    backend: Literal["auto", "symbolic", "recorded"] = "auto",
    tracer_kwargs: dict[str, Any] | None = None,
    concrete_args: dict[str, Any] | None = None,
) -> Features:
    """Open a model, run it once without gradients, and return the values of some nodes.

    The model is left as it is. To run it on many inputs, or with gradients, make an extractor
    with :func:`fxexplore.create_feature_extractor`.

    Args:
        model: the model to run, or its traced graph.
        return_nodes: names of nodes or modules, such as ``graph.find(...)`` returns, or a dict
            from name to the key of the value in the result.
        example_inputs: what to run it on: a tensor, a tuple of positional arguments, a dict of
            keyword arguments, or a pair of both; by default those of
            :func:`fxexplore.example_inputs_for`.
        mode: the mode to run it in; by default eval, or the mode of a traced graph.
        backend: ``"symbolic"`` to trace, ``"recorded"`` to record one run, ``"auto"`` to
            record only what cannot be traced.
        tracer_kwargs: keyword arguments for :class:`fxexplore.NodePathTracer`, such as
            ``{"leaf_modules": [MyBlock]}``.
        concrete_args: values for arguments of forward while tracing.

    Returns:
        A dict from key to value, in order of execution, which also has the ``graph`` of the
        model and the ``return_nodes`` with their keys.

    Raises:
        ValueError: if a return node is unknown, keys clash, or there are no inputs.
        TypeError: if an argument is of the wrong kind.
        torch.fx.proxy.TraceError: if the model cannot be opened.

    Example:
        >>> model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
        >>> features = extract_features(model, {"1": "low"}, torch.ones(1, 3, 8, 8))
        >>> features["low"].shape, features.graph["1"].target
        (torch.Size([1, 4, 6, 6]), 'ReLU')
    """
    opening = Opening(
        model,
        example_inputs,
        mode=mode,
        backend=backend,
        tracer_kwargs=tracer_kwargs,
        concrete_args=concrete_args,
    )
    args, kwargs = opening.copied_arguments()
    extractor = opening.extractor(return_nodes)
    with (
        isolated(extractor, (args, kwargs), training=opening.graph.mode == "train"),
        torch.no_grad(),
    ):
        values = extractor(*args, **kwargs)
    keys, _ = keys_by_mode(return_nodes, None, None)
    return Features(values, opening.annotated(), keys)
