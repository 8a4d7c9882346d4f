import asyncio
import dataclasses
import subprocess
import sys
import xml.etree.ElementTree as ET

import pytest
import torchvision
from torch import nn

from fxexplore import layout, open_model
from fxexplore.model_graph import ModelGraph, Node
from fxexplore.notebook import node_graph
from fxexplore.notebook.node_graph import NodeGraph

PATIENCE = 60


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3)
        self.body = nn.Sequential(nn.Sequential(nn.Conv2d(8, 8, 3), nn.ReLU()), nn.ReLU())

    def forward(self, x):
        return self.body(self.stem(x))


@pytest.fixture(scope="module")
def graph():
    return open_model(Net().eval())


def shown(diagram):
    """The names of the boxes and clusters in the picture."""
    root = ET.fromstring(diagram.svg)
    ids = [group.get("id") for group in root.iter("{http://www.w3.org/2000/svg}g")]
    return [diagram.boxes[i] for i in ids if i in diagram.boxes]


def test_in_a_script_the_picture_is_there_at_once(graph):
    diagram = NodeGraph(graph, expanded=[])
    assert sorted(shown(diagram)) == ["body", "stem", "x"]
    diagram.expanded = ["body"]
    assert sorted(shown(diagram)) == ["body", "body.0", "body.1", "stem", "x"]
    assert not diagram.busy
    assert diagram.wait(0)


def test_only_what_is_in_the_picture_is_described(graph):
    diagram = NodeGraph(graph, expanded=["body"])
    assert sorted(diagram.boxes.values()) == sorted(shown(diagram))
    assert diagram.facts.keys() == diagram.boxes.keys()
    facts = {diagram.boxes[i]: fact for i, fact in diagram.facts.items()}
    kind, can_tick, text = facts["stem"]
    assert (kind, can_tick) == ("convolution", 1)
    assert text.split("\n")[:3] == [
        "Conv2d(3, 8, kernel_size=(3, 3), stride=(1, 1))", "1×8×222×222", "224 parameters",
    ]  # fmt: skip
    assert facts["body"][0] == "folded"


def in_a_loop(action):
    """Run a coroutine function as a kernel would: with messages between its steps."""
    return asyncio.run(asyncio.wait_for(action(), PATIENCE))


async def settled(diagram):
    arrived = asyncio.Event()
    diagram.observe(lambda _: arrived.set(), "busy")
    while diagram.busy:
        await arrived.wait()


def test_in_a_kernel_the_picture_comes_when_it_is_ready(graph):
    async def action():
        diagram = NodeGraph(graph, expanded=[])
        assert diagram.busy
        assert not diagram.svg
        await settled(diagram)
        assert "body" in shown(diagram)
        diagram.expanded = ["body"]
        assert "body.0" not in shown(diagram)  # the last picture, until the new one is there
        await settled(diagram)
        assert "body.0" in shown(diagram)

    in_a_loop(action)


def test_in_a_kernel_only_the_newest_picture_arrives(graph):
    seen = []

    async def action():
        diagram = NodeGraph(graph, expanded=[])
        await settled(diagram)
        diagram.observe(lambda _: seen.append(len(shown(diagram))), "svg")
        for expanded in (["body"], [], ["body", "body.0"]):
            diagram.expanded = expanded
        await settled(diagram)
        await asyncio.sleep(0.1)  # nothing comes late
        assert sorted(shown(diagram)) == sorted(row.name for row in graph.rows)

    in_a_loop(action)
    assert len(seen) == 1


def test_in_a_kernel_wait_blocks_until_the_picture_is_there(graph):
    async def action():
        diagram = NodeGraph(graph, expanded=["body"])
        assert diagram.wait(PATIENCE)
        assert "body.0" in shown(diagram)
        assert not diagram.busy

    in_a_loop(action)


def test_wait_gives_up(graph, monkeypatch):
    monkeypatch.setattr(layout, "lay_out", lambda *_, stop, **__: stop.wait(PATIENCE))

    async def action():
        diagram = NodeGraph(graph)
        assert not diagram.wait(0.05)
        assert diagram.busy
        diagram.close()

    in_a_loop(action)


def test_a_new_graph_keeps_what_still_exists(graph):
    diagram = NodeGraph(
        graph, expanded=["body", "body.0"], selected=["stem", "body.1"], focused="body.1"
    )
    nodes = tuple(node for node in graph.nodes if node.name != "body.1")
    diagram.graph = dataclasses.replace(graph, nodes=nodes, outputs=(), mode="train")
    assert diagram.selected == ["stem"]
    assert diagram.expanded == ["body", "body.0"]
    assert (diagram.focused, diagram.mode) == ("", "train")
    assert "body.1" not in shown(diagram)
    assert diagram.graph.mode == "train"


def test_facts_that_arrive_later_are_drawn(graph):
    bare = dataclasses.replace(
        graph, nodes=tuple(dataclasses.replace(node, shape=None) for node in graph.nodes)
    )
    diagram = NodeGraph(bare, expanded=[])
    assert "1×8×222×222" not in diagram.svg
    diagram.graph = graph
    assert "1×8×222×222" in diagram.svg


def test_a_picture_of_too_many_boxes_says_what_to_fold(graph, monkeypatch):
    monkeypatch.setattr(node_graph, "_MOST_BOXES", 4)
    diagram = NodeGraph(graph, expanded=[])
    last = diagram.svg
    diagram.expanded = ["body", "body.0"]
    assert diagram.svg == last
    assert diagram.message.startswith("This is the last picture: the picture would have 5 boxes.")
    assert "Fold body (3 boxes) or body.0 (2 boxes)." in diagram.message
    assert not diagram.wait(0)
    diagram.expanded = ["body"]
    assert diagram.message == ""
    assert diagram.wait(0)


def test_a_layout_that_takes_too_long_leaves_the_last_picture(graph, monkeypatch):
    diagram = NodeGraph(graph, expanded=[])
    last = diagram.svg
    monkeypatch.setattr(node_graph, "_SECONDS", 1e-9)
    diagram.expanded = ["body"]
    assert diagram.svg == last
    assert "too dense" in diagram.message
    assert "Fold body" in diagram.message


def test_without_graphviz_the_message_says_what_to_install(graph, monkeypatch):
    def failed(*_, **__):
        raise RuntimeError("there is no Graphviz: pip install it")

    monkeypatch.setattr(layout, "lay_out", failed)
    assert NodeGraph(graph).message.startswith("No picture: there is no Graphviz: pip install it")


def test_a_picture_that_took_too_long_is_drawn_plainer(monkeypatch):
    dense = tuple(
        Node(f"n{i}", "operation", "cat", inputs=tuple(f"n{j}" for j in range(i))) for i in range(8)
    )
    real = layout.lay_out

    def second_try(sources, **kwargs):
        first, second = sources
        assert first.count("->") == 28
        assert second.count("->") == 7
        return real(["digraph {", second], **kwargs)

    monkeypatch.setattr(layout, "lay_out", second_try)
    diagram = NodeGraph(ModelGraph("Dense", dense, ()))
    assert "21 edges that longer paths imply are left out" in diagram.message
    assert len(diagram.left_out) == 42


@pytest.mark.thorough
@pytest.mark.parametrize("name", ["densenet201"])
def test_bytes_on_the_wire_are_bounded(name):
    graph = open_model(torchvision.models.get_model(name, weights=None))
    diagram = NodeGraph(graph)
    state = diagram.get_state(["svg", "boxes", "facts", "left_out", "selected", "expanded"])
    assert sum(len(str(value)) for value in state.values()) < 1_500 * len(diagram.boxes)


def test_the_slim_picture_has_the_same_texts_as_graphvizs():
    nodes = (Node("a<!--b-->", "module", "V1.2345 <title>"), Node("c", "module", 'd="1.234"'))
    diagram = NodeGraph(ModelGraph("M", nodes, ()))
    whole = layout.to_svg(diagram.dot)
    texts = [
        [text.text for text in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]
        for svg in (diagram.svg, whole)
    ]
    assert texts[0] == texts[1]
    assert len(diagram.svg) < 0.9 * len(whole)


STARTS = {"svg": b"<?xml", "png": b"\x89PNG", "pdf": b"%PDF", "dot": b"digraph", "gv": b"digraph"}


@pytest.mark.parametrize(("suffix", "start"), STARTS.items())
def test_the_picture_is_saved_by_its_suffix(graph, tmp_path, suffix, start):
    diagram = NodeGraph(graph, expanded=[], selected=["stem"])
    diagram.save(tmp_path / f"picture.{suffix}")
    saved = (tmp_path / f"picture.{suffix}").read_bytes()
    assert saved.startswith(start)
    if suffix in ("svg", "dot", "gv"):
        assert "✓" in saved.decode()


def test_another_suffix_is_refused_in_words(graph, tmp_path):
    with pytest.raises(ValueError, match=r"picture\.jpg' does not end with \.svg"):
        NodeGraph(graph).save(tmp_path / "picture.jpg")


@pytest.mark.thorough
def test_an_event_loop_that_has_ended_is_no_error():
    code = """
import asyncio
from fxexplore.model_graph import ModelGraph, Node
from fxexplore.notebook.node_graph import NodeGraph
async def main():
    return NodeGraph(ModelGraph("M", (Node("a", "input", "x"),), ()))
diagram = asyncio.run(main())
print(diagram.wait(60))
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (run.stdout, run.stderr) == ("True\n", "")
