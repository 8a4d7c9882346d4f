"""The modules and functions of a model that are one node each in a run."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import nn

from fxexplore.feature_extraction.common.isolation import lock, on_leaving, patch
from fxexplore.feature_extraction.common.leaves import LeafDecisions
from fxexplore.feature_extraction.common.torch_ops import run_custom_functions_by


class LeafSpec(NamedTuple):
    """Which modules and functions of a model are one node each, as plain data.

    Attributes:
        leaves: paths of the modules whose calls become one node each.
        wrapped: functions that become one node each: the Python modules whose global
            names refer to them, with these names.
        opens_transformers: whether transformers of torch.nn are run layer by layer.
    """

    leaves: frozenset[str]
    wrapped: tuple[tuple[str, str], ...]
    opens_transformers: bool = False

    @classmethod
    def of(cls, model: nn.Module, tracer: LeafDecisions) -> LeafSpec:
        """Ask ``tracer`` which modules of ``model`` are leaves and which functions it wraps."""
        leaves = frozenset(
            path
            for path, module in model.named_modules()
            if path and not tracer.opens_when_run(module) and tracer.is_leaf_module(module, path)
        )
        opens = any(tracer.opens_when_run(module) for module in model.modules())
        return cls(leaves, (*_wrapped_functions(model, tracer), APPLY), opens)

    def narrowed(self, model: nn.Module, used: set[tuple[str, str]]) -> LeafSpec:
        """Leave out functions that the model neither called nor sees in its classes' files."""
        homes = {cls.__module__ for module in model.modules() for cls in type(module).__mro__}
        homes.discard("builtins")
        kept = (entry for entry in self.wrapped if entry in used or entry[0] in homes)
        return self._replace(wrapped=tuple(kept))


# Where a function is found: a Python module, and the name there.
Entry = tuple[str, str]
RunAsOneNode = Callable[[Callable[..., Any], tuple[Any, ...], dict[str, Any], Entry], Any]

# The entry for every subclass of ``torch.autograd.Function``.
APPLY = ("torch.autograd", "Function.apply")


def _wrapped_functions(model: nn.Module, tracer: LeafDecisions) -> list[Entry]:
    """Names of the functions that fx would not trace into, where the model may find them."""
    from torch.fx import _symbolic_trace as fx_internals

    seen: set[Entry] = set()
    for (_, name), namespace in fx_internals._wrapped_fns_to_patch.items():
        module = namespace.get("__name__")
        if isinstance(module, str) and inspect.isfunction(namespace.get(name)):
            seen.add((module, name))
    modules = [module.__name__ for module in tracer._autowrap_search]
    modules += [type(module).__module__ for module in model.modules()]
    for home in dict.fromkeys(modules):
        if home == "math" or home not in sys.modules:
            continue
        for name, value in vars(sys.modules[home]).items():
            is_wrapped = id(value) in tracer._autowrap_function_ids and not name.startswith("_")
            is_of_tensors = inspect.isroutine(value) and value.__module__ != "math"
            if is_wrapped and is_of_tensors:
                seen.add((home, name))
    return sorted(seen)


def run_wrapped_by(entries: tuple[Entry, ...], run: RunAsOneNode) -> None:
    """Have the calls of functions run by ``run`` until the innermost :func:`restores` ends.

    Args:
        entries: where the functions are found.
        run: what runs a call instead: of a function, its arguments, and its entry.
    """
    for module, name in entries:
        function = getattr(sys.modules.get(module), name, None)
        if function is not None:
            patch(sys.modules[module], name, _wrapper(function, (module, name), run))
    if APPLY in entries:
        run_custom_functions_by(lambda apply, args, kwargs: run(apply, args, kwargs, APPLY))


def run_layer_by_layer() -> None:
    """Keep transformers of torch.nn from running as one kernel, until the block ends.

    In eval mode without gradients they would call none of their layers.
    """
    mha = torch.backends.mha
    lock.patch()
    on_leaving(partial(mha.set_fastpath_enabled, mha.get_fastpath_enabled()))
    mha.set_fastpath_enabled(False)


def _wrapper(function: Callable[..., Any], entry: Entry, run: RunAsOneNode) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return run(function, args, kwargs, entry)

    return wrapper
