"""Tensors as matplotlib figures."""

from .plotting import channel_at, plot_channel, plot_comparison, plot_feature_maps

__all__ = ["channel_at", "plot_channel", "plot_comparison", "plot_feature_maps"]
