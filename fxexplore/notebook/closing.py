"""Close widgets, and what they consist of."""

from __future__ import annotations

import ipywidgets as widgets


def close_whole(widget: widgets.Widget) -> None:
    """Close a widget with its children, layout and style, which ipywidgets would hold on to.

    Args:
        widget: the widget, which may be closed already.

    Example:
        >>> close_whole(widgets.VBox([button := widgets.Button()]))
        >>> button.comm is None
        True
    """
    widget.unobserve_all()  # nobody is to hear that it gives up its values
    widget.close()
    for child in getattr(widget, "children", ()):
        close_whole(child)
    for part in (getattr(widget, "layout", None), getattr(widget, "style", None)):
        if isinstance(part, widgets.Widget):
            part.close()
