"""What recorded extractors are compared with: plain runs of the same models, seen by hooks."""

from __future__ import annotations

import copy
import random

import torch
import torchvision
from torch import nn

from fxexplore.feature_extraction.common.tensors import tensors_in
from fxexplore.feature_extraction.recorded.extractor import RecordedFeatureExtractor
from fxexplore.feature_extraction.recorded.recorder import record


def extractor_of(model, keys, args, kwargs=None, **options):
    recording = record(model, args, kwargs, **options)
    keys = keys if isinstance(keys, dict) else {key: key for key in keys}
    if model.training:
        return RecordedFeatureExtractor(model, keys, {}, recording, None)
    return RecordedFeatureExtractor(model, {}, keys, None, recording)


def cloned(value):
    if isinstance(value, torch.Tensor):
        return value.detach().clone()
    if isinstance(value, (list, tuple)):
        return [cloned(item) for item in value]
    if isinstance(value, dict):
        return {key: cloned(item) for key, item in value.items()}
    return [cloned(item) for item in tensors_in(value)]


def module_outputs(model, args, kwargs=None):
    """What every module returned at its last call, by forward hooks of a plain run."""
    outputs, handles = {}, []
    for path, module in model.named_modules():
        if path:

            def hook(_module, _args, output, path=path):
                outputs.pop(path, None)
                outputs[path] = cloned(output)

            handles.append(nn.Module.register_forward_hook(module, hook))
    try:
        with torch.no_grad():
            torch.manual_seed(0)
            model(*args, **(kwargs or {}))
    finally:
        for handle in handles:
            handle.remove()
    return outputs


def state_of(model):
    """Everything of a model that a run must leave as it was."""
    return {
        "flags": [module.training for module in model.modules()],
        "hooks": [
            (len(module._forward_hooks), len(module._forward_pre_hooks))
            for module in model.modules()
        ],
        "attributes": [sorted(vars(module)) for module in model.modules()],
        "state": {key: value.clone() for key, value in state_dict(model).items()},
        "grads": [parameter.grad for parameter in model.parameters()],
        "random": torch.get_rng_state(),
        "python random": random.getstate(),
    }


def state_dict(model):
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


def assert_untouched(model, before):
    after = state_of(model)
    for part in ("flags", "hooks", "attributes", "grads", "python random"):
        assert after[part] == before[part], part
    assert torch.equal(after["random"], before["random"])
    for key, value in before["state"].items():
        torch.testing.assert_close(after["state"][key], value, rtol=0, atol=0, equal_nan=True)


def check_modules(model, args, kwargs=None, options=None):
    """Every module's output, extracted all at once, equals the plain run's."""
    expected = module_outputs(model, *fresh(args, kwargs))
    before = state_of(model)
    recording = record(model, *fresh(args, kwargs), **(options or {}))
    assert_untouched(model, before)
    reached = [path for path in expected if path in recording.module_returns]
    leaves = {n.target: n.name for n in recording.nodes.values() if n.op == "call_module"}
    keys = {path: path for path in reached} | {
        name: path for path, name in leaves.items() if path in expected
    }
    mode = "train" if model.training else "eval"
    extractor = RecordedFeatureExtractor(
        model,
        keys if mode == "train" else {},
        keys if mode == "eval" else {},
        recording if mode == "train" else None,
        recording if mode == "eval" else None,
    )
    with torch.no_grad():
        torch.manual_seed(0)
        a, k = fresh(args, kwargs)
        values = extractor(*a, **k)
    assert set(values) == set(keys.values())
    for key, value in values.items():
        torch.testing.assert_close(
            cloned(value), expected[key], rtol=0, atol=0, equal_nan=True, msg=lambda m, k=key: k + m
        )
    inside_leaves = tuple(path + "." for path in recording.leaf_spec.leaves)
    missed = [p for p in expected if p not in keys.values() and not p.startswith(inside_leaves)]
    assert missed == []
    assert sum(module._forward_hooks != {} for module in model.modules()) == sum(
        hooks != 0 for hooks, _ in before["hooks"]
    )
    return recording


def fresh(args, kwargs):
    return copy.deepcopy(args), copy.deepcopy(kwargs or {})


SMALL_TORCHVISION = {
    "resnet18": (2, 3, 32, 32),
    "shufflenet_v2_x0_5": (2, 3, 32, 32),
    "swin_t": (1, 3, 64, 64),
    "vit_b_32": (1, 3, 224, 224),
    "mobilenet_v3_small": (2, 3, 32, 32),
    "r3d_18": (2, 3, 2, 16, 16),
    "lraspp_mobilenet_v3_large": (2, 3, 64, 64),
}


def torchvision_model(name, training=False):
    options = {"weights": None}
    if name in ("googlenet", "inception_v3"):
        options["init_weights"] = False
    if name.startswith(
        ("fcn", "deeplab", "lraspp", "faster", "mask", "keypoint", "retina", "fcos")
    ):
        options["weights_backbone"] = None
    if name.startswith("ssd"):
        options["weights_backbone"] = None
    torch.manual_seed(0)
    return torchvision.models.get_model(name, **options).train(training)
