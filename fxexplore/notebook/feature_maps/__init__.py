"""The part of the explorer that runs the model and shows what nodes compute."""

from .panel import FeatureMapsPanel

__all__ = ["FeatureMapsPanel"]
