"""See what is inside a PyTorch model, and what each part of it sees."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .datasets import (
        FeatureStore,
        dataset_statistics,
        extract_dataset,
        open_features,
        similarity,
        top_activations,
    )
    from .feature_extraction import (
        LeafModuleAwareTracer,
        NodePathTracer,
        create_feature_extractor,
        get_graph_node_names,
    )
    from .inputs import example_inputs_for
    from .model_graph import Features, ModelGraph, check_values, extract_features, open_model
    from .notebook.comparison import Comparison, compare
    from .notebook.explorer import Explorer, explore
    from .picture import to_svg
    from .views import to_dot, to_html, to_text
    from .views.feature_maps import channel_at, plot_channel, plot_comparison, plot_feature_maps

__version__ = "0.1.0"

# Where each public name lives. Nothing is imported before it is asked for, so that
# `import fxexplore` is free and the layout worker starts without torch.
_HOMES = {
    "LeafModuleAwareTracer": "feature_extraction",
    "NodePathTracer": "feature_extraction",
    "create_feature_extractor": "feature_extraction",
    "get_graph_node_names": "feature_extraction",
    "_is_subseq": "feature_extraction",
    "_warn_graph_differences": "feature_extraction",
    "FeatureStore": "datasets",
    "dataset_statistics": "datasets",
    "extract_dataset": "datasets",
    "open_features": "datasets",
    "similarity": "datasets",
    "top_activations": "datasets",
    "Features": "model_graph",
    "ModelGraph": "model_graph",
    "check_values": "model_graph",
    "extract_features": "model_graph",
    "open_model": "model_graph",
    "example_inputs_for": "inputs",
    "channel_at": "views.feature_maps",
    "plot_channel": "views.feature_maps",
    "plot_comparison": "views.feature_maps",
    "plot_feature_maps": "views.feature_maps",
    "to_dot": "views",
    "to_html": "views",
    "to_svg": "picture",
    "to_text": "views",
    "Comparison": "notebook.comparison",
    "compare": "notebook.comparison",
    "Explorer": "notebook.explorer",
    "explore": "notebook.explorer",
}

__all__ = [
    "Comparison",
    "Explorer",
    "FeatureStore",
    "Features",
    "LeafModuleAwareTracer",
    "ModelGraph",
    "NodePathTracer",
    "channel_at",
    "check_values",
    "compare",
    "create_feature_extractor",
    "dataset_statistics",
    "example_inputs_for",
    "explore",
    "extract_dataset",
    "extract_features",
    "get_graph_node_names",
    "open_features",
    "open_model",
    "plot_channel",
    "plot_comparison",
    "plot_feature_maps",
    "similarity",
    "to_dot",
    "to_html",
    "to_svg",
    "to_text",
    "top_activations",
]


def __getattr__(name: str) -> Any:
    import importlib

    if name in _HOMES:
        if _HOMES[name] == "model_graph":
            importlib.import_module(f"{__name__}.views")  # has what shows a graph
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def load_ipython_extension(shell: Any) -> None:
    """Register ``%fxnodes``: what ``%load_ext fxexplore`` calls."""
    from .notebook import magic

    magic.load(shell)


def unload_ipython_extension(shell: Any) -> None:
    """Take ``%fxnodes`` away again: what ``%unload_ext fxexplore`` calls."""
    from .notebook import magic

    magic.unload(shell)


def __dir__() -> list[str]:
    return sorted(__all__)
