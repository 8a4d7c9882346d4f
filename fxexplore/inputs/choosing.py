"""Choose what a model is run on: a picture, a sample, a text, or a variable of the notebook."""

from __future__ import annotations

import contextlib
import inspect
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from fxexplore.feature_extraction import as_arguments

from .example_inputs import BATCH_OF_PICTURES, Choice, ExampleInputs, Place, as_model_has_it
from .pictures import Picture, read_picture, sample_photograph
from .preprocessing import RGB, Preprocessing, preprocessing_from_text
from .presets import presets_for
from .samples import checkerboard, impulse, noise

PHOTOGRAPH, EXAMPLE = "photograph", "example inputs"
_SAMPLES = {"noise": noise, "impulse": impulse, "checkerboard": checkerboard}
SAMPLES = (PHOTOGRAPH, *_SAMPLES)
_MASKS = {"attention_mask": 1, "token_type_ids": 0}
_NAME = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")


class InputChoice:
    """What a model is run on: its example inputs, or what is chosen instead.

    Args:
        model: the model.
        example_inputs: its example inputs.
        name: the expression that the model goes by in code.
        tokenizer: turns a sentence into arguments, as those of transformers do.
        tokenizer_name: the expression that it goes by in code.

    Attributes:
        chosen: the inputs; None as long as there are none.

    Example:
        >>> from fxexplore.inputs import known_inputs
        >>> net = nn.Conv2d(3, 8, 3)
        >>> choice = InputChoice(net, known_inputs(net))
        >>> choice.use_sample("impulse")
        >>> choice.chosen.lines
        ('from fxexplore.inputs import impulse', 'x = impulse(1, 3, 224, 224)')
    """

    chosen: Any = None

    def __init__(
        self,
        model: nn.Module,
        example_inputs: ExampleInputs,
        name: str = "model",
        tokenizer: Any = None,
        tokenizer_name: str = "tokenizer",
    ) -> None:
        self._model, self._name = model, name
        self._tokenizer, self._tokenizer_name = tokenizer, tokenizer_name
        self.base_on(example_inputs)

    def base_on(self, example_inputs: ExampleInputs) -> None:
        """Begin with these example inputs.

        Args:
            example_inputs: what the model is run on as long as nothing else is chosen.
        """
        self._base = example_inputs
        self._steps: dict[str, tuple[str, Any]] = {}  # a method and its argument, by kind of place
        self._prepare: Preprocessing | None = None
        self._presets: list[Preprocessing] = []
        self.chosen = None if example_inputs.missing else example_inputs

    @property
    def missing(self) -> str:
        """Why there are no example inputs; ``""`` if there are some."""
        return self._base.missing

    @property
    def next_preparation(self) -> Preprocessing:
        """How the next picture is prepared."""
        present = self.chosen.prepared_by if self.chosen else None
        return self._prepare or present or self.presets[0]

    @property
    def presets(self) -> list[Preprocessing]:
        """The ways to prepare a picture that suit the model, the likeliest first.

        Raises:
            ValueError: if the model takes no picture.
        """
        if not self._presets:
            channels, height, width = self._picture_place().shape[-3:]
            self._presets = presets_for(self._model, channels, (height, width))
            if self._base.prepared_by is not None:
                self._presets.append(self._base.prepared_by)
        return self._presets

    @property
    def state(self) -> tuple[Any, ...]:
        """What was chosen, to be chosen again for a model that takes the same."""
        return self._base.places, self._prepare, tuple(self._steps.values())

    def choose_again(self, state: tuple[Any, ...]) -> None:
        """Choose what was chosen elsewhere, if this model takes the same.

        Args:
            state: as :attr:`state`.

        Raises:
            Exception: what choosing raises, as when a variable is gone.

        Example:
            >>> from fxexplore.inputs import known_inputs
            >>> one, other = (InputChoice(n, known_inputs(n)) for n in [nn.Conv2d(3, 8, 3)] * 2)
            >>> one.use_sample("impulse")
            >>> other.choose_again(one.state)
            >>> other.chosen.name
            'impulse'
        """
        places, prepare, steps = state
        if places != self._base.places:
            return
        self._prepare = prepare
        for method, argument in steps:
            getattr(self, method)(argument)

    def prepare_with(self, prepare: Preprocessing) -> None:
        """Prepare pictures in another way: the chosen one, and those that come.

        Args:
            prepare: the way.
        """
        self._prepare = prepare
        chosen = self._present.choices.get("picture")
        if chosen is not None and chosen.picture is not None:
            self.use_picture(chosen.picture)
        elif chosen is None and self._present.prepared_by is not None:
            self.use_picture(sample_photograph())

    def prepare_as_typed(self, texts: Mapping[str, str]) -> None:
        """Prepare pictures by numbers that were typed.

        Args:
            texts: as :attr:`Preprocessing.texts`.

        Raises:
            ValueError: if they are not as they should be, with what to write instead.
        """
        present = self.next_preparation
        typed = preprocessing_from_text(
            **texts, interpolation=present.interpolation, channels=len(present.mean)
        )
        self.prepare_with(typed)

    def use_picture(self, source: Any, name: str | None = None, code: str | None = None) -> None:
        """Take a picture, prepared.

        Args:
            source: as for :func:`~fxexplore.inputs.read_picture`.
            name: what it goes by.
            code: the expression that reads it.

        Raises:
            ValueError: if it is no picture, or the model takes none.
        """
        place = self._picture_place()
        picture = read_picture(source, name, code)
        prepare = self._prepare = self._prepare or self.presets[0]
        is_upload = isinstance(source, (bytes, bytearray, memoryview))
        hint = (f"# {picture.name!r} was uploaded; save it beside the notebook",) * is_upload
        self._put(
            place,
            prepare(picture.image),
            f"prepare({picture.code}.image)",
            lines=(*hint, f"prepare = {prepare.code}"),
            imports=("Preprocessing", picture.code.partition("(")[0]),
            name=picture.name,
            source=f"{picture.name} ({prepare.source})",
            picture=picture,
            prepared_by=prepare,
            notes=picture.notes,
        )
        self._steps["picture"] = "use_picture", picture

    def use_sample(self, kind: str) -> None:
        """Take a sample.

        Args:
            kind: ``"photograph"``, ``"noise"``, ``"impulse"``, ``"checkerboard"``, or
                ``"example inputs"`` for what the model was opened with.

        Raises:
            ValueError: if it is none of these, or the model takes no picture.
        """
        if kind == EXAMPLE:
            self.chosen = self._base
            self._steps.clear()
        elif kind == PHOTOGRAPH:
            self.use_picture(sample_photograph())
        elif kind not in _SAMPLES:
            raise ValueError(f"there is no sample {kind!r}; take one of {', '.join(SAMPLES)}")
        else:
            place = self._place("picture", "one picture")
            shape = place.shape if len(place.keys) == 1 else (1, *place.shape)
            code = f"{kind}({', '.join(map(str, shape))})"
            self._put(place, _SAMPLES[kind](*shape), code, imports=(kind,), name=kind)
            self._steps["picture"] = "use_sample", kind

    def use_text(self, text: str | Sequence[int]) -> None:
        """Take a text.

        Args:
            text: ids, also as text such as ``"101, 7592, 102"``, or a sentence if there is a
                tokenizer.

        Raises:
            ValueError: if the model takes no text, or the ids are none of its.
        """
        key = self._place("tokens", "a text").keys[0]
        lines: tuple[str, ...] = ()
        if isinstance(text, str) and self._tokenizer is not None:
            if not text.strip():
                raise ValueError("the text is empty; write a sentence")
            accepted = {*inspect.signature(self._model.forward).parameters, *self._base.kwargs}
            made = self._tokenizer(text, return_tensors="pt")
            names = {key: "input_ids"} | {m: m for m in _MASKS if m in made and m in accepted}
            parts = {part: (made[name], f'tokens["{name}"]') for part, name in names.items()}
            lines = (f'tokens = {self._tokenizer_name}({text!r}, return_tensors="pt")',)
            title = f"“{text}”"
        else:
            ids = _ids(text)
            masks = {m: n for m, n in _MASKS.items() if m in self._base.kwargs}
            parts = {key: (torch.tensor([ids]), f"torch.tensor([{ids}])")}
            for mask, n in masks.items():
                shape = (1, len(ids))
                parts[mask] = torch.full(shape, n), f"torch.full({shape}, {n})"
            title = f"{len(ids)} ids"
        tokens = parts[key][0][0].tolist()
        _check_vocabulary(self._model, tokens)
        if hasattr(self._tokenizer, "convert_ids_to_tokens"):
            tokens = self._tokenizer.convert_ids_to_tokens(tokens)
        values = {part: as_model_has_it(self._model, value) for part, (value, _) in parts.items()}
        code = {part: text + self._moved(value) for part, (value, text) in parts.items()}
        choice = Choice(values, code, lines, name=title, tokens=tuple(map(str, tokens)))
        self.chosen = self._present.choose("tokens", choice)
        self._steps["tokens"] = "use_text", text

    def use_variable(self, name: str, variables: Mapping[str, Any]) -> None:
        """Take a variable: a picture to prepare, a text, or what the model takes as it is.

        Args:
            name: of the variable; a path of attributes will do.
            variables: those of the notebook.

        Raises:
            ValueError: if it is no name, or does not fit the model.
            LookupError: if there is no such variable.
            TypeError: if it is of a kind that no model takes.
        """
        name = name.strip()
        value = variable_named(name, variables)
        kinds = self._base.places
        is_ids = isinstance(value, (list, tuple)) and {type(item) for item in value} == {int}
        kind = next(iter(kinds), "")
        if "tokens" in kinds and (isinstance(value, str) or is_ids):
            kind = "tokens"
            self.use_text(value)
        elif is_picture_like(value, maybe="picture" in kinds):
            kind = "picture"
            self.use_picture(value, name, f"read_picture({name}, {name!r})")
        elif isinstance(value, torch.Tensor):
            self._use_tensor(name, value, name)
        elif hasattr(value, "__array_interface__"):
            self._use_tensor(name, torch.as_tensor(value), f"torch.as_tensor({name})")
        else:
            expression = f"example_inputs_for({self._name}, {name}).to({self._name})"
            given = ExampleInputs(*as_arguments(value), name, name, expression)
            self.chosen = given.to(self._model)
            self._steps.clear()
        self._steps[kind] = "use_variable", name

    def _use_tensor(self, name: str, value: torch.Tensor, code: str) -> None:
        # Where nothing is known of the model, the variable is its one argument.
        place = next(iter(self._base.places.values()), None)
        notes: tuple[str, ...] = ()
        if place is not None and len(place.keys) == 1 and value.ndim == len(place.shape) - 1:
            value, code, notes = value.unsqueeze(0), f"{code}.unsqueeze(0)", ("a batch of one",)
        is_batch = place is not None and place.kind == "picture" and value.ndim == BATCH_OF_PICTURES
        if place is not None and is_batch and value.shape[1] != place.shape[-3]:
            raise ValueError(
                f"{name} is {_shape(value.shape)}, with {value.shape[1]} channels; this "
                f"model takes {place.shape[-3]}, as in {_shape(place.shape)}"
            )
        self._put(place or Place("tensor", (0,), ()), value, code, name=name, notes=notes)

    @property
    def _present(self) -> ExampleInputs:
        """The inputs that the next choice is put into: choices for other places stay."""
        chosen: ExampleInputs | None = self.chosen
        if chosen is not None and chosen.original is self._base:
            return chosen
        return self._base if self._base.places else ExampleInputs((), {}, "none")

    def _place(self, kind: str, what: str) -> Place:
        """Where a picture or a text goes."""
        place = self._base.places.get(kind)
        if place is None:
            raise ValueError(
                f"this model does not take {what} among its arguments (its example inputs are "
                f"{self._base.shapes}); name a variable that holds all that it takes"
            )
        return place

    def _picture_place(self) -> Place:
        place = self._place("picture", "one picture")
        if place.shape[-3] not in (1, RGB):
            raise ValueError(
                f"this model takes {place.shape[-3]} channels, and a picture has 1 or 3; name a "
                f"variable that holds a tensor of shape {_shape(place.shape)}"
            )
        return place

    def _put(self, place: Place, value: torch.Tensor, code: str, **facts: Any) -> None:
        """Choose a tensor for a place.

        Args:
            place: where it goes.
            value: a batch, also where the model takes a list.
            code: the expression that makes it.
            facts: what else is known of it, as in :class:`Choice`.
        """
        first, *rest = place.keys
        code += self._moved(value)
        new: Any = as_model_has_it(self._model, value)
        if rest:
            if value.ndim == BATCH_OF_PICTURES:  # a list of pictures has no batch
                new, code = new[0], f"{code}[0]"
            new, code = [new], f"[{code}]"
        choice = Choice({first: new}, {first: code}, **facts)
        self.chosen = self._present.choose(place.kind, choice)

    def _moved(self, value: torch.Tensor) -> str:
        """The call that brings a tensor to where the model is, and to its dtype; "" for none."""
        there = as_model_has_it(self._model, value)
        changes = [f'"{there.device}"'] if there.device != value.device else []
        changes += [str(there.dtype)] if there.dtype != value.dtype else []
        return f".to({', '.join(changes)})" if changes else ""


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
    embedding = next((m for m in model.modules() if isinstance(m, nn.Embedding)), None)
    with contextlib.suppress(AttributeError, NotImplementedError, TypeError):
        embedding = model.get_input_embeddings()  # type: ignore[operator]
    size = getattr(embedding, "num_embeddings", None)
    wrong = [i for i in ids if isinstance(size, int) and not 0 <= i < size]
    if wrong:
        raise ValueError(
            f"{wrong[0]} is no id of this model; its ids are 0 to {int(size or 0) - 1}"
        )


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


def _shape(shape: Sequence[int]) -> str:
    return "×".join(map(str, shape))
