"""A model that was recorded is afterwards the same model, and its tensors are not kept."""

from __future__ import annotations

import random

import pytest
import torch
from torch import nn

from fxexplore.feature_extraction.recorded.recorder import record
from tests.feature_extraction.recorded.plain_runs import (
    assert_untouched,
    extractor_of,
    state_of,
    torchvision_model,
)
from tests.models import VECTOR


def test_batch_norm_statistics_are_put_back_in_train_mode():
    model = torchvision_model("resnet18", training=True)
    images = torch.randn(2, 3, 32, 32)
    before = state_of(model)
    record(model, (images,))
    assert_untouched(model, before)


def test_a_model_that_raises_is_left_as_it_was():
    class Raises(nn.Module):
        def __init__(self):
            super().__init__()
            self.bn = nn.BatchNorm1d(4)
            self.register_buffer("calls", torch.zeros(()))

        def forward(self, x):
            self.calls.add_(1)
            self.extra = self.bn(x)
            self.train(False)
            random.random()
            torch.rand(2)
            if x.shape[0] == 2:
                raise ArithmeticError("half-way")
            return self.extra

    model, three = Raises().train(), torch.randn(3, 4)
    before = state_of(model)
    with pytest.raises(ArithmeticError, match="half-way"):
        record(model, (VECTOR,))
    assert_untouched(model, before)
    extractor = extractor_of(model, ["bn"], (three,))
    assert_untouched(model, before)
    assert extractor(VECTOR)["bn"].shape == (2, 4)  # stops before it raises


def test_inputs_and_parameters_that_forward_overwrites_are_put_back():
    class Writes(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.randn(4))
            self.embedding = nn.Embedding(3, 4, max_norm=0.1)
            self.relu = nn.ReLU(inplace=True)

        def forward(self, x):
            with torch.no_grad():
                self.weight[:2].clamp_(min=5)
            return self.relu(x) * self.weight + self.embedding(torch.tensor(1))

    model, x = Writes(), VECTOR.clone()
    before = state_of(model)
    record(model, (x,))
    assert_untouched(model, before)
    assert torch.equal(x, VECTOR)


def test_tensors_are_not_kept_alive():
    import gc
    import weakref

    class Makes(nn.Module):
        def forward(self, x):
            y = x * 2
            made.append(weakref.ref(y))
            return y + 1

    made = []
    recording = record(Makes(), (VECTOR,))
    gc.collect()
    assert made[0]() is None
    assert recording.nodes["mul"].output.shape == (2, 4)
