"""What a graph is made of: nodes, the modules that contain them, and the rows of the hierarchy."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator


@dataclasses.dataclass(frozen=True)
class Part:
    """One tensor of an output that is a nesting, such as a tuple or a dict.

    Attributes:
        path: how Python gets at it, such as ``"[0]"``, ``"['boxes']"`` or ``".logits"``.
        shape: its shape.
        dtype: its dtype, such as ``"float32"``.
    """

    path: str
    shape: tuple[int, ...]
    dtype: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Facts:
    """What is known about nodes and modules alike.

    Attributes:
        detail: the module's ``extra_repr``; ``""`` for what is no module.
        parameters: numbers held: by a leaf module (0 at repeated calls), by a parameter, or by
            a module and everything below, shared ones counted once.
        frozen: how many of the parameters need no gradient.
        shared: other paths of the same module or parameter.
        calls: how often the module is called in one run; 0 for a mere container.
        shape: shape of the output, if it is one tensor and known.
        dtype: dtype of that tensor, such as ``"float32"``.
        parts: the tensors of an output that is no single tensor, if known.
        flops: floating point operations of one call, where a multiply-add counts 2; of a module
            the sum of everything below. None where an operation has no formula.
        flops_at_least: whether something below is not in that sum.
        activation_bytes: bytes of the tensors in the output, of a module the sum of all nodes
            below, if known; 0 for parameters.
        reached: False for what stands after the place where the model raised.
        changes: how it differs from another model's, in short words, in a graph of both.
    """

    detail: str = ""
    parameters: int = 0
    frozen: int = 0
    shared: tuple[str, ...] = ()
    calls: int = 1
    shape: tuple[int, ...] | None = None
    dtype: str | None = None
    parts: tuple[Part, ...] = ()
    flops: int | None = None
    flops_at_least: bool = False
    activation_bytes: int | None = None
    reached: bool = True
    changes: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Node(Facts):
    """A leaf module's call, an operation, an input, or a parameter that is read.

    Attributes:
        name: qualified name, unique in the graph.
        kind: ``"input"``, ``"module"``, ``"operation"``, ``"parameter"``, or ``"size"`` for
            an operation on sizes and flags, whose result is no tensor.
        target: class of the module, name of the operation, or path of the parameter.
        parent: path of the module that the node is shown in; ``""`` for the top.
        inputs: names of the nodes whose values it reads.
        call: which call of its leaf module this is, counted from 1.
        source: file and line of the operation in the model's code, if known.

    Example:
        >>> Node("fc", "module", "Linear", detail="512, 10").description
        'Linear(512, 10)'
    """

    name: str
    kind: str
    target: str
    parent: str = ""
    inputs: tuple[str, ...] = ()
    call: int = 1
    source: str | None = None

    @property
    def cls(self) -> str:
        """The class of the module, the name of the operation, ``"input"`` or ``"parameter"``."""
        return self.kind if self.kind in ("input", "parameter") else self.target

    @property
    def description(self) -> str:
        """What stands beside the name: the class with its arguments, or where it is computed."""
        if self.kind == "module":
            return f"{self.target}({self.detail})" if self.detail else self.target
        return f"{self.kind} · {self.source}" if self.source else self.kind

    @property
    def which_call(self) -> str:
        """Which call of its module it is, in words; ``""`` if there is but one."""
        return f"call {self.call} of {self.calls}" if self.calls > 1 else ""

    @property
    def has_value(self) -> bool:
        """Whether it can be a return node, as every node can."""
        return True


@dataclasses.dataclass(frozen=True)
class Module(Facts):
    """A module that contains nodes, or that never ran: an inner node of the hierarchy.

    Its value is what it returned; if forward never calls it itself (``calls`` is 0), that of the
    last node below it.

    Attributes:
        path: qualified name, as ``named_modules()`` gives it.
        cls: name of its class.
        ran: False for a registered module of which nothing ran; it has no rows inside. None
            if the model has not been run yet, so that nobody knows.
    """

    path: str
    cls: str
    ran: bool | None = True

    @property
    def description(self) -> str:
        """What stands beside the name: the class with its arguments."""
        return f"{self.cls}({self.detail})" if self.detail else self.cls

    @property
    def which_call(self) -> str:
        """Which call its value is of, in words; ``""`` if there is but one."""
        return f"last of {self.calls} calls" if self.calls > 1 else ""

    @property
    def has_value(self) -> bool:
        """Whether it can be a return node: it, or something inside it, ran."""
        return bool(self.ran)


@dataclasses.dataclass(frozen=True)
class Failure:
    """Where a model raised, and what.

    Attributes:
        name: qualified name of the node that raised, or the path of the module whose own code
            did; ``""`` for the model itself.
        kind: the class of the exception.
        message: what it says, with ``×`` in its shapes.
        source: file and line in the model's code with what stands there, if known.
        met: the tensors that met there: arguments by position, such as ``"[0]"``, or by name,
            and the parameters of a leaf module, such as ``"weight"``.

    Example:
        >>> Failure("fc", "RuntimeError", "cannot multiply", "net.py:12 `self.fc(x)`").words
        'RuntimeError at net.py:12 `self.fc(x)`: cannot multiply'
    """

    name: str
    kind: str
    message: str
    source: str | None = None
    met: tuple[Part, ...] = ()

    @property
    def words(self) -> str:
        """What it raised, and where, in one line."""
        place = f" at {self.source}" if self.source else ""
        return f"{self.kind}{place}: {self.message}"


@dataclasses.dataclass(frozen=True)
class Row:
    """A line of the hierarchy, in order of execution, parents before children.

    Attributes:
        item: the node, or the module that contains the rows that follow.
        depth: how many modules it is in.
        end: index of the row after the last one that it contains.
        label: its name inside the module that it is shown in; of a parameter the parameter's.
    """

    item: Node | Module
    depth: int
    end: int
    label: str

    @property
    def name(self) -> str:
        """The qualified name of the node or module."""
        return self.item.path if isinstance(self.item, Module) else self.item.name


def prefixes(path: str) -> Iterator[str]:
    """A path and those above it, but for the model's own.

    Example:
        >>> list(prefixes("layer1.0.conv1"))
        ['layer1.0.conv1', 'layer1.0', 'layer1']
    """
    while path:
        yield path
        path = path.rpartition(".")[0]
