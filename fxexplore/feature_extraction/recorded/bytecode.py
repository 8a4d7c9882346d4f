"""What the model's own code does with the call that runs at the moment."""

from __future__ import annotations

import bisect
import dis
import functools
import sys
from collections.abc import Iterator
from types import CodeType, FrameType
from typing import Any

from fxexplore.feature_extraction.common.source import CONSTANTS, instructions_of


def is_operator(frame: FrameType) -> bool:
    """Whether the model's code wrote ``a / b`` rather than ``a.div(b)``."""
    offsets, instructions = instructions_of(frame.f_code)
    name = instructions[bisect.bisect_right(offsets, frame.f_lasti) - 1].opname
    return name.startswith(("BINARY_", "INPLACE_"))


def is_called_from(frame: FrameType) -> bool:
    """Whether ``frame`` made the module call whose hook asks, with no module between."""
    inner: FrameType | None = sys._getframe(2)
    while inner is not None and inner is not frame:
        if inner.f_code.co_name == "forward":
            return False
        inner = inner.f_back
    return True


Place = tuple[int, ...]


def items_taken(frame: FrameType) -> Iterator[tuple[Place, list[Any]]]:
    """The indices that the model's code takes out of the result of the present call.

    ``a, b = f()`` takes 0 and 1; ``f()[2]`` takes 2; ``a, b = f()[-2:]`` takes the slice,
    then 0 and 1 out of it; ``a, (b, c) = f()`` takes 0 and 1, then 0 and 1 out of the second.

    Returns:
        What they are taken out of, ``()`` for the result, and the indices. The first item taken
        out of ``place`` is ``(*place, 0)``.
    """
    place: Place = ()
    offsets, instructions = instructions_of(frame.f_code)
    at = bisect.bisect_right(offsets, frame.f_lasti)
    while at < len(instructions):
        name = instructions[at].opname
        if name == "UNPACK_SEQUENCE":
            yield from _unpacked(instructions[at:], place)
            return
        constants = []
        while at < len(instructions) and instructions[at].opname in CONSTANTS:
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
        yield place, constants
        place = (*place, 0)
        at += 1


def _unpacked(
    instructions: list[dis.Instruction], place: Place
) -> Iterator[tuple[Place, list[int]]]:
    """What is unpacked of the value at ``place``, and of its items, until they have names."""
    to_name = [place]  # as they are on the stack: the next one last
    for instruction in instructions:
        name = instruction.opname
        if name == "UNPACK_SEQUENCE":
            inner, count = to_name.pop(), instruction.argval
            yield inner, list(range(count))
            to_name += [(*inner, at) for at in reversed(range(count))]
        elif name in _STORES:
            del to_name[-_STORES[name] :]
        else:
            return
        if not to_name:
            return


def operands_of(frame: FrameType) -> tuple[list[Any], list[str]] | None:
    """What the expression that the model's code evaluates is made of.

    Returns:
        The values of its local variables, and those of its attributes' names that the same
        code sets somewhere; None if a jump is in it.
    """
    read = _read_in_expression(frame.f_code, frame.f_lasti)
    if read is None:
        return None
    names, attributes = read
    values = frame.f_locals if names else {}
    return [values.get(name) for name in names], attributes


@functools.lru_cache(maxsize=2048)
def _read_in_expression(code: CodeType, last: int) -> tuple[list[str], list[str]] | None:
    offsets, instructions = instructions_of(code)
    names: list[str] = []
    attributes: list[str] = []
    depth = 0
    for at in range(bisect.bisect_right(offsets, last) - 1, -1, -1):
        instruction = instructions[at]
        value = instruction.argval
        if instruction.opcode in _JUMPS:
            return None
        if instruction.opname.startswith(("LOAD_FAST", "LOAD_DEREF", "LOAD_NAME")):
            names += value if isinstance(value, tuple) else [value]
        elif instruction.opname.startswith("LOAD_ATTR") and value in _set_in(code):
            attributes.append(value)
        # Downwards from one value on the stack to none: there the expression begins.
        depth -= dis.stack_effect(instruction.opcode, instruction.arg, jump=False)
        if depth < 0:
            return names, attributes
    return None


@functools.lru_cache(maxsize=2048)
def _set_in(code: CodeType) -> frozenset[Any]:
    return frozenset(i.argval for i in instructions_of(code)[1] if i.opname == "STORE_ATTR")


_JUMPS = frozenset((*dis.hasjrel, *dis.hasjabs))
_STORES = {
    "STORE_FAST": 1, "STORE_NAME": 1, "STORE_DEREF": 1, "STORE_GLOBAL": 1, "POP_TOP": 1,
    "STORE_FAST_STORE_FAST": 2,
}  # fmt: skip
