"""What a model is run on: given, inferred, samples, pictures and their preprocessing."""

from .inferred import ExampleInputs, example_inputs_for
from .pictures import Picture, as_seen, read_picture, sample_photograph
from .preprocessing import Preprocessing, preprocessing_from_text, presets_for
from .samples import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    RGB,
    SQUARES,
    as_model_has_it,
    checkerboard,
    impulse,
    noise,
    photograph,
)

__all__ = [
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "RGB",
    "SQUARES",
    "ExampleInputs",
    "Picture",
    "Preprocessing",
    "as_model_has_it",
    "as_seen",
    "checkerboard",
    "example_inputs_for",
    "impulse",
    "noise",
    "photograph",
    "preprocessing_from_text",
    "presets_for",
    "read_picture",
    "sample_photograph",
]
