"""Names of the nodes of a model, and modules that return their values."""

from .extractors import (
    _is_subseq,
    _warn_graph_differences,
    create_feature_extractor,
    get_graph_node_names,
)
from .graph_extractor import GraphFeatureExtractor
from .recorded_extractor import RecordedFeatureExtractor
from .tracers import LeafModuleAwareTracer, NodePathTracer

__all__ = [
    "GraphFeatureExtractor",
    "LeafModuleAwareTracer",
    "NodePathTracer",
    "RecordedFeatureExtractor",
    "_is_subseq",
    "_warn_graph_differences",
    "create_feature_extractor",
    "get_graph_node_names",
]
