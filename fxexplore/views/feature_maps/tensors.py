"""What features hold: their tensors, how each is read, one item of the batch, and its facts."""

from __future__ import annotations

import dataclasses
import math
import operator
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import torch

from fxexplore.feature_extraction import kind_of
from fxexplore.model_graph import (
    Features,
    ModelGraph,
    Reading,
    axes_of,
    fold,
    reading_of_layout,
    reading_of_shape,
)
from fxexplore.views.numbers import shape_text

Layout = str | Mapping[str, str] | None
_LARGEST = 1e300  # numbers beyond have differences and means that are no numbers


@dataclasses.dataclass(frozen=True)
class Part:
    """A tensor in a nesting.

    Attributes:
        key: its way down, such as ``"decoder[0].hidden"``.
        top: the first step of it: a key of the features.
        tensor: the tensor.
    """

    key: str
    top: str
    tensor: torch.Tensor

    @property
    def has_values(self) -> bool:
        """Whether it has numbers, unlike on the meta device, or fake."""
        return self.tensor.device.type != "meta" and not hasattr(self.tensor, "fake_mode")


def parts_of(features: Any) -> list[Part]:
    """The tensors in a nesting of dicts, tuples, lists, dataclasses and numbers.

    Raises:
        ValueError: if there is none.

    Example:
        >>> [part.key for part in parts_of({"a": (torch.ones(1), {"b": torch.ones(1)}), "c": 2})]
        ['a[0]', 'a[1].b', 'c']
    """
    parts = list(_walk(features, "", "", set()))
    if not parts:
        raise ValueError("there is no tensor to draw in features")
    return parts


def _walk(value: Any, key: str, top: str, outer: set[int]) -> Iterator[Part]:
    if isinstance(value, torch.Tensor):
        yield Part(key or "tensor", top or "tensor", value)
    elif isinstance(value, (bool, int, float, complex)):
        yield Part(key or "number", top or "number", torch.tensor(value))
    elif id(value) not in outer:  # a list may hold itself
        for step, inner in _entries(value):
            below = f"{key}{step}" if key else step.removeprefix(".")
            yield from _walk(inner, below, top or below, outer | {id(value)})


def _entries(value: Any) -> list[tuple[str, Any]]:
    """What a value holds, with the step that leads to each."""
    if isinstance(value, Mapping):
        return [(f".{key}", inner) for key, inner in value.items()]
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return [(f".{name}", getattr(value, name)) for name in value._fields]
    if isinstance(value, (tuple, list)):
        return [(f"[{i}]", inner) for i, inner in enumerate(value)]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in dataclasses.fields(value)]
        return [(f".{name}", getattr(value, name, None)) for name in names]
    return []


@dataclasses.dataclass(frozen=True)
class Item:
    """One item of a batch.

    Attributes:
        kind: what the axes of ``values`` are: ``"maps"`` C×H×W, ``"video"`` C×T×H×W,
            ``"sequence"`` C×L, ``"attention"`` heads×L×L, ``"vector"`` C, ``"scalar"``,
            or ``"unplaced"`` for any.
        values: real numbers on the CPU, tokens folded.
        reading: how the tensor was read.
        notes: what was done on the way, in words.
        facts: what the tensor and its values are like, in words.
    """

    kind: str
    values: torch.Tensor
    reading: Reading
    notes: tuple[str, ...] = ()
    facts: tuple[str, ...] = ()

    @property
    def said(self) -> list[str]:
        """How it was read, in words."""
        equation = self.reading.equation() if self.kind != "sequence" else ""
        return [note for note in (equation, self.reading.guess, *self.notes) if note]


class FeatureTensors:
    """Features with all that tells what their axes are.

    Args:
        features: any nesting of tensors.
        layout: letters of the axes where they are known, or a dict of them by key.
        index: which item of the batch is drawn.
        image_size: height and width of the input picture, if there is one.
        is_text: whether the tokens are words.
        graph: the model.
        return_nodes: names of nodes with their keys.

    Raises:
        ValueError: if there is no tensor, or an argument does not fit.
    """

    def __init__(
        self,
        features: Any,
        layout: Layout,
        index: Any,
        *,
        image_size: tuple[int, int] | None = None,
        is_text: bool = False,
        graph: ModelGraph | None = None,
        return_nodes: Mapping[str, str] | None = None,
    ) -> None:
        self.parts = parts_of(features)
        self._layout = layout
        self._image_size, self._is_text = image_size, is_text
        self._graph = graph
        self._axes = None if graph is None else axes_of(graph)
        self._nodes = {key: node for node, key in (return_nodes or {}).items()}
        try:
            self._index = operator.index(index)
        except TypeError:
            words = f"index is {index!r}; give the number of an item of the batch"
            raise ValueError(words) from None
        if not isinstance(layout, str | Mapping | None):
            raise TypeError(f"layout is {kind_of(layout)}; give letters such as 'NCHW', or a dict")
        if isinstance(layout, Mapping):
            keys = {key for part in self.parts for key in (part.key, part.top)}
            strange = [repr(key) for key in layout if key not in keys]
            if strange:
                raise ValueError(f"layout has {', '.join(strange)}, which is no key of features")
        self.readings = {part.key: self._reading(part) for part in self.parts}
        batches = [self.readings[part.key].batch(part.tensor.shape) for part in self.parts]
        self._batch = max(batches)

    def name(self, part: Part) -> str:
        """Its key, and which call of a module it is of where that is a question."""
        call = self.call(part)
        return f"{part.key} · {call}" if call else part.key

    def call(self, part: Part) -> str:
        """Which call of a module a tensor is of, in words; ``""`` if there is but one."""
        return self._graph.which_call(self._node(part)) if self._graph else ""

    def item(self, part: Part) -> Item:
        """The item of the batch that is drawn, of a tensor that has values.

        Args:
            part: one of these, or one of the same key and shape.
        """
        reading = self.readings[part.key]
        count = reading.batch(part.tensor.shape)
        if -count <= self._index < count:
            place = self._index % count
        elif count == 1 and -self._batch <= self._index < self._batch:
            place = 0  # what the whole batch shares, such as a position embedding
        else:
            raise ValueError(f"index={self._index} is beyond the batch: {part.key!r} has {count}")
        item = item_of(part.tensor, reading, place)
        which = f"item {place} of {count}" if count > 1 else ""
        return dataclasses.replace(item, facts=tuple(_item_facts(part.tensor, item, which)))

    def _node(self, part: Part) -> str:
        return self._nodes.get(part.top, part.top)

    def _reading(self, part: Part) -> Reading:
        shape = tuple(part.tensor.shape)
        layout = self._layout
        if isinstance(layout, Mapping):
            layout = layout.get(part.key, layout.get(part.top))
        given = reading_of_layout(layout, shape, part.key) if layout is not None else None
        found = None
        if self._axes is not None:
            found = self._axes.reading(self._node(part), shape, self._image_size)
        if given is not None and (found is None or found.axes != given.axes):
            found = given
            if "L" in given.axes:
                length = shape[given.axes.rindex("L")]
                found = fold(given.axes, length, self._image_size) or given
        if found is None:
            found = Reading("?")
            if part.has_values:
                found = reading_of_shape(part.tensor, self._image_size, is_text=self._is_text)
        return dataclasses.replace(found, grid=()) if self._is_text else found


class Extent(NamedTuple):
    """What there is to choose from in features.

    Attributes:
        items: how many items the largest batch has.
        channels: how many channels, or heads of attention, a tensor has at most.
        has_attention: whether there is attention.
    """

    items: int = 1
    channels: int = 0
    has_attention: bool = False


def extent_of(features: Any) -> Extent:
    """What there is to choose from in features, of which there may be none.

    Example:
        >>> import torch
        >>> extent_of({"conv1": torch.rand(2, 8, 14, 14)})
        Extent(items=2, channels=8, has_attention=False)
    """
    known: dict[str, Any] = {}
    if isinstance(features, Features):
        known = {"graph": features.graph, "return_nodes": features.return_nodes}
    try:
        source = FeatureTensors(features, None, 0, **known)
    except ValueError:  # no tensor
        return Extent()
    read = [(source.readings[part.key], part.tensor.shape) for part in source.parts]
    channels = [reading.channels(shape) for reading, shape in read]
    items = [reading.batch(shape) for reading, shape in read]
    return Extent(max(items), max(channels), any(reading.is_attention for reading, _ in read))


# --- one item ------------------------------------------------------------------------------


def item_of(tensor: torch.Tensor, reading: Reading, index: int) -> Item:
    """Take one item of the batch and bring its axes into the order of its kind.

    Args:
        tensor: any tensor with values.
        reading: what its axes are; a grid that does not fit is not folded.
        index: which item; within the batch.
    """
    values = _readable(tensor)
    notes: tuple[str, ...] = ("magnitude of complex values",) if tensor.is_complex() else ()
    if values.dtype == torch.float64 and (values.abs() == _LARGEST).any():
        notes += (f"cut off at {_LARGEST:g}",)
    axes = reading.axes
    if "?" in axes or not values.numel():
        return Item("unplaced", values, reading, notes)
    if "N" in axes:
        values, axes = values.select(axes.index("N"), index), axes.replace("N", "")
    if reading.is_attention:
        heads = values if axes.startswith("H") else values.unsqueeze(0)
        return Item("attention", heads, reading, notes)
    if "L" in axes:
        # Heads are groups of channels: head 0 has the first ones.
        values = values.permute([axes.index(letter) for letter in "QHCL" if letter in axes])
        return _tokens(values.reshape(-1, values.shape[-1]), reading, notes)
    kind = {"": "scalar", "C": "vector"}.get(axes, "video" if "T" in axes else "maps")
    values = values.permute([axes.index(letter) for letter in "CTHW" if letter in axes])
    if "C" not in axes and kind != "scalar":
        values = values.unsqueeze(0)
    if kind in ("maps", "video") and values[0].numel() == 1:
        return Item("vector", values.flatten(), reading, (*notes, "one place: a vector"))
    return Item(kind, values, reading, notes)


def _tokens(values: torch.Tensor, reading: Reading, notes: tuple[str, ...]) -> Item:
    """Tokens as C×L, or folded back to the grid that they came from."""
    grid, first = reading.grid, reading.prefix
    if not grid or first + math.prod(grid) + reading.suffix != values.shape[1]:
        return Item("sequence", values, dataclasses.replace(reading, grid=()), notes)
    places = values[:, first : first + math.prod(grid)]
    kind = "maps" if len(grid) == 2 else "video"  # noqa: PLR2004
    return Item(kind, places.reshape(-1, *grid), reading, notes)


def _readable(tensor: torch.Tensor) -> torch.Tensor:
    """The same values as real numbers on the CPU; of complex ones the magnitude."""
    values = tensor.detach()
    if values.layout != torch.strided:
        values = values.to_dense()
    values = values.cpu().resolve_conj().resolve_neg()
    if values.is_complex():
        # Half-precision complex numbers have few operations.
        values = values.to(torch.promote_types(values.dtype, torch.complex64)).abs()
    if values.dtype not in (torch.float64, torch.int64, torch.int32):
        return values.float()
    values = values.double()
    return torch.where(values.isfinite(), values.clamp(-_LARGEST, _LARGEST), values)


# --- facts in words ------------------------------------------------------------------------


def form(tensor: torch.Tensor) -> list[str]:
    """Shape and type of a tensor, in words."""
    return [shape_text(tuple(tensor.shape)), str(tensor.dtype).removeprefix("torch.")]


def facts(values: torch.Tensor) -> list[str]:
    """Range, mean, share of zeros, and how many are NaN or infinite, in words.

    Args:
        values: real numbers of any shape.

    Example:
        >>> facts(torch.tensor([0.0, 1.0, float("nan"), float("-inf")]))
        ['0 … 1', 'mean 0.5', '50 % zeros', '1 NaN', '1 Inf']
    """
    import numpy as np

    numbers = values.reshape(-1).numpy()
    is_finite = np.isfinite(numbers)
    finite = numbers if is_finite.all() else numbers[is_finite]
    parts = [] if numbers.size else ["empty"]
    if finite.size:
        # Each is divided, as the sum of the largest numbers is no number.
        mean = (finite.astype(np.float64) / finite.size).sum()
        zeros = 1 - np.count_nonzero(finite) / finite.size
        # A few zeros are not none, and almost all are not all.
        share = f"{zeros:.0%}"[:-1]
        share = "<1" if 0 < zeros < 0.005 else ">99" if 0.995 <= zeros < 1 else share  # noqa: PLR2004
        range_and_mean = [f"{finite.min():.3g} … {finite.max():.3g}", f"mean {mean:.3g}"]
        parts += [*(text.replace("-", "−") for text in range_and_mean), f"{share} % zeros"]
    for name, count in (("NaN", np.isnan(numbers).sum()), ("Inf", np.isinf(numbers).sum())):
        if count:
            parts.append(f"{count:,} {name}")
    return parts


def _item_facts(tensor: torch.Tensor, item: Item, which: str) -> list[str]:
    parts = [*form(tensor), *filter(None, [which])]
    if item.kind == "scalar":
        return parts
    parts += facts(item.values)
    if item.kind in ("maps", "video", "sequence", "attention") and len(item.values) > 1:
        rows = item.values.reshape(len(item.values), -1)
        dead = len(rows) - int(rows.numpy().any(axis=1).sum()) if rows.shape[1] > 1 else 0
        parts.append(f"{dead} dead channel{'s' * (dead != 1)}")
    return parts
