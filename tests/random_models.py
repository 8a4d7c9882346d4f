"""Random models: nested modules whose forward is random source code, from a seed."""

from __future__ import annotations

import itertools
import linecache
import random
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import nn

SHAPE = (2, 8)  # of every value
LEAVES = (
    "nn.Linear(8, 8)", "nn.ReLU()", "nn.ReLU(inplace=True)", "nn.BatchNorm1d(8)",
    "nn.LayerNorm(8)", "nn.Identity()", "nn.Dropout(0.5)", "nn.Tanh()",
)  # fmt: skip
STEPS = (
    "{v} = {v} + {w}", "{v} = {v} * 0.5", "{v} += {w}", "{v} = torch.relu({v})",
    "{v} = {v}.clone().add_({w})", "{v}.mul_(0.9)", "{v} = F.relu_({v} - 0.1)",
    "{v} = {v}.view(2, 2, 4).transpose(1, 2).reshape(2, 8)",
    "{a}, {b} = {v}.chunk(2, dim=1); {v} = torch.cat([{b}, {a}], 1)",
    "{v} = {v}.clone(); {v}[:, 0] = {w}[:, 1]", "{v} = math.sqrt(2.0) * {v}",
    "{v} = {v} * self.scale", "{v} = {v} + self.bias", "{v} = torch.stack([{v}, {w}]).mean(0)",
    "{v} = {v}.flip(1)", "{v} = {w}", "{v} = F.dropout({v}, 0.5, self.training)",
)  # fmt: skip
ODD_STEPS = (  # that only a run can follow, or that change the model
    "{v} = {v} + 1 if {v}.sum() > 0 else {v} - 1",
    "for _ in range(1 + int({v}.sum() > 0)): {v} = {v} * 0.5",
    "self.scale.mul_(1.01)",
    "self.calls = self.calls + 1",
    "{v} = torch.as_tensor({v}.detach().numpy() + 1)",
)
# What a module returns, and how its caller takes a value out of it.
RETURNS = (
    ("{v}", ""), ("({v}, {w})", "[0]"), ("[{w}, {v}]", "[1]"), ("{{'a': {v}, 'b': {w}}}", "['a']"),
    ("Pair({v}, {w})", ".first"), ("Data({v}, {w})", ".first"), ("({v}, 3)", "[0]"),
)  # fmt: skip


class Pair(NamedTuple):
    first: Any
    second: Any


@dataclass
class Data:
    first: Any
    second: Any


_files = itertools.count()


def random_model(seed: int, *, odd: bool = False) -> nn.Module:
    """A model of its own for each seed; if it is odd, only a run can tell what it does."""
    draw = random.Random(seed)
    torch.manual_seed(seed)
    return _module(draw, draw.randint(1, 3), odd)[0]


def _module(draw: random.Random, depth: int, odd: bool) -> tuple[nn.Module, str]:
    children: dict[str, nn.Module] = {}
    ends: dict[str, str] = {}
    for i in range(draw.randint(1, 4)):
        if depth and draw.random() < 0.6:
            children[f"m{i}"], ends[f"m{i}"] = _module(draw, depth - 1, odd)
        else:
            leaf = eval(draw.choice(LEAVES), {"nn": nn})  # one of those above
            children[f"m{i}"], ends[f"m{i}"] = leaf, ""
    if draw.random() < 0.2:
        children["again"], ends["again"] = next(iter(children.items()))[1], ends["m0"]
    lines = ["y = x * 1"]
    names = [*children, *draw.choices([*children, None], k=3)]
    for child in names:
        v, w = draw.sample(["x", "y"], 2) if draw.random() < 0.3 else ("y", "x")
        steps = STEPS + ODD_STEPS if odd else STEPS
        for step in draw.choices(steps, k=draw.randint(0, 2)):
            lines += step.format(v=v, w=w, a="a", b="b").split("; ")
        if child is not None:
            lines.append(f"{v} = self.{child}({v}){ends[child]}")
    result, end = draw.choice(RETURNS)
    lines.append(f"return {result.format(v='y', w='x')}")
    return _class(lines)(children), end


def _class(lines: list[str]) -> type[nn.Module]:
    source = "def forward(self, x):\n" + "".join(f"    {line}\n" for line in lines)
    file = f"<random model {next(_files)}>"
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    namespace = globals() | {"F": nn.functional, "math": __import__("math")}
    exec(compile(source, file, "exec"), namespace)  # the text above

    def init(self: nn.Module, children: dict[str, nn.Module]) -> None:
        nn.Module.__init__(self)
        for name, child in children.items():
            self.add_module(name, child)
        self.bias = nn.Parameter(torch.randn(8))
        self.register_buffer("scale", torch.ones(()))
        self.calls = 0

    return type("Random", (nn.Module,), {"__init__": init, "forward": namespace["forward"]})
