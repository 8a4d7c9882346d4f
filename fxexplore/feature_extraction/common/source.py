"""Where in the model's own code something happens, and in words what went wrong there."""

from __future__ import annotations

import contextlib
import linecache
import os
import sys
from collections.abc import Iterable, Iterator
from types import FrameType
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.fx.proxy import TraceError

if TYPE_CHECKING:
    from fxexplore.feature_extraction.symbolic.tracer import LeafModuleAwareTracer

_LIBRARY_FOLDERS = tuple(
    os.path.dirname(os.path.abspath(file)) + os.sep
    for file in (torch.__file__, os.path.dirname(__file__))
)


@contextlib.contextmanager
def errors_in_words(tracer: LeafModuleAwareTracer, root: nn.Module) -> Iterator[None]:
    """Say where in the model it was that a proxy could not stand in for a value."""
    try:
        yield
    except Exception as error:
        words = ("Proxy", "not a member of this module")
        if not isinstance(error, TraceError) and not any(word in str(error) for word in words):
            fixed = getattr(tracer, "fixed_arguments", None)
            if fixed and not any(node.name not in fixed for node in tracer.graph.nodes):
                raise only_defaults(root, fixed, f"{type(error).__name__}: {error}") from error
            raise  # the model's own
        path = tracer._failed_in
        module = f"'{path}'" if path else "the top module"
        place = line_in_model(error) or "forward"
        raise TraceError(
            f"{type(root).__name__} cannot be traced symbolically: {place}, in {module} "
            f"({type(root.get_submodule(path)).__name__ if path else type(root).__name__}): "
            f"{_in_words(error)}{_leaf_advice(root, path)}"
        ) from error


def only_defaults(root: nn.Module, fixed: Iterable[str], end: str) -> TraceError:
    """Say that forward got no input at all, and how it ended.

    Args:
        root: the model.
        fixed: the arguments of forward, which all kept their default.
        end: what came of it.
    """
    return TraceError(
        f"{type(root).__name__} cannot be traced symbolically: every argument of forward has a "
        f"default and kept it, which ended in {end}\nconcrete_args={{'{next(iter(fixed))}': "
        f"torch.fx.PH}} makes that argument an input."
    )


def _leaf_advice(root: nn.Module, path: str) -> str:
    """A line of its own that says how to trace around the module at fault."""
    if not path:
        return ""
    cls = type(root.get_submodule(path)).__name__
    return f"\ntracer_kwargs={{'leaf_modules': [{cls}]}} makes that module one node."


def _in_words(error: Exception) -> str:
    text = str(error)
    if "control flow" in text and isinstance(error, TraceError) and "iterated" not in text:
        return "control flow depends on a value that is known only at run time."
    if "cannot be iterated" in text:
        return "a loop or * runs over a value whose length is known only at run time."
    if isinstance(error, TraceError):
        return text
    if isinstance(error, NameError):
        return "a parameter is used that is not registered, and would belong to no model."
    text = text.replace("'InPlaceProxy' object", "a traced value")
    return f"a number is needed that is known only at run time ({text})."


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


_IS_LIBRARY: dict[str, bool] = {contextlib.__file__: True}


def model_frame() -> FrameType | None:
    """The innermost frame that is neither torch's nor ours: the model's own code."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:  # flat, as this runs for every operation
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
