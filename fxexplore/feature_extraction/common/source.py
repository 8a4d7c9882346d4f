"""Where in the model's own code something happens."""

from __future__ import annotations

import contextlib
import dis
import linecache
import os
import sys
from types import FrameType

import torch

_LIBRARY_FOLDERS = tuple(
    os.path.dirname(os.path.abspath(file)) + os.sep
    for file in (torch.__file__, os.path.dirname(__file__))  # torch, feature_extraction
)


def line_in_model(error: Exception) -> str | None:
    """The file, line and code in the model where an error was raised, if it was there."""
    traceback = error.__traceback__
    found = None
    while traceback is not None:
        code = traceback.tb_frame.f_code
        if not code.co_filename.startswith(_LIBRARY_FOLDERS):
            found = (code.co_filename, traceback.tb_lineno)
        traceback = traceback.tb_next
    if found is None:
        return None
    line = linecache.getline(*found).strip()
    return f"{os.path.basename(found[0])}:{found[1]}" + (f" `{line}`" if line else "")


_IS_LIBRARY: dict[str, bool] = {
    contextlib.__file__: True,
    torch.nn.modules.transformer.__file__: False,  # these are opened as the model's own
}


def model_frame() -> FrameType | None:
    """The innermost frame that is neither torch's nor ours: the model's own code."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:  # no generator: this runs for every operation
        file = frame.f_code.co_filename
        is_library = _IS_LIBRARY.get(file)
        if is_library is None:
            is_library = _IS_LIBRARY[file] = file.startswith(_LIBRARY_FOLDERS)
        if not is_library:
            return frame
        frame = frame.f_back
    return None


def source_line() -> tuple[str, int] | None:
    """The file and line of the model's own code that runs at the moment."""
    frame = model_frame()
    return (frame.f_code.co_filename, frame.f_lineno) if frame else None


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
