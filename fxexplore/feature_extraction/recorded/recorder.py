"""The nodes of a model, read off one real run of its own code."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from types import FrameType
from typing import Any

import torch
from torch import nn

from fxexplore.feature_extraction.common.flops import FlopCounter
from fxexplore.feature_extraction.common.isolation import isolated, on_leaving, restores
from fxexplore.feature_extraction.common.leaves import LeafDecisions, default_tracer_kwargs
from fxexplore.feature_extraction.common.source import model_frame, place_in_model
from fxexplore.feature_extraction.common.tensors import (
    described,
    holds_tensor,
    state_tensors,
    storage_of,
    tensors_in,
    tensors_in_containers,
    version,
)
from fxexplore.feature_extraction.common.validation import optional_arguments, takes
from fxexplore.feature_extraction.common.wrappers import plain_module, reshard

from .follower import Call, Follower
from .leaves import LeafSpec
from .memory import Memory
from .recording import RecordedFailure, RecordedNode, RecordedReturn, Recording


@restores
def record(
    model: nn.Module,
    args: tuple[Any, ...] = (),
    kwargs: Mapping[str, Any] | None = None,
    *,
    training: bool | None = None,
    tracer_kwargs: Mapping[str, Any] | None = None,
    count_flops: bool = False,
    partial: bool = False,
) -> Recording:
    """Run ``model`` once and record which operations its code ran, on what.

    Works for any code that runs, such as branches on data. The run is without gradients;
    afterwards the model, the inputs and the random
    state are as before, also after an error. One recording runs at a time.

    Args:
        model: the model; wrappers of ``torch.compile`` and ``DataParallel`` are left out.
        args: positional arguments for the model.
        kwargs: keyword arguments for the model.
        training: True for train mode, False for eval mode; by default the present one.
        tracer_kwargs: as for ``create_feature_extractor``.
        count_flops: count floating point operations too, which takes time.
        partial: if the model raises, return what it did until then, and where it raised.

    Raises:
        TypeError: if ``tracer_kwargs`` are of the wrong kind, or forward does not take these
            arguments.
        Exception: what the model raises.

    Example:
        >>> import torch
        >>> class Branch(torch.nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.fc = torch.nn.Linear(2, 2)
        ...     def forward(self, x):
        ...         return self.fc(x) if x.sum() > 0 else x * 2
        >>> recording = record(Branch(), (torch.ones(1, 2),))
        >>> list(recording.nodes)
        ['x', 'sum', 'gt', 'fc']
        >>> recording.nodes["fc"].inputs, recording.nodes["fc"].output.shape
        (('x',), (1, 2))
    """
    model = plain_module(model)
    kwargs = dict(kwargs or {})
    tracer = LeafDecisions(**default_tracer_kwargs(tracer_kwargs))
    isolation = isolated(model, (args, kwargs), training=training)
    with isolation, torch.no_grad():
        with torch._C.DisableTorchFunction():
            flops = FlopCounter() if count_flops else None
            recorder = _Recorder(model, LeafSpec.of(model, tracer), isolation.before_write, flops)
        on_leaving(functools.partial(reshard, model))
        return recorder.recording(args, kwargs, partial=partial and takes(model, args, kwargs))


class _Inputs:
    """What an operation read: the nodes behind it and the memory it is in."""

    __slots__ = ("names", "storages", "tensors")

    def __init__(self) -> None:
        self.names: dict[str, None] = {}
        self.storages: set[int] = set()
        self.tensors: list[torch.Tensor] = []


class _Recorder(Follower):
    """Makes the nodes of a recording; no tensor is kept alive by it."""

    def __init__(
        self,
        model: nn.Module,
        leaf_spec: LeafSpec,
        before_write: Callable[[Any], None],
        flops: FlopCounter | None = None,
    ) -> None:
        super().__init__(model, leaf_spec)
        self._before_write = before_write
        self._flops = flops
        self._order = 0
        self._nodes: dict[str, RecordedNode] = {}
        self._returns: dict[str, RecordedReturn] = {}
        # Who made a tensor: an id may be used again, so the tensor itself has to be there. What
        # was computed without a name comes from the buffers behind it.
        self._makers: dict[int, tuple[Any, tuple[str, ...], int]] = {}
        self._entered: list[tuple[str, ...]] = []
        self._sites: dict[str, set[Any]] = {}
        self._repeated: set[str] = set()
        self._held = {id(t) for t in tensors_in_containers(model)}
        self._memory = Memory(tensor for _, tensor, _ in state_tensors(model))
        self._is_partial = False
        self._raised: tuple[Any, Call, tuple[str, ...], Any] | None = None
        """The last exception, what raised it first, and what that was given."""

    def recording(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], *, partial: bool = False
    ) -> Recording:
        """Run the model and return what it did; with ``partial`` until it raised, if it does."""
        self._is_partial = partial
        arguments: dict[str, str] = {}
        optional, inputs = optional_arguments(self.model), []
        with torch._C.DisableTorchFunction():
            for name, argument, value in self.named_arguments(args, kwargs):
                arguments[name] = argument
                if argument not in optional or holds_tensor(value):
                    inputs.append(name)
                call = Call(name, "placeholder", argument, "")
                self.called(call, _Inputs(), value, None, None)
        self._entered.append(tuple(inputs))
        output = failure = None
        try:
            with nullcontext() if self._flops is None else self._flops:
                output = self.run(args, kwargs)
        except Exception as problem:
            if not partial:
                raise
            with torch._C.DisableTorchFunction():
                self.raised(problem, Call("", "", "", ""), args, kwargs)
                failure = self._failure()
        with torch._C.DisableTorchFunction():
            return self._recorded(output, arguments, inputs, failure)

    def _failure(self) -> RecordedFailure | None:
        """Where the run raised; what it raised, with all that it holds, is let go."""
        if self._raised is None:
            return None
        (problem, call, inputs, given), self._raised = self._raised, None
        place = place_in_model(problem)
        name, op, target, module, _ = call
        node = None
        if op == "call_module":
            name = self._namer.module_call(target)
        elif op:  # only now, for one that the model caught has no name
            name = self._namer.operation(module, name)
        else:
            name = target
        if op:
            node = RecordedNode(name, op, target, inputs, module, place, None, self._order + 1)
        return RecordedFailure(name, node, type(problem).__name__, str(problem), place, given)

    def _recorded(
        self,
        output: Any,
        arguments: dict[str, str],
        inputs: list[str],
        failure: RecordedFailure | None,
    ) -> Recording:
        feeding = tuple(self.read((output,), {}).names)
        return Recording(
            nodes=self._nodes,
            module_returns=self._returns,
            output=feeding,
            arguments=arguments,
            inputs=inputs,
            repeated=frozenset(self._repeated),
            parameters=frozenset(path for path, _ in self.model.named_parameters()),
            leaf_spec=self._leaf_spec.narrowed(self.model, self.used),
            flops=None if self._flops is None else self._flops.total,
            failure=failure,
        )

    # --- what the run shows ------------------------------------------------------

    def before_write(self, written: Any) -> None:
        """Have the values saved that are about to be overwritten."""
        self._before_write(written)

    def starts(self) -> None:
        """Note what was counted before an operation or a leaf module."""
        if self._flops is not None:
            self._flops.starts()

    def versions(self, value: Any) -> list[tuple[torch.Tensor, int]]:
        """Note the versions of the tensors in a value."""
        return [(tensor, version(tensor)) for tensor in tensors_in(value)]

    def read(self, args: Any, kwargs: Mapping[str, Any]) -> _Inputs:
        """Find the nodes that the arguments come from."""
        inputs = _Inputs()
        for value in args:
            if type(value) is torch.Tensor:
                self._read_tensor(value, inputs)
            else:
                for tensor in tensors_in(value):
                    self._read_tensor(tensor, inputs)
        if kwargs:
            for tensor in tensors_in(kwargs):
                self._read_tensor(tensor, inputs)
        return inputs

    def _read_tensor(self, tensor: torch.Tensor, inputs: _Inputs) -> None:
        storage = storage_of(tensor)
        inputs.storages.add(storage)
        inputs.tensors.append(tensor)
        made = self._makers.get(id(tensor))
        if made is not None and made[0]() is tensor:
            for name in made[1]:
                inputs.names[name] = None
            write = self._memory.last_write(storage) if self._memory.writes else None
            if write is not None and write[0] > made[2] and write[1] not in made[1]:
                inputs.names[write[1]] = None
        elif id(tensor) in self._state:
            inputs.names[self._state_read(tensor)] = None
        elif id(tensor) not in self._held:
            # Made where no function of torch is seen, by numpy or a scripted function: it can
            # only come from what this module was given.
            inputs.names.update(dict.fromkeys(self._entered[-1] if self._entered else ()))

    def called(
        self, call: Call, inputs: Any, result: Any, written: Any, frame: FrameType | None
    ) -> Any:
        """Add a node, and remember its result as made by it."""
        if type(inputs) is list:  # an item of a result
            names, storages = tuple(inputs), None
        else:
            names, storages = tuple(inputs.names), inputs.storages
        order = self._order = self._order + 1
        if call.op == "call_module":
            self._note_site(call.target, frame)
        if written is not None:
            for tensor in tensors_in(written):
                self._memory.write(tensor, order, call.name)
                self._makers[id(tensor)] = (weakref.ref(tensor), (call.name,), order)
        elif type(result) is torch.Tensor and type(inputs) is _Inputs:
            result = _told_apart(result, inputs.tensors)
        shown = written if result is None else result  # setitem returns nothing
        # The usual case first: this runs for every operation.
        tensors = [shown] if type(shown) is torch.Tensor else list(tensors_in(shown))
        if not tensors and call.op != "placeholder":
            return result
        flops = None
        if self._flops is not None:
            flops = 0 if call.op in ("placeholder", "get_attr") else self._flops.taken()
        self._add(call, names, described(shown), tensors, storages, frame, flops)
        return result

    def _add(
        self,
        call: Call,
        inputs: tuple[str, ...],
        output: Any,
        tensors: list[torch.Tensor],
        storages: set[int] | None,
        frame: FrameType | None,
        flops: int | None = None,
    ) -> None:
        name, op, target, module, count = call
        source = None if frame is None else (frame.f_code.co_filename, frame.f_lineno)
        node = RecordedNode(
            name, op, target, inputs, module, source, output, self._order, count, None, flops
        )
        self._nodes[name] = node
        for tensor in tensors:
            self._memory.holds(node, self._made(tensor, call, storages))

    def computed_constant(self, inputs: _Inputs, result: Any, written: Any) -> None:
        """Let what reads the result depend on the buffers that it comes from."""
        order = self._order = self._order + 1
        buffers = tuple(inputs.names)
        for tensor in tensors_in(result):
            self._makers[id(tensor)] = (weakref.ref(tensor), buffers, order)
            self._memory.piece_of_result(tensor, inputs.storages)
        for tensor in tensors_in(written):
            for name in buffers[:1]:
                self._memory.write(tensor, order, name)

    def _made(self, tensor: torch.Tensor, call: Call, storages: set[int] | None) -> int:
        """Note who made a tensor; without the storages read, it is part of what was there."""
        if call.op != "get_attr":
            self._makers[id(tensor)] = (weakref.ref(tensor), (call.name,), self._order)
        if storages is None:
            return self._memory.piece_of(tensor)
        return self._memory.piece_of_result(tensor, storages)

    def _note_site(self, path: str, frame: FrameType | None) -> None:
        """Find modules that are called in a loop, whose number of calls may differ between runs."""
        site = (frame.f_code, frame.f_lasti, len(self._stack)) if frame is not None else None
        sites = self._sites.setdefault(path, set())
        if site in sites:
            self._repeated.add(path)
        sites.add(site)

    def raised(self, problem: Any, call: Call, args: Any, kwargs: Any) -> None:
        """Remember what raised first; those around it raise the same."""
        if self._is_partial and (self._raised is None or self._raised[0] is not problem):
            inputs = tuple(self.read(args, kwargs).names) if call.op else ()
            given = described({**dict(enumerate(args)), **kwargs})
            self._raised = problem, call, inputs, given

    def entered(self, path: str, args: Any, kwargs: Any) -> None:  # noqa: ARG002 - not needed here
        """Remember what feeds a module: it made whatever is computed unseen in it."""
        names: dict[str, None] = {}
        for tensor in tensors_in((args, kwargs)):
            if self._is_made(tensor):
                names.update(dict.fromkeys(self._makers[id(tensor)][1]))
            elif not self._is_known(tensor):
                names.update(dict.fromkeys(self._entered[-1]))
        self._entered.append(tuple(names))

    def left(self, path: str, count: int, result: Any, failed: bool) -> None:
        """Note what a module returned."""
        inputs = self._entered.pop()
        if failed:
            return
        frame = model_frame()
        self._note_site(path, frame)
        tensors = list(tensors_in(result))
        hidden = [tensor for tensor in tensors if not self._is_known(tensor)]
        if hidden:
            call = Call(self._namer.module_call(path), "call_module", path, self._path, count)
            self._order += 1
            self._add(call, inputs, described(result), hidden, None, frame)
        self._order += 1
        returned = RecordedReturn(described(result), self._order, count)
        self._returns.pop(path, None)
        self._returns[path] = returned
        for tensor in tensors:
            self._memory.holds(returned, self._memory.piece_of(tensor))

    def _is_made(self, tensor: torch.Tensor) -> bool:
        made = self._makers.get(id(tensor))
        return made is not None and made[0]() is tensor

    def _is_known(self, tensor: torch.Tensor) -> bool:
        return self._is_made(tensor) or id(tensor) in self._state or id(tensor) in self._held


def _told_apart(result: torch.Tensor, inputs: list[torch.Tensor]) -> torch.Tensor:
    """Tell a result from an input that was returned as it is, by dropout for instance.

    Both would be one object, and what reads the input would seem to read the result.
    """
    for tensor in inputs:
        if tensor is result:
            plain = result.layout is torch.strided and not result.requires_grad
            return result.view_as(result) if plain else result
    return result
