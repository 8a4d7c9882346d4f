"""A selection as the Python code that reproduces it."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

_SCALARS = (str, int, float, bool, type(None))


def to_python(
    return_nodes: Mapping[str, str],
    *,
    model: str = "model",
    mode: str = "eval",
    inputs: str | None = None,
    inputs_of: str | None = None,
    recorded_on: str | None = None,
    options: Mapping[str, Any] | None = None,
) -> str:
    """Write the call of ``create_feature_extractor`` for a selection.

    Args:
        return_nodes: the names of the return nodes with their output keys.
        model: the expression that the model goes by in the reader's code.
        mode: ``"eval"`` or ``"train"``.
        inputs: for a traced model an expression that makes its input, if there is one.
        inputs_of: else the arguments of ``example_inputs_for`` that find its inputs.
        recorded_on: for a recorded model the arguments of ``example_inputs_for``.
        options: further arguments that the model was opened with, such as ``tracer_kwargs``.

    Returns:
        Code that runs where ``model`` is defined; a comment if nothing is chosen.

    Example:
        >>> print(to_python({"layer1": "layer1"}, inputs="torch.randn(1, 3, 224, 224)"))
        import torch
        from fxexplore import create_feature_extractor
        <BLANKLINE>
        extractor = create_feature_extractor(
            model,
            return_nodes=[
                "layer1",
            ],
            mode="eval",
        ).eval()
        x = torch.randn(1, 3, 224, 224)  # or your own
        features = extractor(x)
    """
    if not return_nodes:
        return "# Tick a node to see the code that extracts it."
    imports = _Imports()
    imports.add("fxexplore", "create_feature_extractor")
    arguments = _return_nodes(return_nodes)
    if recorded_on is not None:
        arguments += '    example_inputs=(inputs.args, inputs.kwargs),\n    backend="recorded",\n'
    arguments += f'    mode="{mode}",\n'
    arguments += "".join(_option(name, value, imports) for name, value in (options or {}).items())
    call = f"extractor = create_feature_extractor(\n    {model},\n{arguments}).{mode}()\n"
    found = recorded_on or (None if inputs else inputs_of)
    if found is not None:
        imports.add("fxexplore", "example_inputs_for")
        made = f"inputs = example_inputs_for({found})\n"
        # A recording needs its inputs before the call.
        call = made + call if recorded_on else call + made
        use = "features = extractor(*inputs.args, **inputs.kwargs)"
    elif inputs is None:
        use = "features = extractor(x)  # x is what the model takes"
    elif inputs.isidentifier():
        use = f"features = extractor({inputs})"
    else:
        use = f"x = {inputs}  # or your own\nfeatures = extractor(x)"
    torch = "import torch\n" if "torch." in (inputs or "") else ""
    return f"{torch}{imports}\n{call}{use}"


class _Imports:
    """The ``from ... import ...`` lines of a piece of code."""

    def __init__(self) -> None:
        self._names: dict[str, list[str]] = {}

    def add(self, module: str, name: str) -> None:
        names = self._names.setdefault(module, [])
        if name not in names:
            names.append(name)

    def __str__(self) -> str:
        return "".join(
            f"from {module} import {', '.join(sorted(self._names[module]))}\n"
            for module in sorted(self._names)
        )


def _return_nodes(return_nodes: Mapping[str, str]) -> str:
    """The argument ``return_nodes``: a list, or a dict where a key has another name."""
    renamed = any(node != key for node, key in return_nodes.items())
    start, end = "{}" if renamed else "[]"
    entries = (
        f"        {_literal(node)}" + (f": {_literal(key)}" if renamed else "") + ",\n"
        for node, key in return_nodes.items()
    )
    return f"    return_nodes={start}\n{''.join(entries)}    {end},\n"


def _option(name: str, value: Any, imports: _Imports) -> str:
    if not value:
        return ""
    try:
        return f"    {name}={_expression(value, imports)},\n"
    except ValueError:
        return f"    {name}={name},  # as the explorer was given it\n"


def _expression(value: Any, imports: _Imports) -> str:
    """An expression that gives ``value`` back; ValueError if no short one does."""
    if isinstance(value, type):
        return _class_name(value, imports)
    if type(value) in _SCALARS:
        return _literal(value) if isinstance(value, str) else repr(value)
    if isinstance(value, Mapping):
        items = (f"{_expression(k, imports)}: {_expression(v, imports)}" for k, v in value.items())
        return f"{{{', '.join(items)}}}"
    if isinstance(value, (list, tuple, set, frozenset)):
        return f"[{', '.join(_expression(item, imports) for item in value)}]"
    raise ValueError


def _class_name(cls: type, imports: _Imports) -> str:
    """The name of a class where it can be imported, or was defined in the notebook."""
    found: Any = sys.modules.get(cls.__module__)
    parts = cls.__qualname__.split(".")
    for part in parts:
        found = getattr(found, part, None)
    if found is not cls or not all(part.isidentifier() for part in parts):
        raise ValueError
    if cls.__module__ not in ("__main__", "builtins"):
        imports.add(cls.__module__, parts[0])
    return ".".join(parts)


def _literal(text: str) -> str:
    quoted = repr(text)
    # Double quotes, as formatters write them, where nothing needs escaping.
    return f'"{text}"' if quoted == f"'{text}'" and '"' not in text else quoted
