"""What a picture of 64 channels costs, next to one Axes per channel."""

from __future__ import annotations

import io
import statistics
import time

import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from fxexplore import plot_feature_maps

CHANNELS = 64
LIMIT = 0.5  # seconds, saved as PNG


def one_image(maps):
    return plot_feature_maps({"layer": maps}, channels=CHANNELS)


def one_axes_per_channel(maps):
    figure = Figure(figsize=(6.8, 6.8))
    for axes, channel in zip(figure.subplots(8, 8).flat, maps[0], strict=True):
        axes.imshow(channel.numpy())
        axes.axis("off")
    return figure


def seconds(draw, maps):
    """Process time, as other programs share this machine."""
    start = time.process_time()
    figure = draw(maps)
    FigureCanvasAgg(figure)
    figure.savefig(io.BytesIO(), format="png")
    return time.process_time() - start


@pytest.mark.slow
def test_64_channels_take_half_a_second_at_most():
    maps = torch.rand(1, CHANNELS, 112, 112)
    pairs = [(seconds(one_image, maps), seconds(one_axes_per_channel, maps)) for _ in range(6)]
    ours, floor = (statistics.median(side) for side in zip(*pairs[1:], strict=True))
    print(f"\n{CHANNELS} channels of 112×112, saved as PNG:")
    print(f"one image {ours:.2f} s, one Axes per channel {floor:.2f} s")
    assert ours <= LIMIT
    assert ours <= floor
