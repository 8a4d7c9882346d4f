"""Choose what a model is run on: a picture, a variable, a sample, a text."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

import ipywidgets as widgets
import torch
import traitlets
from torch import nn

from fxexplore.inputs import (
    ExampleInputs,
    Picture,
    Preprocessing,
    is_picture_like,
    known_inputs,
    picture_place,
    presets_for,
    read_picture,
    sample_photograph,
    variable_named,
    with_picture,
    with_sample,
    with_text,
    with_variable,
)
from fxexplore.notebook.shell import present_shell

from .input_rows import EXAMPLE, NO_SAMPLE, InputRows


class InputChooser(InputRows):
    """The input of a model, and what chooses another.

    Args:
        model: the model that is to run on it.
        example_inputs: as for :func:`fxexplore.inputs.known_inputs`.
        name: the expression that the model goes by.
        tokenizer: turns a sentence into arguments, as those of transformers do.
        tokenizer_name: the expression that it goes by in code.
        shell: the IPython shell whose variables can be named; by default the present one.
        buttons: what stands at the end of the row.

    Example:
        >>> chooser = InputChooser(nn.Conv2d(3, 8, 3))
        >>> chooser.use_sample("impulse")
        >>> chooser.chosen.shapes, chooser.chosen.args[0].sum().item()
        ('1×3×224×224', 3.0)
    """

    chosen = traitlets.Any()
    """The :class:`~fxexplore.inputs.ExampleInputs`; None as long as there are none."""

    def __init__(
        self,
        model: nn.Module,
        example_inputs: Any = None,
        *,
        name: str = "model",
        tokenizer: Any = None,
        tokenizer_name: str = "tokenizer",
        shell: Any = None,
        buttons: tuple[widgets.Widget, ...] = (),
    ) -> None:
        self._model = model
        self._name = name
        self._tokenizer = tokenizer
        self._tokenizer_name = tokenizer_name
        self._shell = shell
        self._prepare: Preprocessing | None = None
        self._presets: list[Preprocessing] = []
        self._base = known_inputs(model, example_inputs, name)
        super().__init__(
            self._base.places,
            takes_sentences=tokenizer is not None,
            on_file=lambda name, content: self._guarded(self.use_picture, content, name),
            on_prepare=lambda prepare: self._guarded(self.prepare_with, prepare),
            on_problem=self.complain,
            buttons=buttons,
        )
        self._listen()
        self.chosen = None if self._base.missing else self._base
        if self._base.missing:
            self.say(self._base.missing)

    # --- from Python --------------------------------------------------------------------

    def use_picture(self, source: Any, name: str | None = None, code: str | None = None) -> None:
        """Take a picture, prepared as the numbers say.

        Args:
            source: as for :func:`~fxexplore.inputs.read_picture`, or what that returned.
            name: what it goes by.
            code: the expression that reads it.

        Raises:
            ValueError: if it is no picture, or the model takes none.
        """
        picture_place(self._base)
        picture = read_picture(source, name, code)
        self._take_picture(picture, self._prepare or self.presets[0])

    def use_variable(self, name: str) -> None:
        """Take a variable of the notebook.

        Args:
            name: of the variable; a path of attributes will do.

        Raises:
            ValueError: if it is no name, or does not fit the model.
            LookupError: if there is no such variable.
        """
        name = name.strip()
        value = variable_named(name, self._namespace())
        kinds = self._base.places
        if "tokens" in kinds and (isinstance(value, str) or _are_ids(value)):
            self.use_text(value)
        elif is_picture_like(value, maybe="picture" in kinds):
            self.use_picture(value, name, f"read_picture({name}, {name!r})")
        else:
            self._take(with_variable(self._model, self._present, name, value, self._name))

    def use_sample(self, kind: str) -> None:
        """Take a sample.

        Args:
            kind: ``"photograph"``, ``"noise"``, ``"impulse"``, ``"checkerboard"``, or
                ``"example inputs"`` for what the model was opened with.

        Raises:
            ValueError: if it is none of these, or the model takes no picture.
        """
        if kind == EXAMPLE:
            self._take(self._base)
        elif kind == "photograph":
            self.use_picture(sample_photograph())
        else:
            self._take(with_sample(self._model, self._present, kind))

    def use_text(self, text: Any) -> None:
        """Take a text.

        Args:
            text: a list of ids, or a sentence if there is a tokenizer.

        Raises:
            ValueError: if the model takes no text, or the ids are none of its.
        """
        name = self._tokenizer_name
        self._take(with_text(self._model, self._present, text, self._tokenizer, name=name))

    def prepare_with(self, prepare: Preprocessing) -> None:
        """Prepare pictures in another way, the present one too.

        Args:
            prepare: the way.
        """
        self._prepare = prepare
        self.preparation.fill(prepare)
        chosen = self._present.choices.get("picture")
        if chosen is not None and chosen.picture is not None:
            self._take_picture(chosen.picture, prepare)
        elif chosen is None and self._present.prepared_by is not None:
            self._take_picture(sample_photograph(), prepare)

    @property
    def presets(self) -> list[Preprocessing]:
        """The ways to prepare a picture that suit the model, the likeliest first."""
        if not self._presets:
            place = picture_place(self._base)
            channels, height, width = place.shape[-3:]
            self._presets = presets_for(self._model, channels, (height, width))
            if self._base.prepared_by is not None:
                self._presets.append(self._base.prepared_by)
            self.preparation.offer(self._presets, channels)
        return self._presets

    # --- inside -------------------------------------------------------------------------

    @property
    def _present(self) -> ExampleInputs:
        """What the next choice goes into: what was chosen for other places stays."""
        chosen: ExampleInputs | None = self.chosen
        return chosen if chosen is not None and chosen.original is self._base else self._base

    def _namespace(self) -> Mapping[str, Any]:
        shell = self._shell or present_shell()
        if shell is None:
            raise LookupError("there is no notebook here whose variables could be named")
        namespace: Mapping[str, Any] = shell.user_ns
        return namespace

    def _take_picture(self, picture: Picture, prepare: Preprocessing) -> None:
        self._take(with_picture(self._model, self._present, picture, prepare))
        self._prepare = prepare
        self.preparation.fill(prepare)

    def _take(self, chosen: ExampleInputs) -> None:
        self.note.value = ""
        self.chosen = chosen

    def _listen(self) -> None:
        self.name.observe(lambda c: self._written(self.use_variable, c["new"]), "value")
        self.text.observe(lambda c: self._written(self.use_text, c["new"]), "value")
        self.sample.observe(self._on_sample, "value")
        self.variable.observe(self._on_variable, "value")
        self.numbers.observe(self._on_numbers, "value")

    def _written(self, use: Callable[[str], None], text: str) -> None:
        if text.strip():
            self._guarded(use, text)

    def _on_sample(self, change: dict[str, Any]) -> None:
        if change["new"] != NO_SAMPLE:
            self._guarded(self.use_sample, change["new"])
            self.sample.value = NO_SAMPLE

    def _on_variable(self, change: dict[str, Any]) -> None:
        if change["new"]:
            self._guarded(self._suggest)

    def _suggest(self) -> None:
        """Offer the variables that could be meant."""
        mine = [
            name
            for name, value in self._namespace().items()
            if not name.startswith("_") and _is_suitable(value)
        ]
        self.name.options = mine

    def _on_numbers(self, change: dict[str, Any]) -> None:
        if change["new"]:
            self._guarded(lambda: self.preparation.fill(self._shown_preparation()))

    def _shown_preparation(self) -> Preprocessing:
        presets = self.presets
        return self._prepare or self._present.prepared_by or presets[0]

    def _guarded(self, action: Callable[..., None], *arguments: Any) -> None:
        """Do what was asked for; an error is shown below."""
        try:
            self.forget_problem()
            action(*arguments)
        except Exception as problem:  # noqa: BLE001  # files and variables may be anything
            self.complain(problem)

    @traitlets.observe("chosen")
    def _on_chosen(self, change: dict[str, Any]) -> None:
        self.show(change["new"])


def _are_ids(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return bool(value) and all(type(item) is int for item in value)
    return False


def _is_suitable(value: Any) -> bool:
    from PIL import Image

    return isinstance(value, (torch.Tensor, os.PathLike, Image.Image)) or (
        hasattr(value, "__array_interface__") and getattr(value, "ndim", 0) > 0
    )
