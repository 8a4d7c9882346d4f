"""The model of the golden files, which name its lines: a change here changes them."""

import torch
from torch import nn


class Block(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.drop = nn.Dropout(0.1)
        self.act = nn.ReLU()

    def forward(self, x):
        return x + self.act(self.drop(self.conv(x)))


class Small(nn.Module):
    """Nested modules, a residual, siblings of one structure, a parameter and untrusted text."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3)
        self.body = nn.Sequential(Block(4), Block(4), Block(4))
        self.scale = nn.Parameter(torch.ones(4, 1, 1), requires_grad=False)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.add_module("<b>&", nn.Linear(4, 2))

    def forward(self, x):
        x = self.body(self.stem(x)) * self.scale
        return self.get_submodule("<b>&")(torch.flatten(self.pool(x), 1))
