import dataclasses
import json

import pytest
import torch
import torchvision
from hypothesis import given
from hypothesis import strategies as st
from ipywidgets.widgets.widget import _remove_buffers

from fxexplore import open_model
from fxexplore.model_graph import ModelGraph, Module, Node
from fxexplore.notebook.node_tree import NodeTree
from tests.graphs import big_graph


class Wire:
    """What a widget sends, in place of its comm."""

    comm_id = "wire"
    kernel = True

    def __init__(self, widget):
        self.messages = []
        widget.comm = self

    def on_msg(self, handler):
        self.receive = handler

    def send(self, data, buffers=()):
        self.messages.append((data, [bytes(buffer) for buffer in buffers]))

    def close(self):
        pass

    def take(self):
        """The traits that were sent since the last time, and the number of bytes."""
        traits = {name for data, _ in self.messages for name in data["state"]}
        traits |= {path[0] for data, _ in self.messages for path in data["buffer_paths"]}
        size = sum(
            len(json.dumps(data["state"])) + sum(map(len, buffers))
            for data, buffers in self.messages
        )
        self.messages.clear()
        return traits, size


def opening_size(tree):
    """Bytes on the wire when a tree is shown, without its module and styles."""
    state = {k: v for k, v in tree.get_state().items() if k not in ("_esm", "_css")}
    plain, _, buffers = _remove_buffers(state | {"layout": None, "tooltip": None})
    return len(json.dumps(plain)) + sum(map(len, buffers))


@pytest.fixture(scope="module")
def resnet():
    return open_model(torchvision.models.resnet18(weights=None))


def test_a_row_is_at_most_100_bytes_and_10_000_are_less_than_a_megabyte():
    tree = NodeTree(big_graph(10_000))  # for 100,000 see the tests in the browser
    size = opening_size(tree)
    assert size <= 100 * len(tree.graph.rows)
    assert size < 1_000_000


def test_facts_that_arrive_later_send_only_their_columns(resnet):
    bare = dataclasses.replace(
        resnet,
        nodes=tuple(dataclasses.replace(n, shape=None, flops=None) for n in resnet.nodes),
        modules=tuple(dataclasses.replace(m, shape=None, flops=None) for m in resnet.modules),
    )
    tree = NodeTree(bare, selected=["layer1"], focused="layer2")
    wire = Wire(tree)
    expanded = tree.expanded
    tree.graph = resnet
    assert wire.take()[0] == {"shapes", "flops"}
    assert tree.shapes == NodeTree(resnet).shapes
    assert (tree.selected, tree.focused, tree.expanded) == (["layer1"], "layer2", expanded)
    tree.graph = resnet
    assert wire.take()[0] == set()


def test_another_model_keeps_what_it_has_of_the_selection(resnet):
    tree = NodeTree(resnet, selected=["layer1.0.relu", "fc"], focused="layer4")
    tree.expanded = ["layer1", "layer4"]
    tree.graph = ModelGraph(
        "M", (Node("layer1.x", "operation", "add", "layer1"), Node("fc", "module", "Linear")),
        (Module("layer1", "Sequential"),),
    )  # fmt: skip
    assert (tree.selected, tree.focused, tree.expanded) == (["fc"], "", ["layer1"])
    assert tree.labels == ["layer1", "x", "fc"]


def test_ticking_and_folding_send_little():
    tree = NodeTree(big_graph(20_000), expanded=[])
    wire = Wire(tree)
    tree.expanded = [module.path for module in tree.graph.modules]
    assert len(tree.expanded) > 1_000
    tree.expanded = tree.expanded[:500] + tree.expanded[501:]
    tree.selected = ["stage_1"]
    traits, size = wire.take()
    assert traits == {"expanded", "selected"}
    assert size < 1_000


@given(st.lists(st.booleans(), min_size=1, max_size=400))
def test_some_of_the_names_arrive_as_they_were_sent(chosen):
    paths = [f"module_{i}" for i in range(len(chosen))]
    nodes = [Node(f"{path}.relu", "module", f"ReLU{path}", path) for path in paths]
    graph = ModelGraph("M", tuple(nodes), tuple(Module(path, "Block") for path in paths))
    names = [path for path, is_in in zip(paths, chosen, strict=True) if is_in]
    sent = NodeTree(graph, expanded=names).get_state("expanded")
    other = NodeTree(graph, expanded=[])
    other.set_state(json.loads(json.dumps(sent)))
    assert other.expanded == names


def test_ranges_in_a_message_are_understood():
    tree = NodeTree(big_graph(20_000), expanded=[])
    wire = Wire(tree)
    data = {"method": "update", "state": {"expanded": [0, 40, 41, 42]}}
    wire.receive({"content": {"data": data}, "buffers": []})
    paths = [row.name for row in tree.graph.rows if isinstance(row.item, Module)]
    assert tree.expanded == [*paths[:40], paths[41]]


def test_labels_join_to_names(resnet):
    shared = ModelGraph(
        "M",
        (Node("a.conv", "module", "Conv2d", "a"), Node("a.relu", "module", "ReLU", "b")),
        (Module("a", "A"), Module("b", "B")),
    )
    reading = ModelGraph(
        "M", (Node("a.a_scale", "parameter", "a.scale", "a"),), (Module("a", "A"),)
    )
    for graph in (resnet, shared, reading):
        tree = NodeTree(graph)
        outer = []
        for i, (label, row) in enumerate(zip(tree.labels, graph.rows, strict=True)):
            del outer[row.depth :]
            outer.append(tree.names.get(str(i), ".".join([*outer[-1:], label])))
            assert outer[-1] == row.name
    assert tree.labels == ["a", "scale"]


def test_rows_say_what_is_special():
    graph = ModelGraph(
        "M",
        (
            Node("a", "module", "Linear", parameters=4, frozen=4, shared=("b",), calls=2, call=2),
            Node("c", "operation", "add"),
        ),
        (Module("d", "Head", ran=False),),
    )
    tree = NodeTree(graph, only=["c"])
    assert [line.split(": ")[0] for line in tree.marks[0].split("\n")] == [
        "call 2 of 2", "shared", "frozen",
    ]  # fmt: skip
    assert tree.marks[1:] == [
        "eval only: exists in eval mode only",
        "never ran: registered in the model; nothing of it ran",
    ]
    tree.only = []
    assert tree.marks[1] == ""


def test_only_what_has_an_output_can_be_ticked():
    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.blocks = torch.nn.ModuleList([torch.nn.Sequential(torch.nn.ReLU())])

        def forward(self, x):
            return self.blocks[0](x)

    graph = open_model(Net())
    tree = NodeTree(
        dataclasses.replace(graph, modules=(*graph.modules, Module("e", "E", ran=False)))
    )
    flags = memoryview(tree.flags).cast("i")
    tickable = {row.name for row, flag in zip(tree.graph.rows, flags, strict=True) if flag & 1}
    assert tickable == {row.name for row in tree.graph.rows} - {"e"}


def test_an_unknown_column_is_refused(resnet):
    with pytest.raises(Exception, match="columns"):
        NodeTree(resnet, columns=["memory"])


def test_ranges_are_sent_again_when_the_graph_changes():
    """Ranges of rows mean other modules in another graph."""
    tree = NodeTree(big_graph(10_000))
    tree.expanded = [module.path for module in tree.graph.modules]
    wire = Wire(tree)
    graph = tree.graph
    tree.graph = dataclasses.replace(graph, nodes=(Node("x", "input", "input"), *graph.nodes[500:]))
    assert {"expanded", "open_groups", "depth"} <= wire.take()[0]
