"""Open a model: from a module to its :class:`ModelGraph`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from torch.utils.module_tracker import ModuleTracker

from fxexplore.feature_extraction.tracing import checked_model
from fxexplore.feature_extraction.ways_in import Arguments, Opened, opened

from .annotations import outputs_of
from .graph import ModelGraph
from .inputs import ExampleInputs, example_inputs_for
from .reading import graph_of_recording, graph_of_tracer
from .verifying import verify_values


def open_model(
    model: nn.Module,
    example_inputs: Any = None,
    *,
    mode: str = "eval",
    backend: str = "auto",
    tracer_kwargs: Mapping[str, Any] | None = None,
    concrete_args: dict[str, Any] | None = None,
    verify: bool = False,
) -> ModelGraph:
    """Read the graph of a model, which is left as it is.

    Args:
        model: the model to open.
        example_inputs: what the model runs on, or what shapes are found for: a tensor, a
            tuple of positional arguments, a dict of keyword arguments, or a pair of both;
            by default those of :func:`~fxexplore.model_graph.inputs.example_inputs_for`.
        mode: ``"eval"`` or ``"train"``: the mode to open it in.
        backend: ``"symbolic"`` to trace, ``"recorded"`` to record one run, ``"auto"`` to
            record only what cannot be traced.
        tracer_kwargs: as for :func:`fxexplore.create_feature_extractor`.
        concrete_args: likewise.
        verify: compare every value and gradient of a traced graph with a real run.

    Returns:
        The nodes that :func:`fxexplore.get_graph_node_names` lists for that mode, with
        their modules. Its ``reason`` says why the model was recorded, if it was.

    Raises:
        ValueError: if ``mode`` or ``backend`` is unknown, or a value differs.
        TypeError: if ``model`` is not a module.
        torch.fx.proxy.TraceError: if the model cannot be opened.

    Example:
        >>> import torchvision
        >>> graph = open_model(torchvision.models.resnet18(weights=None))
        >>> graph.children("layer1.0")
        ['layer1.0.conv1', 'layer1.0.bn1', 'layer1.0.relu', 'layer1.0.conv2', 'layer1.0.bn2', \
'layer1.0.add', 'layer1.0.relu_1']
    """
    if mode not in ("eval", "train"):
        raise ValueError(f"mode is {mode!r}; write 'eval' or 'train'")
    model = checked_model(model)
    inputs = _inputs(model, example_inputs)
    arguments: Arguments | None = None if inputs is None else (inputs.args, inputs.kwargs)
    # The dispatcher's counter sees the run that a recording takes, if there is one.
    with _FlopCounter(display=False) as counter:
        way = opened(
            model,
            lambda: arguments,
            mode=mode,
            backend=backend,
            tracer_kwargs=tracer_kwargs,
            concrete_args=concrete_args,
        )
    graph = _graph(model, way, mode, arguments, _flops_by_path(model, counter))
    if verify and way.tracers:
        if arguments is None:
            raise ValueError("verify=True compares with a run, which needs example_inputs=...")
        verify_values(model, way.tracers[mode], mode == "train", arguments, tracer_kwargs)
    source = "" if inputs is None else f"{inputs.source} {inputs.shapes}".strip()
    return dataclasses.replace(graph, reason=way.reason, inputs=source)


class _Modules(ModuleTracker):
    """Tracks the forward pass alone: a parameter that is passed to a module has no gradient."""

    def _fw_pre_hook(self, mod: nn.Module, input: Any) -> None:  # noqa: A002, ARG002
        super()._fw_pre_hook(mod, ())

    def _fw_post_hook(self, mod: nn.Module, input: Any, output: Any) -> None:  # noqa: A002, ARG002
        super()._fw_post_hook(mod, (), ())


class _FlopCounter(FlopCounterMode):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.mod_tracker = _Modules()


def _inputs(model: nn.Module, example_inputs: Any) -> ExampleInputs | None:
    try:
        return example_inputs_for(model, example_inputs)
    except ValueError:
        return None  # a traced graph does without, and a run says what is missing


def _graph(
    model: nn.Module, way: Opened, mode: str, arguments: Arguments | None, flops: dict[str, int]
) -> ModelGraph:
    if way.recordings:
        return graph_of_recording(model, way.recordings[mode], mode, flops)
    tracer = way.tracers[mode]
    known = {} if arguments is None else outputs_of(tracer, mode == "train", *arguments)
    return graph_of_tracer(tracer, mode, known)


def _flops_by_path(model: nn.Module, counter: FlopCounterMode) -> dict[str, int]:
    """The counter's sums by the path of the module, ``""`` for the whole run."""
    root = type(model).__name__
    sums = {name: sum(counts.values()) for name, counts in counter.get_flop_counts().items()}
    flops = {
        name[len(root) + 1 :]: count for name, count in sums.items() if name.startswith(f"{root}.")
    }
    return flops | {"": sums["Global"]} if sums.get("Global") else {}
