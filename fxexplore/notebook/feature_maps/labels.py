"""Names of controls for those who do not see what stands beside them."""

from __future__ import annotations

from typing import TypeVar

import ipywidgets as widgets

Control = TypeVar("Control", bound=widgets.Widget)


def named(control: Control, name: str) -> Control:
    """Give a control a label that is read and not seen (see ``panel.css``).

    Args:
        control: a control of ipywidgets that has a description.
        name: what it is for.

    Example:
        >>> named(widgets.Text(), "query token").description
        'query token'
    """
    control.description = name
    control.add_class("fxx-named")
    return control
