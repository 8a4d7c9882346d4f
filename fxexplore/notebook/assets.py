"""The JavaScript and the styles of the widgets, as text."""

from __future__ import annotations

import pathlib
import re

_HERE = pathlib.Path(__file__).parent


def asset(*names: str) -> str:
    """Several files as one: an ES module of a widget has no files to import others from.

    It is saved in every notebook with such a widget, so comments and indents stay behind.
    Given as paths, anywidget would keep every widget alive, to tell it when they change.

    Args:
        *names: paths of the files from here.

    Example:
        >>> asset("save_button.js").lstrip()[:14]
        'const PATIENCE'
    """
    whole = "\n".join((_HERE / name).read_text("utf-8") for name in names)
    bare = re.sub(r"^ *(/\*\*((?!\*/).)*\*/|//[^\n]*)\n", "", whole, flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"^ +|\n(?=\n)", "", bare, flags=re.MULTILINE)
