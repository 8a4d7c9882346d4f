"""Buttons found as a user finds them: by what is written on them."""

import ipywidgets as widgets


def button(box, description):
    """The button in a box, or in one inside it."""
    todo = list(box.children)
    while todo:
        widget = todo.pop(0)
        if isinstance(widget, widgets.Button) and widget.description == description:
            return widget
        todo += getattr(widget, "children", ())
    raise AssertionError(f"there is no button {description!r}")
