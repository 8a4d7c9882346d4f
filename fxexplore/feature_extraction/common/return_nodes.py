"""Return nodes: what a caller's specs and keys mean, and errors for those that mean nothing."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Mapping
from typing import Any, NamedTuple

from torch import nn

from .leaves import TRANSFORMERS
from .validation import kind_of

ReturnNodes = Iterable[str] | Mapping[str, str]


def keys_by_mode(
    return_nodes: ReturnNodes | None,
    train_return_nodes: ReturnNodes | None,
    eval_return_nodes: ReturnNodes | None,
) -> tuple[dict[str, str], dict[str, str]]:
    """The wanted names with their output keys, for train and for eval mode."""
    given = {
        "return_nodes": return_nodes,
        "train_return_nodes": train_return_nodes,
        "eval_return_nodes": eval_return_nodes,
    }
    keys = {name: _keys(name, nodes) for name, nodes in given.items() if nodes is not None}
    if not keys:
        raise ValueError(
            "no return nodes: give return_nodes, or train_return_nodes and eval_return_nodes"
        )
    if len(keys) == len(given):
        raise ValueError(
            "give either return_nodes, or train_return_nodes and eval_return_nodes, not all three"
        )
    both = keys.get("return_nodes")
    train, evaluation = (keys.get(f"{mode}_return_nodes", both) for mode in ("train", "eval"))
    if train is None or evaluation is None:
        raise ValueError(
            "train_return_nodes and eval_return_nodes go together: give both, or return_nodes too, "
            "for the other mode"
        )
    return train, evaluation


def _keys(argument: str, nodes: ReturnNodes) -> dict[str, str]:
    if isinstance(nodes, (str, bytes)):
        # torchvision raises ValueError for all that is wrong with a request.
        raise ValueError(f"{argument} is the string {nodes!r}; write [{nodes!r}]")  # noqa: TRY004
    if not isinstance(nodes, Iterable):
        raise ValueError(  # noqa: TRY004
            f"{argument} is {nodes!r}; give a list of names, or a dict from names to keys"
        )
    pairs = list(nodes.items()) if isinstance(nodes, Mapping) else [(n, n) for n in nodes]
    if not pairs:
        raise ValueError(f"{argument} is empty; name at least one node")
    keys: dict[str, str] = {}
    for node, key in pairs:
        name = _text(node, f"{argument} names")
        value = _text(key, f"the output key of '{name}' in {argument} is")
        if keys.setdefault(name, value) != value:
            raise ValueError(f"{argument} names '{name}' twice, as a string and as a number")
    first_with: dict[str, str] = {}
    for node, key in keys.items():
        if key in first_with:
            raise ValueError(
                f"{argument} gives the output key '{key}' to two nodes, '{first_with[key]}' and "
                f"'{node}'; keys must differ"
            )
        first_with[key] = node
    return keys


def _text(value: Any, where: str) -> str:
    """A name or key; numbers, such as those of ``nn.Sequential``, as torchvision takes them."""
    if isinstance(value, str):
        return value
    if type(value) is int:
        return str(value)
    is_module = isinstance(value, nn.Module)
    instead = "; give its path, as named_modules() gives it" if is_module else ""
    raise ValueError(f"{where} {kind_of(value)}, which is not a string{instead}")


def nearest(name: str, known: Collection[str]) -> list[str]:
    """The known names that are most like one that is not.

    Example:
        >>> nearest("conv", ["layer1.conv", "conv1", "fc"])
        ['layer1.conv', 'conv1']
    """
    # Names that end alike first: most misses are a path that lacks its beginning.
    near = [other for other in known if other.endswith(f".{name}")][:3]
    near += difflib.get_close_matches(name, known, n=5, cutoff=0.5)
    return list(dict.fromkeys(near))


class Found(NamedTuple):
    """What a caller's spec names.

    Attributes:
        spec: what the caller asked for.
        key: the key of the value in the result.
        module: the path of the module whose return value it is; ``""`` if it is a node's.
        value: the node; or what the module returned at its last call, or the node of that call.
    """

    spec: str
    key: str
    module: str
    value: Any


class Names(NamedTuple):
    """What can be asked for in one mode.

    Attributes:
        nodes: the nodes by name, each with its ``op`` and ``target``.
        sizes: the names of those whose value is no tensor.
        returns: what modules that are no node returned, by path.
        root: the model.
        mode: ``"train"`` or ``"eval"``.
        elsewhere: what can be asked for in the other mode, as far as it is known.
        raised: what the model raised, if it is known only as far as it ran.
    """

    nodes: Mapping[str, Any]
    sizes: Collection[str]
    returns: Mapping[str, Any]
    root: nn.Module
    mode: str
    elsewhere: Collection[str]
    raised: str = ""

    @property
    def known(self) -> list[str]:
        """Everything that can be asked for."""
        return [*self.nodes, *self.returns]

    def resolved(self, keys: Mapping[str, str]) -> list[Found]:
        """Find what each spec names: a node, or else the module at any path that leads to it.

        A module that forward never calls itself, such as a ModuleList, gives the last node
        below it that is no mere size.

        Args:
            keys: the specs with their output keys.

        Raises:
            ValueError: if a spec names nothing.
        """
        modules = dict(self.root.named_modules(remove_duplicate=False))
        first_paths = {module: path for path, module in self.root.named_modules()}
        last_calls = self._last_calls()
        resolved = []
        for spec, key in keys.items():
            path, found = "", self.nodes.get(spec)
            if found is None and spec and spec in modules:
                path = first_paths[modules[spec]]
                found = self.returns.get(path, last_calls.get(path))
            if found is None and path:
                below = [name for name in self.nodes if name.startswith(f"{path}.")]
                below = [name for name in below if name not in self.sizes]
                path, found = "", self.nodes[below[-1]] if below else None
            if found is None:
                raise self._unknown(spec)
            resolved.append(Found(spec, key, path, found))
        return resolved

    def _last_calls(self) -> dict[str, Any]:
        """The last call of each leaf module that was called, by its path."""
        return {n.target: n for n in self.nodes.values() if n.op == "call_module"}

    def _unknown(self, spec: str) -> ValueError:
        """Say why what ``spec`` names cannot be returned."""
        if not spec:
            return ValueError(
                f"the name '' is the whole model, whose output needs no extractor; name a node or "
                f"a module, such as {', '.join(repr(name) for name in list(self.known)[-2:])}"
            )
        module = dict(self.root.named_modules(remove_duplicate=False)).get(spec)
        leaf = None if spec in self.elsewhere else self._enclosing_leaf(spec)
        if leaf is not None:
            path, hidden_by = leaf
            return ValueError(
                f"'{spec}' is inside the leaf module '{path}' ({type(hidden_by).__name__}), which "
                f"is one node. {_how_to_open(hidden_by)}"
            )
        if module is not None:
            inside = [name for name in self.known if name.startswith(spec + ".")]
            kind = type(module).__name__
            problem = f"'{spec}' is a {kind} that forward never calls in {self.mode} mode"
            if self.raised:
                problem = f"'{spec}' has no value: the model raised before ({self.raised})"
            near = inside[-1:]
        else:
            problem = f"node '{spec}' is not present in the model in {self.mode} mode"
            near = nearest(spec, self.known)
        if spec in self.elsewhere:
            return ValueError(
                f"{problem}, only in {'train' if self.mode == 'eval' else 'eval'} mode; give "
                f"train_return_nodes and eval_return_nodes separately"
            )
        hint = f" Did you mean: {', '.join(near)}?" if near else ""
        return ValueError(f"{problem}.{hint} get_graph_node_names(model) lists all names.")

    def _enclosing_leaf(self, spec: str) -> tuple[str, nn.Module] | None:
        """The leaf module that hides what ``spec`` names, with its path."""
        first_paths = {module: path for path, module in self.root.named_modules()}
        called = self._last_calls()
        path, module = "", self.root
        for name in spec.split("."):
            child = module._modules.get(name)
            if child is None:
                return None
            if path and first_paths[module] in called:
                return path, module
            path, module = f"{path}.{name}" if path else name, child
        return None


def _how_to_open(leaf: nn.Module) -> str:
    if any(cls.__module__.startswith("torchvision.ops") for cls in type(leaf).__mro__):
        return "tracer_kwargs={'default_leaf_modules': False} opens it."
    if type(leaf) in TRANSFORMERS:
        return "Give example_inputs=...: a run shows what is inside."
    if type(leaf).__module__.startswith(("torch.nn", "torch.ao.nn")):
        return "The modules of torch.nn always are; ask for its own output instead."
    return f"Take {type(leaf).__name__} out of leaf_modules to open it."
