"""Choose what a model is run on: a picture, a sample, a text, or a variable of the notebook."""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from fxexplore.feature_extraction import as_arguments

from .example_inputs import BATCH_OF_PICTURES, Choice, ExampleInputs, Place, as_model_has_it
from .pictures import Picture
from .preprocessing import RGB, Preprocessing
from .samples import checkerboard, impulse, noise

_SAMPLES = {"noise": noise, "impulse": impulse, "checkerboard": checkerboard}
_NAME = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")


def with_picture(
    model: nn.Module, inputs: ExampleInputs, picture: Picture, prepare: Preprocessing
) -> ExampleInputs:
    r"""Inputs with a picture, prepared, in its place.

    Args:
        model: the model that is to run on them.
        inputs: the present inputs.
        picture: the picture.
        prepare: how to prepare it.

    Raises:
        ValueError: if the model takes no picture.

    Example:
        >>> from fxexplore.inputs import example_inputs_for, sample_photograph
        >>> net = nn.Conv2d(3, 8, 3)
        >>> prepare = Preprocessing((64,), (64, 64))
        >>> inputs = with_picture(net, example_inputs_for(net), sample_photograph(), prepare)
        >>> print(inputs.shapes, *inputs.lines, sep="\n")
        1×3×64×64
        from fxexplore.inputs import Preprocessing, sample_photograph
        prepare = Preprocessing(resize=(64,), crop=(64, 64))
        x = prepare(sample_photograph().image)
    """
    values, code = _put(
        model, picture_place(inputs), prepare(picture.image), f"prepare({picture.code}.image)"
    )
    choice = Choice(
        values,
        code,
        lines=(f"prepare = {prepare.code}",),
        imports=("Preprocessing", picture.code.partition("(")[0]),
        name=picture.name,
        source=f"{picture.name} ({prepare.source})",
        picture=picture,
        prepared_by=prepare,
        notes=picture.notes,
    )
    return inputs.choose("picture", choice)


def picture_place(inputs: ExampleInputs) -> Place:
    """Where a picture goes.

    Raises:
        ValueError: if the model takes no picture, or one with other channels.
    """
    place = _places(inputs).get("picture")
    if place is None:
        raise ValueError(
            f"this model does not take one picture (its example inputs are {inputs.shapes}); name "
            f"a variable that holds all that it takes"
        )
    if place.shape[-3] not in (1, RGB):
        raise ValueError(
            f"this model takes {place.shape[-3]} channels, and a picture has 1 or 3; name a "
            f"variable that holds a tensor of shape {_shape(place.shape)}"
        )
    return place


def with_sample(model: nn.Module, inputs: ExampleInputs, kind: str) -> ExampleInputs:
    """Inputs with noise, an impulse or a checkerboard in the place of the picture.

    Args:
        model: the model that is to run on them.
        inputs: the present inputs, which have the shape.
        kind: ``"noise"``, ``"impulse"`` or ``"checkerboard"``.

    Raises:
        ValueError: if ``kind`` is unknown, or the model takes no single picture.
    """
    if kind not in _SAMPLES:
        raise ValueError(f"there is no sample {kind!r}; take one of {', '.join(_SAMPLES)}")
    place = _places(inputs).get("picture")
    if place is None:
        raise ValueError(
            f"{kind} is a picture, and this model does not take one (its example inputs are "
            f"{inputs.shapes})"
        )
    shape = place.shape if len(place.keys) == 1 else (1, *place.shape)
    made = f"{kind}({', '.join(map(str, shape))})"
    values, code = _put(model, place, _SAMPLES[kind](*shape), made)
    return inputs.choose("picture", Choice(values, code, imports=(kind,), name=kind))


def with_text(
    model: nn.Module,
    inputs: ExampleInputs,
    text: str | Sequence[int],
    tokenizer: Any = None,
    *,
    name: str = "tokenizer",
) -> ExampleInputs:
    """Inputs with a text in its place: a list of ids, or a sentence for a tokenizer.

    Args:
        model: the model that is to run on them.
        inputs: the present inputs.
        text: ids, also as text such as ``"101, 7592, 102"``, or a sentence.
        tokenizer: as those of transformers: called, it gives the arguments of the model.
        name: the expression that the tokenizer goes by in code.

    Raises:
        ValueError: if the model takes no text, or the ids are none.
    """
    place = _places(inputs).get("tokens")
    if place is None:
        raise ValueError(f"this model takes no tokens; its example inputs are {inputs.shapes}")
    key = place.keys[0]
    lines: tuple[str, ...] = ()
    values: dict[int | str, Any]
    code: dict[int | str, str]
    if isinstance(text, str) and tokenizer is not None:
        if not text.strip():
            raise ValueError("the text is empty; write a sentence")
        accepted = inspect.signature(model.forward).parameters
        made = tokenizer(text, return_tensors="pt")
        masks = [m for m in _MASKS if m in made and (m in accepted or m in inputs.kwargs)]
        values = {key: made["input_ids"], **{mask: made[mask] for mask in masks}}
        code = {key: 'tokens["input_ids"]', **{mask: f'tokens["{mask}"]' for mask in masks}}
        lines = (f'tokens = {name}({text!r}, return_tensors="pt")',)
        title = f"“{text}”"
    else:
        values, code = _of_ids(key, _ids(text), inputs)
        title = f"{values[key].shape[1]} ids"
    ids = values[key][0].tolist()
    _check_vocabulary(model, ids)
    if hasattr(tokenizer, "convert_ids_to_tokens"):
        labels = tokenizer.convert_ids_to_tokens(ids)
    else:
        labels = ids
    choice = Choice(
        as_model_has_it(model, values),
        {part: made + _moved(model, values[part]) for part, made in code.items()},
        lines=lines,
        name=title,
        tokens=tuple(map(str, labels)),
    )
    return inputs.choose("tokens", choice)


_MASKS = ("attention_mask", "token_type_ids")


def _of_ids(
    key: int | str, ids: list[int], inputs: ExampleInputs
) -> tuple[dict[int | str, Any], dict[int | str, str]]:
    """Ids, and the masks beside them in their length."""
    values: dict[int | str, Any] = {key: torch.tensor([ids])}
    code: dict[int | str, str] = {key: f"torch.tensor([{ids}])"}
    original = (inputs.original or inputs).kwargs
    for mask, number in zip(_MASKS, (1, 0), strict=True):
        if isinstance(original.get(mask), torch.Tensor):
            values[mask] = torch.full((1, len(ids)), number)
            code[mask] = f"torch.full((1, {len(ids)}), {number})"
    return values, code


def _ids(text: str | Sequence[int]) -> list[int]:
    parts = re.split(r"[\s,;\[\]()]+", text) if isinstance(text, str) else list(text)
    try:
        ids = [int(part) for part in parts if part != ""]
    except (TypeError, ValueError):
        raise ValueError(
            f"{text!r} are no ids; write whole numbers such as 101, 7592, 102. For a sentence "
            f"give the panel a tokenizer"
        ) from None
    if not ids:
        raise ValueError("there are no ids; write whole numbers such as 101, 7592, 102")
    return ids


def _check_vocabulary(model: nn.Module, ids: Sequence[int]) -> None:
    try:
        embedding = model.get_input_embeddings()  # type: ignore[operator]
    except (AttributeError, NotImplementedError, TypeError):
        embedding = next((m for m in model.modules() if isinstance(m, nn.Embedding)), None)
    size = getattr(embedding, "num_embeddings", None)
    wrong = [i for i in ids if isinstance(size, int) and not 0 <= i < size]
    if wrong:
        raise ValueError(
            f"{wrong[0]} is no id of this model; its ids are 0 to {int(size or 0) - 1}"
        )


def with_variable(
    model: nn.Module, inputs: ExampleInputs, name: str, value: Any, model_name: str = "model"
) -> ExampleInputs:
    """Inputs with a variable that holds what the model takes, as it is.

    Args:
        model: the model that is to run on them.
        inputs: the present inputs.
        name: the expression that the variable goes by.
        value: a tensor, an array, or a tuple or dict of arguments.
        model_name: the expression that the model goes by.

    Raises:
        ValueError: if it has other channels than the model takes.
        TypeError: if it is none of these.
    """
    code = name
    if hasattr(value, "__array_interface__"):
        value, code = torch.as_tensor(value), f"torch.as_tensor({name})"
    if not isinstance(value, torch.Tensor):
        expression = f"example_inputs_for({model_name}, {name}).to({model_name})"
        return ExampleInputs(*as_arguments(value), name, name, expression).to(model)
    place = next(iter(_places(inputs).values()), None)
    notes: tuple[str, ...] = ()
    if place is None:  # nothing is known of the model: the variable is its one argument
        inputs = ExampleInputs((), {}, name)
        place = Place("tensor", (0,), tuple(value.shape))
    elif len(place.keys) == 1 and value.ndim == len(place.shape) - 1:
        value, code, notes = value.unsqueeze(0), f"{code}.unsqueeze(0)", ("a batch of one",)
    is_picture = place.kind == "picture" and value.ndim == BATCH_OF_PICTURES
    if is_picture and value.shape[1] != place.shape[-3]:
        raise ValueError(
            f"{name} is {_shape(value.shape)}, with {value.shape[1]} channels; this "
            f"model takes {place.shape[-3]}, as in {_shape(place.shape)}"
        )
    values, made = _put(model, place, value, code)
    return inputs.choose(place.kind, Choice(values, made, name=name, notes=notes))


def variable_named(name: str, namespace: Mapping[str, Any]) -> Any:
    """Look a variable up by its name, or by a path of attributes; nothing is evaluated.

    Args:
        name: such as ``batch`` or ``data.images``.
        namespace: the variables of the notebook.

    Raises:
        ValueError: if it is no name.
        LookupError: if there is no such variable or attribute.

    Example:
        >>> variable_named("size.real", {"size": 3})
        3
    """
    name = name.strip()
    if not _NAME.fullmatch(name):
        raise ValueError(
            f"{name!r} is no name; write a variable such as batch, or data.images for an "
            f"attribute. Assign anything else to a variable first"
        )
    first, *attributes = name.split(".")
    if first not in namespace:
        raise LookupError(f"there is no variable '{first}' in the notebook")
    value = namespace[first]
    for attribute in attributes:
        if not hasattr(value, attribute):
            raise LookupError(f"'{first}' is a {type(value).__name__} and has no '{attribute}'")
        value = getattr(value, attribute)
    return value


def is_picture_like(value: Any, *, maybe: bool = True) -> bool:
    """Whether a variable is a picture to prepare, rather than what a model takes.

    Args:
        value: the variable.
        maybe: whether the model takes pictures, so that bare numbers may be one too.
    """
    from PIL import Image

    if isinstance(value, (str, os.PathLike, bytes, Image.Image, Picture)):
        return True
    if not maybe or not (isinstance(value, torch.Tensor) or hasattr(value, "__array_interface__")):
        return False
    tensor = torch.as_tensor(value)
    if tensor.ndim not in (2, 3) or tensor.is_complex() or not tensor.numel():
        return False
    if not tensor.is_floating_point():
        return True
    return tensor.device.type != "meta" and bool(((tensor >= 0) & (tensor <= 1)).all())


def _places(inputs: ExampleInputs) -> dict[str, Place]:
    """Where a picture and a text can go, in the shapes of the example inputs."""
    return (inputs.original or inputs).places


def _put(
    model: nn.Module, place: Place, value: torch.Tensor, code: str
) -> tuple[dict[int | str, Any], dict[int | str, str]]:
    """A batch as the argument that has this place, on the model's device: value and code."""
    first, *rest = place.keys
    code += _moved(model, value)
    value = as_model_has_it(model, value)
    if not rest:
        return {first: value}, {first: code}
    if value.ndim == BATCH_OF_PICTURES:  # a list of pictures has no batch
        value, code = value[0], f"{code}[0]"
    return {first: [value]}, {first: f"[{code}]"}


def _moved(model: nn.Module, value: torch.Tensor) -> str:
    """The call that brings a tensor to where the model is, and to its dtype; "" for none."""
    there = as_model_has_it(model, value)
    changes = [f'"{there.device}"'] if there.device != value.device else []
    changes += [str(there.dtype)] if there.dtype != value.dtype else []
    return f".to({', '.join(changes)})" if changes else ""


def _shape(shape: Sequence[int]) -> str:
    return "×".join(map(str, shape))
