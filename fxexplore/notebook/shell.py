"""The IPython shell that the cells of a notebook run in."""

from __future__ import annotations

from typing import Any


def present_shell() -> Any:
    """The shell, or None where there is none."""
    from IPython.core.getipython import get_ipython

    return get_ipython()


def is_interactive() -> bool:
    """Whether somebody may be there who sees a cell run.

    Not where nbclient or nbconvert executes a notebook to be read: these cannot be asked for
    input, which ipykernel learns with each cell.

    Example:
        >>> is_interactive()
        True
    """
    kernel = getattr(present_shell(), "kernel", None)
    return bool(getattr(kernel, "_allow_stdin", True))
