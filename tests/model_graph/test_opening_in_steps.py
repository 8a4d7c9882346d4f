"""Names first, facts later: in another thread, while the model is in use."""

import random
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
import torchvision
from torch import nn
from torch.nn.modules import module as module_internals

from fxexplore import create_feature_extractor
from fxexplore.model_graph import Opening, open_model
from tests.feature_extraction.truth import same
from tests.marks import mostly_thorough
from tests.models import ODD, UNTRACEABLE, WAYS_IN


def built(name):
    torch.manual_seed(0)
    return torchvision.models.get_model(name, weights=None)


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
def test_both_steps_together_are_open_model(odd):
    model = odd.model()
    opening = Opening(model, (odd.args, odd.kwargs))
    assert opening.annotated() == open_model(model, (odd.args, odd.kwargs))
    names = [row.name for row in opening.graph.rows]
    assert names == [row.name for row in opening.annotated().rows]


@pytest.mark.parametrize("odd", UNTRACEABLE.values(), ids=UNTRACEABLE)
def test_a_recorded_graph_has_its_facts_from_the_start(odd):
    opening = Opening(odd.model(), (odd.args, odd.kwargs))
    assert opening.graph.backend == "recorded"
    assert opening.annotated() is opening.graph


def test_names_come_with_everything_but_what_a_run_shows():
    graph = Opening(built("resnet18")).graph
    assert graph["layer1.0.add"].source
    assert graph["layer1.0.conv1"].parameters == 64 * 64 * 9
    assert graph["layer1"].parameters == 147_968
    assert all(node.shape is None and node.flops is None for node in graph.nodes)
    assert graph.flops is None


def test_facts_are_those_of_the_moment_of_opening():
    model = built("resnet18")
    opening = Opening(model)
    model.fc = nn.Linear(512, 3)
    model.half()
    assert opening.annotated()["fc"].shape == (1, 1000)
    assert opening.annotated()["fc"].dtype == "float32"


def state_of_the_process():
    return (
        torch.get_rng_state().tolist(),
        random.getstate(),
        torch.backends.mha.get_fastpath_enabled(),
        torch.get_default_dtype(),
        torch.get_default_device(),
        len(module_internals._global_forward_hooks),
        len(module_internals._global_forward_pre_hooks),
    )


@pytest.mark.parametrize("mode", ["eval", "train"])
@pytest.mark.parametrize("name", mostly_thorough(["vit_b_16", "resnet18", "mvit_v1_b"], "resnet18"))
def test_annotating_changes_no_state_of_the_process_not_even_for_a_while(name, mode, monkeypatch):
    opening = Opening(built(name), mode=mode)
    before = state_of_the_process()
    during = []
    run = opening._run._value

    def watched(node, values):
        if len(values) % 20 == 0:
            during.append(watcher.submit(state_of_the_process).result())
        return run(node, values)

    monkeypatch.setattr(opening._run, "_value", watched)
    with ThreadPoolExecutor(1) as watcher:
        opening.annotated()
    assert during
    assert all(state == before for state in during)
    assert state_of_the_process() == before


@pytest.mark.parametrize("name", mostly_thorough(["resnet18", "swin_t"], "resnet18"))
def test_the_model_can_be_used_in_another_thread_meanwhile(name):
    model = built(name).eval()
    x = torch.randn(1, 3, 64, 64)
    expected = model(x)
    opening, all_facts = Opening(model, x), open_model(model, x)
    devices = set()
    for module in model.modules():
        module.register_forward_hook(lambda _m, _a, out: devices.add(out.device.type))
    found, stop = [], threading.Event()

    def annotate():
        found.extend(opening.annotated() for _ in range(3))
        stop.set()

    thread = threading.Thread(target=annotate)
    thread.start()
    runs = 0
    while not stop.is_set() or not runs:
        model.train(runs % 2 == 1)  # flags may change at any time
        model.eval()
        assert torch.equal(model(x), expected)
        runs += 1
    thread.join()
    assert len(found) == 3
    assert found[0] == found[1] == found[2] == all_facts
    assert devices == {"cpu"}, "hooks of the user saw a run that nobody asked for"


def test_hooks_of_the_user_see_nothing_of_it():
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    seen = []
    model[0].register_forward_pre_hook(lambda *_: seen.append("before"))
    model[0].register_forward_hook(lambda *_: seen.append("after"))
    opening = Opening(model, torch.ones(1, 2))
    assert opening.annotated()["1"].shape == (1, 2)
    assert seen == []


class Uncopyable(nn.Conv2d):
    def __deepcopy__(self, memo):
        raise RuntimeError("there is only one of me")


def test_facts_end_at_what_cannot_be_copied():
    graph = open_model(
        nn.Sequential(nn.Conv2d(3, 4, 1), Uncopyable(4, 2, 1), nn.ReLU()),
        torch.ones(1, 3, 5, 5),
        tracer_kwargs={"leaf_modules": [Uncopyable]},
    )
    assert graph["0"].shape == (1, 4, 5, 5)
    assert graph["1"].shape is graph["1"].flops is graph["1"].activation_bytes is None
    assert (graph.flops_at_least, graph.activation_bytes) == (True, None)


def test_tensors_anywhere_in_a_leaf_module_take_no_memory():
    class Scaled(nn.Linear):
        def __init__(self):
            super().__init__(4, 4)
            self.plain = torch.ones(4)
            self.listed = [torch.ones(4), {"deep": torch.ones(4)}]

        def forward(self, x):
            return super().forward(x) * self.plain + self.listed[0] + self.listed[1]["deep"]

    model = nn.Sequential(Scaled())
    opening = Opening(model, torch.ones(2, 4), tracer_kwargs={"leaf_modules": [Scaled]})
    copied = opening._run._copies["0"]
    tensors = [copied.weight, copied.plain, copied.listed[0], copied.listed[1]["deep"]]
    assert all(tensor.is_meta for tensor in tensors)
    assert opening.annotated()["0"].shape == (2, 4)


def test_what_forward_makes_anew_has_a_shape_too():
    class Makes(nn.Module):
        def forward(self, x):
            return x + torch.arange(4) * torch.rand(4) + torch.zeros(4, device=x.device)

    graph = open_model(Makes(), torch.ones(2, 4))
    assert {node.shape for node in graph.nodes if node.shape} == {(2, 4), (4,)}
    assert graph.activation_bytes


# --- extractors ----------------------------------------------------------------------


def forwards_of(model):
    """A list that grows with every call of the model or of a module in it."""
    calls = []
    for path, module in model.named_modules():
        module.register_forward_hook(lambda *_, path=path: calls.append(path))
    return calls


def named_state(model):
    return [*model.named_parameters(), *model.named_buffers()]


@pytest.mark.parametrize("training", mostly_thorough([False, True], False), ids=["eval", "train"])
@pytest.mark.parametrize(("odd", "backend"), WAYS_IN.values(), ids=WAYS_IN)
def test_an_extractor_of_an_opening_is_that_of_create_feature_extractor(odd, backend, training):
    model, mode = odd.model(training), "train" if training else "eval"
    options = {"backend": backend, "mode": mode}
    before = {path: tensor.detach().clone() for path, tensor in named_state(model)}
    opening = Opening(model, odd.inputs(), **options)
    # What `empty` gives before it is filled is anything.
    names = [n.name for n in opening.graph.nodes if not n.name.startswith("empty")]
    wanted = {name: f"key {name}" for name in names}
    values = []
    for extractor in (
        create_feature_extractor(model, wanted, example_inputs=odd.inputs(), **options),
        opening.extractor(wanted),
        opening.extractor(wanted),
    ):
        for path, tensor in named_state(model):  # some models write into theirs
            tensor.data.copy_(before[path])
        args, kwargs = odd.inputs()
        torch.manual_seed(0)
        values.append(extractor(*args, **kwargs))
    assert [list(found) for found in values] == [list(values[0])] * 3
    assert same(values[1], values[0])
    assert same(values[2], values[0])


@pytest.mark.parametrize("backend", ["symbolic", "recorded"])
def test_making_an_extractor_of_an_opening_runs_and_traces_nothing(backend):
    class Block(nn.Sequential):
        traced = 0

        def forward(self, x):
            Block.traced += 1
            return super().forward(x) * 2

    model = nn.Sequential(Block(nn.Linear(4, 4), nn.ReLU()), nn.Linear(4, 2)).eval()
    opening = Opening(model, torch.ones(1, 4), backend=backend)
    calls, traced = forwards_of(model), Block.traced
    extractors = [opening.extractor(spec) for spec in (["0.0"], ["0"], ["0.mul"], ["1", "input"])]
    assert (calls, Block.traced) == ([], traced)
    for extractor in extractors:
        extractor(torch.ones(3, 4))
    assert calls.count("0.0") == len(extractors)
    assert calls.count("1") == 1


@pytest.mark.thorough
@pytest.mark.parametrize("backend", ["symbolic", "recorded"])
@pytest.mark.parametrize("wanted", [["layr1"], [], "layer1", {"x": "k", "conv1": "k"}, None])
def test_an_extractor_of_an_opening_raises_what_create_feature_extractor_raises(backend, wanted):
    model, x = built("resnet18"), torch.ones(1, 3, 32, 32)
    opening = Opening(model, x, backend=backend)
    with pytest.raises(ValueError, match=r".") as of_opening:
        opening.extractor(wanted)
    with pytest.raises(ValueError, match=r".") as expected:
        create_feature_extractor(model, wanted, example_inputs=x, backend=backend, mode="eval")
    assert str(of_opening.value) == str(expected.value)


@pytest.mark.parametrize("backend", ["symbolic", "recorded"])
def test_an_extractor_of_an_opening_is_for_its_mode_alone(backend):
    model = built("resnet18")
    extractor = Opening(model, torch.ones(1, 3, 32, 32), backend=backend).extractor(["layer1"])
    extractor.train()
    with pytest.raises(RuntimeError, match="eval mode only, and this is train mode"):
        extractor(torch.ones(1, 3, 32, 32))
