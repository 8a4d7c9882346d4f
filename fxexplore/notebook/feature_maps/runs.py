"""Runs of an extractor: how one is done, the values of the last and of the one kept, as drawn."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.utils._pytree import tree_map

from fxexplore.feature_extraction import (
    isolated,
    restores,
    state_tensors,
    switch_mode,
    tensors_in,
)
from fxexplore.inputs import ExampleInputs
from fxexplore.model_graph import Features, ValueRange, range_of
from fxexplore.notebook.task import Progress, Stop, watched
from fxexplore.views import FigureRun, figure_to_python
from fxexplore.views.feature_maps import (
    PlotOptions,
    plot_channel,
    plot_comparison,
    plot_feature_maps,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_OF_TOKENS = 3  # dimensions


@dataclasses.dataclass(frozen=True)
class Run:
    """What one run is of.

    Attributes:
        inputs: what the model runs on.
        training: whether it runs in train mode.
        state: which tensors the model is made of, and how often each was written to, where.
        label: what the run goes by in a comparison.
        is_other: whether it is of another model than the panel's.
    """

    inputs: ExampleInputs
    training: bool
    state: tuple[tuple[int, ...], ...]
    label: str
    is_other: bool = False

    @property
    def mode(self) -> str:
        """``"eval"`` or ``"train"``."""
        return "train" if self.training else "eval"

    def changed_since(self, last: Run) -> str:
        """What is another than at the last run, in words; ``""`` if nothing is."""
        if last.training != self.training:
            return f"these are of another mode; run for {self.mode} mode"
        if last.inputs is not self.inputs:
            return f"these are of {last.label}; run for the new input"
        return "the model has changed since this run" if last.state != self.state else ""


def state_of(model: nn.Module) -> tuple[tuple[int, ...], ...]:
    """Which tensors a model is made of, and how often each was written to, where.

    Args:
        model: the model.
    """
    tensors = (*model.parameters(), *model.buffers())
    return tuple((id(t), -1 if t.is_inference() else t._version, _address(t)) for t in tensors)


def _address(tensor: torch.Tensor) -> int:
    try:
        return tensor.data_ptr()
    except RuntimeError:  # lazy ones, and some of another library's, have no memory of their own
        return 0


@restores
def computed(
    extractor: nn.Module,
    run: Run,
    progress: Progress | None = None,
    take: Callable[[nn.Module, Any, Any], Any] | None = None,
) -> Any:
    """Run an extractor once, without gradients, and leave its model as it was.

    Args:
        extractor: the extractor; with ``progress`` a twin, whose flags and buffers may change.
        run: what to run it on, and in which mode; what is frozen in train mode stays frozen.
        progress: follows the run, and can stop it.
        take: runs it on positional and keyword arguments; by default for its values.

    Raises:
        Stop: if ``progress.stop`` was set.
    """
    # Inputs are copied, as a model may write into them.
    take = take or _values
    inputs = tree_map(
        lambda v: v.clone() if isinstance(v, torch.Tensor) else v,
        (run.inputs.args, run.inputs.kwargs),
    )
    if progress is None:
        with isolated(extractor, inputs, training=run.training, as_twin=True) as model:
            return take(model, *inputs)
    switch_mode(extractor, run.training)
    with watched(extractor, progress):
        values = take(extractor, *inputs)
    if progress.stop.is_set():
        raise Stop
    return values


@torch.no_grad()
def _values(model: nn.Module, args: Any, kwargs: Any) -> Mapping[str, Any]:
    """What a model returns; what shares its memory is copied, as training would change it."""
    own = {_storage(tensor)[0] for _, tensor, _ in state_tensors(model)}

    def kept(value: Any) -> Any:
        is_own = isinstance(value, torch.Tensor) and _storage(value)[0] in own
        return value.detach().clone() if is_own else value

    values: Mapping[str, Any] = tree_map(kept, model(*args, **kwargs))
    return values


class Runs:
    """The values of the last run and of one that is kept, in a bounded number of bytes.

    Values of the last run that were used longest ago are dropped first, then those of the run
    that is kept to compare with. All stay on the device that they are on.

    Args:
        limit: the most bytes of values that are held.

    Example:
        >>> import torch
        >>> runs = Runs(limit=100)
        >>> run = Run(None, False, (), "x")
        >>> runs.add(run, {name: torch.zeros(10) for name in "abc"})
        >>> list(runs.values), runs.bytes, runs.missing("abd")
        (['b', 'c'], 80, ['not run yet: d', 'dropped, over the limit: a; raise it and run'])
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._dropped: list[str] = []
        self._dropped_kept: list[str] = []
        self.last: Run | None = None
        """What the last run was of."""
        self.values: dict[str, Any] = {}
        """Its values that are held, by name; what was used last is last."""
        self.ranges: dict[str, ValueRange] = {}
        """Their ranges, by name, of values that are no longer held too."""
        self.kept: Run | None = None
        """The run that is kept to compare with."""
        self.kept_values: dict[str, Any] = {}
        """Its values, by name."""

    def limit_to(self, limit: int) -> None:
        """Hold so many bytes at most; values above that are dropped at once."""
        self._limit = limit
        self._drop()

    @property
    def bytes(self) -> int:
        """What is held, memory that values share counted once."""
        return sum(dict(map(_storage, self._tensors)).values())

    @property
    def devices(self) -> list[str]:
        """Where it is."""
        return sorted({str(tensor.device) for tensor in self._tensors})

    @property
    def _tensors(self) -> list[torch.Tensor]:
        return list(tensors_in([*self.values.values(), *self.kept_values.values()]))

    def add(self, run: Run, values: Mapping[str, Any]) -> None:
        """Take the values of a run, which is the last now.

        Args:
            run: what it is of.
            values: its values, by name.
        """
        if self.last is None or run.is_other or run.changed_since(self.last):
            self.values.clear()
            self.ranges.clear()
            self._dropped.clear()
        self.last = run
        for name, value in values.items():
            self.values.pop(name, None)
            self.values[name] = value
            found = range_of(value)
            if found is not None:
                self.ranges[name] = found
        self._drop()

    def used(self, names: Iterable[str]) -> dict[str, Any]:
        """The values of these nodes that are held, in the order of the names."""
        held = {name: self.values.pop(name) for name in names if name in self.values}
        self.values.update(held)
        return held

    def keep(self, label: str | None = None) -> None:
        """Keep the last run, to compare others with it.

        Args:
            label: what it goes by; by default what it went by.

        Raises:
            ValueError: if nothing has run yet.
        """
        if self.last is None:
            raise ValueError("nothing has run yet; run first, then keep the run")
        self.kept = dataclasses.replace(self.last, label=label or self.last.label)
        self.kept_values, self._dropped_kept = dict(self.values), []

    def alike(self, names: Iterable[str], *, alike: bool = True) -> list[str]:
        """The nodes that both runs have, with values of the same shapes; or of others."""
        both = [name for name in names if name in self.values and name in self.kept_values]
        pairs = {name: (self.values[name], self.kept_values[name]) for name in both}
        return [n for n, (a, b) in pairs.items() if (_shapes(a) == _shapes(b)) is alike]

    def unlike(self, names: Iterable[str]) -> str:
        """Which nodes have other shapes in both runs, in words; ``""`` if none have."""
        names, kept, last = self.alike(names, alike=False), self.kept, self.last
        if not names or kept is None or last is None:
            return ""
        sizes = f"{kept.label} is {kept.inputs.shapes}, {last.label} {last.inputs.shapes}"
        return f"of another shape, and not compared: {', '.join(names)}; {sizes}"

    def forget_kept(self) -> None:
        """Drop the run that was kept."""
        self.kept, self.kept_values, self._dropped_kept = None, {}, []

    def missing(self, names: Iterable[str]) -> list[str]:
        """What is not held of these nodes, and why, in words."""
        absent = [name for name in names if name not in self.values]
        dropped = [name for name in absent if name in self._dropped]
        new = [name for name in absent if name not in dropped]
        parts = [f"not run yet: {', '.join(new)}"] if new else []
        dropped += [f"{name} of the run that was kept" for name in self._dropped_kept]
        if dropped:
            parts.append(f"dropped, over the limit: {', '.join(dropped)}; raise it and run")
        return parts

    def _drop(self) -> None:
        self._dropped = [name for name in self._dropped if name not in self.values]
        while self.bytes > self._limit and (self.values or self.kept_values):
            held, dropped = self.kept_values, self._dropped_kept
            if self.values:
                held, dropped = self.values, self._dropped
            name = next(iter(held))
            del held[name]
            dropped.append(name)


def _shapes(value: Any) -> list[torch.Size]:
    return [tensor.shape for tensor in tensors_in([value])]


def _storage(tensor: Any) -> tuple[Any, int]:
    """What tells the memory of a tensor from that of others, and its bytes."""
    try:
        storage = tensor.untyped_storage()
        return (str(tensor.device), storage.data_ptr() or id(tensor)), storage.nbytes()
    except (RuntimeError, NotImplementedError):  # sparse and such have no storage
        return id(tensor), tensor.numel() * tensor.element_size()


@dataclasses.dataclass(frozen=True)
class Shown:
    """One run, or two to compare, as figures and as code.

    Attributes:
        features: the values of the last run, by key.
        options: how they are drawn.
        last: what the last run is of.
        kept: what it is compared with, if it is.
        kept_features: the values of that run, by key.
        name: the expression that the model goes by in code.
    """

    features: Features
    options: PlotOptions
    last: Run
    kept: Run | None = None
    kept_features: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    name: str = "model"

    def depends(self, key: str) -> tuple[Any, ...]:
        """The objects that the picture of a key depends on: if one is another, so is it."""
        compared = (self.last, self.kept) if key in self.kept_features else ()
        values = self.features[key], self.kept_features.get(key)
        return *values, *compared, self.options, self.features.graph

    def plot(self, *keys: str, **size: float) -> Figure:
        """Draw some keys, or all of them.

        Args:
            keys: which; those that the other run has too are compared with it.
            size: ``width`` of the figure in inches, if not as by default.

        Raises:
            ValueError: if a value cannot be drawn in this way.
        """
        features = {key: self.features[key] for key in keys or self.features}
        both = {key: value for key, value in features.items() if key in self.kept_features}
        options = self.options.changed() | size
        if not both or self.kept is None:
            context = self._context(self.last, with_image=self._draws_image)
            return plot_feature_maps(features, **options, **context)
        context = self._context(self.kept, self.last, with_image=self._draws_image)
        before = {key: self.kept_features[key] for key in both}
        return plot_comparison(before, both, labels=self._labels, **options, **context)

    def plot_channel(self, key: str, channel: int, **size: float) -> Figure:
        """Draw one channel large, with the input beside it.

        Args:
            key: of the value.
            channel: its number.
            size: as for :meth:`plot`.
        """
        context = self._context(self.last, with_image=True) | size
        return plot_channel(self.features, key, channel, index=self.options.index, **context)

    def code(self, save: str = "") -> str:
        """The code that makes the figure of all keys.

        Args:
            save: a line that saves the figure.
        """
        kept, graph = self.kept if self.kept_features else None, self.features.graph
        runs = [self.last] if kept is None else [kept, self.last]
        pictures = [run.inputs.picture_code(self.options.index) for run in runs]
        if not (self._draws_image and all(pictures)):
            pictures = [None] * len(runs)
        labels = ("",) if kept is None else self._labels
        nodes = self.features.return_nodes.items()
        return figure_to_python(
            {name: key for name, key in nodes if kept is None or key in self.kept_features},
            self.options.changed(),
            *(
                FigureRun(
                    run.inputs,
                    run.mode,
                    "other_model" if run.is_other else self.name,
                    picture,
                    label,
                )
                for run, picture, label in zip(runs, pictures, labels, strict=True)
            ),
            recorded=graph.backend == "recorded",
            save=save,
        )

    @property
    def _labels(self) -> tuple[str, str]:
        """What the two runs go by: what tells them apart."""
        assert self.kept is not None
        first, second = self.kept.label, self.last.label
        if self.kept.training != self.last.training:
            modes = (self.kept.mode, self.last.mode)
            return modes if first == second else (f"{first}, {modes[0]}", f"{second}, {modes[1]}")
        return (f"{first}, kept", second) if first == second else (first, second)

    @property
    def _draws_image(self) -> bool:
        """Whether the input picture is drawn, or tells the grid of tokens."""
        drawn = self.options.view in ("overlay", "pca") or self.options.query is not None
        return drawn or any(t.ndim == _OF_TOKENS for t in tensors_in(list(self.features.values())))

    def _context(self, *runs: Run, with_image: bool) -> dict[str, Any]:
        """What else the figure is drawn with: the same for both runs, or a pair."""
        graph, nodes = self.features.graph, self.features.return_nodes
        context: dict[str, Any] = {"graph": graph, "return_nodes": nodes}
        tokens = [run.inputs.tokens for run in runs]
        if any(tokens):
            context["tokens"] = tokens if tokens[0] != tokens[-1] else tokens[0]
        images = [run.inputs.picture(self.options.index) for run in runs if with_image]
        if images and all(image is not None for image in images):
            is_same = runs[0].inputs is runs[-1].inputs
            context["image"] = images[0] if is_same else tuple(images)
        return context
