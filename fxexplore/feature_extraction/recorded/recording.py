"""What a recording is: the nodes of one run of a model, and what its modules returned."""

from __future__ import annotations

import dataclasses
from typing import Any

from .leaves import LeafSpec


@dataclasses.dataclass(slots=True)  # not frozen: a run makes one for each operation
class RecordedNode:
    """One input, parameter read, leaf module call or operation of a recorded run.

    Attributes:
        name: the qualified name, the same as symbolic tracing gives.
        op: ``placeholder``, ``get_attr``, ``call_module``, ``call_function`` or
            ``call_method``.
        target: the argument's name, the path of the parameter or module, the function,
            or the name of the method.
        inputs: names of the nodes whose values the operation read.
        module: path of the module whose forward ran it; ``""`` is the model.
        source: file and line in the model's own code.
        output: the result, with :class:`TensorInfo` in the place of tensors.
        order: position among all operations and module returns of the run.
        call: the 1-based call index, for a call of a module.
        overwritten: the ``order`` at which something wrote into the result's memory.
        flops: floating point operations that it took, if they were counted and all have a formula.
    """

    name: str
    op: str
    target: Any
    inputs: tuple[str, ...]
    module: str
    source: tuple[str, int] | None
    output: Any
    order: int
    call: int = 0
    overwritten: int | None = None
    flops: int | None = None


@dataclasses.dataclass(slots=True)
class RecordedReturn:
    """What a module that is no leaf returned at its last call.

    Attributes:
        output: the value, with :class:`TensorInfo` in the place of tensors.
        order: as for :class:`RecordedNode`.
        calls: how often the module was called.
        overwritten: as for :class:`RecordedNode`.
    """

    output: Any
    order: int
    calls: int
    overwritten: int | None = None


@dataclasses.dataclass(frozen=True)
class RecordedFailure:
    """Where a run raised.

    Attributes:
        name: of the operation or the leaf module that raised, else the path of the module whose
            own code did; ``""`` for the model itself.
        node: that operation or leaf module, without an output; None for a module's own code.
        kind: the class of the exception.
        message: what it says.
        source: file and line in the model's own code.
        given: the arguments of what raised, with :class:`TensorInfo` in the place of tensors.
    """

    name: str
    node: RecordedNode | None
    kind: str
    message: str
    source: tuple[str, int] | None
    given: Any


@dataclasses.dataclass(frozen=True)
class Recording:
    """What one run of a model did.

    Attributes:
        nodes: every node that computes tensors, by name, in order of execution.
        module_returns: what each module that is no leaf returned, by its path.
        output: names of the nodes that feed the model's output.
        arguments: which argument of forward each placeholder stands for.
        inputs: the placeholders that are inputs, and not arguments that kept their default.
        repeated: paths of modules that one line called several times, as in a loop.
        parameters: paths of the parameters.
        leaf_spec: leaf modules and wrapped functions, for running it again.
        flops: floating point operations of the run, if they were counted.
        failure: where the run raised, so that this is the part before; None if it did not.
    """

    nodes: dict[str, RecordedNode]
    module_returns: dict[str, RecordedReturn]
    output: tuple[str, ...]
    arguments: dict[str, str]
    inputs: list[str]
    repeated: frozenset[str]
    parameters: frozenset[str]
    leaf_spec: LeafSpec
    flops: int | None = None
    failure: RecordedFailure | None = None

    @property
    def names(self) -> list[str]:
        """The names of the nodes that symbolic tracing names too: no reads of buffers."""
        return [
            name
            for name, node in self.nodes.items()
            if node.op != "get_attr" or node.target in self.parameters
        ]
