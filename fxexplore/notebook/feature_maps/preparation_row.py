"""The numbers by which a picture is prepared, to look at and to change."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import ipywidgets as widgets

from fxexplore.inputs import Preprocessing

from .controls import labelled, named, width_of

_YOURS = "your numbers"
_WIDTHS = {"resize": "70px", "crop": "84px", "mean": "150px", "std": "150px"}


class PreparationRow(widgets.HBox):
    """A choice among presets, and a field for each number.

    Args:
        on_preset: called with the preset that was chosen.
        on_typed: called with the texts of the fields when one was changed.

    Example:
        >>> row = PreparationRow(print, lambda texts: print(texts["mean"]))
        >>> row.fill(Preprocessing((8,), (8, 8)), [Preprocessing((8,), (8, 8))])
        >>> row.fields["mean"].value = "0.5"
        0.5
    """

    def __init__(
        self,
        on_preset: Callable[[Preprocessing], None],
        on_typed: Callable[[dict[str, str]], None],
    ) -> None:
        self._on_preset = on_preset
        self._on_typed = on_typed
        self._presets: dict[str, Preprocessing] = {}
        self._filling = False
        self.preset = named(widgets.Dropdown(layout=width_of("200px")), "preparation")
        self.fields = {
            name: widgets.Text(continuous_update=False, layout=width_of(width))
            for name, width in _WIDTHS.items()
        }
        parts: list[widgets.Widget] = [self.preset]
        for name, text in self.fields.items():
            word = "deviation" if name == "std" else name
            parts.append(labelled(word, named(text, word)))
        super().__init__(parts)
        self.add_class("fxx-row")
        for control in (self.preset, *self.fields.values()):
            control.observe(self._on_change, "value")

    def fill(self, prepare: Preprocessing, presets: Sequence[Preprocessing]) -> None:
        """Show a way to prepare pictures.

        Args:
            prepare: the way.
            presets: what else can be chosen, the likeliest first.
        """
        self._presets = {preset.source: preset for preset in presets}
        self._filling = True
        try:
            self.preset.options = [*self._presets, _YOURS]
            self.preset.value = prepare.source if prepare.source in self._presets else _YOURS
            for name, text in prepare.texts.items():
                self.fields[name].value = text
        finally:
            self._filling = False

    def _on_change(self, change: dict[str, Any]) -> None:
        if self._filling:
            return
        if change["owner"] is not self.preset:
            self._on_typed({name: field.value for name, field in self.fields.items()})
        elif change["new"] in self._presets:
            self._on_preset(self._presets[change["new"]])
