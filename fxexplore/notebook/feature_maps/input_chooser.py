"""Choose what a model is run on: a picture, a variable, a sample, a text."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import ipywidgets as widgets
import torch
import traitlets
from torch import nn

from fxexplore.inputs import InputChoice, is_picture_like, known_inputs
from fxexplore.notebook.shell import present_shell

from .input_rows import NO_SAMPLE, InputRows


class InputChooser(InputChoice, InputRows):
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
        self.shell = shell
        inputs = known_inputs(model, example_inputs, name)
        InputRows.__init__(
            self,
            inputs.places,
            takes_sentences=tokenizer is not None,
            on_file=lambda name, content: self._guarded(self.use_picture, content, name),
            on_prepare=lambda prepare: self._guarded(self.prepare_with, prepare),
            on_typed=lambda texts: self._guarded(self.prepare_as_typed, texts),
            buttons=buttons,
        )
        InputChoice.__init__(self, model, inputs, name, tokenizer, tokenizer_name)
        self._listen()
        if inputs.missing:
            self.say(inputs.missing)

    def use_variable(self, name: str, variables: Mapping[str, Any] | None = None) -> None:
        """Take a variable of the notebook.

        Args:
            name: of the variable; a path of attributes will do.
            variables: by default those of the shell.
        """
        super().use_variable(name, self._variables() if variables is None else variables)

    def _variables(self) -> Mapping[str, Any]:
        shell = self.shell or present_shell()
        if shell is None:
            raise LookupError("there is no notebook here whose variables could be named")
        variables: Mapping[str, Any] = shell.user_ns
        return variables

    def _listen(self) -> None:
        when, on = self._when, "value"
        self.name.observe(lambda c: when(c["new"].strip(), self.use_variable, c["new"]), on)
        self.text.observe(lambda c: when(c["new"].strip(), self.use_text, c["new"]), on)
        self.sample.observe(lambda c: when(c["new"] != NO_SAMPLE, self._sample, c["new"]), on)
        self.variable.observe(lambda c: when(c["new"], self._suggest), on)
        self.numbers.observe(lambda c: when(c["new"], self._fill), on)

    def _sample(self, kind: str) -> None:
        self.sample.value = NO_SAMPLE
        self.use_sample(kind)

    def _suggest(self) -> None:
        """Offer the variables that could be meant."""
        self.name.options = [
            name
            for name, value in self._variables().items()
            if not name.startswith("_") and _is_suitable(value)
        ]

    def _fill(self) -> None:
        """Show the numbers of the next picture's preparation."""
        self.preparation.fill(self.next_preparation, self.presets)

    def _when(self, is_asked: Any, action: Callable[..., None], *arguments: Any) -> None:
        if is_asked:
            self._guarded(action, *arguments)

    def _guarded(self, action: Callable[..., None], *arguments: Any) -> None:
        """Do what was asked for; an error is shown below."""
        try:
            self.forget_problem()
            action(*arguments)
        except Exception as problem:  # noqa: BLE001  # files and variables may be anything
            self.complain(problem)

    @traitlets.observe("chosen")
    def _on_chosen(self, change: dict[str, Any]) -> None:
        self.note.value = ""
        self.show(change["new"])
        if self.numbers.value:
            self._fill()


def _is_suitable(value: Any) -> bool:
    if isinstance(value, (str, bytes)):
        return False
    return (
        isinstance(value, torch.Tensor)
        or is_picture_like(value, maybe=False)
        or (hasattr(value, "__array_interface__") and getattr(value, "ndim", 0) > 0)
    )
