"""Recording in several threads, and inside one another."""

from __future__ import annotations

import threading

import pytest
import torch
from torch import nn

from fxexplore.feature_extraction.recorded.recorder import record
from tests.feature_extraction.recorded.plain_runs import extractor_of, torchvision_model
from tests.models import VECTOR


@pytest.mark.parametrize("specs", [["layer2"], ["layer2", "layer1.0.add"]])
def test_threads_run_one_extractor_at_once(specs):
    model = torchvision_model("resnet18")
    images = [torch.randn(1, 3, 32, 32) for _ in range(4)]
    extractor = extractor_of(model, specs, (images[0],))
    with torch.no_grad():
        expected = [extractor(image)["layer2"] for image in images]
    wrong = []

    def work(index):
        with torch.no_grad():
            values = [extractor(images[index])["layer2"] for _ in range(5)]
        wrong.extend(index for value in values if not torch.equal(value, expected[index]))

    in_threads(work, 4)
    assert wrong == []
    assert all(not module._forward_hooks for module in model.modules())


def in_threads(work, count):
    errors = []

    def guarded(index):
        try:
            work(index)
        except Exception as error:  # noqa: BLE001
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(index,)) for index in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


def test_threads_record_while_others_run_the_model():
    model = torchvision_model("shufflenet_v2_x0_5")
    image = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        expected, names = model(image), list(record(model, (image,)).nodes)

    def work(index):
        for _ in range(3):
            if index % 2:
                assert list(record(model, (image,)).nodes) == names
            else:
                with torch.no_grad():
                    assert torch.equal(model(image), expected)

    in_threads(work, 4)
    assert all(not m._forward_hooks and not m._forward_pre_hooks for m in model.modules())


@pytest.mark.parametrize("spec", ["layer2", "layer1.0.add"])
def test_threads_record_and_extract_from_one_model(spec):
    model = torchvision_model("resnet18")
    image = torch.randn(1, 3, 32, 32)
    expected = extractor_of(model, [spec], (image,))(image)[spec]

    def work(_index):
        for _ in range(4):
            value = extractor_of(model, [spec], (image,))(image)[spec]
            assert torch.equal(value, expected)

    in_threads(work, 4)
    assert all(not m._forward_hooks and not m._forward_pre_hooks for m in model.modules())


def test_a_recording_around_another_sees_none_of_its_book_keeping():
    class Inner(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("scale", torch.ones(4))
            self.drop = nn.Dropout()

        def forward(self, x):
            return self.drop(x).contiguous() * self.scale

    inner = Inner().eval()

    class Outer(nn.Module):
        def forward(self, x):
            record(inner, (x,))
            return x + 1

    names = list(record(Outer(), (VECTOR,)).nodes)
    assert names == ["x", "contiguous", "mul", "add"] or names[-1] == "add"
    assert not {"clone", "view_as", "equal", "untyped_storage"} & set(names)


def test_recording_nests():
    inner = nn.Sequential(nn.Linear(4, 4), nn.ReLU()).eval()

    class Nests(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = inner
            self.fc = nn.Linear(4, 4)

        def forward(self, x):
            names.append(list(record(self.inner, (x,)).nodes))
            return self.fc(self.inner(extractor(x)["0"])) + 1

    names = []
    extractor = extractor_of(inner, ["0"], (VECTOR,))
    recording = record(Nests().eval(), (VECTOR,))
    assert names == [["input", "0", "1"]]
    assert list(recording.nodes)[-2:] == ["fc", "add"]
    values = extractor_of(Nests().eval(), ["add"], (VECTOR,))(VECTOR)
    assert values["add"].shape == (2, 4)
