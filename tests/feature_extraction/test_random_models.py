"""What modules return, on random models: an extractor gives what forward hooks see."""

from __future__ import annotations

import copy

import pytest
import torch

from fxexplore import create_feature_extractor, open_model
from tests.marks import mostly_thorough
from tests.random_models import SHAPE, random_model

from .truth import returned_by_modules, same

pytestmark = pytest.mark.filterwarnings("ignore:.*recording one run", "ignore:.*only in")


def state(model):
    return {
        **{key: value.clone() for key, value in model.state_dict().items()},
        "flags": [(m.training, m.calls if hasattr(m, "calls") else 0) for m in model.modules()],
    }


def check(seed, odd, mode, backend):
    model = random_model(seed, odd=odd)
    model.train(mode == "train")
    x = torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed))
    truth = returned_by_modules(copy.deepcopy(model), (x.clone(),))
    del truth[""]
    # The first path of a leaf module is its first call; what else leads to a module, its last.
    leaves = {path for path, module in model.named_modules() if not list(module.children())}
    truth = {path: calls[0] if path in leaves else calls[-1] for path, calls in truth.items()}
    if not truth:
        return 0
    before = state(model)
    options = {"example_inputs": x.clone(), "mode": mode, "backend": backend}
    extractor = create_feature_extractor(model, list(truth), **options)
    assert same(state(model), before), f"seed {seed}: the model was changed"
    torch.manual_seed(0)
    values = extractor(x.clone())
    for path, value in truth.items():
        assert same(values[path], value), f"seed {seed}, {mode}: {path}"
    graph = open_model(random_model(seed, odd=odd), x, mode=mode, backend=backend)
    for path, value in truth.items():
        item = graph[path] if path in graph.index else None
        if item is not None and item.shape is not None:
            assert item.shape == tuple(value.shape), f"seed {seed}, {mode}: {path}"
    return len(truth)


BACKENDS = {"recorded": (False, True), "symbolic": (False,), "auto": (True,)}


@pytest.mark.parametrize("mode", mostly_thorough(["eval", "train"], "train"))
@pytest.mark.parametrize("backend", BACKENDS)
def test_an_extractor_gives_what_hooks_see(backend, mode):
    values = sum(check(seed, odd, mode, backend) for seed in range(8) for odd in BACKENDS[backend])
    assert values > 40


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["eval", "train"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_of_two_thousand_models_none_is_wrong(backend, mode):
    seeds = range(1000, 1500)
    print(sum(check(seed, odd, mode, backend) for seed in seeds for odd in BACKENDS[backend]))
