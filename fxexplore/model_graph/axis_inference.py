"""What the axes of every node's value stand for, followed through a model graph.

A value's axes come from what made it: a convolution puts channels first, a linear layer
puts them last, a reshape or a permutation moves the axes of what it reads, and a class
token is what is concatenated before the grid.
"""

from __future__ import annotations

import dataclasses
import math
import re

from .axes import Reading, grid_of
from .axis_rules import Known, derived, of_dimensional, of_input, of_operation, of_readers
from .graph import ModelGraph
from .nodes import Node

_JOINS = ("cat", "concat", "concatenate")
_SHUFFLES = ("gather", "index_select", "take_along_dim", "index", "scatter", "sort", "topk")
_MOST_AXES_KNOWN = 4  # of a value that tokens may have passed through without being moved


def axes_of(graph: ModelGraph) -> GraphAxes:
    """The readings of a model's values, which are found once and kept with its graph."""
    kept = vars(graph)
    if "_axes" not in kept:
        kept["_axes"] = GraphAxes(graph)
    found: GraphAxes = kept["_axes"]
    return found


class GraphAxes:
    """The readings of a model's values.

    Args:
        graph: the model, with shapes.

    Example:
        >>> from torch import nn
        >>> from fxexplore import open_model
        >>> axes = GraphAxes(open_model(nn.Conv2d(3, 8, 3)))
        >>> axes.reading("", (1, 8, 222, 222)) is None  # the model itself is no node
        True
    """

    def __init__(self, graph: ModelGraph) -> None:
        self._graph = graph
        self._nodes = {node.name: node for node in graph.nodes}
        self._known: dict[str, Known] = {}
        self._readers: dict[str, list[Node]] = {}
        for node in graph.nodes:
            for source in node.inputs:
                self._readers.setdefault(source, []).append(node)
        for node in graph.nodes:
            known = self._follow(node)
            if known is not None:
                self._known[node.name] = known

    def reading(
        self, name: str, shape: tuple[int, ...], image_size: tuple[int, int] | None = None
    ) -> Reading | None:
        """What the axes of a value of a node or module are, if the graph tells.

        Args:
            name: qualified name.
            shape: shape of the value, which may be for another input than the graph's.
            image_size: height and width of that input, if known.
        """
        for node in self._makers(name, shape):
            known = self._known.get(node.name)
            if known is None or len(known.reading.axes) != len(shape):
                continue
            sizes = zip(known.reading.axes, known.shape, shape, strict=True)
            if all(axis == "N" or was == now for axis, was, now in sizes):
                return known.reading
            if node.shape is not None:
                return _at_other_size(known.reading, shape, image_size)
        return None

    def _makers(self, name: str, shape: tuple[int, ...]) -> list[Node]:
        """The node of that name; of a module the nodes in it that may have made its output."""
        if name not in self._graph.index:
            return []
        item = self._graph[name]
        if isinstance(item, Node):
            return [item]
        row = self._graph.index[name]
        inside = [r.item for r in self._graph.rows[row + 1 : self._graph.rows[row].end]]
        nodes = [node for node in reversed(inside) if isinstance(node, Node)]
        wanted = item.shape or shape
        same = [node for node in nodes if node.shape == wanted]
        return same or [node for node in nodes if node.shape and len(node.shape) == len(shape)]

    # --- following one node ------------------------------------------------------------

    def _follow(self, node: Node) -> Known | None:
        sources = [self._known[name] for name in node.inputs if name in self._known]
        if node.shape is None:
            # Tuples and the like have no shape; what is taken out of them may.
            return sources[0] if sources else None
        shape = node.shape
        reading = self._read(node, shape, sources)
        if reading is None or len(reading.axes) != len(shape):
            return None
        if "L" in reading.axes:
            is_shuffled = _operation(node) in _SHUFFLES
            if is_shuffled or not _fits(reading, shape):
                reading = Reading(reading.axes)
            if not is_shuffled and not reading.grid:
                reading = self._folded_as_before(node, shape, reading)
        return Known(reading, shape)

    def _read(self, node: Node, shape: tuple[int, ...], sources: list[Known]) -> Reading | None:
        readers = self._readers.get(node.name, [])
        if node.kind == "input":
            return of_input(shape, readers)
        if node.kind in ("parameter", "size"):
            return None
        operation = _operation(node)
        if operation in _JOINS:
            return self._joined(node, shape, sources)
        return (
            of_dimensional(operation, shape, sources)
            or (derived(operation, sources[0], shape, sources) if sources else None)
            or of_operation(operation, shape)
            or of_readers(shape, readers)
        )

    def _joined(self, node: Node, shape: tuple[int, ...], sources: list[Known]) -> Reading | None:
        """A concatenation: of channels, or of special tokens and a grid."""
        fitting = [known for known in sources if len(known.shape) == len(shape)]
        main = next((k for k in fitting if k.reading.grid), next(iter(fitting), None))
        if main is None:
            return None
        reading = main.reading
        axis = reading.axes.find("L")
        if axis < 0 or shape[axis] == main.shape[axis]:
            return reading
        tensors = [self._nodes[name] for name in node.inputs]
        tensors = [n for n in tensors if n.shape and len(n.shape) == len(shape)]
        lengths = [n.shape[axis] for n in tensors if n.shape]
        if sum(lengths) != shape[axis]:
            return Reading(reading.axes)
        place = next(i for i, n in enumerate(tensors) if self._known.get(n.name) is main)
        words = [self._words(tensors[i], lengths[i]) for i in range(place)]
        if reading.prefix_words:
            words.append(reading.prefix_words)
        return dataclasses.replace(
            reading,
            prefix=reading.prefix + sum(lengths[:place]),
            suffix=reading.suffix + sum(lengths[place + 1 :]),
            prefix_words=" + ".join(words) if all(words) else "",
        )

    def _words(self, node: Node, count: int) -> str:
        known = self._known.get(node.name)
        if known is not None and known.reading.prefix_words:
            return known.reading.prefix_words
        name = self._origin(node)
        return f"{count} {name}" if name and count > 1 else name

    def _origin(self, node: Node) -> str:
        """The name of the parameter that a value is made of alone, such as ``cls_token``."""
        while node.kind != "parameter":
            tensors = [self._nodes[i] for i in node.inputs if self._nodes[i].kind != "size"]
            if len(tensors) != 1:
                return ""
            node = tensors[0]
        return node.target.rpartition(".")[2]

    def _may_move(self, node: Node) -> bool:
        """Whether tokens may come out of a node in another order.

        Windows and the like are made by values of many axes, whose order is not followed.
        """
        if node.kind == "size":  # a number, through which no token passes
            return True
        is_unknown = node.name not in self._known and len(node.shape or ()) > _MOST_AXES_KNOWN
        return _operation(node) in _SHUFFLES or is_unknown

    def _folded_as_before(self, node: Node, shape: tuple[int, ...], reading: Reading) -> Reading:
        """Tokens whose grid got lost on the way: that of the nearest value before them."""
        length = shape[reading.axes.index("L")]
        seen, ahead = {node.name}, list(node.inputs)
        while ahead:
            nearest = max(ahead, key=self._graph.index.__getitem__)
            ahead.remove(nearest)
            if self._may_move(self._nodes[nearest]):
                continue
            known = self._known.get(nearest)
            if known is not None and (grid := known.grid):
                prefix = length - math.prod(grid)
                if "L" in known.reading.axes and prefix == known.reading.prefix:
                    return dataclasses.replace(known.reading, axes=reading.axes)
                if prefix in (0, 1):
                    guess = "the grid of the values before, guessed" if prefix else ""
                    return dataclasses.replace(reading, grid=grid, prefix=prefix, guess=guess)
            new = [i for i in self._nodes[nearest].inputs if i not in seen]
            seen.update(new)
            ahead += new
        return reading


def _operation(node: Node) -> str:
    return re.sub(r"_\d+$", "", node.target).lower().strip("_")


def _fits(reading: Reading, shape: tuple[int, ...]) -> bool:
    """Whether the tokens are as many as the grid needs."""
    places = reading.prefix + math.prod(reading.grid) + reading.suffix
    return not reading.grid or places == shape[reading.axes.rindex("L")]


def _at_other_size(
    reading: Reading, shape: tuple[int, ...], image_size: tuple[int, int] | None
) -> Reading:
    """The same axes for an input of another size than the graph has shapes for."""
    if not reading.grid or "L" not in reading.axes:
        return reading
    length = shape[reading.axes.rindex("L")] - reading.prefix - reading.suffix
    is_flat = len(reading.grid) == 2  # noqa: PLR2004  # no clip
    grid = grid_of(length, image_size) if image_size and is_flat else None
    if image_size is None or grid is None:
        words = f"{length} tokens make no grid that is known; image= would tell"
        return dataclasses.replace(reading, grid=(), guess=words)
    words = f"{grid[0]}×{grid[1]} for a picture of {image_size[0]}×{image_size[1]}"
    return dataclasses.replace(reading, grid=grid, guess=words)
