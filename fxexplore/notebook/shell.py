"""The IPython shell that the cells of a notebook run in."""

from __future__ import annotations

from typing import Any


def present_shell() -> Any:
    """The shell, or None where there is none."""
    from IPython.core.getipython import get_ipython

    return get_ipython()


def variable_of(value: Any, default: str, shell: Any = None) -> str:
    """The variable of the notebook that holds a value, as code goes on from it.

    Args:
        value: the value.
        default: what is said if no variable holds it.
        shell: the shell; by default the present one.

    Example:
        >>> variable_of(object(), "model")
        'model'
    """
    shell = shell or present_shell()
    variables = {} if shell is None else dict(shell.user_ns)
    named = (n for n, held in variables.items() if held is value and not n.startswith("_"))
    return default if value is None else next(named, default)


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
