"""The tree of node names as a widget of its own."""

from __future__ import annotations

import pathlib
from array import array
from typing import Any

import anywidget
import traitlets

from fxexplore.model_graph.graph import ModelGraph, Module, Node
from fxexplore.views.diagram import opening_fold
from fxexplore.views.numbers import shape_text, short_count
from fxexplore.views.outline import description

_HERE = pathlib.Path(__file__).parent
_CAN_TICK, _IS_MODULE, _IS_DIM = 1, 2, 4


class NodeTree(anywidget.AnyWidget):
    """A collapsible tree of qualified names with ticks.

    The rows are described once; ticking, folding and searching change one trait each.

    Args:
        graph: the model to show.
        **kwargs: initial values of traits.

    Example:
        >>> from torch import nn
        >>> from fxexplore import open_model
        >>> tree = NodeTree(open_model(nn.Sequential(nn.Linear(4, 2), nn.ReLU())))
        >>> tree.labels
        ['input', '0', '1']
    """

    _esm = _HERE / "node_tree.js"
    _css = _HERE / "node_tree.css"

    selected = traitlets.List(traitlets.Unicode()).tag(sync=True)
    """Names of the ticked nodes and modules, in the order of ticking."""

    expanded = traitlets.List(traitlets.Unicode()).tag(sync=True)
    """Paths of the modules that are unfolded."""

    focused = traitlets.Unicode().tag(sync=True)
    """Name of the row that the keyboard acts on; ``""`` for none."""

    query = traitlets.Unicode().tag(sync=True)
    """Words that the shown rows have in their name or class."""

    labels = traitlets.List(traitlets.Unicode()).tag(sync=True)
    """What stands in each row, in order of execution: the name inside its module."""

    notes = traitlets.List(traitlets.Unicode()).tag(sync=True)
    """The class with its arguments, or where the operation is in the code."""

    shapes = traitlets.List(traitlets.Unicode()).tag(sync=True)
    """The shape of each row's output; ``""`` where it is not known."""

    counts = traitlets.List(traitlets.Unicode()).tag(sync=True)
    """The number of parameters of each row, in three digits."""

    flops = traitlets.List(traitlets.Unicode()).tag(sync=True)
    """The floating point operations of each row, in three digits; ``""`` if not known."""

    depth = traitlets.Bytes().tag(sync=True)
    """How many modules each row is in (int32)."""

    end = traitlets.Bytes().tag(sync=True)
    """The index of the row after the last one that each row contains (int32)."""

    flags = traitlets.Bytes().tag(sync=True)
    """For each row 1 if it can be ticked, plus 2 for a module, 4 for a size (int32)."""

    share = traitlets.Bytes().tag(sync=True)
    """Each row's share of the model's parameters in percent (int32)."""

    def __init__(self, graph: ModelGraph, **kwargs: Any) -> None:
        kwargs.setdefault("expanded", opening_fold(graph))
        super().__init__(**_described(graph), **kwargs)


def _described(graph: ModelGraph) -> dict[str, Any]:
    items = [row.item for row in graph.rows]
    whole = max(graph.parameters, 1)
    return {
        "labels": [graph.label(row.name) for row in graph.rows],
        "notes": [description(item) for item in items],
        "shapes": ["" if item.shape is None else shape_text(item.shape) for item in items],
        "counts": [short_count(item.parameters) if item.parameters else "" for item in items],
        "flops": [short_count(item.flops) if item.flops else "" for item in items],
        "depth": _int32(row.depth for row in graph.rows),
        "end": _int32(row.end for row in graph.rows),
        "flags": _int32(_flags(item) for item in items),
        "share": _int32(-(-100 * item.parameters // whole) for item in items),
    }


def _int32(numbers: Any) -> bytes:
    return array("i", numbers).tobytes()


def _flags(item: Node | Module) -> int:
    if isinstance(item, Module):
        return _IS_MODULE | (_CAN_TICK if item.returns else 0)
    return _CAN_TICK | (_IS_DIM if item.kind == "size" else 0)
