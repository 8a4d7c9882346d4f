"""Facts about nodes and modules, found without computing anything."""

from __future__ import annotations

import contextlib
import copy
import inspect
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import fx, nn
from torch._subclasses.fake_tensor import FakeCopyMode, FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from fxexplore.feature_extraction.harmless import switch_mode, untouched
from fxexplore.feature_extraction.tracers import NodePathTracer


def class_and_detail(module: nn.Module) -> tuple[str, str]:
    """The class of a module and its arguments, as its ``repr`` shows them.

    Args:
        module: any module; one whose ``extra_repr`` raises has no detail.
    """
    try:
        detail = str(module.extra_repr())
    except Exception:  # noqa: BLE001  # a stranger's code, and only a label
        detail = ""
    return type(module).__name__, detail


def parameter_count(module: nn.Module) -> int:
    """How many numbers the parameters of a module hold, shared ones counted once.

    Example:
        >>> parameter_count(nn.Linear(3, 2))
        8
    """
    # Parameters of lazy modules have no size before the first run.
    lazy = nn.parameter.UninitializedParameter
    return sum(p.numel() for p in module.parameters() if not isinstance(p, lazy))


class Outputs(NamedTuple):
    """What a node gives, without its numbers.

    Attributes:
        shape: of the tensor; None if the output is no single tensor.
        dtype: of the tensor, such as ``"float32"``; None likewise.
        flops: floating point operations that the node takes, if known.
    """

    shape: tuple[int, ...] | None
    dtype: str | None
    flops: int | None


def outputs_of(
    tracer: NodePathTracer, training: bool, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> dict[fx.Node, Outputs]:
    """Find the output of every node for inputs of given shapes, without computing it.

    The graph runs on fake tensors, which have a shape and a dtype but no memory.

    Args:
        tracer: the tracer that traced the model.
        training: the mode that it was traced in.
        args: positional arguments of forward.
        kwargs: keyword arguments of forward.

    Returns:
        The outputs by node. Where an operation cannot run on fake tensors, it and the
        nodes after it are absent.
    """
    model = tracer.root
    arguments = inspect.signature(model.forward).bind(*args, **kwargs).arguments
    inputs = [
        arguments.get(str(node.target), *node.args)
        for node in tracer.graph.nodes
        if node.op == "placeholder"
    ]
    fake_tensors = FakeTensorMode(allow_non_fake_inputs=True)
    with untouched(model), _attention_in_full(), torch.no_grad(), fake_tensors as fake:
        switch_mode(model, training)
        runner = _ShapeRunner(tracer, fake)
        inputs = [fake.from_tensor(v) if isinstance(v, torch.Tensor) else v for v in inputs]
        with contextlib.suppress(Exception), runner.counter:
            runner.run(*inputs)
    return runner.outputs


@contextlib.contextmanager
def _attention_in_full() -> Iterator[None]:
    """Run attention operation by operation.

    Its fused kernel has no FLOPs in torch's counter, and an empty tensor where it
    should give None on fake tensors.
    """
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)


class _ShapeRunner(fx.Interpreter):
    """Runs a graph on fake tensors, with fake copies of all that the graph could write."""

    def __init__(self, tracer: NodePathTracer, fake: FakeTensorMode) -> None:
        super().__init__(tracer.root, graph=tracer.graph)
        self._constants = tracer.constants
        self._fake = fake
        self._copies: dict[str, Any] = {}
        self.counter = FlopCounterMode(display=False)
        self.outputs: dict[fx.Node, Outputs] = {}

    def run_node(self, n: fx.Node) -> Any:
        before = self.counter.get_total_flops()
        value = super().run_node(n)
        is_tensor = isinstance(value, torch.Tensor)
        self.outputs[n] = Outputs(
            tuple(int(size) for size in value.shape) if is_tensor else None,
            str(value.dtype).removeprefix("torch.") if is_tensor else None,
            self.counter.get_total_flops() - before,
        )
        return value

    def fetch_attr(self, target: str) -> Any:
        if target not in self._copies:
            constants = self._constants
            real = constants[target] if target in constants else super().fetch_attr(target)
            # A write to a real tensor would count up its version, in fake mode too.
            with FakeCopyMode(self._fake):
                self._copies[target] = copy.deepcopy(real)
        return self._copies[target]
