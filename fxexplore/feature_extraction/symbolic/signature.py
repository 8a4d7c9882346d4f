"""What the arguments of forward are while it is traced: inputs, or fixed values."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import fx
from torch.fx.proxy import TraceError
from torch.utils._pytree import tree_leaves

_INPUT = fx.PH  # type: ignore[attr-defined]  # documented, but exported by name alone


class Argument(NamedTuple):
    """One argument of forward.

    Attributes:
        name: its name.
        position: where it is in the signature.
        is_keyword: whether it can only be given by keyword.
        is_input: whether a proxy stands for it.
        value: what it is otherwise: its default, or the caller's concrete value.
        default: the default in the traced signature, alone in a tuple; empty if it has none.
        annotation: its type, if that can be resolved.
    """

    name: str
    position: int
    is_keyword: bool
    is_input: bool
    value: Any
    default: tuple[Any, ...]
    annotation: Any


def arguments_while_tracing(
    function: Callable[..., Any],
    is_method: bool,
    concrete_args: dict[str, Any] | tuple[Any, ...] | None,
) -> list[Argument] | None:
    """Tell which arguments are inputs, and what the others are.

    Args:
        function: forward, or a function that is traced.
        is_method: whether its first argument is the module.
        concrete_args: the caller's values; see ``LeafModuleAwareTracer.trace``.

    Returns:
        The arguments in the order of the traced signature, in which those with a default
        come last; None if there are only ``*args`` and ``**kwargs``.

    Raises:
        torch.fx.proxy.TraceError: if ``concrete_args`` do not fit.
    """
    parameters = list(inspect.signature(function).parameters.values())[int(is_method) :]
    named = [p for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    concrete = _concrete_by_name(named, concrete_args)
    if parameters and not named:
        return None
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
    for p in first + [p for p in named if p not in first]:
        value = concrete.get(p.name, p.default)
        default = p.default if is_input[p.name] else value if _is_plain(value) else None
        arguments.append(
            Argument(
                name=p.name,
                position=named.index(p),
                is_keyword=p.kind is p.KEYWORD_ONLY,
                is_input=is_input[p.name],
                value=value,
                default=() if p in first else (default,),
                annotation=annotations.get(p.name),
            )
        )
    return arguments


def _concrete_by_name(
    parameters: list[inspect.Parameter],
    concrete_args: dict[str, Any] | tuple[Any, ...] | None,
) -> dict[str, Any]:
    names = [parameter.name for parameter in parameters]
    if isinstance(concrete_args, tuple):
        if len(concrete_args) != len(names):
            raise TraceError(
                f"concrete_args has {len(concrete_args)} values for the {len(names)} arguments "
                f"of forward: {', '.join(names)}"
            )
        concrete_args = dict(zip(names, concrete_args, strict=True))
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
