"""A selection as the Python code that reproduces it."""

from __future__ import annotations

from collections.abc import Mapping


def to_python(
    return_nodes: Mapping[str, str], *, model: str = "model", inputs: str | None = None
) -> str:
    """Write the call of ``create_feature_extractor`` for a selection.

    Args:
        return_nodes: the names of the return nodes with their output keys.
        model: the expression that the model goes by in the reader's code.
        inputs: an expression that makes inputs, if there is one.

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
    renamed = any(node != key for node, key in return_nodes.items())
    entries = (
        f"        {_literal(node)}: {_literal(key)},\n"
        if renamed
        else f"        {_literal(node)},\n"
        for node, key in return_nodes.items()
    )
    start, end = "{}" if renamed else "[]"
    return (
        f"{'import torch' + chr(10) if inputs else ''}"
        "from fxexplore import create_feature_extractor\n\n"
        "extractor = create_feature_extractor(\n"
        f"    {model},\n"
        f"    return_nodes={start}\n{''.join(entries)}    {end},\n"
        ").eval()\n"
        f"{f'x = {inputs}  # or your own{chr(10)}' if inputs else ''}"
        "features = extractor(x)"
    )


def _literal(text: str) -> str:
    quoted = repr(text)
    # Double quotes, as formatters write them, where nothing needs escaping.
    return f'"{text}"' if quoted == f"'{text}'" and '"' not in text else quoted
