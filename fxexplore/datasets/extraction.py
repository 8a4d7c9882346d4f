"""``extract_dataset``: the values of some nodes for a whole dataset, in a store."""

from __future__ import annotations

import importlib.metadata
import itertools
import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import torch
from torch import nn
from typing_extensions import Unpack  # torch requires it

from fxexplore.feature_extraction import ReturnNodes

from .passes import Computed, Pass, RunOptions
from .reductions import Reduction
from .store import FeatureStore, Writer, checked_keys, hash_of

_BYTES = 32 * 2**20  # that are kept before they are written
_SECONDS = 20.0  # after which what there is is written
_PACKAGES = ("fxexplore", "torch", "torchvision", "zarr")


def extract_dataset(
    model: nn.Module,
    return_nodes: ReturnNodes | None,
    dataset: Any,
    out: Any,
    *,
    reduce: Reduction | Mapping[str, Reduction] = None,
    dtype: str | None = None,
    overwrite: bool = False,
    **options: Unpack[RunOptions],
) -> FeatureStore:
    """Run a model over a dataset, and store the values of some nodes.

    Rows are written while the next ones are computed. When the run is stopped or killed, the same
    call goes on where it was, and gives the same numbers as if it had not been. In memory there
    are at most three batches of values and 64 MB of rows, whatever the number of samples.

    Args:
        model: the model, which is left as it is; or an extractor that was made before.
        return_nodes: names of nodes or modules, or a dict from name to key, as for
            :func:`fxexplore.create_feature_extractor`; None for an extractor.
        dataset: a map-style or iterable Dataset, a DataLoader that does not shuffle, a
            ``datasets.Dataset``, a folder of pictures, or a list of paths. Its elements are an
            input, ``(input, label)``, or a dict of keyword arguments with a ``label``.
        out: a folder, or any URL that Zarr takes.
        reduce: what to keep of each value: all of it by default; ``"mean"`` or ``"max"`` over
            space, time or tokens (without padding, where the model is given an
            ``attention_mask``); ``"cls"`` for the first token; a function from batch × value to
            batch × less; or a dict of these by key.
        dtype: of what is stored, such as ``"float16"``; by default that of the values, and
            float32 for bfloat16, which numpy does not have.
        overwrite: drop what is in ``out``.
        options: how to run it: ``batch_size=32``, ``num_workers=0``, ``device``, ``autocast``,
            ``transform``, ``on_error="raise"`` or ``"skip"``, ``example_inputs``, ``mode="eval"``,
            ``backend="auto"`` and ``progress=True``. :class:`.passes.RunOptions` describes them.

    Returns:
        The store: a mapping from key to an array of samples × value.

    Raises:
        ValueError: if a node is unknown, a sample cannot be read, values of samples differ in
            shape, or ``out`` holds something else.
        TypeError: if an argument is of the wrong kind.
        ImportError: if zarr is not installed.
        torch.fx.proxy.TraceError: if the model cannot be opened.

    Example:
        >>> import tempfile
        >>> model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU())
        >>> pictures = [(torch.rand(1, 8, 8), i) for i in range(6)]
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     store = extract_dataset(model, ["1"], pictures, folder, reduce="mean",
        ...                             progress=False)
        ...     store, store["1"].shape
        (FeatureStore(6 samples: 1), (6, 4))
    """
    target = None if dtype is None else _dtype(dtype)
    ready = Pass(model, return_nodes, dataset, reduce, options)
    checked_keys(list(ready.keys.values()))
    writer = Writer(out, _manifest(ready, reduce, dtype), overwrite=overwrite)
    try:
        if writer.group.attrs["complete"]:
            return FeatureStore(writer.group)
        _write_all(ready, writer, target)
        return writer.finish()
    finally:
        writer.close()


def _write_all(ready: Pass, writer: Writer, dtype: torch.dtype | None) -> None:
    """Compute here, write in a thread beside it."""
    done = writer.samples + len(writer.group.attrs["skipped"])
    rows = _Rows(dtype)
    written: Future[None] | None = None

    def take(computed: Computed) -> None:
        nonlocal written
        rows.add(computed)
        if rows.bytes >= _BYTES or time.monotonic() - rows.began > _SECONDS:
            if written is not None:
                written.result()
            written = thread.submit(writer.write, *rows.taken())

    with ThreadPoolExecutor(1) as thread:
        try:
            ready.run(take, writer.batches, done)
        except BaseException as problem:
            # What is there is written, so that the next call goes on from there.
            if written is not None:
                written.result()
            if not isinstance(problem, OSError):
                writer.write(*rows.taken())
            if isinstance(problem, KeyboardInterrupt):
                count = "" if ready.batches.count is None else f" of {ready.batches.count}"
                raise KeyboardInterrupt(
                    f"{writer.samples}{count} samples are stored; the same call goes on from there"
                ) from problem
            raise
        if written is not None:
            written.result()
        writer.write(*rows.taken())


class _Rows:
    """What is computed and not yet written."""

    def __init__(self, dtype: torch.dtype | None) -> None:
        self._dtype = dtype
        self._start()

    def _start(self) -> None:
        self.bytes, self.began = 0, time.monotonic()
        self._values: dict[str, list[torch.Tensor]] = {}
        self._ids: list[str] = []
        self._labels: list[Any] = []
        self._skipped: dict[str, str] = {}
        self._batches = 0

    def add(self, computed: Computed) -> None:
        """Keep what a batch gave."""
        for key, value in computed.values.items():
            kept = value
            if self._dtype is not None and value.is_floating_point():
                kept = value.to(self._dtype)
            if kept.dtype == torch.bfloat16:
                kept = kept.float()
            # A copy on the CPU: the value may be a view of more.
            kept = kept.cpu() if kept.device.type != "cpu" else kept.clone()
            self._values.setdefault(key, []).append(kept)
            self.bytes += kept.nbytes
        labels = computed.batch.labels
        if labels is not None:
            self._labels.append(labels)
        self._ids += computed.batch.ids
        self._skipped.update(computed.batch.skipped)
        self._batches += 1

    def taken(self) -> tuple[Any, ...]:
        """What there is, for :meth:`Writer.write`; afterwards there is nothing."""
        values = {key: torch.cat(parts).numpy() for key, parts in self._values.items()}
        labels: Any = None
        if self._labels:
            is_text = isinstance(self._labels[0], list)
            labels = [*itertools.chain.from_iterable(self._labels)]
            if not is_text:
                labels = torch.cat(self._labels).cpu().numpy()
        taken = (values, self._ids, labels, self._batches, self._skipped)
        self._start()
        return taken


def _dtype(name: Any) -> torch.dtype:
    found = getattr(torch, name, None) if isinstance(name, str) else None
    if not isinstance(found, torch.dtype) or not found.is_floating_point or found.itemsize == 1:
        raise ValueError(f"dtype is {name!r}; write 'float16', 'float32' or 'float64'")
    return found


def _manifest(
    ready: Pass, reduce: Reduction | Mapping[str, Reduction], dtype: str | None
) -> dict[str, Any]:
    """What a store is of."""
    ways = dict(reduce) if isinstance(reduce, Mapping) else reduce
    names = {
        key: getattr(way, "__qualname__", type(way).__name__) if callable(way) else way
        for key, way in (ways if isinstance(ways, dict) else {"*": ways}).items()
    }
    kind = type(ready.model)
    return {
        "model": f"{kind.__module__}.{kind.__qualname__}",
        "parameters": hash_of(ready.model),
        "return_nodes": ready.keys,
        "reduce": names,
        "mode": ready.mode,
        "dtype": dtype,
        "autocast": str(ready.autocast) if ready.autocast else None,
        "batch_size": ready.batches.batch_size,
        "preprocessing": ready.batches.preprocessing,
        "data": ready.batches.fingerprint(),
        "versions": {name: _version(name) for name in _PACKAGES},
    }


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "unknown"
