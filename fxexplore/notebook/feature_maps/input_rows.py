"""What the input of a model looks like, and the controls to choose another: rows of widgets."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Callable, Collection

import ipywidgets as widgets
import torch

from fxexplore.inputs import EXAMPLE, SAMPLES, ExampleInputs, Preprocessing
from fxexplore.notebook.problems import problem_html

from .controls import named
from .preparation_row import PreparationRow
from .upload_button import UploadButton

NO_SAMPLE = "Sample"
_FILES = ".png,.jpg,.jpeg,.webp,.bmp,.gif,.tif,.tiff"
_SIDE = 76  # of the thumbnail, in pixels of a dense screen


class InputRows(widgets.VBox):
    """A row that shows an input, with buttons to choose another, and rows that these unfold.

    Args:
        kinds: ``"picture"``, ``"tokens"`` or both: what the model takes.
        takes_sentences: whether a text may be a sentence, not ids alone.
        on_file: called with the name and the bytes of a file.
        on_prepare: called with a way to prepare pictures.
        on_typed: called with numbers that were typed to prepare pictures.
        buttons: what stands at the end of the row.

    Example:
        >>> ignore = lambda *_: None
        >>> rows = InputRows({"tokens"}, on_file=ignore, on_prepare=ignore, on_typed=ignore)
        >>> rows.upload.disabled, rows.sample.options
        (True, ('Sample', 'example inputs'))
    """

    def __init__(
        self,
        kinds: Collection[str],
        *,
        takes_sentences: bool = False,
        on_file: Callable[[str, bytes], None],
        on_prepare: Callable[[Preprocessing], None],
        on_typed: Callable[[dict[str, str]], None],
        buttons: tuple[widgets.Widget, ...] = (),
    ) -> None:
        takes_picture = "picture" in kinds
        self.thumbnail = widgets.HTML(layout=widgets.Layout(flex="0 0 auto"))
        self.thumbnail.add_class("fxx-thumbnail")
        self.words = widgets.HTML(layout=widgets.Layout(flex="1000 1 260px", min_width="120px"))
        self.upload = UploadButton(
            on_file, self.complain, accept=_FILES, disabled=not takes_picture,
            title="A picture: PNG, JPEG or WebP. Drop it on this panel, or paste it, if you like",
        )  # fmt: skip
        self.variable = widgets.ToggleButton(
            description="Variable…", layout=_small(), tooltip="A variable of the notebook"
        )
        samples = [NO_SAMPLE, *(SAMPLES if takes_picture else ()), EXAMPLE]
        self.sample = widgets.Dropdown(options=samples, layout=_small("104px"))
        self.numbers = widgets.ToggleButton(
            description="Prepare…", layout=_small(), disabled=not takes_picture,
            tooltip="How a picture is resized, cropped and normalised",
        )  # fmt: skip
        self.name = widgets.Combobox(
            placeholder="name of a variable, such as batch or data.images",
            continuous_update=False, layout=_wide(),
        )  # fmt: skip
        ids = "a sentence, or ids" if takes_sentences else "ids, as in 101, 7592, 102"
        self.text = widgets.Text(placeholder=ids, continuous_update=False, layout=_wide())
        self.preparation = PreparationRow(on_prepare, on_typed)
        self.note = widgets.HTML()
        variable_row = _row(widgets.Label("variable"), named(self.name, "variable"))
        text_row = _row(widgets.Label("text"), named(self.text, "text or ids"))
        _show(text_row, "tokens" in kinds)
        for button, row in ((self.variable, variable_row), (self.numbers, self.preparation)):
            _show(row, False)
            button.observe(lambda change, row=row: _show(row, change["new"]), "value")
        super().__init__(
            [self._first_row(buttons), variable_row, text_row, self.preparation, self.note]
        )

    def _first_row(self, buttons: tuple[widgets.Widget, ...]) -> widgets.HBox:
        sample = named(self.sample, "sample input")
        choices = widgets.HBox([self.upload, self.variable, sample, self.numbers, *buttons])
        for name in ("fxx-group", "fxx-inputs"):
            choices.add_class(name)
        return _row(self.thumbnail, self.words, choices)

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
        facts = [chosen.shapes, *chosen.notes]
        prepared = chosen.prepared_by.words if chosen.prepared_by else ""
        source = chosen.source.removeprefix(first).strip(" ()")
        second = " · ".join(filter(None, [source, prepared]))
        self.words.value = (
            f'<div class="fxx-words"><b>{html.escape(first)}</b> '
            f"{html.escape(' · '.join(facts))}<br>"
            f'<span class="fxx-quiet">{html.escape(second)}</span></div>'
        )
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


def _thumbnail(seen: torch.Tensor) -> str:
    from PIL import ImageOps
    from torchvision.transforms.v2.functional import to_pil_image

    side = min(_SIDE, *seen.shape[-2:])
    picture = ImageOps.fit(to_pil_image(seen), (side, side))
    png = io.BytesIO()
    picture.save(png, "png")
    data = base64.b64encode(png.getvalue()).decode()
    return f'<img alt="What the model sees" src="data:image/png;base64,{data}">'


def _small(width: str = "auto") -> widgets.Layout:
    return widgets.Layout(width=width, flex="0 0 auto")


def _wide() -> widgets.Layout:
    return widgets.Layout(flex="1 1 200px", width="auto")


def _show(row: widgets.HBox, visible: bool) -> None:
    row.layout.display = "flex" if visible else "none"


def _row(*parts: widgets.Widget) -> widgets.HBox:
    row = widgets.HBox(parts)
    row.add_class("fxx-row")
    return row
