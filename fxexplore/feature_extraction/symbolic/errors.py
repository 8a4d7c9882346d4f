"""Errors that say why a model cannot be traced symbolically, and where."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from torch import fx, nn
from torch.fx.proxy import TraceError

from fxexplore.feature_extraction.common.source import line_in_model


@contextmanager
def errors_explained(tracer: fx.Tracer, root: nn.Module) -> Iterator[None]:
    """Turn an error that a proxy caused into a ``TraceError`` that says where in the model."""
    try:
        yield
    except Exception as error:
        words = ("Proxy", "not a member of this module", *_EXPLANATIONS)
        if not isinstance(error, TraceError) and not any(word in str(error) for word in words):
            fixed = getattr(tracer, "fixed_arguments", None)
            if fixed and all(node.target in fixed for node in tracer.graph.nodes):
                raise only_defaults(root, fixed, f"{type(error).__name__}: {error}") from error
            raise  # the model's own
        path = getattr(tracer, "failed_in", "")
        cls = type(dict(root.named_modules(remove_duplicate=False))[path]).__name__
        module, advice = f"the top module ({cls})", ""
        if path:
            module = f"'{path}' ({cls})"
            advice = f"\ntracer_kwargs={{'leaf_modules': [{cls}]}} makes that module one node."
        place = line_in_model(error) or "forward"
        raise TraceError(
            f"{type(root).__name__} cannot be traced symbolically: {place}, in {module}: "
            f"{_explanation(error)}{advice}"
        ) from error


def only_defaults(root: nn.Module, fixed: Iterable[str], end: str) -> TraceError:
    """The error for a forward of which every argument kept its default, so that it has no input.

    Args:
        root: the model.
        fixed: the arguments of forward, which all kept their default.
        end: what happened.
    """
    return TraceError(
        f"{type(root).__name__} cannot be traced symbolically: every argument of forward has a "
        f"default and kept it, which ended in {end}\nconcrete_args={{'{next(iter(fixed))}': "
        f"torch.fx.PH}} makes that argument an input."
    )


# Words of torch.fx, numpy and Python, and what they mean to somebody whose model they are about.
_EXPLANATIONS = {
    "cannot be iterated": "a loop or * runs over a value whose length is known only at run time.",
    "control flow": "control flow depends on a value that is known only at run time.",
    "'len' is not supported": "len() needs a value that is known only at run time.",
    "torch.fx.wrap": "a function needs a value that is known only at run time.",
    "__array_": "numpy needs numbers that are known only at run time.",
    "_interface__": "numbers are copied into a tensor that are known only at run time.",
}


def _explanation(error: Exception) -> str:
    text = str(error)
    for words, meaning in _EXPLANATIONS.items():
        if words in text:
            return meaning
    if isinstance(error, TraceError):
        return text
    if isinstance(error, NameError):
        return "a parameter is used that is not registered, and would belong to no model."
    text = text.replace("'InPlaceProxy' object", "a traced value")
    text = text.replace("'InPlaceProxy'", "a traced value")
    return f"a number is needed that is known only at run time ({text})."
