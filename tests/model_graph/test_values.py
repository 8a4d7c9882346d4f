"""The ranges of values, and the first value that is not finite, against a run with hooks."""

import copy
import math
import weakref

import pytest
import torch
import torchvision
from torch import nn

from fxexplore import check_values
from fxexplore.model_graph import Opening, range_of

BACKENDS = pytest.mark.parametrize("backend", ["symbolic", "recorded"])
X = torch.rand(2, 3, 32, 32)


def broken_resnet():
    torch.manual_seed(0)
    model = torchvision.models.resnet18(weights=None).eval()
    model.layer2[0].bn2.bias.data[3] = math.nan
    return model


@BACKENDS
def test_the_first_in_order_of_execution_is_named_with_the_ranges_that_it_reads(backend):
    model = broken_resnet()
    seen = []
    for path, module in model.named_modules():
        if not list(module.children()):
            module.register_forward_hook(lambda _, a, y, path=path: seen.append((path, a[0], y)))
    model(X)
    path, read, value = next(row for row in seen if row[2].isnan().any())
    check = check_values(model, X, backend=backend)
    assert check.first == path == "layer2.0.bn2"
    assert check.ranges[path].nan == value.isnan().sum()
    (name, found), *others = check.inputs.items()
    assert (name, others) == ("layer2.0.conv2", [])
    assert (found.least, found.most) == pytest.approx((read.min().item(), read.max().item()))
    assert list(check.ranges)[-1] == path  # nothing after it has run
    assert f"✗ NaN first in {path}" in check.words
    assert "It reads layer2.0.conv2 -" in check.words


@BACKENDS
@pytest.mark.parametrize("mode", ["eval", "train"])
def test_the_model_is_left_as_it_is(backend, mode):
    model = broken_resnet()
    before = copy.deepcopy(model.state_dict())
    state = torch.get_rng_state()
    check_values(model, X, backend=backend, mode=mode)
    assert torch.equal(state, torch.get_rng_state())
    assert not any(module.training or module._forward_hooks for module in model.modules())
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(tensor, before[name], rtol=0, atol=0, equal_nan=True)


class Catching(nn.Module):
    """Goes on whatever is raised inside."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x, scale=1e-3):
        try:
            x = self.first(x) / (scale - scale)
        except Exception:  # noqa: BLE001
            x = x * 0
        return self.second(x).relu()


def test_a_model_that_catches_exceptions_does_not_catch_ours():
    assert check_values(Catching(), torch.ones(1, 4), backend="recorded").first == "truediv"


class Masked(nn.Module):
    def forward(self, x):
        scores = x @ x.transpose(1, 2)
        mask = torch.full_like(scores, -math.inf).triu(1)
        scores = (scores + mask).masked_fill(x[:, :, :1] < -9, -math.inf)
        return scores.softmax(-1) @ x


class Log(nn.Module):
    def forward(self, x):
        return (x - x).log().exp()


class Overflow(nn.Module):
    def forward(self, x):
        return torch.cat([x.half() * 60_000 + x.half() * 60_000, x.half()]).float()


@BACKENDS
@pytest.mark.parametrize(
    ("model", "first"), [(Masked(), ""), (Log(), "log"), (Overflow(), "add")], ids=str
)
def test_masks_are_no_alarm_and_what_overflows_is(backend, model, first):
    check = check_values(model, torch.ones(2, 3, 4), backend=backend)
    assert check.first == first
    assert check.words.startswith("No NaN and no Inf in " if not first else "")


@BACKENDS
def test_what_computes_zeros_alone_is_named(backend):
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
    model[0].bias.data.fill_(-100)
    check = check_values(model, torch.zeros(1, 4), backend=backend)
    assert check.dead == ["1"]  # and not the input
    assert repr(check) == "No NaN and no Inf in 4 values. All zero: 1."


@BACKENDS
def test_no_value_is_kept(backend):
    model = nn.Sequential(*[nn.Linear(8, 8) for _ in range(40)]).eval()
    opening = Opening(model, torch.ones(2, 8), backend=backend)
    values, most = [], 0

    def look(_, value):
        nonlocal most
        values.append(weakref.ref(value))
        most = max(most, sum(ref() is not None for ref in values))

    with torch.no_grad():
        opening.extractor([str(i) for i in range(40)]).each_value(look, (torch.ones(2, 8),), {})
    assert len(values) == 40
    assert most <= 4


def test_ranges_are_of_floating_point_numbers_whatever_holds_them():
    assert range_of({"a": torch.ones(2, dtype=torch.long), "b": None}) is None
    assert range_of(torch.empty(0)) is None
    assert range_of(torch.ones(3, device="meta")) is None
    found = range_of([torch.tensor([1.0, -math.inf]), torch.tensor([5], dtype=torch.bfloat16)])
    assert (found.least, found.most, found.count, found.inf) == (-math.inf, 5, 3, 1)
    assert found.mark == "−Inf"
    assert range_of(torch.tensor([3 - 4j])).least == -4
    assert range_of(torch.full((2,), math.nan)).words == "2 of 2 are NaN"
    assert range_of(torch.zeros(2)).words == "all 0"
