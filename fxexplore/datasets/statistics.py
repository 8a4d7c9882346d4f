"""What the values of a whole dataset are like, channel by channel, in one pass."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import nn
from typing_extensions import Unpack  # torch requires it

from fxexplore.feature_extraction import ReturnNodes
from fxexplore.model_graph import Reading

from .passes import Computed, Pass, RunOptions
from .reductions import tokens_that_count

By = Literal["channel", "token"]


@dataclasses.dataclass
class ChannelStatistics:
    """What the values of each channel of one node are like.

    Attributes:
        count: how many values a channel had.
        mean: their mean; float64, one number a channel, as the others are.
        squares: the sum of their squared distances from it.
        min: the least.
        max: the greatest.
        zero_count: how many were 0.
    """

    count: torch.Tensor
    mean: torch.Tensor
    squares: torch.Tensor
    min: torch.Tensor
    max: torch.Tensor
    zero_count: torch.Tensor

    @classmethod
    def of(cls, rows: torch.Tensor, counts: torch.Tensor | None = None) -> ChannelStatistics:
        """Those of values × channels.

        Args:
            rows: float64.
            counts: booleans of the same shape, which of them count; None for all.
        """
        kept = torch.ones_like(rows, dtype=torch.bool) if counts is None else counts
        count = kept.sum(0)
        mean = rows.masked_fill(~kept, 0).sum(0) / count
        return cls(
            count,
            mean,
            (rows - mean).masked_fill(~kept, 0).square().sum(0),
            rows.masked_fill(~kept, torch.inf).amin(0),
            rows.masked_fill(~kept, -torch.inf).amax(0),
            ((rows == 0) & kept).sum(0),
        )

    def merge(self, other: ChannelStatistics) -> ChannelStatistics:
        """Those of the values of both.

        From Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm for computing
        sample variances" (1979).

        Args:
            other: of other values of the same channels.

        Example:
            >>> x = torch.tensor([[1.0], [2.0], [6.0]], dtype=torch.float64)
            >>> both = ChannelStatistics.of(x[:1]).merge(ChannelStatistics.of(x[1:]))
            >>> round(both.mean.item(), 4), round(both.std.item() - x.std(correction=0).item(), 4)
            (3.0, 0.0)
        """
        count = self.count + other.count
        share = torch.where(count > 0, other.count / count, 0.0)
        step = torch.where(other.count > 0, other.mean - self.mean, 0.0)
        mean = torch.where(self.count > 0, self.mean + step * share, other.mean)
        across = torch.where(self.count > 0, step.square() * self.count * share, 0.0)
        return ChannelStatistics(
            count,
            mean,
            torch.where(self.count > 0, self.squares, 0)
            + torch.where(other.count > 0, other.squares, 0)
            + across,
            torch.minimum(self.min, other.min),
            torch.maximum(self.max, other.max),
            self.zero_count + other.zero_count,
        )

    @property
    def std(self) -> torch.Tensor:
        """The standard deviation of all values, as ``numpy.std`` gives it."""
        return (self.squares / self.count).sqrt()

    @property
    def zeros(self) -> torch.Tensor:
        """The share of values that were 0, from 0 to 1."""
        return self.zero_count / self.count

    @property
    def dead(self) -> torch.Tensor:
        """Whether a channel was 0 for every input."""
        return self.zero_count == self.count

    def __repr__(self) -> str:
        dead = int(self.dead.sum())
        return f"ChannelStatistics({len(self.mean)} channels, {dead} dead)"


class Statistics(dict[str, ChannelStatistics]):
    """The statistics of nodes, by key.

    Args:
        by_key: the statistics of each.
        samples: how many samples they are of.
        skipped: the samples that could not be read, with why.

    Attributes:
        samples: how many samples they are of.
        skipped: the samples that could not be read, with why.
    """

    _FIGURES = ("mean", "std", "min", "max", "zeros", "dead")

    def __init__(
        self, by_key: Mapping[str, ChannelStatistics], samples: int, skipped: Mapping[str, str]
    ) -> None:
        super().__init__(by_key)
        self.samples, self.skipped = samples, dict(skipped)

    def __repr__(self) -> str:
        parts = (f"{key}: {len(one.mean)} channels, {int(one.dead.sum())} dead"
                 for key, one in self.items())  # fmt: skip
        return f"Statistics({self.samples} samples; {'; '.join(parts)})"

    def merge(self, other: Statistics) -> Statistics:
        """The statistics of the samples of both, such as of two parts of a dataset.

        Args:
            other: of the same nodes.

        Raises:
            ValueError: if the keys differ.
        """
        if self.keys() != other.keys():
            raise ValueError(f"the keys differ: {list(self)} and {list(other)}")
        merged = {key: one.merge(other[key]) for key, one in self.items()}
        return Statistics(merged, self.samples + other.samples, self.skipped | other.skipped)

    def table(self) -> Any:
        """A ``pandas.DataFrame`` with a row for every channel.

        Raises:
            ImportError: if pandas is not installed.
        """
        import pandas as pd

        frames = {
            key: pd.DataFrame({name: getattr(one, name).numpy() for name in self._FIGURES})
            for key, one in self.items()
        }
        return pd.concat(frames, names=["key", "channel"])

    def plot(self) -> Any:
        """For each key mean and range of every channel, highest mean first, the dead ones marked.

        Returns:
            A ``matplotlib.figure.Figure``.
        """
        from matplotlib.figure import Figure

        figure = Figure(figsize=(8, 1.9 * len(self)), layout="constrained")
        rows = figure.subplots(len(self), squeeze=False)[:, 0]
        for axes, (key, one) in zip(rows, self.items(), strict=True):
            order = one.mean.argsort(descending=True)
            places = range(len(order))
            axes.fill_between(places, one.min[order], one.max[order], alpha=0.2, label="range")
            low, high = one.mean - one.std, one.mean + one.std
            axes.fill_between(places, low[order], high[order], alpha=0.4, label="deviation")
            axes.plot(places, one.mean[order], label="mean")
            dead = [place for place in places if one.dead[order[place]]]
            axes.plot(dead, [0.0] * len(dead), "x", color="crimson", label=f"{len(dead)} dead")
            axes.set_title(key.replace("$", r"\$"), loc="left", fontsize=9)
            axes.legend(fontsize=7, ncols=4, loc="upper right")
        rows[-1].set_xlabel("channels by mean")
        return figure


def dataset_statistics(
    model: nn.Module,
    return_nodes: ReturnNodes | None,
    dataset: Any,
    *,
    by: By = "channel",
    **options: Unpack[RunOptions],
) -> Statistics:
    """Mean, deviation, range, zeros and dead channels of nodes over a whole dataset.

    Nothing is stored: the pass keeps a few numbers for every channel. Where the model is given an
    ``attention_mask``, padding does not count.

    Args:
        model: the model, which is left as it is; or an extractor that was made before.
        return_nodes: as for :func:`fxexplore.create_feature_extractor`; None for an extractor.
        dataset: as for :func:`extract_dataset`.
        by: ``"channel"`` for a figure for every channel, or head of an attention; ``"token"`` for
            every position of a token.
        options: as for :func:`extract_dataset`.

    Returns:
        By key an object with ``mean``, ``std``, ``min``, ``max``, ``zeros`` and ``dead``: tensors
        of one number a channel, in float64.

    Raises:
        ValueError: if a node is unknown, a sample cannot be read, or a value has no channels.
        TypeError: if an argument is of the wrong kind.
        torch.fx.proxy.TraceError: if the model cannot be opened.

    Example:
        >>> model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU())
        >>> pictures = [torch.rand(1, 8, 8) for _ in range(6)]
        >>> found = dataset_statistics(model, ["1"], pictures, progress=False)
        >>> found.samples, found["1"].mean.shape, bool((found["1"].min >= 0).all())
        (6, torch.Size([4]), True)
    """
    if by not in ("channel", "token"):
        raise ValueError(f"by is {by!r}; write 'channel' or 'token'")
    ready = Pass(model, return_nodes, dataset, None, options)
    found: dict[str, ChannelStatistics] = {}
    samples = 0
    skipped: dict[str, str] = {}

    def take(computed: Computed) -> None:
        nonlocal samples
        samples += len(computed.batch.ids)
        skipped.update(computed.batch.skipped)
        for key, value in computed.values.items():  # noqa: PD011  # no frame of pandas
            rows, counts = by_channel(value, computed.readings[key], computed.batch.mask, key, by)
            # Deviations are sums over very many values.
            one = ChannelStatistics.of(rows.flatten(0, -2).double().cpu(), _flat(counts))
            found[key] = found[key].merge(one) if key in found else one

    ready.run(take)
    return Statistics(found, samples, skipped)


def _flat(counts: torch.Tensor | None) -> torch.Tensor | None:
    return None if counts is None else counts.flatten(0, -2).cpu()


def by_channel(
    value: torch.Tensor, reading: Reading, mask: torch.Tensor | None, key: str, by: By = "channel"
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """A value as batch × places × channels, and which numbers are no padding.

    Args:
        value: batch × any.
        reading: what its axes are.
        mask: batch × tokens, which count; None for all.
        key: of the value, for the error.
        by: what the last axis is to be.

    Raises:
        ValueError: if it has no such axis.
    """
    letter = "L" if by == "token" else "H" if reading.is_attention else "C"
    axes = reading.axes if "?" not in reading.axes else "NC" if value.dim() == 2 else ""  # noqa: PLR2004
    if "N" not in axes or letter not in axes:
        raise ValueError(
            f"{key!r} has no axis of {by}s that is known: its "
            f"shape is {tuple(value.shape)}, read as {reading.axes}; name another node"
        )
    counts = tokens_that_count(value, reading, mask)
    ends = (axes.index("N"), axes.rindex(letter))
    return _between(value, ends), None if counts is None else _between(
        counts.expand(value.shape), ends
    )


def _between(value: torch.Tensor, ends: tuple[int, int]) -> torch.Tensor:
    moved = value.movedim(ends, (0, -1))
    return moved.reshape(len(moved), -1, moved.shape[-1])
