"""A traced graph in the place of a model: the same names and values, in the one mode it holds."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import fx, nn
from torchvision.models import feature_extraction as theirs

from fxexplore import explore, open_model
from fxexplore.feature_extraction import (
    LeafModuleAwareTracer,
    NodePathTracer,
    create_feature_extractor,
    get_graph_node_names,
)
from tests.feature_extraction.truth import returned_by_modules, same


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(3, 4), nn.ReLU())
        self.blocks = nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 4)])

    def forward(self, x):
        x = self.body(x) + 1
        for block in self.blocks:
            x = block(x)
        return x * 2 if self.training else x - 2


X = torch.randn(2, 3)
GRAPHS = {
    "of NodePathTracer": lambda model: NodePathTracer().trace(model),
    "of LeafModuleAwareTracer": lambda model: LeafModuleAwareTracer().trace(model),
    "a deep copy": lambda model: copy.deepcopy(copy.deepcopy(NodePathTracer().trace(model))),
}


@pytest.mark.parametrize("kind", GRAPHS)
def test_a_graph_opens_as_its_model_does(kind):
    model = Net().eval()
    graph = GRAPHS[kind](model)
    names = get_graph_node_names(model, mode="eval")[1]
    assert get_graph_node_names(graph) == ([], names)
    truth = returned_by_modules(model, (X,))
    values = create_feature_extractor(graph, ["body", "blocks", "sub"])(X)
    assert same(values["body"], truth["body"][0])
    assert same(values["blocks"], truth["blocks.1"][0])
    assert same(values["sub"], truth[""][0])
    assert open_model(graph, X) == open_model(model, X)
    explorer = explore(graph, X, selected=["blocks"])
    assert same(explorer.run()["blocks"], truth["blocks.1"][0])
    assert explorer.model is model


def test_a_graph_that_was_edited_has_the_names_that_are_left():
    graph = NodePathTracer().trace(Net().eval())
    relu = next(node for node in graph.nodes if node.target == "body.1")
    relu.replace_all_uses_with(relu.args[0])
    graph.erase_node(relu)
    assert "body.1" not in get_graph_node_names(graph)[1]
    for one in (graph, copy.deepcopy(graph)):
        assert (create_feature_extractor(one, ["body"])(X)["body"] < 0).any()


@pytest.mark.parametrize("tracer", [fx.Tracer, theirs.NodePathTracer, NodePathTracer])
def test_a_graph_of_a_graph_module_opens_as_that_module_does(tracer):
    """Which may be a copy, with tensors of its own."""
    module = copy.deepcopy(fx.GraphModule(model := Net().eval(), tracer().trace(model)))
    with torch.no_grad():
        module.body.get_submodule("0").weight.zero_()
    for one in (module, module.graph):
        assert "blocks.1" in get_graph_node_names(one)[1]
        value = create_feature_extractor(one, ["body.0"])(X)["body.0"]
        assert same(value, module.body.get_submodule("0").bias.expand(2, 4))


def test_a_graph_holds_one_mode_and_says_so():
    model = Net().train()
    graph = NodePathTracer().trace(model)
    assert get_graph_node_names(graph)[1] == []
    assert open_model(graph).mode == explore(graph).mode == "train"
    for opens in (create_feature_extractor, get_graph_node_names, open_model):
        given = [["blocks"]] if opens is create_feature_extractor else []
        with pytest.raises(ValueError, match=r"traced in train mode.*mode='train'"):
            opens(graph, *given, mode="eval")
    extractor = create_feature_extractor(graph, ["mul"])
    assert extractor(X)["mul"].shape == (2, 4)
    with pytest.raises(RuntimeError, match="opened in train mode only"):
        extractor.eval()(X)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"mode": "evil"}, "mode is 'evil'"),
        ({"backend": "recorded"}, "backend='recorded' cannot apply"),
        ({"tracer_kwargs": {"leaf_modules": [nn.Sequential]}}, "tracer_kwargs cannot apply"),
        ({"concrete_args": {"x": 1}}, "concrete_args cannot apply"),
    ],
)
def test_what_cannot_apply_to_a_graph_is_an_error(options, words):
    graph = NodePathTracer().trace(Net().eval())
    for opens in (open_model, get_graph_node_names):
        with pytest.raises(ValueError, match=words):
            opens(graph, **options)


@pytest.mark.parametrize("tracer", [fx.Tracer, theirs.NodePathTracer])
def test_a_graph_that_knows_no_model_is_a_type_error(tracer):
    graph = tracer().trace(Net())
    for opens in (open_model, get_graph_node_names, explore):
        with pytest.raises(TypeError, match=r"give fx.GraphModule\(model, graph\)"):
            opens(graph)
