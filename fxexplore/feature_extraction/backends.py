"""The two backends, tracing and recording, and the choice between them."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeVar, get_args

from torch import nn
from torch.fx.proxy import TraceError

from .common.leaves import default_tracer_kwargs
from .common.source import line_in_model
from .common.validation import (
    Arguments,
    hint_on,
    hint_on_list,
    inputs_to_give,
    require_arguments_of_forward,
    require_no_lazy_parameters,
    shapes_of,
)
from .recorded.recorder import record
from .recorded.recording import Recording
from .symbolic.signature import require_by_name
from .symbolic.trace import traced
from .symbolic.traced_graph import require_fitting
from .symbolic.tracer import LeafModuleAwareTracer

View = TypeVar("View")

Mode = Literal["train", "eval", "both"]
Backend = Literal["auto", "symbolic", "recorded"]


@dataclasses.dataclass(frozen=True)
class OpenedModel:
    """What tracing or recording saw of a model, in one mode or in both.

    Attributes:
        tracers: the tracer of each mode, if the model was traced symbolically.
        recordings: the recording of each mode, if it was recorded.
        reason: why the model is recorded although tracing was tried; ``""`` if not.
        failures: what went wrong in the modes that did not open.
    """

    tracers: Mapping[str, LeafModuleAwareTracer] = dataclasses.field(default_factory=dict)
    recordings: Mapping[str, Recording] = dataclasses.field(default_factory=dict)
    reason: str = ""
    failures: Mapping[str, Exception] = dataclasses.field(default_factory=dict)

    @property
    def backend(self) -> str:
        """How the model was opened: ``"symbolic"`` or ``"recorded"``."""
        return "recorded" if self.recordings else "symbolic"

    @property
    def modes(self) -> list[str]:
        """The modes that opened."""
        return [*self.tracers, *self.recordings]

    def names(self, mode: str) -> list[str]:
        """The names of the nodes in a mode; none if it did not open."""
        if mode in self.recordings:
            return self.recordings[mode].names
        return list(self.tracers[mode].node_to_qualname.values()) if mode in self.tracers else []

    def warn(self, model: nn.Module, stacklevel: int = 3) -> None:
        """Warn of what the caller may not expect: a recording, or a mode that does not open."""
        if self.reason:
            warnings.warn(
                f"{type(model).__name__} is opened by recording one run: {self.reason}",
                stacklevel=stacklevel,
            )
        for mode, failure in self.failures.items():
            warnings.warn(
                f"{type(model).__name__} does not open in {mode} mode, only in "
                f"{' and '.join(self.modes)} mode: {first_line(failure)}",
                stacklevel=stacklevel,
            )


def open_with_backend(
    model: nn.Module,
    arguments: Arguments | None,
    *,
    mode: str = "both",
    backend: str = "auto",
    tracer_kwargs: Mapping[str, Any] | None = None,
    concrete_args: dict[str, Any] | None = None,
    tracer: LeafModuleAwareTracer | None = None,
    count_flops: bool = False,
    partial: bool = False,
) -> OpenedModel:
    """Open a model: symbolically if that can be, else by recording a run.

    Args:
        model: the model, which is left as it is.
        arguments: what it is to run on, if that is known. Those are its inputs.
        mode: ``"train"``, ``"eval"`` or ``"both"``.
        backend: ``"symbolic"``, ``"recorded"``, or ``"auto"`` for the first that works.
        tracer_kwargs: as for ``create_feature_extractor``.
        concrete_args: as for ``create_feature_extractor``.
        tracer: the tracer of the model, if it is given as a graph that is traced already.
        count_flops: count floating point operations when recording.
        partial: take what a recorded model did until it raised.

    Raises:
        ValueError: if ``mode`` or ``backend`` is unknown, or inputs are missing for
            ``backend="recorded"``.
        TypeError: if ``tracer_kwargs`` are of the wrong kind.
        torch.fx.proxy.TraceError: if the model opens with neither backend.
    """
    _require_known(mode, backend)
    require_by_name(concrete_args)
    if tracer is not None:
        require_fitting(tracer, mode, backend, tracer_kwargs, concrete_args, arguments)
        return OpenedModel({tracer.mode: tracer})
    # A caller's slip is no failure of tracing.
    require_arguments_of_forward(model, concrete_args)
    LeafModuleAwareTracer(**default_tracer_kwargs(tracer_kwargs))
    options = {"tracer_kwargs": tracer_kwargs, "count_flops": count_flops, "partial": partial}
    symbolic = OpenedModel()
    if backend != "recorded":
        tracers, failures = _in_each(
            mode, lambda training: traced(model, training, tracer_kwargs, concrete_args, arguments)
        )
        symbolic = OpenedModel(tracers=tracers, failures=failures)
        if backend == "auto" and not failures:
            closed = OpenedModel(failures=_closed_transformers(tracers))
            if closed.failures and arguments is not None:
                recorded = _recorded(model, mode, arguments, closed, options)
                return symbolic if recorded.failures else recorded
        if not failures or (backend == "symbolic" and tracers):
            return symbolic
        if backend == "symbolic":
            raise next(iter(failures.values()))
    recorded = _recorded(model, mode, arguments, symbolic, options)
    if len(recorded.modes) > len(symbolic.modes):
        return recorded
    if symbolic.modes:
        return symbolic
    raise _neither(model, symbolic, recorded, arguments)


def _require_known(mode: str, backend: str) -> None:
    if mode not in get_args(Mode):
        raise ValueError(f"mode is {mode!r}; write 'train', 'eval' or 'both'")
    if backend not in get_args(Backend):
        raise ValueError(f"backend is {backend!r}; write 'auto', 'symbolic' or 'recorded'")


def _closed_transformers(tracers: Mapping[str, LeafModuleAwareTracer]) -> dict[str, Exception]:
    """The modes in which a transformer of torch.nn is one node, though a run would open it."""
    found: dict[str, Exception] = {}
    for mode, tracer in tracers.items():
        inner = [(path, m) for path, m in tracer.root.named_modules() if tracer.opens_when_run(m)]
        called = {node.target for node in tracer.graph.nodes if inner and node.op == "call_module"}
        for path, module in inner:
            if path in called:
                found[mode] = TraceError(
                    f"'{path}' is torch.nn's {type(module).__name__}, whose layers only a run shows"
                )
                break
    return found


def _in_each(
    mode: str, open_one: Callable[[bool], View]
) -> tuple[dict[str, View], dict[str, Exception]]:
    """Open a model in each of the asked modes, and keep what goes wrong."""
    views: dict[str, View] = {}
    failures: dict[str, Exception] = {}
    for name in ("train", "eval") if mode == "both" else (mode,):
        try:
            views[name] = open_one(name == "train")
        except Exception as failure:  # noqa: BLE001, PERF203  # whatever the model raises
            failures[name] = failure
    return views, failures


def _recorded(
    model: nn.Module,
    mode: str,
    arguments: Arguments | None,
    symbolic: OpenedModel,
    options: Mapping[str, Any],
) -> OpenedModel:
    require_no_lazy_parameters(model)
    if arguments is None:
        if symbolic.failures:
            return OpenedModel()
        raise ValueError(
            f"recording {type(model).__name__} needs inputs; give {inputs_to_give(model)}"
        )

    recordings, failures = _in_each(
        mode, lambda training: record(model, *arguments, training=training, **options)
    )
    # Why tracing failed, if possible in a mode that could be recorded.
    reasons = [symbolic.failures[mode] for mode in recordings if mode in symbolic.failures]
    reasons += symbolic.failures.values()
    return OpenedModel({}, recordings, _summary(reasons[0]) if reasons else "", failures)


def _neither(
    model: nn.Module, symbolic: OpenedModel, recorded: OpenedModel, arguments: Arguments | None
) -> TraceError:
    parts = [f"{type(model).__name__} cannot be opened."]
    if symbolic.failures:
        failure = next(iter(symbolic.failures.values()))
        said = str(failure) if isinstance(failure, TraceError) else _summary(failure)
        parts.append(f"Traced symbolically: {said}")
    if arguments is not None and recorded.failures:
        modes: dict[str, list[str]] = {}
        for mode, failure in recorded.failures.items():
            modes.setdefault(_summary(failure), []).append(mode)
        ran = "; ".join(
            f"in {' and '.join(which)} mode {failed}" for failed, which in modes.items()
        )
        parts.append(
            f"Run on the example inputs {shapes_of(*arguments)}: {ran}\n"
            f"If it is the inputs, give others: example_inputs=..."
            f"{hint_on(arguments[0]) or hint_on_list(model, arguments[0])}"
        )
    else:
        parts.append(f"Recorded from one run it opens if you give inputs: {inputs_to_give(model)}.")
    error = TraceError("\n".join(parts))
    error.__cause__ = next(iter((recorded.failures or symbolic.failures).values()))
    return error


def _summary(failure: Exception) -> str:
    """What went wrong in one line, and where; an error of tracing says the place itself."""
    if isinstance(failure, TraceError):
        return first_line(failure)
    place, kind, words = line_in_model(failure), type(failure).__name__, first_line(failure)
    return f"{kind}{f' at {place}' if place else ''}{f': {words}' if words != kind else ''}"


def first_line(failure: Exception) -> str:
    """The first line of what an error says, or its type if it says nothing."""
    text = str(failure).strip()
    return text.splitlines()[0] if text else type(failure).__name__
