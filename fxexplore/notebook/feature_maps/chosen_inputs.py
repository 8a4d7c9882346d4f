"""What the feature maps are of: a picture, a variable, a sample, a text, or the example inputs."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import nn

from fxexplore.inputs import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    RGB,
    SQUARES,
    ExampleInputs,
    Picture,
    Preprocessing,
    as_model_has_it,
    as_seen,
    checkerboard,
    example_inputs_for,
    impulse,
    noise,
)
from fxexplore.views import shape_text

BATCH_OF_PICTURES = 4
ALL_ARGUMENTS = "*inputs.args, **inputs.kwargs"
_BATCH_OF_TOKENS = 2
_SAMPLES = {"noise": noise, "impulse": impulse, "checkerboard": checkerboard}


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
class ChosenInputs(ExampleInputs):
    """What a model is run on, and how it was made.

    Attributes:
        name: what it goes by in a few words.
        lines: the code that makes it.
        call: what stands between the parentheses of a call with it.
        prepared_by: how the picture was prepared, if there is one.
        place: where the picture is.
        tokens: labels of the tokens of a text.
        notes: what else is to be said about it.
    """

    name: str = "example inputs"
    lines: tuple[str, ...] = ()
    call: str = ALL_ARGUMENTS
    prepared_by: Preprocessing | None = None
    place: Place | None = None
    tokens: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """What it goes by in a title."""
        return shortened(self.name or self.source.partition(" (")[0])

    @property
    def example(self) -> str:
        """The expression that stands for it as ``example_inputs``."""
        if self.call == "x":
            return "x"
        if self.call == ALL_ARGUMENTS:
            return "(inputs.args, inputs.kwargs)"
        return f"(lambda *args, **kwargs: (args, kwargs))({self.call})"

    def picture_code(self, index: int = 0) -> str | None:
        """The expression that makes :meth:`picture` where :attr:`lines` ran.

        Args:
            index: item of the batch.
        """
        if self.picture(index) is None or self.place is None:
            return None
        first, *rest = self.place.keys
        if self.call == ALL_ARGUMENTS:
            holder = "args" if isinstance(first, int) else "kwargs"
            pixels = f"inputs.{holder}[{first!r}][{index}]"
        elif any(line.startswith("x = ") for line in self.lines):
            pixels = "x" if rest else f"x[{index}]"
        else:
            return None
        if self.prepared_by is None:
            return f"as_seen({pixels})"
        is_named = any(line.startswith("prepare = ") for line in self.lines)
        return f"{'prepare' if is_named else self.prepared_by.code}.seen({pixels})"

    def picture(self, index: int = 0) -> torch.Tensor | None:
        """The picture that the model sees, of shape 3 × height × width from 0 to 1.

        Args:
            index: item of the batch.
        """
        if self.place is None or self.place.kind != "picture":
            return None
        pixels = _at(self, self.place.keys).detach().float().cpu()
        if pixels.ndim == BATCH_OF_PICTURES:
            pixels = pixels[min(index, len(pixels) - 1)]
        if len(pixels) not in (1, RGB):
            return None
        return self.prepared_by.seen(pixels) if self.prepared_by else as_seen(pixels)


def example_choice(
    model: nn.Module, example_inputs: Any, name: str = "model", inputs_name: str = "x"
) -> ChosenInputs:
    """The example inputs, given or inferred.

    Args:
        model: the model that is to run on them.
        example_inputs: as for :func:`~fxexplore.inputs.inferred.example_inputs_for`.
        name: the expression that the model goes by.
        inputs_name: the expression that ``example_inputs`` goes by.

    Raises:
        ValueError: if nothing was given and nothing could be inferred.
        TypeError: if ``example_inputs`` is of the wrong kind.
    """
    inputs = example_inputs_for(model, example_inputs)
    places = places_in(inputs)
    place = next((place for place in places if place.kind == "picture"), None)
    arguments = name if example_inputs is None else f"{name}, {inputs_name}"
    return ChosenInputs(
        inputs.args,
        inputs.kwargs,
        inputs.source,
        name=inputs_name if example_inputs is not None else "",
        lines=(
            "from fxexplore import example_inputs_for",
            f"inputs = example_inputs_for({arguments})",
        ),
        place=place,
        prepared_by=_inferred_preprocessing(model, place) if example_inputs is None else None,
    )


def _inferred_preprocessing(model: nn.Module, place: Place | None) -> Preprocessing | None:
    if place is None or place.shape[-3] not in (1, RGB):
        return None
    size = place.shape[-2], place.shape[-1]
    config = getattr(model, "pretrained_cfg", None)
    config = config if isinstance(config, dict) else {}
    mean, std = config.get("mean", IMAGENET_MEAN), config.get("std", IMAGENET_STD)
    grey = place.shape[-3] == 1
    if grey:
        mean, std = (sum(mean) / RGB,), (sum(std) / RGB,)
    return Preprocessing((max(size),), size, tuple(mean), tuple(std), source="example inputs")


def places_in(inputs: ExampleInputs) -> list[Place]:
    """Where a picture and a text can go: one place of a kind, or none.

    Example:
        >>> places_in(example_inputs_for(nn.Conv2d(3, 8, 3)))
        [Place(kind='picture', keys=(0,), shape=(1, 3, 224, 224))]
    """
    found: list[Place] = []
    arguments: list[tuple[int | str, Any]] = [*enumerate(inputs.args), *inputs.kwargs.items()]
    for key, value in arguments:
        found += _places(value, (key,))
    pictures = [place for place in found if place.kind == "picture"]
    texts = [place for place in found if place.kind == "tokens"]
    texts = [place for place in texts if place.keys == ("input_ids",)] or texts
    return [*(pictures if len(pictures) == 1 else ()), *(texts if len(texts) == 1 else ())]


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


def picture_choice(
    model: nn.Module,
    base: ChosenInputs,
    picture: Picture,
    prepare: Preprocessing,
    code: str | None = None,
) -> ChosenInputs:
    """A picture, prepared, in its place among the example inputs.

    Args:
        model: the model that is to run on it.
        base: the example inputs.
        picture: the picture.
        prepare: how to prepare it.
        code: the expression that gives the picture; by default its name is read as a path.

    Raises:
        ValueError: if the model takes no picture.
    """
    place = picture_place(base)
    prepared = prepare(picture.image)
    value = prepared if len(place.keys) == 1 else prepared[0]
    source = "read_picture" if code is None else code.partition("(")[0]
    made = f"prepare({code or f'read_picture({picture.name!r})'}.image)"
    lines = (
        f"from fxexplore.inputs import Preprocessing, {source}",
        f"prepare = {prepare.code}",
        f"x = {made}" + ("" if len(place.keys) == 1 else "[0]"),
    )
    chosen = put(model, base, place, value, lines)
    return dataclasses.replace(
        chosen,
        source=f"{picture.name} ({prepare.source})",
        name=picture.name,
        prepared_by=prepare,
        notes=picture.notes,
    )


def picture_place(base: ChosenInputs) -> Place:
    """Where a picture goes.

    Raises:
        ValueError: if the model takes no picture, or one with other channels.
    """
    place = next((place for place in places_in(base) if place.kind == "picture"), None)
    if place is None:
        raise ValueError(
            f"this model does not take one picture (its example inputs are {base.shapes}); name a "
            f"variable that holds all that it takes"
        )
    if place.shape[-3] not in (1, RGB):
        raise ValueError(
            f"this model takes {place.shape[-3]} channels, and a picture has 1 or 3; name a "
            f"variable that holds a tensor of shape {shape_text(place.shape)}"
        )
    return place


def sample_choice(model: nn.Module, base: ChosenInputs, kind: str) -> ChosenInputs:
    """Noise, an impulse or a checkerboard, as the model takes it.

    Args:
        model: the model that is to run on it.
        base: the example inputs, which have the shape.
        kind: ``"noise"``, ``"impulse"`` or ``"checkerboard"``.

    Raises:
        ValueError: if ``kind`` is unknown, or the model takes no single picture.
    """
    if kind not in _SAMPLES:
        raise ValueError(f"there is no sample {kind!r}; take one of {', '.join(_SAMPLES)}")
    place = next((place for place in places_in(base) if place.kind == "picture"), None)
    if place is None:
        raise ValueError(
            f"{kind} is a picture, and this model does not take one (its example inputs are "
            f"{base.shapes})"
        )
    in_list = len(place.keys) > 1
    shape = (1, *place.shape[-3:]) if in_list else place.shape
    value = _SAMPLES[kind](*shape)
    lines = ("import torch", *_sample_lines(kind, shape), *(["x = x[0]"] * in_list))
    chosen = put(model, base, place, value[0] if in_list else value, lines)
    return dataclasses.replace(chosen, source=kind, name=kind, prepared_by=None)


def _sample_lines(kind: str, shape: tuple[int, ...]) -> list[str]:
    """What makes a sample, in torch alone."""
    height, width = shape[-2:]
    if kind == "noise":
        return [f"x = torch.randn({shape}, generator=torch.Generator().manual_seed(0))"]
    if kind == "impulse":
        return [f"x = torch.zeros({shape})", f"x[..., {height // 2}, {width // 2}] = 1"]
    side = max(1, min(height, width) // SQUARES)
    return [
        f"rows, columns = torch.arange({height})[:, None], torch.arange({width})",
        f"x = (1.0 - 2 * ((rows // {side} + columns // {side}) % 2)).expand({shape}).contiguous()",
    ]


def put(
    model: nn.Module, base: ChosenInputs, place: Place, value: torch.Tensor, lines: Sequence[str]
) -> ChosenInputs:
    """The example inputs with one tensor changed.

    Args:
        model: the model that is to run on them.
        base: the example inputs.
        place: where the tensor goes.
        value: the tensor.
        lines: the code that makes it as ``x``.
    """
    lines = (*lines, *_moved(model, value))
    value = as_model_has_it(model, value)
    args, kwargs = list(base.args), dict(base.kwargs)
    first, *rest = place.keys
    new: Any = [value] if rest else value
    if isinstance(first, int):
        args[first] = new
    else:
        kwargs[first] = new
    alone = len(args) + len(kwargs) == 1
    here = "[x]" if rest else "x"
    named = here if isinstance(first, int) else f"{first}={here}"
    others = () if alone else base.lines
    if not alone and isinstance(first, int):
        named = f"*inputs.args[:{first}], {here}, *inputs.args[{first + 1}:], **inputs.kwargs"
    elif not alone:
        named, lines = ALL_ARGUMENTS, (*lines, f"inputs.kwargs[{first!r}] = {here}")
    picture = next((p for p in places_in(base) if p.kind == "picture"), None)
    return dataclasses.replace(
        base,
        args=tuple(args),
        kwargs=kwargs,
        lines=(*others, *lines),
        call=named,
        place=place._replace(shape=tuple(value.shape)) if place.kind == "picture" else picture,
    )


def _moved(model: nn.Module, value: torch.Tensor) -> tuple[str, ...]:
    """The line that brings a tensor to where the model is, and to its dtype."""
    there = as_model_has_it(model, value)
    if (there.device, there.dtype) == (value.device, value.dtype):
        return ()
    arguments = [
        *([f'"{there.device}"'] if there.device != value.device else []),
        *([str(there.dtype)] if there.dtype != value.dtype else []),
    ]
    return "import torch", f"x = x.to({', '.join(arguments)})"


def shortened(text: str, most: int = 24) -> str:
    """A text cut to so many characters.

    Example:
        >>> shortened("photograph", 10), shortened("a photograph", 10)
        ('photograph', 'a photogr…')
    """
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _at(inputs: ExampleInputs, keys: tuple[int | str, ...]) -> Any:
    first, *rest = keys
    value: Any = inputs.args[first] if isinstance(first, int) else inputs.kwargs[first]
    for key in rest:
        value = value[key]
    return value
