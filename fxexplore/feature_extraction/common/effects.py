"""What an operation does to memory: what it writes in place, what its result may share.

The answers err on one side only: a value that might be overwritten counts as
overwritten. Operations of torch are looked up in their own schemas, where
``Tensor(a!)`` says written and ``Tensor(a)`` says shared.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from types import BuiltinFunctionType, MethodDescriptorType, WrapperDescriptorType
from typing import Any, NamedTuple

import torch
from torch import fx, nn

from fxexplore.feature_extraction.symbolic.runtime import AppliedFunction

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

# What x += y and its like call.
AUGMENTED_OPERATORS = {
    "iadd", "iand", "ifloordiv", "ilshift", "imatmul", "imod", "imul", "ior", "ipow", "irshift",
    "isub", "itruediv", "ixor",
}  # fmt: skip

_IN_PLACE_OPERATORS = AUGMENTED_OPERATORS | {"iconcat", "setitem"}

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
        return Effects(_nodes(written), tuple(node.all_input_nodes) if _shares(node) else ())
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
    if kwargs.get("out") is not None:
        return kwargs["out"]
    if _is_in_place(_name(target)) or _asks_for_in_place(target, args, kwargs):
        return args[0] if args else kwargs.get("input", next(iter(kwargs.values()), None))
    return None


def _name(target: Callable[..., Any] | str) -> str:
    name = target if isinstance(target, str) else getattr(target, "__name__", "")
    return name[2:-2] if name.startswith("__") and name.endswith("__") else name


def _is_in_place(name: str) -> bool:
    return name in _IN_PLACE_OPERATORS or (name.endswith("_") and name not in _FRESH_OPERATORS)


def _asks_for_in_place(
    target: Callable[..., Any] | str, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> bool:
    position = None if isinstance(target, str) else _position_of_inplace(target)
    if position is None:
        return False
    return bool(kwargs.get("inplace", args[position] if position < len(args) else False))


@functools.lru_cache(maxsize=4096)
def _position_of_inplace(function: Callable[..., Any]) -> int | None:
    try:
        names = list(inspect.signature(function).parameters)
    except (TypeError, ValueError):  # functions written in C have no signature
        return None
    return names.index("inplace") if "inplace" in names else None


@functools.lru_cache(maxsize=4096)
def draws_random_numbers(function: Callable[..., Any]) -> bool:
    """Whether torch marks the operation as one that reads its random state.

    Args:
        function: a function of torch or a method of tensors.
    """
    name = _name(function)
    packet = getattr(torch.ops.aten, name, None) if name.isidentifier() else None
    if packet is None:
        return False
    return any(
        torch.Tag.nondeterministic_seeded in getattr(packet, overload).tags
        for overload in packet.overloads()
    )


def _is_known(function: Callable[..., Any]) -> bool:
    """Whether a function is known to write no argument that its call does not say."""
    if isinstance(function, (torch._ops.OpOverload, torch._ops.OpOverloadPacket)):
        return False
    if isinstance(function, AppliedFunction):
        return False
    if isinstance(function, (BuiltinFunctionType, MethodDescriptorType, WrapperDescriptorType)):
        return True
    home = getattr(function, "__module__", None) or ""
    return home.split(".")[0] in ("torch", "_operator") or home.startswith("torchvision.ops")


def _shares(node: fx.Node) -> bool:
    target = node.target
    name = _name(target)
    if getattr(target, "__module__", None) == "_operator":
        return name not in _FRESH_OPERATORS
    if name in _MAY_SHARE or _is_in_place(name):
        return True
    if _asks_for_in_place(target, node.args, node.kwargs) or node.kwargs.get("out") is not None:
        return True
    return _schema_shares(name) is not False


@functools.lru_cache(maxsize=4096)
def _schema_shares(name: str) -> bool | None:
    """Whether any overload of the aten operation returns memory of an argument."""
    packet = getattr(torch.ops.aten, name, None) if name.isidentifier() else None
    if packet is None:
        return None
    overloads = (getattr(packet, overload)._schema for overload in packet.overloads())
    # Out variants share with `out`, which a call has to spell out.
    schemas = [s for s in overloads if not any(a.is_out for a in s.arguments)]
    return any(value.alias_info is not None for s in schemas for value in s.returns)


def _module_effects(module: nn.Module) -> tuple[bool, bool]:
    """Whether a leaf module may write its inputs, and may return their memory."""
    if module._forward_hooks or module._forward_pre_hooks:
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


def _nodes(value: Any) -> tuple[fx.Node, ...]:
    found: list[fx.Node] = []
    fx.node.map_arg(value, found.append)
    return tuple(found)
