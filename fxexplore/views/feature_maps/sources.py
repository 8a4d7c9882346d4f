"""Features with all that tells what they are: arguments checked, tensors read."""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fxexplore.model_graph import Features, ModelGraph

from .axes_in_graph import GraphAxes
from .input_picture import picture_of
from .looks import Look, Query
from .tensor_axes import Reading, fold, reading_of_layout, reading_of_shape
from .tensor_parts import Item, Part, item_of, parts_of
from .ways_to_look import SCALES, SORTS, VIEWS, Channels

if TYPE_CHECKING:
    import torch

Layout = str | Mapping[str, str] | None


def checked_look(
    view: str,
    channels: Channels,
    sort: str,
    scale: str,
    image: Any,
    tokens: Sequence[str] | None,
    query: Query | None,
) -> Look:
    """Check how to look at tensors.

    Raises:
        ValueError: if an argument is none that is known, in words.
    """
    for name, value, known in (
        ("view", view, VIEWS), ("sort", sort, SORTS), ("scale", scale, SCALES),
    ):  # fmt: skip
        if value not in known:
            raise ValueError(f"{name}={value!r} is not known; write one of {', '.join(known)}")
    if isinstance(tokens, str):
        raise ValueError("tokens is one string; give a list of names")  # noqa: TRY004
    return Look(
        view=view,
        channels=_checked_channels(channels),
        sort=sort,
        scale=scale,
        picture=None if image is None else picture_of(image),
        tokens=[str(token) for token in tokens] if tokens is not None else (),
        query=_checked_query(query),
    )


def _checked_channels(channels: Any) -> Channels:
    words = "give how many to show, a list of their numbers, or a slice"
    if isinstance(channels, slice):
        return channels
    if isinstance(channels, (bool, str)):
        raise ValueError(f"channels is {channels!r}; {words}")  # noqa: TRY004
    try:
        number = operator.index(channels)
    except TypeError:
        pass
    else:
        if number < 1:
            raise ValueError(f"channels is {number}; show at least 1")
        return number
    try:
        chosen = [operator.index(channel) for channel in channels]
    except TypeError:
        raise ValueError(f"channels is {channels!r}; {words}") from None
    if not chosen:
        raise ValueError(f"channels is empty; {words}")
    return chosen


def _checked_query(query: Any) -> Query | None:
    if query is None:
        return None
    try:
        if isinstance(query, Sequence) and not isinstance(query, str):
            return tuple(operator.index(q) for q in query)
        return operator.index(query)
    except TypeError:
        raise ValueError(
            f"query is {query!r}; give a token's number, or its (row, column) in the grid"
        ) from None


class Source:
    """Features, and all that tells what they are."""

    def __init__(
        self,
        features: Any,
        layout: Layout,
        index: int,
        look: Look,
        graph: ModelGraph | None,
        return_nodes: Mapping[str, str] | None,
    ) -> None:
        self.parts = parts_of(features)
        if not self.parts:
            raise ValueError("there is no tensor to draw in features")
        if isinstance(features, Features):
            graph = features.graph if graph is None else graph
            return_nodes = features.return_nodes if return_nodes is None else return_nodes
        self._layout = layout
        self._picture = None if look.picture is None else (*look.picture.shape[:2],)
        self._is_text = bool(look.tokens)
        self._graph = graph
        self._axes = None if graph is None else GraphAxes(graph)
        self._nodes = {key: node for node, key in (return_nodes or {}).items()}
        self._index = _checked_index(index)
        readings = [(part, self._reading(part)) for part in self.parts]
        self._readings = {part.key: reading for part, reading in readings}
        self._batch = max(reading.batch(part.tensor.shape) for part, reading in readings)
        self._check(look)

    def _check(self, look: Look) -> None:
        if isinstance(self._layout, Mapping):
            keys = {part.key for part in self.parts} | {part.top for part in self.parts}
            strange = [repr(key) for key in self._layout if key not in keys]
            if strange:
                raise ValueError(f"layout has {', '.join(strange)}, which is no key of features")
        is_attention = any(reading.is_attention for reading in self._readings.values())
        if look.query is not None and not is_attention:
            raise ValueError(
                "query= is for attention of N×heads×L×L, and there is none in features"
            )
        lengths = {size for part in self.parts for size in part.tensor.shape}
        if look.tokens and len(look.tokens) not in lengths:
            raise ValueError(f"tokens has {len(look.tokens)} names, and no tensor as many tokens")

    def _reading(self, part: Part) -> Reading:
        tensor, shape = part.tensor, tuple(part.tensor.shape)
        layout = self._layout
        if isinstance(layout, Mapping):
            layout = layout.get(part.key, layout.get(part.top))
        given = reading_of_layout(layout, shape, part.key) if layout is not None else None
        found = self._reading_in_graph(part, shape)
        if given is not None:
            reading = found if found and found.axes == given.axes else self._folded(given, shape)
        elif found is not None:
            reading = found
        elif has_no_values(tensor):
            reading = Reading("?")
        else:
            reading = reading_of_shape(tensor, self._picture, is_text=self._is_text)
        return dataclasses.replace(reading, grid=()) if self._is_text else reading

    def _reading_in_graph(self, part: Part, shape: tuple[int, ...]) -> Reading | None:
        if self._axes is None:
            return None
        return self._axes.reading(self._nodes.get(part.top, part.top), shape, self._picture)

    def _folded(self, given: Reading, shape: tuple[int, ...]) -> Reading:
        if "L" not in given.axes or self._is_text:
            return given
        return fold(given.axes, shape[given.axes.rindex("L")], self._picture) or given

    def item(self, part: Part) -> Item:
        """The item of the batch, of a tensor that has values."""
        reading = self._readings[part.key]
        return item_of(part.tensor, reading, self.place(part, reading))

    def call(self, part: Part) -> str:
        """Which call of a module the tensor is of, in words, where that is a question."""
        if self._graph is None:
            return ""
        return self._graph.which_call(self._nodes.get(part.top, part.top))

    def place(self, part: Part, reading: Reading) -> int:
        """Which item of its batch is drawn of a tensor."""
        count = reading.batch(part.tensor.shape)
        if -count <= self._index < count:
            return self._index % count
        # What the whole batch shares, such as a position embedding, has one item.
        if count == 1 and -self._batch <= self._index < self._batch:
            return 0
        raise ValueError(f"index={self._index} is beyond the batch: {part.key!r} has {count}")


def has_no_values(tensor: torch.Tensor) -> bool:
    """Whether a tensor has a shape and no numbers: on the meta device, or fake."""
    return tensor.device.type == "meta" or hasattr(tensor, "fake_mode")


def _checked_index(index: Any) -> int:
    try:
        return operator.index(index)
    except TypeError:
        raise ValueError(f"index is {index!r}; give the number of an item of the batch") from None
