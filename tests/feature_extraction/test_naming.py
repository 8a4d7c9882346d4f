"""Promise 1: names are true, unique and stable."""

from __future__ import annotations

import pytest
import torch
import torchvision
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from fxexplore.feature_extraction import (
    NodePathTracer,
    create_feature_extractor,
    get_graph_node_names,
)
from fxexplore.feature_extraction.common.naming import NodeNamer
from fxexplore.feature_extraction.common.source import augmented_assignment
from tests import models
from tests.feature_extraction.truth import returned_by_modules, same
from tests.models import ODD

EXPECTED = {
    "NumberedConvs": ["x", "conv_1", "conv_2"],
    "ArgumentNamedLikeAChild": ["features_1", "features", "add"],
    "UnderscoreBesideDot": ["x", "a_relu", "a.fc", "a.relu"],
    "StrangeNames": ["x", *models.STRANGE_NAMES, "dotted.name"],
    "CalledTwice": [
        *("x", "fc", "sub", "relu", "fc_1", "sub_1", "relu_1"),
        *("block.0", "block.1", "block.0_1", "block.1_1"),
    ],
    "SharedUnderTwoPaths": ["x", "first", "body.0", "body.1", "first_1", "body.0_1", "body.1_1"],
    "OperationsNamedLikeChildren": [
        *("x", "add_2", "add_3", "mul", "mul_1", "mul_3", "add", "add_1", "mul_2"),
    ],
    "ReluMadeInForward": ["x", "fc", "relu", "add"],
    "RootParameter": ["x", "shift", "add", "fc", "scale", "mul", "add_1"],
    "MethodInPlace": ["x", "mul", "add_", "mul_1"],
    "OperatorInPlace": ["x", "mul", "add", "mul_1"],
    "ReluInPlace": [
        *("x", "conv", "bn", "relu", "block.0", "block.1", "block.2", "add", "relu_1"),
    ],
    "WritesIntoAConstant": ["x", "getitem", "setitem", "add_", "mul"],
    "CountsInForward": ["x", "fc", "mul"],
    "ReadsParametersAsAList": ["x", "fc", "add"],
    "MaskDefaultsToNone": ["x", "mask", "scale", "size", "dtype", "fc", "to", "mul", "add"],
    "KeywordOnly": ["x", "other", "flag", "gain", "mul", "mul_1"],
    "ManyInputs": ["inputs", "getitem", "getitem_1", "getitem_2", "mul", "add"],
    "CustomBackward": ["x", "fc", "apply", "add"],
    "UsesMath": ["x", "sqrt", "add"],
}


@pytest.mark.parametrize("name", EXPECTED)
def test_nodes_of_odd_models_have_exactly_these_names(name):
    _, names = get_graph_node_names(ODD[name].model(), suppress_diff_warning=True)
    assert names == EXPECTED[name]


@pytest.mark.parametrize("case", ODD.values(), ids=ODD)
def test_no_two_nodes_share_a_name(case):
    for names in get_graph_node_names(case.model(), suppress_diff_warning=True):
        assert len(set(names)) == len(names)


@pytest.mark.parametrize("case", ODD.values(), ids=ODD)
def test_a_leaf_module_bears_its_own_path(case):
    model = case.model()
    tracer = NodePathTracer()
    tracer.trace(model)
    own = dict(model.named_modules())
    own_paths = {module: path for path, module in own.items()}
    first_calls: dict[nn.Module, str] = {}
    for node, name in tracer.node_to_qualname.items():
        if node.op == "call_module":
            first_calls.setdefault(own[str(node.target)], name)
    assert first_calls == {module: own_paths[module] for module in first_calls}


@pytest.mark.parametrize("case", ODD.values(), ids=ODD)
def test_an_operation_never_bears_the_path_of_a_module(case):
    model = case.model()
    tracer = NodePathTracer()
    tracer.trace(model)
    paths = {path for path, _ in model.named_modules(remove_duplicate=False)}
    operations = {
        name for node, name in tracer.node_to_qualname.items() if node.op != "call_module"
    }
    assert not operations & paths


def test_norms_of_a_vision_transformer_keep_their_names_and_values():
    model = torchvision.models.vit_b_16(weights=None, image_size=32).eval()
    wanted = [f"encoder.layers.encoder_layer_0.ln_{i}" for i in (1, 2)]
    names = get_graph_node_names(model)[1]
    assert set(wanted) < set(names)
    assert "encoder.layers.encoder_layer_0.ln" not in names
    image = torch.rand(1, 3, 32, 32)
    truth = returned_by_modules(model, (image,))
    values = create_feature_extractor(model, wanted)(image)
    assert all(same(values[name], truth[name][-1]) for name in wanted)
    assert not same(values[wanted[0]], values[wanted[1]])


_WORDS = st.sampled_from(["add", "add_1", "add_2", "relu", "a.relu", "ln_1", "x"])


@given(
    paths=st.sets(_WORDS),
    requests=st.lists(st.tuples(st.sampled_from(["", "a", "a.b"]), _WORDS), max_size=30),
)
def test_a_namer_repeats_no_name_and_takes_no_module_path(paths, requests):
    namer = NodeNamer(paths)
    given_names = [namer.operation(module, operation) for module, operation in requests]
    assert len(set(given_names)) == len(given_names)
    assert not set(given_names) & paths


@given(st.lists(st.sampled_from(["add", "mul"]), max_size=20))
def test_suffixes_count_repeats_of_one_name_in_order(operations):
    namer = NodeNamer(["conv"])
    names = [namer.operation("conv", operation) for operation in operations]
    seen: dict[str, int] = {}
    for operation, name in zip(operations, names, strict=True):
        repeat = seen.get(operation, 0)
        assert name == f"conv.{operation}" + (f"_{repeat}" if repeat else "")
        seen[operation] = repeat + 1


def test_a_module_call_takes_its_path_even_after_an_operation_wanted_it():
    namer = NodeNamer(["relu"])
    assert namer.operation("", "relu") == "relu_1"
    assert namer.module_call("relu") == "relu"
    assert namer.module_call("relu") == "relu_2"


def test_augmented_assignments_are_told_from_calls_by_the_code_that_runs_them():
    import sys

    seen = []

    class Value:
        def __iadd__(self, _):
            seen.append(augmented_assignment(sys._getframe(1)))
            return self

        def __ifloordiv__(self, _):
            seen.append(augmented_assignment(sys._getframe(1)))
            return self

        def add_(self, _):
            seen.append(augmented_assignment(sys._getframe(1)))

    value = Value()
    value += 1
    value //= 1
    value.add_(1)
    assert seen == ["iadd", "ifloordiv", None]
