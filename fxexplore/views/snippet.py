"""A selection as the Python code that reproduces it."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
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
    made: tuple[Sequence[str], str, str] | None = None,
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
        made: instead of all these the lines of code that make the inputs, imports first, what
            stands between the parentheses of a call with them, and the expression that
            stands for them as ``example_inputs``.

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
    arguments = _argument(return_nodes)
    if recorded_on is not None:
        example = made[2] if made else "(inputs.args, inputs.kwargs)"
        arguments += f'    example_inputs={example},\n    backend="recorded",\n'
    arguments += f'    mode="{mode}",\n'
    arguments += "".join(_option(name, value, imports) for name, value in (options or {}).items())
    call = f"extractor = create_feature_extractor(\n    {model},\n{arguments}).{mode}()\n"
    if made is not None:
        imported, lines = _parted(made[0])
        start = "".join(f"{line}\n" for line in lines)
        use = f"features = extractor({made[1]})"
        return f"{_merged([*imported, *str(imports).splitlines()])}\n{start}{call}{use}"
    found = recorded_on or (None if inputs else inputs_of)
    if found is not None:
        imports.add("fxexplore", "example_inputs_for")
        search = f"inputs = example_inputs_for({found})\n"
        # A recording needs its inputs before the call.
        call = search + call if recorded_on else call + search
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


def figure_to_python(
    return_nodes: Mapping[str, str],
    options: Mapping[str, Any],
    *,
    model: str = "model",
    lines: Sequence[str] = (),
    call: str = "x",
    example: str = "x",
    recorded: bool = False,
    mode: str = "eval",
    picture: str | None = None,
    tokens: Sequence[str] = (),
    first: tuple[Sequence[str], str] | None = None,
    labels: tuple[str, str] | None = None,
    other: bool = False,
) -> str:
    """Write the code that makes a figure of feature maps.

    Args:
        return_nodes: the names of the return nodes with their output keys.
        options: the options of ``plot_feature_maps`` that are not as by default.
        model: the expression that the model goes by in the reader's code.
        lines: code that makes the inputs, imports first.
        call: what stands between the parentheses of a call with them.
        example: the expression that stands for them as ``example_inputs``.
        recorded: whether the model is recorded rather than traced.
        mode: ``"eval"`` or ``"train"``.
        picture: the expression that makes the input picture, if one is drawn.
        tokens: labels of the tokens of a text.
        first: lines and call of the run that the figure is compared with, if there is one.
        labels: what the two runs go by.
        other: whether the second run is of another model.

    Returns:
        Code that runs where ``model`` is defined, and leaves the figure in ``figure``.

    Example:
        >>> options = {"sort": "energy"}
        >>> print(figure_to_python({"layer1": "layer1"}, options, lines=["x = batch"]))
        import torch
        from fxexplore import create_feature_extractor, open_model, plot_feature_maps
        <BLANKLINE>
        x = batch
        extractor = create_feature_extractor(
            model,
            return_nodes=[
                "layer1",
            ],
            mode="eval",
        ).eval()
        with torch.no_grad():
            features = extractor(x)
        figure = plot_feature_maps(
            features,
            sort="energy",
            graph=open_model(model),
        )
    """
    plot = "plot_feature_maps" if first is None else "plot_comparison"
    imports, made = _parted(lines)
    before, made_before = _parted(first[0]) if first else ([], [])
    imports = ["import torch", *_imports_of(plot, picture), *before, *imports]
    runs = _runs(call, first, made_before, made, other=other)
    same_inputs = first is None or list(first[0]) == list(lines)
    start = [*(made if same_inputs else made_before), *_extractors(
        return_nodes, model, example, recorded=recorded, mode=mode, other=other
    )]  # fmt: skip
    opened = f"open_model({model}{f', {example}' if recorded else ''}{_mode(mode)})"
    arguments = {name: repr(value) for name, value in options.items()}
    arguments |= {"image": picture} if picture else {}
    arguments["graph"] = opened
    if any(node != key for node, key in return_nodes.items()):
        arguments["return_nodes"] = repr(dict(return_nodes))
    arguments |= {"tokens": repr(list(tokens))} if tokens else {}
    arguments |= {"labels": repr(labels)} if labels else {}
    arguments = {name: _in_double_quotes(text) for name, text in arguments.items()}
    values = "features" if first is None else "first,\n    second"
    listed = "".join(f"    {name}={text},\n" for name, text in arguments.items())
    figure = f"figure = {plot}(\n    {values},\n{listed})"
    return "\n".join([_merged(imports), *start, *runs, figure])


def _mode(mode: str) -> str:
    return "" if mode == "eval" else f', mode="{mode}"'


def _parted(lines: Sequence[str]) -> tuple[list[str], list[str]]:
    """Imports, and the rest."""
    imports = [line for line in lines if line.startswith(("import ", "from "))]
    return imports, [line for line in lines if line not in imports]


def _imports_of(plot: str, picture: str | None) -> list[str]:
    imports = [f"from fxexplore import create_feature_extractor, open_model, {plot}"]
    called = (picture or "").partition("(")[0]
    if called in ("Preprocessing", "as_seen"):
        imports.append(f"from fxexplore.inputs import {called}")
    return imports


def _merged(lines: Sequence[str]) -> str:
    """Imports without those that are there twice, one line for each module."""
    imports = _Imports()
    for line in lines:
        if line.startswith("from "):
            module, _, names = line.removeprefix("from ").partition(" import ")
            for name in names.split(", "):
                imports.add(module, name)
    plain = sorted({line for line in lines if line.startswith("import ")})
    return "".join(f"{line}\n" for line in plain) + str(imports)


def _extractors(
    return_nodes: Mapping[str, str],
    model: str,
    example: str,
    *,
    recorded: bool,
    mode: str,
    other: bool,
) -> list[str]:
    """The calls of ``create_feature_extractor``: one for each model."""
    recording = f'    example_inputs={example},\n    backend="recorded",\n' if recorded else ""
    made = []
    for name, of in (("extractor", model), *([("other_extractor", "other_model")] * other)):
        made.append(
            f"{name} = create_feature_extractor(\n    {of},\n{_argument(return_nodes)}"
            f'{recording}    mode="{mode}",\n).{mode}()'
        )
    return made


def _runs(
    call: str,
    first: tuple[Sequence[str], str] | None,
    made_before: Sequence[str],
    made: Sequence[str],
    *,
    other: bool,
) -> list[str]:
    """The lines that run the extractor, once or twice."""
    if first is None:
        return ["with torch.no_grad():", f"    features = extractor({call})"]
    between = made if list(made) != list(made_before) else []
    second = "other_extractor" if other else "extractor"
    note = "" if other or between else "  # before the model changed"
    return [
        "with torch.no_grad():",
        f"    first = extractor({first[1]}){note}",
        *between,
        "with torch.no_grad():",
        f"    second = {second}({call})",
    ]


def _in_double_quotes(text: str) -> str:
    """A repr as formatters write it, where nothing needs escaping."""
    return text if '"' in text or "\\" in text else text.replace("'", '"')


def _argument(return_nodes: Mapping[str, str]) -> str:
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
