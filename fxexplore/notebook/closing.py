"""Close widgets, and what they consist of."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

import ipywidgets as widgets
from comm import get_comm_manager
from ipywidgets.widgets.widget import _instances

from fxexplore.feature_extraction import on_leaving, restores


def parts_of(widget: widgets.Widget) -> Iterator[widgets.Widget]:
    """The children, layouts and styles of a widget, and those of its children.

    Args:
        widget: the widget, which may be closed already.

    Example:
        >>> box = widgets.VBox([widgets.Button()])
        >>> [type(part).__name__ for part in parts_of(box)]
        ['Button', 'Layout', 'ButtonStyle', 'Layout']
    """
    own = [getattr(widget, name, None) for name in ("layout", "style")]
    given = getattr(widget, "given_layout", None)
    for part in (*getattr(widget, "children", ()), *own):
        if isinstance(part, widgets.Widget) and part is not given:
            yield part
            yield from parts_of(part)


def close_parts(widget: widgets.Widget) -> None:
    """Close what a widget consists of: ipywidgets closes none of it, and holds on to all.

    Args:
        widget: the widget, whose observers are taken off.
    """
    widget.unobserve_all()  # nobody is to hear that it gives up its values
    for part in list(parts_of(widget)):
        close_comm(part.comm, part)


def open_comms() -> dict[str, Any]:
    """The open channels to the page, by id; that of a widget has the widget's id."""
    return dict(get_comm_manager().comms)


@restores
def close_since(known: Collection[str]) -> None:
    """Close the widgets that were made since then, also if an interrupt comes meanwhile.

    Args:
        known: ids of the channels that there were.
    """

    def close() -> None:
        for id_, comm in open_comms().items():
            if id_ not in known:
                close_comm(comm, _instances.get(id_))

    on_leaving(close)


def close_comm(comm: Any, widget: widgets.Widget | None = None) -> None:
    """Close a channel with its widget, also one whose opening or closing was interrupted.

    Args:
        comm: the channel; None for a widget that is closed.
        widget: its widget, if it has one.
    """
    if widget is not None:
        widget.unobserve_all()
        widget.close()
    if comm is not None:
        comm.close()
        get_comm_manager().comms.pop(comm.comm_id, None)
