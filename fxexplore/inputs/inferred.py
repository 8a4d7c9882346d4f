"""Example inputs: given by the caller, or inferred from the model and the library it is from."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import nn

from fxexplore.feature_extraction import (
    as_arguments,
    inputs_to_give,
    model_and_tracer,
    required_arguments,
)

from .example_inputs import BATCH_OF_PICTURES, Choice, ExampleInputs
from .guessing import LAYERS, as_called, find_arguments, first_guesses
from .next_guesses import Guess
from .preprocessing import RGB, Preprocessing, imagenet, photograph, photograph_or_noise
from .samples import FRAMES, noise
from .transformers_inputs import from_config


def example_inputs_for(model: nn.Module, example_inputs: Any = None) -> ExampleInputs:
    """Take the caller's example inputs, or infer what the model takes.

    Args:
        model: the model that is to run on them.
        example_inputs: a tensor, a tuple of positional arguments, a dict of keyword
            arguments, or a pair of both. By default inferred: from the configuration that
            models of timm and transformers carry, from the kind of a model of torchvision, from
            ``example_input_array``; else guessed from the first layer and the names of forward's
            arguments, and tried, for a second in all. Pictures are matplotlib's photograph of
            Grace Hopper.

    Raises:
        TypeError: if ``example_inputs`` is none of these.
        ValueError: if nothing was given and nothing could be inferred.

    Example:
        >>> example_inputs_for(nn.Conv2d(3, 8, 3)).shapes
        '1×3×224×224'
        >>> example_inputs_for(nn.Linear(2, 1), torch.ones(5, 2)).shapes
        '5×2'
    """
    model, _ = model_and_tracer(model)
    inputs = known_inputs(model, example_inputs)
    if inputs.missing:
        raise ValueError(inputs.missing)
    return inputs


def known_inputs(
    model: nn.Module, example_inputs: Any = None, name: str = "model", inputs_name: str = "x"
) -> ExampleInputs:
    """As :func:`example_inputs_for`, where ``missing`` says if there are none, and code says how.

    Args:
        model: the model that is to run on them.
        example_inputs: as for :func:`example_inputs_for`; what this function returned is
            returned as it is.
        name: the expression that the model goes by in code.
        inputs_name: the expression that ``example_inputs`` goes by there.

    Raises:
        TypeError: if ``example_inputs`` is of another kind.

    Example:
        >>> known_inputs(nn.Conv2d(3, 8, 3), name="net").lines[-1]
        'x = example_inputs_for(net).args[0]'
        >>> known_inputs(nn.ReLU()).missing.partition(":")[0]
        'no example inputs could be inferred for ReLU'
    """
    if isinstance(example_inputs, ExampleInputs):
        return example_inputs
    if isinstance(example_inputs, InferredOnce):
        return example_inputs.get(model)
    if example_inputs is not None:
        arguments = as_arguments(example_inputs)
        expression = f"example_inputs_for({name}, {inputs_name})"
        return ExampleInputs(*arguments, "given", inputs_name, expression)
    expression = f"example_inputs_for({name})"
    ways = (_from_timm, from_config, _from_attribute, _from_parent, _from_torchvision, _guessed)
    results: Iterator[ExampleInputs | None] = (infer(model) for infer in ways)
    inferred = next(found for found in results if found is not None)
    place = inferred.places.get("picture")
    if place is not None and inferred.prepared_by is None and place.shape[-3] in (1, RGB):
        channels, height, width = place.shape[-3:]
        prepare = imagenet(channels, (height, width))
        inferred = dataclasses.replace(inferred, prepared_by=prepare)
    return dataclasses.replace(inferred, expression=expression).to(model)


class InferredOnce:
    """Inputs that are inferred when somebody first asks for them, and only then.

    Where they have to be tried, that may take a second, and whoever asks says on which copy of
    the model. Where they are given or known, they are known at once.

    Args:
        model: as for :func:`known_inputs`, as the others are.
        example_inputs: as there.
        name: as there.
        inputs_name: as there.
        in_words: how the reader is told why there are none.

    Attributes:
        known: the inputs; None as long as nobody has asked for them.

    Example:
        >>> net = nn.Linear(3, 2)
        >>> inputs = InferredOnce(net)
        >>> inputs.known, inputs.get(net).shapes, inputs.known.shapes
        (None, '1×3', '1×3')
    """

    def __init__(
        self,
        model: Any,
        example_inputs: Any = None,
        name: str = "model",
        inputs_name: str = "x",
        in_words: Callable[[str], str] = str,
    ) -> None:
        self._names, self._in_words = (name, inputs_name), in_words
        self._lock = threading.Lock()
        self.known: ExampleInputs | None = None
        if example_inputs is not None or not _has_to_be_tried(model):
            self.known = self._find(model, example_inputs)

    def get(self, model: nn.Module) -> ExampleInputs:
        """The inputs.

        Args:
            model: the model, or a copy of it, to try them on if nobody has yet.
        """
        with self._lock:
            if self.known is None:
                self.known = self._find(model)
            return self.known

    def _find(self, model: Any, example_inputs: Any = None) -> ExampleInputs:
        found = known_inputs(model, example_inputs, *self._names)
        return dataclasses.replace(found, missing=self._in_words(found.missing))

    def forget(self) -> None:
        """Infer them anew, if they are not given: the model is another than it was."""
        if self.known is not None and not self.known.is_given:
            self.known = None


def _has_to_be_tried(model: Any) -> bool:
    if not isinstance(model, nn.Module) or type(model).__module__.startswith("torchvision.models"):
        return False
    ways = (_from_timm, _from_attribute, _from_parent)
    is_told = any(infer(model) is not None for infer in ways)
    return not is_told and next(model.parameters(), None) is not None


def _nothing_inferred(model: nn.Module, tried: str = "") -> str:
    first = _first_layer(model)
    layer = f"its first layer is {type(first).__name__}({first.extra_repr()})" if first else ""
    return (
        f"no example inputs could be inferred for {type(model).__name__}: its forward takes "
        f"({', '.join(required_arguments(model)) or 'none'}) and "
        f"{layer or 'it has no layer that implies a shape'}. Give {inputs_to_give(model)}, in the "
        f"shapes that the model expects{tried}"
    )


# --- by library ------------------------------------------------------------------------


def _from_timm(model: nn.Module) -> ExampleInputs | None:
    config = getattr(model, "pretrained_cfg", None) or getattr(model, "default_cfg", None)
    if not isinstance(config, dict) or "input_size" not in config:
        return None
    channels, height, width = config["input_size"]
    named = config.get("first_conv") or ()
    named = (named,) if isinstance(named, str) else named
    first = next((m for path, m in model.named_modules() if path in named), None)
    if isinstance(first, nn.Conv2d) and first.groups == 1 and not _moves_space_to_depth(model):
        channels = first.in_channels  # timm.create_model(..., in_chans=1)
    numbers = {name: tuple(config[name]) for name in ("mean", "std") if name in config}
    return _picture(channels, (height, width), "timm's pretrained_cfg", **numbers)


def _moves_space_to_depth(model: nn.Module) -> bool:
    """Whether pixels become channels before the first convolution, as in TResNet."""
    return any(type(m).__name__ in ("SpaceToDepth", "PixelUnshuffle") for m in model.modules())


def _from_torchvision(model: nn.Module) -> ExampleInputs | None:
    home, kind = type(model).__module__, type(model).__name__
    source = "torchvision's known input"
    if home.startswith("torchvision.models.detection"):
        return ExampleInputs(([photograph(320)[0]],), {}, source)
    if home.startswith("torchvision.models.optical_flow"):
        picture = photograph(128)
        return ExampleInputs((picture, picture.roll(2, dims=-1)), {}, source)
    if home.startswith("torchvision.models.video"):
        size = 112 if kind == "VideoResNet" else 224
        clip = photograph(size).unsqueeze(2).repeat(1, 1, FRAMES, 1, 1)
        return ExampleInputs((clip,), {}, source)
    if kind == "Inception3":
        return _picture(RGB, (299, 299), source)
    return None


def _from_attribute(model: nn.Module) -> ExampleInputs | None:
    """What a module of Lightning says that it takes."""
    example = getattr(model, "example_input_array", None)
    if not isinstance(example, (torch.Tensor, tuple, dict)):
        return None
    return ExampleInputs(*as_arguments(example), "example_input_array")


# --- by the model that it is a part of ---------------------------------------------------

_PASSED: weakref.WeakKeyDictionary[nn.Module, tuple[str, tuple[int, ...], torch.dtype]]
_PASSED = weakref.WeakKeyDictionary()


def remember_input(
    module: nn.Module, parent: str, shape: tuple[int, ...], dtype: torch.dtype
) -> None:
    """Remember what a module was given, for when it is opened by itself.

    Args:
        module: the module, which is not held alive.
        parent: the class of the model that it is a part of.
        shape: of the one tensor that it was given.
        dtype: of that tensor.
    """
    with contextlib.suppress(TypeError):  # a module of a class with an __eq__ of its own
        _PASSED[module] = parent, shape, dtype


def _from_parent(model: nn.Module) -> ExampleInputs | None:
    passed = None
    with contextlib.suppress(TypeError):
        passed = _PASSED.get(model)
    if passed is None or len(required_arguments(model)) > 1:
        return None
    parent, shape, dtype = passed
    source = f"the shape that {parent} gave it"
    if dtype.is_floating_point and len(shape) == BATCH_OF_PICTURES and shape[:2] == (1, RGB):
        return _picture(RGB, (shape[2], shape[3]), source)
    sizes = ", ".join(map(str, shape))
    word, value, code = "noise", noise(*shape), f"noise({sizes})"
    if not dtype.is_floating_point:
        word, value = "zeros", torch.zeros(shape, dtype=dtype)
        code = f"torch.zeros(({sizes},), dtype={dtype})"
    names = ("noise",) if word == "noise" else ()
    inputs = ExampleInputs((value,), {}, source)
    choice = Choice({0: value}, {0: code}, (), names, word, f"{word} ({source})")
    return inputs.choose(next(iter(inputs.places), "tensor"), choice)


# --- guessed ---------------------------------------------------------------------------


def _first_layer(model: nn.Module) -> nn.Module | None:
    return next((m for m in model.modules() if isinstance(m, LAYERS)), None)


def _guessed(model: nn.Module) -> ExampleInputs:
    first = _first_layer(model)
    parameters = list(model.parameters())
    if not parameters or any(map(nn.parameter.is_lazy, parameters)):
        # Any shape would do, and none tells more; or the first run would change the model.
        return ExampleInputs((), {}, "none", missing=_nothing_inferred(model))
    firsts = first_guesses(model, first)
    because = (
        f"for the first layer, {type(first).__name__}" if first is not None else "no layer tells"
    )
    if type(model).__module__.startswith("torchvision.models"):
        return _as_inputs(model, firsts[0], because)
    found = find_arguments(model, firsts)
    if not found.arguments:
        if first is not None and len(firsts[0]) == 1:
            return _as_inputs(model, firsts[0], f"{because}; the model does not run on it")
        missing = _nothing_inferred(model, f"; {found.trials} guesses were tried in vain")
        return ExampleInputs((), {}, "none", missing=missing)
    if found.trials > 1:
        because = f"what ran, of {found.trials} tried"
    if not found.is_sure:
        because += "; a whole run takes too long to try it"
    return _as_inputs(model, found.arguments, because)


def _as_inputs(model: nn.Module, arguments: Mapping[str, Guess], because: str) -> ExampleInputs:
    values: dict[str, Any] = {}
    words: dict[str, None] = {}
    prepared_by = None
    for name, guess in arguments.items():
        values[name] = guess.value
        word = _WORDS.get(guess.kind)
        if guess.kind == "noise" and len(guess.shape) == BATCH_OF_PICTURES and guess.shape[0] == 1:
            _, channels, height, width = guess.shape
            prepare = imagenet(channels, (height, width))
            values[name], prepared = photograph_or_noise(channels, prepare)
            if prepared is not None:
                word, prepared_by = "photograph", prepared
        if word is not None:
            words[word] = None
    args, kwargs = as_called(model, values)
    guessed = "" if prepared_by is not None else "guessed "
    source = f"{guessed}{' and '.join(words) or 'numbers'} ({because})"
    return ExampleInputs(args, kwargs, source, prepared_by=prepared_by)


_WORDS = {"noise": "noise", "pair": "noise", "list": "noise", "ids": "token ids 0, 1, …"}


def _picture(channels: int, size: tuple[int, int], source: str, **numbers: Any) -> ExampleInputs:
    prepare = Preprocessing((max(size),), size, source="example inputs", **numbers)
    pixels, prepared_by = photograph_or_noise(channels, prepare)
    word = "photograph" if prepared_by else "noise"
    return ExampleInputs((pixels,), {}, f"{word} ({source})", prepared_by=prepared_by)
