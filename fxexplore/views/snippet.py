"""A selection as the Python code that reproduces it."""

from __future__ import annotations

from collections.abc import Mapping


def to_python(
    return_nodes: Mapping[str, str],
    *,
    model: str = "model",
    inputs: str | None = None,
    recorded_on: str | None = None,
) -> str:
    """Write the call of ``create_feature_extractor`` for a selection.

    Args:
        return_nodes: the names of the return nodes with their output keys.
        model: the expression that the model goes by in the reader's code.
        inputs: for a traced model an expression that makes inputs, if there is one.
        recorded_on: for a recorded model the arguments of ``example_inputs_for``.

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
        ).eval()
        x = torch.randn(1, 3, 224, 224)  # or your own
        features = extractor(x)
    """
    if not return_nodes:
        return "# Tick a node to see the code that extracts it."
    call = f"extractor = create_feature_extractor(\n    {model},\n{_argument(return_nodes)}"
    if recorded_on is not None:
        return (
            "from fxexplore import create_feature_extractor, example_inputs_for\n\n"
            f"inputs = example_inputs_for({recorded_on})\n"
            f"{call}"
            "    example_inputs=(inputs.args, inputs.kwargs),\n"
            '    backend="recorded",\n'
            '    mode="eval",\n'
            ").eval()\n"
            "features = extractor(*inputs.args, **inputs.kwargs)"
        )
    first = "import torch\n" if inputs else ""
    made = f"x = {inputs}  # or your own\n" if inputs else ""
    return (
        f"{first}from fxexplore import create_feature_extractor\n\n"
        f"{call}).eval()\n{made}features = extractor(x)"
    )


def _argument(return_nodes: Mapping[str, str]) -> str:
    """The argument ``return_nodes``: a list, or a dict where a key has another name."""
    renamed = any(node != key for node, key in return_nodes.items())
    start, end = "{}" if renamed else "[]"
    entries = (
        f"        {_literal(node)}" + (f": {_literal(key)}" if renamed else "") + ",\n"
        for node, key in return_nodes.items()
    )
    return f"    return_nodes={start}\n{''.join(entries)}    {end},\n"


def _literal(text: str) -> str:
    quoted = repr(text)
    # Double quotes, as formatters write them, where nothing needs escaping.
    return f'"{text}"' if quoted == f"'{text}'" and '"' not in text else quoted
