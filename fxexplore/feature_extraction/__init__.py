"""Names of the nodes of a model, and modules that return their values."""

from .extractors import (
    GraphFeatureExtractor,
    _is_subseq,
    _warn_graph_differences,
    create_feature_extractor,
    get_graph_node_names,
)
from .tracers import LeafModuleAwareTracer, NodePathTracer

__all__ = [
    "GraphFeatureExtractor",
    "LeafModuleAwareTracer",
    "NodePathTracer",
    "_is_subseq",
    "_warn_graph_differences",
    "create_feature_extractor",
    "get_graph_node_names",
]
