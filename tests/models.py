"""A zoo of small odd modules, which every room's tests run over.

Each class is registered with example inputs and with what makes it odd. ``ODD`` holds the
ones that open symbolically, ``UNTRACEABLE`` those that only a real run can open.
"""

from __future__ import annotations

import dataclasses
import math
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import nn


@dataclasses.dataclass(frozen=True)
class Odd:
    """One odd model: how to build it, what to feed it, and how it differs from the plain."""

    name: str
    build: Callable[[], nn.Module]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    random: bool = False  # draws numbers in forward, also in eval mode
    counts: bool = False  # changes its own buffers in forward, also in eval mode

    def inputs(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Fresh inputs, as some models write into theirs."""

        def fresh(value: Any) -> Any:
            return value.clone() if isinstance(value, torch.Tensor) else value

        return tuple(map(fresh, self.args)), {k: fresh(v) for k, v in self.kwargs.items()}

    def model(self, training: bool = False) -> nn.Module:
        torch.manual_seed(0)
        return self.build().train(training)


ODD: dict[str, Odd] = {}
UNTRACEABLE: dict[str, Odd] = {}

_generator = torch.Generator().manual_seed(1)
VECTOR = torch.randn(2, 4, generator=_generator)
IMAGE = torch.randn(2, 3, 8, 8, generator=_generator)


def odd(*args: Any, traceable: bool = True, **facts: Any) -> Callable[[Any], Any]:
    kwargs = {k: facts.pop(k) for k in list(facts) if k not in ("random", "counts")}

    def register(build: Any) -> Any:
        case = Odd(build.__name__, build, args, kwargs, **facts)
        (ODD if traceable else UNTRACEABLE)[case.name] = case
        return build

    return register


# --- names ---------------------------------------------------------------------------


@odd(IMAGE)
class NumberedConvs(nn.Module):
    """Names that end in a number and start at 1, with no plain name beside them."""

    def __init__(self):
        super().__init__()
        self.conv_1 = nn.Conv2d(3, 4, 3)
        self.conv_2 = nn.Conv2d(4, 2, 3)

    def forward(self, x):
        return self.conv_2(self.conv_1(x))


@odd(VECTOR)
class ArgumentNamedLikeAChild(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Linear(4, 4)

    def forward(self, features):
        return self.features(features) + 1


@odd(VECTOR)
class UnderscoreBesideDot(nn.Module):
    """A leaf ``a_relu`` that runs before ``a.relu``."""

    def __init__(self):
        super().__init__()
        self.a_relu = nn.ReLU()
        self.a = nn.Sequential(OrderedDict(fc=nn.Linear(4, 4), relu=nn.ReLU()))

    def forward(self, x):
        return self.a(self.a_relu(x))


STRANGE_NAMES = (
    "with space",
    "with[bracket",
    "with]bracket",
    "star*",
    "(group",
    "a|b",
    "plus+",
    "question?",
    "^start",
    "end$",
    "back\\slash",
    "0digit",
    "class",
    "naïve",
    'double"quote',
    "single'quote",
    "tab\tin",
    "new\nline",
    "<b>html</b>",
    "forward pass",
    "{brace}",
    "training mode",
)


@odd(VECTOR)
class StrangeNames(nn.Module):
    def __init__(self):
        super().__init__()
        for name in STRANGE_NAMES:
            self.add_module(name, nn.Linear(4, 4))
        # add_module refuses dots; checkpoints converted by hand have them all the same.
        self._modules["dotted.name"] = nn.Linear(4, 4)

    def forward(self, x):
        for child in self.children():
            x = child(x)
        return x


@odd(VECTOR)
class CalledTwice(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 4)
        self.relu = nn.ReLU()
        self.block = nn.Sequential(nn.Linear(4, 4), nn.Tanh())

    def forward(self, x):
        x = self.relu(self.fc(x) - 1)
        x = self.relu(self.fc(x) - 2)
        return self.block(self.block(x))


@odd(VECTOR)
class SharedUnderTwoPaths(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(4, 4)
        self.body = nn.Sequential(nn.ReLU(), nn.Linear(4, 4))
        self.second = self.first
        self.again = self.body

    def forward(self, x):
        return self.again(self.second(self.body(self.first(x))))


@odd(VECTOR)
class OperationsNamedLikeChildren(nn.Module):
    """Operations whose base names, and first suffixes, belong to real modules."""

    def __init__(self):
        super().__init__()
        self.add = nn.Linear(4, 4)
        self.add_1 = nn.Linear(4, 4)
        self.mul_2 = nn.Linear(4, 4)

    def forward(self, x):
        x = (x + 1) + 2
        x = ((x * 2) * 3) * 4
        return self.mul_2(self.add_1(self.add(x)))


@odd(VECTOR)
class ReluMadeInForward(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 4)

    def forward(self, x):
        return nn.ReLU()(self.fc(x)) + 1


@odd(VECTOR)
class Lists(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(4, 4) for _ in range(3)])
        self.table = nn.ModuleDict({"a": nn.ReLU(), "b": nn.Linear(4, 4)})
        self.scales = nn.ParameterList([nn.Parameter(torch.rand(4)) for _ in range(2)])
        self.named = nn.ParameterDict({"shift": nn.Parameter(torch.rand(4))})

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        for scale in self.scales:
            x = x * scale
        return self.table["b"](self.table["a"](x)) + self.named["shift"]


@odd(VECTOR)
class RootParameter(nn.Module):
    """Parameters of the top module, used more than once and before any child."""

    def __init__(self):
        super().__init__()
        self.shift = nn.Parameter(torch.rand(4))
        self.fc = nn.Linear(4, 4)
        self.scale = nn.Parameter(torch.rand(4))

    def forward(self, x):
        return self.fc(x + self.shift) * self.scale + self.shift


# --- in place ------------------------------------------------------------------------


@odd(VECTOR)
class MethodInPlace(nn.Module):
    def forward(self, x):
        y = x * 1
        y.add_(1)
        return y * 2


@odd(VECTOR)
class OperatorInPlace(nn.Module):
    def forward(self, x):
        y = x * 1
        z = y
        z += 1
        return y * 2


@odd(IMAGE)
class ReluInPlace(nn.Module):
    """What every ResNet does: a ReLU that overwrites the batch norm's output."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        self.bn = nn.BatchNorm2d(3)
        self.relu = nn.ReLU(inplace=True)
        self.block = nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU(inplace=True), nn.Conv2d(3, 3, 1))

    def forward(self, x):
        x = self.relu(self.bn(self.conv(x)))
        y = self.block(x)
        y += x
        return nn.functional.relu(y, inplace=True)


@odd(VECTOR)
class WritesThroughViews(nn.Module):
    """In-place operations on views, whose result nobody reads directly."""

    def forward(self, x):
        y = x * 2
        y[:, 1:].mul_(3)
        first, second = y.chunk(2, dim=1)
        first.add_(second)
        y.transpose(0, 1).relu_()
        return y + 1


@odd(VECTOR)
class WritesIntoAConstant(nn.Module):
    def forward(self, x):
        out = torch.zeros(2, 4)
        out[:, 0] = x[:, 1]
        out.add_(x)
        return out * 2


@odd(VECTOR)
class WritesItsInput(nn.Module):
    def forward(self, x):
        y = x + 1
        x.mul_(0)
        return x + y


@odd(VECTOR, counts=True)
class CountsInForward(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))
        self.fc = nn.Linear(4, 4)

    def forward(self, x):
        self.calls += 1
        return self.fc(x) * self.calls


@odd(VECTOR)
class ReadsBuffers(nn.Module):
    """A value that is computed from a buffer alone."""

    def __init__(self):
        super().__init__()
        self.register_buffer("scale", torch.rand(4))
        self.fc = nn.Linear(4, 4)

    def forward(self, x):
        doubled = self.scale * 2
        return self.fc(x) * doubled[: x.shape[1]]


@odd(VECTOR)
class ReadsParametersAsAList(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 4)

    def forward(self, x):
        penalty = sum(p.pow(2).sum() for p in self.parameters())
        return self.fc(x) + penalty


@odd(VECTOR, random=True)
class DrawsInForward(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 4)
        self.register_buffer("level", torch.ones(4))

    def forward(self, x):
        noise = torch.rand(2, 4) + torch.randn_like(x) + torch.randn_like(self.level)
        return self.fc(x) + torch.bernoulli(torch.full((4,), 0.5)) + noise


# --- what containers return ----------------------------------------------------------


class _Pair(NamedTuple):
    low: Any
    high: Any


@dataclasses.dataclass
class _Record:
    low: Any
    high: Any = None


class _Returns(nn.Module):
    def __init__(self, container: Callable[[Any, Any], Any]):
        super().__init__()
        self.fc = nn.Linear(4, 4)
        self._container = container

    def forward(self, x):
        low = self.fc(x)
        high = low + 1
        result = self._container(low, high)
        torch.sigmoid(high)  # runs last, but is not what is returned
        return result


@odd(VECTOR)
class ReturnsContainers(nn.Module):
    def __init__(self):
        super().__init__()
        self.tuple = _Returns(lambda low, high: (high, low))
        self.dict = _Returns(lambda low, high: {"high": high, "low": [low, 7, None]})
        self.ordered = _Returns(lambda low, high: OrderedDict(b=high, a=low))
        self.named = _Returns(_Pair)
        self.record = _Returns(_Record)
        self.nothing = _Returns(lambda _low, _high: None)
        self.input = _Returns(lambda low, _high: low)

    def forward(self, x):
        a, b = self.tuple(x)
        c = self.dict(a)["low"][0] + b
        d = self.ordered(c)["a"]
        e = self.named(d).high
        f = self.record(e).low
        assert self.nothing(f) is None
        return self.input(f)


# --- arguments -----------------------------------------------------------------------


@odd(VECTOR)
class MaskDefaultsToNone(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 4)

    def forward(self, x, mask=None, scale: float = 2.0, size=(2, 2), dtype=torch.float32):
        x = self.fc(x).to(dtype) * scale + size[0]
        if mask is not None:
            x = x * mask
        return x


@odd(VECTOR, other=VECTOR)
class KeywordOnly(nn.Module):
    def forward(self, x, flag=True, *, other, gain=1.0):
        return x * other * gain if flag else x


@odd(VECTOR, VECTOR, VECTOR)
class ManyInputs(nn.Module):
    def forward(self, *inputs):
        return inputs[0] + inputs[1] * inputs[2]


@odd(VECTOR)
class TakesKeywords(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 4)

    def forward(self, x, **options):
        return self.fc(x) * options.get("gain", 3)


# --- modes and contexts --------------------------------------------------------------


@odd(VECTOR)
class FrozenUnderNoGrad(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = nn.Linear(4, 4)
        self.head = nn.Linear(4, 4)

    def forward(self, x):
        with torch.no_grad():
            x = self.backbone(x) * 2
        return self.head(x) * x


@odd(VECTOR)
class ClampsItsWeight(nn.Module):
    """A write into a parameter, as weight constraints do it."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4))

    def forward(self, x):
        with torch.no_grad():
            self.weight.clamp_(min=0)
        return x * self.weight


class _Doubled(torch.autograd.Function):
    """Its backward is not the derivative of its forward."""

    @staticmethod
    def forward(ctx, x):  # noqa: ARG004
        return x * 2

    @staticmethod
    def backward(ctx, gradient):  # noqa: ARG004
        return gradient * 100


@odd(VECTOR)
class CustomBackward(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 4)

    def forward(self, x):
        return _Doubled.apply(self.fc(x)) + 1


@odd(IMAGE)
class FrozenBatchNorm(nn.Module):
    def __init__(self):
        super().__init__()
        self.frozen = nn.BatchNorm2d(3)
        self.bn = nn.BatchNorm2d(3)

    def train(self, mode=True):
        super().train(mode)
        self.frozen.eval()
        return self

    def forward(self, x):
        return self.bn(self.frozen(x))


@odd(VECTOR)
class MoreInTrainMode(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 4)
        self.auxiliary = nn.Linear(4, 2)
        self.dropout = nn.Dropout(0.5)

    def forward(self, x):
        x = self.fc(x)
        if self.training:
            return self.dropout(x), self.auxiliary(x)
        return x + 1


@odd(torch.tensor(9.0))
class UsesMath(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("one", torch.ones(()))

    def forward(self, x):
        return math.sqrt(x) + self.one


@odd(VECTOR)
class BehindADecorator(nn.Module):
    """Attributes set in forward, and a hook that changes what a submodule returns."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 4)
        self.block = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
        self.block.register_forward_hook(lambda _module, _args, output: output * 2)
        self.fc.register_forward_hook(lambda _module, _args, output: output - 1)
        self.last = None

    def forward(self, x):
        self.last = self.fc(x)
        return self.block(self.last)


# --- what no symbolic trace can open -------------------------------------------------


@odd(VECTOR, traceable=False)
class BranchesOnData(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = _Branch()

    def forward(self, x):
        return self.inner(x * 2)


class _Branch(nn.Module):
    def forward(self, x):
        if x.sum() > 0:
            return x
        return -x


@odd(VECTOR, traceable=False)
class LoopsOverData(nn.Module):
    def forward(self, x):
        total = 0
        for row in x:
            total = total + row
        return total


@odd(VECTOR, traceable=False)
class CountsWithData(nn.Module):
    def forward(self, x):
        for _ in range(x.shape[0]):
            x = x + 1
        return x


@odd(VECTOR, traceable=False)
class NeedsANumber(nn.Module):
    def forward(self, x):
        return x * float(x.mean())


@odd(VECTOR, traceable=False)
class LinearMadeInForward(nn.Module):
    def forward(self, x):
        return nn.Linear(4, 2)(x)


@odd(VECTOR, traceable=False)
class UnderAutocast(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 4)

    def forward(self, x):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            x = self.fc(x)
        return x.float() + 1


@odd(VECTOR, traceable=False)
class ReplacesItsBuffer(nn.Module):
    """A trace would lose the new value, and show the first one for ever."""

    def __init__(self):
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x):
        self.calls = self.calls + 1
        return x * self.calls


@odd(VECTOR, traceable=False)
class ConstantWrittenBetween(nn.Module):
    """A constant that is read, changed outside the graph, and read again."""

    def forward(self, x):
        shift = torch.zeros(4)
        y = x + shift
        shift.add_(1)
        return y * (x + shift)


class Raises(nn.Module):
    """Changes itself in every way it can, then raises its own error half-way in forward."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 4)
        self.frozen = nn.BatchNorm1d(4).eval()
        self.register_buffer("calls", torch.zeros(()))
        self.register_buffer("other", torch.zeros(()))
        self.seen = []
        self.options = {"a": 1}

    def forward(self, x):
        self.calls += 1
        self.seen.append(x)
        self.options["b"] = 2
        self.new = torch.rand(3)
        self.fc.weight.requires_grad_(False)
        self.register_buffer("other", torch.ones(()))
        self.fc.register_forward_hook(lambda *_: None)
        self.extra = nn.Linear(1, 1)
        self.frozen.train()
        torch.rand(3)
        raise KeyError("half-way")


WAYS_IN = {
    f"{name}-{backend}": (odd, backend)
    for backend, models in (("symbolic", ODD), ("recorded", ODD | UNTRACEABLE))
    for name, odd in models.items()
}
"""Every odd model with each way in that can open it."""
