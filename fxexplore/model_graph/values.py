"""What values are like in a run: their ranges, and where NaN and Inf come from."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import nn

from fxexplore.feature_extraction import isolated, restores, tensors_in

from .graph import ModelGraph
from .nodes import Node
from .opening import Opening

# What writes Inf on purpose, as into a mask of attention.
_FILLING = {
    "empty", "full", "full_like", "masked_fill", "new_full", "tensor", "tril", "triu", "where",
}  # fmt: skip

_MOST_NAMES = 5  # in a sentence


@dataclasses.dataclass(frozen=True)
class ValueRange:
    """What the floating point numbers of a value are like.

    Attributes:
        least: the least of them, NaN aside.
        most: the greatest of them, NaN aside.
        count: how many there are.
        nan: how many are NaN.
        inf: how many are Inf or −Inf.

    Example:
        >>> ValueRange(-1.0, 2.5, 64).words
        '-1 … 2.5'
        >>> ValueRange(0.0, 0.0, 64, nan=3).mark
        '✗ NaN'
    """

    least: float
    most: float
    count: int
    nan: int = 0
    inf: int = 0

    @property
    def mark(self) -> str:
        """What is special, in short: ``"✗ NaN"``, ``"✗ Inf"``, ``"−Inf"``, ``"all 0"`` or ``""``.

        −Inf has no ✗: masks of attention are made of it.
        """
        if self.nan:
            return "✗ NaN"
        if self.inf:
            return "✗ Inf" if self.most == math.inf else "−Inf"
        return "all 0" if self.least == self.most == 0 else ""

    @property
    def words(self) -> str:
        """The range, and what is special."""
        parts = [] if self.nan == self.count else [f"{self.least:.3g} … {self.most:.3g}"]
        for number, what in ((self.nan, "NaN"), (self.inf, "Inf")):
            parts += [f"{number:,} of {self.count:,} are {what}"] if number else []
        return "all 0" if self.mark == "all 0" else ", ".join(parts)


def range_of(value: Any) -> ValueRange | None:
    """The range of the floating point tensors in a value; None if there is none with numbers.

    Example:
        >>> range_of((torch.tensor([1.0, float("nan"), 3.0]), "text"))
        ValueRange(least=1.0, most=3.0, count=3, nan=1, inf=0)
    """
    ranges = [_range(tensor.detach()) for tensor in tensors_in(value) if _has_numbers(tensor)]
    if not ranges:
        return None
    return ValueRange(
        min(found.least for found in ranges),
        max(found.most for found in ranges),
        *(sum(getattr(found, what) for found in ranges) for what in ("count", "nan", "inf")),
    )


def _has_numbers(tensor: torch.Tensor) -> bool:
    is_plain = tensor.layout is torch.strided and not tensor.is_quantized and not tensor.is_nested
    is_float = tensor.is_floating_point() or tensor.is_complex()
    return is_plain and is_float and tensor.numel() > 0 and tensor.device.type != "meta"


def _range(tensor: torch.Tensor) -> ValueRange:
    if tensor.is_complex():
        tensor = torch.view_as_real(tensor.resolve_conj())
    if tensor.element_size() == 1:
        tensor = tensor.float()  # 8 bits are for storage
    count, nan, inf = tensor.numel(), 0, 0
    least, most = (float(end) for end in torch.aminmax(tensor))
    if math.isnan(least):
        is_nan = tensor.isnan()
        nan = int(is_nan.sum())
        if nan < count:
            least, most = (float(end) for end in torch.aminmax(tensor[~is_nan]))
    if math.isinf(least) or math.isinf(most):
        inf = int(tensor.isinf().sum())
    return ValueRange(least, most, count, nan, inf)


@dataclasses.dataclass(frozen=True)
class ValueCheck:
    """The values of one run, up to the first that is not finite.

    Attributes:
        graph: the graph of the model.
        first: name of the first node, in order of execution, whose value has NaN or Inf that
            neither its inputs have nor a mask is made of; ``""`` if there is none.
        ranges: the range of the value of each node up to there, by name.
    """

    graph: ModelGraph
    first: str
    ranges: Mapping[str, ValueRange]

    @property
    def inputs(self) -> dict[str, ValueRange]:
        """The ranges of what the first one reads, by name; parameters and buffers aside."""
        node = self.graph[self.first] if self.first else None
        names = node.inputs if isinstance(node, Node) else ()
        return {name: self.ranges[name] for name in names if name in self.ranges}

    @property
    def dead(self) -> list[str]:
        """Names of the nodes that computed nothing but zeros."""
        kinds = {node.name: node.kind for node in self.graph.nodes}
        zero = [name for name, found in self.ranges.items() if found.mark == "all 0"]
        return [name for name in zero if kinds[name] in ("module", "operation")]

    @property
    def words(self) -> str:
        """What was found, in a sentence or two."""
        dead, rest = ", ".join(self.dead[:_MOST_NAMES]), len(self.dead) - _MOST_NAMES
        dead += f" and {rest:,} more" if rest > 0 else ""
        dead = dead and f" All zero: {dead}."
        if not self.first:
            return f"No NaN and no Inf in {len(self.ranges):,} values.{dead}"
        inputs = [f"{name} {found.words}" for name, found in self.inputs.items()]
        read = f" It reads {'; '.join(inputs)}." if inputs else ""
        found = self.ranges[self.first]
        return f"{found.mark} first in {self.first}: {found.words}.{read}{dead}"

    def __repr__(self) -> str:
        return self.words


class _FoundError(BaseException):
    """Ends a run. A BaseException, so that models, which catch Exceptions, cannot catch it."""


@torch.no_grad()
def checked_values(
    extractor: Any, graph: ModelGraph, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> ValueCheck:
    """Run a model once as far as the first value that is not finite, and keep no value.

    Args:
        extractor: the extractor of :func:`names_to_check`.
        graph: the graph of the model.
        args: positional arguments of its forward.
        kwargs: keyword arguments of it.
    """
    ranges: dict[str, ValueRange] = {}
    first = ""

    def look(name: str, value: Any) -> None:
        nonlocal first
        found = range_of(value)
        if found is None:
            return
        ranges[name] = found
        node = graph[name]
        if (found.nan or found.inf) and isinstance(node, Node) and not _is_meant(node, ranges):
            first = name
            raise _FoundError

    with contextlib.suppress(_FoundError):
        extractor.each_value(look, args, kwargs)
    return ValueCheck(graph, first, ranges)


def _is_meant(node: Node, ranges: Mapping[str, ValueRange]) -> bool:
    """Whether Inf was written on purpose, or passed on."""
    found, name = ranges[node.name], node.target.strip("_")
    if found.nan:
        return False
    if name in _FILLING or any(ranges[i].inf for i in node.inputs if i in ranges):
        return True
    adds_mask = node.kind in ("input", "parameter") or name in ("add", "iadd")
    return adds_mask and found.most < math.inf


def names_to_check(graph: ModelGraph) -> list[str]:
    """Names of the nodes whose values are looked at."""
    return [node.name for node in graph.nodes if node.kind != "size" and node.reached]


@restores
def check_values(
    model: nn.Module,
    example_inputs: Any = None,
    *,
    mode: Literal["eval", "train"] | None = None,
    backend: Literal["auto", "symbolic", "recorded"] = "auto",
    tracer_kwargs: Mapping[str, Any] | None = None,
    concrete_args: dict[str, Any] | None = None,
) -> ValueCheck:
    """Run a model once, and find the first node whose value has NaN or Inf.

    The values are looked at one by one, as they are computed, and none is kept.

    Args:
        model: the model, which is left as it is.
        example_inputs: what to run it on, as for :func:`fxexplore.open_model`.
        mode: the mode to run it in; by default eval.
        backend: as for :func:`fxexplore.open_model`.
        tracer_kwargs: as for :func:`fxexplore.open_model`.
        concrete_args: as for :func:`fxexplore.open_model`.

    Returns:
        The name of that node, the ranges of what it reads, and those of all values before it.
        Inf that is passed on, or that masks are made of, does not count.

    Raises:
        ValueError: if there are no inputs to run on.
        Exception: what the model raises.

    Example:
        >>> class Log(nn.Module):
        ...     def forward(self, x):
        ...         return x.sub(1).log().relu()
        >>> check_values(Log(), torch.tensor([0.5, 2.0]))
        ✗ NaN first in log: 0 … 0, 1 of 2 are NaN. It reads sub -0.5 … 1.
    """
    opening = Opening(
        model,
        example_inputs,
        mode=mode,
        backend=backend,
        tracer_kwargs=tracer_kwargs,
        concrete_args=concrete_args,
    )
    args, kwargs = opening.copied_arguments()
    extractor = opening.extractor(names_to_check(opening.graph))
    training = opening.graph.mode == "train"
    with isolated(extractor, (args, kwargs), training=training, as_twin=True) as twin:
        return checked_values(twin, opening.graph, args, kwargs)
