"""An extractor is a module like any other."""

from __future__ import annotations

import copy
import io
import pickle

import pytest
import torch
import torchvision
from torch import fx, nn

from fxexplore.feature_extraction import (
    GraphFeatureExtractor,
    create_feature_extractor,
    get_graph_node_names,
)
from tests.feature_extraction.truth import copied, returned_by_modules, same
from tests.models import IMAGE, ODD, VECTOR

SPECS = {"relu": "stem", "layer1.1.relu_1": "low", "layer2": "high"}
PICTURE = torch.rand(2, 3, 64, 64)


@pytest.fixture
def resnet():
    torch.manual_seed(0)
    return torchvision.models.resnet18(weights=None).eval()


@pytest.fixture
def extractor(resnet):
    return create_feature_extractor(resnet, SPECS)


def _specs(model):
    train, evaluation = get_graph_node_names(model, suppress_diff_warning=True)
    return [node for node in evaluation if node in set(train)]


def _modes():
    """A model whose two modes give different nodes, as an extractor."""
    model = ODD["MoreInTrainMode"].model()
    return create_feature_extractor(
        model,
        train_return_nodes=["auxiliary"],
        eval_return_nodes=["add"],
        suppress_diff_warning=True,
    )


def _pickled(module):
    return pickle.loads(pickle.dumps(module))


def _saved(module):
    file = io.BytesIO()
    torch.save(module, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


COPIES = [copy.deepcopy, copy.copy, _pickled, _saved]


def test_switching_modes_chooses_the_graph_and_generates_no_code(monkeypatch):
    extractor = _modes()
    monkeypatch.setattr(fx.GraphModule, "recompile", lambda _self: pytest.fail("recompiled"))
    for _ in range(3):
        assert list(extractor.train()(VECTOR)) == ["auxiliary"]
        assert extractor.graph is extractor.train_graph
        assert list(extractor.eval()(VECTOR)) == ["add"]
        assert extractor.graph is extractor.eval_graph


def test_switching_modes_keeps_no_more_and_no_more_source(extractor):
    cache = torch.fx.graph_module._loader.eval_cache
    before = len(cache)
    for _ in range(5):
        extractor.train().eval()
    assert len(cache) == before


def test_the_mode_is_also_followed_inside_a_larger_module():
    outer = nn.Sequential(_modes())
    assert list(outer.train()(VECTOR)) == ["auxiliary"]
    assert list(outer.eval()(VECTOR)) == ["add"]


def test_an_extractor_starts_in_the_mode_of_its_model(resnet):
    assert not create_feature_extractor(resnet, SPECS).training
    assert create_feature_extractor(resnet.train(), SPECS).training


def test_batch_norms_learn_in_train_mode_only(extractor, resnet):
    before = resnet.bn1.running_mean.clone()
    extractor(PICTURE)
    assert torch.equal(resnet.bn1.running_mean, before)
    extractor.train()(PICTURE)
    assert not torch.equal(resnet.bn1.running_mean, before)


@pytest.mark.parametrize("case", ODD.values(), ids=ODD)
def test_tensors_are_the_models_own_under_their_own_names_in_their_order(case):
    model = case.model()
    extractor = create_feature_extractor(model, _specs(model), suppress_diff_warning=True)
    for kind in ("named_parameters", "named_buffers"):
        known = dict(getattr(model, kind)())
        held = dict(getattr(extractor, kind)())
        held = {k: v for k, v in held.items() if not k.startswith("_tensor_constant")}
        assert list(held) == [name for name in known if name in held]
        assert all(held[name] is known[name] for name in held)
    state = extractor.state_dict()
    assert list(state) == [key for key in model.state_dict() if key in state]


def test_non_persistent_buffers_stay_out_of_the_state_dict():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("kept", torch.ones(4))
            self.register_buffer("dropped", torch.ones(4), persistent=False)

        def forward(self, x):
            return x * self.kept + self.dropped

    assert list(create_feature_extractor(Model(), ["add"]).state_dict()) == ["kept"]


def test_a_state_dict_goes_round(extractor, resnet):
    torch.manual_seed(1)
    other_model = torchvision.models.resnet18(weights=None).eval()
    other = create_feature_extractor(other_model, SPECS)
    assert not same(other(PICTURE), extractor(PICTURE))
    other.load_state_dict(extractor.state_dict())
    assert same(other(PICTURE), extractor(PICTURE))
    assert torch.equal(other_model.conv1.weight, resnet.conv1.weight)
    missing = resnet.load_state_dict(extractor.state_dict(), strict=False)
    assert not missing.unexpected_keys


@pytest.mark.parametrize("copied_by", COPIES)
@pytest.mark.parametrize("training", [False, True])
def test_a_copy_has_the_mode_the_switch_and_the_values(copied_by, training):
    original = _modes().train(training)
    twin = copied_by(original)
    assert type(twin).__mro__[1] is GraphFeatureExtractor or isinstance(twin, GraphFeatureExtractor)
    assert twin.training is training
    assert list(twin(VECTOR)) == (["auxiliary"] if training else ["add"])
    for mode in (False, True):
        assert same(original.train(mode)(VECTOR), twin.train(mode)(VECTOR))
    # Each switches for itself.
    original.train(mode=False)
    twin.train(mode=True)
    assert list(original(VECTOR)) == ["add"]


@pytest.mark.parametrize("copied_by", COPIES[:1] + COPIES[2:])
def test_a_deep_copy_has_its_own_parameters(extractor, copied_by):
    twin = copied_by(extractor)
    assert same(twin(PICTURE), extractor(PICTURE))
    with torch.no_grad():
        twin.conv1.weight.zero_()
    assert not same(twin(PICTURE), extractor(PICTURE))


@pytest.mark.parametrize(
    "name", [n for n in ODD if n not in ("BehindADecorator", "ReturnsContainers")]
)
def test_every_odd_extractor_can_be_pickled_and_copied(name):
    case = ODD[name]
    model = case.model()
    extractor = create_feature_extractor(model, _specs(model), suppress_diff_warning=True)
    results = []
    for module in (_pickled(extractor), copy.deepcopy(extractor), extractor):
        args, kwargs = case.inputs()
        torch.manual_seed(0)
        results.append(copied(module(*args, **kwargs)))
    assert same(results[0], results[2])
    assert same(results[1], results[2])


def test_a_copy_of_a_copy_is_as_good(extractor):
    twin = copy.deepcopy(_pickled(copy.deepcopy(extractor)))
    assert same(twin(PICTURE), extractor(PICTURE))


def test_gradients_reach_the_model_and_stop_before_it_where_they_do_in_the_model(resnet):
    extractor = create_feature_extractor(resnet, ["layer2"])
    extractor(PICTURE)["layer2"].sum().backward()
    assert resnet.conv1.weight.grad is not None
    assert resnet.layer3[0].conv1.weight.grad is None
    wanted = resnet.conv1.weight.grad.clone()
    resnet.zero_grad()
    x = resnet.maxpool(resnet.relu(resnet.bn1(resnet.conv1(PICTURE))))
    resnet.layer2(resnet.layer1(x)).sum().backward()
    assert torch.allclose(wanted, resnet.conv1.weight.grad, rtol=1e-4, atol=1e-4)


LAST = {
    "FrozenUnderNoGrad": "mul_1",
    "CustomBackward": "add",
    "ClampsItsWeight": "mul",
    "ReluInPlace": "relu_1",
    "MethodInPlace": "mul_1",
    "OperatorInPlace": "mul_1",
    "ReadsParametersAsAList": "add",
    "Lists": "add",
}


@pytest.mark.parametrize("name", LAST)
def test_gradients_are_those_of_the_model(name):
    case = ODD[name]
    gradients = []
    for extract in (False, True):
        model = case.model()
        (x,), _ = case.inputs()
        x.requires_grad_()
        if extract:
            result = create_feature_extractor(model, [LAST[name]])(x)[LAST[name]]
        else:
            result = model(x)
        result.square().sum().backward()
        found = {path: p.grad for path, p in model.named_parameters()}
        gradients.append(found | {"input": x.grad})
    assert same(*gradients)


def test_it_scripts(extractor):
    scripted = torch.jit.script(extractor)
    assert same(scripted(PICTURE), extractor(PICTURE))


def test_it_compiles(extractor):
    torch._dynamo.reset()
    compiled = torch.compile(extractor, backend="eager", fullgraph=True)
    assert same(compiled(PICTURE), extractor(PICTURE))


def test_it_compiles_anew_for_the_other_mode():
    torch._dynamo.reset()
    extractor = _modes()
    compiled = torch.compile(extractor, backend="eager")
    assert list(compiled(VECTOR)) == ["add"]
    extractor.train()
    assert list(compiled(VECTOR)) == ["auxiliary"]


def test_it_exports(extractor):
    exported = torch.export.export(extractor, (PICTURE,)).module()
    assert same(exported(PICTURE), extractor(PICTURE))


def test_it_moves_to_another_dtype_with_its_constants():
    extractor = create_feature_extractor(ODD["WritesIntoAConstant"].model(), ["add_"]).double()
    assert extractor(VECTOR.double())["add_"].dtype == torch.float64


def test_a_module_of_a_name_with_quotes_runs_and_keeps_its_keys():
    model = ODD["StrangeNames"].model()
    extractor = create_feature_extractor(model, ["dotted.name", 'double"quote'])
    truth = returned_by_modules(model, (VECTOR,))
    assert same(extractor(VECTOR)["dotted.name"], truth["dotted.name"][0])
    assert list(extractor.state_dict()) == list(model.state_dict())


def test_it_works_in_a_larger_module_with_its_own_layers(resnet):
    class Fused(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = create_feature_extractor(resnet, {"layer1": "a", "layer2": "b"})
            self.head = nn.Linear(64 + 128, 2)

        def forward(self, x):
            features = self.body(x)
            pooled = [value.mean((2, 3)) for value in features.values()]
            return self.head(torch.cat(pooled, dim=1))

    fused = Fused().train()
    fused(PICTURE).sum().backward()
    assert fused.head.weight.grad is not None
    assert resnet.conv1.weight.grad is not None
    assert "body.conv1.weight" in fused.state_dict()


def test_repr_and_code_can_be_read(extractor):
    assert repr(extractor).startswith("ResNet(")
    assert "self.conv1(" in extractor.code


def test_editing_the_graph_and_recompiling_works_as_for_any_graph_module():
    extractor = create_feature_extractor(ODD["ReluInPlace"].model(), ["bn"])
    for node in extractor.graph.nodes:
        if node.target == "bn":
            node.target = "conv"
    extractor.recompile()
    truth = extractor.conv(extractor.conv(IMAGE))
    assert same(extractor(IMAGE)["bn"], truth)
