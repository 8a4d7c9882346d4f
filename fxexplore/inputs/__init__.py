"""What a model is run on: given, inferred, samples, pictures and their preprocessing."""

from .choosing import EXAMPLE, SAMPLES, InputChoice, is_picture_like
from .example_inputs import ExampleInputs, as_model_has_it
from .inferred import InferredOnce, example_inputs_for, known_inputs, remember_input
from .pictures import Picture, read_picture, sample_photograph
from .preprocessing import Preprocessing, as_seen, photograph, preprocessing_from_text
from .presets import presets_for
from .samples import checkerboard, impulse, noise
