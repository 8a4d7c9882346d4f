"""Pure functions from graphs, values and a view state to text, HTML, DOT, figures and code."""

from fxexplore.model_graph import ModelGraph

from .detail import DETAILS, Detail, detail_of, hidden_nodes
from .diagram import draw, opening_fold, to_dot
from .drawing import Direction, Drawing
from .failures import RAISED, error_in_words, failure_at
from .kinds import kind_of
from .numbers import shape_text, short_count, short_flops
from .outline import marks, summary, to_text
from .page import StaticPage, to_document, to_html
from .siblings import SiblingGroup, folded_groups, repeated_siblings
from .snippet import FigureRun, figure_to_python, to_python
from .values import value_marks

# Graphs know nothing of views: these are handed to them.
ModelGraph.shown_as.update(text=summary, html=to_html)
