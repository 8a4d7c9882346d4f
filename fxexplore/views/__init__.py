"""Pure functions from graphs, values and a view state to text, HTML, DOT, figures and code."""

from .calls import call_of
from .diagram import draw, opening_fold, to_dot
from .drawing import Drawing, Edges
from .kinds import kind_of
from .numbers import shape_text, short_count, short_flops
from .outline import description, marks, to_text
from .page import StaticPage, to_document, to_fragment
from .runs import runs
from .snippet import figure_to_python, to_python

__all__ = [
    "Drawing",
    "Edges",
    "StaticPage",
    "call_of",
    "description",
    "draw",
    "figure_to_python",
    "kind_of",
    "marks",
    "opening_fold",
    "runs",
    "shape_text",
    "short_count",
    "short_flops",
    "to_document",
    "to_dot",
    "to_fragment",
    "to_python",
    "to_text",
]
