"""Loops and siblings of one structure, drawn once."""

import pytest
import torch
from torch import nn

from fxexplore import open_model, to_dot, to_html, to_text
from fxexplore.views.drawing import OUTPUT, Drawing
from fxexplore.views.siblings import folded_groups, repeated_siblings


class Cell(nn.Module):
    def __init__(self):
        super().__init__()
        self.i = nn.Linear(4, 8)
        self.h = nn.Linear(8, 8)

    def forward(self, x, h):
        return torch.tanh(self.i(x) + self.h(h))


class Recurrent(nn.Module):
    def __init__(self, cell):
        super().__init__()
        self.cell = cell
        self.out = nn.Linear(8, 2)

    def forward(self, x):
        h, states = x.new_zeros(x.shape[0], 8), []
        for t in range(12):
            h = self.cell(x[:, t], h)
            states.append(h)
        return self.out(torch.stack(states, 1))


class Diffusion(nn.Module):
    def __init__(self):
        super().__init__()
        self.unet = nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.Linear(8, 4))

    def forward(self, x):
        for _ in range(12):
            x = x - 0.1 * self.unet(x)
        return x


class Stack(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(4, 4) for _ in range(12)])

    def forward(self, x):
        for layer in self.layers:
            x = torch.relu(layer(x))
        return x


def edges(graph, expanded=(), keep=()):
    """The edges of a picture, by name."""
    groups = folded_groups(graph, keep=keep)
    drawing = Drawing.of(graph, expanded, "all", groups=groups)
    name = {OUTPUT: "output"} | {i: row.name for i, row in enumerate(graph.rows)}
    return {(name[tail], name[head]) for tail, head in drawing.links}


@pytest.mark.parametrize("backend", ["symbolic", "recorded"])
def test_a_recurrent_module_is_one_box_with_an_edge_back_to_itself(backend):
    cell, x = nn.GRUCell(4, 8), torch.ones(2, 12, 4)
    graph = open_model(Recurrent(cell), x, backend=backend)
    source = to_dot(graph).source
    row = graph.index["cell"]
    assert f"row{row} -> row{row} [" in source
    assert source.count("GRUCell × 12") == 1
    assert "style=dashed" in source
    assert "used 12 times" in source  # x, of which each round takes a part
    assert to_dot(graph, open_groups=[graph.rows[g.first].name for g in repeated_siblings(graph)]
                  ).source.count("GRUCell") == 12  # fmt: skip


def test_what_comes_back_leads_from_the_end_of_a_round_to_its_beginning():
    graph = open_model(Recurrent(Cell()), torch.ones(2, 12, 4))
    inside = edges(graph, ["cell"])
    assert ("cell.tanh", "cell.h") in inside
    assert not [pair for pair in inside if any(name.endswith("_5") for name in pair)]
    assert ("cell", "cell") in edges(graph)  # the same, where the cell is folded
    diffusion = edges(open_model(Diffusion(), torch.ones(2, 4)), ["unet"])
    assert {("sub", "unet.0"), ("unet.2", "mul"), ("mul", "sub"), ("sub", "output")} <= diffusion


def test_siblings_that_are_called_in_turn_are_drawn_once_with_what_is_between():
    graph = open_model(Stack(), torch.ones(2, 4))
    assert edges(graph, ["layers"]) == {
        ("x", "layers.0"), ("layers.0", "relu"), ("relu", "layers.0"), ("relu", "output"),
    }  # fmt: skip
    source = to_dot(graph, ["layers"]).source
    assert "0 … 11" in source
    assert "12 × Linear" in source


def test_what_is_inside_the_first_stands_for_all():
    blocks = nn.Sequential(*[nn.Sequential(nn.Linear(4, 4), nn.ReLU()) for _ in range(5)])
    graph = open_model(nn.Sequential(nn.Tanh(), blocks))
    inside = edges(graph, ["1", "1.0"])
    assert ("1.0.1", "1.0.0") in inside
    assert ("1.0.1", "output") in inside
    assert not [name for pair in inside for name in pair if name.startswith("1.3")]


@pytest.mark.parametrize("ticked", ["1.0", "1.3", "1.3.0"])
def test_what_is_ticked_is_never_drawn_as_one_of_many(ticked):
    blocks = nn.Sequential(*[nn.Sequential(nn.Linear(4, 4), nn.ReLU()) for _ in range(5)])
    graph = open_model(nn.Sequential(nn.Tanh(), blocks))
    assert ("1.3", "1.4") in edges(graph, ["1"], keep=[ticked])


def test_what_is_unfolded_has_its_picture():
    blocks = nn.Sequential(*[nn.Sequential(nn.Linear(4, 4), nn.ReLU()) for _ in range(5)])
    graph = open_model(nn.Sequential(blocks))
    assert f"cluster_row{graph.index['0.0']}" in to_dot(graph, ["0", "0.0"]).source
    assert f"row{graph.index['0.3']} " not in to_dot(graph, ["0", "0.0"]).source
    assert f"cluster_row{graph.index['0.3']}" in to_dot(graph, ["0", "0.3"]).source


def test_parallel_siblings_have_no_edge_back():
    class Heads(nn.Module):
        def __init__(self):
            super().__init__()
            self.heads = nn.ModuleList([nn.Linear(4, 4) for _ in range(5)])

        def forward(self, x):
            return torch.cat([head(x) for head in self.heads])

    graph = open_model(Heads(), torch.ones(2, 4))
    assert ("heads.0", "heads.0") not in edges(graph, ["heads"])
    assert "5 tensors" in to_dot(graph, ["heads"]).source


def test_text_and_page_fold_a_loop_into_a_line():
    graph = open_model(Diffusion(), torch.ones(2, 4))
    for shown in (to_text(graph, ["unet"]), to_html(graph, ["unet"])):
        assert "12 × 0, 1, 2, one loop" in shown
        assert "mul … sub_11" in shown
