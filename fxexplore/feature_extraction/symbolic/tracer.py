"""A symbolic tracer that gives a true name to every node, and loses nothing that runs."""

from __future__ import annotations

import copy
import inspect
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from types import FunctionType
from typing import Any

import torch
from torch import fx, nn
from torch.fx import _symbolic_trace as fx_internals
from torch.fx.proxy import TraceError

from fxexplore.feature_extraction.common.isolation import (
    isolated,
    lock,
    on_leaving,
    restores,
    turn_on,
)
from fxexplore.feature_extraction.common.leaves import LeafDecisions
from fxexplore.feature_extraction.common.naming import NodeNamer, operation_name
from fxexplore.feature_extraction.common.source import (
    called_from_here,
    guarded_line,
    source_line,
)
from fxexplore.feature_extraction.common.tensors import state_tensors
from fxexplore.feature_extraction.common.torch_ops import (
    run_custom_functions_by,
    written_argument,
)
from fxexplore.feature_extraction.common.validation import kind_of

from .errors import errors_explained
from .module_returns import ModuleReturn, nodes_in, with_nodes
from .proxies import InPlaceProxy, RealTensorsInForward, holds_proxy
from .runtime import AppliedFunction
from .signature import Argument, arguments_while_tracing

VAR_POSITIONAL, KEYWORD_ONLY = inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.KEYWORD_ONLY


class LeafModuleAwareTracer(LeafDecisions):
    """An ``fx.Tracer`` that does not trace into given classes of modules.

    Tracing leaves the model as it was: attributes, flags, hooks and random state,
    also when it raises. One trace runs at a time; other threads may go on running
    models meanwhile. What torch.fx would lose, such as writes in place, is in the graph.

    Args:
        autowrap_modules: Python modules whose functions become nodes (any iterable).
        autowrap_functions: functions that become nodes (any iterable).
        param_shapes_constant: see ``torch.fx.Tracer``.
        leaf_modules: classes of modules that become one node each (any iterable).

    Raises:
        TypeError: if an entry is of the wrong kind.

    Example:
        >>> from torch import nn
        >>> class Block(nn.Sequential): pass
        >>> model = nn.Sequential(Block(nn.ReLU()), nn.ReLU())
        >>> graph = LeafModuleAwareTracer(leaf_modules={Block}).trace(model)
        >>> [node.target for node in graph.nodes if node.op == "call_module"]
        ['0', '1']
    """

    __signature__ = inspect.signature(LeafDecisions)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._reset()

    def _reset(self) -> None:
        self._namer = NodeNamer(())
        self._thread = threading.get_ident()
        self._parameter_paths: dict[int, str] = {}
        self.failed_in = ""  # the path of the innermost module that raised
        self.current_module_qualname = ""
        self.node_to_qualname: dict[fx.Node, str] = {}
        self.module_returns: dict[str, ModuleReturn] = {}
        self.fixed_arguments: dict[str, Any] = {}
        self.constants: dict[str, Any] = {}
        self._is_guarded = False  # the module that runs was called in a ``try``
        self.mode = ""  # in which the model was traced
        self._autocast = _autocast_state()
        self._fed: set[str] = set()

    @restores
    def trace(
        self,
        root: nn.Module | Callable[..., Any],
        concrete_args: dict[str, Any] | None = None,
    ) -> fx.Graph:
        """Trace ``root`` and return its graph.

        Args:
            root: a module, or a function of tensors.
            concrete_args: values that stand for arguments of forward while tracing.
                ``torch.fx.PH`` marks an argument with a default that is to be an input.

        Raises:
            torch.fx.proxy.TraceError: where the code cannot be traced symbolically.
        """
        lock.write()
        self._reset()
        flag, patcher = fx_internals._get_is_fx_tracing(), fx_internals.CURRENT_PATCHER
        on_leaving(partial(_end_tracing, flag, patcher))
        if not isinstance(root, nn.Module):
            return called_from_here(super().trace, root, concrete_args)
        with isolated(root):
            graph = self._trace_module(root, concrete_args)
        _known_by(graph, self, {node: node for node in graph.nodes})
        return graph

    def for_nodes(
        self, graph: fx.Graph, copies: Mapping[fx.Node, fx.Node]
    ) -> LeafModuleAwareTracer:
        """The same tracer for a copy of its graph, or for what was left of it by editing.

        Args:
            graph: the graph.
            copies: the nodes that are in the graph, by the nodes that this tracer knows.
        """
        twin = copy.copy(self)
        names, returns = self.node_to_qualname.items(), self.module_returns.items()
        twin.graph = graph
        twin.node_to_qualname = {copies[n]: name for n, name in names if n in copies}
        memo = {id(node): copied for node, copied in copies.items()}
        twin.module_returns = {
            path: copy.deepcopy(returned, memo)
            for path, returned in returns
            if all(node in copies for node in (returned.after, *nodes_in(returned.value)))
        }
        return twin

    def _trace_module(self, root: nn.Module, concrete_args: dict[str, Any] | None) -> fx.Graph:
        _require_own_forward(root)
        self.mode = "train" if root.training else "eval"
        self._namer = NodeNamer(path for path, _ in root.named_modules(remove_duplicate=False))
        state = list(state_tensors(root))
        self._parameter_paths = {id(t): path for path, t, is_parameter in state if is_parameter}
        held = [(path, m._buffers) for path, m in root.named_modules() if m._buffers]
        buffers = [(path, now, now.copy()) for path, now in held if isinstance(now, dict)]
        attributes = set(vars(root))
        run_custom_functions_by(self._custom_function)
        turn_on(RealTensorsInForward(self, state))
        with (
            # A no_grad block inside forward shows only if gradients are on to begin with.
            torch.enable_grad(),
            errors_explained(self, root),
        ):
            graph = called_from_here(super().trace, root, concrete_args)
        for path, now, before in buffers:
            for name, tensor in before.items():
                if now.get(name, tensor) is not tensor:
                    full = f"{path}.{name}" if path else name
                    raise TraceError(
                        f"forward puts a new tensor in the place of buffer '{full}', which a "
                        f"symbolic trace would lose. Write into the buffer instead: "
                        f"self.{full}.copy_(...)"
                    )
        # fx hangs tensors that forward made on the root, which is the caller's.
        read = {node.target for node in graph.nodes if node.op == "get_attr"}
        self.constants |= {k: v for k, v in vars(root).items() if k in read - attributes}
        return graph

    def create_arg(self, a: Any) -> Any:
        """Turn a value into the argument of a node; the usual kinds without a search."""
        kind = type(a)
        if kind is InPlaceProxy and a.tracer is self:
            return a.node
        if kind is tuple:
            return tuple(map(self.create_arg, a))
        if a is None or kind is int or kind is float or kind is bool or kind is str:
            return a
        if kind is dict and not a:
            return {}
        try:
            return super().create_arg(a)
        except NotImplementedError:
            raise TraceError(f"an operation is given {kind_of(a)}, which no graph holds.") from None

    def proxy(self, node: fx.Node) -> fx.Proxy:
        """Make a proxy that records ``+=`` and ``x[i] = y``."""
        return InPlaceProxy(node, self)

    def _custom_function(
        self, apply: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Record ``autograd.Function.apply`` as one node, so that its own backward is kept."""
        if self._is_elsewhere or not holds_proxy((args, kwargs)):
            return apply(*args, **kwargs)
        function = AppliedFunction(apply.__self__)  # type: ignore[attr-defined]
        return self.create_proxy("call_function", function, args, kwargs)

    @property
    def _is_elsewhere(self) -> bool:
        """Whether another thread than the tracing one asks: it must see plain torch."""
        return threading.get_ident() != self._thread

    def call_module(
        self,
        m: nn.Module,
        forward: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        """Record the call of a leaf module, or trace into another and note what it returns."""
        if self._is_elsewhere:
            return forward(*args, **kwargs)
        path = (self.submodule_paths or {}).get(m)
        if path is None:  # made inside a forward
            state = [name for name, _ in (*m.named_parameters(), *m.named_buffers())]
            if not state:
                return forward(*args, **kwargs)
            raise TraceError(
                f"a {type(m).__name__} is called that is not a registered submodule, so its "
                f"{', '.join(state[:3])} would belong to no model. Assign the module to an "
                f"attribute in __init__; for a list of modules use torch.nn.ModuleList."
            )
        caller, is_guarded = self.current_module_qualname, self._is_guarded
        self._is_guarded = is_guarded or self._runs_guarded()
        self.current_module_qualname = path
        try:
            output = super().call_module(m, forward, args, kwargs)
        except Exception:
            self.failed_in = self.failed_in or path
            raise
        finally:
            self.current_module_qualname, self._is_guarded = caller, is_guarded
        node = output.node if type(output) is InPlaceProxy else None
        # A leaf module has become the one node that it returned.
        if node is None or node.op != "call_module" or node.target != path:
            value = with_nodes(output, self._constant)
            after = next(iter(reversed(self.graph.nodes)))
            before = self.module_returns.pop(path, None)
            calls = 1 if before is None else before.calls + 1
            returned = ModuleReturn(value, after, len(self.module_returns), calls)
            self.module_returns[path] = returned
        return output

    def _constant(self, value: Any) -> fx.Node:
        """The node that reads a tensor that is no proxy, or another object that was returned."""
        if isinstance(value, torch.Tensor):
            node: fx.Node = self.create_arg(value)
            return node
        for name, known in self.constants.items():
            if known is value:
                return self.create_node("get_attr", name, (), {})
        name = f"_constant{len(self.constants)}"
        self.constants[name] = value
        return self.create_node("get_attr", name, (), {})

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, fx.Proxy]) -> Any:
        """Make a proxy for a parameter that forward reads."""
        if self._is_elsewhere:
            return attr_val
        if isinstance(attr_val, nn.Parameter):
            # fx searches all parameters for each read; a look-up keeps tracing linear.
            path = self._parameter_paths.get(id(attr_val))
            if path is None:
                return attr_val
            if path in parameter_proxy_cache:
                return parameter_proxy_cache[path]
        return super().getattr(attr, attr_val, parameter_proxy_cache)

    def create_proxy(
        self,
        kind: str,
        target: fx.node.Target,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        name: str | None = None,
        type_expr: Any | None = None,
        proxy_factory_fn: Callable[[fx.Node], fx.Proxy] | None = None,
    ) -> fx.Proxy:
        """Record an operation together with its qualified name and source line."""
        proxy = super().create_proxy(kind, target, args, kwargs, name, type_expr, proxy_factory_fn)
        node = proxy.node
        node.meta["module"] = self.current_module_qualname
        if kind.startswith("call_") and not torch.is_grad_enabled():
            node.meta["no_grad"] = True
        if kind in ("call_function", "call_method") and not self._is_feature(node):
            return proxy
        if kind.startswith("call_"):
            node.meta["source"] = source_line()
        if kind != "placeholder" and (self._is_guarded or self._runs_guarded()):
            raise TraceError("it is in a try, whose except branch a trace would lose.")
        if kind == "call_module":
            qualname = self._namer.module_call(str(target))
        else:
            qualname = self._namer.operation(
                self.current_module_qualname, operation_name(kind, target)
            )
        self.node_to_qualname[node] = node.meta["qualified_name"] = qualname
        if _autocast_state() != self._autocast:
            raise TraceError(
                f"'{qualname}' runs under autocast, which a symbolic trace would lose."
            )
        return proxy

    def _runs_guarded(self) -> bool:
        """Whether the module that runs now is in a ``try``; its callers are not asked."""
        return guarded_line(LeafModuleAwareTracer.call_module.__code__) is not None

    def _is_feature(self, node: fx.Node) -> bool:
        """Whether a value is more than computed from buffers and constants alone."""
        inputs = node.all_input_nodes
        if inputs and not any(n in self.node_to_qualname or n.target in self._fed for n in inputs):
            return False
        written = written_argument(node.target, node.args, node.kwargs)
        if isinstance(written, fx.Node) and written.op == "get_attr":
            self._fed.add(str(written.target))  # from now on it holds a feature
        return True

    def create_args_for_root(
        self,
        root_fn: Callable[..., Any],
        is_module: bool,
        concrete_args: Any = None,
    ) -> tuple[Any, list[Any]]:
        """Make the arguments of forward: inputs as proxies, others at their value.

        An argument that has a default keeps it, so that ``mask=None`` takes the branch
        that it takes when nobody gives a mask.
        """
        arguments = arguments_while_tracing(root_fn, is_module, concrete_args)
        values = {argument.name: self._argument(argument) for argument in arguments}
        in_order = sorted(arguments, key=lambda argument: argument.position)
        keyword = {a.name: values[a.name] for a in in_order if a.kind is KEYWORD_ONLY}
        variable = [values[a.name] for a in in_order if a.kind is VAR_POSITIONAL]
        positional: list[Any] = [self.root] if is_module else []
        positional += [values[a.name] for a in in_order if a.kind < VAR_POSITIONAL]
        if variable:
            # forward(self, x, *xs): one proxy stands in for the whole tuple.
            root_fn, positional = _with_tuples(root_fn, positional, keyword, variable[0]), []

        def call_root() -> Any:
            return root_fn(*positional, **({} if variable else keyword))

        return call_root, []

    def _argument(self, argument: Argument) -> Any:
        is_variable = argument.kind is VAR_POSITIONAL
        name = f"*{argument.name}" if is_variable else argument.name
        default, annotation = argument.default, None if is_variable else argument.annotation
        proxy = self.create_proxy("placeholder", name, default, {}, type_expr=annotation)
        if argument.is_input:
            return proxy
        # It is in the signature, so that giving another value raises an error that explains.
        self.fixed_arguments[name] = argument.value
        return argument.value

    def inputs(self) -> list[str]:
        """Names of the nodes that are inputs: arguments that do not keep a value."""
        return [
            name
            for node, name in self.node_to_qualname.items()
            if node.op == "placeholder" and node.target not in self.fixed_arguments
        ]


def _require_own_forward(root: nn.Module) -> None:
    """Refuse a forward that fx would call as another one than a run does."""
    own = "forward" in vars(root)
    if own or isinstance(inspect.getattr_static(root, "forward"), (staticmethod, classmethod)):
        what = "an attribute of the module" if own else "a static method"
        raise TraceError(f"forward of {type(root).__name__} is {what}, which torch.fx ignores.")


def _with_tuples(
    function: Callable[..., Any], positional: list[Any], keyword: dict[str, Any], rest: Any
) -> Callable[[], Any]:
    """A call of a function, in which ``rest`` is its whole ``*args``."""
    if not isinstance(function, FunctionType) or hasattr(function, "__wrapped__"):
        raise TraceError("*args of a decorated forward cannot be followed symbolically.")
    code = function.__code__
    # In the order of the code's variables: *args and **kwargs come last.
    names = code.co_varnames[code.co_argcount : code.co_argcount + code.co_kwonlyargcount]
    values = [*positional, *(keyword[name] for name in names), rest]
    if code.co_flags & inspect.CO_VARKEYWORDS:
        values.append({})
    plain = fx_internals._patch_function(function, len(values))
    return partial(plain, *values)


def _end_tracing(was_tracing: bool, outer: Any) -> None:
    """Take back what torch.fx patched, where it was interrupted and did not do so itself."""
    fx_internals._set_is_fx_tracing(was_tracing)
    patcher = fx_internals.CURRENT_PATCHER
    if patcher is not None and patcher is not outer:
        for patched in reversed(patcher.patches_made):
            with suppress(KeyError):  # done already
                patched.revert()
        fx_internals.CURRENT_PATCHER = outer


class NodePathTracer(LeafModuleAwareTracer):
    """A tracer that gives every node the qualified name of where it comes from.

    A name is the dotted path from the top module (not included) to the leaf module
    or operation; see the README for the rules. torchvision has these two classes; here
    :class:`LeafModuleAwareTracer` does everything.

    Attributes:
        node_to_qualname: each ``fx.Node`` with its name, in order of execution; what is
            computed from buffers and constants alone has none.
        current_module_qualname: path of the module whose forward runs at the moment.
        module_returns: for each path of a module that was traced into, what it
            returned at its last call.
        fixed_arguments: arguments of forward that kept a value while tracing: their
            default, or the one in ``concrete_args``.
        constants: tensors made inside forward that the graph reads by attribute name.

    Args:
        *args: as for :class:`LeafModuleAwareTracer`.
        **kwargs: as for :class:`LeafModuleAwareTracer`.

    Example:
        >>> from torch import nn
        >>> tracer = NodePathTracer()
        >>> graph = tracer.trace(nn.Sequential(nn.Linear(2, 2), nn.ReLU()))
        >>> list(tracer.node_to_qualname.values())
        ['input', '0', '1']
    """


def _autocast_state() -> tuple[bool, bool]:
    return torch.is_autocast_enabled("cuda"), torch.is_autocast_enabled("cpu")


class TracedGraph(fx.Graph):
    """What our tracers make: a graph that knows its tracer, and so its model; copies do too."""

    tracer: LeafModuleAwareTracer

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> TracedGraph:
        copied = super().__deepcopy__(memo)
        _known_by(copied, self.tracer, dict(zip(self.nodes, copied.nodes, strict=True)))
        return copied  # type: ignore[return-value]


def _known_by(
    graph: fx.Graph, tracer: LeafModuleAwareTracer, copies: Mapping[fx.Node, fx.Node]
) -> None:
    """Have a graph know its tracer.

    Args:
        graph: the graph.
        tracer: what traced it, or what it is a copy of.
        copies: the nodes that the tracer knows, with those of the graph in their place.
    """
    graph.__class__ = TracedGraph
    graph.tracer = tracer.for_nodes(graph, copies)  # type: ignore[attr-defined]
