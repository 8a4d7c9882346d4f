"""Panels of a figure: what stands above a picture, and where everything is placed."""

from __future__ import annotations

import dataclasses
import weakref
from collections.abc import Sequence
from typing import TYPE_CHECKING

from .axes import inches
from .bodies import Body
from .style import Style, shortened, wrapped

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 6.8
_MARGIN = 0.12
_GAP = 0.22
_NAME = 1.5  # lines of facts that a name takes
_AIR = 0.7  # likewise, between the last line and the picture, and below the name

# Which panel was drawn into which Axes, for as long as these live.
_PANELS: weakref.WeakKeyDictionary[Axes, Panel] = weakref.WeakKeyDictionary()


@dataclasses.dataclass
class Panel:
    """One tensor's picture with its name and facts.

    Attributes:
        key: the key of the features that it shows.
        body: the picture.
        title: what stands above it.
        facts: what is known of its values.
        notes: how it was read and drawn.
    """

    key: str
    body: Body
    title: str
    facts: Sequence[str] = ()
    notes: Sequence[str] = ()

    def lines(self, width: float, style: Style) -> list[str]:
        """Facts and notes, in lines of a width in inches."""
        facts = wrapped(self.facts, style.small, width)
        return facts + wrapped(self.notes, style.small, width)

    def head(self, width: float, style: Style) -> float:
        """Inches that name, facts and notes take above the picture."""
        return (_NAME + len(self.lines(width, style)) + _AIR) * style.line

    def draw(
        self, axes: Axes, style: Style, width: float, *, head: float = 0.0, left: float = 0.0
    ) -> None:
        """Draw into Axes.

        Args:
            axes: where.
            style: how.
            width: inches that a line of text may take.
            head: inches from the Axes to the top of the name, if more than it needs.
            left: inches by which text starts left of the Axes.
        """
        _PANELS[axes] = self
        axes.patch.set_alpha(0)
        self.body.draw(axes, style)
        rise = max(head, self.head(width, style)) - _NAME * style.line
        title = shortened(self.title, style.size, width, bold=True)
        axes.set_title(
            title, loc="left", fontsize=style.size, fontweight="bold", pad=rise * 72,
            x=-left / max(inches(axes)[0], 0.01), **style.words,
        )  # fmt: skip
        for i, line in enumerate(self.lines(width, style)):
            up = rise - (i + 1 + _AIR / 3) * style.line
            axes.annotate(
                line, (0, 1), (-left * 72, up * 72), xycoords="axes fraction",
                textcoords="offset points", fontsize=style.small, alpha=0.75, va="bottom",
                annotation_clip=False, **style.words,
            )  # fmt: skip


def figure_of(rows: Sequence[Sequence[Panel]], style: Style, width: float = WIDTH) -> Figure:
    """Place rows of panels in a figure of their own, which pyplot does not know.

    Args:
        rows: panels that stand side by side.
        style: how they look.
        width: of the figure, in inches.
    """
    from .figure import FeatureMaps

    places = [_Row(panels, style, width) for panels in rows]
    height = _MARGIN + sum(row.height + _GAP for row in places)
    figure = FeatureMaps(figsize=(width, height))
    top = height - _MARGIN
    for row in places:
        row.draw(figure, top, (width, height))
        top -= row.height + _GAP
    return figure


class _Row:
    """Panels side by side, their pictures on one line."""

    def __init__(self, panels: Sequence[Panel], style: Style, width: float) -> None:
        self._panels = panels
        self._style = style
        self._column = (width - _MARGIN) / len(panels) - _MARGIN
        self._pads = [panel.body.pads(style) for panel in panels]
        self._sizes = [
            panel.body.size(max(self._column - pads.left - pads.right, 0.3))
            for panel, pads in zip(panels, self._pads, strict=True)
        ]
        self._head = max(panel.head(self._column, style) for panel in panels)
        bodies = zip(self._sizes, self._pads, strict=True)
        self.height = self._head + max(size[1] + pads.bottom for size, pads in bodies)

    def draw(self, figure: Figure, top: float, size: tuple[float, float]) -> None:
        left = _MARGIN
        parts = zip(self._panels, self._sizes, self._pads, strict=True)
        for panel, (width, height), pads in parts:
            bottom = top - self._head - height
            place = (
                (left + pads.left) / size[0], bottom / size[1], width / size[0], height / size[1]
            )  # fmt: skip
            axes = figure.add_axes(place)
            panel.draw(axes, self._style, self._column, head=self._head, left=pads.left)
            left += self._column + _MARGIN


def draw_into(axes: Axes, panel: Panel, style: Style) -> Figure:
    """Draw a panel into Axes of somebody else's figure."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    panel.draw(axes, style, max(inches(axes)[0], 1.0))
    return figure


def panel_at(figure: Figure, x: float, y: float) -> tuple[Panel, float, float] | None:
    """The panel under a point, and where in its Axes that is, in fractions from the top left.

    Args:
        figure: as :func:`figure_of` made it.
        x: fraction of the figure's width, from its left.
        y: fraction of its height, from its top.
    """
    if figure.get_layout_engine() is not None:
        figure.draw_without_rendering()
    for axes in figure.axes:
        if axes not in _PANELS:
            continue
        axes.apply_aspect()
        box = axes.get_position()
        if box.x0 <= x < box.x1 and box.y0 < 1 - y <= box.y1:
            return _PANELS[axes], (x - box.x0) / box.width, (box.y1 - (1 - y)) / box.height
    return None
