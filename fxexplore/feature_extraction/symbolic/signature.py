"""What the arguments of forward are while it is traced: inputs, or fixed values."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import fx, nn
from torch.fx.proxy import TraceError
from torch.utils._pytree import tree_leaves

from fxexplore.feature_extraction.common.tensors import holds_tensor
from fxexplore.feature_extraction.common.validation import Arguments, kind_of

_INPUT = fx.PH  # type: ignore[attr-defined]  # documented, but exported by name alone


class _Given(NamedTuple):
    """A value that an optional argument has while tracing, and not whenever it is left out."""

    value: Any


class Argument(NamedTuple):
    """One argument of forward.

    Attributes:
        name: its name.
        position: where it is in the signature.
        kind: how it can be given, as in ``inspect.Parameter``.
        is_input: whether a proxy stands for it.
        value: what it is otherwise: its default, or the caller's concrete value.
        default: the default in the traced signature, alone in a tuple; empty if it has none.
        annotation: its type, if that can be resolved.
    """

    name: str
    position: int
    kind: Any
    is_input: bool
    value: Any
    default: tuple[Any, ...]
    annotation: Any


def arguments_while_tracing(
    function: Callable[..., Any],
    is_method: bool,
    concrete_args: Mapping[str, Any] | None,
) -> list[Argument]:
    """Tell which arguments are inputs, and what the others are.

    Args:
        function: forward, or a function that is traced.
        is_method: whether its first argument is the module.
        concrete_args: the caller's values; see ``LeafModuleAwareTracer.trace``.

    Returns:
        The arguments in the order of the traced signature, in which those with a default
        come last. ``*args`` are one input, a tuple, and are left out if they are ``()``; nothing
        is given by ``**kwargs``.

    Raises:
        torch.fx.proxy.TraceError: if ``concrete_args`` do not fit.
    """
    parameters = list(inspect.signature(function).parameters.values())
    if is_method and (not parameters or parameters[0].kind is parameters[0].VAR_POSITIONAL):
        raise TraceError("forward has no argument for its own module, but for *args.")
    named = [p for p in parameters[int(is_method) :] if p.kind is not p.VAR_KEYWORD]
    concrete = _concrete_by_name(named, concrete_args)
    named = [p for p in named if p.kind is not p.VAR_POSITIONAL or concrete.get(p.name) != ()]
    is_input = {
        p.name: concrete[p.name] is _INPUT if p.name in concrete else p.default is p.empty
        for p in named
    }
    annotations = _annotations(function)
    # Python wants arguments without a default first; of the positional ones, whose
    # order the caller relies on, only those at the end can then have one.
    required = [p for p in named if is_input[p.name] and p.default is p.empty]
    in_order = [p for p in named if p.kind is not p.KEYWORD_ONLY]
    last = max((i for i, p in enumerate(in_order) if p in required), default=-1)
    first = in_order[: last + 1] + [p for p in required if p not in in_order]
    arguments = []
    in_order = first + [p for p in named if p not in first]
    if any(p.kind is p.VAR_POSITIONAL for p in named):
        in_order.sort(key=lambda p: p.kind)
    for p in in_order:
        value = concrete.get(p.name, p.default)
        default = p.default if is_input[p.name] else value
        if isinstance(value, _Given):  # who calls without it gets the model's own default
            value, default = value.value, p.default
        default = default if is_input[p.name] or _is_plain(default) else None
        arguments.append(
            Argument(
                name=p.name,
                position=named.index(p),
                kind=p.kind,
                is_input=is_input[p.name],
                value=value,
                default=() if p in first else (default,),
                annotation=annotations.get(p.name),
            )
        )
    return arguments


def _concrete_by_name(
    parameters: list[inspect.Parameter],
    concrete_args: Mapping[str, Any] | None,
) -> dict[str, Any]:
    names = [parameter.name for parameter in parameters]
    require_by_name(concrete_args)
    concrete = dict(concrete_args or {})
    for name, value in concrete.items():
        if name not in names:
            raise TraceError(
                f"concrete_args names '{name}', but the arguments of forward are: "
                f"{', '.join(names) or 'none'}"
            )
        if value is not _INPUT and any(leaf is _INPUT for leaf in tree_leaves(value)):
            raise TraceError(
                f"concrete_args['{name}'] nests torch.fx.PH inside a {type(value).__name__}; only "
                f"a whole argument can be an input"
            )
    return concrete


def require_by_name(concrete_args: Any) -> None:
    """Refuse values for arguments of forward that do not come by name.

    Raises:
        TypeError: saying what to give instead.
    """
    if concrete_args is not None and not isinstance(concrete_args, Mapping):
        raise TypeError(
            f"concrete_args is {kind_of(concrete_args)}; give a dict from an argument of forward "
            f"to its value, such as {{'mask': None}}"
        )


def with_given(
    model: nn.Module, concrete_args: Mapping[str, Any] | None, given: Arguments | None
) -> dict[str, Any]:
    """What arguments of forward are while tracing, if it is to run on what is given.

    Optional arguments that are given tensors are inputs, and others have the given value.

    Args:
        model: the model.
        concrete_args: the caller's, which come first.
        given: positional and keyword arguments, if there are any.

    Raises:
        torch.fx.proxy.TraceError: if something is given by ``**kwargs``.
    """
    concrete = dict(concrete_args or {})
    signature = inspect.signature(model.forward)
    try:
        bound = {} if given is None else signature.bind(*given[0], **given[1]).arguments
    except TypeError:  # who runs the model on them says so
        bound = {}
    for name, value in bound.items():
        parameter = signature.parameters[name]
        if parameter.kind is parameter.VAR_KEYWORD:
            raise TraceError(
                f"by **{name} is given what a symbolic trace has no input for: "
                f"{', '.join(map(repr, value))}"
            )
        if parameter.default is not parameter.empty:
            concrete.setdefault(name, _INPUT if holds_tensor(value) else _Given(value))
        elif parameter.kind is parameter.VAR_POSITIONAL:
            concrete.setdefault(name, _INPUT)
    return concrete


def _is_plain(value: Any) -> bool:
    """Whether generated code can spell the value as the default of an argument."""
    if isinstance(value, (tuple, list)):
        return type(value) in (tuple, list) and all(map(_is_plain, value))
    return value is None or type(value) in (bool, int, float, str, torch.dtype, torch.device)


def _annotations(function: Callable[..., Any]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(inspect.unwrap(function))
    except (NameError, TypeError, AttributeError):
        # Annotations that only a type checker can resolve; torch.jit.script does without.
        return {}
