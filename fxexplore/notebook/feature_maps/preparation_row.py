"""The numbers by which a picture is prepared, to look at and to change."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ipywidgets as widgets

from fxexplore.inputs import Preprocessing, preprocessing_from_text

from .controls import named

_YOURS = "your numbers"


class PreparationRow(widgets.HBox):
    """A choice among presets, and a field for each number.

    Args:
        on_change: called with the way that was chosen or typed.
        on_problem: called with the error of numbers that are none.

    Example:
        >>> row = PreparationRow(lambda prepare: print(prepare.words), print)
        >>> row.offer([Preprocessing((8,), (8, 8))], channels=3)
        >>> row.fill(Preprocessing((8,), (8, 8)))
        >>> row.fields["mean"].value = "0.5"
        resize 8 · crop 8×8 · mean 0.5, deviation 0.229 0.224 0.225
        >>> row.fields["std"].value = "0"
        std is '0'; every number must be above 0
    """

    def __init__(
        self,
        on_change: Callable[[Preprocessing], None],
        on_problem: Callable[[Exception], None],
    ) -> None:
        self._on_change = on_change
        self._on_problem = on_problem
        self._presets: list[Preprocessing] = []
        self._channels = 3
        self._way = "bilinear"
        self._filling = False
        self.preset = named(widgets.Dropdown(layout=_width("200px")), "preparation")
        widths = {"resize": "70px", "crop": "84px", "mean": "150px", "std": "150px"}
        self.fields = {
            name: widgets.Text(continuous_update=False, layout=_width(width))
            for name, width in widths.items()
        }
        parts: list[widgets.Widget] = [self.preset]
        for name, text in self.fields.items():
            word = "deviation" if name == "std" else name
            parts += [widgets.Label(word), named(text, word)]
        super().__init__(parts)
        self.add_class("fxx-row")
        self.preset.observe(self._on_preset, "value")
        for text in self.fields.values():
            text.observe(self._on_field, "value")

    def offer(self, presets: list[Preprocessing], channels: int) -> None:
        """Offer presets.

        Args:
            presets: the likeliest first.
            channels: how many channels the model takes.
        """
        self._presets, self._channels = presets, channels
        self._filling = True
        try:
            self.preset.options = [*[preset.source for preset in presets], _YOURS]
        finally:
            self._filling = False

    def fill(self, prepare: Preprocessing) -> None:
        """Show numbers in the fields."""
        self._filling = True
        try:
            sources = [preset.source for preset in self._presets]
            self.preset.value = prepare.source if prepare.source in sources else _YOURS
            for name, text in prepare.texts.items():
                self.fields[name].value = text
            self._way = prepare.interpolation
        finally:
            self._filling = False

    def _on_preset(self, change: dict[str, Any]) -> None:
        chosen = next((p for p in self._presets if p.source == change["new"]), None)
        if chosen is not None and not self._filling:
            self.fill(chosen)
            self._on_change(chosen)

    def _on_field(self, _: dict[str, Any]) -> None:
        if self._filling:
            return
        text = {name: field.value for name, field in self.fields.items()}
        try:
            prepare = preprocessing_from_text(
                **text, interpolation=self._way, channels=self._channels
            )
        except ValueError as problem:
            self._on_problem(problem)
        else:
            self._on_change(prepare)


def _width(width: str) -> widgets.Layout:
    return widgets.Layout(width=width, flex="0 0 auto")
