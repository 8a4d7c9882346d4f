"""A recorded extractor stops after the last return node, and names what is not reached."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from fxexplore.feature_extraction.recorded.extractor import RecordedFeatureExtractor
from fxexplore.feature_extraction.recorded.recorder import record
from tests.feature_extraction.recorded.plain_runs import (
    assert_untouched,
    extractor_of,
    state_of,
    torchvision_model,
)
from tests.models import VECTOR


class StopsAt(nn.Module):
    """A model whose later part must not be reached."""

    def __init__(self):
        super().__init__()
        self.early = nn.Linear(4, 4)
        self.block = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
        self.late = nn.Linear(4, 4)
        self.fails = False

    def forward(self, x):
        try:
            with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
                x = self.block(self.early(x) + 1)
        except Exception:  # noqa: BLE001
            x = x * 0
        if self.fails:
            raise RuntimeError("too late")
        return self.late(x.float())


@pytest.mark.parametrize("spec", ["early", "add", "block.0", "block", "x"])
def test_nothing_after_the_last_wanted_value_runs(spec):
    model = StopsAt().eval()
    extractor = extractor_of(model, [spec], (VECTOR,))
    model.fails = True
    before = state_of(model)
    torch.set_grad_enabled(True)
    value = extractor(VECTOR)[spec]
    assert torch.is_grad_enabled()
    assert not torch.is_autocast_enabled("cpu")
    assert_untouched(model, before)
    assert value.shape == (2, 4)


def test_a_model_that_catches_everything_cannot_swallow_the_end():
    class Swallows(StopsAt):
        def forward(self, x):
            try:
                x = self.early(x)
            except BaseException:  # noqa: BLE001
                x = x * 0
            return self.late(x) + 1

    model = Swallows()
    for specs in (["early"], ["early", "x"]):
        torch.testing.assert_close(
            extractor_of(model, specs, (VECTOR,))(VECTOR)["early"], model.early(VECTOR)
        )


def test_a_value_that_is_not_reached_is_an_error_that_names_it_and_the_shapes():
    class Branches(nn.Module):
        def __init__(self):
            super().__init__()
            self.positive, self.negative = nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, x):
            return self.positive(x) if x.sum() > 0 else self.negative(x) * 2

    model = Branches()
    for spec in ("negative", "mul"):
        extractor = extractor_of(model, [spec], (-torch.ones(2, 4),))
        with pytest.raises(RuntimeError, match=f"'{spec}' was not reached on inputs .3×4."):
            extractor(torch.ones(3, 4))


def test_unknown_names_are_errors_that_list_near_ones():
    model = torchvision_model("resnet18")
    recording = record(model, (torch.randn(1, 3, 32, 32),))
    with pytest.raises(ValueError, match=r"Did you mean: .*layer1\.0\.conv1"):
        RecordedFeatureExtractor(model, {}, {"layer1.0.conv": "a"}, None, recording)
    extractor = RecordedFeatureExtractor(model, {}, {"layer1": "a"}, None, recording)
    with pytest.raises(RuntimeError, match="recorded in eval mode only"):
        extractor.train()(torch.randn(2, 3, 32, 32))
