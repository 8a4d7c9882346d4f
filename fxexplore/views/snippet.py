"""A selection as the Python code that reproduces it."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from fxexplore.inputs import ExampleInputs

_SCALARS = (str, int, float, bool, type(None))


def to_python(
    return_nodes: Mapping[str, str],
    inputs: ExampleInputs | None = None,
    *,
    model: str = "model",
    mode: str = "eval",
    recorded: bool = False,
    options: Mapping[str, Any] | None = None,
) -> str:
    """Write the call of ``create_feature_extractor`` for a selection.

    Args:
        return_nodes: the names of the return nodes with their output keys.
        inputs: what the model is run on, if that is known.
        model: the expression that the model goes by in the reader's code.
        mode: ``"eval"`` or ``"train"``.
        recorded: whether the model is recorded rather than traced.
        options: further arguments that the model was opened with, such as ``tracer_kwargs``.

    Returns:
        Code that runs where ``model`` is defined; a comment if nothing is chosen.

    Example:
        >>> import torch
        >>> from fxexplore.inputs import example_inputs_for
        >>> inputs = example_inputs_for(torch.nn.Conv2d(3, 8, 3))
        >>> print(to_python({"layer1": "layer1"}, inputs))
        import torch
        from fxexplore import create_feature_extractor
        from fxexplore.inputs import example_inputs_for
        <BLANKLINE>
        x = example_inputs_for(model).args[0]
        extractor = create_feature_extractor(
            model,
            return_nodes=[
                "layer1",
            ],
            mode="eval",
        ).eval()
        with torch.no_grad():
            features = extractor(x)
    """
    if not return_nodes:
        return "# Tick a node to see the code that extracts it."
    imports = ["from fxexplore import create_feature_extractor"]
    further = "".join(_option(name, value, imports) for name, value in (options or {}).items())
    # Of several arguments some may be optional, which are inputs only if they are given.
    if inputs is not None and (recorded or inputs.kwargs or len(inputs.args) > 1):
        backend = '    backend="recorded",\n' * recorded
        further = f"    example_inputs={inputs.example},\n{backend}{further}"
    extractor = _call("create_feature_extractor", model, return_nodes, mode, further)
    call = "x)  # x is what the model takes" if inputs is None else f"{inputs.call})"
    return _program(
        "import torch",
        *imports,
        *(() if inputs is None else inputs.lines),
        f"extractor = {extractor}.{mode}()",
        f"with torch.no_grad():\n    features = extractor({call}",
    )


class FigureRun(NamedTuple):
    """One run of a figure, for its code.

    Attributes:
        inputs: what the model is run on.
        mode: ``"eval"`` or ``"train"``.
        model: the expression that the model goes by in the reader's code.
        picture: the expression that makes the input picture, if one is drawn.
        label: what the run goes by beside another.
    """

    inputs: ExampleInputs
    mode: str = "eval"
    model: str = "model"
    picture: str | None = None
    label: str = ""

    @property
    def key(self) -> tuple[Any, ...]:
        """What tells a run from others, but for a change of the model itself."""
        return self.inputs.lines, self.inputs.example, self.mode, self.model


def figure_to_python(
    return_nodes: Mapping[str, str],
    options: Mapping[str, Any],
    *runs: FigureRun,
    recorded: bool = False,
    save: str = "",
) -> str:
    """Write the code that makes a figure of feature maps.

    Args:
        return_nodes: the names of the return nodes with their output keys.
        options: the options of ``plot_feature_maps`` that are not as by default.
        runs: the run that is drawn, or the two that are compared.
        recorded: whether the model is recorded rather than traced.
        save: a line that saves the figure.

    Returns:
        Code that runs where ``model`` is defined, leaves the figure in ``figure`` and shows
        it in a notebook.

    Example:
        >>> import torch
        >>> from fxexplore.inputs import ExampleInputs
        >>> batch = ExampleInputs((torch.ones(2, 3),), {}, "given", "batch")
        >>> print(figure_to_python({"layer1": "layer1"}, {"sort": "energy"}, FigureRun(batch)))
        from fxexplore import extract_features, plot_feature_maps
        <BLANKLINE>
        features = extract_features(
            model,
            return_nodes=[
                "layer1",
            ],
            mode="eval",
            example_inputs=batch,
        )
        figure = plot_feature_maps(
            features,
            sort="energy",
        )
        figure
    """
    first, last = runs[0], runs[-1]
    plot, names = "plot_feature_maps", ["features"]
    arguments = {name: repr(value) for name, value in options.items()}
    if last.picture:
        arguments["image"] = last.picture
    if first.inputs.tokens or last.inputs.tokens:
        arguments["tokens"] = repr(list(last.inputs.tokens))
    lines = [*first.inputs.lines]
    if len(runs) > 1:
        plot, names = "plot_comparison", ["first", "second"]
        arguments["labels"] = repr((first.label, last.label))
        if first.key == last.key:
            lines.append("# Before the model changed:")
        elif first.picture and first.key[:2] != last.key[:2]:
            lines.append(f"first_image = {first.picture}")
            arguments["image"] = f"(first_image, {last.picture})"
        if first.inputs.tokens != last.inputs.tokens:
            arguments["tokens"] = repr((list(first.inputs.tokens), list(last.inputs.tokens)))
    for name, run in zip(names, runs, strict=True):
        if run.inputs.lines != first.inputs.lines:
            lines += run.inputs.lines
        further = f"    example_inputs={run.inputs.example},\n"
        further += '    backend="recorded",\n' * recorded
        call = _call("extract_features", run.model, return_nodes, run.mode, further)
        lines.append(f"{name} = {call}")
    values = "".join(f"    {name},\n" for name in names)
    listed = "".join(f"    {name}={_in_double_quotes(arguments[name])},\n" for name in arguments)
    makers = {run.picture.partition("(")[0] for run in runs if run.picture}
    return _program(
        f"from fxexplore import extract_features, {plot}",
        *(f"from fxexplore.inputs import {maker}" for maker in makers),
        *lines,
        f"figure = {plot}(\n{values}{listed})",
        *filter(None, [save]),
        "figure",
    )


def _program(*lines: str) -> str:
    """Lines of code with their imports in front, one line for each module."""
    names: dict[str, set[str]] = {}
    for line in lines:
        if line.startswith("from "):
            module, _, found = line.removeprefix("from ").partition(" import ")
            names.setdefault(module, set()).update(found.split(", "))
    plain = sorted({line for line in lines if line.startswith("import ")})
    merged = [f"from {m} import {', '.join(sorted(names[m]))}" for m in sorted(names)]
    rest = [line for line in lines if not line.startswith(("from ", "import "))]
    return "\n".join([*plain, *merged, "", *rest])


def _call(
    function: str, model: str, return_nodes: Mapping[str, str], mode: str, further: str
) -> str:
    """A call with return nodes; ``further`` are lines with more arguments."""
    nodes = _argument(return_nodes)
    return f'{function}(\n    {model},\n{nodes}    mode="{mode}",\n{further})'


def _argument(return_nodes: Mapping[str, str]) -> str:
    """The argument ``return_nodes``: a list, or a dict where a key has another name."""
    renamed = any(node != key for node, key in return_nodes.items())
    start, end = "{}" if renamed else "[]"
    entries = (
        f"        {_literal(node)}" + (f": {_literal(key)}" if renamed else "") + ",\n"
        for node, key in return_nodes.items()
    )
    return f"    return_nodes={start}\n{''.join(entries)}    {end},\n"


def _option(name: str, value: Any, imports: list[str]) -> str:
    if not value:
        return ""
    try:
        return f"    {name}={_expression(value, imports)},\n"
    except ValueError:
        return f"    {name}={name},  # as the explorer was given it\n"


def _expression(value: Any, imports: list[str]) -> str:
    """An expression that gives ``value`` back; ValueError if no short one does."""
    if isinstance(value, type):
        return _class_name(value, imports)
    if type(value) in _SCALARS:
        return _literal(value)
    if isinstance(value, Mapping):
        items = (f"{_expression(k, imports)}: {_expression(v, imports)}" for k, v in value.items())
        return f"{{{', '.join(items)}}}"
    if isinstance(value, (list, tuple, set, frozenset)):
        return f"[{', '.join(_expression(item, imports) for item in value)}]"
    raise ValueError


def _class_name(cls: type, imports: list[str]) -> str:
    """The name of a class where it can be imported, or was defined in the notebook."""
    found: Any = sys.modules.get(cls.__module__)
    parts = cls.__qualname__.split(".")
    for part in parts:
        found = getattr(found, part, None)
    if found is not cls or not all(part.isidentifier() for part in parts):
        raise ValueError
    if cls.__module__ not in ("__main__", "builtins"):
        imports.append(f"from {cls.__module__} import {parts[0]}")
    return ".".join(parts)


def _literal(value: Any) -> str:
    return _in_double_quotes(repr(value))


def _in_double_quotes(text: str) -> str:
    """A repr as formatters write it, where nothing needs escaping."""
    return text if '"' in text or "\\" in text else text.replace("'", '"')
