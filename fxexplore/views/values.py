"""What the values of a run are like, in signs and words for rows and boxes."""

from __future__ import annotations

from collections.abc import Mapping

from fxexplore.model_graph import ModelGraph, ValueRange


def value_marks(graph: ModelGraph, ranges: Mapping[str, ValueRange]) -> dict[str, list[str]]:
    """A sign, ``""`` for nothing special, and words for each node and module.

    Args:
        graph: the model.
        ranges: what is known of values, by name; modules around NaN and Inf are marked too.

    Example:
        >>> from torch import nn
        >>> from fxexplore import open_model
        >>> graph = open_model(nn.Sequential(nn.Sequential(nn.ReLU())))
        >>> value_marks(graph, {"0.0": ValueRange(0.0, 1.0, 8, nan=2)})
        {'0.0': ['✗ NaN', '0 … 1, 2 of 8 are NaN'], '0': ['✗ NaN inside', 'in 0.0']}
    """
    known = {name: found for name, found in ranges.items() if name in graph.index}
    marks = {name: [found.mark, found.words] for name, found in known.items()}
    for name, found in known.items():
        if found.mark.startswith("✗"):
            for path in graph.ancestors(name):
                marks.setdefault(path, [f"{found.mark} inside", f"in {name}"])
    return marks
