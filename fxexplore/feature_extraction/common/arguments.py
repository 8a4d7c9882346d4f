"""The arguments of a model's forward: as a caller gives them, by name, and in words."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from .validation import kind_of

Arguments = tuple[tuple[Any, ...], dict[str, Any]]

_SHOWN = 8  # items of a list, in words


def as_arguments(example_inputs: Any) -> Arguments:
    """Read example inputs as the positional and keyword arguments of forward.

    Args:
        example_inputs: a tensor, a tuple of positional arguments, a dict of keyword
            arguments, or a pair of both.

    Raises:
        TypeError: if it is none of these.

    Example:
        >>> as_arguments({"x": 1}), as_arguments(((1, 2), {"x": 3}))
        (((), {'x': 1}), ((1, 2), {'x': 3}))
    """
    if isinstance(example_inputs, torch.Tensor):
        return (example_inputs,), {}
    if isinstance(example_inputs, dict):
        return (), dict(example_inputs)
    if isinstance(example_inputs, (tuple, list)):
        if [type(part) for part in example_inputs] == [tuple, dict]:
            return example_inputs[0], dict(example_inputs[1])
        return tuple(example_inputs), {}
    if hasattr(example_inputs, "keys"):  # what a tokenizer returns is no dict, but like one
        return (), {key: example_inputs[key] for key in example_inputs.keys()}  # noqa: SIM118
    raise TypeError(
        f"example_inputs is {kind_of(example_inputs)}; give a tensor, a tuple of positional "
        f"arguments, a dict of keyword arguments, or a pair (tuple, dict)"
        f"{hint_on((example_inputs,))}"
    )


def hint_on(args: tuple[Any, ...]) -> str:
    """What to write instead of positional arguments that are no tensors, if it can be told.

    Example:
        >>> hint_on((1, 3, 224, 224))
        '; for a tensor of that shape give torch.randn(1, 3, 224, 224)'
    """
    if len(args) > 1 and all(type(value) is int for value in args):
        return f"; for a tensor of that shape give torch.randn({', '.join(map(str, args))})"
    if any(hasattr(value, "__array_interface__") for value in args):
        return "; make a tensor of an array by torch.from_numpy(array)"
    if any(_is_numbers(value) for value in args):
        return "; make a tensor of numbers by torch.tensor(numbers)"
    return ""


def hint_on_list(model: nn.Module, args: tuple[Any, ...]) -> str:
    """How to give a list, if forward takes one first, as detectors do, and got a tensor."""
    for name, (value, _) in list(bound_arguments(model, args, {}).items())[:1]:
        annotation = str(getattr(model.forward, "__annotations__", {}).get(name))
        if "list" in annotation.lower() and isinstance(value, torch.Tensor):
            return f"; the list of '{name}' is one argument: example_inputs=([tensor, ...],)"
    return ""


def _is_numbers(value: Any) -> bool:
    while isinstance(value, (list, tuple)) and value:
        value = value[0]
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def bound_arguments(
    model: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> dict[str, tuple[Any, bool]]:
    """The arguments that a call gives to forward, by name, and whether each must be given."""
    try:
        signature = inspect.signature(model.forward)
        given = signature.bind(*args, **kwargs).arguments
    except (TypeError, ValueError):  # the call itself will say what is wrong
        return {f"arg{i}": (value, True) for i, value in enumerate((*args, *kwargs.values()))}
    found: dict[str, tuple[Any, bool]] = {}
    for name, value in given.items():
        parameter = signature.parameters[name]
        if parameter.kind is parameter.VAR_KEYWORD:
            found.update({key: (item, False) for key, item in value.items()})
        else:
            found[name] = (value, parameter.default is parameter.empty)
    return found


def shapes_of(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str:
    """The shapes of arguments, for the words of errors.

    Example:
        >>> shapes_of((torch.ones(2, 3), [torch.ones(4)]), {"flag": True})
        '(2×3, [4], flag=True)'
    """
    shown = [_shape(value) for value in args]
    shown += [f"{name}={_shape(value)}" for name, value in kwargs.items()]
    return f"({', '.join(shown)})"


def _shape(value: Any) -> str:
    if isinstance(value, torch.Tensor):
        return "×".join(map(str, value.shape)) or "scalar"
    if isinstance(value, (list, tuple)):
        more = ["…"] if len(value) > _SHOWN else []
        return f"[{', '.join([*map(_shape, value[:_SHOWN]), *more])}]"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key}: {_shape(item)}' for key, item in value.items())}}}"
    return repr(value) if isinstance(value, (bool, int, float, str)) else type(value).__name__
