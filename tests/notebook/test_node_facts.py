import dataclasses

import pytest
import torchvision
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from fxexplore import open_model
from fxexplore.model_graph.graph import ModelGraph, Module, Node
from fxexplore.notebook.node_facts import NodeFacts, byte_text, facts_of


@pytest.fixture(scope="module")
def graph():
    model = torchvision.models.resnet18(weights=None)
    model.layer1.requires_grad_(False)
    return open_model(model)


def texts(graph, name):
    return {f["label"]: f["text"] for f in facts_of(graph, name) if "text" in f}


def links(graph, name):
    return {f["label"]: f["links"] for f in facts_of(graph, name) if "links" in f}


def test_a_leaf_modules_facts(graph):
    facts = texts(graph, "layer1.0.conv2")
    assert facts["class"] == "Conv2d"
    assert facts["arguments"].startswith("64, 64, kernel_size=(3, 3)")
    assert facts["output"] == "1×64×56×56 · float32"
    assert facts["parameters"] == "36,864 · 0.32 % of the model · frozen"
    assert facts["activations"] == "784 KiB"  # 64 * 56 * 56 * 4 bytes
    assert texts(graph, "layer1.0.relu_1")["calls"] == "call 2 of 2 in one run"


def test_what_runs_more_than_once_says_of_which_call_it_is():
    block = nn.Sequential(nn.Linear(2, 2), nn.Flatten(0))
    graph = open_model(nn.Sequential(block, block, nn.ReLU()))
    last = "2 in one run; its value is that of the last"
    assert texts(graph, "0")["calls"] == last
    assert texts(graph, "0.1_1")["calls"] == "call 2 of 2 in one run"
    assert "calls" not in texts(graph, "2")


def test_an_operation_of_a_module_that_is_called_again_says_so():
    nodes = [Node(f"f.relu{i}", "operation", "relu", parent="f") for i in ("", "_1")]
    graph = ModelGraph("Net", tuple(nodes), (Module("f", "Block", calls=2),))
    assert texts(graph, "f.relu_1")["calls"] == "in one of the 2 calls of f"


def test_an_operation_says_where_it_is_in_the_code(graph):
    facts = texts(graph, "layer1.0.add")
    assert facts["operation"] == "add"
    assert facts["in the code"].startswith("resnet.py:")


def test_the_neighbours_of_a_node_are_those_of_the_graph(graph):
    assert links(graph, "layer1.0.add") == {
        "inputs": ["layer1.0.bn2", "maxpool"],
        "outputs": ["layer1.0.relu_1"],
        "inside": ["layer1.0"],
    }


def test_the_neighbours_of_a_module_are_outside_it(graph):
    assert links(graph, "layer2") == {
        "inputs": ["layer1.1.relu_1"],
        "outputs": ["layer3.0.conv1", "layer3.0.downsample.0"],
        "contains": ["layer2.0", "layer2.1"],
    }


def test_every_link_of_every_node_leads_somewhere(graph):
    for name in graph.index:
        for names in links(graph, name).values():
            assert set(names) <= set(graph.index)


def test_the_widget_follows_the_focus_and_the_graph(graph):
    widget = NodeFacts(graph)
    assert widget.facts == []
    widget.focused = "fc"
    assert widget.facts == facts_of(graph, "fc")
    widget.graph = dataclasses.replace(graph, nodes=graph.nodes[:3])
    assert widget.facts == []


def test_a_container_that_is_never_called_says_so():
    class Blocks(nn.Module):
        def __init__(self):
            super().__init__()
            self.blocks = nn.ModuleList([nn.Linear(2, 2)])
            self.idle = nn.Linear(2, 2)

        def forward(self, x):
            return self.blocks[0](x)

    graph = open_model(Blocks())
    assert "that of the last node" in texts(graph, "blocks")["calls"]
    assert "nothing of it ran" in texts(graph, "idle")["calls"]


@given(st.integers(0, 1 << 50))
def test_bytes_are_short_and_near(number):
    value, unit = byte_text(number).split()
    factor = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}[unit]
    assert abs(float(value) * factor - number) <= 0.006 * number
