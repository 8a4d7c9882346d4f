import re
import time
import xml.etree.ElementTree as ET

import pytest
import torchvision
from torch import nn

from fxexplore import open_model
from fxexplore.model_graph import ModelGraph, Module, Node
from fxexplore.views.diagram import OPENING_BOXES, kind_of, opening_fold, to_dot
from fxexplore.views.layout import LayoutTimeoutError, to_svg

SVG = "{http://www.w3.org/2000/svg}"
NASTY = ["<b>bold</b>", 'a"b', "a\\nb", "<&>", "]]>", "a|b{c}", "<i>", "\\N", "naïve ×"]


@pytest.fixture(scope="module")
def resnet():
    return open_model(torchvision.models.resnet18(weights=None))


def drawn(svg, kind="node"):
    groups = ET.fromstring(svg).iter(f"{SVG}g")
    return {g.get("id"): g for g in groups if kind in (g.get("class") or "").split()}


def texts(group):
    return [text.text for text in group.iter(f"{SVG}text")]


def test_what_is_folded_is_a_box_and_what_is_unfolded_a_cluster(resnet):
    svg = to_svg(to_dot(resnet, expanded=["layer1"]).source)
    assert texts(drawn(svg, "cluster")[f"row{resnet.index['layer1']}"])[0].startswith("layer1")
    boxes = drawn(svg)
    for name in ("layer1.0", "layer1.1", "layer2", "conv1"):
        assert f"row{resnet.index[name]}" in boxes
    for name in ("layer1", "layer1.0.conv1", "layer2.0"):
        assert f"row{resnet.index[name]}" not in boxes


def test_edges_between_two_boxes_are_one_with_a_count(resnet):
    dot = to_dot(resnet, expanded=[]).source
    maxpool, layer1 = resnet.index["maxpool"], resnet.index["layer1"]
    assert len(re.findall(rf"row{maxpool} -> row{layer1}\b", dot)) == 1
    assert re.search(rf'row{maxpool} -> row{layer1} \[label=" ×2"\]', dot)


@pytest.mark.parametrize("name", NASTY)
def test_names_are_text_whatever_they_contain(name):
    model = nn.Sequential()
    model._modules[name] = nn.ReLU()
    graph = ModelGraph("M", (Node(name, "module", f"{name}()"),), ())
    group = drawn(to_svg(to_dot(graph).source))["row0"]
    assert texts(group)[0] == name


@pytest.mark.parametrize("name", ["densenet201", "maxvit_t", "mvit_v2_s", "vit_l_16", "resnet152"])
def test_the_opening_picture_is_bounded(name):
    graph = open_model(torchvision.models.get_model(name, weights=None))
    svg = to_svg(to_dot(graph, opening_fold(graph)).source)
    assert 8 < len(drawn(svg)) <= OPENING_BOXES + 1  # and the output
    assert opening_fold(graph)


def test_modules_are_unfolded_only_inside_unfolded_ones(resnet):
    expanded = opening_fold(resnet)
    for path in expanded:
        assert set(resnet.ancestors(path)) <= set(expanded)


def test_sizes_are_left_out_of_the_picture():
    graph = open_model(torchvision.models.vit_b_16(weights=None))
    boxes = drawn(to_svg(to_dot(graph, expanded=[]).source))
    sizes = {f"row{graph.index[node.name]}" for node in graph.nodes if node.kind == "size"}
    assert sizes
    assert sizes.isdisjoint(boxes)


def test_a_ticked_box_is_marked_without_colour_alone(resnet):
    boxes = drawn(to_svg(to_dot(resnet, selected=["conv1"]).source))
    assert texts(boxes[f"row{resnet.index['conv1']}"])[0] == "✓ conv1"
    assert "✓" not in texts(boxes[f"row{resnet.index['bn1']}"])[0]


@pytest.mark.parametrize(
    ("item", "kind"),
    [
        (Node("a", "module", "Conv2d"), "convolution"),
        (Node("a", "module", "BatchNorm2d"), "normalisation"),
        (Node("a", "module", "MultiheadAttention"), "attention"),
        (Node("a", "module", "AdaptiveAvgPool2d"), "pooling"),
        (Node("a", "operation", "relu_"), "activation"),
        (Node("a", "operation", "add"), "operation"),
        (Node("x", "input", "x"), "input"),
        (Module("a", "Conv2dNormActivation"), "folded"),
    ],
)
def test_boxes_have_the_kind_of_what_they_compute(item, kind):
    assert kind_of(item) == kind


def test_a_layout_that_takes_too_long_is_stopped():
    dense = "digraph {" + ";".join(f"a{i} -> a{j}" for i in range(120) for j in range(i)) + "}"
    start = time.monotonic()
    with pytest.raises(LayoutTimeoutError, match="fold a module"):
        to_svg(dense, time_limit=0.3)
    assert time.monotonic() - start < 10  # the worker is gone, not waited for


def test_layout_keeps_stderr_quiet(resnet, capfd):
    to_svg(to_dot(resnet).source)
    assert capfd.readouterr().err == ""


def test_what_graphviz_refuses_is_said_in_words():
    with pytest.raises(ValueError, match="Graphviz"):
        to_svg("digraph {")


def test_a_model_graph_draws_itself(resnet):
    assert resnet.to_dot(expanded=[]).source == to_dot(resnet, expanded=[]).source
