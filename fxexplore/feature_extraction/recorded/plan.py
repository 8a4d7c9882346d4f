"""How the values that are wanted of a recorded model are to be had."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from torch import nn

from fxexplore.feature_extraction.common.return_nodes import Names

from .leaves import LeafSpec
from .recording import Recording


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
    """How the values wanted in one mode are to be had.

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

    def is_copied(self, wanted: Wanted) -> bool:
        """Whether a value is overwritten before the run ends."""
        last = math.inf if self.whole_run else max(w.order for w in self.wanted)
        return wanted.overwritten is not None and wanted.overwritten <= last


def planned(
    model: nn.Module, recording: Recording, keys: Mapping[str, str], mode: str, other: Any = None
) -> Plan:
    """Resolve specs against a recording.

    Args:
        model: the model that was recorded.
        recording: the recording in ``mode``.
        keys: the wanted names with their output keys.
        mode: ``"train"`` or ``"eval"``, for the words of errors.
        other: the recording in the other mode, if there is one.

    Raises:
        ValueError: if a name is unknown.
    """
    modules = dict(model.named_modules(remove_duplicate=False))
    first_paths = {module: path for path, module in model.named_modules()}
    elsewhere = _known(other) if other is not None else ()
    names = Names(
        _known(recording),
        model,
        lambda _, path: path in recording.leaf_spec.leaves,
        mode,
        elsewhere,
    )
    wanted = names.resolved(
        keys, lambda spec, key: _wanted(spec, key, recording, modules, first_paths)
    )
    inside = {
        inner
        for path in recording.leaf_spec.leaves
        for inner in modules[path].modules()
        if inner is not modules[path]
    }
    return Plan(
        tuple(wanted),
        recording.leaf_spec,
        whole_run=any(w.kind == "module" and w.call == w.calls == 0 for w in wanted),
        follows=any(
            w.kind == "operation" or (w.kind == "module" and modules[w.target] in inside)
            for w in wanted
        ),
    )


def _known(recording: Recording) -> list[str]:
    return [*recording.nodes, *recording.module_returns]


def _wanted(
    spec: str,
    key: str,
    recording: Recording,
    modules: dict[str, nn.Module],
    first_paths: dict[nn.Module, str],
) -> Wanted | None:
    node = recording.nodes.get(spec)
    if node is not None:
        if node.op == "placeholder":
            kind, target = "argument", recording.arguments[spec]
        elif node.op == "call_module":
            kind, target = "module", node.target
        else:
            kind, target = "operation", spec
        return Wanted(spec, key, kind, target, node.call, 0, node.order, node.overwritten)
    module = modules.get(spec)
    if module is not None and spec:
        path = first_paths[module]
        returned = recording.module_returns.get(path)
        if returned is None:
            calls = [n for n in recording.nodes.values() if n.op == "call_module"]
            calls = [n for n in calls if n.target == path]
            if calls:
                last = calls[-1]
                count = 0 if path in recording.repeated else last.call
                order, overwritten = last.order, last.overwritten
                return Wanted(spec, key, "module", path, 0, count, order, overwritten)
        else:
            count = 0 if path in recording.repeated else returned.calls
            order, overwritten = returned.order, returned.overwritten
            return Wanted(spec, key, "module", path, 0, count, order, overwritten)
    return None
