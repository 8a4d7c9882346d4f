"""What differs between two models, against what was done to one of them."""

import copy
import math

import pytest
import torch
from torch import nn

from fxexplore import compare, open_model, to_html, to_text
from fxexplore.notebook.comparison import ComparisonPanel


class Block(nn.Module):
    def __init__(self, width=4):
        super().__init__()
        self.fc = nn.Linear(4, width)
        self.act = nn.ReLU()
        self.out = nn.Linear(width, 4)

    def forward(self, x):
        return x + self.out(self.act(self.fc(x)))


def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), Block(), Block(), nn.BatchNorm1d(4), nn.Linear(4, 2))


def edited(edit):
    after = model()
    with torch.no_grad():
        edit(after)
    return compare(model(), after, torch.ones(2, 3))


def setter(path, module):
    return lambda net: net.set_submodule(path, module)


@pytest.mark.parametrize(
    ("edit", "kind", "names", "words"),
    [
        (lambda _: None, "changed", [], ()),
        (setter("4", nn.Linear(4, 3)), "changed", ["4"],
         ("out_features=2 → 3", "output 2×2 → 2×3", "10 → 15 parameters")),
        (setter("1.act", nn.GELU()), "changed", ["1.act"], ("ReLU → GELU",)),
        (setter("3", nn.BatchNorm1d(4, eps=0.1)), "changed", ["3"], ("eps=1e-05 → 0.1",)),
        (lambda net: net.append(nn.ReLU()), "added", ["5"], ()),
        (lambda net: net.pop(4), "removed", ["4"], ()),
        (setter("2", nn.Identity()), "removed", ["2.fc", "2.act", "2.out", "2.add"], ()),
        (lambda net: net[4].requires_grad_(requires_grad=False), "changed", ["4"],
         ("trained → frozen",)),
    ],
)  # fmt: skip
def test_an_edit_is_told_where_it_was_made(edit, kind, names, words):
    comparison = edited(edit)
    assert getattr(comparison, kind) == names
    for name in names:
        assert comparison[name].words == words or kind != "changed"


def test_a_module_that_became_a_leaf_holds_what_is_gone():
    comparison = edited(setter("2", nn.Identity()))
    assert comparison["2"].words == ("Block → Identity",)
    assert comparison.graph.children("2") == ["2.fc", "2.act", "2.out", "2.add"]
    back = compare(comparison.second, comparison.first)
    assert back.added == comparison.removed
    assert back["2"].words == ("Identity → Block",)


def test_what_reads_another_node_is_told():
    class Other(Block):
        def forward(self, x):
            return x + self.out(self.fc(self.act(x)))

    Other.__name__ = "Block"
    comparison = edited(setter("1", Other()))
    assert comparison["1.act"].words == ("reads 1.fc → 0",)


def test_the_distance_of_parameters_is_that_of_one_long_vector():
    before, after = model(), model()
    with torch.no_grad():
        for parameter in after[2].parameters():
            parameter.add_(torch.randn_like(parameter))
        after[3].running_mean.add_(1.0)
    comparison = compare(before, after, torch.ones(2, 3))

    def distance(path):
        a, b = (
            torch.cat([p.flatten() for p in m.get_submodule(path).parameters()]).double()
            for m in (before, after)
        )
        return ((b - a).norm() / a.norm()).item()

    assert comparison.of_kind("moved") == ["2", "2.fc", "2.out", "3"]
    for name in ("2", "2.fc", "2.out"):
        assert comparison[name].moved == pytest.approx(distance(name))
    assert comparison.moved == pytest.approx(distance(""))
    assert comparison["3"].marks == ("Δ running_mean",)
    assert "Δ" in to_text(comparison.graph)


def test_models_are_left_as_they_are_and_odd_parameters_do_no_harm():
    before, after = nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False)
    after.weight = nn.Parameter(torch.ones(2, 2, dtype=torch.float16))
    nn.init.zeros_(before.weight)
    assert math.isinf(compare(before, after).moved)
    tied = nn.Sequential(before, before)
    assert compare(tied, copy.deepcopy(tied)).moved == 0
    assert before.weight.grad is None
    assert not compare(tied, tied)
    half = compare(tied, copy.deepcopy(tied).half())
    assert half["0"].words == ("float32 → float16",)


def test_graphs_are_compared_without_their_models():
    graphs = [open_model(net, torch.ones(2, 3)) for net in (model(), model()[:4])]
    comparison = compare(*graphs)
    assert repr(comparison) == "Comparison(Sequential → Sequential: 1 removed)"
    assert comparison.moved is None
    with pytest.raises(KeyError, match=r"nothing differs in '1\.fc'"):
        comparison["1.fc"]


def test_a_notebook_shows_one_tree_with_marks_and_the_page_has_them_too():
    comparison = edited(lambda net: (net.pop(4), net[1].set_submodule("act", nn.GELU())))
    data, _ = comparison._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in data
    for shown in (data["text/html"], data["text/plain"], to_html(comparison.graph)):
        assert "≠ ReLU → GELU" in shown
        assert "− removed" in shown
        assert "1 added, " not in shown
    tree = ComparisonPanel(comparison).tree
    assert tree.expanded == ["1"]  # around what differs
    assert [mark.partition(":")[0] for mark in tree.marks if mark] == [
        "1 inside", "≠ ReLU → GELU", "− removed",
    ]  # fmt: skip
