"""One graph of a model, which every view reads."""

from .axes import Reading, fold, reading_of_layout, reading_of_shape
from .axis_inference import axes_of
from .comparison import Change, Comparison, compare, comparison_of
from .features import Features, extract_features
from .graph import ModelGraph
from .nodes import Module, Node, Part, Row
from .opening import Opening, open_model
from .reading import graph_before_run
from .values import ValueCheck, ValueRange, check_values, checked_values, names_to_check, range_of
