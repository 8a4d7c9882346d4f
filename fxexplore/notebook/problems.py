"""Errors as words in a widget."""

from __future__ import annotations

import html
import re
import traceback
from collections.abc import Callable

import traitlets

# What our own checks raise says all there is to say; a traceback would only hide it.
_SAID = (ValueError, TypeError, LookupError, OSError, traitlets.TraitError)

_GIVEN = re.compile(
    r"example_inputs=(torch\.randn\(\.\.\.\)|\.\.\.|\([^()]*\))(, or a tuple or dict of arguments)?"
)


def with_line(text: str, line: str) -> str:
    """A text that suggests ``example_inputs=`` as one that suggests a line of the notebook.

    Args:
        text: what is wrong, and what to give.
        line: the line that takes a variable ``batch``; ``""`` where Python is written.

    Example:
        >>> with_line("give example_inputs=(image, meta).", "%fxnodes --inputs batch net")
        'give batch = (image, meta), then %fxnodes --inputs batch net.'
    """
    return _GIVEN.sub(lambda found: f"batch = {found[1]}, then {line}", text) if line else text


def problem_html(
    problem: BaseException, what: str = "", in_words: Callable[[str], str] = str
) -> str:
    """An error as HTML: its words, with the traceback folded.

    Args:
        problem: what was raised.
        what: what did not work, if that has to be said.
        in_words: how the reader is told.

    Example:
        >>> "no such &lt;name&gt;" in problem_html(ValueError("no such <name>"))
        True
    """
    text = in_words(str(problem).strip()) or type(problem).__name__
    text = f"{what}: {text}" if what else text
    kind = "" if type(problem) in _SAID else f"<b>{html.escape(type(problem).__name__)}</b>: "
    details = "".join(traceback.format_exception(problem))
    return (
        f'<div class="fxx-error" role="alert">{kind}{html.escape(text)}'
        f"<details><summary>Traceback</summary><pre>{html.escape(details)}</pre></details></div>"
    )
