"""What a caller hands in as a model: the module to open, or words for what is none."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import nn

from .wrappers import plain_module

_WEIGHTS = (".bin", ".ckpt", ".onnx", ".pt", ".pt2", ".pth", ".safetensors")


def checked_model(model: Any) -> nn.Module:
    """Return the module to open, out of the wrappers of torch.compile and DataParallel.

    Raises:
        TypeError: if it is no module with code of its own, saying what to give instead.
    """
    if not isinstance(model, nn.Module):
        what, instead = _no_module(model)
        raise TypeError(f"model is {what}, and no torch.nn.Module; {instead}")
    module = plain_module(model)
    if isinstance(module, torch.jit.ScriptModule):
        raise TypeError(
            "model is a TorchScript module, whose compiled code shows none of its operations; give "
            "the module that it was scripted or traced from"
        )
    return module


def kind_of(value: Any) -> str:
    """The name of a value's class with its article.

    Example:
        >>> kind_of(3), kind_of("three"), kind_of(None)
        ('an int', 'a str', 'None')
    """
    if value is None:
        return "None"
    name = type(value).__name__
    return f"{'an' if name[:1] in 'aeiouAEIO' else 'a'} {name}"


def _no_module(value: Any) -> tuple[str, str]:
    """What a value is that is no module, and what to give instead of it."""
    if isinstance(value, (str, os.PathLike)):
        return _no_text(os.fspath(value))
    if inspect.isclass(value) or inspect.isroutine(value):
        name = value.__name__
        call = "" if name == "<lambda>" else f": {name}(...)"
        if inspect.isclass(value):
            return f"the class {name}", f"give an instance of it{call}"
        return f"the function {name}", f"give the module that it makes{call}"
    exported = sys.modules.get("torch.export")
    if exported is not None and isinstance(value, exported.ExportedProgram):
        return (
            "an ExportedProgram, which keeps no module's own code",
            "give the model that was exported, or .module() of it for its operations alone",
        )
    items = dict(_items(value))
    if isinstance(value, Mapping) and items and all(map(torch.is_tensor, items.values())):
        return (
            f"a state_dict of {len(items)} tensors",
            "build the model, call its load_state_dict(...) on them, and give the model",
        )
    found = (f"{at}, which is {kind_of(m)}" for at, m in items.items() if isinstance(m, nn.Module))
    return kind_of(value), f"give {next(found, 'a model, such as torchvision.models.resnet18()')}"


def _no_text(text: str) -> tuple[str, str]:
    if text.endswith(_WEIGHTS) or os.path.exists(text):
        load = "model.load_state_dict(torch.load(path))"
        return f"the path {text!r}", f"build the model, {load}, and give the model"
    ways = [
        f"{make}({text!r})"
        for make in (
            "torchvision.models.get_model",
            "timm.create_model",
            "transformers.AutoModel.from_pretrained",
        )
    ]
    return f"the string {text!r}", f"if it names one, make it first: {', or '.join(ways)}"


def _items(value: Any) -> Iterable[tuple[str, Any]]:
    """What a container or an object such as a pipeline holds, and how to write it."""
    if isinstance(value, Mapping):
        return ((f"model[{key!r}]", item) for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return ((f"model[{index}]", item) for index, item in enumerate(value))
    attributes = {} if isinstance(value, torch.Tensor) else getattr(value, "__dict__", {})
    return ((f"model.{name}", item) for name, item in attributes.items())


def require_no_lazy_parameters(model: nn.Module) -> None:
    """Refuse a model whose first run would change it for good.

    Raises:
        ValueError: if a parameter or buffer has no size yet, saying what to do about it.
    """
    for path, module in model.named_modules():
        tensors = [*module._parameters.values(), *module._buffers.values()]
        if any(nn.parameter.is_lazy(tensor) for tensor in tensors):
            raise ValueError(
                f"'{path}' is a {type(module).__name__}, which gets its size from the first run; "
                f"run the model once on a real input, then open it"
            )
