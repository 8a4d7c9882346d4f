"""Symbolic tracers: leaf modules to the caller's taste, and a true name for every node."""

from __future__ import annotations

import dataclasses
import inspect
import math
import os
import sys
import threading
import typing
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import FrameType, ModuleType
from typing import Any

import torch
from torch import fx, nn
from torch.fx.proxy import TraceError
from torch.overrides import TorchFunctionMode

from .effects import written_argument
from .harmless import untouched
from .naming import NodeNamer, operation_name

# torch.fx patches nn.Module for the whole process while it traces.
one_trace_at_a_time = threading.RLock()

_LIBRARY_FOLDERS = tuple(
    os.path.dirname(os.path.abspath(file)) + os.sep for file in (torch.__file__, __file__)
)


class LeafModuleAwareTracer(fx.Tracer):
    """An ``fx.Tracer`` that does not trace into the classes of modules it is told.

    Tracing leaves the model as it was: attributes, flags, hooks and random state,
    also when it raises. One trace runs at a time; other threads may go on running
    models meanwhile.

    Args:
        autowrap_modules: Python modules whose functions become nodes (any iterable).
        autowrap_functions: functions that become nodes (any iterable).
        param_shapes_constant: see ``torch.fx.Tracer``.
        leaf_modules: classes of modules that become one node each (any iterable).

    Raises:
        TypeError: if an entry is of the wrong kind.

    Example:
        >>> from torch import nn
        >>> class Block(nn.Sequential): pass
        >>> model = nn.Sequential(Block(nn.ReLU()), nn.ReLU())
        >>> graph = LeafModuleAwareTracer(leaf_modules={Block}).trace(model)
        >>> [node.target for node in graph.nodes if node.op == "call_module"]
        ['0', '1']
    """

    def __init__(
        self,
        autowrap_modules: Iterable[ModuleType] = (math,),
        autowrap_functions: Iterable[Callable[..., Any]] = (),
        param_shapes_constant: bool = False,
        *,
        leaf_modules: Iterable[type[nn.Module]] = (),
    ) -> None:
        self.leaf_modules = _checked(
            "leaf_modules",
            leaf_modules,
            lambda entry: isinstance(entry, type) and issubclass(entry, nn.Module),
            "subclasses of torch.nn.Module, such as [nn.ReLU]",
        )
        super().__init__(
            _checked(
                "autowrap_modules",
                autowrap_modules,
                lambda entry: isinstance(entry, ModuleType),
                "Python modules, such as (math,)",
            ),
            _checked("autowrap_functions", autowrap_functions, callable, "functions"),
            param_shapes_constant,
        )
        self._thread = threading.get_ident()
        self._parameter_paths: dict[int, str] = {}

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Whether ``m`` becomes one node: one of ``leaf_modules``, or torch.nn's own."""
        return isinstance(m, self.leaf_modules) or super().is_leaf_module(m, module_qualified_name)

    def trace(
        self,
        root: nn.Module | Callable[..., Any],
        concrete_args: dict[str, Any] | None = None,
    ) -> fx.Graph:
        """Trace ``root`` and return its graph.

        Args:
            root: a module, or a function of tensors.
            concrete_args: values that stand for arguments of forward while tracing.
                ``torch.fx.PH`` marks an argument with a default that is to be an input.

        Raises:
            torch.fx.proxy.TraceError: where the code cannot be traced symbolically.
        """
        with one_trace_at_a_time:
            self._thread = threading.get_ident()
            if not isinstance(root, nn.Module):
                return super().trace(root, concrete_args)
            self._parameter_paths = {id(p): path for path, p in root.named_parameters()}
            with untouched(root):
                return self._trace_module(root, concrete_args)

    def _trace_module(self, root: nn.Module, concrete_args: dict[str, Any] | None) -> fx.Graph:
        return super().trace(root, concrete_args)

    @property
    def _is_elsewhere(self) -> bool:
        """Whether another thread than the tracing one asks: it must see plain torch."""
        return threading.get_ident() != self._thread

    def call_module(
        self,
        m: nn.Module,
        forward: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        """Record the call of a leaf module, or trace into the forward of another."""
        if self._is_elsewhere:
            return forward(*args, **kwargs)
        if m not in self._paths:
            return self._call_unregistered(m, forward, args, kwargs)
        return super().call_module(m, forward, args, kwargs)

    @property
    def _paths(self) -> dict[nn.Module, str]:
        return self.submodule_paths or {}

    def _call_unregistered(
        self,
        m: nn.Module,
        forward: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        """Trace into a module made inside a forward, as long as it holds no state."""
        state = [name for name, _ in (*m.named_parameters(), *m.named_buffers())]
        if state:
            raise TraceError(
                f"{_location()} calls a {type(m).__name__} that is not a registered submodule, so "
                f"its {', '.join(state[:3])} would belong to no model. Assign the module to an "
                f"attribute in __init__; for a list of modules use torch.nn.ModuleList."
            )
        return forward(*args, **kwargs)

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, fx.Proxy]) -> Any:
        """Stand a proxy in for a parameter that forward reads."""
        if self._is_elsewhere:
            return attr_val
        if isinstance(attr_val, nn.Parameter):
            # fx searches all parameters for each read; a look-up keeps tracing linear.
            path = self._parameter_paths.get(id(attr_val))
            if path is None:
                return attr_val
            if path in parameter_proxy_cache:
                return parameter_proxy_cache[path]
        return super().getattr(attr, attr_val, parameter_proxy_cache)


@dataclasses.dataclass(frozen=True)
class ModuleReturn:
    """What a traced-into module returned at its last call.

    Attributes:
        value: nodes and constants in the nesting of tuples, lists, dicts and
            :class:`Built` objects that the module returned.
        after: the last node that existed at that moment; the value is the one the
            module returned until some later node overwrites it in place.
        order: how many modules had returned before.
    """

    value: Any
    after: fx.Node
    order: int


@dataclasses.dataclass(frozen=True)
class Built:
    """A dataclass instance or named tuple that is built anew from its fields."""

    cls: type
    fields: dict[str, Any]


class NodePathTracer(LeafModuleAwareTracer):
    """A tracer that gives every node the qualified name of where it comes from.

    A name is the dotted path from the top module (not included) to the leaf module
    or operation; see the README for the rules. The shape of this class is that of
    ``torchvision.models.feature_extraction.NodePathTracer``.

    Attributes:
        node_to_qualname: each ``fx.Node`` with its name, in order of execution.
        current_module_qualname: path of the module whose forward runs at the moment.
        module_returns: for each path of a module that was traced into, what it
            returned at its last call.
        fixed_arguments: arguments of forward that kept a value while tracing: their
            default, or the one in ``concrete_args``.
        constants: tensors made inside forward that the graph reads by attribute name.

    Args:
        *args: as for :class:`LeafModuleAwareTracer`.
        **kwargs: as for :class:`LeafModuleAwareTracer`.

    Example:
        >>> from torch import nn
        >>> tracer = NodePathTracer()
        >>> graph = tracer.trace(nn.Sequential(nn.Linear(2, 2), nn.ReLU()))
        >>> list(tracer.node_to_qualname.values())
        ['input', '0', '1']
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._reset(())

    def _reset(self, module_paths: Iterable[str]) -> None:
        self._namer = NodeNamer(module_paths)
        self.current_module_qualname = ""
        self.node_to_qualname: dict[fx.Node, str] = {}
        self.module_returns: dict[str, ModuleReturn] = {}
        self.fixed_arguments: dict[str, Any] = {}
        self.constants: dict[str, Any] = {}

    def trace(
        self,
        root: nn.Module | Callable[..., Any],
        concrete_args: dict[str, Any] | None = None,
    ) -> fx.Graph:
        """Trace ``root``, filling ``node_to_qualname``; see :class:`LeafModuleAwareTracer`."""
        paths = () if not isinstance(root, nn.Module) else (name for name, _ in all_paths(root))
        self._reset(paths)
        graph = super().trace(root, concrete_args)
        # What a graph needs to serve as the argument of create_feature_extractor.
        graph._fxexplore_tracer = self  # type: ignore[attr-defined]
        return graph

    def _trace_module(self, root: nn.Module, concrete_args: dict[str, Any] | None) -> fx.Graph:
        self._autocast = _autocast_state()
        before = set(vars(root))
        # A no_grad block inside forward shows only if gradients are on to begin with.
        with (
            torch.enable_grad(),
            _RealTensorsInForward(self, root),
            _custom_functions_kept(self),
        ):
            graph = super()._trace_module(root, concrete_args)
        # fx hangs tensors that forward made on the root, which is the caller's.
        read = {node.target for node in graph.nodes if node.op == "get_attr"}
        self.constants = {k: v for k, v in vars(root).items() if k not in before and k in read}
        return graph

    def call_module(
        self,
        m: nn.Module,
        forward: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        """Keep track of whose forward runs, and of what it returns."""
        path = None if self._is_elsewhere else self._paths.get(m)
        if path is None:
            return super().call_module(m, forward, args, kwargs)
        caller = self.current_module_qualname
        self.current_module_qualname = path
        try:
            output = super().call_module(m, forward, args, kwargs)
        finally:
            self.current_module_qualname = caller
        if not self.is_leaf_module(m, path):
            value = _with_nodes(output)
            after = next(iter(reversed(self.graph.nodes)))
            self.module_returns.pop(path, None)
            self.module_returns[path] = ModuleReturn(value, after, len(self.module_returns))
        return output

    def create_proxy(
        self,
        kind: str,
        target: fx.node.Target,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        name: str | None = None,
        type_expr: Any | None = None,
        proxy_factory_fn: Callable[[fx.Node], fx.Proxy] | None = None,
    ) -> fx.Proxy:
        """Record an operation together with its qualified name and source line."""
        proxy = super().create_proxy(kind, target, args, kwargs, name, type_expr, proxy_factory_fn)
        node = proxy.node
        if kind == "call_module":
            qualname = self._namer.module_call(str(target))
        else:
            qualname = self._namer.operation(
                self.current_module_qualname, operation_name(kind, target)
            )
        self.node_to_qualname[node] = node.meta["qualified_name"] = qualname
        if kind in ("call_function", "call_method"):
            node.meta["source"] = _source_line()
        if not torch.is_grad_enabled():
            node.meta["no_grad"] = True
        if _autocast_state() != self._autocast:
            raise TraceError(
                f"{_location()} runs '{qualname}' under autocast, which a symbolic trace would "
                f"lose. Make the module a leaf with tracer_kwargs={{'leaf_modules': [...]}}."
            )
        return proxy

    def create_args_for_root(
        self,
        root_fn: Callable[..., Any],
        is_module: bool,
        concrete_args: dict[str, Any] | tuple[Any, ...] | None = None,
    ) -> tuple[Any, list[Any]]:
        """Make the arguments of forward: inputs as proxies, others at their value.

        An argument that has a default keeps it, so that ``mask=None`` takes the branch
        that it takes when nobody gives a mask.
        """
        parameters = list(inspect.signature(root_fn).parameters.values())[int(is_module) :]
        named = [p for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
        concrete = _concrete_by_name(named, concrete_args)
        is_input = {
            p.name: concrete[p.name] is fx.PH if p.name in concrete else p.default is p.empty
            for p in named
        }
        if not any(is_input.values()) and len(parameters) > len(named) and not concrete:
            # forward(self, *inputs): fx stands one proxy in for the whole tuple.
            return super().create_args_for_root(root_fn, is_module, None)
        annotations = _annotations(root_fn)
        positional: list[Any] = [self.root] if is_module else []
        keyword: dict[str, Any] = {}
        for parameter in named:
            value = self._argument(
                parameter,
                is_input[parameter.name],
                concrete.get(parameter.name, parameter.default),
                annotations.get(parameter.name),
            )
            if parameter.kind is parameter.KEYWORD_ONLY:
                keyword[parameter.name] = value
            else:
                positional.append(value)

        def call_root() -> Any:
            return root_fn(*positional, **keyword)

        return call_root, []

    def _argument(
        self, parameter: inspect.Parameter, is_input: bool, value: Any, annotation: Any
    ) -> Any:
        if is_input:
            default = () if parameter.default is parameter.empty else (parameter.default,)
            return self.create_proxy(
                "placeholder", parameter.name, default, {}, type_expr=annotation
            )
        self.fixed_arguments[parameter.name] = value
        # Kept in the signature, so that handing it over can be answered in words.
        if value is None or isinstance(value, (bool, int, float, str)):
            self.create_node("placeholder", parameter.name, (value,), {}, type_expr=annotation)
        return value


class _RealTensorsInForward(TorchFunctionMode):
    """Turns what forward does to real tensors, unseen by proxies, into nodes.

    Random numbers drawn in forward would otherwise be frozen into the graph, and a
    buffer that forward updates in place would be changed by the trace itself.
    """

    def __init__(self, tracer: NodePathTracer, root: nn.Module) -> None:
        super().__init__()
        self._tracer = tracer
        self._state = {id(t): name for name, t in _state_tensors(root)}
        self._storages = {
            key: name for name, t in _state_tensors(root) if (key := _storage_address(t))
        }

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if func in _RANDOM_FACTORIES:
            return self._tracer.create_proxy("call_function", func, args, kwargs)
        written = written_argument(func, args, kwargs)
        if isinstance(written, torch.Tensor):
            if id(written) in self._state:
                self._record_write(func, args, kwargs)
                return written
            name = self._storages.get(_storage_address(written))
            if name is not None:
                raise TraceError(
                    f"{_location()} writes into a part of '{name}' in place, which a symbolic "
                    f"trace cannot follow."
                )
        return func(*args, **kwargs)

    def _record_write(self, func: Callable[..., Any], args: Any, kwargs: Any) -> None:
        if torch.overrides.is_tensor_method_or_property(func):
            self._tracer.create_proxy("call_method", func.__name__, args, kwargs)
        else:
            self._tracer.create_proxy("call_function", func, args, kwargs)


_RANDOM_FACTORIES = {torch.rand, torch.randn, torch.randint, torch.randperm, torch.normal}


def _state_tensors(root: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    yield from root.named_buffers()
    for path, module in root.named_modules():
        for name, value in vars(module).items():
            if isinstance(value, torch.Tensor):
                yield f"{path}.{name}".lstrip("."), value


def _storage_address(tensor: torch.Tensor) -> int:
    """Address of the memory behind ``tensor``; 0 where there is none, as on the meta device."""
    try:
        return tensor.untyped_storage().data_ptr()
    except (NotImplementedError, RuntimeError):  # sparse and some wrapper tensors
        return 0


@contextmanager
def _custom_functions_kept(tracer: NodePathTracer) -> Iterator[None]:
    """Record ``autograd.Function.apply`` as one node, so that its own backward is kept."""
    original = torch.autograd.Function.__dict__.get("apply")
    apply = torch.autograd.Function.apply

    def recorded(cls: type, *args: Any, **kwargs: Any) -> Any:
        plain = apply.__func__.__get__(cls)
        if threading.get_ident() == tracer._thread and _holds_proxy((args, kwargs)):
            return tracer.create_proxy("call_function", plain, args, kwargs)
        return plain(*args, **kwargs)

    torch.autograd.Function.apply = classmethod(recorded)
    try:
        yield
    finally:
        if original is None:
            del torch.autograd.Function.apply
        else:
            torch.autograd.Function.apply = original


def _holds_proxy(value: Any) -> bool:
    found: list[fx.Proxy] = []
    fx.node.map_aggregate(value, lambda v: found.append(v) if isinstance(v, fx.Proxy) else None)
    return bool(found)


def _with_nodes(value: Any) -> Any:
    """Copy a module's return value, with nodes in the place of proxies."""
    if isinstance(value, fx.Proxy):
        return value.node
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        fields = zip(value._fields, value, strict=True)
        return Built(type(value), {name: _with_nodes(v) for name, v in fields})
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields_ = dataclasses.fields(value)
        return Built(type(value), {f.name: _with_nodes(getattr(value, f.name)) for f in fields_})
    if isinstance(value, (tuple, list)):
        return type(value)(_with_nodes(v) for v in value)
    if isinstance(value, dict):
        return {key: _with_nodes(v) for key, v in value.items()}
    return value


def all_paths(root: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Every path that leads to a submodule of ``root``, a shared module's second path too."""
    return root.named_modules(remove_duplicate=False)


def _concrete_by_name(
    parameters: list[inspect.Parameter],
    concrete_args: dict[str, Any] | tuple[Any, ...] | None,
) -> dict[str, Any]:
    names = [parameter.name for parameter in parameters]
    if isinstance(concrete_args, tuple):
        if len(concrete_args) != len(names):
            raise TraceError(
                f"concrete_args has {len(concrete_args)} values for the {len(names)} arguments "
                f"of forward: {', '.join(names)}"
            )
        concrete_args = dict(zip(names, concrete_args, strict=True))
    concrete = dict(concrete_args or {})
    for name, value in concrete.items():
        if name not in names:
            raise TraceError(
                f"concrete_args names '{name}', but the arguments of forward are: "
                f"{', '.join(names) or 'none'}"
            )
        placeholders: list[Any] = []
        fx.node.map_aggregate(value, lambda v, seen=placeholders: seen.append(v))
        if any(p is fx.PH for p in placeholders) and value is not fx.PH:
            raise TraceError(
                f"concrete_args['{name}'] nests torch.fx.PH inside a {type(value).__name__}; only "
                f"a whole argument can be an input"
            )
    return concrete


def _annotations(function: Callable[..., Any]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(inspect.unwrap(function))
    except (NameError, TypeError, AttributeError):
        # Annotations that only a type checker can resolve; torch.jit.script does without.
        return {}


def _autocast_state() -> tuple[bool, bool]:
    return torch.is_autocast_enabled("cuda"), torch.is_autocast_enabled("cpu")


def _model_frame() -> FrameType | None:
    """The innermost frame that is neither torch's nor ours: the model's own code."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith(_LIBRARY_FOLDERS):
        frame = frame.f_back
    return frame


def _source_line() -> tuple[str, int] | None:
    frame = _model_frame()
    return (frame.f_code.co_filename, frame.f_lineno) if frame else None


def _location() -> str:
    source = _source_line()
    return f"{os.path.basename(source[0])}:{source[1]}" if source else "forward"


def _checked(
    argument: str, entries: Iterable[Any], accepts: Callable[[Any], bool], wanted: str
) -> tuple[Any, ...]:
    """Take any iterable, drop repeats, and name an entry of the wrong kind."""
    if isinstance(entries, (str, bytes)) or not isinstance(entries, Iterable):
        raise TypeError(f"{argument} is {entries!r}; give an iterable of {wanted}")
    entries = tuple(dict.fromkeys(entries))
    for entry in entries:
        if not accepts(entry):
            raise TypeError(f"{argument} contains {entry!r}; its entries must be {wanted}")
    return entries
