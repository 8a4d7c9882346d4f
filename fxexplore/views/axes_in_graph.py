"""What the axes of every node's value stand for, followed through a model graph.

A value's axes come from what made it: a convolution puts channels first, a linear layer
puts them last, a reshape or a permutation moves the axes of what it reads, and a class
token is what is concatenated before the grid.
"""

from __future__ import annotations

import dataclasses
import math
import re

from fxexplore.model_graph.graph import ModelGraph, Node

from .tensor_axes import Reading

_FIRST = {1: "NCL", 2: "NCHW", 3: "NCTHW"}  # by the d in Conv1d, Conv2d, Conv3d
_LAST = {2: "NC", 3: "NLC", 4: "NHWC", 5: "NTHWC"}  # by the number of axes
_DIMENSIONAL = re.compile(
    r"(conv|pool|batchnorm|batch_norm|instancenorm|dropout|pad|upsample|norm|fold|act)\w*([123])d"
)
_OF_LAST_AXIS = ("linear", "layernorm", "layer_norm", "rmsnorm", "rms_norm", "embedding", "mlp")
_MOVES = ("permute", "transpose", "movedim", "moveaxis", "swapaxes", "swapdims", "t", "mt", "h")
_RESHAPES = ("flatten", "reshape", "view", "unflatten", "squeeze", "unsqueeze", "contiguous",
             "reshape_as", "view_as", "rearrange")  # fmt: skip
_JOINS = ("cat", "concat", "concatenate")
_CLIP_CHANNELS = (1, 2, 3, 4)
_MOST_SPECIAL_TOKENS = 16


@dataclasses.dataclass(frozen=True)
class Known:
    """The reading of a node's value, with the shape that it was found for."""

    reading: Reading
    shape: tuple[int, ...]


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
        self, name: str, shape: tuple[int, ...], picture: tuple[int, int] | None = None
    ) -> Reading | None:
        """What the axes of a value of a node or module are, if the graph tells.

        Args:
            name: qualified name.
            shape: shape of the value, which may be for another input than the graph's.
            picture: height and width of that input, if known.
        """
        for node in self._makers(name, shape):
            known = self._known.get(node.name)
            if known is None or len(known.reading.axes) != len(shape):
                continue
            if _differ_only_in_batch(known.shape, shape, known.reading.axes):
                return known.reading
            if node.shape is not None:
                return self._at_other_size(known, shape, picture)
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

    def _at_other_size(
        self, known: Known, shape: tuple[int, ...], picture: tuple[int, int] | None
    ) -> Reading:
        """The same axes for an input of another size than the graph has shapes for."""
        reading = known.reading
        if not reading.grid or "L" not in reading.axes:
            return reading
        length = shape[reading.axes.rindex("L")] - reading.prefix - reading.suffix
        grid = self._scaled_grid(reading.grid, length, picture)
        if grid is None:
            words = f"{length} tokens make no grid that is known; image= would tell"
            return dataclasses.replace(reading, grid=(), guess=words)
        how = f"for a picture of {picture[0]}×{picture[1]}" if picture else "guessed"
        return dataclasses.replace(reading, grid=grid, guess=f"{'×'.join(map(str, grid))} {how}")

    def _scaled_grid(
        self, grid: tuple[int, ...], length: int, picture: tuple[int, int] | None
    ) -> tuple[int, ...] | None:
        *time, height, width = grid
        places, rest = divmod(length, math.prod(time))
        seen = next((n.shape for n in self._graph.nodes if n.kind == "input" and n.shape), None)
        if rest or places < 1:
            return None
        if picture is not None and seen is not None and len(seen) >= 4:  # noqa: PLR2004
            size = (picture[0] * height // seen[-2], picture[1] * width // seen[-1])
            return (*time, *size) if math.prod(size) == places else None
        side = math.isqrt(places)
        return (*time, side, side) if height == width and side * side == places else None

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
        if "L" in reading.axes and not _fits(reading, shape):
            reading = Reading(reading.axes)
        if "L" in reading.axes and not reading.grid:
            reading = self._folded_as_before(node, shape, reading)
        return Known(reading, shape)

    def _read(self, node: Node, shape: tuple[int, ...], sources: list[Known]) -> Reading | None:
        if node.kind == "input":
            return _of_input(shape, self._readers.get(node.name, []))
        if node.kind in ("parameter", "size"):
            return None
        operation = re.sub(r"_\d+$", "", node.target).lower().strip("_")
        dimensional = _DIMENSIONAL.search(operation)
        first = _FIRST[int(dimensional[2])] if dimensional else ""
        if len(first) == len(shape):
            same = next((k.reading for k in sources if k.shape == shape), None)
            # Dropout2d and the like work on any order of axes; convolutions do not.
            return same if same and "conv" not in operation else Reading(first)
        if operation in _JOINS:
            return self._joined(node, shape, sources)
        source = sources[0] if sources else None
        if source is not None:
            reading = _derived(operation, source, shape, sources)
            if reading is not None:
                return reading
        if any(word in operation for word in _OF_LAST_AXIS) and len(shape) in _LAST:
            return Reading(_LAST[len(shape)])
        if operation == "softmax" and len(shape) == 4 and shape[2] == shape[3]:  # noqa: PLR2004
            return Reading("NHLL")
        return _of_readers(shape, self._readers.get(node.name, []))

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
        return _count(count, self._origin(node))

    def _origin(self, node: Node) -> str:
        """The name of the parameter that a value is made of alone, such as ``cls_token``."""
        while node.kind != "parameter":
            tensors = [self._nodes[i] for i in node.inputs if self._nodes[i].kind != "size"]
            if len(tensors) != 1:
                return ""
            node = tensors[0]
        return node.target.rpartition(".")[2]

    def _folded_as_before(self, node: Node, shape: tuple[int, ...], reading: Reading) -> Reading:
        """Tokens whose grid got lost on the way: that of the nearest value before them."""
        length = shape[reading.axes.index("L")]
        seen, ahead = {node.name}, list(node.inputs)
        while ahead:
            nearest = max(ahead, key=self._graph.index.__getitem__)
            ahead.remove(nearest)
            known = self._known.get(nearest)
            grid = _places(known)
            if known is not None and grid:
                prefix = length - math.prod(grid)
                same = "L" in known.reading.axes and prefix == known.reading.prefix
                if same:
                    return dataclasses.replace(known.reading, axes=reading.axes)
                if 0 <= prefix <= _MOST_SPECIAL_TOKENS and len(grid) > 1:
                    return dataclasses.replace(reading, grid=grid, prefix=prefix)
            new = [i for i in self._nodes[nearest].inputs if i not in seen]
            seen.update(new)
            ahead += new
        return reading


def _places(known: Known | None) -> tuple[int, ...]:
    if known is None:
        return ()
    if known.reading.grid:
        return known.reading.grid
    sizes = dict(zip(known.reading.axes, known.shape, strict=False))
    return tuple(sizes[a] for a in "THW" if a in sizes) if "W" in sizes else ()


def _fits(reading: Reading, shape: tuple[int, ...]) -> bool:
    """Whether the tokens are as many as the grid needs."""
    places = reading.prefix + math.prod(reading.grid) + reading.suffix
    return not reading.grid or places == shape[reading.axes.rindex("L")]


def _count(number: int, name: str) -> str:
    return f"{number} {name}" if name and number > 1 else name


def _differ_only_in_batch(known: tuple[int, ...], shape: tuple[int, ...], axes: str) -> bool:
    start = 1 if axes.startswith("N") else 0
    return known[start:] == shape[start:]


def _of_input(shape: tuple[int, ...], readers: list[Node]) -> Reading | None:
    if len(shape) == 4:  # noqa: PLR2004
        last = shape[3] in _CLIP_CHANNELS and shape[1] not in _CLIP_CHANNELS
        return Reading("NHWC" if last else "NCHW")
    if len(shape) == 5:  # noqa: PLR2004
        frames = shape[2] in _CLIP_CHANNELS and shape[1] not in _CLIP_CHANNELS
        return Reading("NTCHW" if frames else "NCTHW")
    return _of_readers(shape, readers)


def _of_readers(shape: tuple[int, ...], readers: list[Node]) -> Reading | None:
    """What the modules that read a value need it to be."""
    for reader in readers:
        target = reader.target.lower()
        dimensional = _DIMENSIONAL.search(target)
        if dimensional and len(_FIRST[int(dimensional[2])]) == len(shape):
            return Reading(_FIRST[int(dimensional[2])])
        if any(word in target for word in _OF_LAST_AXIS) and "embedding" not in target:
            return Reading(_LAST[len(shape)]) if len(shape) in _LAST else None
    return None


def _derived(
    operation: str, source: Known, shape: tuple[int, ...], sources: list[Known]
) -> Reading | None:
    """The reading of what is computed from ``sources``, from the sizes on both sides."""
    if operation in _MOVES:
        return _moved(source, shape)
    same = next((k.reading for k in sources if k.shape == shape), None)
    if same is not None:
        return same
    if operation in ("matmul", "bmm", "baddbmm", "einsum"):
        return _multiplied(sources, shape)
    if len(source.shape) != len(shape) or operation in _RESHAPES:
        return _reshaped(source, shape)
    return _resized(source, shape)


# Q is the axis along which queries, keys and values are stacked.
_ORDERS = (
    ("NCHW", "NHWC"), ("NCL", "NLC"), ("NHLC", "NLHC", "NHCL"), ("NCTHW", "NTCHW", "NTHWC"),
    ("NLQHC", "QNHLC", "NHQLC"),
)  # fmt: skip


def _moved(source: Known, shape: tuple[int, ...]) -> Reading | None:
    axes = source.reading.axes
    for orders in _ORDERS:
        for other in orders:
            if axes in orders and other != axes and _size_in(other, source) == shape:
                return dataclasses.replace(source.reading, axes=other)
    return None


def _size_in(order: str, source: Known) -> tuple[int, ...]:
    sizes = dict(zip(source.reading.axes, source.shape, strict=True))
    return tuple(sizes[letter] for letter in order)


def _multiplied(sources: list[Known], shape: tuple[int, ...]) -> Reading | None:
    """Queries by keys are attention; attention by values are tokens of heads again."""
    first = sources[0]
    if len(shape) != len(first.shape) or shape[:-1] != first.shape[:-1]:
        return None
    if first.reading.is_attention:
        axes = first.reading.axes[:-1] + "C"
        return dataclasses.replace(first.reading, axes=axes)
    last = sources[-1]
    if first.reading.axes == "NHLC" and last.reading.axes == "NHCL":
        reading = last.reading if last.reading.grid else first.reading
        return dataclasses.replace(reading, axes="NHLL")
    return _resized(first, shape)


def _reshaped(source: Known, shape: tuple[int, ...]) -> Reading | None:
    """Axes that are folded together, or apart."""
    reading, old = source.reading, source.shape
    sizes = dict(zip(reading.axes, old, strict=False))
    if len(sizes) != len(old):  # attention, or a shape that was found for another value
        return None
    grid = tuple(sizes[a] for a in "THW" if a in sizes) if "W" in sizes else reading.grid
    n, c, length = sizes.get("N", 1), sizes.get("C", 1), sizes.get("L", math.prod(grid))
    candidates: dict[str, tuple[int, ...]] = {}
    if "Q" in reading.axes:
        axes = reading.axes.replace("Q", "")
        return dataclasses.replace(reading, axes=axes) if _size_in(axes, source) == shape else None
    if reading.axes in ("NCHW", "NCTHW", "NCL"):
        candidates = {"NCL": (n, c, length), "NCHW": (n, c, *grid), "NCTHW": (n, c, *grid)}
        if len(shape) == 4 and shape[0] * shape[1] == n and shape[2:] == (c, length):  # noqa: PLR2004
            candidates["NHCL"] = shape
    elif reading.axes in ("NHWC", "NTHWC", "NLC"):
        candidates = {"NLC": (n, length, c), "NHWC": (n, *grid, c), "NTHWC": (n, *grid, c)}
        if reading.axes == "NLC" and len(shape) == 4 and shape[:2] == (n, length):  # noqa: PLR2004
            candidates["NLHC"] = (*shape[:3], c // max(shape[2], 1))
        if reading.axes == "NLC" and len(shape) == 5 and shape[:3] == (n, length, 3):  # noqa: PLR2004
            candidates["NLQHC"] = (*shape[:4], c // max(3 * shape[3], 1))
    elif reading.axes == "NHCL":
        inner = (n * sizes["H"], c, *grid)
        candidates = {"NCHW": inner, "NCTHW": inner}
    elif reading.axes == "NLHC":
        candidates = {"NLC": (n, length, sizes["H"] * c)}
    elif reading.axes == "NTCHW":
        t, h, w = (sizes[a] for a in "THW")
        candidates = {"NCHW": (n * t, c, h, w)}
    for axes, size in candidates.items():
        if len(axes) == len(size) and size == shape:
            keeps = ("L" in axes and not (reading.prefix or reading.suffix)) or "L" in reading.axes
            return dataclasses.replace(
                reading, axes=axes, grid=grid if keeps and "L" in axes else ()
            )
    is_vector = len(shape) == 2 and shape[0] == n and math.prod(shape) == math.prod(old)  # noqa: PLR2004
    return Reading("NC") if is_vector else None


def _resized(source: Known, shape: tuple[int, ...]) -> Reading | None:
    """The same axes with other sizes: fewer channels, pooled places, tokens cut off."""
    reading = source.reading
    if len(reading.axes) != len(shape) or reading.is_attention:
        return None
    changed = {
        a for a, was, now in zip(reading.axes, source.shape, shape, strict=True) if was != now
    }
    if changed <= {"C", "N"}:
        return reading
    if "L" not in changed:
        return reading if "W" in reading.axes else None
    if changed != {"L"}:
        return Reading(reading.axes)
    now = shape[reading.axes.index("L")]
    places = math.prod(reading.grid)
    if now == places + reading.suffix:
        return dataclasses.replace(reading, prefix=0, prefix_words="")
    # The special tokens alone have no grid.
    return Reading(reading.axes, prefix_words=reading.prefix_words if now == reading.prefix else "")
