"""How much is shown: which nodes are plumbing, and what flows through those that have no box."""

import warnings

import pytest
import torch
import torchvision
from torch import nn

from fxexplore import open_model, to_html, to_text
from fxexplore.model_graph import ModelGraph, Module, Node
from fxexplore.notebook.node_graph import NodeGraph
from fxexplore.views import DETAILS, Drawing, hidden_nodes
from fxexplore.views.drawing import OUTPUT


class Plumbing(nn.Module):
    """Sizes, an assert, constants, views, a gather, and what computes."""

    def __init__(self):
        super().__init__()
        self.token = nn.Parameter(torch.zeros(1, 1, 4))
        self.fc = nn.Linear(4, 12)

    def forward(self, x):
        n = x.shape[0]
        torch._assert(n == 2, "two of them")
        x = torch.cat([self.token.expand(n, -1, -1), x], 1)
        q, k, v = self.fc(x).chunk(3, dim=-1)
        places = torch.arange(n).unsqueeze(0)
        mixed = q @ k.transpose(1, 2) @ v.contiguous()
        return mixed.permute(1, 0, 2)[places].squeeze(0)


@pytest.fixture(scope="module", params=["symbolic", "recorded"])
def graph(request):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return open_model(Plumbing(), torch.rand(2, 2, 4), backend=request.param)


def names(graph, hidden):
    """Which operations are shown, without what tells repeats apart."""
    shown = [n for n in graph.nodes if n.name not in hidden]
    return [n.name.rstrip("_0123456789") if n.kind == "operation" else n.name for n in shown]


def test_operations_are_what_computes(graph):
    computing = ["x", "token", "cat", "fc", "matmul", "matmul", "getitem"]  # at places: no view
    assert names(graph, hidden_nodes(graph)) == computing
    assert names(graph, hidden_nodes(graph, "modules")) == ["x", "fc"]
    assert hidden_nodes(graph, "everything") == frozenset()


def test_what_is_ticked_is_never_hidden(graph):
    views = [n.name for n in graph.nodes if n.target in ("chunk", "permute")]
    assert len(views) == 2
    for detail in DETAILS:
        assert hidden_nodes(graph, detail, views).isdisjoint(views)
    assert all(name in to_html(graph, return_nodes=views) for name in views)
    assert "permute" not in to_text(graph)
    assert "permute" in to_text(graph, detail="everything")


def test_the_node_that_raised_is_shown():
    class Wrong(nn.Module):
        def forward(self, x):
            return x.view(3, 3)

    graph = open_model(Wrong(), torch.ones(4), partial=True)
    assert graph.error.name == "view"
    assert [hidden_nodes(graph, detail) for detail in DETAILS] == [frozenset()] * 3


@pytest.fixture(scope="module")
def vit():
    return open_model(torchvision.models.VisionTransformer(32, 16, 3, 2, 16, 32))


@pytest.mark.parametrize("detail", ["modules", "operations"])
@pytest.mark.parametrize("folded", [True, False])
def test_edges_pass_through_what_has_no_box(vit, detail, folded):
    graph = vit
    expanded = [module.path for module in graph.modules if not folded or module.path == "encoder"]
    hidden = hidden_nodes(graph, detail)
    drawing = Drawing.of(graph, expanded, "all", hidden)
    full = Drawing.of(graph, expanded, "all")
    gone = {graph.index[name] for name in hidden}
    after = {}
    for tail, head in full.links:
        after.setdefault(tail, []).append(head)
    expected = set()
    for tail in set(after) - gone:
        ahead = list(after[tail])
        while ahead:
            head = ahead.pop()
            if head in gone:
                ahead += after.get(head, [])
            else:
                expected.add((tail, head))
    assert set(drawing.links) == expected
    assert any(head == OUTPUT for _, head in expected)
    assert set(drawing.boxes) == set(full.boxes) - gone


def test_a_module_of_views_alone_is_a_box():
    nodes = (
        Node("x", "input", "x", shape=(2, 3)),
        Node("flip.t", "operation", "t", "flip", inputs=("x",), shape=(3, 2)),
        Node("relu", "operation", "relu", inputs=("flip.t",), shape=(3, 2)),
    )
    graph = ModelGraph("Net", nodes, (Module("flip", "Flip"),), ("relu",))
    drawing = Drawing.of(graph, ["flip"], "all", hidden_nodes(graph))
    assert [graph.rows[i].name for i in drawing.boxes] == ["x", "flip", "relu"]
    assert not drawing.clusters


def test_the_diagram_follows_ticks_and_focus(graph):
    diagram = NodeGraph(graph)
    view = next(n.name for n in graph.nodes if n.target == "chunk")
    assert view not in diagram.boxes.values()
    diagram.focused = view
    assert view in diagram.boxes.values()
    diagram.focused = ""
    assert view not in diagram.boxes.values()
    diagram.selected = [view]
    assert view in diagram.boxes.values()
    diagram.selected, diagram.detail = [], "everything"
    assert view in diagram.boxes.values()
    assert "chunk" in diagram.dot


def test_views_of_little_detail_say_how_much_is_left_out(graph):
    count = len(hidden_nodes(graph))
    assert f"{count} rows are left out (sizes, asserts" in to_text(graph)
    assert f"{count} rows are left out (sizes, asserts" in to_html(graph)
    assert "left out" not in to_html(graph, detail="everything")
    with pytest.raises(ValueError, match="detail is 'all'; write one of 'modules', 'operations'"):
        to_text(graph, detail="all")
