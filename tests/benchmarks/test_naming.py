"""What a true name for every node costs, next to the bare tracer of torch.fx."""

from __future__ import annotations

import gc
import statistics
import time

import pytest
import torch
from torch import fx, nn

from fxexplore.feature_extraction import NodePathTracer

# An operation is also asked for its line in the model's code, which a module is not.
LIMITS = {"Wide": 1.25, "Computing": 1.4}


class Wide(nn.Module):
    """N submodules with a name of their own each."""

    def __init__(self, count: int):
        super().__init__()
        for index in range(count):
            self.add_module(f"layer{index}", nn.ReLU())

    def forward(self, x):
        for child in self.children():
            x = child(x)
        return x


class Computing(nn.Module):
    """N submodules that add once each: an operation's name to give in each of them."""

    def __init__(self, count: int):
        super().__init__()
        self.blocks = nn.ModuleList([_Adds() for _ in range(count)])

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return x


class _Adds(nn.Module):
    def forward(self, x):
        return torch.add(x, 1)


def seconds(tracer: fx.Tracer, model: nn.Module) -> float:
    gc.collect()
    gc.disable()
    start = time.process_time()
    tracer.trace(model)
    elapsed = time.process_time() - start
    gc.enable()
    return elapsed


def ratio(model: nn.Module, rounds: int) -> tuple[float, float, float]:
    """Medians of both tracers, run in turns, and their ratio."""
    bare, named = [], []
    for _ in range(rounds):
        bare.append(seconds(fx.Tracer(), model))
        named.append(seconds(NodePathTracer(), model))
    pairs = [ours / theirs for ours, theirs in zip(named, bare, strict=True)]
    return statistics.median(bare), statistics.median(named), statistics.median(pairs)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [Wide, Computing])
def test_naming_is_linear_and_costs_little(kind):
    table = []
    for count, rounds in ((1_000, 15), (4_000, 9), (16_000, 5)):
        table.append((count, *ratio(kind(count), rounds)))
    print(f"\n{kind.__name__:>10}  bare fx  with names  ratio")
    for count, bare, named, relative in table:
        print(f"{count:>10}  {bare:7.3f}  {named:10.3f}  {relative:5.2f}")
    assert max(row[3] for row in table) <= LIMITS[kind.__name__]
