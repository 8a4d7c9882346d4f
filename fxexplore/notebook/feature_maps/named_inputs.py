"""Inputs that are named or written: variables of the notebook, ids and sentences."""

from __future__ import annotations

import dataclasses
import inspect
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from fxexplore.feature_extraction import as_arguments
from fxexplore.inputs import ExampleInputs, as_model_has_it
from fxexplore.views import shape_text

from .chosen_inputs import ALL_ARGUMENTS, BATCH_OF_PICTURES, ChosenInputs, Place, places_in, put

_NAME = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")


def text_choice(
    model: nn.Module,
    base: ChosenInputs,
    text: str | Sequence[int],
    tokenizer: Any = None,
    *,
    name: str = "tokenizer",
) -> ChosenInputs:
    """A text: a list of ids, or a sentence for a tokenizer.

    Args:
        model: the model that is to run on it.
        base: the example inputs.
        text: ids, also as text such as ``"101, 7592, 102"``, or a sentence.
        tokenizer: as those of transformers: called, it gives the arguments of the model.
        name: the expression that the tokenizer goes by in code.

    Raises:
        ValueError: if the model takes no text, or the ids are none.
    """
    place = next((place for place in places_in(base) if place.kind == "tokens"), None)
    if place is None:
        raise ValueError(f"this model takes no tokens; its example inputs are {base.shapes}")
    ids = _ids(text) if not isinstance(text, str) or tokenizer is None else None
    if ids is None:
        return _sentence_choice(model, base, place, str(text), tokenizer, name)
    value = torch.tensor([ids])
    _check_vocabulary(model, ids)
    lines = ("import torch", f"x = torch.tensor([{ids}])")
    base = _masks_fitting(base, place, len(ids))
    labels = tuple(map(str, ids))
    if tokenizer is not None and hasattr(tokenizer, "convert_ids_to_tokens"):
        labels = tuple(map(str, tokenizer.convert_ids_to_tokens(ids)))
    chosen = put(model, base, place, value, lines)
    return dataclasses.replace(
        chosen, source=f"{len(ids)} ids", name=f"{len(ids)} ids", tokens=labels
    )


def _sentence_choice(
    model: nn.Module, base: ChosenInputs, place: Place, text: str, tokenizer: Any, name: str
) -> ChosenInputs:
    if not text.strip():
        raise ValueError("the text is empty; write a sentence")
    accepted = inspect.signature(model.forward).parameters
    made = tokenizer(text, return_tensors="pt")
    ids = made["input_ids"]
    _check_vocabulary(model, ids[0].tolist())
    tokens: Sequence[Any] = ids[0].tolist()
    if hasattr(tokenizer, "convert_ids_to_tokens"):
        tokens = tokenizer.convert_ids_to_tokens(tokens)
    lines = (f'tokens = {name}({text!r}, return_tensors="pt")', 'x = tokens["input_ids"]')
    chosen = put(model, _masks_fitting(base, place, ids.shape[1]), place, ids, lines)
    if "attention_mask" in made and "attention_mask" in accepted:
        kwargs = {**chosen.kwargs, "attention_mask": as_model_has_it(model, made["attention_mask"])}
        mask, call, whole = 'tokens["attention_mask"]', chosen.call, chosen.lines
        if call == ALL_ARGUMENTS:
            whole = (*whole, f'inputs.kwargs["attention_mask"] = {mask}')
        else:
            call = f"{call}, attention_mask={mask}"
        chosen = dataclasses.replace(chosen, kwargs=kwargs, call=call, lines=whole)
    return dataclasses.replace(
        chosen, source=f"“{text}”", name=f"“{text}”", tokens=tuple(map(str, tokens))
    )


def _ids(text: str | Sequence[int]) -> list[int]:
    parts = re.split(r"[\s,;\[\]()]+", text) if isinstance(text, str) else list(text)
    parts = [part for part in parts if part != ""]
    try:
        ids = [int(part) for part in parts]
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
        embedding = None
    if embedding is None:
        embedding = next((m for m in model.modules() if isinstance(m, nn.Embedding)), None)
    size = getattr(embedding, "num_embeddings", None)
    wrong = [i for i in ids if isinstance(size, int) and not 0 <= i < size]
    if wrong:
        raise ValueError(
            f"{wrong[0]} is no id of this model; its ids are 0 to {int(size or 0) - 1}"
        )


def _masks_fitting(base: ChosenInputs, place: Place, length: int) -> ChosenInputs:
    """The masks beside a text in its new length."""
    kwargs, lines = dict(base.kwargs), list(base.lines)
    for key in ("attention_mask", "token_type_ids"):
        old = kwargs.get(key)
        if isinstance(old, torch.Tensor) and tuple(old.shape) == place.shape:
            number = int(key == "attention_mask")
            kwargs[key] = torch.full((1, length), number, dtype=old.dtype, device=old.device)
            made = f'torch.full((1, {length}), {number}, dtype={old.dtype}, device="{old.device}")'
            lines += ["import torch", f"inputs.kwargs[{key!r}] = {made}"]
    return dataclasses.replace(base, kwargs=kwargs, lines=tuple(lines))


def variable_choice(model: nn.Module, base: ChosenInputs, name: str, value: Any) -> ChosenInputs:
    """A variable that holds what the model takes, as it is.

    Args:
        model: the model that is to run on it.
        base: the example inputs.
        name: the expression that it goes by.
        value: a tensor, an array, or a tuple or dict of arguments.

    Raises:
        ValueError: if it has other channels than the model takes.
        TypeError: if it is none of these.
    """
    code = name
    if hasattr(value, "__array_interface__"):
        value, code = torch.as_tensor(value), f"torch.as_tensor({name})"
    if isinstance(value, torch.Tensor):
        return _tensor_choice(model, base, name, value, code)
    args, kwargs = as_arguments(value)
    args, kwargs = as_model_has_it(model, args), as_model_has_it(model, kwargs)
    call = f"*{name}" if args else f"**{name}"
    call = f"*{name}[0], **{name}[1]" if args and kwargs else call
    places = places_in(ExampleInputs(args, kwargs, name))
    place = next((place for place in places if place.kind == "picture"), None)
    return ChosenInputs(args, kwargs, name, name, call=call, place=place)


def _tensor_choice(
    model: nn.Module, base: ChosenInputs, name: str, value: torch.Tensor, code: str
) -> ChosenInputs:
    place = next(iter(places_in(base)), None)
    notes: tuple[str, ...] = ()
    if place is not None and len(place.keys) == 1 and value.ndim == len(place.shape) - 1:
        value, code, notes = value.unsqueeze(0), f"{code}.unsqueeze(0)", ("a batch of one",)
    _check_channels(name, value, place)
    if place is None:  # nothing is known of the model: the variable is its one argument
        place = Place("tensor", (0,), tuple(value.shape))
        base = ChosenInputs((value,), {}, name)
    chosen = put(model, base, place, value, ("import torch", f"x = {code}"))
    return dataclasses.replace(chosen, source=name, name=name, notes=notes, prepared_by=None)


def _check_channels(name: str, value: torch.Tensor, expected: Place | None) -> None:
    if expected is None or expected.kind != "picture" or value.ndim != BATCH_OF_PICTURES:
        return
    if value.shape[1] != expected.shape[-3]:
        raise ValueError(
            f"{name} is {shape_text(tuple(value.shape))}, with {value.shape[1]} channels; this "
            f"model takes {expected.shape[-3]}, as in {shape_text(expected.shape)}"
        )


def value_named(name: str, namespace: Mapping[str, Any]) -> Any:
    """Look a variable up by its name, or by a path of attributes; nothing is evaluated.

    Args:
        name: such as ``batch`` or ``data.images``.
        namespace: the variables of the notebook.

    Raises:
        ValueError: if it is no name.
        LookupError: if there is no such variable or attribute.

    Example:
        >>> value_named("size.real", {"size": 3})
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

    if isinstance(value, (str, os.PathLike, bytes, Image.Image)):
        return True
    if not maybe or not (isinstance(value, torch.Tensor) or hasattr(value, "__array_interface__")):
        return False
    tensor = value if isinstance(value, torch.Tensor) else torch.as_tensor(value)
    if tensor.ndim not in (2, 3) or tensor.is_complex() or not tensor.numel():
        return False
    if not tensor.is_floating_point():
        return True
    return tensor.device.type != "meta" and bool(((tensor >= 0) & (tensor <= 1)).all())
