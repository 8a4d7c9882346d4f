"""One model of the model: what every view reads."""

from .graph import ModelGraph, Module, Node, Part
from .opening import Opening, open_model

__all__ = ["ModelGraph", "Module", "Node", "Opening", "Part", "open_model"]
