"""One place that gives out unique qualified node names."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable
from typing import Any

# Python's augmented assignments by their names in the operator module, each with the name
# of the plain operator: += is an addition to whoever reads the code.
AUGMENTED_OPERATORS = {
    "iadd": "add", "iand": "and_", "ifloordiv": "floordiv", "ilshift": "lshift",
    "imatmul": "matmul", "imod": "mod", "imul": "mul", "ior": "or_", "ipow": "pow",
    "irshift": "rshift", "isub": "sub", "itruediv": "truediv", "ixor": "xor",
}  # fmt: skip

_CAMEL_HUMP = re.compile(r"(?<=[a-z])([A-Z])")
_NOT_IN_AN_IDENTIFIER = re.compile(r"\W")


class NodeNamer:
    """Gives every node of one trace its qualified name.

    A real module's path belongs to that module alone, so an operation that would
    be called the same gets a suffix instead. Repeats are counted per name, which
    makes a name cost O(1) however many came before it.

    Args:
        module_paths: the path of every submodule, as ``named_modules()`` gives it.

    Example:
        >>> namer = NodeNamer(["ln_1", "ln_2"])
        >>> namer.module_call("ln_1"), namer.operation("", "add"), namer.operation("", "add")
        ('ln_1', 'add', 'add_1')
        >>> namer.operation("", "ln"), namer.operation("", "ln")
        ('ln', 'ln_3')
    """

    def __init__(self, module_paths: Iterable[str]) -> None:
        self._module_paths = frozenset(module_paths)
        self._given: set[str] = set()
        self._next_suffix: dict[str, int] = {}

    def module_call(self, path: str) -> str:
        """Name the next call of the leaf module at ``path``."""
        return self._give(path, free=path not in self._given)

    def operation(self, module_path: str, operation: str) -> str:
        """Name the next ``operation`` run by the forward of the module at ``module_path``."""
        name = f"{module_path}.{operation}" if module_path else operation
        return self._give(name, free=self._is_free(name))

    def _is_free(self, name: str) -> bool:
        return name not in self._given and name not in self._module_paths

    def _give(self, name: str, free: bool) -> str:
        given = name
        while not free:
            suffix = self._next_suffix.get(name, 1)
            self._next_suffix[name] = suffix + 1
            given = f"{name}_{suffix}"
            free = self._is_free(given)
        self._given.add(given)
        return given


def operation_name(op: str, target: Callable[..., Any] | str) -> str:
    """The base name of what an ``fx.Node`` calls or reads.

    Args:
        op: the opcode of the node (``"call_function"``, ``"call_method"``, ...).
        target: the function, the method's name, or the dotted path of a parameter.

    Example:
        >>> import operator, torch
        >>> operation_name("call_function", torch.relu_), operation_name("call_method", "__add__")
        ('relu_', 'add')
        >>> operation_name("get_attr", "encoder.pos_embedding")
        'encoder_pos_embedding'
    """
    if isinstance(target, str):
        name = target
    else:
        # functools.partial objects and callable instances have no __name__.
        name = getattr(target, "__name__", None) or type(target).__name__
    if op == "placeholder":
        return name.lstrip("*")
    if name.startswith("__") and name.endswith("__") and len(name) > len("____"):
        name = name[2:-2]
    if getattr(target, "__module__", None) == "_operator" and name in AUGMENTED_OPERATORS:
        name = AUGMENTED_OPERATORS[name]
    if op == "get_attr":
        return _NOT_IN_AN_IDENTIFIER.sub("_", name)
    return _snake_case(name)


@functools.lru_cache(maxsize=4096)
def _snake_case(name: str) -> str:
    return _CAMEL_HUMP.sub(r"_\1", _NOT_IN_AN_IDENTIFIER.sub("_", name)).lower()
