"""What a model is run on: the values, where they come from, and the code that makes them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import reduce
from operator import getitem
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.utils import _pytree as pytree

from fxexplore.feature_extraction import tensors_in

from .pictures import Picture
from .preprocessing import RGB, Preprocessing, as_seen

BATCH_OF_PICTURES = 4  # dimensions
_BATCH_OF_TOKENS = 2
_LABEL = 24  # characters


class Place(NamedTuple):
    """Where among the arguments of forward a picture or a text goes.

    Attributes:
        kind: ``"picture"`` or ``"tokens"``.
        keys: the way down: ``(0,)`` for the first positional argument, ``("input_ids",)`` for
            a keyword argument, ``(0, 0)`` for the first of a list.
        shape: of the tensor that is there.
    """

    kind: str
    keys: tuple[int | str, ...]
    shape: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Choice:
    """A picture, a text or a tensor that was chosen instead of an example input.

    Attributes:
        values: its arguments of forward: by position, or by name.
        code: the expressions that make them.
        lines: code that goes before.
        imports: the names of ``fxexplore.inputs`` that the code uses.
        name: what it goes by in a few words.
        source: the same with where it comes from.
        picture: the picture, before it was prepared.
        prepared_by: how it was prepared.
        tokens: labels of the tokens of a text.
        notes: what else is to be said about it.
    """

    values: Mapping[int | str, Any]
    code: Mapping[int | str, str]
    lines: tuple[str, ...] = ()
    imports: tuple[str, ...] = ()
    name: str = ""
    source: str = ""
    picture: Picture | None = None
    prepared_by: Preprocessing | None = None
    tokens: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, repr=False)
class ExampleInputs:
    """What a model is run on, how it came about, and the code that makes the same.

    Attributes:
        args: positional arguments of forward.
        kwargs: keyword arguments of forward.
        source: where they come from, in words.
        name: what they go by in a few words, if they have a name.
        expression: the expression that makes them before anything else was chosen.
        prepared_by: how the picture was prepared, if there is one.
        missing: why there are none, if nothing was given and nothing could be inferred.
        choices: what was chosen instead of some of them, by kind of place.
        original: what they were before that.

    Example:
        >>> inputs = ExampleInputs((torch.ones(1, 3),), {}, "given", "x")
        >>> inputs.shapes, inputs.lines, inputs.call
        ('1×3', (), 'x')
    """

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    source: str
    name: str = ""
    expression: str = "example_inputs_for(model)"
    prepared_by: Preprocessing | None = None
    missing: str = ""
    choices: Mapping[str, Choice] = dataclasses.field(default_factory=dict)
    original: ExampleInputs | None = None

    def __repr__(self) -> str:
        what = f"none: {self.missing}" if self.missing else f"{self.label} {self.shapes}".strip()
        return f"ExampleInputs({what})"

    @property
    def is_given(self) -> bool:
        """Whether the caller gave them."""
        return self.source == "given"

    @property
    def shapes(self) -> str:
        """The shapes of the tensors among the arguments, such as ``"1×3×224×224"``."""
        return ", ".join("×".join(map(str, t.shape)) for t in tensors_in((self.args, self.kwargs)))

    @property
    def arguments(self) -> dict[Any, Any]:
        """All arguments, by position or by name."""
        return {**dict(enumerate(self.args)), **self.kwargs}

    @property
    def label(self) -> str:
        """What they go by in a title."""
        label = self.name or self.source.partition(" (")[0]
        return label if len(label) <= _LABEL else f"{label[: _LABEL - 1]}…"

    @property
    def tokens(self) -> tuple[str, ...]:
        """Labels of the tokens of a text."""
        return self.choices["tokens"].tokens if "tokens" in self.choices else ()

    @property
    def notes(self) -> tuple[str, ...]:
        """What else is to be said about them."""
        return tuple(note for choice in self.choices.values() for note in choice.notes)

    # --- changed -------------------------------------------------------------------------

    def replace(self, values: Mapping[Any, Any]) -> ExampleInputs:
        """The same with other values for some arguments.

        Args:
            values: the new values, by position or by name.

        Example:
            >>> inputs = ExampleInputs((1, 2), {"mask": 3}, "given")
            >>> changed = inputs.replace({1: 20, "mask": 30})
            >>> changed.args, changed.kwargs
            ((1, 20), {'mask': 30})
        """
        merged = {**self.arguments, **values}
        args = tuple(value for key, value in merged.items() if isinstance(key, int))
        kwargs = {key: value for key, value in merged.items() if isinstance(key, str)}
        return dataclasses.replace(self, args=args, kwargs=kwargs)

    def choose(self, kind: str, choice: Choice) -> ExampleInputs:
        """The same with a picture or a text in its place; what else was chosen stays.

        Args:
            kind: of the place.
            choice: what goes there.
        """
        original = self.original or self
        choices = {**self.choices, kind: choice}
        pictures = [c.prepared_by for key, c in choices.items() if key == "picture"]
        values = {key: value for c in choices.values() for key, value in c.values.items()}
        return dataclasses.replace(
            original.replace(values),
            source=choice.source or choice.name,
            name=" and ".join(c.name for c in choices.values()),
            prepared_by=pictures[0] if pictures else original.prepared_by,
            missing="",
            choices=choices,
            original=original,
        )

    def to(self, model: nn.Module) -> ExampleInputs:
        """The same on the device of a model, and in its dtype."""
        args, kwargs = as_model_has_it(model, (self.args, self.kwargs))
        return dataclasses.replace(self, args=args, kwargs=kwargs)

    # --- as code -------------------------------------------------------------------------

    @property
    def lines(self) -> tuple[str, ...]:
        """The code that makes them, imports first."""
        choices = self.choices.values()
        code = {key: text for choice in choices for key, text in choice.code.items()}
        imports = {name for choice in choices for name in choice.imports}
        lines = [line for choice in choices for line in choice.lines]
        if self._variable and self.choices:
            lines += [f"x = {text}" for text in code.values()]
        elif self._variable and not self.is_given and not self.missing:
            imports.add("example_inputs_for")
            lines.append(f"x = {self.expression}.args[0]")
        elif not self._variable:
            imports.add("example_inputs_for")
            lines.insert(0, f"inputs = {self.expression}")
            if self.choices:
                values = ", ".join(f"{key!r}: {text}" for key, text in code.items())
                lines.append(f"inputs = inputs.replace({{{values}}})")
        start = ["import torch"] if any("torch." in line for line in lines) else []
        if imports:
            start.append(f"from fxexplore.inputs import {', '.join(sorted(imports))}")
        return (*start, *lines)

    @property
    def call(self) -> str:
        """What stands between the parentheses of a call with them."""
        if not self._variable:
            return "*inputs.args, **inputs.kwargs"
        return f"{self._key}={self._variable}" if self.kwargs else self._variable

    @property
    def example(self) -> str:
        """The expression that stands for them as ``example_inputs``."""
        if not self._variable:
            return "(inputs.args, inputs.kwargs)"
        if self.kwargs:
            return f"{{{self._key!r}: {self._variable}}}"
        return f"({self._variable},)" if isinstance(self.args[0], list) else self._variable

    @property
    def _key(self) -> int | str:
        return next(iter(self.arguments), 0)

    @property
    def _variable(self) -> str:
        """What their only argument goes by in code; "" where ``inputs`` holds all of them."""
        if self.missing:
            return "x"
        if len(self.arguments) != 1:
            return ""
        if self.choices:
            return "x"
        is_tensor = bool(self.args) and isinstance(self.args[0], torch.Tensor)
        return (self.name if self.is_given else "x") if is_tensor else ""

    # --- as a picture --------------------------------------------------------------------

    @property
    def places(self) -> dict[str, Place]:
        """Where a picture and a text can go, by kind: one place of a kind, or none.

        Example:
            >>> ExampleInputs((torch.ones(1, 3, 8, 8),), {}, "given").places
            {'picture': Place(kind='picture', keys=(0,), shape=(1, 3, 8, 8))}
        """
        found = [p for key, value in self.arguments.items() for p in _places(value, (key,))]
        pictures = [place for place in found if place.kind == "picture"]
        texts = [place for place in found if place.kind == "tokens"]
        texts = [place for place in texts if place.keys == ("input_ids",)] or texts
        return {place[0].kind: place[0] for place in (pictures, texts) if len(place) == 1}

    def picture(self, index: int = 0) -> torch.Tensor | None:
        """The picture that the model sees, of shape 3 × height × width from 0 to 1.

        Args:
            index: item of the batch.
        """
        place = self.places.get("picture")
        if place is None or place.shape[-3] not in (1, RGB):
            return None
        pixels: Any = reduce(getitem, place.keys, self.arguments)
        if pixels.ndim == BATCH_OF_PICTURES:
            pixels = pixels[min(index, len(pixels) - 1)]
        return self.prepared_by.seen(pixels) if self.prepared_by else as_seen(pixels)

    def picture_code(self, index: int = 0) -> str | None:
        """The expression that makes :meth:`picture` where :attr:`lines` ran.

        Args:
            index: item of the batch.
        """
        if self.picture(index) is None:
            return None
        place = self.places["picture"]
        first, *rest = place.keys
        holder = "args" if isinstance(first, int) else "kwargs"
        if len(place.shape) == BATCH_OF_PICTURES:
            rest.append(min(index, place.shape[0] - 1))
        pixels = self._variable or f"inputs.{holder}[{first!r}]"
        pixels += "".join(f"[{key}]" for key in rest)
        seen = f"{self.prepared_by.code}.seen" if self.prepared_by else "as_seen"
        return f"{seen}({pixels})"


def _places(value: Any, keys: tuple[int | str, ...]) -> list[Place]:
    if isinstance(value, list):
        inner = [place for i, item in enumerate(value) for place in _places(item, (*keys, i))]
        return [place for place in inner if place.kind == "picture"]
    if not isinstance(value, torch.Tensor):
        return []
    shape = tuple(value.shape)
    in_list = len(keys) > 1
    if value.is_floating_point():
        is_picture = value.ndim == BATCH_OF_PICTURES - in_list and min(shape, default=0) > 0
        return [Place("picture", keys, shape)] if is_picture else []
    is_text = value.ndim == _BATCH_OF_TOKENS and not value.is_complex()
    return [Place("tokens", keys, shape)] if is_text and value.dtype != torch.bool else []


def as_model_has_it(model: nn.Module, value: Any) -> Any:
    """Move tensors to the model's device, and floating ones to its dtype.

    Args:
        model: the model that is to run on them.
        value: tensors in a nesting of tuples, lists and dicts.

    Example:
        >>> as_model_has_it(nn.Linear(1, 1).double(), [torch.ones(2), "text"])
        [tensor([1., 1.], dtype=torch.float64), 'text']
    """
    parameter = next((p for p in model.parameters() if p.is_floating_point()), None)
    if parameter is None:
        return value

    def moved(tensor: torch.Tensor) -> torch.Tensor:
        dtype = parameter.dtype if tensor.is_floating_point() else tensor.dtype
        return tensor.to(parameter.device, dtype)

    return pytree.tree_map_only(torch.Tensor, moved, value)
