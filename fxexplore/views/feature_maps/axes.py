"""Small parts of Axes: ticks with names, colour bars, and what numbers axes can span."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch

from .style import Style, shortened, text_width
from .ways_to_look import Limits

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_LABELS = 40
_LARGEST = 1e300
_NARROW = 3.0  # inches, below which axes have fewer numbers


def bounded(values: torch.Tensor) -> torch.Tensor:
    """Values that axes can span; what is not finite is left out."""
    bounded = values.double().clamp(-_LARGEST, _LARGEST)
    return torch.where(values.isfinite(), bounded, math.nan)


def inches(axes: Axes) -> tuple[float, float]:
    """Width and height of Axes, before their aspect is applied."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    box = axes.get_position(original=True)
    width, height = figure.get_size_inches()
    return float(box.width * width), float(box.height * height)


def whole_numbers(axis: Any) -> None:
    """Let an axis have ticks at whole numbers, as many as there is room for."""
    from matplotlib.ticker import MaxNLocator

    ticks = 8 if inches(axis.axes)[0] > _NARROW else 4
    axis.set_major_locator(MaxNLocator(integer=True, nbins=ticks, min_n_ticks=1))


def reach(values: Sequence[torch.Tensor], *setters: Callable[..., Any]) -> None:
    """Let axes reach over all of several sets of values, and zero."""
    if values:
        joined = torch.cat([bounded(v[v.isfinite()]).flatten() for v in values])
        low, high = min(joined.amin().item(), 0), max(joined.amax().item(), 0)
        room = 0.05 * (high - low) or 0.5
        for setter in setters:
            setter(low - room * (low < 0), high + room * (high > 0))


def label_width(labels: Sequence[str], style: Style) -> float:
    """Inches that the names of tokens take beside their axis."""
    if not labels:
        return 0.0
    return 0.12 + min(1.2, max(text_width(str(name), style.small * 0.9) for name in labels))


def name_axis(axes: Axes, which: str, labels: Sequence[str], style: Style) -> None:
    """Put names, such as those of tokens, at the ticks of ``"x"`` or ``"y"``."""
    axis = axes.yaxis if which == "y" else axes.xaxis
    step = math.ceil(len(labels) / MOST_LABELS)
    places = range(0, len(labels), step)
    names = [shortened(str(labels[i]), style.small * 0.9, 1.2) for i in places]
    axis.set_ticks(places, names, fontsize=style.small * 0.9)
    for label in axis.get_ticklabels():
        label.set(parse_math=False, usetex=False, rotation=90 if which == "x" else 0)


def name_ticks(axes: Axes, labels: Sequence[str], style: Style, *, both: bool = True) -> None:
    """Put names at the columns of an image, and at its rows too if ``both``."""
    name_axis(axes, "x", labels, style)
    if both:
        name_axis(axes, "y", labels, style)
    else:
        axes.yaxis.set_visible(False)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)


def colour_bar(
    axes: Axes, colours: Any, limits: Limits | None, style: Style, *, diverging: bool
) -> None:
    """What the colours stand for, beside the Axes."""
    import numpy as np

    width, height = inches(axes)
    width, height = max(width, 0.1), max(height, 0.1)
    tall = min(1.0, 1.8 / height)
    bar = axes.inset_axes((1 + 0.08 / width, 1 - tall, 0.09 / width, tall))
    bar.imshow(
        np.linspace(0, 1, 128)[:, None], cmap=colours, aspect="auto", origin="lower",
        extent=(0, 1, 0, 1),
    )  # fmt: skip
    places = [0.0, 0.5, 1.0] if diverging else [0.0, 1.0]
    if limits is None:
        names = ["−max", "0", "max"] if diverging else ["min", "max"]
    else:
        middle = [0.0] if diverging else []
        names = [f"{value:.2g}".replace("-", "−") for value in (limits.low, *middle, limits.high)]
    bar.yaxis.tick_right()
    bar.set_yticks(places, names, fontsize=style.small * 0.85)
    bar.tick_params(length=2, pad=2)
    bar.xaxis.set_visible(False)
    for label, place in zip(bar.get_yticklabels(), places, strict=True):
        # Numbers stay within the height of the bar.
        label.set(va={0.0: "bottom", 1.0: "top"}.get(place, "center"))
    for spine in bar.spines.values():
        spine.set_visible(False)
