"""Where panels stand in a figure, and which of them is under a point."""

from __future__ import annotations

import dataclasses
import functools
import io
import weakref
from collections.abc import Sequence
from typing import TYPE_CHECKING

from fxexplore.feature_extraction import kind_of

from .charts import Chart
from .style import Style, inches, shortened, text_width, wrapped

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 6.8
_LEAST = 1  # inch
_MARGIN = 0.12
_GAP = 0.22
_NAME = 1.5  # lines of facts that a name takes
_AIR = 0.7  # lines of facts between the last of them and the picture


@dataclasses.dataclass
class Panel:
    """One tensor's chart with its name and facts.

    Attributes:
        key: the key of the features that it shows.
        chart: the chart.
        title: what stands above it.
        side: which of those that are compared it is of.
        facts: what is known of its values.
        notes: how it was read and drawn.
    """

    key: str
    chart: Chart
    title: str
    facts: Sequence[str] = ()
    notes: Sequence[str] = ()
    side: str = ""

    def words(self, width: float, style: Style) -> tuple[str, list[str]]:
        """The name, and below it facts and notes in lines of a width in inches."""
        name = f"{self.title} · {self.side}" if self.side else self.title
        facts: list[str] = []
        if self.side and text_width(name, style.size, bold=True) > width:
            name, facts = self.title, wrapped([self.side], style.small, width)
        name = shortened(name, style.size, width, bold=True)
        facts += wrapped(self.facts, style.small, width)
        return name, facts + wrapped(self.notes, style.small, width)

    def head(self, width: float, style: Style) -> float:
        """Inches that name, facts and notes take above the chart."""
        return (_NAME + len(self.words(width, style)[1]) + _AIR) * style.line

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
        self.chart.draw(axes, style)
        name, lines = self.words(width, style)
        rise = max(head, self.head(width, style)) - _NAME * style.line
        axes.set_title(
            name, loc="left", fontweight="bold", fontsize=style.size,
            pad=rise * 72, x=-left / max(inches(axes)[0], 0.01), **style.words,
        )  # fmt: skip
        for i, line in enumerate(lines):
            up = rise - (i + 1 + _AIR / 3) * style.line
            axes.annotate(
                line, (0, 1), (-left * 72, up * 72), xycoords="axes fraction",
                textcoords="offset points", fontsize=style.small, alpha=0.75, va="bottom",
                annotation_clip=False, **style.words,
            )  # fmt: skip


# Which panel was drawn into which Axes, for as long as these live.
_PANELS: weakref.WeakKeyDictionary[Axes, Panel] = weakref.WeakKeyDictionary()


def figure_of(rows: Sequence[Sequence[Panel]], width: float) -> Figure:
    """Place rows of panels in a figure of their own, which pyplot does not know.

    Args:
        rows: panels that stand side by side, as many in every row.
        width: of the figure, in inches.
    """
    from matplotlib.figure import Figure

    if not isinstance(width, int | float) or not width >= _LEAST:
        raise ValueError(f"width is {width!r}; give inches, at least {_LEAST}, such as {WIDTH}")
    style = Style.of_the_user()
    column = (width - _MARGIN) / len(rows[0]) - _MARGIN
    rooms = [[panel.chart.room(column, style) for panel in panels] for panels in rows]
    heads = [max(panel.head(column, style) for panel in panels) for panels in rows]
    heights = [
        head + max(room.height + room.bottom for room in row) + _GAP
        for head, row in zip(heads, rooms, strict=True)
    ]
    height = _MARGIN + sum(heights)
    figure = Figure(figsize=(width, height))
    # It shows itself in a notebook, whether pyplot was asked for or not.
    vars(figure)["_repr_png_"] = functools.partial(_png_of, figure)
    top = height - _MARGIN
    for panels, row, head, tall in zip(rows, rooms, heads, heights, strict=True):
        left = _MARGIN
        for panel, room in zip(panels, row, strict=True):
            x, y = left + room.left, top - head - room.height
            axes = figure.add_axes(
                (x / width, y / height, room.width / width, room.height / height)
            )
            panel.draw(axes, style, column, head=head, left=room.left)
            left += column + _MARGIN
        top -= tall
    return figure


def _png_of(figure: Figure) -> bytes:
    png = io.BytesIO()
    figure.savefig(png, format="png")
    return png.getvalue()


def draw_into(axes: Axes, panel: Panel) -> Figure:
    """Draw a panel into Axes of somebody else's figure."""
    from matplotlib.axes import Axes as MatplotlibAxes

    figure = axes.get_figure(root=True) if isinstance(axes, MatplotlibAxes) else None
    if figure is None:
        raise TypeError(f"ax is {kind_of(axes)}; give one Axes of a figure, as plt.subplots() does")
    panel.draw(axes, Style.of_the_user(), max(inches(axes)[0], 1.0))
    return figure


def channel_at(figure: Figure, x: float, y: float) -> tuple[str, int] | None:
    """Find the channel under a point of a figure, such as a click on its picture.

    Args:
        figure: what ``plot_feature_maps``, ``plot_channel`` or ``plot_comparison`` returned.
        x: fraction of the figure's width from 0 to 1, from its left.
        y: fraction of its height from 0 to 1, from its top.

    Returns:
        The key of the tensor and the number of the channel; None where there is none.

    Example:
        >>> import torch
        >>> from fxexplore import plot_feature_maps
        >>> figure = plot_feature_maps({"conv1": torch.rand(1, 1, 14, 14)})
        >>> box = figure.axes[0].get_position()
        >>> channel_at(figure, (box.x0 + box.x1) / 2, 1 - (box.y0 + box.y1) / 2)
        ('conv1', 0)
    """
    if figure.get_layout_engine() is not None:
        figure.draw_without_rendering()
    for axes in figure.axes:
        panel = _PANELS.get(axes)
        if panel is None:
            continue
        axes.apply_aspect()
        box = axes.get_position()
        if box.x0 <= x < box.x1 and box.y0 < 1 - y <= box.y1:
            across, down = (x - box.x0) / box.width, (box.y1 - (1 - y)) / box.height
            channel = panel.chart.channel_at(across, down)
            return None if channel is None else (panel.key, channel)
    return None


def channels_in(figure: Figure) -> list[tuple[str, int]]:
    """The channels that a figure shows, in its order.

    Args:
        figure: what ``plot_feature_maps``, ``plot_channel`` or ``plot_comparison`` returned.

    Returns:
        The key of the tensor and the number of the channel, for each.

    Example:
        >>> import torch
        >>> from fxexplore import plot_feature_maps
        >>> channels_in(plot_feature_maps({"a": torch.rand(1, 4, 8, 8)}, channels=[3, 1]))
        [('a', 3), ('a', 1)]
    """
    panels = [_PANELS[axes] for axes in figure.axes if axes in _PANELS]
    shown = [(panel.key, channel) for panel in panels for channel in panel.chart.channels]
    return list(dict.fromkeys(shown))
