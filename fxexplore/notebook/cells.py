"""Explorers of a cell that is run again: the new one goes on where the former was, which is freed.

Unless something of the user's refers to it.
"""

from __future__ import annotations

import gc
import weakref
from typing import TYPE_CHECKING, Any

from ipywidgets.widgets.widget import _instances

from .closing import parts_of
from .shell import present_shell

if TYPE_CHECKING:
    from collections.abc import Iterable

    import ipywidgets as widgets

    Made = weakref.WeakKeyDictionary[widgets.Widget, str]


def made_in_present_cell(widget: widgets.Widget, name: str = "") -> dict[str, Any]:
    """Have a widget freed when the cell that runs now is run again.

    Only if nothing of the user's refers to it then, such as a variable, a list or another
    widget. IPython's own records of results (``Out``, ``_``, ``_3``) give it up.

    Args:
        widget: a widget that was made in the cell.
        name: the expression that its model goes by, if it has a ``view_state``.

    Returns:
        The ``view_state`` of the widget that the cell has made for this name when it ran
        before; empty if there is none.
    """
    shell = present_shell()
    if shell is None:
        return {}
    cells = getattr(shell, "_fxexplore_cells", None)
    if cells is None:
        cells = shell._fxexplore_cells = Cells(shell)
    cells.new[widget] = name
    return dict(cells.former.get(name, {}))


class Cells:
    """The widgets that each cell of a notebook has made, by the cell's id.

    A console has no cells that are run again, and no ids of them.

    Args:
        shell: the IPython shell that runs the cells.

    Attributes:
        new: the widgets that were made since the present cell began, with their names.
        former: how those looked that the cell has made before, by name.
    """

    def __init__(self, shell: Any) -> None:
        self.new: Made = weakref.WeakKeyDictionary()
        self.former: dict[str, dict[str, Any]] = {}
        self._made: dict[str, Made] = {}
        shell.events.register("pre_run_cell", self._begin)
        shell.events.register("post_run_cell", self._end)

    def _begin(self, info: Any) -> None:
        """Free what the cell made before, so that there is room for the new."""
        if info.cell_id is not None:
            self.new.clear()
            made: Made = self._made.get(info.cell_id, weakref.WeakKeyDictionary())
            self.former = {n: getattr(widget, "view_state", {}) for widget, n in made.items()}
            self._free(made)

    def _end(self, result: Any) -> None:
        """Free what a variable, or a thread, has held until now; see if models have changed."""
        cell_id = None if result is None else result.info.cell_id
        if cell_id is not None:
            self._free(self._made.get(cell_id, {}))
            self._made.setdefault(cell_id, weakref.WeakKeyDictionary()).update(self.new)
            self.new.clear()
            self.former = {}
        for widget in [widget for made in self._made.values() for widget in made]:
            if hasattr(widget, "look_again"):
                widget.look_again()

    def _free(self, made: Iterable[widgets.Widget]) -> None:
        for widget in made:
            forget_result(widget)
            _hold_weakly(widget)
        widget = None
        gc.collect()
        for widget in made:
            _hold(widget)


def forget_result(widget: widgets.Widget) -> None:
    """Take a widget out of IPython's records of results, which would keep it alive.

    Args:
        widget: a widget that a cell may have shown.
    """
    shell = present_shell()
    if shell is None:
        return
    records = shell.user_ns.get("_oh", {})
    for number in [number for number, value in records.items() if value is widget]:
        del records[number]
        shell.drop_by_id({f"_{number}": widget})
        shell.user_ns_hidden.pop(f"_{number}", None)
    for name in ("_", "__", "___"):
        if getattr(shell.displayhook, name, None) is widget:
            setattr(shell.displayhook, name, "")
            if shell.user_ns.get(name) is widget:
                shell.push({name: ""}, interactive=False)
    last = shell.last_execution_result
    if last is not None and last.result is widget:
        last.result = None


def _hold_weakly(widget: widgets.Widget) -> None:
    """Have ipywidgets and the kernel's comms no longer keep a widget alive, which then may go."""
    for part in (widget, *parts_of(widget)):
        if part.comm is not None:
            _instances.pop(part.model_id, None)
            handle = weakref.WeakMethod(part._handle_msg)
            part.comm.on_msg(lambda message, handle=handle: handle()(message))


def _hold(widget: widgets.Widget) -> None:
    for part in (widget, *parts_of(widget)):
        if part.comm is not None:
            _instances[part.model_id] = part
            part.comm.on_msg(part._handle_msg)
