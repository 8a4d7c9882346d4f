"""Check what a caller gives as model and as example inputs, and say what to give instead."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import nn

from .tensors import holds_tensor
from .wrappers import plain_module

_WEIGHTS = (".bin", ".ckpt", ".onnx", ".pt", ".pt2", ".pth", ".safetensors")


def checked_model(model: Any) -> nn.Module:
    """Return the module to open, unwrapped from torch.compile and DataParallel.

    Raises:
        TypeError: if it is not a module with Python code, saying what to give instead.
    """
    if not isinstance(model, nn.Module):
        what, instead = _what_and_instead(model)
        raise TypeError(f"model is {what}, and no torch.nn.Module; {instead}")
    _require_initialised(model)
    module = plain_module(model)
    if isinstance(module, torch.jit.ScriptModule):
        raise TypeError(
            "model is a TorchScript module, whose compiled code shows none of its operations; give "
            "the module that it was scripted or traced from"
        )
    _require_forward(module)
    return module


def _require_initialised(model: nn.Module) -> None:
    found, seen = [("model", model)], {id(model)}
    for path, module in found:  # which grows: models may be nested deeply
        if "_modules" not in vars(module) and not isinstance(module, torch.jit.ScriptModule):
            raise TypeError(
                f"{path} is {kind_of(module)}, whose __init__ does not call super().__init__()"
            )
        for name, inner in vars(module).get("_modules", {}).items():
            if inner is not None and id(inner) not in seen:
                seen.add(id(inner))
                found.append((f"{path}.{name}", inner))


def _require_forward(module: nn.Module) -> None:
    """Refuse a module that is not run by calling it once."""
    forward, name = module.forward, type(module).__name__
    if getattr(forward, "__func__", forward) is nn.Module.forward:
        inside = [
            f"model{f'[{path}]' if path.isdigit() else f'.{path}'} ({type(inner).__name__})"
            for path, inner in module.named_children()
        ]
        raise TypeError(
            f"model is {kind_of(module)}, which has no forward of its own; open what it holds: "
            f"{', '.join(inside[:3]) or 'nothing'}{', ...' * (len(inside) > 3)}"  # noqa: PLR2004
        )
    asynchronous = inspect.iscoroutinefunction(forward) or inspect.isasyncgenfunction(forward)
    if asynchronous or inspect.isgeneratorfunction(forward):
        raise TypeError(
            f"forward of {name} is {'async' if asynchronous else 'a generator'}, and has not run "
            f"when it returns; give a module whose forward runs it to its end"
        )


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


def _what_and_instead(value: Any) -> tuple[str, str]:
    """What a value is that is not a module, and what to give instead of it."""
    if isinstance(value, (str, os.PathLike)):
        return _string_and_instead(os.fspath(value))
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


def _string_and_instead(text: str) -> tuple[str, str]:
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
    """What a container or an object such as a pipeline holds, with the code that gets it."""
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


Arguments = tuple[tuple[Any, ...], dict[str, Any]]

_SHOWN = 8  # items of a list in an error message


def require_arguments_of_forward(model: nn.Module, concrete_args: Mapping[str, Any] | None) -> None:
    """Refuse ``concrete_args`` that name something else than forward's arguments.

    Raises:
        ValueError: if a name is unknown.
    """
    known = inspect.signature(model.forward).parameters
    for name in concrete_args or ():
        if name not in known:
            raise ValueError(
                f"concrete_args names {name!r}, but the arguments of forward are: "
                f"{', '.join(known) or 'none'}"
            )


def as_arguments(example_inputs: Any) -> Arguments:
    """Read example inputs as the positional and keyword arguments of forward.

    Args:
        example_inputs: a tensor, a tuple of positional arguments, a dict of keyword
            arguments, or a pair of both.

    Raises:
        TypeError: if it is none of these.
        ValueError: if a list or dict in it holds itself.

    Example:
        >>> as_arguments({"x": 1}), as_arguments(((1, 2), {"x": 3}))
        (((), {'x': 1}), ((1, 2), {'x': 3}))
    """
    if _holds_itself(example_inputs, ()):
        raise ValueError("example_inputs hold themselves; give values that end somewhere")
    if isinstance(example_inputs, torch.Tensor):
        return (example_inputs,), {}
    if isinstance(example_inputs, dict):
        return (), dict(example_inputs)
    if isinstance(example_inputs, (tuple, list)):
        if [type(part) for part in example_inputs] == [tuple, dict]:
            return example_inputs[0], dict(example_inputs[1])
        return tuple(example_inputs), {}
    if hasattr(example_inputs, "keys"):  # what a tokenizer returns is like a dict
        return (), {key: example_inputs[key] for key in example_inputs.keys()}  # noqa: SIM118
    raise TypeError(
        f"example_inputs is {kind_of(example_inputs)}; give a tensor, a tuple of positional "
        f"arguments, a dict of keyword arguments, or a pair (tuple, dict)"
        f"{hint_on((example_inputs,))}"
    )


def _holds_itself(value: Any, around: tuple[int, ...]) -> bool:
    if not isinstance(value, (dict, list, tuple)):
        return False
    around = (*around, id(value))
    items = value.values() if isinstance(value, dict) else value
    return any(id(item) in around or _holds_itself(item, around) for item in items)


def required_arguments(model: nn.Module) -> list[str]:
    """The arguments of forward that have no default."""
    parameters = inspect.signature(model.forward).parameters.values()
    variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [p.name for p in parameters if p.default is p.empty and p.kind not in variable]


def inputs_to_give(model: nn.Module) -> str:
    """What to write for example inputs, by the names of forward's arguments.

    Example:
        >>> inputs_to_give(nn.Bilinear(2, 3, 4))
        'example_inputs=(input1, input2)'
    """
    needed = required_arguments(model)
    if len(needed) > 1:
        return f"example_inputs=({', '.join(needed)})"
    return "example_inputs=torch.randn(...), or a tuple or dict of arguments"


def hint_on(args: tuple[Any, ...]) -> str:
    """A hint what to write instead of positional arguments that are not tensors, if there is one.

    Example:
        >>> hint_on((1, 3, 224, 224))
        '; for a tensor of that shape give torch.randn(1, 3, 224, 224)'
    """
    if len(args) > 1 and all(type(value) is int for value in args):
        return f"; for a tensor of that shape give torch.randn({', '.join(map(str, args))})"
    if any(hasattr(value, "__array_interface__") for value in args):
        return "; make a tensor of an array by torch.from_numpy(array)"
    if any(_is_numbers(value) for value in args):
        return "; make a tensor of numbers by torch.tensor(numbers)"
    return ""


def hint_on_list(model: nn.Module, args: tuple[Any, ...]) -> str:
    """A hint how to give a list, if forward's first argument is one and a tensor was given."""
    for name, value in list(bound_arguments(model, args, {}).items())[:1]:
        annotation = str(getattr(model.forward, "__annotations__", {}).get(name))
        if "list" in annotation.lower() and isinstance(value, torch.Tensor):
            return f"; the list of '{name}' is one argument: example_inputs=([tensor, ...],)"
    return ""


def _is_numbers(value: Any) -> bool:
    while isinstance(value, (list, tuple)) and value:
        value = value[0]
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def bound_arguments(
    model: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> dict[str, Any]:
    """The arguments of forward in a call by name, with defaults, and tensors in ``**kwargs``."""
    try:
        signature = inspect.signature(model.forward)
        bound = signature.bind(*args, **kwargs)
    except (TypeError, ValueError):  # the call itself will raise
        return {f"arg{i}": value for i, value in enumerate((*args, *kwargs.values()))}
    bound.apply_defaults()
    found: dict[str, Any] = {}
    for name, value in bound.arguments.items():
        if signature.parameters[name].kind is inspect.Parameter.VAR_KEYWORD:
            found.update({key: item for key, item in value.items() if holds_tensor(item)})
        else:
            found[name] = value
    return found


def optional_arguments(model: nn.Module) -> set[str]:
    """The arguments of forward that need not be given."""
    parameters = inspect.signature(model.forward).parameters.values()
    return {p.name for p in parameters if p.default is not p.empty}


def takes(model: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
    """Whether forward can be called with these arguments; True if nobody knows before."""
    try:
        signature = inspect.signature(model.forward)
    except (TypeError, ValueError):
        return True
    try:
        signature.bind(*args, **kwargs)
    except TypeError:
        return False
    return True


def shapes_of(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str:
    """The shapes of arguments, for error messages.

    Example:
        >>> shapes_of((torch.ones(2, 3), [torch.ones(4)]), {"flag": True})
        '(2×3, [4], flag=True)'
    """
    shown = [_shape(value) for value in args]
    shown += [f"{name}={_shape(value)}" for name, value in kwargs.items()]
    return f"({', '.join(shown)})"


def _shape(value: Any) -> str:
    if isinstance(value, torch.Tensor):
        return "×".join(map(str, value.shape)) or "scalar"
    if isinstance(value, (list, tuple)):
        more = ["…"] if len(value) > _SHOWN else []
        return f"[{', '.join([*map(_shape, value[:_SHOWN]), *more])}]"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key}: {_shape(item)}' for key, item in value.items())}}}"
    return repr(value) if isinstance(value, (bool, int, float, str)) else type(value).__name__
