"""Functions that stay whole in a run, as fx would not trace into them."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from fxexplore.feature_extraction.symbolic.tracer import LeafModuleAwareTracer

# Where a function is found: a Python module, and the name there.
Entry = tuple[str, str]
Whole = Callable[[Callable[..., Any], tuple[Any, ...], dict[str, Any], Entry], Any]

# The entry for every subclass of ``torch.autograd.Function``.
APPLY = ("torch.autograd", "Function.apply")


def wrapped_functions(model: nn.Module, tracer: LeafModuleAwareTracer) -> Iterator[Entry]:
    """Names of the functions that fx would not trace into, where the model may find them."""
    from torch.fx import _symbolic_trace as fx_internals

    seen: set[Entry] = set()
    for (_, name), namespace in getattr(fx_internals, "_wrapped_fns_to_patch", {}).items():
        module = namespace.get("__name__")
        if isinstance(module, str) and inspect.isfunction(namespace.get(name)):
            seen.add((module, name))
    modules = [module.__name__ for module in getattr(tracer, "_autowrap_search", ())]
    modules += [type(module).__module__ for module in model.modules()]
    functions: set[int] = getattr(tracer, "_autowrap_function_ids", set())
    for home in dict.fromkeys(modules):
        if home == "math" or home not in sys.modules:
            continue
        for name, value in vars(sys.modules[home]).items():
            is_wrapped = id(value) in functions and not name.startswith("_")
            is_of_tensors = inspect.isroutine(value) and value.__module__ != "math"
            if is_wrapped and is_of_tensors:
                seen.add((home, name))
    return iter(sorted(seen))


@contextmanager
def announced(entries: tuple[Entry, ...], whole: Whole) -> Iterator[None]:
    """Have functions hand their calls over.

    Args:
        entries: where the functions are found.
        whole: what runs a call instead: of a function, its arguments, and its entry.
    """
    patches: list[tuple[dict[str, Any], str, Any]] = []
    apply = inspect.getattr_static(torch.autograd.Function, "apply")
    own_apply = torch.autograd.Function.__dict__.get("apply")

    def announced_apply(cls: type, *args: Any, **kwargs: Any) -> Any:
        return whole(apply.__get__(None, cls), args, kwargs, APPLY)

    try:
        for module, name in entries:
            namespace = vars(sys.modules[module]) if module in sys.modules else {}
            function = namespace.get(name)
            if function is not None:
                patches.append((namespace, name, function))
                namespace[name] = _announcing(function, (module, name), whole)
        if APPLY in entries:
            torch.autograd.Function.apply = classmethod(announced_apply)
        yield
    finally:
        for namespace, name, function in reversed(patches):
            namespace[name] = function
        if APPLY in entries:
            if own_apply is None:
                del torch.autograd.Function.apply
            else:
                torch.autograd.Function.apply = own_apply


def _announcing(function: Callable[..., Any], entry: Entry, whole: Whole) -> Callable[..., Any]:
    @functools.wraps(function)
    def announcing(*args: Any, **kwargs: Any) -> Any:
        return whole(function, args, kwargs, entry)

    return announcing
