"""Follow one real run of a model, and name what it does as symbolic tracing would."""

from __future__ import annotations

import bisect
import contextlib
import dis
import functools
import inspect
import operator
import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import CodeType, FrameType
from typing import Any, NamedTuple, cast

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from .naming import NodeNamer, operation_name
from .tracers import LeafModuleAwareTracer, all_paths, one_trace_at_a_time

# What we look at ourselves is no operation of the model, nor of one around it.
_Unseen = torch._C.DisableTorchFunction

_APPLY = ("torch.autograd", "Function.apply")


class Anatomy(NamedTuple):
    """What following needs to know of a model, as plain data.

    Attributes:
        leaves: paths of the modules whose calls become one node each.
        wrapped: functions that become one node each: the Python modules whose global
            names refer to them, with these names.
    """

    leaves: frozenset[str]
    wrapped: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, model: nn.Module, tracer: LeafModuleAwareTracer) -> Anatomy:
        """Decide about the leaves and wrapped functions of ``model`` as ``tracer`` does."""
        leaves = frozenset(
            path
            for path, module in model.named_modules()
            if path
            and (isinstance(module, torch.jit.ScriptModule) or tracer.is_leaf_module(module, path))
        )
        return cls(leaves, (*_wrapped_functions(model, tracer), _APPLY))

    def narrowed(self, model: nn.Module, used: set[tuple[str, str]]) -> Anatomy:
        """Leave out functions that the model neither called nor sees in its classes' files."""
        homes = {cls.__module__ for module in model.modules() for cls in type(module).__mro__}
        homes.discard("builtins")
        kept = (entry for entry in self.wrapped if entry in used or entry[0] in homes)
        return Anatomy(self.leaves, tuple(kept))


def plain_module(model: nn.Module) -> nn.Module:
    """The model itself, out of the wrappers of ``torch.compile`` and ``DataParallel``."""
    while True:
        inner = dict(model.named_children()).get("_orig_mod")
        if isinstance(model, nn.DataParallel):
            inner = model.module
        if not isinstance(inner, nn.Module):
            return model
        model = inner


def uncompiled(model: nn.Module) -> contextlib.AbstractContextManager[Any]:
    """Run what ``torch.compile`` compiled inside ``model`` as the Python code it was."""
    if "torch._dynamo" in sys.modules and _holds_compiled(model):
        return cast(
            "contextlib.AbstractContextManager[Any]", torch.compiler.set_stance("force_eager")
        )
    return contextlib.nullcontext()


def _holds_compiled(model: nn.Module) -> bool:
    seen = {id(model)}
    to_see = [model]
    while to_see:  # flat, as this runs before each extraction
        attributes = vars(to_see.pop())
        children = attributes.get("_modules", {})
        if attributes.get("_compiled_call_impl") or "_orig_mod" in children:
            return True
        for child in children.values():
            if child is not None and id(child) not in seen:
                seen.add(id(child))
                to_see.append(child)
    return False


class Call(NamedTuple):
    """One operation, or one call of a leaf module, as the run just did it.

    Attributes:
        name: the qualified name.
        op: the opcode that an ``fx.Node`` would have.
        target: the path of the module or parameter, the function, or the method's name.
        module: path of the module whose forward ran it.
        nth: for a call of a module, how often it was called so far.
    """

    name: str
    op: str
    target: Any
    module: str
    nth: int = 0


class Follower(TorchFunctionMode):
    """Sees the operations and module calls of one run, in the thread that made it.

    Subclasses say what to do about them, in the methods at the end.

    Args:
        model: the model that is to be run.
        anatomy: its leaf modules and wrapped functions.
    """

    def __init__(self, model: nn.Module, anatomy: Anatomy) -> None:
        super().__init__()
        self.model = model
        self._wrapped = anatomy.wrapped
        self.used: set[tuple[str, str]] = set()
        self._paths = {module: path for path, module in model.named_modules() if path}
        self._leaves = {m for m, path in self._paths.items() if path in anatomy.leaves}
        self._namer = NodeNamer(path for path, _ in all_paths(model))
        self._state = {id(tensor): path for path, tensor, _ in state_tensors(model)}
        self._read_once: dict[str, str] = {}
        self._counts: dict[str, int] = {}
        self._stack: list[tuple[nn.Module | None, str, Any]] = [(None, "", None)]
        self._path = ""
        # What runs now is a leaf module or a wrapped function, whose inside is not seen.
        self._inside: Any = None
        self._error_before: BaseException | None = None
        self._thread = threading.get_ident()

    def run(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """Run the model under observation and return what it returns."""
        with contextlib.ExitStack() as stack:
            stack.enter_context(uncompiled(self.model))
            if self._wrapped:
                stack.enter_context(one_trace_at_a_time)
                stack.enter_context(self._functions_wrapped())
            stack.enter_context(self._hooked())
            _followers().append(self)
            stack.callback(_followers().remove, self)
            stack.enter_context(self)
            return self.model(*args, **kwargs)

    # --- functions ---------------------------------------------------------------

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Run one operation of torch."""
        kwargs = kwargs or {}
        try:
            facts = _FACTS[func]
        except KeyError:
            facts = _FACTS[func] = FunctionFacts(func)
        written = facts.written(args, kwargs) if facts.may_write else None
        if written is not None:
            with _Unseen():
                self.before_write(written)
        if self._inside is not None:
            return func(*args, **kwargs)
        with _Unseen():
            inputs = self.read(args, kwargs)
        self.starts()
        result = func(*args, **kwargs)
        if type(result) in _NO_TENSORS and written is None and not facts.is_traced:
            return result
        frame = model_frame()
        base, op, target = facts.base, facts.op, facts.target
        if facts.operator is not None and frame is not None and _is_operator(frame):
            base, op, target = facts.operator
        call = Call(self._namer.operation(self._path, base), op, target, self._path)
        with _Unseen():
            return self._finish(call, inputs, result, written, frame)

    def _finish(
        self, call: Call, inputs: Any, result: Any, written: Any, frame: FrameType | None
    ) -> Any:
        kind = type(result)
        if kind is not torch.Size and (kind not in _NO_TENSORS or written is not None):
            result = self.called(call, inputs, result, written, frame)
        if frame is not None and isinstance(result, (tuple, list)):
            self._name_items(call, result, frame)
        return result

    def _name_items(self, call: Call, result: Any, frame: FrameType) -> None:
        """Unpacking a result, or indexing it, is an operation too where tracing sees it."""
        for items in _items_taken(frame):
            if len(items) > 1 and len(items) != len(result):
                return
            values = []
            for index in items:
                name = self._namer.operation(self._path, "getitem")
                try:
                    value = result[index]
                except (IndexError, TypeError):
                    return  # the model's own code is about to raise it
                item = Call(name, "call_function", operator.getitem, self._path)
                if type(value) not in _SCALARS:
                    self.called(item, [call.name], value, None, frame)
                values.append(value)
            result = values[0]
            if not isinstance(result, (tuple, list)):
                return

    @contextlib.contextmanager
    def _functions_wrapped(self) -> Iterator[None]:
        """Have functions that tracing keeps whole announce their calls."""
        patches: list[tuple[dict[str, Any], str, Any]] = []
        apply = inspect.getattr_static(torch.autograd.Function, "apply")
        own_apply = torch.autograd.Function.__dict__.get("apply")

        def announced(cls: type, *args: Any, **kwargs: Any) -> Any:
            return self._whole(apply.__get__(None, cls), args, kwargs, _APPLY)

        try:
            for module, name in self._wrapped:
                namespace = vars(sys.modules[module]) if module in sys.modules else {}
                function = namespace.get(name)
                if function is not None:
                    patches.append((namespace, name, function))
                    namespace[name] = _announcing(self, function, (module, name))
            if _APPLY in self._wrapped:
                torch.autograd.Function.apply = classmethod(announced)
            yield
        finally:
            for namespace, name, function in reversed(patches):
                namespace[name] = function
            if _APPLY in self._wrapped:
                if own_apply is None:
                    del torch.autograd.Function.apply
                else:
                    torch.autograd.Function.apply = own_apply

    def _whole(
        self,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        entry: tuple[str, str],
    ) -> Any:
        """Run a function as one node."""
        elsewhere = threading.get_ident() != self._thread or self._inside is not None
        if elsewhere or not any(True for _ in tensors_in((args, kwargs))):
            return function(*args, **kwargs)
        self.used.add(entry)
        with _Unseen():
            inputs = self.read(args, kwargs)
            versions = self.versions((args, kwargs))
        self.starts()
        self._inside = function
        try:
            result = function(*args, **kwargs)
        finally:
            self._inside = None
        with _Unseen():
            base = operation_name("call_function", function)
            name = self._namer.operation(self._path, base)
            call = Call(name, "call_function", function, self._path)
            return self._finish(call, inputs, result, changed(versions), model_frame())

    # --- modules -----------------------------------------------------------------

    @contextlib.contextmanager
    def _hooked(self) -> Iterator[None]:
        handles = []
        try:
            for module in self._paths:
                # Through nn.Module, as scripted modules refuse hooks of their own.
                handles.append(
                    nn.Module.register_forward_pre_hook(
                        module, self._before_module, prepend=True, with_kwargs=True
                    )
                )
                handles.append(
                    nn.Module.register_forward_hook(
                        module, self._after_module, with_kwargs=True, always_call=True
                    )
                )
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _before_module(self, module: nn.Module, args: Any, kwargs: Any) -> None:
        if self._inside is not None or threading.get_ident() != self._thread:
            return
        error = sys.exc_info()[1]
        with _Unseen():
            if module in self._leaves:
                self._inside = module
                self._error_before = error
                self._leaf_versions = self.versions((args, kwargs))
                self.starts()
                return
            path = self._paths[module]
            self._stack.append((module, path, error))
            self._path = path
            self.entered(path, args, kwargs)

    def _after_module(self, module: nn.Module, args: Any, kwargs: Any, result: Any) -> Any:
        if threading.get_ident() != self._thread or self._inside not in (None, module):
            return None
        with _Unseen():
            return self._after_own_module(module, args, kwargs, result)

    def _after_own_module(self, module: nn.Module, args: Any, kwargs: Any, result: Any) -> Any:
        if self._inside is not None:
            self._inside = None
            if sys.exc_info()[1] is not self._error_before:
                return None  # forward raised; the model may catch it
            return self._after_leaf(module, args, kwargs, result)
        while len(self._stack) > 1:
            entered, path, error = self._stack.pop()
            self._path = self._stack[-1][1]
            if entered is module:
                count = self._counts[path] = self._counts.get(path, 0) + 1
                failed = sys.exc_info()[1] is not error
                self.left(path, count, result, failed)
                break
        return None

    def _after_leaf(self, module: nn.Module, args: Any, kwargs: Any, result: Any) -> Any:
        path = self._paths[module]
        count = self._counts[path] = self._counts.get(path, 0) + 1
        inputs = self.read(args, kwargs)
        call = Call(self._namer.module_call(path), "call_module", path, self._path, count)
        frame = model_frame()
        seen = self.called(call, inputs, result, changed(self._leaf_versions), frame)
        if frame is not None and isinstance(seen, (tuple, list)) and _is_called_from(frame):
            self._name_items(call, seen, frame)
        return None if seen is result else seen

    def _state_read(self, tensor: torch.Tensor) -> str:
        """Name the first reading of a parameter, of a buffer or of a tensor attribute."""
        path = self._state[id(tensor)]
        name = self._read_once.get(path)
        if name is None:
            base = operation_name("get_attr", path)
            name = self._read_once[path] = self._namer.operation(self._path, base)
            self.called(Call(name, "get_attr", path, self._path), [], tensor, None, None)
        return name

    def position(self) -> tuple[int, Any]:
        """Where the run is: how deep in modules, and inside of which leaf."""
        return len(self._stack), self._inside

    def back_to(self, position: tuple[int, Any]) -> None:
        """Leave the modules that a run within this run was stopped in."""
        depth, self._inside = position
        while len(self._stack) > depth:
            _, path, _ = self._stack.pop()
            self._path = self._stack[-1][1]
            self.left(path, 0, None, failed=True)

    # --- for subclasses ----------------------------------------------------------

    def before_write(self, written: Any) -> None:
        """Operation is about to overwrite tensors; called inside leaf modules as well."""

    def starts(self) -> None:
        """An operation or a leaf module is about to run."""

    def versions(self, value: Any) -> list[tuple[torch.Tensor, int]]:  # noqa: ARG002 - a default
        """Note the versions of the tensors in a value, to find out who writes them."""
        return []

    def read(self, args: Any, kwargs: Mapping[str, Any]) -> Any:
        """Take note of the arguments of an operation, and return what stands for them."""
        state = self._state
        for tensor in tensors_in((args, kwargs)):
            if id(tensor) in state:
                self._state_read(tensor)

    def called(
        self, call: Call, inputs: Any, result: Any, written: Any, frame: FrameType | None
    ) -> Any:
        """Take note of the result of an operation or a leaf module; return it."""
        raise NotImplementedError

    def entered(self, path: str, args: Any, kwargs: Any) -> None:
        """The forward of a module that is no leaf begins."""

    def left(self, path: str, count: int, result: Any, failed: bool) -> None:
        """The forward of a module that is no leaf returned, or raised."""


class _Gate:
    """Lets recordings run alone, and extractors beside one another.

    A recording puts hooks back as they were, those of an extractor in another thread too.
    Nobody waits for ever: a model may itself wait for other threads.
    """

    _PATIENCE = 60.0

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._running: dict[int, int] = {}
        self._alone: int | None = None

    @contextlib.contextmanager
    def beside_others(self) -> Iterator[None]:
        """Enter as one of many."""
        me = threading.get_ident()
        with self._changed:
            if me not in self._running:
                self._changed.wait_for(lambda: self._alone in (None, me), self._PATIENCE)
            self._running[me] = self._running.get(me, 0) + 1
        try:
            yield
        finally:
            with self._changed:
                self._running[me] -= 1
                if not self._running[me]:
                    del self._running[me]
                    self._changed.notify_all()

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Enter when everybody else is out; a run within a run does not wait."""
        me = threading.get_ident()
        with self._changed:
            is_within = me in self._running or self._alone == me
            if not is_within:
                self._changed.wait_for(
                    lambda: self._alone is None and not self._running, self._PATIENCE
                )
                self._alone = me
        try:
            yield
        finally:
            if not is_within:
                with self._changed:
                    self._alone = None
                    self._changed.notify_all()


gate = _Gate()


class _Active(threading.local):
    """The followers of the runs that are going on in a thread, the outermost first."""

    def __init__(self) -> None:
        self.followers: list[Follower] = []


_active = _Active()


def _followers() -> list[Follower]:
    return _active.followers


@contextlib.contextmanager
def stopping_allowed() -> Iterator[None]:
    """Let a run be stopped in the middle, also while another one follows it."""
    positions = [(follower, follower.position()) for follower in _followers()]
    try:
        with gate.beside_others():
            yield
    finally:
        for follower, position in positions:
            follower.back_to(position)


def _announcing(
    follower: Follower, function: Callable[..., Any], entry: tuple[str, str]
) -> Callable[..., Any]:
    @functools.wraps(function)
    def announcing(*args: Any, **kwargs: Any) -> Any:
        return follower._whole(function, args, kwargs, entry)

    return announcing


# --- what functions do ---------------------------------------------------------------

_OPERATORS: dict[str, Callable[..., Any]] = {
    "add_": operator.add, "sub_": operator.sub, "mul_": operator.mul, "div": operator.truediv,
    "div_": operator.truediv, "remainder": operator.mod, "remainder_": operator.mod,
    "floor_divide_": operator.floordiv, "pow_": operator.pow,
}  # fmt: skip

# Methods that Python's operators call, under the name that tracing gives the operator.
_DUNDERS = {
    "__rsub__": "sub", "__radd__": "add", "__rmul__": "mul", "__rdiv__": "truediv",
    "__rtruediv__": "truediv", "__rpow__": "pow", "__rfloordiv__": "floordiv", "__rmod__": "mod",
    "__rmatmul__": "matmul", "__and__": "and_", "__or__": "or_", "__iand__": "and_",
    "__ior__": "or_", "__ixor__": "xor", "__ilshift__": "lshift", "__irshift__": "rshift",
    "__rand__": "and_", "__ror__": "or_", "__rxor__": "xor", "__rlshift__": "lshift",
    "__rrshift__": "rshift", "__get__": "getattr",
}  # fmt: skip

_ATTRIBUTE_OPERATORS = {"__get__": getattr, "__set__": setattr}

_WRITING_DUNDERS = {
    "__setitem__", "__iand__", "__ior__", "__ixor__", "__ilshift__", "__irshift__", "__set__",
}  # fmt: skip

# Methods that return no tensor and that tracing never makes a node of.
_UNTRACED = {
    "__bool__", "__float__", "__int__", "__index__", "__len__", "__repr__", "__format__",
    "__contains__", "__hash__", "__complex__", "_set_grad_enabled", "__set__",
}  # fmt: skip

_NO_TENSORS = frozenset({type(None), bool, int, float, str, torch.dtype, torch.device})


class FunctionFacts:
    """What is known of a function of torch before it is called."""

    __slots__ = (
        "_inplace_at",
        "_is_overload",
        "_writes",
        "base",
        "is_traced",
        "may_write",
        "op",
        "operator",
        "target",
    )

    def __init__(self, func: Callable[..., Any]) -> None:
        name = getattr(func, "__name__", None) or type(func).__name__
        is_method = torch.overrides.is_tensor_method_or_property(func)
        self.base = _DUNDERS.get(name) or operation_name("call_function", func)
        self.op = "call_method" if is_method and not name.startswith("__") else "call_function"
        self.target: Any = name if self.op == "call_method" else func
        if is_method and self.op == "call_function":
            self.target = _ATTRIBUTE_OPERATORS.get(name) or getattr(operator, self.base, func)
        self.operator: tuple[str, str, Any] | None = None
        if name in _OPERATORS and is_method:
            target = _OPERATORS[name]
            self.operator = (operation_name("call_function", target), "call_function", target)
        self.is_traced = name not in _UNTRACED
        self._is_overload = isinstance(func, torch._ops.OpOverload) and func._schema.is_mutable
        self._writes = name in _WRITING_DUNDERS or (
            name.endswith("_") and not name.endswith("__") and not self._is_overload
        )
        self._inplace_at = _position_of_inplace(func)
        # `out=` is an argument that only a builtin takes.
        self.may_write = (
            self._writes
            or self._is_overload
            or self._inplace_at is not None
            or not inspect.isfunction(func)
        )

    def written(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """The argument that a call writes in place: ``None`` if none."""
        if kwargs and kwargs.get("out") is not None:
            return kwargs["out"]
        if self._is_overload:
            return next(tensors_in((args, kwargs)), None)
        at = self._inplace_at
        if self._writes or (
            at is not None and (kwargs.get("inplace") or (at < len(args) and args[at]))
        ):
            return args[0] if args else kwargs.get("input")
        return None


_FACTS: dict[Any, FunctionFacts] = {}


def _position_of_inplace(func: Callable[..., Any]) -> int | None:
    if not inspect.isfunction(func):
        return None
    names = func.__code__.co_varnames[: func.__code__.co_argcount]
    return names.index("inplace") if "inplace" in names else None


def _wrapped_functions(
    model: nn.Module, tracer: LeafModuleAwareTracer
) -> Iterator[tuple[str, str]]:
    """Names of the functions that fx would not trace into, where the model may find them."""
    from torch.fx import _symbolic_trace as fx_internals

    seen: set[tuple[str, str]] = set()
    for (_, name), namespace in getattr(fx_internals, "_wrapped_fns_to_patch", {}).items():
        module = namespace.get("__name__")
        if isinstance(module, str) and inspect.isfunction(namespace.get(name)):
            seen.add((module, name))
    modules = [module.__name__ for module in getattr(tracer, "_autowrap_search", ())]
    modules += [type(module).__module__ for module in model.modules()]
    functions: set[int] = getattr(tracer, "_autowrap_function_ids", set())
    for home in dict.fromkeys(modules):
        if home == "math" or home not in sys.modules:
            continue
        for name, value in vars(sys.modules[home]).items():
            is_wrapped = id(value) in functions and not name.startswith("_")
            is_of_tensors = inspect.isroutine(value) and value.__module__ != "math"
            if is_wrapped and is_of_tensors:
                seen.add((home, name))
    return iter(sorted(seen))


# --- values --------------------------------------------------------------------------

_SCALARS = _NO_TENSORS | {torch.Size, complex, bytes, torch.layout, type(Ellipsis)}


def tensors_in(value: Any, depth: int = 12) -> Iterator[torch.Tensor]:
    """Every tensor in a nesting of containers, dataclasses and other plain objects."""
    if isinstance(value, torch.Tensor):
        yield value
    elif depth > 0 and type(value) not in _SCALARS:  # deeper, a container holds itself
        items, cost = _items(value)
        for item in items:
            if type(item) not in _NO_TENSORS:
                yield from tensors_in(item, depth - cost)


def _items(value: Any) -> tuple[Iterable[Any], int]:
    """What a value holds, and how fast to tire of looking into it."""
    if isinstance(value, (tuple, list, set, frozenset)):
        return value, 1
    if isinstance(value, Mapping):
        return list(value.values()), 1
    if isinstance(value, slice):
        return (value.start, value.stop, value.step), 1
    if isinstance(value, (nn.Module, type)) or callable(value):
        return (), 1
    # Dataclasses, torchvision's ImageList, transformers' caches.
    return list(getattr(value, "__dict__", {}).values()), 4


def state_tensors(model: nn.Module) -> Iterator[tuple[str, torch.Tensor, bool]]:
    """Parameters, buffers and tensor attributes: path, tensor, whether it is a parameter."""
    for path, module in model.named_modules():
        prefix = f"{path}." if path else ""
        for is_parameter, found in ((True, module._parameters), (False, module._buffers)):
            for name, tensor in found.items():
                if tensor is not None:
                    yield prefix + name, tensor, is_parameter
        for name, tensor in vars(module).items():
            if isinstance(tensor, torch.Tensor):
                yield prefix + name, tensor, False


def version(tensor: torch.Tensor) -> int:
    """How often a tensor was written in place; inference tensors do not count."""
    return -1 if tensor.is_inference() else tensor._version


def changed(versions: list[tuple[torch.Tensor, int]]) -> list[torch.Tensor] | None:
    """The tensors that were written in place since their versions were noted."""
    return [tensor for tensor, before in versions if version(tensor) != before] or None


# --- frames --------------------------------------------------------------------------

_LIBRARY_FOLDERS = tuple(
    os.path.dirname(os.path.abspath(file)) + os.sep for file in (torch.__file__, __file__)
)
_IS_LIBRARY: dict[str, bool] = {contextlib.__file__: True}


def model_frame() -> FrameType | None:
    """The innermost frame that is neither torch's nor ours: the model's own code."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        file = frame.f_code.co_filename
        is_library = _IS_LIBRARY.get(file)
        if is_library is None:
            is_library = _IS_LIBRARY[file] = file.startswith(_LIBRARY_FOLDERS)
        if not is_library:
            return frame
        frame = frame.f_back
    return None


@functools.lru_cache(maxsize=2048)
def _instructions(code: CodeType) -> tuple[list[int], list[dis.Instruction]]:
    found = [i for i in dis.get_instructions(code) if i.opname not in ("EXTENDED_ARG", "CACHE")]
    return [i.offset for i in found], found


def _is_operator(frame: FrameType) -> bool:
    """Whether the model's code wrote ``a / b`` rather than ``a.div(b)``."""
    offsets, instructions = _instructions(frame.f_code)
    name = instructions[bisect.bisect_right(offsets, frame.f_lasti) - 1].opname
    return name.startswith(("BINARY_", "INPLACE_"))


def _is_called_from(frame: FrameType) -> bool:
    """Whether ``frame`` made the module call whose hook asks, with no module between."""
    inner: FrameType | None = sys._getframe(2)
    while inner is not None and inner is not frame:
        if inner.f_code.co_name == "forward":
            return False
        inner = inner.f_back
    return True


def _items_taken(frame: FrameType) -> Iterator[list[Any]]:
    """The indices that the model's code takes out of the result of the present call.

    ``a, b = f()`` takes 0 and 1; ``f()[2]`` takes 2; ``a, b = f()[-2:]`` takes the slice,
    then 0 and 1 out of it.
    """
    offsets, instructions = _instructions(frame.f_code)
    at = bisect.bisect_right(offsets, frame.f_lasti)
    while at < len(instructions):
        name = instructions[at].opname
        if name == "UNPACK_SEQUENCE":
            yield list(range(instructions[at].argval))
            return
        constants = []
        while at < len(instructions) and instructions[at].opname in _CONSTANTS:
            constants.append(instructions[at].argval)
            at += 1
        if not constants or at >= len(instructions):
            return
        last = instructions[at]
        if last.opname == "BUILD_SLICE":
            constants = [slice(*constants[-last.argval :])]
            at += 1
        elif last.opname == "BINARY_SLICE":
            constants = [slice(*constants)]
        if at >= len(instructions) or len(constants) != 1:
            return
        last = instructions[at]
        if last.opname not in ("BINARY_SUBSCR", "BINARY_SLICE") and last.argrepr != "[]":
            return
        yield constants
        at += 1


_CONSTANTS = ("LOAD_CONST", "LOAD_SMALL_INT")
