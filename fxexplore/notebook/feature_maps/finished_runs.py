"""What has been run: the values of the last run, and the run that is kept to compare it with."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from fxexplore.inputs import ExampleInputs
from fxexplore.model_graph import ModelGraph

from .held_values import HeldValues
from .pictures import Look
from .shown_runs import Job, ShownRuns


class FinishedRuns:
    """The values of the last run, and those of the run that was kept.

    Args:
        limit: the most bytes of values of a run that are held.

    Example:
        >>> runs = FinishedRuns(limit=1000)
        >>> job = Job({"conv1": "low"}, ExampleInputs((), {}, "none"), False, (), "x")
        >>> runs.add(job, {"low": 1.5})
        >>> runs.values(["conv1", "conv2"])
        {'conv1': 1.5}
    """

    def __init__(self, limit: int) -> None:
        self.held = HeldValues(limit)
        self.last: Job | None = None
        """What the last run was of."""
        self._first: tuple[Job, dict[str, Any]] | None = None
        self._times: dict[str, int] = {}
        self._keeps = 0

    @property
    def first(self) -> Job | None:
        """What the run is of that was kept to compare with; None if none was."""
        return self._first[0] if self._first else None

    def add(self, job: Job, values: Mapping[str, Any]) -> None:
        """Take the values of a run, which is the last now.

        Args:
            job: what it is of.
            values: its values, by key.
        """
        if not self._is_as_before(job):
            self.held.clear()
        self.last = job
        for name, key in job.return_nodes.items():
            self.held[name] = values[key]
            self._times[name] = self._times.get(name, 0) + 1

    def _is_as_before(self, job: Job) -> bool:
        """Whether the values that are held would come out of this run too."""
        last = self.last
        return (
            last is not None
            and last.inputs is job.inputs
            and (last.training, last.numbers) == (job.training, job.numbers)
        )

    def keep(self) -> None:
        """Keep the last run, to compare others with it.

        Raises:
            ValueError: if nothing has run yet.
        """
        if self.last is None:
            raise ValueError("nothing has run yet; run first, then keep the run")
        self._first = self.last, {name: self.held[name] for name in self.held}
        self._keeps += 1

    def relabel_first(self, label: str) -> None:
        """Give the run that was kept another name."""
        assert self._first is not None  # kept by the caller
        self._first = dataclasses.replace(self._first[0], label=label), self._first[1]

    def forget_first(self) -> None:
        """Let the run go that was kept."""
        self._first = None

    def clear(self) -> None:
        """Let everything go."""
        self.held.clear()
        self.last = self._first = None

    def values(self, names: Iterable[str]) -> dict[str, Any]:
        """The values of these nodes that are held, in the order of the names."""
        return {name: self.held[name] for name in names if name in self.held}

    def signature(self, name: str, *, comparing: bool) -> tuple[Any, ...]:
        """What the value of a node depends on, and what it is compared with.

        Args:
            name: of the node.
            comparing: whether the run that was kept is drawn beside the last.
        """
        return name, self._times.get(name), self._keeps if comparing and self._first else 0

    def missing(self, names: Iterable[str]) -> list[str]:
        """What is not held of these nodes, and why, in words."""
        absent = [name for name in names if name not in self.held]
        gone = [name for name in absent if name in self.held.let_go]
        new = [name for name in absent if name not in gone]
        parts = []
        if new:
            parts.append(f"not run yet: {', '.join(new)}")
        if gone:
            parts.append(f"let go for want of room: {', '.join(gone)}; raise the limit and run")
        return parts

    def changed(
        self, graph: ModelGraph, inputs: ExampleInputs | None, numbers: tuple[tuple[int, int], ...]
    ) -> list[str]:
        """What is another now than it was at the last run, in words.

        Args:
            graph: the graph of the model, in the mode in which it is to run.
            inputs: what the next run is on.
            numbers: the state of the model's tensors.
        """
        last = self.last
        if last is None or last.is_other:
            return []
        if last.training != (graph.mode == "train"):
            return [f"these are of another mode; run for {graph.mode} mode"]
        if last.inputs is not inputs:
            return [f"these are of {last.label}; run for the new input"]
        return ["the model has changed since this run"] if last.numbers != numbers else []

    def shown(
        self,
        features: Mapping[str, Any],
        return_nodes: Mapping[str, str],
        graph: ModelGraph,
        look: Look,
        *,
        name: str,
        comparing: bool,
    ) -> ShownRuns:
        """What there is to draw.

        Args:
            features: the values of the last run, by key.
            return_nodes: the ticked names with their keys.
            graph: the graph of the model.
            look: how they are looked at.
            name: the expression that the model goes by in code.
            comparing: whether the run that was kept is drawn beside the last.

        Raises:
            ValueError: if there is nothing to draw.
        """
        if self.last is None or not features:
            raise ValueError("there is nothing to draw; tick a node and run")
        runs = ShownRuns(features, return_nodes, graph, look, self.last, name=name)
        if self._first is None or not comparing:
            return runs
        first, values = self._first
        keys = {name: key for name, key in return_nodes.items() if key in features}
        kept = {key: values[name] for name, key in keys.items() if name in values}
        return dataclasses.replace(runs, first=first, kept=kept)
