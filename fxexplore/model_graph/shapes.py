"""The shapes in a traced graph, found without computing anything."""

from __future__ import annotations

import inspect
import types
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import fx, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map_only

from fxexplore.feature_extraction import (
    Attributes,
    Built,
    FlopCounter,
    LeafModuleAwareTracer,
    ModuleReturn,
    RecordedFailure,
    described,
    nodes_in,
    restores,
    state_tensors,
    switch_mode,
    turn_on,
    twin_of,
)

from .annotations import Findings


class ShapeRun:
    """One run of a traced graph on meta tensors, which have a shape and no numbers.

    Everything that the graph reads is copied first. From then on neither the model nor
    the state of the process is touched: the run may go on in a background thread while the model
    is used, trained or changed.

    Args:
        tracer: the tracer that traced the model.
        training: the mode that it was traced in.
        args: positional arguments of forward.
        kwargs: keyword arguments of forward.
    """

    def __init__(
        self,
        tracer: LeafModuleAwareTracer,
        training: bool,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
    ) -> None:
        self._nodes = list(tracer.graph.nodes)
        self._names = dict(tracer.node_to_qualname)
        self._returns = tracer.module_returns
        self._copies = _copies(tracer, training)
        given = inspect.signature(tracer.root.forward).bind(*args, **kwargs).arguments
        self._arguments = tree_map_only(torch.Tensor, _on_meta, dict(given))
        self.failed: fx.Node | None = None
        """The node that could not run without numbers."""
        self.failure: RecordedFailure | None = None
        """What that raised."""

    @restores
    def findings(self) -> Findings:
        """Run the graph, and sort what it shows.

        Returns:
            What is known of nodes and modules. Where a node cannot run without numbers, it and
            those after it are absent.
        """
        values: dict[fx.Node, Any] = {}
        seen: dict[fx.Node, Any] = {}
        flops: dict[fx.Node, int | None] = {}
        turn_on(_EverythingOnMeta())
        with torch.no_grad(), FlopCounter() as counter:
            for node in self._nodes:
                counter.starts()
                try:
                    values[node] = self._value(node, values)
                except Exception as problem:  # noqa: BLE001  # a stranger's code, on no numbers
                    self.failed, self.failure = node, self._failure(node, problem, values)
                    break
                flops[node] = counter.taken()
                seen[node] = described(values[node])
        return Findings(
            values={name: seen[node] for node, name in self._names.items() if node in seen},
            flops={name: flops[node] for node, name in self._names.items() if node in seen},
            returned={
                path: _described_return(returned, seen)
                for path, returned in self._returns.items()
                if all(node in seen for node in nodes_in(returned.value))
            },
        )

    def _failure(
        self, node: fx.Node, problem: Exception, values: Mapping[fx.Node, Any]
    ) -> RecordedFailure:
        args, kwargs = _filled(node.args, values), _filled(node.kwargs, values)
        return RecordedFailure(
            name=self._names.get(node, node.meta.get("module", "")),
            node=None,
            kind=type(problem).__name__,
            message=str(problem),
            source=node.meta.get("source"),
            given=described({**dict(enumerate(args)), **kwargs}),
        )

    def _value(self, node: fx.Node, values: dict[fx.Node, Any]) -> Any:
        args, kwargs = _filled(node.args, values), _filled(node.kwargs, values)
        target: Any = node.target
        if node.op == "placeholder":
            return self._arguments.get(target.lstrip("*"), *args)
        if node.op in ("get_attr", "call_module") and target not in self._copies:
            raise NotImplementedError(f"'{target}' cannot be copied to run it without numbers")
        if node.op == "get_attr":
            return self._copies[target]
        if node.op == "call_module":
            module = self._copies[target]
            _require_dtype_of_weight(module, args)
            return module(*args, **kwargs)
        if node.op == "call_method":
            return getattr(args[0], target)(*args[1:], **kwargs)
        return target(*args, **kwargs) if node.op == "call_function" else args[0]


def _filled(argument: Any, values: Mapping[fx.Node, Any]) -> Any:
    """An argument of a node with values for nodes; its lists are new, as functions may write."""
    if isinstance(argument, fx.Node):
        return values[argument]
    if isinstance(argument, slice):
        parts = (argument.start, argument.stop, argument.step)
        return slice(*(_filled(part, values) for part in parts))
    if isinstance(argument, dict):
        return {key: _filled(item, values) for key, item in argument.items()}
    if isinstance(argument, (tuple, list)):
        items = [_filled(item, values) for item in argument]
        if isinstance(argument, list):
            return items
        return type(argument)(*items) if hasattr(argument, "_fields") else tuple(items)
    return argument


def _require_dtype_of_weight(module: nn.Module, args: tuple[Any, ...]) -> None:
    """Refuse what a layer of torch refuses in a real run, but not on meta tensors."""
    if not isinstance(module, (nn.modules.conv._ConvNd, nn.Linear)) or module._forward_pre_hooks:
        return
    if type(module).__module__.startswith("torch.nn.") and args and torch.is_tensor(args[0]):
        given, wanted = args[0].dtype, module.weight.dtype
        if given != wanted:
            raise TypeError(f"the input has dtype {given}, and the weight {wanted}")


def _described_return(returned: ModuleReturn, seen: Mapping[fx.Node, Any]) -> Any:
    def filled(value: Any) -> Any:
        if isinstance(value, fx.Node):
            return seen[value]
        if isinstance(value, Built):
            fields = {name: filled(item) for name, item in value.fields.items()}
            return tuple(fields.values()) if issubclass(value.cls, tuple) else Attributes(fields)
        if isinstance(value, (tuple, list)):
            return [filled(item) for item in value]
        if isinstance(value, dict):
            return {key: filled(item) for key, item in value.items()}
        return described(value)

    return filled(returned.value)


# --- copies --------------------------------------------------------------------------


@restores
def _copies(tracer: LeafModuleAwareTracer, training: bool) -> dict[Any, Any]:
    """What a graph reads, on the meta device; what cannot be copied is left out."""
    modules = dict(tracer.root.named_modules())
    memo: dict[int, Any] = {
        id(tensor): _on_meta(tensor) for _, tensor, _ in state_tensors(tracer.root)
    }
    for module in modules.values():
        memo.update({id(hooks): OrderedDict() for hooks in _hooks(module) if hooks})
    copies: dict[Any, Any] = {}
    with _TensorsCopiedToMeta():
        for node in tracer.graph.nodes:
            target = node.target
            if node.op in ("call_module", "get_attr") and target not in copies:
                twin = twin_of(_held(tracer, modules, str(target)), memo)
                if twin is not None:
                    copies[target] = twin
    for module in modules.values():
        if id(module) in memo:
            _hook_like(memo[id(module)], module)
    if tracer.root.training != training:
        for copied in copies.values():
            if isinstance(copied, nn.Module):
                switch_mode(copied, training)
    return copies


def _held(tracer: LeafModuleAwareTracer, modules: Mapping[str, nn.Module], target: str) -> Any:
    if target in modules:
        return modules[target]
    if target in tracer.constants:
        return tracer.constants[target]
    owner, _, attribute = target.rpartition(".")
    return getattr(modules[owner], attribute)


def _hooks(module: nn.Module) -> Iterator[dict[int, Any]]:
    yield module._forward_hooks
    yield module._forward_pre_hooks


def _hook_like(copied: nn.Module, module: nn.Module) -> None:
    """Give a copy the hooks of its module that are methods of the module itself.

    Those of others shall not see a run that nobody asked for.
    """
    for hooks, own in zip(_hooks(copied), _hooks(module), strict=True):
        for key, hook in own.items():
            if getattr(hook, "__self__", None) is module:
                hooks[key] = types.MethodType(hook.__func__, copied)


def _on_meta(value: torch.Tensor) -> torch.Tensor:
    """A tensor of the same shape, strides and dtype without numbers."""
    if value.layout is torch.strided and not value.is_quantized:
        shape, strides = value.shape, value.stride()
        made = torch.empty_strided(shape, strides, dtype=value.dtype, device="meta")
    else:
        made = value.detach().to("meta")
    if isinstance(value, nn.Parameter):
        return nn.Parameter(made, requires_grad=value.requires_grad)
    return made


class _TensorsCopiedToMeta(TorchFunctionMode):
    """Has ``deepcopy`` make meta tensors."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if func is torch.Tensor.__deepcopy__:
            tensor, memo = args
            return memo.setdefault(id(tensor), _on_meta(tensor))
        return func(*args, **(kwargs or {}))


class _EverythingOnMeta(TorchFunctionMode):
    """Makes new tensors on the meta device, as ``torch.device("meta")`` does for all threads."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if func in _FACTORIES:
            kwargs = {**kwargs, "device": "meta"}
        return func(*args, **kwargs)


_FACTORIES = {
    torch.arange, torch.as_tensor, torch.asarray, torch.empty, torch.empty_strided, torch.eye,
    torch.full, torch.linspace, torch.logspace, torch.ones, torch.rand,
    torch.randint, torch.randn, torch.randperm, torch.scalar_tensor, torch.tensor,
    torch.tril_indices, torch.triu_indices, torch.zeros, torch.bartlett_window,
    torch.blackman_window, torch.hamming_window, torch.hann_window, torch.kaiser_window,
}  # fmt: skip
