"""One model of the model: what every view reads, and what a model is run on."""

from .graph import ModelGraph, Module, Node, Part
from .opening import Opening, open_model
from .pictures import Picture, as_seen, read_picture, sample_photograph
from .preprocessing import Preprocessing

__all__ = [
    "ModelGraph",
    "Module",
    "Node",
    "Opening",
    "Part",
    "Picture",
    "Preprocessing",
    "as_seen",
    "open_model",
    "read_picture",
    "sample_photograph",
]
