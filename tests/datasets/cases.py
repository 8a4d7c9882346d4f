"""Models, data and a brute-force truth for the tests of datasets."""

from __future__ import annotations

import torch
from torch import nn


class Small(nn.Module):
    """A convolutional net that is traced."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.fc = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 3)

    def forward(self, x):
        x = torch.relu(self.norm(self.conv(x)))
        return self.fc(x.mean((2, 3)))


class Branching(Small):
    """The same, which has to be recorded."""

    def forward(self, x):
        if x.sum() > 1e9:
            x = -x
        return super().forward(x)


def pictures(count, seed=0):
    """Pictures with labels, in a list."""
    generator = torch.Generator().manual_seed(seed)
    return [(torch.randn(1, 6, 6, generator=generator), i % 3) for i in range(count)]


def by_hooks(model, paths, batches):
    """What modules return for some batches, by forward hooks on the real model."""
    found = {path: [] for path in paths}
    handles = [
        module.register_forward_hook(lambda _, __, out, path=path: found[path].append(out.clone()))
        for path, module in model.named_modules()
        if path in paths
    ]
    was = model.training
    model.eval()
    with torch.no_grad():
        for batch in batches:
            model(batch)
    model.train(was)
    for handle in handles:
        handle.remove()
    return {path: torch.cat(values) for path, values in found.items()}


def batched(dataset, size):
    """The inputs of a list of (input, label), in batches."""
    inputs = [element[0] for element in dataset]
    return [torch.stack(inputs[i : i + size]) for i in range(0, len(inputs), size)]
