"""Promise 2: a return node's value is what the model computed there."""

from __future__ import annotations

import re
import warnings

import pytest
import torch
import torchvision
from torch import nn
from torchvision.models import feature_extraction as theirs

from fxexplore import open_model
from fxexplore.feature_extraction import (
    NodePathTracer,
    create_feature_extractor,
    get_graph_node_names,
)
from tests.feature_extraction.truth import Whole, copied, returned_by_modules, same
from tests.marks import mostly_thorough
from tests.models import IMAGE, ODD, VECTOR, Odd

DETERMINISTIC = {name: case for name, case in ODD.items() if not case.random}


def values_of(model, specs, case: Odd, **options):
    """What an extractor with these specs returns, and the keys in its order."""
    args, kwargs = case.inputs()
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        extractor = create_feature_extractor(
            model, train_return_nodes=specs, eval_return_nodes=specs, **options
        )
    return copied(extractor(*args, **kwargs))


def names_of(model) -> list[str]:
    train, evaluation = get_graph_node_names(model, suppress_diff_warning=True)
    return [name for name in evaluation if name in set(train)]


def module_truth(case: Odd, training: bool) -> dict[str, object]:
    """For each path of a module: what a spec with that path has to give."""
    model = case.model(training)
    args, kwargs = case.inputs()
    calls = returned_by_modules(model, args, kwargs)
    nodes = set(names_of(model))
    # A name that is both is the node, which is the first call of a leaf module.
    return {p: v[0] if p in nodes else v[-1] for p, v in calls.items() if p}


@pytest.mark.parametrize("case", DETERMINISTIC.values(), ids=DETERMINISTIC)
def test_the_value_of_the_whole_is_the_models_own(case):
    args, kwargs = case.inputs()
    torch.manual_seed(0)
    truth = copied(case.model()(*args, **kwargs))
    whole = _whole(case)
    assert same(values_of(whole, ["model"], case)["model"], truth)


def _whole(case: Odd) -> nn.Module:
    """The case's model one level down, behind a forward with the same arguments."""
    names = [f"a{i}" for i in range(len(case.args))] + list(case.kwargs)
    call = ", ".join(names[: len(case.args)] + [f"{k}={k}" for k in case.kwargs])
    scope: dict[str, object] = {}
    exec(f"def forward(self, {', '.join(names)}): return self.model({call})", scope)
    return type("Whole", (Whole,), {"forward": scope["forward"]})(case.model()).eval()


WITH_MODULES = {n: c for n, c in DETERMINISTIC.items() if any(True for _ in c.model().children())}


@pytest.mark.parametrize("training", mostly_thorough([False, True], False), ids=["eval", "train"])
@pytest.mark.parametrize("case", WITH_MODULES.values(), ids=WITH_MODULES)
def test_every_module_gives_what_a_forward_hook_sees(case, training):
    truth = module_truth(case, training)
    specs = [path for path in truth if path in _in_both(case)]
    together = values_of(case.model(training), specs, case)
    for spec in specs:
        assert same(together[spec], truth[spec]), spec
        assert same(values_of(case.model(training), [spec], case)[spec], truth[spec]), spec


def _in_both(case: Odd) -> set[str]:
    """Paths of modules that are called in train mode and in eval mode."""
    found = []
    for training in (True, False):
        args, kwargs = case.inputs()
        found.append(set(returned_by_modules(case.model(training), args, kwargs)))
    return found[0] & found[1]


@pytest.mark.parametrize(
    "model",
    mostly_thorough(
        DETERMINISTIC, "CalledTwice", "ReluInPlace", "ReturnsContainers", "WritesThroughViews"
    ),
)
def test_no_spec_changes_what_another_gives(model):
    case = DETERMINISTIC[model]
    names = names_of(case.model())
    together = values_of(case.model(), names, case)
    for name in names:
        alone = values_of(case.model(), [name], case)
        assert same(alone[name], together[name]), name


@pytest.mark.parametrize("case", DETERMINISTIC.values(), ids=DETERMINISTIC)
def test_an_extractor_gives_the_same_when_called_again(case):
    whole = _whole(case)
    extractor = create_feature_extractor(whole, ["model"], suppress_diff_warning=True)
    original = case.model()  # as some change their own buffers
    for _ in range(3):
        args, kwargs = case.inputs()
        value = copied(extractor(*args, **kwargs)["model"])
        args, kwargs = case.inputs()
        assert same(value, original(*args, **kwargs))


def test_random_numbers_are_drawn_at_each_call_and_from_the_global_state():
    case = ODD["DrawsInForward"]
    whole = _whole(case)
    extractor = create_feature_extractor(whole, ["model"])
    torch.manual_seed(5)
    truth = whole(VECTOR)
    torch.manual_seed(5)
    assert same(extractor(VECTOR)["model"], truth)
    assert not same(extractor(VECTOR)["model"], truth)


def test_values_follow_the_models_buffers_and_parameters():
    for name in ("ReadsBuffers", "ReadsParametersAsAList", "RootParameter"):
        whole = _whole(ODD[name])
        extractor = create_feature_extractor(whole, ["model"])
        with torch.no_grad():
            for tensor in whole.state_dict().values():
                tensor.add_(1)
        assert same(extractor(VECTOR)["model"], whole(VECTOR)), name


def test_a_buffer_counts_on_as_in_the_model():
    model = ODD["CountsInForward"].model()
    extractor = create_feature_extractor(model, ["mul"])
    values = [copied(extractor(VECTOR)["mul"]) for _ in range(3)]
    assert model.calls == 3
    assert same(values[1], ODD["CountsInForward"].model().fc(VECTOR) * 2)


@pytest.mark.parametrize("name", ["MethodInPlace", "OperatorInPlace"])
def test_in_place_operations_are_neither_lost_nor_shown(name):
    model = ODD[name].model()
    write = "add_" if name == "MethodInPlace" else "add"
    values = create_feature_extractor(model, ["mul", write, "mul_1"])(VECTOR)
    assert same(values["mul"], VECTOR)
    assert same(values[write], VECTOR + 1)
    assert same(values["mul_1"], (VECTOR + 1) * 2)
    assert same(create_feature_extractor(model, ["mul_1"])(VECTOR)["mul_1"], (VECTOR + 1) * 2)


def test_an_augmented_assignment_of_a_number_leaves_the_number_before_it():
    class Grows(nn.Module):
        def forward(self, x):
            height = x.shape[0]
            taller = height
            taller += 1
            return x * height + taller

    values = create_feature_extractor(Grows(), ["getitem", "add", "add_1"])(VECTOR)
    assert (values["getitem"], values["add"]) == (2, 3)
    assert same(values["add_1"], VECTOR * 2 + 3)


def test_batch_norm_keeps_its_negative_values_before_an_in_place_relu():
    model = torchvision.models.resnet18(weights=None).eval()
    image = torch.rand(1, 3, 64, 64)
    truth = returned_by_modules(model, (image,))["bn1"][0]
    assert truth.min() < 0
    for specs in (["bn1"], ["bn1", "layer1"], ["bn1", "relu"]):
        assert same(create_feature_extractor(model, specs)(image)["bn1"], truth)


def test_three_names_of_one_value_give_three_keys():
    model = torchvision.models.resnet18(weights=None).eval()
    specs = ["layer4", "layer4.1.relu_1", "layer4.1"]
    image = torch.rand(1, 3, 64, 64)
    values = create_feature_extractor(model, specs)(image)
    truth = returned_by_modules(model, (image,))["layer4"][0]
    assert sorted(values) == sorted(specs)
    assert all(same(value, truth) for value in values.values())


def test_containers_come_back_as_what_their_modules_returned():
    model = ODD["ReturnsContainers"].model()
    specs = ["tuple", "dict", "ordered", "named", "record", "nothing", "input"]
    values = create_feature_extractor(model, specs)(VECTOR)
    assert type(values["tuple"]) is tuple
    assert values["dict"]["low"][1:] == [7, None]
    assert values["named"]._fields == ("low", "high")
    assert type(values["record"]).__name__ == "_Record"
    assert values["nothing"] is None


def test_a_name_that_is_both_is_the_node_and_a_container_is_its_last_call():
    case = ODD["CalledTwice"]
    calls = returned_by_modules(case.model(), (VECTOR,))
    values = values_of(case.model(), ["relu", "relu_1", "block", "fc", "fc_1"], case)
    assert same(values["relu"], calls["relu"][0])
    assert same(values["relu_1"], calls["relu"][1])
    assert same(values["fc_1"], calls["fc"][1])
    assert same(values["block"], calls["block"][1])
    assert not same(values["block"], calls["block"][0])


def test_a_shared_module_can_be_asked_for_by_each_of_its_paths():
    case = ODD["SharedUnderTwoPaths"]
    calls = returned_by_modules(case.model(), (VECTOR,))
    values = values_of(case.model(), ["body", "again", "second", "again.1"], case)
    assert same(values["body"], calls["body"][1])
    assert same(values["again"], calls["body"][1])
    # The second path is the name of no node, so it means the module's last call.
    assert same(values["second"], calls["first"][1])
    assert same(values["again.1"], calls["body.1"][1])


def test_keys_come_in_order_of_execution_whatever_the_order_of_the_request():
    model = torchvision.models.resnet18(weights=None).eval()
    specs = {"layer4": "d", "conv1": "a", "avgpool": "e", "layer2.0.add": "c", "layer1": "b"}
    values = create_feature_extractor(model, specs)(torch.rand(1, 3, 64, 64))
    assert list(values) == ["a", "b", "c", "d", "e"]


def test_inputs_can_be_return_nodes_and_show_no_later_write():
    values = create_feature_extractor(ODD["WritesItsInput"].model(), ["x", "add"])(VECTOR.clone())
    assert same(values["x"], VECTOR)


def test_specs_are_text_and_not_patterns():
    model = ODD["StrangeNames"].model()
    for name in ["star*", "with[bracket", "a|b", "^start", "(group"]:
        assert list(create_feature_extractor(model, [name])(VECTOR)) == [name]
    for pattern in ["star.", "^star", ".*", "(group|a)"]:
        with pytest.raises(ValueError, match="not present"):
            create_feature_extractor(model, [pattern])


# --- what is wrong with a request ----------------------------------------------------


@pytest.fixture(scope="module")
def resnet():
    return torchvision.models.resnet18(weights=None).eval()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, ["return_nodes"]),
        ({"return_nodes": []}, ["return_nodes", "empty"]),
        ({"return_nodes": {}}, ["return_nodes", "empty"]),
        ({"return_nodes": "layer1"}, ["'layer1'", "['layer1']"]),
        ({"return_nodes": 3}, ["3", "list"]),
        ({"return_nodes": {"layer1": "a", "layer2": "a"}}, ["'a'", "'layer1'", "'layer2'"]),
        ({"return_nodes": ["nowhere"]}, ["'nowhere'", "get_graph_node_names"]),
        ({"return_nodes": ["layer5"]}, ["'layer5'", "layer1"]),
        ({"return_nodes": ["relu_1"]}, ["'relu_1'", "layer1.0.relu_1"]),
        ({"return_nodes": [""]}, ["''", "the whole model", "'layer4'"]),
        ({"return_nodes": {"": "x"}}, ["''", "the whole model", "'layer4'"]),
        ({"return_nodes": [None]}, ["return_nodes names None", "not a string"]),
        ({"return_nodes": [b"layer1"]}, ["return_nodes names a bytes"]),
        ({"return_nodes": [("layer1", "a")]}, ["return_nodes names a tuple"]),
        ({"return_nodes": {nn.ReLU(): "a"}}, ["return_nodes names a ReLU", "named_modules()"]),
        (
            {"return_nodes": {"layer1": None}},
            ["'layer1' in return_nodes is None, which"],
        ),
        ({"return_nodes": {"layer1": ["a"]}}, ["output key of 'layer1'", "a list"]),
        ({"return_nodes": {1: "a", "1": "b"}}, ["'1' twice"]),
        ({"train_return_nodes": ["layer1"]}, ["train_return_nodes", "eval_return_nodes"]),
        ({"eval_return_nodes": ["layer1"]}, ["train_return_nodes", "eval_return_nodes"]),
        (
            {
                "return_nodes": ["layer1"],
                "train_return_nodes": ["layer1"],
                "eval_return_nodes": ["layer1"],
            },
            ["not all three"],
        ),
    ],
)
def test_a_wrong_request_is_answered_in_words(resnet, options, words):
    with pytest.raises(ValueError, match=re.escape(words[0])) as error:
        create_feature_extractor(resnet, **options)
    assert all(word in str(error.value) for word in words), error.value


def test_a_name_of_the_other_mode_is_answered_with_the_two_arguments():
    model = ODD["MoreInTrainMode"].model()
    for spec, mode in (("auxiliary", "train"), ("add", "eval")):
        with pytest.raises(ValueError, match=f"only in {mode} mode.*train_return_nodes"):
            create_feature_extractor(model, [spec], suppress_diff_warning=True)


def test_a_module_that_forward_never_calls_is_named_as_such():
    class Unused(nn.Module):
        def __init__(self):
            super().__init__()
            self.spare = nn.Linear(2, 2)

        def forward(self, x):
            return x + 1

    with pytest.raises(ValueError, match="'spare' is a Linear that forward never calls"):
        create_feature_extractor(Unused(), ["spare"])


class Containers(nn.Module):
    """Modules that forward never calls itself: a list in a list, a dict, one with a method."""

    class Encoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(4, 4)

        def encode(self, x):
            return self.fc(x) * 2

    def __init__(self):
        super().__init__()
        self.stages = nn.ModuleList(
            nn.ModuleList(nn.Sequential(nn.Linear(4, 4), nn.ReLU()) for _ in range(2))
            for _ in range(2)
        )
        self.heads = nn.ModuleDict({"a": nn.Linear(4, 4), "b": nn.Linear(4, 3)})
        self.encoder = self.Encoder()

    def forward(self, x):
        for stage in self.stages:
            for block in stage:
                x = block(x) + 1
        x = self.encoder.encode(x)
        return self.heads["b"](x), self.heads["a"](x)


@pytest.mark.parametrize("backend", ["symbolic", "recorded"])
def test_a_module_that_forward_never_calls_gives_the_last_node_below_it(backend):
    model, x = Containers().eval(), torch.randn(2, 4)
    last = {
        "stages.0": "stages.0.1", "stages": "stages.1.1", "stages.1": "stages.1.1",
        "heads": "heads.a", "encoder": "encoder.fc",
    }  # fmt: skip
    truth = returned_by_modules(model, (x,))
    options = {"example_inputs": x, "backend": backend, "mode": "eval"}
    values = create_feature_extractor(model, [*last, "stages.0.1"], **options)(x)
    for spec, path in last.items():
        assert same(values[spec], truth[path][0]), spec
        their = {"train_return_nodes": [spec], "eval_return_nodes": [spec]}
        assert same(values[spec], theirs.create_feature_extractor(model, **their)(x)[spec])
    assert set(last) <= set(open_model(model, x, backend=backend).find("*"))


@pytest.mark.parametrize("backend", ["symbolic", "recorded"])
def test_a_size_is_not_the_last_node_below_a_module(backend):
    class Block(nn.Module):
        def forward(self, x):
            x = x.relu()
            return x, x.shape[0] * x.shape[1]

    class Blocks(nn.Module):
        def __init__(self):
            super().__init__()
            self.blocks = nn.ModuleList([Block()])

        def forward(self, x):
            x, count = self.blocks[0](x)
            return x / count

    x = torch.randn(2, 3)
    extractor = create_feature_extractor(Blocks(), ["blocks"], example_inputs=x, backend=backend)
    assert same(extractor(x)["blocks"], x.relu())


def test_containers_of_a_graph_module_give_the_last_node_below_them(resnet):
    image, traced = torch.rand(1, 3, 64, 64), torch.fx.symbolic_trace(resnet)
    their = {"train_return_nodes": ["layer4"], "eval_return_nodes": ["layer4"]}
    truth = theirs.create_feature_extractor(traced, **their)(image)
    assert same(create_feature_extractor(traced, ["layer4"])(image), truth)
    with pytest.raises(ValueError, match=r"node 'layer4\.9' is not present"):
        create_feature_extractor(traced, ["layer4.9"])


def test_a_spec_inside_a_leaf_module_names_the_leaf_and_how_to_open_it():
    model = torchvision.models.regnet_x_400mf(weights=None).eval()
    with pytest.raises(
        ValueError, match=r"'stem\.0' is inside the leaf module 'stem'.*default_leaf_modules"
    ):
        create_feature_extractor(model, ["stem.0"])
    image = torch.rand(1, 3, 64, 64)
    opened = create_feature_extractor(
        model, ["stem.0"], tracer_kwargs={"default_leaf_modules": False}
    )
    assert same(opened(image)["stem.0"], returned_by_modules(model, (image,))["stem.0"][0])


def test_a_spec_inside_a_leaf_module_of_the_callers_names_its_class(resnet):
    block = type(resnet.layer1[0])
    with pytest.raises(ValueError, match=r"leaf module 'layer1\.0' \(BasicBlock\).*leaf_modules"):
        create_feature_extractor(
            resnet, ["layer1.0.conv1"], tracer_kwargs={"leaf_modules": [block]}
        )


def test_numbers_name_the_parts_of_a_sequential_and_are_keys_as_in_torchvision():
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU())
    x = torch.ones(1, 2)
    for create in (create_feature_extractor, theirs.create_feature_extractor):
        assert list(create(model, [0, 1])(x)) == ["0", "1"]
        assert list(create(model, {"0": 7})(x)) == ["7"]


def test_a_graph_and_a_graph_module_serve_as_models(resnet):
    image = torch.rand(1, 3, 64, 64)
    truth = returned_by_modules(resnet, (image,))["layer2"][0]
    graph = NodePathTracer().trace(resnet)
    assert same(create_feature_extractor(graph, ["layer2"])(image)["layer2"], truth)
    module = torch.fx.symbolic_trace(resnet)
    names = get_graph_node_names(module)[1]
    assert "layer2.0.conv1" in names
    values = create_feature_extractor(module, ["layer2.0.bn1"])(image)
    assert same(values["layer2.0.bn1"], returned_by_modules(resnet, (image,))["layer2.0.bn1"][0])


def test_an_extractor_can_be_a_model_itself():
    extractor = create_feature_extractor(ODD["ReluInPlace"].model(), ["bn", "add"])
    again = create_feature_extractor(extractor, ["bn"])
    assert same(again(IMAGE)["bn"], extractor(IMAGE)["bn"])


def test_train_and_eval_mode_may_have_different_nodes():
    model = ODD["MoreInTrainMode"].model()
    with pytest.warns(UserWarning, match="train_return_nodes"):
        extractor = create_feature_extractor(
            model, train_return_nodes=["auxiliary"], eval_return_nodes={"add": "out"}
        )
    assert list(extractor(VECTOR)) == ["out"]
    assert list(extractor.train()(VECTOR)) == ["auxiliary"]


def test_differing_modes_warn_unless_suppressed():
    model = ODD["MoreInTrainMode"].model()
    with pytest.warns(UserWarning, match="only in train mode: dropout"):
        get_graph_node_names(model)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        get_graph_node_names(model, suppress_diff_warning=True)
        get_graph_node_names(ODD["RootParameter"].model())
