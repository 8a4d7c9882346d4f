"""Tensors as matplotlib figures."""

from .plotting import channel_at, channels_in, plot_channel, plot_comparison, plot_feature_maps
from .render import PlotOptions

__all__ = [
    "PlotOptions",
    "channel_at",
    "channels_in",
    "plot_channel",
    "plot_comparison",
    "plot_feature_maps",
]
