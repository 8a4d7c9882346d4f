"""Tensors as matplotlib figures."""

from .figure import channel_at, channels_in
from .plotting import (
    Extent,
    extent_of,
    plot_channel,
    plot_comparison,
    plot_feature_maps,
)
from .render import PlotOptions, Sort, View

__all__ = [
    "Extent",
    "PlotOptions",
    "Sort",
    "View",
    "channel_at",
    "channels_in",
    "extent_of",
    "plot_channel",
    "plot_comparison",
    "plot_feature_maps",
]
