"""Tensors as matplotlib figures."""

from .figure import channel_at, channels_in
from .options import PlotOptions, Sort, View
from .plotting import plot_channel, plot_comparison, plot_feature_maps
from .tensors import Extent, extent_of

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
