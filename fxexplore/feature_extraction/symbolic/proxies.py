"""Proxies that record in-place writes, and a mode that records what no proxy sees."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import fx, nn
from torch.fx.proxy import TraceError
from torch.overrides import TorchFunctionMode

from fxexplore.feature_extraction.common.naming import AUGMENTED_OPERATORS
from fxexplore.feature_extraction.common.source import (
    augmented_assignment,
    is_item_of_a_name,
    model_frame,
)
from fxexplore.feature_extraction.common.tensors import storage_of
from fxexplore.feature_extraction.common.torch_ops import draws_random_numbers, written_argument


class InPlaceProxy(fx.Proxy):
    """A proxy that records augmented assignments as what they are: writes in place.

    Without them Python falls back on ``x = x + y``, and whoever else holds ``x`` would
    see the old value.
    """

    def __getattr__(self, name: str) -> Any:
        attribute = super().__getattr__(name)
        # Read here, and not by the module that uses it first.
        return InPlaceProxy(attribute.node, self.tracer) if name in _TENSORS else attribute

    def __getitem__(self, key: Any) -> Any:
        item = self.tracer.create_proxy("call_function", operator.getitem, (self, key), {})
        item.node.meta["is_item_of_a_name"] = is_item_of_a_name(model_frame())
        return item

    def __setitem__(self, key: Any, value: Any) -> None:
        self.tracer.create_proxy("call_function", operator.setitem, (self, key, value), {})


_TENSORS = {"H", "T", "data", "imag", "mH", "mT", "real"}  # attributes that are tensors


def _augmented(name: str) -> Callable[[fx.Proxy, Any], fx.Proxy]:
    function = getattr(operator, name)

    def assign(self: fx.Proxy, other: Any) -> fx.Proxy:
        written = self.tracer.create_proxy("call_function", function, (self, other), {})
        # A run of operator.iadd(x, y) cannot be told from x.add_(y), and is named like it.
        written.node.meta["is_call"] = augmented_assignment(model_frame()) is None
        return written

    return assign


for _name in sorted(AUGMENTED_OPERATORS):
    setattr(InPlaceProxy, f"__{_name}__", _augmented(_name))


class RealTensorsInForward(TorchFunctionMode):
    """Makes nodes of what forward does to real tensors, which proxies do not see.

    What forward computes from the model's own tensors has to follow them when they
    change; random numbers would otherwise be frozen into the graph; and a buffer that
    forward updates in place would be changed by the trace itself. Other tensors that
    forward makes are constants, and stay real.
    """

    def __init__(self, tracer: fx.Tracer, state: list[tuple[str, torch.Tensor, bool]]) -> None:
        super().__init__()
        self._tracer = tracer
        # The graph keeps these up to date, not the trace. Held, so that no id is reused.
        self._followed = {id(tensor): (name, tensor) for name, tensor, _ in state}
        self._storages = {key: name for name, t, _ in state if (key := storage_of(t))}

    def __torch_function__(  # noqa: PLR0911  # one case a line
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        kinds = set(map(type, args))
        if not kwargs and InPlaceProxy in kinds and kinds <= _SIMPLE:
            return func(*args)  # the usual case: the proxy records it
        values = _tensors_and_proxies((args, kwargs))
        if values and all(type(value) is InPlaceProxy for value in values):
            return func(*args, **kwargs)  # the proxy records it
        real = [value for value in values if isinstance(value, torch.Tensor)]
        if real:
            written = written_argument(func, args, kwargs)
            if isinstance(written, torch.Tensor):
                return self._write(func, args, kwargs, written, with_proxy=len(real) < len(values))
        if len(real) < len(values):
            return func(*args, **kwargs)  # the proxy records it
        if draws_random_numbers(func):
            return self._record(func, args, kwargs)
        result = func(*args, **kwargs)
        if any(id(t) in self._followed for t in real) and _tensors_and_proxies(result):
            # A function may hand its argument back, as ``contiguous()`` does.
            unchanged = any(result is tensor for tensor in real)
            return result if unchanged else self._record(func, args, kwargs)
        return result

    def _write(
        self,
        func: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        written: torch.Tensor,
        with_proxy: bool,
    ) -> Any:
        if id(written) in self._followed:
            self._record(func, args, kwargs)
            return written
        address = storage_of(written)
        name = self._storages.get(address)
        if name is not None or self._is_captured(address):
            what = f"a part of '{name}'" if name else "a constant"
            raise TraceError(f"in-place writes into {what} cannot be followed symbolically.")
        unregistered = isinstance(written, nn.Parameter)  # a module is made in forward
        if not with_proxy and (unregistered or not draws_random_numbers(func)):
            return func(*args, **kwargs)
        # From here on only the graph knows what is in this tensor.
        self._followed[id(written)] = ("constant", written)
        if address:
            self._storages[address] = "constant"
        self._record(func, args, kwargs)
        return written

    def _is_captured(self, address: int) -> bool:
        """Whether the graph already holds a constant in this memory."""
        held = self._tracer.tensor_attrs
        return any(
            isinstance(value, torch.Tensor) and storage_of(value) == address
            for value in held
            if address
        )

    def _record(self, func: Callable[..., Any], args: Any, kwargs: Any) -> fx.Proxy:
        create = self._tracer.create_proxy
        if not torch.overrides.is_tensor_method_or_property(func):
            return create("call_function", func, args, kwargs)
        name = func.__name__
        if name == "__get__":
            attribute = func.__self__.__name__  # type: ignore[attr-defined]
            return create("call_function", getattr, (args[0], attribute), {})
        if name == "__getitem__":
            return create("call_function", operator.getitem, args, kwargs)
        operation = augmented_assignment(model_frame()) if name.endswith("_") else None
        if operation is not None:
            return create("call_function", getattr(operator, operation), args, kwargs)
        return create("call_method", name, args, kwargs)


def _tensors_and_proxies(value: Any) -> list[Any]:
    found: list[Any] = []
    to_see = [value]
    while to_see:  # no recursion: this runs for every operation
        item = to_see.pop()
        kind = type(item)
        if kind is InPlaceProxy:
            found.append(item)
        elif kind is tuple or kind is list:
            to_see.extend(item)
        elif kind is dict:
            to_see.extend(item.values())
        elif kind is slice:
            to_see.extend((item.start, item.stop, item.step))
        elif kind not in _ORDINARY:
            if isinstance(item, (torch.Tensor, fx.Proxy)):
                found.append(item)
            elif isinstance(item, (tuple, list)):
                to_see.extend(item)
    return found


_SIMPLE = {InPlaceProxy, bool, int, float, str, type(None)}


# Types whose values are no tensors: asking torch is slow.
_ORDINARY = {
    bool, int, float, str, type(None), dict, set, list, tuple, type(nn.Module()._forward_hooks),
}  # fmt: skip


def holds_proxy(value: Any) -> bool:
    """Whether a proxy is in a nesting of containers."""
    return any(isinstance(item, fx.Proxy) for item in _tensors_and_proxies(value))
