import inspect
import json

import pytest
import torchvision
from hypothesis import given
from hypothesis import strategies as st

import fxexplore
from fxexplore import get_graph_node_names
from fxexplore.model_graph import ModelGraph, Module, Node, open_model
from tests.models import ODD


@pytest.fixture(scope="module")
def resnet():
    return open_model(torchvision.models.resnet18(weights=None))


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
def test_json_brings_back_the_same_graph(odd):
    graph = open_model(odd.model())
    assert ModelGraph.from_json(graph.to_json()) == graph


@pytest.mark.parametrize("document", ["{}", "[]", '{"format": 99}', '"text"'])
def test_json_of_something_else_is_refused(document):
    with pytest.raises(ValueError, match="not a model graph"):
        ModelGraph.from_json(document)


def test_json_holds_plain_data(resnet):
    data = json.loads(resnet.to_json())
    assert data["nodes"][1]["name"] == "conv1"
    assert data["model"] == "ResNet"


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
@pytest.mark.parametrize("mode", ["train", "eval"])
def test_the_nodes_are_those_that_can_be_asked_for(odd, mode):
    model = odd.model()
    train_nodes, eval_nodes = get_graph_node_names(model, suppress_diff_warning=True)
    expected = train_nodes if mode == "train" else eval_nodes
    graph = open_model(model, mode=mode)
    parameters = inspect.signature(model.forward).parameters.values()
    kept = {p.name for p in parameters if p.default is not p.empty}  # their default
    assert [n.name for n in graph.nodes] == [name for name in expected if name not in kept]


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
def test_every_node_stands_once_in_the_hierarchy_inside_its_modules(odd):
    graph = open_model(odd.model())
    names = [row.name for row in graph.rows]
    assert len(set(names)) == len(names)
    assert set(names) == {n.name for n in graph.nodes} | {m.path for m in graph.modules}
    for i, row in enumerate(graph.rows):
        inside = graph.rows[i + 1 : row.end]
        assert all(inner.depth > row.depth for inner in inside)
        assert row.end == len(graph.rows) or graph.rows[row.end].depth <= row.depth
        assert row.depth == len(graph.ancestors(row.name))


def test_children_are_what_is_directly_inside(resnet):
    assert resnet.children()[:6] == ["x", "conv1", "bn1", "relu", "maxpool", "layer1"]
    assert resnet.children("layer2") == ["layer2.0", "layer2.1"]
    assert resnet.children("layer2.0.downsample") == [
        "layer2.0.downsample.0",
        "layer2.0.downsample.1",
    ]


def test_edges_lead_from_the_nodes_whose_values_are_read(resnet):
    assert resnet["layer1.0.add"].inputs == ("layer1.0.bn2", "maxpool")
    assert resnet["conv1"].inputs == ("x",)
    assert resnet.outputs == ("fc",)


def test_an_unknown_name_is_a_key_error(resnet):
    with pytest.raises(KeyError):
        resnet["layer9"]


@st.composite
def nested_paths(draw):
    parts = st.lists(st.sampled_from("abc"), min_size=1, max_size=4).map(".".join)
    return draw(st.lists(parts, min_size=1, max_size=12, unique=True))


@given(nested_paths())
def test_rows_nest_however_execution_jumps_between_modules(parents):
    modules = sorted({".".join(p.split(".")[:d]) for p in parents for d in range(1, 5)})
    nodes = tuple(Node(f"{p}.op_{i}", "operation", "op", p) for i, p in enumerate(parents))
    graph = ModelGraph("M", nodes, tuple(Module(path, "Block") for path in modules))
    seen = []
    for row in graph.rows:
        assert graph.ancestors(row.name) == [p for p in seen if row.name.startswith(p + ".")]
        if isinstance(row.item, Module):
            seen.append(row.name)
    assert [row.item for row in graph.rows if isinstance(row.item, Node)].sort(
        key=nodes.index
    ) is None
    assert {row.name for row in graph.rows if isinstance(row.item, Node)} == {
        node.name for node in nodes
    }


def test_modules_that_never_ran_stand_last_inside_their_parent():
    graph = ModelGraph(
        model="M",
        nodes=(
            Node("x", "input", "x"),
            Node("a.fc", "module", "Linear", parent="a", inputs=("x",)),
            Node("tail", "module", "ReLU", inputs=("a.fc",)),
        ),
        modules=(
            Module("a", "Block"),
            Module("a.aux", "Head", ran=False),
            Module("unused", "Linear", ran=False),
        ),
    )
    assert [(row.depth, row.name, row.end) for row in graph.rows] == [
        (0, "x", 1), (0, "a", 4), (1, "a.fc", 3), (1, "a.aux", 4), (0, "tail", 5), (0, "unused", 6),
    ]  # fmt: skip
    assert graph.children("a") == ["a.fc", "a.aux"]
    assert graph.label("a.aux") == "aux"
    assert ModelGraph.from_json(graph.to_json()) == graph
    assert "unused" not in fxexplore.to_dot(graph).source
