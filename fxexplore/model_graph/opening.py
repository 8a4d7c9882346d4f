"""Open a model: from a module to its :class:`ModelGraph`."""

from __future__ import annotations

import copy
import dataclasses
import inspect
from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import fx, nn
from torch.utils._pytree import tree_map_only

from fxexplore.feature_extraction import (
    Arguments,
    GraphFeatureExtractor,
    RandomState,
    RecordedFeatureExtractor,
    ReturnNodes,
    checked_model,
    extractor_of,
    hint_on,
    keys_by_mode,
    model_and_tracer,
    on_leaving,
    open_with_backend,
    require_no_lazy_parameters,
    restores,
    shapes_of,
    twin_of,
)
from fxexplore.inputs import ExampleInputs, known_inputs

from .annotations import annotated
from .graph import ModelGraph
from .nodes import Failure, prefixes
from .passed_inputs import remember_passed_inputs
from .reading import differing_names, failure_of, graph_of_recording, graph_of_tracer
from .shapes import ShapeRun
from .verifying import verify_values


class Opening:
    """A model that is opened in two steps: names at once, facts when they are there.

    Args:
        model: the model to open, which is left as it is; or its traced graph.
        example_inputs: what it runs on, as for :func:`open_model`.
        mode: ``"eval"`` or ``"train"``; by default eval, or the mode of a traced graph.
        backend: ``"symbolic"``, ``"recorded"`` or ``"auto"``, as for :func:`open_model`.
        tracer_kwargs: as for :func:`open_model`.
        concrete_args: as for :func:`open_model`.
        partial: as for :func:`open_model`.

    Attributes:
        arguments: what the model runs on; None if there are no inputs.
        graph: the graph. A traced one has names, modules, edges, parameters and source
            lines, and no shapes, FLOPs or bytes; a recorded one has everything.

    Raises:
        ValueError: if ``mode`` or ``backend`` is unknown, or the model has lazy modules that
            have not run yet, and there are no inputs for a dry run of a copy.
        TypeError: if ``model`` is not a module, or the inputs do not fit its forward.
        torch.fx.proxy.TraceError: if the model cannot be opened.

    Example:
        >>> opening = Opening(nn.Sequential(nn.Linear(4, 2)))
        >>> opening.graph["0"].shape, opening.annotated()["0"].shape
        (None, (1, 2))
    """

    def __init__(
        self,
        model: nn.Module | fx.Graph,
        example_inputs: Any = None,
        *,
        mode: str | None = None,
        backend: str = "auto",
        tracer_kwargs: Mapping[str, Any] | None = None,
        concrete_args: dict[str, Any] | None = None,
        partial: bool = False,
    ) -> None:
        model, tracer = model_and_tracer(model)
        if mode is None:
            mode = "eval" if tracer is None else tracer.mode
        if mode not in ("eval", "train"):
            raise ValueError(f"mode is {mode!r}; write 'eval' or 'train'")
        inputs = known_inputs(model, example_inputs)
        arguments = None if inputs.missing else (inputs.args, inputs.kwargs)
        self._given = model
        if any(map(nn.parameter.is_lazy, (*model.parameters(), *model.buffers()))):
            model = _after_dry_run(model, arguments)
        self._after_dry_run = model is not self._given
        self._opened = open_with_backend(
            model,
            arguments,
            mode=mode,
            backend=backend,
            tracer_kwargs=tracer_kwargs,
            concrete_args=concrete_args,
            tracer=tracer,
            count_flops=True,
            partial=partial,
        )
        self._model, self._mode = model, mode
        self.arguments, self._tracer_kwargs = arguments, tracer_kwargs
        self._run: ShapeRun | None = None
        if self._opened.tracers and arguments is not None:
            try:
                self._run = ShapeRun(self._opened.tracers[mode], mode == "train", *arguments)
            except TypeError as problem:
                # Inputs that nobody gave need not fit a forward that can be traced without.
                if inputs.is_given:
                    raise TypeError(
                        f"example_inputs {shapes_of(*arguments)} do not fit "
                        f"{type(model).__name__}.forward{inspect.signature(model.forward)}: "
                        f"{problem}{hint_on(arguments[0])}"
                    ) from problem
        if self._opened.recordings:
            graph = graph_of_recording(model, self._opened.recordings[mode], mode)
        else:
            graph = graph_of_tracer(self._opened.tracers[mode], mode)
        self.graph = dataclasses.replace(
            graph,
            reason=self._opened.reason,
            # A traced graph does without inputs.
            missing=inputs.missing
            and f"shapes and FLOPs are unknown without inputs ({inputs.missing})",
            inputs="" if inputs.missing else _in_words(inputs, graph),
        )
        if graph.error is not None:
            self.graph = _stopped_at(self.graph, graph.error)

    def on(self, inputs: ExampleInputs) -> Opening | None:
        """The same opening, with the facts for other inputs; None if the model has to run on them.

        Args:
            inputs: what the model runs on.

        Example:
            >>> from fxexplore.inputs import ExampleInputs
            >>> other = ExampleInputs((torch.ones(3, 4),), {}, "given", "batch")
            >>> Opening(nn.Sequential(nn.Linear(4, 2))).on(other).annotated()["0"].shape
            (3, 2)
        """
        if not self._opened.tracers:
            return None
        opening, training = copy.copy(self), self._mode == "train"
        opening.arguments = (inputs.args, inputs.kwargs)
        opening._run = ShapeRun(self._opened.tracers[self._mode], training, *opening.arguments)
        words = _in_words(inputs, self.graph)
        opening.graph = dataclasses.replace(self.graph, missing="", inputs=words)
        return opening

    def annotated(self) -> ModelGraph:
        """Find every fact.

        This may be called in a thread of its own: it works on a copy of what it needs, and
        changes nothing that other threads could see.

        Returns:
            The same graph with the facts.
        """
        graph = self._annotated()
        remember_passed_inputs(self._given, graph)
        return graph

    def _annotated(self) -> ModelGraph:
        if self._run is None:
            return self.graph
        tracer = self._opened.tracers[self._mode]
        findings = self._run.findings()
        graph = annotated(self.graph, findings)
        differing = differing_names(tracer, findings.values)
        graph = dataclasses.replace(graph, differing=differing)
        node, failure = self._run.failed, self._run.failure
        if node is None or failure is None:
            return graph
        modules = dict(tracer.root.named_modules(remove_duplicate=False))
        leaf = modules[str(node.target)] if node.op == "call_module" else None
        error = failure_of(failure, leaf)
        is_limit = error.kind == "NotImplementedError" or "meta" in error.message.lower()
        if is_limit:  # what needs numbers may well run on them
            return dataclasses.replace(graph, missing=_unknown_from(graph, error))
        return _stopped_at(graph, error)

    def extractor(
        self, return_nodes: ReturnNodes
    ) -> GraphFeatureExtractor | RecordedFeatureExtractor:
        """Make a feature extractor for the mode that was opened.

        It is what :func:`fxexplore.create_feature_extractor` makes with the options of this
        opening and its backend, but the model is neither traced nor run again. So the nodes
        are those of ``graph``, whatever happened to the model's code since.

        Args:
            return_nodes: the names of the return nodes, or a dict from name to the key of
                the value in the result.

        Returns:
            A module with the arguments of the model's forward that returns a dict from key
            to value.

        Raises:
            ValueError: if the return nodes are missing, unknown or clash.

        Example:
            >>> import torch
            >>> opening = Opening(nn.Sequential(nn.Linear(4, 2), nn.ReLU()).eval())
            >>> opening.extractor({"0": "hidden"})(torch.ones(3, 4))["hidden"].shape
            torch.Size([3, 2])
        """
        keys, _ = keys_by_mode(return_nodes, None, None)
        if self._after_dry_run:
            require_no_lazy_parameters(self._given)
            raise ValueError("the model has run since a copy of it was opened; open it again")
        return extractor_of(self._model, self._opened, keys, keys)

    def copied_arguments(self) -> Arguments:
        """What the model runs on, copied, as a run may write to its inputs.

        Raises:
            ValueError: if there are no inputs.
        """
        if self.arguments is None:
            raise ValueError(f"there is nothing to run the model on: {self.graph.missing}")
        copied: Arguments = tree_map_only(torch.Tensor, torch.clone, self.arguments)
        return copied

    def of_original(self, model: nn.Module) -> Opening:
        """The same opening for the model that this one's is a copy of.

        Args:
            model: the original, which stays as it is and is not run.

        Raises:
            ValueError: if the copy was traced: a traced graph holds the copy's own modules.
        """
        if self._opened.tracers:
            raise ValueError("a traced model cannot be exchanged; open the original")
        original = copy.copy(self)
        original._model = checked_model(model)
        return original

    def verify(self) -> None:
        """Compare every value and gradient of a traced graph with a real run.

        Raises:
            ValueError: if one differs, or there are no inputs to run on.
        """
        if not self._opened.tracers:
            return
        if self.arguments is None:
            raise ValueError("verify=True compares with a run, which needs example_inputs=...")
        tracer = self._opened.tracers[self._mode]
        verify_values(self._model, tracer, self._mode, self.arguments, self._tracer_kwargs)


@restores
def _after_dry_run(model: nn.Module, arguments: Arguments | None) -> nn.Module:
    """A copy of a model with lazy modules that has run once; the model stays as it is."""
    twin: nn.Module | None = None if arguments is None else twin_of(model, {})
    if twin is None or arguments is None:
        require_no_lazy_parameters(model)
        return model
    on_leaving(RandomState().put_back)
    args, kwargs = tree_map_only(torch.Tensor, torch.clone, arguments)
    with torch.no_grad():
        twin(*args, **kwargs)
    return twin


def _stopped_at(graph: ModelGraph, error: Failure) -> ModelGraph:
    """The graph of a model that raised: what stands after that place was not reached."""
    names = [node.name for node in graph.nodes]
    count = names.index(error.name) + 1 if error.name in names else len(names)
    nodes = [dataclasses.replace(node, reached=i < count) for i, node in enumerate(graph.nodes)]
    reached = {path for node in nodes if node.reached for path in prefixes(node.parent)}
    modules = [
        dataclasses.replace(module, reached=module.path in reached or module.path == error.name)
        for module in graph.modules
    ]
    return dataclasses.replace(
        graph,
        nodes=tuple(nodes),
        modules=tuple(modules),
        missing=_unknown_from(graph, error),
        error=error,
    )


def _unknown_from(graph: ModelGraph, error: Failure) -> str:
    """Where facts end, and why, in a sentence."""
    node = next((node for node in graph.nodes if node.name == error.name), None)
    if node is None:
        place = f"the code of '{error.name}' on" if error.name else "the model's own code on"
    else:
        layer = f", a {node.target}({node.detail})" if node.kind == "module" else ""
        place = f"'{error.name}' on{layer}"
    return f"shapes and FLOPs are unknown from {place} ({error.words}); the inputs: {graph.inputs}"


def _in_words(inputs: ExampleInputs, graph: ModelGraph) -> str:
    """What shapes are for: where the inputs come from, their shapes, and what they are called."""
    names = [node.name for node in graph.nodes if node.kind == "input"]
    for_which = f" for {', '.join(names)}" if len(names) > 1 else ""
    return f"{inputs.source} {inputs.shapes}{for_which}".strip()


def open_model(
    model: nn.Module | fx.Graph,
    example_inputs: Any = None,
    *,
    mode: Literal["eval", "train"] | None = None,
    backend: Literal["auto", "symbolic", "recorded"] = "auto",
    tracer_kwargs: Mapping[str, Any] | None = None,
    concrete_args: dict[str, Any] | None = None,
    verify: bool = False,
    partial: bool = False,
) -> ModelGraph:
    """Read the graph of a model, which is left as it is.

    Args:
        model: the model to open; or its graph, as ``NodePathTracer().trace(model)`` gives it,
            which is of one mode.
        example_inputs: what the model runs on, or what shapes are found for: a tensor, a
            tuple of positional arguments, a dict of keyword arguments, or a pair of both;
            by default those of :func:`fxexplore.example_inputs_for`.
        mode: the mode to open it in; by default eval, or the mode of a traced graph.
        backend: ``"symbolic"`` to trace, ``"recorded"`` to record one run, ``"auto"`` to
            record only what cannot be traced.
        tracer_kwargs: keyword arguments for :class:`fxexplore.NodePathTracer`, such as
            ``{"leaf_modules": [MyBlock]}``.
        concrete_args: values for arguments of forward while tracing.
        verify: compare every value and gradient of a traced graph with a real run.
        partial: if the model raises, give the graph of what ran until then. Its ``error`` says
            where that was and why, and what met there.

    Returns:
        The nodes that :func:`fxexplore.get_graph_node_names` lists for that mode, but for
        arguments that kept their default, with their modules, shapes, parameters and FLOPs,
        where a multiply-add counts 2. Its ``reason`` says why the model was recorded, if it was.

    Raises:
        ValueError: if ``mode`` or ``backend`` is unknown, or a value differs.
        TypeError: if ``model`` is not a module.
        torch.fx.proxy.TraceError: if the model cannot be opened, or raises without ``partial``.

    Example:
        >>> import torchvision
        >>> graph = open_model(torchvision.models.resnet18(weights=None))
        >>> graph.children("layer1.0")
        ['layer1.0.conv1', 'layer1.0.bn1', 'layer1.0.relu', 'layer1.0.conv2', 'layer1.0.bn2', \
'layer1.0.add', 'layer1.0.relu_1']
    """
    opening = Opening(
        model,
        example_inputs,
        mode=mode,
        backend=backend,
        tracer_kwargs=tracer_kwargs,
        concrete_args=concrete_args,
        partial=partial,
    )
    if verify:
        opening.verify()
    return opening.annotated()
