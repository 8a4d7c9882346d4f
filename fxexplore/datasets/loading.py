"""What a dataset gives: batches of arguments of forward, with ids and labels.

torch's DataLoader reads. What is added here: which part of an element is input, label or id, how
a picture is prepared for the model, and what is said of a sample that cannot be read.
"""

from __future__ import annotations

import hashlib
import inspect
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.utils import data
from torch.utils._pytree import tree_leaves

from fxexplore.feature_extraction import kind_of, tensors_in
from fxexplore.inputs import Preprocessing, known_inputs, presets_for, read_picture

_LABELS = ("label", "labels", "target", "targets")
_PICTURES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp")
_PAIR = 2


class Sample(NamedTuple):
    """One element of a dataset, taken apart.

    Attributes:
        number: its number in the dataset.
        id: its path, or its number.
        args: positional arguments of forward.
        kwargs: keyword arguments of forward.
        label: its label; None if it has none.
        problem: why it could not be read; ``""`` if it was.
    """

    number: int
    id: str
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = {}
    label: Any = None
    problem: str = ""


class Batch(NamedTuple):
    """Some samples together.

    Attributes:
        numbers: the number of each in the dataset.
        ids: a path or number for each.
        args: positional arguments of forward.
        kwargs: keyword arguments of forward.
        labels: numbers or texts, one for each; None if they have none.
        skipped: the samples that could not be read and were left out: ids and problems.
    """

    numbers: list[int]
    ids: list[str]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    labels: Any = None
    skipped: tuple[tuple[str, str], ...] = ()

    @property
    def mask(self) -> torch.Tensor | None:
        """Which tokens are no padding: batch × tokens, where the model is given a mask."""
        mask = self.kwargs.get("attention_mask")
        return mask.bool() if isinstance(mask, torch.Tensor) and mask.dim() == _PAIR else None


class Batches:
    """The batches of a dataset, in an order that is the same every time.

    Args:
        dataset: a map-style or iterable Dataset, a DataLoader, a ``datasets.Dataset`` of Hugging
            Face, a folder of pictures, or a list of paths.
        model: the model that takes them.
        batch_size: how many samples go together; a DataLoader has its own.
        num_workers: how many processes read; a DataLoader has its own.
        transform: turns a picture, or whatever an element's input is, into the argument; by
            default pictures are prepared as suits the model.
        on_error: ``"raise"`` or ``"skip"`` what cannot be read.
        pinned: whether batches are read into memory that a GPU copies from.

    Attributes:
        count: how many samples there are; None if that is not known.
        batch_size: how many samples a batch has; None if a DataLoader's batches differ.
        preprocessing: how pictures are prepared, in words.

    Raises:
        TypeError: if ``dataset`` is none of these.
        ValueError: if there is no sample, or their order is not the same every time.

    Example:
        >>> batches = Batches([(torch.ones(2), 7)] * 5, nn.Linear(2, 1), batch_size=4)
        >>> [(batch.ids, batch.labels.tolist()) for batch in batches.read()]
        [(['0', '1', '2', '3'], [7, 7, 7, 7]), (['4'], [7])]
    """

    def __init__(
        self,
        dataset: Any,
        model: nn.Module,
        *,
        batch_size: int = 32,
        num_workers: int = 0,
        transform: Callable[[Any], Any] | None = None,
        on_error: str = "raise",
        pinned: bool = False,
    ) -> None:
        if on_error not in ("raise", "skip"):
            raise ValueError(f"on_error is {on_error!r}; write 'raise' or 'skip'")
        if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
            raise ValueError(f"batch_size is {batch_size!r}; write a number of samples")
        self._skips = on_error == "skip"
        self._names = tuple(inspect.signature(model.forward).parameters)
        self.preprocessing = ""
        self.batch_size: int | None = batch_size
        self._loader: data.DataLoader[Any] | None = None
        if isinstance(dataset, data.DataLoader):
            self._loader = _in_order(dataset)
            self._samples: Any = None
            self.batch_size = dataset.batch_size
            self.count = _length(dataset.dataset)
            self._kind = type(dataset.dataset).__name__
            return
        dataset, paths = _as_dataset(dataset)
        self.count = _length(dataset)
        self._kind = type(dataset).__name__
        if self.count == 0:
            raise ValueError("the dataset has no samples")
        prepare = transform
        if prepare is None:
            # To find what suits a model it may have to be tried.
            preset = _preset(model) if _may_hold_picture(dataset) else None
            self.preprocessing = "" if preset is None else preset.code
            prepare = None if preset is None else _Prepare(preset)
        else:
            self.preprocessing = getattr(transform, "__qualname__", type(transform).__name__)
        is_iterable = isinstance(dataset, data.IterableDataset)
        if is_iterable and num_workers:
            raise ValueError(
                f"num_workers is {num_workers} and the dataset is iterable: every worker would "
                f"give all samples; write num_workers=0, or give a DataLoader of a dataset that "
                f"shares them out"
            )
        of_map = _Stream if is_iterable else _Samples
        take = _TakeApart(self._names, prepare, transforms_all=transform is not None)
        self._samples = of_map(dataset, paths, take)
        self._options: dict[str, Any] = {"num_workers": num_workers, "pin_memory": pinned}

    def read(self, skipped: int = 0) -> Iterator[Batch]:
        """All batches after the first ones.

        Args:
            skipped: how many batches to leave out at the beginning.

        Raises:
            ValueError: if a sample cannot be read, or samples do not fit together.
        """
        if self._loader is not None:
            yield from self._own_batches(skipped)
            return
        assert self.batch_size is not None
        first = skipped * self.batch_size
        samples = self._samples.after(first)
        loader = data.DataLoader(
            samples, batch_size=self.batch_size, collate_fn=list, **self._options
        )
        for elements in loader:
            yield self._together(elements)

    def first(self, count: int = 1) -> Batch:
        """The first samples that can be read.

        Args:
            count: how many; a DataLoader gives its first batch.
        """
        if self._loader is not None:
            return next(self.read())
        kept: list[Sample] = []
        for element in iter(self._samples):
            if not element.problem or not self._skips:
                kept.append(element)
            if len(kept) == count:
                break
        return self._together(kept)

    def sample(self, number: int) -> torch.Tensor:
        """The first tensor that the model is given of one sample.

        Args:
            number: which sample.

        Raises:
            ValueError: if samples cannot be read by their numbers.
        """
        source = self._samples if self._loader is None else self._loader.dataset
        if not hasattr(source, "__getitem__"):
            raise ValueError("an iterable dataset gives no sample by its number")
        element = source[number]
        if not isinstance(element, Sample):
            element = _TakeApart(self._names, None)(element, number, str(number))
        return next(tensors_in((element.args, dict(element.kwargs))))

    def fingerprint(self) -> dict[str, Any]:
        """What tells this dataset from others: its class, its length, its first sample."""
        first = self.first()
        digest = hashlib.sha256()
        for tensor in tensors_in((first.args, dict(first.kwargs))):
            digest.update(
                tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data
            )
        return {"class": self._kind, "samples": self.count, "first": digest.hexdigest()[:16]}

    def _together(self, elements: Iterable[Sample]) -> Batch:
        read = list(elements)
        kept = [sample for sample in read if not sample.problem]
        broken = [sample for sample in read if sample.problem]
        if broken and not self._skips:
            raise ValueError(
                f"sample {broken[0].id} cannot be read: {broken[0].problem}; write "
                f"on_error='skip' to leave such samples out"
            )
        skipped = tuple((sample.id, sample.problem) for sample in broken)
        if not kept:
            return Batch([], [], (), {}, None, skipped)
        ids = [sample.id for sample in kept]
        args, kwargs = _stacked([(sample.args, dict(sample.kwargs)) for sample in kept], ids)
        labels = _labels([sample.label for sample in kept])
        numbers = [sample.number for sample in kept]
        return Batch(numbers, ids, tuple(args), kwargs, labels, skipped)

    def _own_batches(self, skipped: int) -> Iterator[Batch]:
        """The batches of a DataLoader of the user's."""
        assert self._loader is not None
        loader, number = self._loader, 0
        take = _TakeApart(self._names, None)
        if skipped and loader.batch_sampler is not None:
            groups = list(loader.batch_sampler)
            number = sum(map(len, groups[:skipped]))
            loader = data.DataLoader(
                loader.dataset,
                batch_sampler=groups[skipped:],
                num_workers=loader.num_workers,
                collate_fn=loader.collate_fn,
                pin_memory=loader.pin_memory,
            )
            skipped = 0
        for i, element in enumerate(loader):
            sample = take(element, number, "")
            count = _batch_length(sample)
            numbers = list(range(number, number + count))
            if i >= skipped:
                labels = _labels_of_batch(sample.label, count)
                yield Batch(numbers, list(map(str, numbers)), sample.args, sample.kwargs, labels)
            number += count


def _may_hold_picture(dataset: Any) -> bool:
    """Whether the first element has a picture of PIL, or cannot be read."""
    try:
        first = next(iter(dataset))
    except Exception:  # noqa: BLE001  # it is told when it is read
        return True
    return any(hasattr(leaf, "getbands") for leaf in tree_leaves(first))


def _preset(model: nn.Module) -> Preprocessing | None:
    """How pictures are prepared for a model; None if it takes none."""
    inputs = known_inputs(model)
    place = inputs.places.get("picture")
    if place is None:
        return inputs.prepared_by
    channels, height, width = place.shape[-3:]
    return presets_for(model, channels, (height, width))[0]


# --- elements ----------------------------------------------------------------------------


class _Prepare:
    """Prepares one picture; a class, so that processes that read can be given it."""

    def __init__(self, prepare: Preprocessing) -> None:
        self._prepare = prepare

    def __call__(self, image: Any) -> torch.Tensor:
        return self._prepare(image.convert("RGB"))[0]


class _TakeApart:
    """Finds arguments and label in an element of a dataset.

    Args:
        names: the arguments of forward.
        prepare: what becomes of a picture, or of every input.
        transforms_all: whether it is for every input.
    """

    def __init__(
        self,
        names: tuple[str, ...],
        prepare: Callable[[Any], Any] | None,
        *,
        transforms_all: bool = False,
    ) -> None:
        self._names, self._prepare, self._transforms_all = names, prepare, transforms_all

    def __call__(self, element: Any, number: int, name: str) -> Sample:
        value, label = element, None
        if isinstance(element, (tuple, list)):
            if len(element) not in (1, _PAIR):
                raise ValueError(
                    f"an element is {kind_of(element)} of {len(element)} items; give (input, "
                    f"label), or a dict of keyword arguments"
                )
            value, label = (*element, None)[:_PAIR]
        if self._transforms_all and self._prepare is not None:
            value = self._prepare(value)
        if not isinstance(value, Mapping):
            return Sample(number, name, (self._argument(value),), {}, label)
        values = dict(value)
        for key in _LABELS:
            label = values.pop(key, label)
        strange = [key for key in values if key not in self._names]
        if strange and len(values) == 1:  # such as {"image": ...}, whatever forward calls it
            return Sample(number, name, (self._argument(values[strange[0]]),), {}, label)
        if strange:
            raise ValueError(
                f"an element has {', '.join(map(repr, strange))}, and forward takes "
                f"({', '.join(self._names)}); leave it out of the elements"
            )
        return Sample(
            number, name, (), {key: self._argument(v) for key, v in values.items()}, label
        )

    def _argument(self, value: Any) -> Any:
        if hasattr(value, "getbands"):  # a picture of PIL
            if self._prepare is None:
                raise ValueError(
                    "an element is a picture, and how to prepare it is not known; give transform="
                )
            return self._prepare(value)
        # Numbers as Hugging Face gives them; lists of tensors are arguments of detectors.
        is_plain = isinstance(value, (list, int, float)) and not any(
            isinstance(item, torch.Tensor) for item in (value if isinstance(value, list) else ())
        )
        is_array = type(value).__module__ == "numpy"
        return torch.as_tensor(value) if is_plain or is_array else value


class _Samples(data.Dataset[Sample]):
    """The elements of a map-style dataset, taken apart in the process that reads them."""

    def __init__(
        self, dataset: Any, paths: Sequence[str], take: _TakeApart, start: int = 0
    ) -> None:
        self._dataset, self._paths, self._take, self._start = dataset, paths, take, start

    def after(self, start: int) -> _Samples:
        return _Samples(self._dataset, self._paths, self._take, start)

    def __len__(self) -> int:
        return max(0, len(self._dataset) - self._start)

    def __getitem__(self, index: int) -> Sample:
        number = index + self._start
        name = self._paths[number] if self._paths else str(number)
        try:
            return self._take(self._dataset[number], number, name)
        except Exception as problem:  # noqa: BLE001  # whatever it is, it is told
            return Sample(number, name, problem=f"{type(problem).__name__}: {problem}")

    def __iter__(self) -> Iterator[Sample]:
        return (self[index] for index in range(len(self)))


class _Stream(data.IterableDataset[Sample]):
    """The elements of an iterable dataset, taken apart."""

    def __init__(self, dataset: Any, _: Sequence[str], take: _TakeApart, start: int = 0) -> None:
        self._dataset, self._take, self._start = dataset, take, start

    def after(self, start: int) -> _Stream:
        return _Stream(self._dataset, (), self._take, start)

    def __iter__(self) -> Iterator[Sample]:
        for number, element in enumerate(self._dataset):
            if number >= self._start:
                try:
                    yield self._take(element, number, str(number))
                except ValueError as problem:
                    yield Sample(number, str(number), problem=str(problem))


class _Pictures(data.Dataset[Any]):
    """Pictures by their paths, labelled by the folders that they are in."""

    def __init__(self, paths: list[Path], labels: list[str] | None) -> None:
        self._paths, self._labels = paths, labels

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> Any:
        path = self._paths[index]
        image = read_picture(path.read_bytes(), path.name).image
        return (image, self._labels[index]) if self._labels else (image,)


def _as_dataset(dataset: Any) -> tuple[Any, list[str]]:
    """A dataset of torch's kind, and the paths of its samples if they are files."""
    if isinstance(dataset, (str, os.PathLike)):
        folder = Path(dataset)
        if not folder.is_dir():
            raise ValueError(f"there is no folder {str(folder)!r}")
        paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in _PICTURES)
        if not paths:
            raise ValueError(
                f"there is no picture in {str(folder)!r}; known: {', '.join(_PICTURES)}"
            )
        names = [path.relative_to(folder).as_posix() for path in paths]
        folders = [name.rpartition("/")[0] for name in names]
        return _Pictures(paths, folders if all(folders) else None), names
    if isinstance(dataset, (list, tuple)) and dataset and _is_path(dataset[0]):
        paths = [Path(path) for path in dataset]
        return _Pictures(paths, None), [str(path) for path in dataset]
    is_map = hasattr(dataset, "__getitem__") and hasattr(dataset, "__len__")
    if not (is_map or isinstance(dataset, data.IterableDataset)) or isinstance(dataset, dict):
        raise TypeError(
            f"dataset is {kind_of(dataset)}; give a Dataset, a DataLoader, a folder of pictures "
            f"or a list of paths"
        )
    return dataset, []


def _is_path(value: Any) -> bool:
    return isinstance(value, (str, os.PathLike))


def _in_order(loader: data.DataLoader[Any]) -> data.DataLoader[Any]:
    if isinstance(loader.sampler, data.RandomSampler):
        raise ValueError(  # noqa: TRY004  # of the request
            "the DataLoader shuffles, so that a sample would have another number every time; make "
            "it with shuffle=False"
        )
    return loader


def _length(dataset: Any) -> int | None:
    try:
        return len(dataset)
    except (TypeError, NotImplementedError):
        return None


# --- batches -----------------------------------------------------------------------------


def _stacked(values: list[Any], ids: list[str]) -> Any:
    """The same nesting with every sample's tensors stacked."""
    shapes = [[tuple(tensor.shape) for tensor in tensors_in(value)] for value in values]
    for name, shape in zip(ids, shapes, strict=True):
        if shape != shapes[0]:
            raise ValueError(
                f"samples of one batch differ in shape: sample {ids[0]} has {shapes[0]}, sample "
                f"{name} has {shape}; write batch_size=1, or give a DataLoader whose collate_fn "
                f"pads them"
            )
    return data.default_collate(values)


def _labels(labels: list[Any]) -> Any:
    """Numbers as a tensor, texts as they are; None for anything else."""
    if all(isinstance(label, str) for label in labels):
        return labels
    try:
        return torch.stack([torch.as_tensor(label) for label in labels])
    except (TypeError, ValueError, RuntimeError):
        return None


def _labels_of_batch(labels: Any, count: int) -> Any:
    fits = isinstance(labels, (torch.Tensor, list, tuple)) and len(labels) == count
    return _labels(list(labels)) if fits else None


def _batch_length(sample: Sample) -> int:
    first = next(iter((*sample.args, *sample.kwargs.values())))
    return len(first)
