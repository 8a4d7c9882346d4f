"""Features on disk: a Zarr group that any library opens, and that a killed run goes on with."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils import data

from fxexplore.feature_extraction import state_tensors

MANIFEST = "fxexplore"  # the attribute of the group that says what is in it
_LARGEST_CHUNK = 8 * 2**20  # bytes
_IDS_IN_CHUNK = 16_384
_BESIDE = ("ids", "labels")


def zarr() -> Any:
    """Zarr, which only stores need.

    Raises:
        ImportError: if it is not installed, with what to install.
    """
    try:
        return importlib.import_module("zarr")
    except ImportError as problem:
        raise ImportError(
            'features are stored by zarr; install it: pip install "fxexplore[datasets]"'
        ) from problem


class FeatureStore(Mapping[str, Any]):
    """The features of a dataset, read from disk as they are asked for.

    A mapping from key to an array of samples × value that is sliced like one of numpy.

    Args:
        group: the Zarr group.

    Attributes:
        group: the Zarr group.
        manifest: what is in it: model, nodes, reductions, preprocessing, data, versions.

    Example:
        >>> import tempfile
        >>> from fxexplore import extract_dataset
        >>> inputs = [(torch.full((3,), float(i)), i % 2) for i in range(10)]
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     model = nn.Sequential(nn.ReLU(), nn.Identity())
        ...     store = extract_dataset(model, {"0": "act"}, inputs, folder, progress=False)
        ...     store["act"][2:4].tolist(), store.labels[:4].tolist(), store.ids[:2]
        ([[2.0, 2.0, 2.0], [3.0, 3.0, 3.0]], [0, 1, 0, 1], ['0', '1'])
    """

    def __init__(self, group: Any) -> None:
        self.group = group
        self.manifest: dict[str, Any] = dict(group.attrs[MANIFEST])

    def __getitem__(self, key: str) -> Any:
        if key not in self.manifest["keys"]:
            raise KeyError(f"{key!r} is not stored; there are {', '.join(self.manifest['keys'])}")
        return self.group[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.manifest["keys"])

    def __len__(self) -> int:
        return len(self.manifest["keys"])

    def __repr__(self) -> str:
        keys = ", ".join(self) or "nothing yet"
        left = "" if self.is_complete else ", not complete"
        return f"FeatureStore({self.samples} samples{left}: {keys})"

    @property
    def samples(self) -> int:
        """How many samples are stored."""
        return int(self.group.attrs["samples"])

    @property
    def is_complete(self) -> bool:
        """Whether the run came to its end."""
        return bool(self.group.attrs["complete"])

    @property
    def ids(self) -> list[str]:
        """The path or number of every sample."""
        return [str(name) for name in self.group["ids"][: self.samples]]

    @property
    def labels(self) -> Any:
        """The label of every sample, as an array; None if they have none."""
        return self.group["labels"][: self.samples] if "labels" in self.group else None

    @property
    def skipped(self) -> dict[str, str]:
        """The samples that could not be read, with why."""
        return dict(self.group.attrs["skipped"])

    def numpy(self, key: str) -> Any:
        """All features of a key in memory, as an array of samples × value.

        Args:
            key: the key.
        """
        return self[key][: self.samples]

    def dataset(self, key: str) -> data.Dataset[Any]:
        """The features of a key with their labels, as a Dataset for a DataLoader.

        Args:
            key: the key.

        Returns:
            A map-style dataset of (features, label), or of features if there are no labels.
        """
        return _StoredFeatures(self, key)


class _StoredFeatures(data.Dataset[Any]):
    def __init__(self, store: FeatureStore, key: str) -> None:
        self._array, self._labels, self._count = store[key], store.labels, store.samples

    def __len__(self) -> int:
        return self._count

    def __getitems__(self, indices: Sequence[int]) -> list[Any]:
        rows = torch.from_numpy(self._array.oindex[list(indices)])
        if self._labels is None:
            return list(rows)
        return list(zip(rows, self._labels[list(indices)].tolist(), strict=True))

    def __getitem__(self, index: int) -> Any:
        return self.__getitems__([index])[0]


def open_features(path: Any) -> FeatureStore:
    """Open what :func:`extract_dataset` wrote.

    Args:
        path: a folder, or any URL that Zarr takes.

    Returns:
        The features by key, which are read as they are asked for. Of a run that did not come to
        its end those that are there; a warning says so.

    Raises:
        ValueError: if there is no such store.
        ImportError: if zarr is not installed.
    """
    group = _group(path, "r")
    if group is None or MANIFEST not in group.attrs:
        raise ValueError(f"there are no features in {str(path)!r}")
    store = FeatureStore(group)
    if not store.is_complete:
        warnings.warn(
            f"the run that wrote {str(path)!r} did not come to its end: it has {store.samples} "
            f"samples; make the same call of extract_dataset again to go on",
            stacklevel=2,
        )
    return store


def _group(path: Any, mode: str) -> Any:
    library = zarr()
    try:
        return library.open_group(path, mode=mode, zarr_format=3)
    except (FileNotFoundError, library.errors.GroupNotFoundError):
        return None


class Writer:
    """Writes features in order, so that what is written can be gone on with.

    Rows are written first, and then the number of rows that count. What a killed run wrote beyond
    that number is written again.

    Args:
        path: where to.
        manifest: what the store is to hold.
        overwrite: whether to drop what is there.

    Attributes:
        group: the Zarr group.
        samples: how many samples are in it.
        batches: how many batches those were.

    Raises:
        ValueError: if something else is there, or another process writes to it.
    """

    def __init__(self, path: Any, manifest: dict[str, Any], *, overwrite: bool) -> None:
        self._lock = _locked(path)
        try:
            self.group = self._opened(path, manifest, overwrite=overwrite)
        except BaseException:
            self.close()
            raise
        self.samples, self.batches = (int(self.group.attrs[n]) for n in ("samples", "batches"))

    def close(self) -> None:
        """Let others write."""
        if self._lock is not None:
            self._lock.release()

    def _opened(self, path: Any, manifest: dict[str, Any], *, overwrite: bool) -> Any:
        group = _group(path, "r+")
        if group is None:
            if self._lock is not None and os.path.isdir(path) and os.listdir(path):
                raise ValueError(f"{str(path)!r} is a folder with other files; write to a new one")
            group = zarr().open_group(path, mode="a", zarr_format=3)
        elif MANIFEST not in group.attrs:
            raise ValueError(f"{str(path)!r} holds other arrays; write to another place")
        elif not overwrite:
            _require_same(str(path), dict(group.attrs[MANIFEST]), manifest)
            return group
        for name in list(group):
            del group[name]
        start = {"samples": 0, "batches": 0, "complete": False, "skipped": {}}
        group.attrs.update({MANIFEST: {**manifest, "keys": []}, **start})
        return group

    def write(
        self,
        values: Mapping[str, Any],
        ids: list[str],
        labels: Any,
        batches: int,
        skipped: Mapping[str, str],
    ) -> None:
        """Write some samples, and count them when they are there.

        Args:
            values: arrays of samples × value, by key.
            ids: a path or number for each sample.
            labels: an array, a list of texts, or None.
            batches: how many batches they are.
            skipped: samples that could not be read, with why.
        """
        import numpy as np

        rows: dict[str, Any] = dict(values)
        if ids:
            rows["ids"] = np.array(ids, dtype=object)
        if labels is not None:
            rows["labels"] = np.array(labels, dtype=object if isinstance(labels, list) else None)
        end = self.samples + len(ids)
        for name, array in rows.items():
            held = self._array(name, array)
            held.resize((end, *array.shape[1:]))
            held[self.samples : end] = array
        if hasattr(os, "sync"):
            os.sync()  # rows are on disk before they count, should the power fail
        manifest = dict(self.group.attrs[MANIFEST])
        manifest["keys"] = list(values) or manifest["keys"]
        self.group.attrs.update(
            {
                MANIFEST: manifest,
                "samples": end,
                "batches": self.batches + batches,
                "skipped": {**self.group.attrs["skipped"], **skipped},
            }
        )
        self.samples, self.batches = end, self.batches + batches

    def finish(self) -> FeatureStore:
        """Say that all is there."""
        self.group.attrs["complete"] = True
        return FeatureStore(self.group)

    def _array(self, name: str, rows: Any) -> Any:
        if name in self.group:
            return self.group[name]
        row_bytes = max(1, rows[:1].nbytes)
        chunk = max(1, _LARGEST_CHUNK // row_bytes)
        is_text = rows.dtype == object
        return self.group.create_array(
            name,
            shape=(0, *rows.shape[1:]),
            chunks=(_IDS_IN_CHUNK if is_text else chunk, *rows.shape[1:]),
            dtype=str if is_text else rows.dtype,
            # What the tensors of a network are does not get smaller by packing.
            compressors=None,
            dimension_names=("sample", *(f"{name}_{i}" for i in range(1, rows.ndim))),
        )


def checked_keys(keys: Sequence[str]) -> None:
    """Whether keys can be names of arrays.

    Raises:
        ValueError: if one cannot.
    """
    for key in keys:
        if key in _BESIDE or not key or key.startswith("__") or {"/", "\\"} & {*key}:
            raise ValueError(
                f"the key {key!r} cannot be the name of an array; give return nodes as a dict, "
                f"from name to another key"
            )


def _locked(path: Any) -> Any:
    """Keep other processes from writing to a folder; None for what is no folder."""
    from filelock import FileLock, Timeout  # torch requires it

    if not isinstance(path, (str, os.PathLike)) or "://" in str(path):
        return None
    folder = Path(path)
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder.with_name(f".{folder.name}.lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise ValueError(f"another process writes to {str(path)!r}; wait for it to end") from None
    return lock


def _require_same(path: str, there: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """What is there has to be what this run would write."""
    for name in ("model", "parameters", "return_nodes", "data", "reduce", "preprocessing",
                 "mode", "dtype", "autocast", "batch_size"):  # fmt: skip
        if there.get(name) != wanted.get(name):
            raise ValueError(
                f"{path!r} holds the features of another run: {name} was {there.get(name)!r}, and "
                f"is {wanted.get(name)!r}; write to another place, or overwrite=True"
            )


def hash_of(model: nn.Module) -> str:
    """A hash of parameters and buffers: their names, dtypes and values.

    Args:
        model: the model.

    Example:
        >>> hash_of(nn.ReLU()) == hash_of(nn.Sigmoid())  # what computes is told by the class
        True
    """
    digest = hashlib.sha256()
    for name, tensor, _ in state_tensors(model):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        with contextlib.suppress(RuntimeError, NotImplementedError):  # on meta there are none
            flat = tensor.detach().cpu().contiguous().reshape(-1)
            digest.update(flat.view(torch.uint8).numpy().data)
    return digest.hexdigest()
