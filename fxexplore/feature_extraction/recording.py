"""The nodes of a model, read off one real run of its own code."""

from __future__ import annotations

import bisect
import dataclasses
import inspect
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from types import FrameType
from typing import Any, NamedTuple

import torch
from torch import nn

from .flops import FlopCounter
from .following import Anatomy, Call, Follower
from .gate import gate
from .harmless import untouched
from .model_code import model_frame
from .naming import operation_name
from .tensors import state_tensors, tensors_in, version
from .tracers import LeafModuleAwareTracer, one_trace_at_a_time
from .tracing import default_tracer_kwargs
from .wrappers import plain_module, split_again


@dataclasses.dataclass(frozen=True)
class TensorInfo:
    """What is kept of a tensor that a run computed."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    device: torch.device


@dataclasses.dataclass(frozen=True)
class RecordedNode:
    """One input, parameter read, leaf module call or operation of a recorded run.

    Attributes:
        name: the qualified name, the same as symbolic tracing gives.
        op: ``placeholder``, ``get_attr``, ``call_module``, ``call_function`` or
            ``call_method``.
        target: the argument's name, the path of the parameter or module, the function,
            or the name of the method.
        inputs: names of the nodes whose values the operation read.
        module: path of the module whose forward ran it; ``""`` is the model.
        source: file and line in the model's own code.
        output: the result, with :class:`TensorInfo` in the place of tensors.
        order: position among all operations and module returns of the run.
        call: for a call of a module, the how manyeth it was, from 1.
        overwritten: the ``order`` at which something wrote into the result's memory.
        flops: floating point operations that it took, if they were counted.
    """

    name: str
    op: str
    target: Any
    inputs: tuple[str, ...]
    module: str
    source: tuple[str, int] | None
    output: Any
    order: int
    call: int = 0
    overwritten: int | None = None
    flops: int | None = None


@dataclasses.dataclass(frozen=True)
class RecordedReturn:
    """What a module that is no leaf returned at its last call.

    Attributes:
        output: the value, with :class:`TensorInfo` in the place of tensors.
        nodes: names of the nodes that computed it.
        order: as for :class:`RecordedNode`.
        calls: how often the module was called.
        overwritten: as for :class:`RecordedNode`.
        flops: floating point operations of all calls, if they were counted.
    """

    output: Any
    nodes: tuple[str, ...]
    order: int
    calls: int
    overwritten: int | None = None
    flops: int | None = None


@dataclasses.dataclass(frozen=True)
class Recording:
    """What one run of a model did.

    Attributes:
        nodes: every node that computes tensors, by name, in order of execution.
        module_returns: what each module that is no leaf returned, by its path.
        output: names of the nodes that feed the model's output.
        result: the model's output, with :class:`TensorInfo` in the place of tensors.
        arguments: which argument of forward each placeholder stands for.
        repeated: paths of modules that one line called several times, as in a loop.
        parameters: paths of the parameters.
        anatomy: leaf modules and wrapped functions, for running it again.
        flops: floating point operations of the run, if they were counted.
    """

    nodes: dict[str, RecordedNode]
    module_returns: dict[str, RecordedReturn]
    output: tuple[str, ...]
    result: Any
    arguments: dict[str, str]
    repeated: frozenset[str]
    parameters: frozenset[str]
    anatomy: Anatomy
    flops: int | None = None

    @property
    def names(self) -> list[str]:
        """The names of the nodes that symbolic tracing names too: no reads of buffers."""
        return [
            name
            for name, node in self.nodes.items()
            if node.op != "get_attr" or node.target in self.parameters
        ]


def record(
    model: nn.Module,
    args: tuple[Any, ...] = (),
    kwargs: Mapping[str, Any] | None = None,
    *,
    tracer_kwargs: Mapping[str, Any] | None = None,
    count_flops: bool = False,
) -> Recording:
    """Run ``model`` once and tell which operations its code ran, on what.

    Works for any code that runs, such as branches on data. The run is in the present
    mode of the model, without gradients; afterwards the model, the inputs and the random
    state are as before, also after an error. One recording runs at a time.

    Args:
        model: the model; wrappers of ``torch.compile`` and ``DataParallel`` are left out.
        args: positional arguments for the model.
        kwargs: keyword arguments for the model.
        tracer_kwargs: as for ``create_feature_extractor``.
        count_flops: count floating point operations too, which takes time.

    Raises:
        TypeError: if ``tracer_kwargs`` are of the wrong kind.
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
    tracer = LeafModuleAwareTracer(**default_tracer_kwargs(tracer_kwargs))
    with gate.alone(), one_trace_at_a_time, untouched(model), torch.no_grad():
        with torch._C.DisableTorchFunction():
            counter = FlopCounter() if count_flops else None
            recorder = _Recorder(model, Anatomy.of(model, tracer), args, kwargs, counter)
        with recorder.numbers_kept():
            try:
                return recorder.recording(args, kwargs)
            finally:
                split_again(model)


def bound_arguments(
    model: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> dict[str, tuple[Any, bool]]:
    """The arguments that a call gives to forward, by name, and whether each must be given."""
    try:
        signature = inspect.signature(model.forward)
        given = signature.bind(*args, **kwargs).arguments
    except (TypeError, ValueError):  # the call itself will say what is wrong
        return {f"arg{i}": (value, True) for i, value in enumerate((*args, *kwargs.values()))}
    found: dict[str, tuple[Any, bool]] = {}
    for name, value in given.items():
        parameter = signature.parameters[name]
        if parameter.kind is parameter.VAR_KEYWORD:
            found.update({key: (item, False) for key, item in value.items()})
        else:
            found[name] = (value, parameter.default is parameter.empty)
    return found


class _Raw(NamedTuple):
    """A :class:`TensorInfo` that costs less to make."""

    shape: torch.Size
    dtype: torch.dtype
    device: torch.device


class _Inputs:
    """What an operation read: the nodes behind it and the memory it is in."""

    __slots__ = ("names", "storages", "tensors")

    def __init__(self) -> None:
        self.names: dict[str, None] = {}
        self.storages: set[int] = set()
        self.tensors: list[torch.Tensor] = []


class _Recorder(Follower):
    """Keeps a row for each node; no tensor is kept alive by it."""

    def __init__(
        self,
        model: nn.Module,
        anatomy: Anatomy,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        counter: FlopCounter | None = None,
    ) -> None:
        super().__init__(model, anatomy)
        self._anatomy = anatomy
        self._counter = counter
        self._flops_before = 0
        self._flops_entered: list[int] = []
        self._flops_of: dict[str, int] = {}
        self._order = 0
        self._rows: list[tuple[Any, ...]] = []
        self._returns: dict[str, tuple[Any, ...]] = {}
        # Who made a tensor: an id may be used again, so the tensor itself has to be there.
        self._makers: dict[int, tuple[Any, str, int]] = {}
        # What was computed without a name, and the buffers behind it.
        self._from_buffers: dict[int, tuple[Any, tuple[str, ...]]] = {}
        # Memory is told apart by a number that is new for each fresh result, as an
        # address may be used again.
        self._memory: dict[int, int] = {}
        self._memories = 0
        self._writes: dict[int, list[tuple[int, str]]] = {}
        self._entered: list[tuple[str, ...]] = []
        self._sites: dict[str, set[Any]] = {}
        self._repeated: set[str] = set()
        self._held = {id(t) for t in _tensors_in_containers(model)}
        self._saved: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
        state = list(state_tensors(model))
        self._state_memory = {_storage(tensor) for _, tensor, _ in state}
        self._guarded: dict[int, list[torch.Tensor]] = {}
        parameters = [tensor for _, tensor, is_parameter in state if is_parameter]
        for tensor in (*parameters, *tensors_in((args, kwargs))):
            self._guarded.setdefault(_storage(tensor), []).append(tensor)
        for _, tensor, is_parameter in state:
            if not is_parameter:
                self._save(tensor)
        for module in model.modules():
            # torch renormalises these in place, out of sight.
            if getattr(module, "max_norm", None) is not None:
                for parameter in module.parameters(recurse=False):
                    self._save(parameter)

    def recording(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Recording:
        """Run the model and tell what it did."""
        arguments: dict[str, str] = {}
        with torch._C.DisableTorchFunction():
            for key, (value, required) in bound_arguments(self.model, args, kwargs).items():
                if required or any(True for _ in tensors_in(value)):
                    name = self._namer.operation("", operation_name("placeholder", key))
                    arguments[name] = key
                    self.called(Call(name, "placeholder", key, ""), _Inputs(), value, None, None)
        self._entered.append(tuple(arguments))
        with self._counter or nullcontext():
            output = self.run(args, kwargs)
        with torch._C.DisableTorchFunction():
            return self._recorded(output, arguments)

    def _recorded(self, output: Any, arguments: dict[str, str]) -> Recording:
        feeding = tuple(self.read((output,), {}).names)
        return Recording(
            nodes={row[0].name: self._node(*row) for row in self._rows},
            module_returns={path: self._return(*row) for path, row in self._returns.items()},
            output=feeding,
            result=described(output),
            arguments=arguments,
            repeated=frozenset(self._repeated),
            parameters=frozenset(path for path, _ in self.model.named_parameters()),
            anatomy=self._anatomy.narrowed(self.model, self.used),
            flops=self._flops(),
        )

    def _node(
        self,
        call: Call,
        inputs: tuple[str, ...],
        source: tuple[str, int] | None,
        output: Any,
        order: int,
        memory: tuple[int, ...],
        flops: int | None,
    ) -> RecordedNode:
        if type(output) is _Raw:
            output = TensorInfo(tuple(output.shape), output.dtype, output.device)
        return RecordedNode(
            call.name,
            call.op,
            call.target,
            inputs,
            call.module,
            source,
            output,
            order,
            call.nth,
            self._overwritten(memory, order),
            flops,
        )

    def _return(
        self,
        output: Any,
        nodes: tuple[str, ...],
        order: int,
        calls: int,
        memory: tuple[int, ...],
        flops: int | None,
    ) -> RecordedReturn:
        overwritten = self._overwritten(memory, order)
        return RecordedReturn(output, nodes, order, calls, overwritten, flops)

    def _flops(self) -> int | None:
        return None if self._counter is None else self._counter.get_total_flops()

    def _overwritten(self, memory: tuple[int, ...], order: int) -> int | None:
        if not self._writes:
            return None
        later = []
        for piece in memory:
            orders = [at for at, _ in self._writes.get(piece, ())]
            later += orders[bisect.bisect_right(orders, order) :][:1]
        return min(later, default=None)

    # --- what the run shows ------------------------------------------------------

    def starts(self) -> None:
        """Note what was counted before an operation or a leaf module."""
        if self._counter is not None:
            self._flops_before = self._counter.get_total_flops()

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
        key = id(tensor)
        storage = _storage(tensor)
        inputs.storages.add(storage)
        inputs.tensors.append(tensor)
        made = self._makers.get(key)
        if made is not None and made[0]() is tensor:
            inputs.names[made[1]] = None
            if self._writes:
                self._add_later_write(storage, made[2], made[1], inputs)
            return
        constant = self._from_buffers.get(key)
        if key in self._state:
            inputs.names[self._state_read(tensor)] = None
        elif constant is not None and constant[0]() is tensor:
            inputs.names.update(dict.fromkeys(constant[1]))
        elif key not in self._held:
            # Made where torch's functions do not show: by numpy, by a script. It can only
            # come from what this module was given.
            inputs.names.update(dict.fromkeys(self._entered[-1] if self._entered else ()))

    def _add_later_write(self, storage: int, since: int, maker: str, inputs: _Inputs) -> None:
        writes = self._writes.get(self._memory.get(storage, 0))
        if writes:
            order, name = writes[-1]
            if order > since and name != maker:
                inputs.names[name] = None

    def called(
        self, call: Call, inputs: Any, result: Any, written: Any, frame: FrameType | None
    ) -> Any:
        """Add a row for a node, and remember its result as made by it."""
        if type(inputs) is list:  # an item of a result
            names, storages = tuple(inputs), ()
        else:
            names, storages = tuple(inputs.names), inputs.storages
        order = self._order = self._order + 1
        if call.op == "call_module":
            self._note_site(call, frame)
        memory: list[int] = []
        if written is not None:
            for tensor in tensors_in(written):
                piece = self._memory_of(tensor)
                self._writes.setdefault(piece, []).append((order, call.name))
                self._makers[id(tensor)] = (weakref.ref(tensor), call.name, order)
        if type(result) is torch.Tensor:
            if written is None and type(inputs) is _Inputs:
                result = _apart(result, inputs.tensors)
            memory.append(self._made(result, call, order, storages))
            output: Any = _Raw(result.shape, result.dtype, result.device)
        else:
            shown = written if result is None else result  # setitem returns nothing
            tensors = list(tensors_in(shown))
            if not tensors and call.op != "placeholder":
                return result
            memory += [self._made(tensor, call, order, storages) for tensor in tensors]
            output = described(shown)
        source = (frame.f_code.co_filename, frame.f_lineno) if frame is not None else None
        flops = None if self._counter is None else self._flops_taken(call)
        self._rows.append((call, names, source, output, order, tuple(memory), flops))
        return result

    def computed_constant(self, inputs: _Inputs, result: Any, written: Any) -> None:
        """Let what reads the result depend on the buffers that it comes from."""
        order = self._order = self._order + 1
        buffers = tuple(inputs.names)
        for tensor in tensors_in(result):
            self._from_buffers[id(tensor)] = (weakref.ref(tensor), buffers)
            self._placed(tensor, inputs.storages)
        for tensor in tensors_in(written):
            for name in buffers[:1]:
                self._writes.setdefault(self._memory_of(tensor), []).append((order, name))

    def _flops_taken(self, call: Call) -> int:
        assert self._counter is not None
        if call.op in ("placeholder", "get_attr"):
            return 0
        total = self._counter.get_total_flops()
        taken, self._flops_before = total - self._flops_before, total
        return taken

    def _made(self, tensor: torch.Tensor, call: Call, order: int, storages: Any) -> int:
        if call.op != "get_attr":
            self._makers[id(tensor)] = (weakref.ref(tensor), call.name, order)
        return self._placed(tensor, storages)

    def _placed(self, tensor: torch.Tensor, storages: Any) -> int:
        """The number of the memory that an operation's result is in."""
        storage = _storage(tensor)
        if storage in storages or storage in self._state_memory or type(storages) is tuple:
            return self._memory_of(tensor)
        self._memories += 1
        self._memory[storage] = self._memories
        return self._memories

    def _memory_of(self, tensor: torch.Tensor) -> int:
        storage = _storage(tensor)
        piece = self._memory.get(storage)
        if piece is None:
            self._memories += 1
            piece = self._memory[storage] = self._memories
        return piece

    def _note_site(self, call: Call, frame: FrameType | None) -> None:
        """Find the modules that a loop calls: how often may differ from run to run."""
        path = str(call.target)
        site = (frame.f_code, frame.f_lasti, len(self._stack)) if frame is not None else None
        sites = self._sites.setdefault(path, set())
        if site in sites:
            self._repeated.add(path)
        sites.add(site)

    def entered(self, path: str, args: Any, kwargs: Any) -> None:  # noqa: ARG002 - not needed here
        """Remember what feeds a module, for what is computed out of sight in it."""
        self._entered.append(tuple(self._without_new_reads(args, kwargs)))
        self._flops_entered.append(self._flops() or 0)

    def _without_new_reads(self, *values: Any) -> Iterator[str]:
        for tensor in tensors_in(values):
            made = self._makers.get(id(tensor))
            if made is not None and made[0]() is tensor:
                yield made[1]
            elif not self._is_known(tensor):
                yield from self._entered[-1]

    def left(self, path: str, count: int, result: Any, failed: bool) -> None:
        """Note what a module returned."""
        inputs = self._entered.pop()
        flops = self._flops()
        if flops is not None:
            flops = self._flops_of.get(path, 0) + flops - self._flops_entered.pop()
            self._flops_of[path] = flops
        if failed:
            return
        frame = model_frame()
        self._note_site(Call(path, "call_module", path, self._path, count), frame)
        tensors = list(tensors_in(result))
        hidden = [tensor for tensor in tensors if not self._is_known(tensor)]
        if hidden:
            name = self._namer.module_call(path)
            call = Call(name, "call_module", path, self._path, count)
            order = self._order = self._order + 1
            memory = tuple(self._made(tensor, call, order, ()) for tensor in hidden)
            source = (frame.f_code.co_filename, frame.f_lineno) if frame else None
            names = tuple(dict.fromkeys(inputs))
            self._rows.append((call, names, source, described(result), order, memory, None))
        self._order += 1
        memory = tuple(self._memory_of(tensor) for tensor in tensors)
        nodes = tuple(dict.fromkeys(self._without_new_reads(result)))
        self._returns.pop(path, None)
        self._returns[path] = (described(result), nodes, self._order, count, memory, flops)

    def _is_known(self, tensor: torch.Tensor) -> bool:
        made = self._makers.get(id(tensor))
        if made is not None and made[0]() is tensor:
            return True
        constant = self._from_buffers.get(id(tensor))
        if constant is not None and constant[0]() is tensor:
            return True
        return id(tensor) in self._state or id(tensor) in self._held

    # --- do no harm --------------------------------------------------------------

    def before_write(self, written: Any) -> None:
        """Keep the numbers of a parameter or an input that is about to be overwritten."""
        for tensor in tensors_in(written):
            for owner in self._guarded.get(_storage(tensor), ()):
                self._save(owner)

    def _save(self, tensor: torch.Tensor) -> None:
        if id(tensor) not in self._saved and not tensor.is_meta:
            self._saved[id(tensor)] = (tensor, tensor.detach().clone())

    @contextmanager
    def numbers_kept(self) -> Iterator[None]:
        """Put back the numbers in buffers, and in what else the run overwrote."""
        try:
            yield
        finally:
            with torch._C.DisableTorchFunction():
                for tensor, saved in self._saved.values():
                    if tensor.shape != saved.shape or tensor.dtype != saved.dtype:
                        tensor.data = saved
                    # A write that changes nothing would still count as one for autograd.
                    elif not torch.equal(tensor, saved):
                        tensor.data.copy_(saved)


def described(value: Any) -> Any:
    """Copy a value with :class:`TensorInfo` in the place of tensors.

    Example:
        >>> described({"a": [torch.ones(2)], "n": 3})["a"][0].shape
        (2,)
    """
    if isinstance(value, torch.Tensor):
        return TensorInfo(tuple(value.shape), value.dtype, value.device)
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (tuple, list)):
        items = [described(item) for item in value]
        return items if isinstance(value, list) else tuple(items)
    if isinstance(value, Mapping):
        return {key: described(item) for key, item in value.items()}
    attributes = {} if isinstance(value, type) else getattr(value, "__dict__", {})
    held = {n: described(v) for n, v in attributes.items() if any(True for _ in tensors_in(v))}
    return Attributes(held) if held else type(value).__name__


class Attributes(dict[str, Any]):
    """The attributes of an object, told from the items of a dict."""


def _apart(result: torch.Tensor, inputs: list[torch.Tensor]) -> torch.Tensor:
    """Tell a result from an input that was returned as it is, by dropout for instance.

    Both would be one object, and what reads the input would seem to read the result.
    """
    for tensor in inputs:
        if tensor is result:
            plain = result.layout is torch.strided and not result.requires_grad
            return result.view_as(result) if plain else result
    return result


def _storage(tensor: torch.Tensor) -> int:
    """What tells the memory of two living tensors apart; 0 if they have none."""
    try:
        return int(tensor.untyped_storage()._cdata)
    except (NotImplementedError, RuntimeError, AttributeError):  # sparse and wrapper tensors
        return 0


def _tensors_in_containers(model: nn.Module) -> Iterator[torch.Tensor]:
    for module in model.modules():
        for name, value in vars(module).items():
            if not name.startswith("_") and isinstance(value, (list, tuple, dict)):
                yield from tensors_in(value)
