"""One model of the model: what every view reads."""

from .graph import ModelGraph, Module, Node
from .opening import open_model

__all__ = ["ModelGraph", "Module", "Node", "open_model"]
