"""What is known of torch's functions: their names in a trace, and what they write to."""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable, Mapping
from typing import Any

import torch

from .naming import operation_name
from .tensors import tensors_in

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


class FunctionFacts:
    """What is known of a function of torch before it is called.

    Attributes:
        base: the name that tracing gives its operation, before any suffix.
        op: the opcode that an ``fx.Node`` would have.
        target: the function, or the name of the method.
        operator: the same three where Python's operator calls it, as in ``a / b``.
        is_traced: whether tracing makes a node of it.
        may_write: whether a call may write into an argument.
    """

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
            # torch.nn.init hands its tensor on by keyword.
            return args[0] if args else kwargs.get("input", next(tensors_in(kwargs), None))
        return None


def _position_of_inplace(func: Callable[..., Any]) -> int | None:
    if not inspect.isfunction(func):
        return None
    names = func.__code__.co_varnames[: func.__code__.co_argcount]
    return names.index("inplace") if "inplace" in names else None
