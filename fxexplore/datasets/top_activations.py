"""Which inputs of a dataset drive a channel most."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import torch
from torch import nn
from typing_extensions import Unpack  # torch requires it

from fxexplore.feature_extraction import ReturnNodes
from fxexplore.inputs import as_seen

from .loading import Batches
from .passes import Computed, Pass, RunOptions
from .statistics import by_channel

Of = Literal["max", "mean"] | Callable[[torch.Tensor], torch.Tensor]
_PICTURE = 3  # dimensions of one picture


class Top(NamedTuple):
    """The inputs that drive the channels of one node most, highest first.

    Attributes:
        values: how much; channels × k.
        samples: which, by their numbers in the dataset; channels × k.
        positions: where their maximum is, an index for every axis of a place; channels × k × axes.
        places: the size of each of these axes.
    """

    values: torch.Tensor
    samples: torch.Tensor
    positions: torch.Tensor
    places: tuple[int, ...]


class TopActivations(dict[str, Top]):
    """The inputs that drive channels most, by key.

    Args:
        by_key: those of each key.
        ids: path or number of the samples that occur, by number.
        batches: where the inputs come from, to be shown.

    Attributes:
        ids: path or number of the samples that occur, by number.
    """

    def __init__(self, by_key: Mapping[str, Top], ids: Mapping[int, str], batches: Batches) -> None:
        super().__init__(by_key)
        self.ids, self._batches = dict(ids), batches

    def __repr__(self) -> str:
        parts = (f"{key}: {len(top.values)} channels" for key, top in self.items())
        k = next((top.values.shape[1] for top in self.values()), 0)
        return f"TopActivations(k={k}; {'; '.join(parts)})"

    def plot(
        self,
        key: str,
        channels: Sequence[int] = range(4),
        tokens: Callable[[list[int]], Sequence[str]] | None = None,
    ) -> Any:
        """The inputs that drive some channels most, with the place of the maximum marked.

        Pictures have a frame around the place, as large as what one place of the map covers (which
        is less than its receptive field); texts have the word in its context.

        Args:
            key: whose channels.
            channels: which ones.
            tokens: turns token ids into words, such as ``tokenizer.convert_ids_to_tokens``.

        Returns:
            A ``matplotlib.figure.Figure``.

        Raises:
            ValueError: if a channel does not exist, or the inputs are neither pictures nor texts.
        """
        from matplotlib.figure import Figure

        top = self[key]
        for channel in channels:
            if not 0 <= channel < len(top.values):
                raise ValueError(f"channel {channel} is not there: {key!r} has {len(top.values)}")
        k = top.values.shape[1]
        figure = Figure(figsize=(1.3 * k + 0.6, 1.5 * len(channels)), layout="constrained")
        grid = figure.subplots(len(channels), k, squeeze=False)
        for row, channel in zip(grid, channels, strict=True):
            for place, axes in enumerate(row):
                axes.set_xticks([])
                axes.set_yticks([])
                sample = int(top.samples[channel, place])
                value = self._batches.sample(sample)
                _draw(axes, value, top.positions[channel, place].tolist(), top.places, tokens)
                words = f"{self.ids[sample][-14:]}: {top.values[channel, place]:.3g}"
                axes.set_xlabel(words.replace("$", ""), fontsize=6)
            row[0].set_ylabel(f"channel {channel}", fontsize=8)
        return figure


def _draw(
    axes: Any,
    value: torch.Tensor,
    position: list[int],
    places: tuple[int, ...],
    tokens: Callable[[list[int]], Sequence[str]] | None,
) -> None:
    if value.dim() == _PICTURE and len(value) in (1, 3):
        from matplotlib.patches import Rectangle

        axes.imshow(as_seen(value).permute(1, 2, 0).numpy())
        if len(position) == 2:  # noqa: PLR2004
            sizes = [side / count for side, count in zip(value.shape[1:], places, strict=True)]
            corner = [index * size - 0.5 for index, size in zip(position, sizes, strict=True)]
            frame = Rectangle(
                (corner[1], corner[0]), sizes[1], sizes[0], fill=False, color="crimson"
            )
            axes.add_patch(frame)
    elif value.dim() == 1 and not value.is_floating_point() and len(position) == 1:
        around = range(max(0, position[0] - 3), min(len(value), position[0] + 4))
        ids = [int(value[i]) for i in around]
        words = list(map(str, ids)) if tokens is None else list(tokens(ids))
        words[position[0] - around.start] = f"[{words[position[0] - around.start]}]"
        text = " ".join(words).replace("$", "")
        axes.text(0.5, 0.5, text, ha="center", va="center", fontsize=7, wrap=True)
    else:
        raise ValueError(
            f"inputs of shape {tuple(value.shape)} are neither pictures nor token ids; draw them "
            f"by their numbers, which are in samples"
        )


def top_activations(
    model: nn.Module,
    return_nodes: ReturnNodes | None,
    dataset: Any,
    *,
    k: int = 9,
    of: Of = "max",
    **options: Unpack[RunOptions],
) -> TopActivations:
    """Find for every channel the inputs of a dataset that drive it most, in one pass.

    Nothing is stored: the pass keeps ``k`` numbers for every channel. Of equal inputs the first
    one counts, whatever the size of a batch.

    Args:
        model: the model, which is left as it is; or an extractor that was made before.
        return_nodes: as for :func:`fxexplore.create_feature_extractor`; None for an extractor.
        dataset: as for :func:`extract_dataset`.
        k: how many inputs for each channel.
        of: what an input is judged by: the greatest value of the channel over space, time or
            tokens, the ``"mean"`` of them, or a function from batch × places × channels to
            batch × channels. Padding does not count, where the model is given an
            ``attention_mask``.
        options: as for :func:`extract_dataset`.

    Returns:
        By key ``values``, ``samples`` and ``positions``: tensors of channels × k, highest first.
        Its ``plot`` shows the inputs.

    Raises:
        ValueError: if a node is unknown, a sample cannot be read, or a value has no channels.
        TypeError: if an argument is of the wrong kind.
        torch.fx.proxy.TraceError: if the model cannot be opened.

    Example:
        >>> model = nn.Sequential(nn.Flatten(), nn.Linear(4, 4))
        >>> _ = nn.init.eye_(model[1].weight), nn.init.zeros_(model[1].bias)
        >>> inputs = list(torch.eye(4).reshape(4, 1, 2, 2))
        >>> top = top_activations(model, ["1"], inputs, k=1, progress=False)
        >>> top["1"].samples.flatten().tolist()
        [0, 1, 2, 3]
    """
    if isinstance(k, bool) or not isinstance(k, int) or k < 1:
        raise ValueError(f"k is {k!r}; write how many inputs to keep for each channel")
    if not callable(of) and of not in ("max", "mean"):
        raise ValueError(f"of is {of!r}; write 'max', 'mean' or a function")
    ready = Pass(model, return_nodes, dataset, None, options)
    best: dict[str, Top] = {}
    ids: dict[int, str] = {}

    def take(computed: Computed) -> None:
        numbers = torch.tensor(computed.batch.numbers, dtype=torch.long)
        for key, value in computed.values.items():
            reading = computed.readings[key]
            rows, counts = by_channel(value, reading, computed.batch.mask, key)
            new = _judged(rows, counts, of, numbers)
            letter = "H" if reading.is_attention else "C"
            places = tuple(
                size
                for axis, size in zip(reading.axes, value.shape, strict=True)
                if axis not in ("N", letter)
            )
            best[key] = _merged(best.get(key), new._replace(places=places), k)
        ids.update(zip(computed.batch.numbers, computed.batch.ids, strict=True))
        used = {s for top in best.values() for s in top.samples.flatten().tolist()}
        for number in ids.keys() - used:
            del ids[number]

    ready.run(take)
    found = {key: top._replace(positions=_unravelled(top)) for key, top in best.items()}
    return TopActivations(found, ids, ready.batches)


def _judged(rows: torch.Tensor, counts: torch.Tensor | None, of: Of, numbers: torch.Tensor) -> Top:
    """Every sample of a batch, channel by channel."""
    rows = rows.float().nan_to_num(-torch.inf, torch.inf, -torch.inf)
    held = rows if counts is None else rows.masked_fill(~counts, -torch.inf)
    values, positions = held.max(1)
    if of == "mean":
        many = rows.shape[1] if counts is None else counts.sum(1)
        values = (rows if counts is None else rows.masked_fill(~counts, 0)).sum(1) / many
    elif callable(of):
        values = of(rows)
        if values.shape != positions.shape:
            raise ValueError(
                f"of gave {tuple(values.shape)} for batch × places × channels "
                f"{tuple(rows.shape)}; it has to give {tuple(positions.shape)}"
            )
    samples = numbers.expand(values.shape[1], -1)
    return Top(values.T.cpu(), samples, positions.T.cpu(), ())


def _merged(best: Top | None, new: Top, k: int) -> Top:
    if best is not None:
        if best.places != new.places:
            raise ValueError(
                f"maps of other samples have other sizes: {best.places} and {new.places}; give all "
                f"inputs one size"
            )
        values, samples, positions = (
            torch.cat(parts, 1) for parts in zip(best[:3], new[:3], strict=True)
        )
        new = Top(values, samples, positions, new.places)
    # A stable sort keeps the first of equals first.
    values, order = new.values.sort(dim=1, descending=True, stable=True)
    order = order[:, :k]
    samples, positions = new.samples.gather(1, order), new.positions.gather(1, order)
    return Top(values[:, :k], samples, positions, new.places)


def _unravelled(top: Top) -> torch.Tensor:
    if not top.places or math.prod(top.places) == 1:
        return torch.zeros((*top.positions.shape, len(top.places)), dtype=torch.long)
    return torch.stack(torch.unravel_index(top.positions, top.places), dim=-1)
