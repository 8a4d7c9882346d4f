import dataclasses

import pytest
import torch
import torchvision
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from fxexplore import open_model
from fxexplore.model_graph import ModelGraph, Module, Node
from fxexplore.views.siblings import FEWEST, repeated_siblings


def flat(kinds):
    """A model with one leaf module per letter; the same letters are the same structure."""
    nodes = (Node(f"{i}", "module", "Linear", detail=kind) for i, kind in enumerate(kinds))
    return ModelGraph("M", tuple(nodes), ())


@given(st.text("ab"))
def test_they_are_the_longest_stretches_of_equal_siblings(kinds):
    found = repeated_siblings(flat(kinds))
    covered = [range(group.first, group.first + group.count) for group in found]
    for stretch in covered:
        assert len(stretch) >= FEWEST
        assert len({kinds[i] for i in stretch}) == 1
        assert kinds[stretch.start - 1 : stretch.start] != kinds[stretch.start]
        assert kinds[stretch.stop : stretch.stop + 1] != kinds[stretch.start]
    left = [i for i in range(len(kinds)) if not any(i in stretch for stretch in covered)]
    assert all(
        len({kinds[i] for i in left[n : n + 3]}) > 1 or left[n + 2] - left[n] > 2
        for n in range(len(left) - 2)
    )


def test_the_blocks_of_an_encoder_are_one_group():
    model = torchvision.models.vit_b_16(weights=None)
    graph = open_model(model)
    groups = repeated_siblings(graph)
    (group,) = (group for group in groups if "layers" in graph.rows[group.first].name)
    assert graph.rows[group.first].name == "encoder.layers.encoder_layer_0"
    assert group.count == 12
    last = graph.rows[group.end - 1].name
    assert last.startswith("encoder.layers.encoder_layer_11.")


def test_what_differs_anywhere_below_is_another_structure():
    blocks = [nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.1)) for _ in range(9)]
    blocks[4][1].p = 0.2
    graph = open_model(nn.Sequential(nn.ReLU(), nn.Sequential(*blocks)), torch.ones(1, 4))
    found = [(graph.rows[group.first].name, group.count) for group in repeated_siblings(graph)]
    assert found == [("1.0", 4), ("1.5", 4)]


@pytest.mark.parametrize(
    "change",
    [{"detail": "5, 5"}, {"parameters": 7}, {"frozen": 3}, {"shape": (1, 5)}, {"target": "Conv"}],
)
def test_every_fact_counts(change):
    graph = flat("aaa")
    nodes = (graph.nodes[0], dataclasses.replace(graph.nodes[1], **change), graph.nodes[2])
    assert repeated_siblings(ModelGraph("M", nodes, ())) == ()


def test_names_inside_count():
    def block(n, name):
        path = f"b{n}"
        return Module(path, "Block"), Node(f"{path}.{name}", "module", "ReLU", path)

    made = [block(n, "act" if n < 3 else "relu") for n in range(6)]
    graph = ModelGraph("M", tuple(node for _, node in made), tuple(module for module, _ in made))
    assert [(group.first, group.count, group.end) for group in repeated_siblings(graph)] == [
        (0, 3, 6),
        (6, 3, 12),
    ]


def test_operations_are_not_folded():
    nodes = tuple(Node(f"add_{i}", "operation", "add") for i in range(5))
    assert repeated_siblings(ModelGraph("M", nodes, ())) == ()
