import functools
import itertools
import re
import xml.etree.ElementTree as ET
from collections import Counter

import pytest
import torchvision
from hypothesis import given
from hypothesis import strategies as st

from fxexplore import open_model
from fxexplore.layout import to_svg
from fxexplore.model_graph import ModelGraph, Module, Node
from fxexplore.views.diagram import OPENING_BOXES, opening_fold, to_dot
from fxexplore.views.drawing import OUTPUT, Drawing, implied_edges
from fxexplore.views.kinds import FILLS, GLYPHS, kind_of
from tests.marks import mostly_thorough

SVG = "{http://www.w3.org/2000/svg}"
NASTY = [
    "&amp;",
    "<",
    ">x<",
    "a\x00b",
    "a\nb",
    "\ud800",
    "--",
    "<!--",
    "",
    " ",
    "\\",
    "x" * 300,
    "<b>bold</b>",
    'a"b',
    "a\\nb",
    "<&>",
    "]]>",
    "a|b{c}",
    "<i>",
    "\\N",
    "naïve ×",
]


@functools.cache
def opened(name):
    return open_model(torchvision.models.get_model(name, weights=None))


@pytest.fixture(scope="module")
def resnet():
    return opened("resnet18")


def drawn(svg, kind="node"):
    groups = ET.fromstring(svg).iter(f"{SVG}g")
    return {g.get("id"): g for g in groups if kind in (g.get("class") or "").split()}


def texts(group):
    return [text.text for text in group.iter(f"{SVG}text")]


def name_in(group):
    """The first text that is no sign of a kind: the name, as it is drawn."""
    return next(text for text in map(str.strip, texts(group)) if text not in GLYPHS.values())


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
    assert re.search(rf"row{maxpool} -> row{layer1} \[.*label=.*used twice", dot)


def drawn_alone(name, cls="M"):
    """The box of a leaf module with that name and class, in a picture of its own."""
    graph = ModelGraph("M", (Node(name, "module", cls),), ())
    return drawn(to_svg(to_dot(graph).source))["row0"]


def as_drawn(text):
    """What a browser shows of a text: runs of blanks are one, and some characters have a sign."""
    signs = {"\u200b": "", "\x00": "\ufffd", "\ud800": "\ufffd", "\n": "⏎"}
    return re.sub(r"\s+", " ", "".join(signs.get(c, c) for c in text)).strip()


@pytest.mark.parametrize("name", NASTY)
def test_names_are_text_whatever_they_contain(name):
    sign, *label = texts(drawn_alone(name))
    assert as_drawn(sign) in GLYPHS.values()
    assert as_drawn("".join(label)).startswith(as_drawn(name) or "·")


@pytest.mark.thorough
@given(st.text(max_size=30), st.text(max_size=30))
def test_any_name_and_class_gives_a_picture(name, cls):
    assert drawn_alone(name, cls) is not None


@pytest.mark.thorough
@pytest.mark.parametrize("path", [name for name in NASTY if name and "." not in name])
def test_names_of_clusters_are_text_whatever_they_contain(path):
    graph = ModelGraph(
        "M", (Node(f"{path}.a", "module", "ReLU", parent=path),), (Module(path, "<M>"),)
    )
    cluster = drawn(to_svg(to_dot(graph, [path]).source), "cluster")["row0"]
    assert as_drawn("".join(texts(cluster))).startswith(as_drawn(path))


@pytest.mark.parametrize(
    "name", mostly_thorough(["densenet201", "mvit_v2_s", "vit_b_16"], "vit_b_16")
)
def test_the_opening_picture_is_bounded(name):
    graph = opened(name)
    svg = to_svg(to_dot(graph, opening_fold(graph)).source)
    assert 8 < len(drawn(svg)) <= OPENING_BOXES + 1  # and the output
    assert opening_fold(graph)


def test_modules_are_unfolded_only_inside_unfolded_ones(resnet):
    expanded = opening_fold(resnet)
    for path in expanded:
        assert set(resnet.ancestors(path)) <= set(expanded)


def test_sizes_are_left_out_of_the_picture():
    graph = opened("vit_b_16")
    boxes = drawn(to_svg(to_dot(graph, expanded=[]).source))
    sizes = {f"row{graph.index[node.name]}" for node in graph.nodes if node.kind == "size"}
    assert sizes
    assert sizes.isdisjoint(boxes)


def test_every_kind_has_a_sign_of_its_own():
    assert set(GLYPHS) == set(FILLS)
    assert len(set(GLYPHS.values())) == len(GLYPHS)


def test_a_ticked_box_is_marked_without_colour_alone(resnet):
    boxes = drawn(to_svg(to_dot(resnet, selected=["conv1"]).source))
    assert name_in(boxes[f"row{resnet.index['conv1']}"]) == "✓ conv1"
    assert name_in(boxes[f"row{resnet.index['bn1']}"]) == "bn1"


@pytest.mark.parametrize(
    ("item", "kind"),
    [
        (Node("a", "module", "Conv2d"), "convolution"),
        (Node("a", "module", "BatchNorm2d"), "normalisation"),
        (Node("a", "module", "MultiheadAttention"), "attention"),
        (Node("a", "module", "AdaptiveAvgPool2d"), "pooling"),
        (Node("a", "operation", "relu_"), "activation"),
        (Node("a", "operation", "add"), "arithmetic"),
        (Node("a", "operation", "add_"), "arithmetic"),
        (Node("a", "operation", "iadd"), "arithmetic"),
        (Node("a", "module", "ZeroPad2d"), "operation"),
        (Node("a", "operation", "cat"), "operation"),
        (Node("a", "parameter", "weight"), "parameter"),
        (Node("x", "input", "x"), "input"),
        (Module("a", "Conv2dNormActivation"), "folded"),
    ],
)
def test_boxes_have_the_kind_of_what_they_compute(item, kind):
    assert kind_of(item) == kind


# Which boxes and edges there are, against the plainest way to find out.


def box_of(graph, name, expanded):
    return next((p for p in graph.ancestors(name) if p not in expanded), name)


def plain_edges(graph, expanded):
    """Edges between boxes, found node by node."""
    sizes = {node.name for node in graph.nodes if node.kind == "size"}
    edges = Counter()
    for node in graph.nodes:
        for source in node.inputs:
            tail, head = box_of(graph, source, expanded), box_of(graph, node.name, expanded)
            if tail != head and not {source, node.name} & sizes:
                edges[graph.index[tail], graph.index[head]] += 1
    return edges


def fold_states(graph):
    yield []
    yield opening_fold(graph)
    yield [module.path for module in graph.modules]


@pytest.mark.parametrize(
    "name", mostly_thorough(["resnet18", "vit_b_16", "densenet201"], "resnet18")
)
def test_edges_between_boxes_are_those_of_the_nodes_they_stand_for(name):
    graph = opened(name)
    for expanded in fold_states(graph):
        drawing = Drawing.of(graph, expanded, "all")
        counts = {p: link.count for p, link in drawing.links.items() if OUTPUT not in p}
        assert counts == plain_edges(graph, set(expanded))
        ends = {end for pair in counts for end in pair}
        assert ends <= set(drawing.boxes)


pairs = st.sets(st.tuples(st.integers(0, 9), st.integers(0, 9)).filter(lambda p: p[0] != p[1]))


def reached(edges, start):
    """Every box that paths along edges in order of execution lead to."""
    found, todo = set(), [start]
    while todo:
        tail = todo.pop()
        new = {h for t, h in edges if t == tail and h > t} - found
        found |= new
        todo += new
    return found


@given(pairs)
def test_the_implied_edges_are_those_that_a_longer_path_replaces(edges):
    implied = set(implied_edges(edges))
    for pair in edges:
        tail, head = pair
        others = edges - {pair}
        has_other_path = head > tail and head in reached(others, tail)
        assert (pair in implied) == has_other_path
    kept = edges - implied
    for box in range(10):
        assert reached(kept, box) == reached(edges, box)


def chain(length, skips=()):
    """A model of nodes in a row, with edges that skip some."""
    nodes = [Node("n0", "input", "x")]
    for i in range(1, length):
        more = [f"n{tail}" for tail, head in skips if head == i]
        nodes.append(Node(f"n{i}", "operation", "op", inputs=(f"n{i - 1}", *more)))
    return ModelGraph("M", tuple(nodes), (), outputs=(f"n{length - 1}",))


def test_a_sparse_picture_has_every_edge():
    graph = chain(30, [(i, i + 3) for i in range(0, 27, 3)])
    assert not Drawing.of(graph, []).left_out


def test_a_dense_picture_leaves_out_what_longer_paths_imply_and_knows_it():
    dense = list(itertools.combinations(range(2, 30), 2))
    graph = chain(40, [*dense, (31, 38)])
    drawing = Drawing.of(graph, [])
    assert {(i, i + 1) for i in range(39)} <= set(drawing.drawn)
    assert (31, 38) in drawing.drawn  # a residual stands alone
    assert drawing.left_out == {p for p in dense if p[1] - p[0] > 1}
    assert len(drawing.links) == len(drawing.drawn) + len(drawing.left_out)


def test_the_edges_of_a_dot_are_those_asked_for():
    graph = chain(20, list(itertools.combinations(range(20), 2)))
    count = {word: to_dot(graph, edges=word).source.count("->") for word in ("all", "fewest")}
    assert count == {"all": 190 + 1, "fewest": 19 + 1}  # and one to the output
    with pytest.raises(ValueError, match="'all', 'auto', 'fewest'"):
        to_dot(graph, edges="some")


def test_a_picture_leads_down_or_to_the_right():
    sizes = {}
    for direction in ("down", "right"):
        svg = ET.fromstring(to_svg(to_dot(chain(9), direction=direction).source))
        sizes[direction] = [float(side) for side in svg.get("viewBox").split()[2:]]
    assert sizes["down"][1] > 3 * sizes["down"][0]
    assert sizes["right"][0] > 3 * sizes["right"][1]
    with pytest.raises(ValueError, match="direction is 'up'; write one of 'down', 'right'"):
        to_dot(chain(3), direction="up")


def test_shapes_stand_where_they_change(resnet):
    labels = re.findall(r'label=" ([^"]*)"', to_dot(resnet, ["layer1", "layer1.0"]).source)
    shapes = [label.split(" · ")[0] for label in labels if "×" in label[1:]]
    assert shapes == list(dict.fromkeys(shapes))  # each once, in a model of one path
    assert shapes[:3] == ["1×3×224×224", "1×64×112×112", "1×64×56×56"]


def test_modules_that_never_ran_and_those_of_sizes_only_are_not_drawn():
    nodes = (
        Node("x", "input", "x"),
        Node("m.size", "operation", "size", "m"),
        Node("m.size_1", "size", "size", "m", inputs=("x",)),
        Node("s.size", "size", "size", "s", inputs=("x",)),
    )
    modules = (Module("m", "M"), Module("s", "S"), Module("never", "N", ran=False))
    graph = ModelGraph("M", nodes, modules)
    for expanded in ([], ["m", "s", "never"]):
        drawing = Drawing.of(graph, expanded)
        names = {graph.rows[row].name for row in {*drawing.boxes, *drawing.clusters}}
        assert names == {"x", "m", *(["m.size"] if expanded else [])}


def test_the_crowded_modules_are_named_the_all_embracing_last():
    graph = opened("densenet201")
    drawing = Drawing.of(graph, [module.path for module in graph.modules])
    (first, count), *_ = drawing.crowded()
    assert first == "features.denseblock3"
    assert count == sum(node.parent.startswith(first) for node in graph.nodes)


def luminance(colour):
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one, other):
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("kind", FILLS)
def test_text_is_readable_on_every_fill(kind, resnet):
    colours = set(re.findall(r'font(?: |)color="?(#\w{6})', to_dot(resnet).source))
    assert len(colours) == 2  # the name, and what stands quietly behind it
    for colour in colours:
        assert contrast(colour, FILLS[kind]) >= 4.5
