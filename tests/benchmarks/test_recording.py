"""What recording and recorded extraction cost, as ratios to the plain forward."""

from __future__ import annotations

import statistics
import time

import pytest
import torch
import torchvision
from torch import nn
from torch.overrides import TorchFunctionMode

from fxexplore.feature_extraction.recorded.extractor import RecordedFeatureExtractor
from fxexplore.feature_extraction.recorded.recorder import record

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def ratio(measured, plain, rounds=25):
    """The median of interleaved ratios of processor time: the machine may be shared."""
    ratios = []
    with torch.no_grad():
        for _ in range(3):
            measured(), plain()
        for index in range(rounds):
            # Whoever runs first may find a warmer cache.
            first, second = (measured, plain) if index % 2 else (plain, measured)
            start = time.process_time()
            first()
            middle = time.process_time()
            second()
            end = time.process_time()
            one, two = middle - start, end - middle
            ratios.append(one / two if first is measured else two / one)
    return statistics.median(ratios)


@pytest.fixture(scope="module")
def resnet50():
    torch.manual_seed(0)
    return torchvision.models.resnet50(weights=None).eval(), torch.randn(1, 3, 224, 224)


def test_recording_resnet50_costs_at_most_1_3_times_its_forward(resnet50):
    model, image = resnet50
    cost = ratio(lambda: record(model, (image,)), lambda: model(image))
    print(f"record resnet50: {cost:.3f} of the forward")
    assert cost <= 1.3


class ManySmallOperations(nn.Module):
    def forward(self, x):
        for _ in range(500):
            x = (x + 1) * 0.5
            x = torch.relu(x)
            x = x.view(4, -1).reshape(-1)
        return x


class PassesOn(TorchFunctionMode):
    """The least that seeing every operation can cost."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        return func(*args, **(kwargs or {}))


def test_an_operation_costs_at_most_13_times_what_seeing_it_does():
    model, x = ManySmallOperations(), torch.randn(16)
    count = len(record(model, (x,)).nodes)

    def seen():
        with PassesOn():
            model(x)

    ratios, extra = [], []
    with torch.no_grad():
        for _ in range(25):
            times = []
            for run in (lambda: model(x), seen, lambda: record(model, (x,))):
                start = time.process_time()
                run()
                times.append(time.process_time() - start)
            plain, passed_on, recorded = times
            ratios.append((recorded - plain) / (passed_on - plain))
            extra.append((recorded - plain) / count * 1e6)
    cost = statistics.median(ratios)
    print(
        f"recording: {statistics.median(extra):.1f} microseconds per operation, {cost:.1f} times "
        f"a mode that passes it on"
    )
    assert cost <= 13


STAGES = ["layer1", "layer2", "layer3", "layer4"]


def test_four_module_outputs_cost_at_most_1_03_times_hooks_that_keep_them(resnet50):
    model, image = resnet50
    keys = {stage: stage for stage in STAGES}
    extractor = RecordedFeatureExtractor(model, {}, keys, None, record(model, (image,)))

    def hooked():
        kept = {}
        handles = [
            model.get_submodule(stage).register_forward_hook(
                lambda _module, _args, output, stage=stage: kept.update({stage: output})
            )
            for stage in STAGES
        ]
        model(image)
        for handle in handles:
            handle.remove()
        return kept

    cost = ratio(lambda: extractor(image), hooked, rounds=45)
    print(f"four stages of resnet50: {cost:.3f} of hooks that keep them")
    assert cost <= 1.03


def test_an_early_layer_costs_no_more_than_a_hook_that_raises(resnet50):
    model, image = resnet50
    recording = record(model, (image,))
    extractor = RecordedFeatureExtractor(model, {}, {"layer1": "layer1"}, None, recording)

    class Stop(Exception):  # noqa: N818
        pass

    def stopped():
        def stop(*_args):
            raise Stop

        handle = model.layer1.register_forward_hook(stop)
        try:
            model(image)
        except Stop:
            pass
        finally:
            handle.remove()

    cost = ratio(lambda: extractor(image), stopped, rounds=60)
    print(f"early layer: {cost:.3f} of a hook that raises")
    assert cost <= 1.03


def test_following_operations_of_resnet50_is_cheap(resnet50):
    model, image = resnet50
    recording = record(model, (image,))
    last = "layer4.2.add"
    extractor = RecordedFeatureExtractor(model, {}, {last: last}, None, recording)
    cost = ratio(lambda: extractor(image), lambda: model(image))
    print(f"an operation of resnet50: {cost:.3f} of the forward")
    assert cost <= 1.15


def test_recording_costs_no_more_than_torchlens_does(resnet50):
    import torchlens  # it wraps torch's functions for good, so this test comes last

    model, image = resnet50
    ours = ratio(lambda: record(model, (image,)), lambda: model(image), rounds=9)
    theirs = ratio(lambda: torchlens.trace(model, image), lambda: model(image), rounds=5)
    print(f"resnet50: recorded in {ours:.2f}, traced by torchlens in {theirs:.2f} of the forward")
    assert ours <= theirs
