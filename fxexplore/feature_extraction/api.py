"""Feature extractors for any model, and the names of what can be extracted.

A model is opened by a symbolic trace of its graph, or by a recording of one real run;
:mod:`.backends` chooses.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Any

from torch import fx, nn

from .backends import Backend, Mode, OpenedModel, open_with_backend
from .common.return_nodes import ReturnNodes, keys_by_mode
from .common.validation import as_arguments
from .recorded.extractor import RecordedFeatureExtractor
from .symbolic.extractor import GraphFeatureExtractor, graph_extractor
from .symbolic.traced_graph import model_and_tracer
from .symbolic.tracer import NodePathTracer


def create_feature_extractor(
    model: nn.Module | fx.Graph,
    return_nodes: ReturnNodes | None = None,
    train_return_nodes: ReturnNodes | None = None,
    eval_return_nodes: ReturnNodes | None = None,
    tracer_kwargs: dict[str, Any] | None = None,
    suppress_diff_warning: bool = False,
    concrete_args: dict[str, Any] | None = None,
    *,
    example_inputs: Any = None,
    backend: Backend = "auto",
    mode: Mode = "both",
) -> GraphFeatureExtractor | RecordedFeatureExtractor:
    """Make a module that returns chosen values from inside ``model``.

    The drop-in counterpart of ``torchvision.models.feature_extraction``'s function of
    that name. A return node is a node name as :func:`get_graph_node_names` lists it, or
    the path of a module, which gives what that module returned at its last call, as it
    was when it returned. The extractor shares the model's parameters and runs nothing
    after the last return node. ``model`` itself is left as it is.

    Args:
        model: the model to take values from, an ``fx.GraphModule`` included, or the
            ``fx.Graph`` that ``NodePathTracer().trace(model)`` gave, which is of one mode.
        return_nodes: the names of the return nodes, or a dict from name to the key of
            the value in the result. Both are text; a whole number stands for its digits.
        train_return_nodes: the same for train mode only, if the two modes differ.
        eval_return_nodes: the same for eval mode only.
        tracer_kwargs: keyword arguments for :class:`NodePathTracer`. The operations of
            torchvision stay leaf modules besides the ``leaf_modules`` given here, unless
            ``"default_leaf_modules": False`` is among them.
        suppress_diff_warning: do not warn when the nodes of train and eval mode differ.
        concrete_args: values for arguments of forward while tracing; see
            :meth:`NodePathTracer.trace`.
        example_inputs: what to run a model on that cannot be traced: a tensor, a tuple of
            positional arguments, a dict of keyword arguments, or a pair of both.
        backend: ``"symbolic"`` to trace, ``"recorded"`` to record one run, ``"auto"`` to
            record only what cannot be traced.
        mode: ``"train"`` or ``"eval"`` for an extractor that runs in that mode alone.

    Returns:
        A module with the arguments of the model's forward, which returns a dict from key
        to value in order of execution and changes between train and eval mode as the
        model does. Traced, it is an ``fx.GraphModule``; recorded, it runs the model's own
        code.

    Raises:
        ValueError: if the return nodes are missing, unknown or clash.
        TypeError: if an argument is of the wrong kind.
        torch.fx.proxy.TraceError: if the model cannot be opened.

    Example:
        >>> import torch, torchvision
        >>> model = torchvision.models.resnet18(weights=None).eval()
        >>> extractor = create_feature_extractor(model, {"layer1": "low", "layer4.1.add": "high"})
        >>> {key: tuple(value.shape) for key, value in extractor(torch.ones(1, 3, 64, 64)).items()}
        {'low': (1, 64, 16, 16), 'high': (1, 512, 2, 2)}
    """
    train_keys, eval_keys = keys_by_mode(return_nodes, train_return_nodes, eval_return_nodes)
    root, opened = _opened(
        model, example_inputs, backend, mode, tracer_kwargs, concrete_args, suppress_diff_warning
    )
    return extractor_of(root, opened, train_keys, eval_keys)


def get_graph_node_names(
    model: nn.Module | fx.Graph,
    tracer_kwargs: dict[str, Any] | None = None,
    suppress_diff_warning: bool = False,
    concrete_args: dict[str, Any] | None = None,
    *,
    example_inputs: Any = None,
    backend: Backend = "auto",
    mode: Mode = "both",
) -> tuple[list[str], list[str]]:
    """List the names of all nodes of a model, in order of execution.

    Args:
        model: the model to look at, which is left as it is; or its graph, as for
            :func:`create_feature_extractor`.
        tracer_kwargs: as for :func:`create_feature_extractor`.
        suppress_diff_warning: do not warn when the two lists differ.
        concrete_args: as for :func:`create_feature_extractor`.
        example_inputs: what to run a model on that cannot be traced, as for
            :func:`create_feature_extractor`.
        backend: ``"symbolic"`` to trace, ``"recorded"`` to record one run, ``"auto"`` to
            record only what cannot be traced.
        mode: ``"train"`` or ``"eval"`` for the names of that mode alone.

    Returns:
        The names in train mode and the names in eval mode; none for a mode in which the
        model does not open.

    Raises:
        ValueError: if ``mode`` or ``backend`` is unknown.
        TypeError: if an argument is of the wrong kind.
        torch.fx.proxy.TraceError: if the model cannot be opened.

    Example:
        >>> import torchvision
        >>> model = torchvision.models.resnet18(weights=None)
        >>> train_nodes, eval_nodes = get_graph_node_names(model)
        >>> eval_nodes[:5]
        ['x', 'conv1', 'bn1', 'relu', 'maxpool']
    """
    _, opened = _opened(
        model, example_inputs, backend, mode, tracer_kwargs, concrete_args, suppress_diff_warning
    )
    return opened.names("train"), opened.names("eval")


def _opened(
    model: nn.Module | fx.Graph,
    example_inputs: Any,
    backend: Backend,
    mode: Mode,
    tracer_kwargs: dict[str, Any] | None,
    concrete_args: dict[str, Any] | None,
    suppress_diff_warning: bool,
) -> tuple[nn.Module, OpenedModel]:
    """Open a model, and warn the caller's caller of what may surprise."""
    root, tracer = model_and_tracer(model)
    arguments = None if example_inputs is None else as_arguments(example_inputs)
    opened = open_with_backend(
        root,
        arguments,
        mode=mode,
        backend=backend,
        tracer_kwargs=tracer_kwargs,
        concrete_args=concrete_args,
        tracer=tracer,
    )
    opened.warn(root, stacklevel=4)
    if not suppress_diff_warning:
        _warn_differences(opened, stacklevel=4)
    return root, opened


def extractor_of(
    root: nn.Module, opened: OpenedModel, train_keys: dict[str, str], eval_keys: dict[str, str]
) -> GraphFeatureExtractor | RecordedFeatureExtractor:
    """Make an extractor for a model that is open, from what was traced or recorded then.

    Args:
        root: the model.
        opened: what tracing or recording saw of it.
        train_keys: names of the return nodes in train mode with their output keys.
        eval_keys: the same for eval mode.

    Raises:
        ValueError: if a name is unknown.
    """
    if opened.recordings:
        recordings = opened.recordings.get("train"), opened.recordings.get("eval")
        return RecordedFeatureExtractor(root, train_keys, eval_keys, *recordings)
    return graph_extractor(root, opened.tracers, {"train": train_keys, "eval": eval_keys})


def _is_subseq(x: Iterable[Any], y: Iterable[Any]) -> bool:
    """Whether the items of ``y`` all occur in ``x``, in the same order.

    Example:
        >>> _is_subseq("abcd", "bd"), _is_subseq("abcd", "db")
        (True, False)
    """
    rest = iter(x)
    return all(any(item == wanted for item in rest) for wanted in y)


def _warn_graph_differences(train_tracer: NodePathTracer, eval_tracer: NodePathTracer) -> None:
    """Warn if the nodes of train and eval mode differ, and name some that do.

    Args:
        train_tracer: the tracer that traced the model in train mode.
        eval_tracer: the tracer that traced it in eval mode.
    """
    _warn_differences(OpenedModel({"train": train_tracer, "eval": eval_tracer}))


def _warn_differences(opened: OpenedModel, stacklevel: int = 3) -> None:
    train_nodes, eval_nodes = opened.names("train"), opened.names("eval")
    if len(opened.modes) == 1 or train_nodes == eval_nodes:
        return
    if _is_subseq(train_nodes, eval_nodes):
        relation = "NOTE: the nodes of eval mode are a subsequence of those of train mode"
    elif _is_subseq(eval_nodes, train_nodes):
        relation = "NOTE: the nodes of train mode are a subsequence of those of eval mode"
    else:
        relation = "The nodes of train mode differ from those of eval mode"
    shown = 3
    examples = [
        f"only in {mode} mode: {', '.join(alone[:shown])}{', ...' if alone[shown:] else ''}"
        for mode, alone in (
            ("train", [name for name in train_nodes if name not in set(eval_nodes)]),
            ("eval", [name for name in eval_nodes if name not in set(train_nodes)]),
        )
        if alone
    ]
    warnings.warn(
        f"{relation} ({'; '.join(examples) or 'they run in another order'}). When choosing nodes "
        f"for feature extraction, you may need train_return_nodes and eval_return_nodes.",
        stacklevel=stacklevel,
    )
