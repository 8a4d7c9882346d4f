"""One pass of a model over a dataset: what everything else in this room is made of."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, NamedTuple, TypedDict

import torch
from torch import nn
from torch.utils._pytree import tree_map_only

from fxexplore.feature_extraction import (
    GraphFeatureExtractor,
    RecordedFeatureExtractor,
    ReturnNodes,
    isolated,
    keys_by_mode,
    kind_of,
    restores,
)
from fxexplore.model_graph import ModelGraph, Opening, Reading, axes_of, reading_of_shape

from .loading import Batch, Batches
from .reductions import Reduction, reduced, reductions_by_key

Progress = Callable[[int, int | None], None]


class RunOptions(TypedDict, total=False):
    """How a model is run over a dataset, the same for every function of this room."""

    batch_size: int
    """How many samples go together, 32 by default; a DataLoader has its own."""
    num_workers: int
    """How many processes read samples, 0 by default; a DataLoader has its own."""
    device: torch.device | str | None
    """Where to run; by default where the model is. On another device a copy of it runs."""
    autocast: torch.dtype | None
    """The dtype of ``torch.autocast``; by default the model runs in its own."""
    transform: Callable[[Any], Any] | None
    """Turns an element's input into the argument of forward, a picture for instance; by default
    pictures are prepared as suits the model."""
    on_error: Literal["raise", "skip"]
    """Whether a sample that cannot be read is an error, the default, or left out."""
    example_inputs: Any
    """What the model is opened with; by default the first samples."""
    mode: Literal["eval", "train"]
    """The mode to run it in, eval by default."""
    backend: Literal["auto", "symbolic", "recorded"]
    """As for :func:`fxexplore.create_feature_extractor`."""
    progress: bool | Progress
    """Whether to show a bar, the default; or a function of the number of samples that are done and
    of all, None if that is not known."""


class Computed(NamedTuple):
    """What a model computed from one batch.

    Attributes:
        batch: the batch, on the model's device.
        values: tensors of batch × any, by key.
        readings: what the axes of each are, before it was reduced.
    """

    batch: Batch
    values: dict[str, torch.Tensor]
    readings: dict[str, Reading]


class Pass:
    """A model that is ready to run over a dataset.

    Args:
        model: the model, which is left as it is; or an extractor that was made before.
        return_nodes: as for :func:`fxexplore.create_feature_extractor`; None for an extractor.
        dataset: as for :class:`.loading.Batches`.
        reduce: what is kept of each value, as for :func:`.reductions.reductions_by_key`.
        options: how to run it.

    Attributes:
        batches: the dataset as batches.
        keys: the names of the nodes with the keys of their values.
        graph: the model's graph; None for an extractor that was made before.
        model: the model that runs.
        mode: the mode that it runs in.
        device: where it runs.
        autocast: the dtype of ``torch.autocast``; None without it.

    Raises:
        TypeError: if an option is unknown, or an argument of the wrong kind.
        ValueError: if a node or key is unknown, or the dataset has no sample.
        torch.fx.proxy.TraceError: if the model cannot be opened.
    """

    def __init__(
        self,
        model: nn.Module,
        return_nodes: ReturnNodes | None,
        dataset: Any,
        reduce: Reduction | Mapping[str, Reduction] = None,
        options: RunOptions | None = None,
    ) -> None:
        options = options or {}
        known = RunOptions.__annotations__
        strange = sorted(options.keys() - known.keys())
        if strange:
            raise TypeError(f"there is no option {strange[0]!r}; write one of {', '.join(known)}")
        if not isinstance(model, nn.Module):
            raise TypeError(f"model is {kind_of(model)}; give an nn.Module")
        self.autocast = options.get("autocast")
        self._progress = options.get("progress", True)
        self.mode = options.get("mode", "eval")
        self.device = _device_of(model)
        wanted = options.get("device")
        if wanted is not None and torch.device(wanted) != self.device:
            self.device = torch.device(wanted)
            model = copy.deepcopy(model).to(self.device)
        self.model = model
        self.batches = Batches(
            dataset,
            model,
            batch_size=options.get("batch_size", 32),
            num_workers=options.get("num_workers", 0),
            transform=options.get("transform"),
            on_error=options.get("on_error", "raise"),
            pinned=self.device.type == "cuda",
        )
        self.graph: ModelGraph | None = None
        if isinstance(model, (GraphFeatureExtractor, RecordedFeatureExtractor)):
            if return_nodes is not None:
                raise ValueError("return_nodes are those of the extractor; write None")
            self._extractor: nn.Module = model
            self.keys: dict[str, str] = {}
        else:
            self.keys, _ = keys_by_mode(return_nodes, None, None)
            self._open(options)
        self._reduce = reduce
        self._ways: dict[str, Reduction] = {}
        if self.keys:
            self._ways = reductions_by_key(reduce, list(self.keys.values()))
        self._shapes: dict[str, tuple[tuple[int, ...], str]] = {}

    def _open(self, options: RunOptions) -> None:
        inputs = options.get("example_inputs")
        if inputs is None:
            # Batch norm in train mode needs two.
            first = self.batches.first(2 if self.mode == "train" else 1)
            inputs = self._on_device((first.args, dict(first.kwargs)))
        opening = Opening(
            self.model, inputs, mode=self.mode, backend=options.get("backend", "auto")
        )
        self._extractor = opening.extractor(self.keys)
        self.graph = opening.annotated()

    @restores
    def run(self, take: Callable[[Computed], object], skipped: int = 0, done: int = 0) -> None:
        """Run the model over the batches, without gradients.

        Args:
            take: is given what the model computed from each batch.
            skipped: how many batches to leave out at the beginning.
            done: how many samples those had, for the bar.

        Raises:
            ValueError: if a value cannot be told apart by samples, with what to write instead.
        """
        autocast: contextlib.AbstractContextManager[Any] = contextlib.nullcontext()
        if self.autocast is not None:
            autocast = torch.autocast(self.device.type, self.autocast)
        training = self.mode == "train"
        with (
            _shown(self._progress, self.batches.count, done) as show,
            # Other threads may run the model meanwhile; a pass takes long.
            isolated(self._extractor, (), training=training, as_twin=True) as extractor,
        ):
            for batch in self.batches.read(skipped):
                done += len(batch.ids) + len(batch.skipped)
                args, kwargs = self._on_device((batch.args, dict(batch.kwargs)))
                placed = batch._replace(args=args, kwargs=kwargs)
                computed = Computed(placed, {}, {})
                if batch.ids:
                    with torch.no_grad(), autocast:
                        computed = self._computed(placed, _values(extractor, placed))
                take(computed)
                show(done)

    def _computed(self, batch: Batch, values: Mapping[str, Any]) -> Computed:
        if not self._ways:
            self._ways = reductions_by_key(self._reduce, list(values))
        kept: dict[str, torch.Tensor] = {}
        readings: dict[str, Reading] = {}
        names = {key: name for name, key in self.keys.items()}
        for key, value in values.items():
            if not isinstance(value, torch.Tensor):
                raise ValueError(  # noqa: TRY004  # of the request
                    f"{key!r} is {kind_of(value)}; name a node inside that is one tensor"
                )
            readings[key] = self._reading(names.get(key, key), value)
            result = reduced(value, self._ways[key], readings[key], batch.mask, key)
            self._check(key, result, batch)
            kept[key] = result
        return Computed(batch, kept, readings)

    def _reading(self, name: str, value: torch.Tensor) -> Reading:
        found = None
        if self.graph is not None:
            found = axes_of(self.graph).reading(name, tuple(value.shape))
        return found or reading_of_shape(value)

    def _check(self, key: str, value: torch.Tensor, batch: Batch) -> None:
        """Whether a value has a row for every sample, all of one shape."""
        count = len(batch.ids)
        if not value.dim() or len(value) != count:
            raise ValueError(
                f"{key!r} has the shape {tuple(value.shape)} for {count} samples, and its first "
                f"axis has to be the samples; give a function as reduce that makes it so"
            )
        shape = tuple(value.shape[1:])
        before, sample = self._shapes.setdefault(key, (shape, batch.ids[0]))
        if shape != before:
            raise ValueError(
                f"{key!r} has another shape for other samples: {before} for sample {sample}, "
                f"{shape} for sample {batch.ids[0]}; write reduce='mean', or give a function"
            )

    def _on_device(self, values: Any) -> Any:
        return tree_map_only(
            torch.Tensor, lambda tensor: tensor.to(self.device, non_blocking=True), values
        )


def _values(extractor: nn.Module, batch: Batch) -> Mapping[str, Any]:
    try:
        values: Mapping[str, Any] = extractor(*batch.args, **batch.kwargs)
    except ValueError as problem:
        if "more than 1 value per channel" not in str(problem):
            raise
        raise ValueError(
            f"sample {batch.ids[0]} is alone in its batch, and batch norm in train mode needs more "
            f"than one; write another batch_size"
        ) from problem
    return values


def _device_of(model: nn.Module) -> torch.device:
    tensor = next((t for held in (model.parameters(), model.buffers()) for t in held), None)
    return torch.device("cpu") if tensor is None else tensor.device


@contextlib.contextmanager
def _shown(
    progress: bool | Progress, count: int | None, done: int
) -> Iterator[Callable[[int], Any]]:
    """Show how far it is: as a bar, or to a function."""
    if callable(progress):
        yield lambda now: progress(now, count)
        return
    from tqdm.auto import tqdm

    with tqdm(total=count, initial=done, unit="sample", disable=not progress) as bar:
        yield lambda now: bar.update(now - bar.n)
