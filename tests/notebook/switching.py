"""A model whose nodes differ between train and eval mode."""

import torch
from torch import nn


class Switching(nn.Module):
    def __init__(self, fails_in=None):
        super().__init__()
        self.head = nn.Conv2d(3, 2, 1)
        self.fails_in = fails_in

    def forward(self, x):
        if self.fails_in == ("train" if self.training else "eval"):
            raise RuntimeError("no training here")
        x = self.head(x)
        return torch.tanh(x) if self.training else torch.sigmoid(x)
