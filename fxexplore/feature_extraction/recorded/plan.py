"""How a recorded extractor gets the wanted values."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

from torch import nn

from fxexplore.feature_extraction.common.return_nodes import Found, Names

from .leaves import LeafSpec
from .recording import RecordedReturn, Recording


class Wanted(NamedTuple):
    """One value that an extractor returns.

    Attributes:
        spec: what the caller asked for.
        key: the key of the value in the result.
        kind: ``argument``, ``module`` or ``operation``.
        target: the argument's name, the module's path, or the node's name.
        call: which call of the module; 0 is the last.
        calls: for the last call, how many there are; 0 if that may differ.
        order: position in the recording.
        overwritten: position at which the value's memory is written, if it is.
    """

    spec: str
    key: str
    kind: str
    target: str
    call: int
    calls: int
    order: int
    overwritten: int | None


class Plan(NamedTuple):
    """How the wanted values of one mode are got.

    Attributes:
        wanted: the values.
        leaf_spec: as for :class:`Recording`.
        whole_run: a module may be called any number of times, so nothing can be cut off.
        follows: operations have to be followed; otherwise hooks on modules will do.
    """

    wanted: tuple[Wanted, ...]
    leaf_spec: LeafSpec
    whole_run: bool
    follows: bool

    def by_target(self, kind: str) -> dict[str, list[Wanted]]:
        """The wanted values of a kind, by the path of the module or the name of the node."""
        found: dict[str, list[Wanted]] = {}
        for wanted in self.wanted:
            if wanted.kind == kind:
                found.setdefault(wanted.target, []).append(wanted)
        return found

    def is_copied(self, wanted: Wanted) -> bool:
        """Whether a value is overwritten before the run ends."""
        last = math.inf if self.whole_run else max(w.order for w in self.wanted)
        return wanted.overwritten is not None and wanted.overwritten <= last


def planned(
    model: nn.Module,
    recording: Recording,
    keys: Mapping[str, str],
    mode: str,
    other: Recording | None = None,
) -> Plan:
    """Resolve specs against a recording.

    Args:
        model: the model that was recorded.
        recording: the recording in ``mode``.
        keys: the wanted names with their output keys.
        mode: ``"train"`` or ``"eval"``, for error messages.
        other: the recording in the other mode, if there is one.

    Raises:
        ValueError: if a name is unknown.
    """
    elsewhere = () if other is None else (*other.names, *other.module_returns)
    nodes = {name: recording.nodes[name] for name in recording.names}
    raised = recording.failure.message if recording.failure else ""
    names = Names(nodes, (), recording.module_returns, model, mode, elsewhere, raised)
    wanted = tuple(_wanted(found, recording) for found in names.resolved(keys))
    modules = dict(model.named_modules())
    leaves = recording.leaf_spec.leaves
    inside = {inner for path in leaves for inner in list(modules[path].modules())[1:]}
    return Plan(
        wanted,
        recording.leaf_spec,
        whole_run=any(w.kind == "module" and w.call == w.calls == 0 for w in wanted),
        follows=any(
            w.kind == "operation" or (w.kind == "module" and modules[w.target] in inside)
            for w in wanted
        ),
    )


def _wanted(found: Found, recording: Recording) -> Wanted:
    spec, key, path, value = found
    if path:
        calls = value.calls if isinstance(value, RecordedReturn) else value.call
        calls = 0 if path in recording.repeated else calls
        return Wanted(spec, key, "module", path, 0, calls, value.order, value.overwritten)
    kind, target = "operation", value.name
    if value.op == "placeholder":
        kind, target = "argument", recording.arguments[value.name]
    elif value.op == "call_module":
        kind, target = "module", value.target
    return Wanted(spec, key, kind, target, value.call, 0, value.order, value.overwritten)
