"""Where in the model's own code something happens."""

from __future__ import annotations

import ast
import bisect
import contextlib
import dis
import functools
import inspect
import linecache
import os
import re
import sys
import textwrap
from collections.abc import Callable
from types import CodeType, FrameType
from typing import Any, TypeVar

import torch

Result = TypeVar("Result")

_LIBRARY_FOLDERS = tuple(
    os.path.dirname(os.path.abspath(file)) + os.sep
    for file in (torch.__file__, os.path.dirname(__file__))  # torch, feature_extraction
)


def place_in_model(error: Exception) -> tuple[str, int] | None:
    """The file and line in the model where an error was raised, if it was there."""
    traceback = error.__traceback__
    found = None
    while traceback is not None:
        code = traceback.tb_frame.f_code
        if not code.co_filename.startswith(_LIBRARY_FOLDERS):
            found = (code.co_filename, traceback.tb_lineno)
        traceback = traceback.tb_next
    return found


def line_in_model(error: Exception) -> str | None:
    """The same with the code that stands there, as text."""
    place = place_in_model(error)
    return None if place is None else line_in_words(place)


def line_in_words(place: tuple[str, int]) -> str:
    """The name of a file, the number of a line, and the code that stands there.

    Example:
        >>> line_in_words(("/home/me/net.py", 12))
        'net.py:12'
    """
    line = linecache.getline(*place).strip()
    return where(place) + (f" `{line}`" if line else "")


def where(place: tuple[str, int]) -> str:
    """The name of a file and the number of a line; for code of a notebook, its cell.

    Example:
        >>> where(("/home/me/net.py", 12))
        'net.py:12'
    """
    file, line = place
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    cell = None if shell is None else shell.compile.format_code_name(file)  # ("Cell", "In[3]")
    if cell is None:
        return f"{os.path.basename(file)}:{line}"
    return f"cell {cell[1].removeprefix('In')}, line {line}"


_IS_LIBRARY: dict[str, bool] = {
    contextlib.__file__: True,
    torch.nn.modules.transformer.__file__: False,  # these are opened as the model's own
}


def called_from_here(function: Callable[..., Result], *args: Any, **kwargs: Any) -> Result:
    """Call what runs a model: further out is no code of the model's."""
    return function(*args, **kwargs)


_OUTERMOST = called_from_here.__code__.co_filename


def model_frame(depth: int = 1) -> FrameType | None:
    """The innermost frame that is neither torch's nor ours: the model's own code."""
    frame: FrameType | None = sys._getframe(depth)
    while frame is not None:  # no generator: this runs for every operation
        file = frame.f_code.co_filename
        is_library = _IS_LIBRARY.get(file)
        if is_library is None:
            is_library = _IS_LIBRARY[file] = file.startswith(_LIBRARY_FOLDERS)
        if file is _OUTERMOST:
            return None
        if not is_library:
            return frame
        frame = frame.f_back
    return None


def source_line() -> tuple[str, int] | None:
    """The file and line of the model's own code that runs at the moment."""
    frame = model_frame(2)
    return (frame.f_code.co_filename, frame.f_lineno) if frame else None


def guarded_line(until: CodeType) -> tuple[str, int] | None:
    """The file and line of the model's own code that runs in a ``try`` with another way out.

    Args:
        until: the code that called what is looked at: as far out as a frame of it.
    """
    frame: FrameType | None = sys._getframe(3)
    ends = (until, called_from_here.__code__)
    while frame is not None and frame.f_code not in ends:
        if frame.f_lineno in _guarded_lines(frame.f_code):
            return frame.f_code.co_filename, frame.f_lineno
        frame = frame.f_back
    return None


@functools.lru_cache(maxsize=4096)
def _guarded_lines(code: CodeType) -> frozenset[int]:
    """The lines in a ``try`` of which an ``except`` goes on, and does not raise in the end."""
    catches = getattr(code, "co_exceptiontable", True)  # Python 3.10 has none
    is_library = _IS_LIBRARY.get(code.co_filename, code.co_filename.startswith(_LIBRARY_FOLDERS))
    if is_library or not catches:
        return frozenset()
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(code)))
    except (OSError, TypeError, SyntaxError, ValueError):  # no source
        return frozenset()
    first = code.co_firstlineno - 1
    return frozenset(
        first + line
        for block in ast.walk(tree)
        if isinstance(block, ast.Try) and not all(map(_raises, block.handlers))
        for line in range(block.body[0].lineno, (block.body[-1].end_lineno or 0) + 1)
    )


def _raises(handler: ast.ExceptHandler) -> bool:
    caught = "" if handler.type is None else ast.unparse(handler.type)
    # No operation raises these: they ask what there is.
    return isinstance(handler.body[-1], ast.Raise) or bool(re.fullmatch(_ASKS, caught))


_ASKS = r"\(?((Import|ModuleNotFound|Attribute|Name)Error(, )?)+\)?"

# Augmented assignments by their names in bytecode: instructions in Python 3.10, arguments of
# one instruction since.
_AUGMENTED = {
    "INPLACE_ADD": "iadd", "INPLACE_AND": "iand", "INPLACE_FLOOR_DIVIDE": "ifloordiv",
    "INPLACE_LSHIFT": "ilshift", "INPLACE_MATRIX_MULTIPLY": "imatmul", "INPLACE_MODULO": "imod",
    "INPLACE_MULTIPLY": "imul", "INPLACE_OR": "ior", "INPLACE_POWER": "ipow",
    "INPLACE_REMAINDER": "imod", "INPLACE_RSHIFT": "irshift", "INPLACE_SUBTRACT": "isub",
    "INPLACE_TRUE_DIVIDE": "itruediv", "INPLACE_XOR": "ixor",
}  # fmt: skip
_BINARY_OPERATORS: list[tuple[str, str]] = getattr(dis, "_nb_ops", [])


CONSTANTS = ("LOAD_CONST", "LOAD_SMALL_INT")


@functools.lru_cache(maxsize=2048)
def instructions_of(code: CodeType) -> tuple[list[int], list[dis.Instruction]]:
    """The offsets of the instructions of some code, and the instructions."""
    found = [i for i in dis.get_instructions(code) if i.opname not in ("EXTENDED_ARG", "CACHE")]
    return [i.offset for i in found], found


def is_item_of_a_name(frame: FrameType | None) -> bool:
    """Whether ``frame`` is at ``parts[0]``, rather than at ``f()[0]`` or ``a, b = f()``.

    Args:
        frame: a frame that waits for the item.
    """
    if frame is None:
        return False
    offsets, instructions = instructions_of(frame.f_code)
    at = bisect.bisect_right(offsets, frame.f_lasti) - 1
    if not (instructions[at].opname == "BINARY_SUBSCR" or instructions[at].argrepr == "[]"):
        return False
    while at > 0 and instructions[at - 1].opname in CONSTANTS:
        at -= 1
    return instructions[at - 1].opname.startswith(("LOAD_FAST", "LOAD_DEREF", "LOAD_ATTR"))


def augmented_assignment(frame: FrameType | None) -> str | None:
    """The operator, such as ``"iadd"``, if ``frame`` is at an augmented assignment.

    Real tensors run ``x += 1`` and ``x.add_(1)`` as the same method, so that only the
    code that calls it can tell them apart.

    Args:
        frame: a frame that waits for the operation to return.
    """
    if frame is None or frame.f_lasti < 0:
        return None
    code = frame.f_code.co_code
    name = dis.opname[code[frame.f_lasti]]
    if name == "BINARY_OP":
        name = _BINARY_OPERATORS[code[frame.f_lasti + 1]][0].removeprefix("NB_")
    return _AUGMENTED.get(name)
