"""The same return nodes over many inputs: stored, or summed up in one pass."""

from .extraction import extract_dataset
from .similarity import Similarity, similarity
from .statistics import ChannelStatistics, Statistics, dataset_statistics
from .store import FeatureStore, open_features
from .top_activations import Top, TopActivations, top_activations
