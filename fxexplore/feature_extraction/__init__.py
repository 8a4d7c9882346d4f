"""Names of the nodes of a model, and modules that return their values.

The rest of fxexplore imports from here only, never from the modules inside. What is for
everybody is in ``__all__``.
"""

from .api import (
    _is_subseq,  # torchvision has these two, so that people import them
    _warn_graph_differences,
    create_feature_extractor,
    extractor_of,
    get_graph_node_names,
)
from .backends import Backend, Mode, OpenedModel, open_with_backend
from .common.flops import FlopCounter
from .common.isolation import (
    RandomState,
    beside_others,
    hook,
    isolated,
    on_leaving,
    patch,
    restores,
    switch_mode,
    turn_on,
    twin_of,
)
from .common.naming import operation_name
from .common.return_nodes import ReturnNodes, keys_by_mode, nearest
from .common.source import line_in_words, where
from .common.tensors import Attributes, TensorInfo, described, state_tensors, tensors_in
from .common.validation import (
    Arguments,
    as_arguments,
    checked_model,
    hint_on,
    inputs_to_give,
    kind_of,
    require_no_lazy_parameters,
    required_arguments,
    shapes_of,
)
from .recorded.extractor import RecordedFeatureExtractor
from .recorded.recorder import record
from .recorded.recording import RecordedFailure, RecordedNode, Recording
from .symbolic.extractor import GraphFeatureExtractor
from .symbolic.module_returns import Built, ModuleReturn, nodes_in
from .symbolic.sizes import size_nodes
from .symbolic.traced_graph import model_and_tracer
from .symbolic.tracer import LeafModuleAwareTracer, NodePathTracer

__all__ = [
    "GraphFeatureExtractor",
    "LeafModuleAwareTracer",
    "NodePathTracer",
    "RecordedFeatureExtractor",
    "create_feature_extractor",
    "get_graph_node_names",
    "isolated",
]
