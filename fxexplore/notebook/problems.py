"""Errors as words in a widget."""

from __future__ import annotations

import html
import traceback

import traitlets

# What our own checks raise says all there is to say; a traceback would only hide it.
_SAID = (ValueError, TypeError, LookupError, OSError, traitlets.TraitError)


def problem_html(problem: BaseException, what: str = "") -> str:
    """An error as HTML: its words, with the traceback folded.

    Args:
        problem: what was raised.
        what: what did not work, if that has to be said.

    Example:
        >>> "no such &lt;name&gt;" in problem_html(ValueError("no such <name>"))
        True
    """
    text = str(problem).strip() or type(problem).__name__
    text = f"{what}: {text}" if what else text
    kind = "" if type(problem) in _SAID else f"<b>{html.escape(type(problem).__name__)}</b>: "
    details = "".join(traceback.format_exception(problem))
    return (
        f'<div class="fxx-error" role="alert">{kind}{html.escape(text)}'
        f"<details><summary>Traceback</summary><pre>{html.escape(details)}</pre></details></div>"
    )
