"""Tensors as matplotlib figures."""

from .plotting import (
    Extent,
    channel_at,
    channels_in,
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
