"""One graph of a model, which every view reads."""

from .graph import ModelGraph, Module, Node, Part, Row
from .opening import Opening, open_model
from .reading import graph_before_run

__all__ = [
    "ModelGraph",
    "Module",
    "Node",
    "Opening",
    "Part",
    "Row",
    "graph_before_run",
    "open_model",
]
