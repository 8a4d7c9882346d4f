"""Text, DOT and static page of one small model, compared with files that somebody has read.

After an intended change, write the files again with ``pytest tests/views --regenerate-golden``
and read the difference.
"""

from pathlib import Path

import pytest
import torch

from fxexplore import open_model
from fxexplore.inputs import ExampleInputs
from fxexplore.views.diagram import to_dot
from fxexplore.views.outline import to_text
from fxexplore.views.page import to_document, to_html
from fxexplore.views.snippet import to_python

from .small_model import Small

GOLDEN = Path(__file__).parent / "golden"
# A picture of Graphviz's depends on its version and on the fonts of the machine.
PICTURE = '<svg xmlns="http://www.w3.org/2000/svg" width="8" height="8"><path d="M0 0h8"/></svg>'
RETURN_NODES = {"body.0.add": "first", "pool": "pooled"}


@pytest.fixture(scope="module")
def graph():
    return open_model(Small().eval(), torch.ones(1, 3, 16, 16))


def page(graph):
    inputs = ExampleInputs((torch.ones(1, 3, 16, 16),), {}, "given", "x")
    code = to_python(RETURN_NODES, inputs)
    fragment = to_html(
        graph, svg=PICTURE, expanded=["body", "body.0"], return_nodes=RETURN_NODES, code=code
    )
    return to_document("Small", fragment).replace("><", ">\n<")  # a line per element, to be read


VIEWS = {
    "outline.txt": to_text,
    "outline_folded.txt": lambda graph: to_text(graph, expanded=["body"]),
    "diagram.dot": lambda graph: to_dot(graph, ["body", "body.0"], RETURN_NODES).source,
    "page.html": page,
}


@pytest.mark.parametrize("name", VIEWS)
def test_a_view_equals_its_golden_file(name, graph, golden):
    golden(GOLDEN / name, VIEWS[name](graph))
