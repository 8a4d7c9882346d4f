"""What the tracers take, what they wrap, and what they say when they cannot go on."""

from __future__ import annotations

import math
import types

import pytest
import torch
import torchvision
from torch import fx, nn
from torch.fx.proxy import TraceError

import fxexplore
from fxexplore.feature_extraction import (
    LeafModuleAwareTracer,
    NodePathTracer,
    create_feature_extractor,
    get_graph_node_names,
)
from tests.feature_extraction.truth import same
from tests.models import ODD, UNTRACEABLE, VECTOR


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 4)

    def forward(self, x):
        return self.fc(x) + 1


class Blocks(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = Block()
        self.b = nn.Sequential(Block(), nn.ReLU())

    def forward(self, x):
        return self.b(self.a(x))


@pytest.mark.parametrize("kind", [set, tuple, list, frozenset, iter, dict.fromkeys])
def test_leaf_modules_may_be_any_iterable(kind):
    options = {"leaf_modules": kind([Block])}
    assert get_graph_node_names_once(Blocks(), options) == ["x", "a", "b.0", "b.1"]


def get_graph_node_names_once(model, options):
    tracer = NodePathTracer(**options)
    tracer.trace(model)
    return list(tracer.node_to_qualname.values())


@pytest.mark.parametrize("kind", [set, tuple, list])
def test_leaf_modules_may_be_any_collection_in_tracer_kwargs(kind):
    options = {"leaf_modules": kind([Block])}
    assert get_graph_node_names(Blocks(), tracer_kwargs=options)[1] == ["x", "a", "b.0", "b.1"]
    extractor = create_feature_extractor(Blocks(), ["a"], tracer_kwargs=options)
    assert list(extractor(VECTOR)) == ["a"]


def outside(x):
    return x * 2 if x.sum() > 0 else x


class CallsOutside(nn.Module):
    def forward(self, x):
        return outside(x) + 1


@pytest.mark.parametrize("kind", [set, tuple, list])
def test_autowrapped_functions_become_nodes(kind):
    options = {"autowrap_functions": kind([outside])}
    assert get_graph_node_names(CallsOutside(), tracer_kwargs=options)[1] == ["x", "outside", "add"]
    extractor = create_feature_extractor(CallsOutside(), ["outside"], tracer_kwargs=options)
    assert same(extractor(VECTOR.abs())["outside"], VECTOR.abs() * 2)


_library = types.ModuleType("_library")
_library.halve = lambda x: x / 2 if x.sum() > 0 else x
_library.halve.__name__ = "halve"


class CallsLibrary(nn.Module):
    def forward(self, x):
        return _library.halve(x) + 1


@pytest.mark.parametrize("kind", [set, tuple, list])
def test_functions_of_autowrapped_modules_become_nodes(kind):
    options = {"autowrap_modules": kind([_library])}
    assert "halve" in get_graph_node_names(CallsLibrary(), tracer_kwargs=options)[1]


def test_math_is_wrapped_besides_the_callers_modules():
    options = {"autowrap_modules": [_library]}
    assert "sqrt" in get_graph_node_names(ODD["UsesMath"].model(), tracer_kwargs=options)[1]
    names = get_graph_node_names(ODD["UsesMath"].model())[1]
    assert names == ["x", "sqrt", "add"]
    assert math.sqrt.__module__ == "math"


def test_torchvisions_modules_are_leaves_and_its_functions_nodes():
    class Detects(nn.Module):
        def __init__(self):
            super().__init__()
            self.block = torchvision.ops.Conv2dNormActivation(3, 3)

        def forward(self, x, boxes):
            return torchvision.ops.roi_align(self.block(x), boxes, 2)

    assert get_graph_node_names(Detects())[1] == ["x", "boxes", "block", "roi_align"]
    opened = get_graph_node_names(Detects(), tracer_kwargs={"default_leaf_modules": False})[1]
    assert opened == ["x", "boxes", "block.0", "block.1", "block.2", "roi_align"]


def test_default_leaves_turned_off_leave_the_callers_own():
    options = {"default_leaf_modules": False, "leaf_modules": [Block]}
    assert get_graph_node_names(Blocks(), tracer_kwargs=options)[1] == ["x", "a", "b.0", "b.1"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"leaf_modules": [Block()]}, ["leaf_modules", "Block(", "subclasses of torch.nn.Module"]),
        ({"leaf_modules": Block}, ["leaf_modules", "iterable"]),
        ({"leaf_modules": "Block"}, ["leaf_modules", "'Block'"]),
        ({"autowrap_functions": [3]}, ["autowrap_functions", "3"]),
        ({"autowrap_modules": ["math"]}, ["autowrap_modules", "'math'"]),
        ({"leaves": [Block]}, ["'leaves'", "leaf_modules", "default_leaf_modules"]),
    ],
)
def test_a_wrong_option_is_named_with_what_is_right(options, words):
    with pytest.raises(TypeError) as error:
        get_graph_node_names(Blocks(), tracer_kwargs=options)
    assert all(word in str(error.value) for word in words), error.value


def test_every_node_knows_where_in_the_source_it_was_made():
    tracer = NodePathTracer()
    graph = tracer.trace(ODD["MethodInPlace"].model())
    sources = {
        tracer.node_to_qualname[n]: n.meta["source"] for n in graph.nodes if "source" in n.meta
    }
    assert list(sources) == ["mul", "add_", "mul_1"]
    lines = [line for _, line in sources.values()]
    assert lines == sorted(set(lines))
    assert all(file.endswith("models.py") for file, _ in sources.values())


def test_a_tracer_can_trace_one_model_after_another():
    tracer = NodePathTracer()
    tracer.trace(Blocks())
    tracer.trace(ODD["NumberedConvs"].model())
    assert list(tracer.node_to_qualname.values()) == ["x", "conv_1", "conv_2"]
    assert tracer.module_returns == {}


def test_functions_can_be_traced_too():
    tracer = NodePathTracer()
    graph = tracer.trace(lambda x: x + 1)
    assert isinstance(graph, fx.Graph)
    assert list(tracer.node_to_qualname.values()) == ["x", "add"]


def test_tracers_are_fx_tracers():
    assert issubclass(LeafModuleAwareTracer, fx.Tracer)
    assert issubclass(NodePathTracer, LeafModuleAwareTracer)


# --- arguments of forward ------------------------------------------------------------


def test_an_argument_nobody_gave_keeps_its_default():
    model = ODD["MaskDefaultsToNone"].model()
    extractor = create_feature_extractor(model, ["add"])
    for arguments in ({}, {"mask": None}, {"scale": 2.0, "size": (2, 2)}, {"dtype": torch.float32}):
        assert same(extractor(VECTOR, **arguments)["add"], model(VECTOR, **arguments))
    assert same(extractor(VECTOR, None, 2.0)["add"], model(VECTOR))


@pytest.mark.parametrize(
    ("name", "value"),
    [("mask", VECTOR), ("scale", 3.0), ("size", (3, 3)), ("dtype", torch.float64)],
)
def test_handing_such_an_argument_over_says_how_to_trace_with_it(name, value):
    extractor = create_feature_extractor(ODD["MaskDefaultsToNone"].model(), ["fc"])
    with pytest.raises(ValueError, match=rf"'{name}'.*concrete_args=\{{'{name}': torch.fx.PH\}}"):
        extractor(VECTOR, **{name: value})


def test_the_advice_works():
    model = ODD["MaskDefaultsToNone"].model()
    extractor = create_feature_extractor(model, ["mul_1"], concrete_args={"mask": fx.PH})
    mask = torch.tensor([1.0, 0.0, 1.0, 0.0])
    assert same(extractor(VECTOR, mask)["mul_1"], model(VECTOR, mask))
    other = create_feature_extractor(model, ["add"], concrete_args={"scale": 3.0})
    assert same(other(VECTOR, scale=3.0)["add"], model(VECTOR, scale=3.0))
    assert same(other(VECTOR)["add"], model(VECTOR, scale=3.0))


def test_a_fixed_argument_before_an_input_is_handed_over_as_to_the_model():
    class Mixes(nn.Module):
        def forward(self, mode, x):
            return x + 1 if mode == "plus" else x * 2

    extractor = create_feature_extractor(Mixes(), ["add"], concrete_args={"mode": "plus"})
    assert same(extractor("plus", VECTOR)["add"], VECTOR + 1)
    with pytest.raises(ValueError, match="'mode'"):
        extractor("minus", VECTOR)


def test_keyword_only_inputs_are_inputs():
    model = ODD["KeywordOnly"].model()
    extractor = create_feature_extractor(model, ["mul_1"])
    assert same(extractor(VECTOR, other=VECTOR)["mul_1"], model(VECTOR, other=VECTOR))
    with pytest.raises(ValueError, match="'gain'"):
        extractor(VECTOR, other=VECTOR, gain=2.0)


def test_any_number_of_inputs_are_inputs():
    model = ODD["ManyInputs"].model()
    extractor = create_feature_extractor(model, ["add"])
    assert same(extractor(VECTOR, VECTOR, VECTOR)["add"], model(VECTOR, VECTOR, VECTOR))


@pytest.mark.parametrize(
    ("concrete", "words"),
    [
        ({"nowhere": 1}, ["'nowhere'", "x, mask"]),
        ({"size": (fx.PH, 2)}, ["'size'", "whole argument"]),
    ],
)
def test_wrong_concrete_args_are_named(concrete, words):
    with pytest.raises(TraceError) as error:
        NodePathTracer().trace(ODD["MaskDefaultsToNone"].model(), concrete_args=concrete)
    assert all(word in str(error.value) for word in words), error.value


# --- where a trace ends --------------------------------------------------------------

REASONS = {
    "BranchesOnData": ["models.py", "if x.sum() > 0:", "'inner'", "_Branch", "control flow"],
    "LoopsOverData": ["for row in x:", "loop", "LoopsOverData"],
    "CountsWithData": ["range(x.shape[0])", "number"],
    "NeedsANumber": ["float(x.mean())", "number"],
    "LinearMadeInForward": ["nn.Linear(4, 2)(x)", "registered", "__init__", "ModuleList"],
    "UnderAutocast": ["autocast", "'fc'"],
    "ReplacesItsBuffer": ["'calls'", "self.calls.copy_"],
    "ConstantWrittenBetween": ["shift.add_(1)", "constant"],
}


@pytest.mark.parametrize("name", UNTRACEABLE)
def test_what_cannot_be_traced_says_what_where_and_why(name):
    for look in (get_graph_node_names, lambda model: create_feature_extractor(model, ["x"])):
        with pytest.raises(TraceError) as error:
            look(UNTRACEABLE[name].model())
        assert all(word in str(error.value) for word in REASONS[name]), error.value


def test_a_leaf_is_the_way_out_as_the_message_says():
    case = UNTRACEABLE["BranchesOnData"]
    branch = type(case.model().inner)
    extractor = create_feature_extractor(
        case.model(), ["inner"], tracer_kwargs={"leaf_modules": [branch]}
    )
    assert same(extractor(VECTOR)["inner"], case.model()(VECTOR))


def test_a_write_into_a_part_of_a_buffer_is_followed():
    class WritesAView(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("memory", torch.zeros(4))

        def forward(self, x):
            self.memory[:2].add_(1)
            return x + self.memory

    model, reference = WritesAView(), WritesAView()
    extractor = create_feature_extractor(model, ["add"])
    for _ in range(2):
        assert same(extractor(VECTOR)["add"], reference(VECTOR))
    assert torch.equal(model.memory, reference.memory)


def test_scripted_modules_are_refused_in_words():
    with pytest.raises(TypeError, match="TorchScript"):
        get_graph_node_names(torch.jit.script(nn.Linear(1, 1)))


def test_a_meta_model_has_names():
    with torch.device("meta"):
        model = torchvision.models.resnet18(weights=None)
    assert get_graph_node_names(model)[1][-1] == "fc"


def test_public_names_are_at_the_top_of_the_package():
    for name in (
        "LeafModuleAwareTracer",
        "NodePathTracer",
        "create_feature_extractor",
        "get_graph_node_names",
        "_is_subseq",
        "_warn_graph_differences",
    ):
        assert getattr(fxexplore, name) is getattr(fxexplore.feature_extraction, name)


def test_is_subseq_is_torchvisions():
    from torchvision.models.feature_extraction import _is_subseq as theirs

    for x, y in (("abc", "ac"), ("abc", "ca"), ("", "a"), ("a", ""), ("aab", "aa"), ("ab", "aa")):
        assert fxexplore._is_subseq(x, y) == theirs(x, y)


def test_signatures_are_torchvisions():
    import inspect

    import torchvision.models.feature_extraction as theirs

    for name in (
        "create_feature_extractor",
        "get_graph_node_names",
        "_is_subseq",
        "_warn_graph_differences",
    ):
        ours = inspect.signature(getattr(fxexplore, name)).parameters
        peers = inspect.signature(getattr(theirs, name)).parameters
        by_position = [p for p in ours.values() if p.kind is not p.KEYWORD_ONLY]
        assert [(p.name, p.default, p.kind) for p in by_position] == [
            (p.name, p.default, p.kind) for p in peers.values()
        ]
        extra = [p.name for p in ours.values() if p.kind is p.KEYWORD_ONLY]
        assert set(extra) <= {"example_inputs", "backend", "mode"}


class Whole(nn.Sequential):
    pass


def branching(x):
    return x + 1 if x.sum() > 0 else x


class CallsWhatTimmMayRegister(nn.Module):
    def __init__(self):
        super().__init__()
        self.whole = Whole(nn.ReLU())

    def forward(self, x):
        return branching(self.whole(x))


def test_what_timm_registers_is_one_node():
    timm = pytest.importorskip("timm.models")
    with pytest.raises(TraceError, match="control flow"):
        get_graph_node_names(CallsWhatTimmMayRegister())
    timm.register_notrace_module(Whole)
    timm.register_notrace_function(branching)
    assert get_graph_node_names(CallsWhatTimmMayRegister())[1] == ["x", "whole", "branching"]
    inside = get_graph_node_names(
        CallsWhatTimmMayRegister(), tracer_kwargs={"default_leaf_modules": False}
    )
    assert inside[1] == ["x", "whole.0", "branching"]


@pytest.mark.parametrize("name", ["graph", "code", "recompile", "forward_", "eval_graph"])
def test_a_part_that_is_called_like_something_of_graph_modules_is_named(name):
    model = nn.Sequential()
    model.add_module(name, nn.Linear(2, 2))
    if name == "forward_":
        assert create_feature_extractor(model, [name])(torch.ones(1, 2))[name].shape == (1, 2)
        return
    with pytest.raises(TraceError, match=f"'{name}'"):
        create_feature_extractor(model, [name])
    recorded = create_feature_extractor(
        model, [name], example_inputs=torch.ones(1, 2), backend="recorded"
    )
    assert torch.equal(recorded(torch.ones(1, 2))[name], model(torch.ones(1, 2)))
