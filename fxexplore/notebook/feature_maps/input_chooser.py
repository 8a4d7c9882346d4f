"""Choose what a model is run on: a picture, a variable, a sample, a text."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Callable, Mapping
from typing import Any

import ipywidgets as widgets
import torch
import traitlets
from torch import nn

from fxexplore.inputs import (
    EXAMPLE,
    SAMPLES,
    ExampleInputs,
    InputChoice,
    is_picture_like,
    known_inputs,
)
from fxexplore.notebook.brief import Brief
from fxexplore.notebook.problems import problem_html
from fxexplore.notebook.shell import present_shell
from fxexplore.notebook.small_widgets import Disclosure

from .controls import named, show, width_of
from .preparation_row import PreparationRow
from .upload_button import UploadButton

_NO_SAMPLE = "Sample"
_FILES = ".png,.jpg,.jpeg,.webp,.bmp,.gif,.tif,.tiff"
_SIDE = 76  # of the thumbnail, in pixels of a dense screen


class InputChooser(Brief, InputChoice, widgets.VBox):
    """The input of a model in a row, with buttons to choose another, and rows that these unfold.

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

    def _told(self) -> list[str]:
        return [str(self.chosen)]

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
        widgets.VBox.__init__(self, self._make_rows(tokenizer is not None, buttons))
        InputChoice.__init__(self, model, inputs, name, tokenizer, tokenizer_name)
        self._listen()
        self._fit()

    def _make_rows(
        self, takes_sentences: bool, buttons: tuple[widgets.Widget, ...]
    ) -> list[widgets.Widget]:
        thumbnail = widgets.HTML(layout=widgets.Layout(flex="0 0 auto"))
        self.thumbnail = thumbnail.add_class("fxx-thumbnail")
        self.words = widgets.HTML(layout=widgets.Layout(flex="1 1 100px", min_width="0"))
        self.upload = UploadButton(
            lambda name, content: self._guarded(self.use_picture, content, name),
            self.complain, accept=_FILES,
            title="A picture: PNG, JPEG or WebP. Drop it on this panel, or paste it, if you like",
        )  # fmt: skip
        self.sample = widgets.Dropdown(options=[_NO_SAMPLE], layout=width_of("104px"))
        self.name = widgets.Combobox(
            placeholder="name of a variable, such as batch or data.images",
            continuous_update=False, layout=width_of("auto", "1 1 200px"),
        )  # fmt: skip
        ids = "a sentence, or ids" if takes_sentences else "ids, as in 101, 7592, 102"
        wide = width_of("auto", "1 1 200px")
        self.text = widgets.Text(placeholder=ids, continuous_update=False, layout=wide)
        self.preparation = PreparationRow(
            lambda prepare: self._guarded(self.prepare_with, prepare),
            lambda texts: self._guarded(self.prepare_as_typed, texts),
        )
        self.note = widgets.HTML()
        self.more = Disclosure()
        first_row = _row(self.thumbnail, self.words, self.upload, *buttons, self.more)
        self.text_row = _row(widgets.Label("text"), named(self.text, "text or ids"))
        name = named(self.name, "variable")
        choices = _row(named(self.sample, "sample input"), widgets.Label("or a variable"), name)
        self.about = widgets.HTML().add_class("fxx-about").add_class("fxx-quiet")
        for row in (self.about, choices, self.preparation):
            row.add_class("fxx-more")
        return [first_row, self.text_row, self.about, choices, self.preparation, self.note]

    def _fit(self) -> None:
        """Offer what suits the example inputs."""
        places = self._base.places
        self.upload.disabled = "picture" not in places
        self.sample.options = [_NO_SAMPLE, *(SAMPLES if "picture" in places else ()), EXAMPLE]
        show(self.text_row, "tokens" in places)
        show(self.preparation, self._base.picture() is not None)
        if self._base.missing:
            self.say(self._base.missing)

    def offer(self, inputs: ExampleInputs) -> None:
        """Take example inputs that were not known before.

        Args:
            inputs: the inputs.
        """
        if inputs is self._base:
            return
        self.base_on(inputs)
        self._fit()

    def use_variable(self, name: str, variables: Mapping[str, Any] | None = None) -> None:
        """Take a variable of the notebook.

        Args:
            name: of the variable; a path of attributes will do.
            variables: by default those of the shell.
        """
        super().use_variable(name, self._variables() if variables is None else variables)

    def show(self, chosen: ExampleInputs | None) -> None:
        """Show an input.

        Args:
            chosen: the input; None if there is none yet.
        """
        if chosen is None:
            self.words.value = '<div class="fxx-words fxx-quiet">no input yet</div>'
            self.thumbnail.value = ""
            return
        first = chosen.name or chosen.label
        prepared = chosen.prepared_by.words if chosen.prepared_by else ""
        source = chosen.source.removeprefix(first).strip(" ()")
        second = " · ".join(filter(None, [chosen.shapes, *chosen.notes, source, prepared]))
        first, second = html.escape(first), html.escape(second)
        self.words.value = (
            f'<div class="fxx-words" title="{second}"><div><b>{first}</b></div>'
            f'<div class="fxx-quiet">{second}</div></div>'
        )
        self.about.value = second  # with room for all of it
        seen = chosen.picture()
        self.thumbnail.value = "" if seen is None else _thumbnail(seen)

    def say(self, words: str) -> None:
        """Show a message in a line."""
        self.note.value = f'<div class="fxx-note fxx-quiet">{html.escape(words)}</div>'

    def complain(self, problem: Exception) -> None:
        """Show an error."""
        self.note.value = problem_html(problem)

    def forget_problem(self) -> None:
        """Remove the last error: something else is being done."""
        self.note.value = self.upload.refused = ""

    def _variables(self) -> Mapping[str, Any]:
        shell = self.shell or present_shell()
        variables: Mapping[str, Any] = {} if shell is None else shell.user_ns
        return variables

    def _listen(self) -> None:
        when, on = self._when, "value"
        self.name.observe(lambda c: when(c["new"].strip(), self.use_variable, c["new"]), on)
        self.text.observe(lambda c: when(c["new"].strip(), self.use_text, c["new"]), on)
        self.sample.observe(lambda c: when(c["new"] != _NO_SAMPLE, self._sample, c["new"]), on)
        self.more.observe(lambda _: self._fill(), "unfolded")

    def _sample(self, kind: str) -> None:
        self.sample.value = _NO_SAMPLE
        self.use_sample(kind)

    def _fill(self) -> None:
        """Show the variables that could be meant, and how the next picture is prepared."""
        if not self.more.unfolded:
            return
        self.name.options = [
            name
            for name, value in self._variables().items()
            if not name.startswith("_") and _is_suitable(value)
        ]
        if self._base.picture() is not None:
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
        self._fill()


def _is_suitable(value: Any) -> bool:
    if isinstance(value, (str, bytes)):
        return False
    return (
        isinstance(value, torch.Tensor)
        or is_picture_like(value, maybe=False)
        or (hasattr(value, "__array_interface__") and getattr(value, "ndim", 0) > 0)
    )


def _thumbnail(seen: torch.Tensor) -> str:
    from PIL import ImageOps
    from torchvision.transforms.v2.functional import to_pil_image

    side = min(_SIDE, *seen.shape[-2:])
    picture = ImageOps.fit(to_pil_image(seen), (side, side))
    png = io.BytesIO()
    picture.save(png, "png")
    data = base64.b64encode(png.getvalue()).decode()
    return f'<img alt="What the model sees" src="data:image/png;base64,{data}">'


def _row(*parts: widgets.Widget) -> widgets.HBox:
    return widgets.HBox(parts).add_class("fxx-row")
