"""What is known of torch's functions: their names in a trace, what they write, what they share.

The answers err on one side only: a value that might be overwritten counts as
overwritten. Operations of torch are looked up in their own schemas, where
``Tensor(a!)`` says written and ``Tensor(a)`` says shared.
"""

from __future__ import annotations

import functools
import inspect
import operator
from collections.abc import Callable, Mapping
from types import BuiltinFunctionType, MethodDescriptorType, WrapperDescriptorType
from typing import Any, NamedTuple

import torch
from torch import fx, nn
from torch.utils.checkpoint import CheckpointFunction

from .isolation import patch
from .naming import AUGMENTED_OPERATORS, operation_name

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

# Methods that return no tensor and that tracing never makes a node of.
_UNTRACED = {
    "__bool__", "__float__", "__int__", "__index__", "__len__", "__repr__", "__format__",
    "__contains__", "__hash__", "__complex__", "_set_grad_enabled", "__set__",
}  # fmt: skip


class FunctionFacts:
    """What is known of a function of torch before it is called.

    Attributes:
        base: the name that tracing gives its operation, before any suffix.
        op: the opcode that an ``fx.Node`` would have.
        target: the function, or the name of the method.
        operator: the same three where Python's operator calls it, as in ``a / b``.
        is_traced: whether tracing makes a node of it.
        may_write: whether a call may write into an argument.
        writes: which argument that is.
    """

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
        self.writes = writes_of(func)
        # `out=` is an argument that only a builtin takes.
        self.may_write = (
            self.writes.always or self.writes.inplace_at is not None or not inspect.isfunction(func)
        )


# Composite operations whose schema says nothing of it, but whose result may be (a view
# of) an argument.
_MAY_SHARE = {
    "alpha_dropout", "atleast_1d", "atleast_2d", "atleast_3d", "block_diag", "broadcast_tensors",
    "dropout", "dropout1d", "dropout2d", "dropout3d", "einsum", "feature_alpha_dropout",
    "feature_dropout", "meshgrid", "type_as",
}  # fmt: skip

# Functions of Python's operator module that compute a new value.
_FRESH_OPERATORS = {
    "abs", "add", "and_", "contains", "eq", "floordiv", "ge", "gt", "index", "inv", "invert",
    "is_", "is_not", "le", "lshift", "lt", "matmul", "mod", "mul", "ne", "neg", "not_", "or_",
    "pow", "rshift", "sub", "truediv", "truth", "xor",
}  # fmt: skip

_IN_PLACE_OPERATORS = {*AUGMENTED_OPERATORS, "iconcat", "set", "setitem"}

# Files of torch.nn.modules whose classes compute a new value, unless they are in-place.
_FRESH_MODULES = {
    f"torch.nn.modules.{name}"
    for name in (
        "activation", "batchnorm", "conv", "instancenorm", "linear", "loss", "normalization",
        "padding", "pooling", "rnn", "sparse", "upsampling",
    )
}  # fmt: skip


class Effects(NamedTuple):
    """What a node does to the memory of its arguments.

    Attributes:
        writes: nodes whose value may be overwritten.
        shares: nodes whose memory the result may share.
    """

    writes: tuple[fx.Node, ...] = ()
    shares: tuple[fx.Node, ...] = ()


def effects(node: fx.Node, modules: Mapping[str, nn.Module]) -> Effects:
    """Tell what ``node`` may write and share.

    Args:
        node: a node of a traced graph.
        modules: the modules that ``call_module`` nodes name, by path.
    """
    if node.op == "call_module":
        writes, shares = _module_effects(modules[str(node.target)])
        inputs = tuple(node.all_input_nodes)
        return Effects(inputs if writes else (), inputs if shares else ())
    if node.op in ("call_function", "call_method"):
        written = written_argument(node.target, node.args, node.kwargs)
        if written is _UNKNOWN:
            return Effects(tuple(node.all_input_nodes), tuple(node.all_input_nodes))
        shares = written is not None or _may_share(node.target)
        return Effects(_nodes(written), tuple(node.all_input_nodes) if shares else ())
    return Effects()


_UNKNOWN = object()


def written_argument(
    target: Callable[..., Any] | str, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> Any:
    """The argument that a call writes in place: ``None`` if none.

    Args:
        target: a function, or the name of a tensor method.
        args: positional arguments of the call, the tensor of a method first.
        kwargs: keyword arguments of the call.
    """
    if not isinstance(target, str) and not _is_known(target):
        return _UNKNOWN
    return writes_of(target).argument(args, kwargs)


class Writes(NamedTuple):
    """Which argument the calls of a function or method write in place.

    Attributes:
        always: whether every call writes, and not only one with ``inplace=True`` or ``out=``.
        position: where the argument is that is written.
        inplace_at: where the argument ``inplace`` is; None if there is none.
    """

    always: bool
    position: int
    inplace_at: int | None

    def argument(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """The argument that a call writes: ``None`` if none."""
        if kwargs and kwargs.get("out") is not None:
            return kwargs["out"]
        at = self.inplace_at
        if self.always or (
            at is not None and (kwargs.get("inplace") or (at < len(args) and args[at]))
        ):
            if self.position < len(args):
                return args[self.position]
            # torch.nn.init hands its tensor on by keyword.
            return kwargs.get("input", next(iter(kwargs.values()), None))
        return None


@functools.lru_cache(maxsize=4096)
def writes_of(target: Callable[..., Any] | str) -> Writes:
    """Tell which argument a function, or a tensor method by its name, writes."""
    if isinstance(target, torch._ops.OpOverload):
        infos = [argument.alias_info for argument in target._schema.arguments]
        written = [at for at, info in enumerate(infos) if info is not None and info.is_write]
        return Writes(bool(written), written[0] if written else 0, None)
    name = _name(target)
    in_place = name.endswith("_") and name not in _FRESH_OPERATORS
    try:
        names = [] if isinstance(target, str) else list(inspect.signature(target).parameters)
    except (TypeError, ValueError):  # functions written in C have no signature
        names = []
    inplace_at = names.index("inplace") if "inplace" in names else None
    return Writes(in_place or name in _IN_PLACE_OPERATORS, 0, inplace_at)


def _name(target: Callable[..., Any] | str) -> str:
    name = target if isinstance(target, str) else getattr(target, "__name__", "")
    return name[2:-2] if name.startswith("__") and name.endswith("__") else name


@functools.lru_cache(maxsize=4096)
def draws_random_numbers(function: Callable[..., Any]) -> bool:
    """Whether torch marks the operation as one that reads its random state.

    Args:
        function: a function of torch or a method of tensors.
    """
    return any(
        torch.Tag.nondeterministic_seeded in overload.tags
        for overload in _overloads(_name(function))
    )


def _overloads(name: str) -> list[Any]:
    """The overloads of torch's operation of that name; none if there is no such operation."""
    packet = getattr(torch.ops.aten, name, None) if name.isidentifier() else None
    return [] if packet is None else [getattr(packet, overload) for overload in packet.overloads()]


def _is_known(function: Callable[..., Any]) -> bool:
    """Whether a function is known to write no argument that its call does not say."""
    if isinstance(function, (torch._ops.OpOverload, torch._ops.OpOverloadPacket)):
        return False
    if isinstance(function, (BuiltinFunctionType, MethodDescriptorType, WrapperDescriptorType)):
        return True
    home = getattr(function, "__module__", None) or ""
    return home.split(".")[0] in ("torch", "_operator") or home.startswith("torchvision.ops")


@functools.lru_cache(maxsize=4096)
def _may_share(target: Callable[..., Any] | str) -> bool:
    """Whether a result may be memory of an argument though the call writes nothing."""
    name = _name(target)
    if getattr(target, "__module__", None) == "_operator":
        return name not in _FRESH_OPERATORS
    schemas = [overload._schema for overload in _overloads(name)]
    if name in _MAY_SHARE or not schemas:
        return True
    # Out variants share with `out`, which a call has to spell out.
    schemas = [s for s in schemas if not any(a.is_out for a in s.arguments)]
    return any(value.alias_info is not None for s in schemas for value in s.returns)


def _module_effects(module: nn.Module) -> tuple[bool, bool]:
    """Whether a leaf module may write its inputs, and may return their memory."""
    is_scripted = isinstance(module, torch.jit.ScriptModule)
    if module._forward_hooks or module._forward_pre_hooks or is_scripted:
        return True, True
    home = type(module).__module__
    if type(module).forward is nn.Sequential.forward:
        writes, shares = False, True
        for child in module.children():
            child_writes, child_shares = _module_effects(child)
            writes = writes or (shares and child_writes)
            shares = shares and child_shares
        return writes, shares
    if home.startswith("torch.nn.modules."):
        in_place = bool(getattr(module, "inplace", False))
        fresh = home in _FRESH_MODULES and not isinstance(module, nn.Identity)
        return in_place, in_place or not fresh
    if home.startswith("torchvision.ops"):
        in_place = bool(getattr(module, "inplace", False))  # DropBlock has it
        return in_place, True
    return True, True


def draws(node: fx.Node, modules: Mapping[str, nn.Module], training: bool | None) -> bool:
    """Whether what a node runs may draw random numbers.

    Args:
        node: a node of a traced graph.
        modules: the modules that ``call_module`` nodes name, by path.
        training: whether the modules run in train mode; None if as they are.
    """
    if node.op == "call_module":
        return any(
            _may_draw(module)
            for module in modules[str(node.target)].modules()
            if (module.training if training is None else training)
        )
    if node.op not in ("call_function", "call_method"):
        return False
    if not isinstance(node.target, str) and not _is_known(node.target):
        return True
    # Functions of libraries, such as stochastic_depth, are known by that argument.
    has_training = _argument(node, "training")
    return has_training is not False and (
        has_training is not None or draws_random_numbers(node.target)
    )


def _may_draw(module: nn.Module) -> bool:
    home = type(module).__module__
    if home.startswith("torch.nn.modules."):
        drops = isinstance(module, (nn.modules.dropout._DropoutNd, nn.RReLU))
        return drops or bool(getattr(module, "dropout", 0))  # attention, recurrent layers
    return not home.startswith("torchvision.ops") or hasattr(module, "p")


def _argument(node: fx.Node, name: str) -> Any:
    """An argument of a function by its name; None if it has none."""
    try:
        given = inspect.signature(node.target).bind(*node.args, **node.kwargs)  # type: ignore[arg-type]
    except (TypeError, ValueError):  # functions written in C have no signature
        return node.kwargs.get(name)
    given.apply_defaults()
    return given.arguments.get(name)


def _nodes(value: Any) -> tuple[fx.Node, ...]:
    found: list[fx.Node] = []
    fx.node.map_arg(value, found.append)
    return tuple(found)


def run_custom_functions_by(
    run: Callable[[Callable[..., Any], tuple[Any, ...], dict[str, Any]], Any],
) -> None:
    """Have ``run(apply, args, kwargs)`` called for every ``apply`` of an ``autograd.Function``.

    Until the innermost :func:`restores` ends.
    """
    own = torch.autograd.Function.__dict__["apply"]

    def handed_over(cls: type, *args: Any, **kwargs: Any) -> Any:
        if cls is CheckpointFunction:  # not an operation of its own, but one way of running others
            return args[0](*args[2:])
        return run(own.__get__(None, cls), args, kwargs)

    patch(torch.autograd.Function, "apply", classmethod(handed_over))
