"""Where a model raised, in words and signs."""

from __future__ import annotations

from fxexplore.model_graph import ModelGraph, Module, Node

from .numbers import shape_text

RAISED = "✗ raised"


def failure_at(graph: ModelGraph, item: Node | Module) -> str:
    """Whether the model raised here, ``"✗ raised"``, or inside, ``"✗ inside"``; else ``""``."""
    name = item.path if isinstance(item, Module) else item.name
    if graph.error is None:
        return ""
    if name == graph.error.name:
        return RAISED
    return "✗ inside" if graph.error.name.startswith(f"{name}.") else ""


def error_in_words(graph: ModelGraph) -> str:
    """Where the model raised, why, and which shapes met there; ``""`` if it did not raise."""
    if graph.error is None:
        return ""
    shapes = [shape_text(part.shape) for part in graph.error.met]
    met = f"; there met {', '.join(shapes)}" if shapes else ""
    return f"✗ {graph.error.name or graph.model}: {graph.error.words}{met}"
