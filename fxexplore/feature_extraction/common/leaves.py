"""Which modules and functions become one node: by the caller's choice and by default."""

from __future__ import annotations

import inspect
import math
import sys
from collections.abc import Callable, Iterable, Mapping
from types import ModuleType
from typing import Any

import torch
from torch import fx, nn

# Those of torch.nn whose forward branches on data, and whose parts are layers of their own. To a
# trace each is one node, as for torch.fx; a recording shows what is inside.
TRANSFORMERS = (
    nn.Transformer,
    nn.TransformerEncoder,
    nn.TransformerDecoder,
    nn.TransformerEncoderLayer,
    nn.TransformerDecoderLayer,
)


class LeafDecisions(fx.Tracer):
    """Decides which modules and functions become one node, in traces and in recordings.

    Args:
        autowrap_modules: Python modules whose functions become nodes (any iterable).
        autowrap_functions: functions that become nodes (any iterable).
        param_shapes_constant: see ``torch.fx.Tracer``.
        leaf_modules: classes of modules that become one node each (any iterable).

    Raises:
        TypeError: if an entry is of the wrong kind.
    """

    def __init__(
        self,
        autowrap_modules: Iterable[ModuleType] = (math,),
        autowrap_functions: Iterable[Callable[..., Any]] = (),
        param_shapes_constant: bool = False,
        *,
        leaf_modules: Iterable[type[nn.Module]] = (),
    ) -> None:
        self.leaf_modules = _checked(
            "leaf_modules",
            leaf_modules,
            lambda entry: isinstance(entry, type) and issubclass(entry, nn.Module),
            "subclasses of torch.nn.Module, such as [nn.ReLU]",
        )
        super().__init__(
            _checked(
                "autowrap_modules",
                autowrap_modules,
                lambda entry: isinstance(entry, ModuleType),
                "Python modules, such as (math,)",
            ),
            _checked("autowrap_functions", autowrap_functions, callable, "functions"),
            param_shapes_constant,
        )

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Whether ``m`` becomes one node: of ``leaf_modules``, scripted, or torch.nn's own."""
        if isinstance(m, (torch.jit.ScriptModule, *self.leaf_modules)):
            return True
        return super().is_leaf_module(m, module_qualified_name)

    def opens_when_run(self, module: nn.Module) -> bool:
        """Whether a leaf of torch.nn's own shows what is inside when the model is recorded."""
        return type(module) in TRANSFORMERS and not isinstance(module, self.leaf_modules)


def _checked(
    argument: str, entries: Iterable[Any], accepts: Callable[[Any], bool], wanted: str
) -> tuple[Any, ...]:
    """Take any iterable, drop repeats, and name an entry of the wrong kind."""
    if isinstance(entries, (str, bytes)) or not isinstance(entries, Iterable):
        raise TypeError(f"{argument} is {entries!r}; give an iterable of {wanted}")
    entries = tuple(dict.fromkeys(entries))
    for entry in entries:
        if not accepts(entry):
            raise TypeError(f"{argument} contains {entry!r}; its entries must be {wanted}")
    return entries


def default_tracer_kwargs(tracer_kwargs: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Complete the keyword arguments of a tracer with the default leaves.

    Args:
        tracer_kwargs: the caller's, which are not changed.

    Returns:
        New keyword arguments, in which torchvision's operations and what timm registers
        are leaf modules (if they are loaded, and unless ``default_leaf_modules`` was
        False), and their functions and those of ``math`` become nodes.

    Raises:
        TypeError: if a keyword is unknown.
    """
    kwargs = dict(tracer_kwargs or {})
    with_leaves = kwargs.pop("default_leaf_modules", True)
    known = set(inspect.signature(LeafDecisions).parameters)
    for name in kwargs:
        if name not in known:
            raise TypeError(
                f"tracer_kwargs has no '{name}'; known are: {', '.join(sorted(known))}, "
                f"default_leaf_modules"
            )
    defaults = _defaults_of_libraries()
    if not with_leaves:
        defaults["leaf_modules"] = []
    for name, values in defaults.items():
        own = kwargs.get(name, ())
        # The tracer refuses what cannot be iterated over.
        if isinstance(own, Iterable) and not isinstance(own, str):
            kwargs[name] = (*own, *values)
    return kwargs


def _defaults_of_libraries() -> dict[str, list[Any]]:
    """The modules and functions of loaded libraries that are one node by default.

    No library is imported for it: a model that uses one has loaded it.
    """
    modules, functions, leaves = [math], [], []
    ops = sys.modules.get("torchvision.ops")
    if ops is not None:
        modules.append(ops)
        classes = [value for value in vars(ops).values() if inspect.isclass(value)]
        leaves += [cls for cls in classes if issubclass(cls, nn.Module)]
    timm = sys.modules.get("timm.models")
    if timm is not None:
        leaves += timm.get_notrace_modules()
        functions += timm.get_notrace_functions()
    return {
        "autowrap_modules": modules,
        "autowrap_functions": functions,
        "leaf_modules": leaves,
    }
