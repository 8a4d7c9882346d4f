"""The controls of feature maps: run, ways to look, and what to take away."""

from __future__ import annotations

import dataclasses
import html
from collections.abc import Mapping
from typing import Any

import ipywidgets as widgets
import torch
import traitlets

from fxexplore.feature_extraction import tensors_in
from fxexplore.notebook.problems import problem_html
from fxexplore.notebook.task import Task

from .labels import named
from .pictures import Look

_VIEWS = [
    ("channels", "channels"),
    ("mean", "mean"),
    ("PCA", "pca"),
    ("overlay", "overlay"),
    ("histogram", "histogram"),
]
_SORTS = ["index", "energy", "variance", "sparsity"]
_SCALES = [("each channel", "channel"), ("shared", "shared")]
_ABOUT_LIMIT = (
    "Memory for the values of the last run, which are drawn anew without another run. "
    "Above the limit, what was looked at longest ago is let go."
)
_MOST_CHANNELS = 4096
_MEGABYTE = 1_000_000
_NEAR = 0.01
_WIDE = 4  # dimensions of attention maps and of batches of maps


class MapControls(traitlets.HasTraits):
    """The widgets around the pictures; the panel gives them their work.

    Example:
        >>> controls = MapControls()
        >>> controls.sort.value = "energy"
        >>> controls.look.options()
        {'sort': 'energy'}
    """

    look = traitlets.Instance(Look, ())
    """How feature maps are looked at, as the controls say."""

    running = traitlets.Bool(False)
    """Whether a run is on its way, so that the button stops it."""

    def __init__(self) -> None:
        super().__init__()
        self._filling = False
        self.run = _button("Run", "Run the model as far as the ticked nodes need", "primary")
        self.toolbar = widgets.HBox([*self._make_looks(), *self._make_actions()])
        self.toolbar.add_class("fxx-row")
        self._bar = widgets.IntProgress(min=0, layout=widgets.Layout(width="160px", display="none"))
        self._said = widgets.HTML(layout=widgets.Layout(display="none"))
        # An empty line would be as high as a full one.
        self._complaint = widgets.HTML(layout=widgets.Layout(display="none"))
        self._line = widgets.HBox([self._bar, self._said, self._make_limit()])
        self._line.add_class("fxx-row")
        self._line.add_class("fxx-status")
        self.status = widgets.VBox([self._line, self._complaint])
        self.code = widgets.HTML()

    def _make_looks(self) -> list[widgets.Widget]:
        self.view = widgets.ToggleButtons(
            options=_VIEWS, style={"button_width": "auto"}, layout=widgets.Layout(width="auto")
        )
        self.view.add_class("fxx-segments")
        self.sort = widgets.Dropdown(options=_SORTS, layout=_width("82px"))
        self.scale = widgets.Dropdown(options=_SCALES, layout=_width("104px"))
        self.count = widgets.BoundedIntText(
            value=24, min=1, max=_MOST_CHANNELS, layout=_width("54px"), continuous_update=False
        )
        self._of = widgets.HTML()
        self.item = widgets.BoundedIntText(
            value=0, min=0, max=0, layout=_width("48px"), continuous_update=False
        )
        self.query = widgets.Text(
            placeholder="none", layout=_width("48px"), continuous_update=False
        )
        self._items = widgets.HBox([widgets.Label("item"), self.item])
        self._queries = widgets.HBox([widgets.Label("query"), self.query])
        names = {"sort": "sort by", "scale": "scale of colours", "count": "channels shown"}
        for attribute, name in {
            **names,
            "item": "item of the batch",
            "query": "query token",
        }.items():
            named(getattr(self, attribute), name)
        for widget in (self.view, self.sort, self.scale, self.count, self.item, self.query):
            widget.observe(self._on_control, "value")
        return [
            self.view,
            _labelled("sort", self.sort),
            _labelled("scale", self.scale),
            _labelled("show", self.count, self._of),
            self._items,
            self._queries,
        ]

    def _make_actions(self) -> list[widgets.Widget]:
        self.save_png = _button("Save PNG", "Save all that is shown as one picture")
        self.save_svg = _button("Save SVG", "Save all that is shown as one drawing")
        self.copy = _button("Copy code", "Copy the code that makes this figure")
        self.keep = _button("Keep run", "Keep this run, to compare the next with it")
        self.compare = widgets.ToggleButton(
            description="Compare", tooltip="Show the run that was kept beside this one",
            layout=_width("auto"), disabled=True,
        )  # fmt: skip
        actions = [self.save_png, self.save_svg, self.copy, self.keep, self.compare]
        return [_group(*actions)]

    def _make_limit(self) -> widgets.HBox:
        """How much memory the values take, and a field for how much they may."""
        self._kept = widgets.HTML()
        self.limit = widgets.BoundedIntText(
            value=512, min=1, max=10**6, layout=_width("66px"), continuous_update=False
        )
        named(self.limit, "most megabytes of values kept")
        self.limit.tooltip = _ABOUT_LIMIT
        unit = widgets.HTML(f'<span class="fxx-quiet" title="{_ABOUT_LIMIT}">MB</span>')
        kept = widgets.HBox([self._kept, self.limit, unit])
        kept.add_class("fxx-kept")
        return kept

    def say(self, words: str) -> None:
        """Say how things are, in a line."""
        self._said.value = (
            f'<div class="fxx-note fxx-quiet" role="status">{html.escape(words)}</div>'
            if words
            else ""
        )
        _show(self._said, bool(words))

    def complain(self, problem: str) -> None:
        """Show an error.

        Args:
            problem: as HTML; ``""`` takes the last away.
        """
        self._complaint.value = problem
        _show(self._complaint, bool(problem))

    def say_copied(self, done: bool) -> None:
        """Say whether the code is on the clipboard."""
        self.say("copied" if done else "this page may not copy; the code is below")

    def show_progress(self, task: Task[Any]) -> None:
        """Show how far a run is."""
        calls, total = task.calls, task.total
        self._bar.layout.display = "flex"
        self._bar.max = max(total, calls, 1)
        self._bar.value = calls
        if task.stop.is_set():
            self.say("stopping at the next module…")
        else:
            self.say(f"{task.at} · {calls} of {total} leaf modules" if calls else "running…")

    def show_values(self, features: Mapping[str, Any], look: Look) -> None:
        """Fit the controls to what there is to look at.

        Args:
            features: the values that are shown.
            look: how they are looked at.
        """
        tensors = list(tensors_in(list(features.values())))
        batch = max((len(t) for t in tensors if t.ndim > 1), default=1)
        most = max((_channels(t) for t in tensors if t.ndim > 1), default=0)
        self.item.max = max(batch - 1, look.index, 0)
        _show(self._items, batch > 1)
        _show(self._queries, any(_is_attention(t) for t in tensors) or look.query is not None)
        self._of.value = f'<span class="fxx-quiet">of {most}</span>' if most else ""
        for button in (self.save_png, self.save_svg, self.copy):
            button.disabled = not features

    def show_kept(self, held: int, label: str | None) -> None:
        """Show how much is held, and the run that is kept to compare with."""
        self._kept.value = (
            f'<span class="fxx-quiet" title="{_ABOUT_LIMIT}">'
            f"values kept: {held / _MEGABYTE:.1f} of</span>"
        )
        self.compare.disabled = label is None
        self.keep.disabled = label is None and not held
        self.compare.description = "Compare" if label is None else f"Compare with {label}"
        self.keep.description = "Keep run" if label is None else "Forget it"

    @traitlets.observe("running")
    def _on_running(self, change: dict[str, Any]) -> None:
        self.run.description = "Stop" if change["new"] else "Run"
        self.run.button_style = "warning" if change["new"] else "primary"
        (self._line.add_class if change["new"] else self._line.remove_class)("fxx-running")
        self._bar.layout.display = "none"
        self._bar.value = 0

    def _on_control(self, change: dict[str, Any]) -> None:
        """Change the one thing that this control is for."""
        fields = {
            self.view: "view", self.count: "channels", self.sort: "sort", self.scale: "scale",
            self.item: "index", self.query: "query",
        }  # fmt: skip
        field, value = fields[change["owner"]], change["new"]
        if field == "query":
            text = value.strip()
            value = int(text) if text.isdecimal() else None
            wrong = value is None and bool(text)
            words = f"query is {text!r}; write the whole number of a token, such as 7, or nothing"
            self.complain(problem_html(ValueError(words)) if wrong else "")
            if wrong:
                return
        if not self._filling:
            self.look = dataclasses.replace(self.look, **{field: value})

    @traitlets.observe("look")
    def _on_look(self, change: dict[str, Any]) -> None:
        look: Look = change["new"]
        self._filling = True
        try:
            self.view.value, self.sort.value, self.scale.value = look.view, look.sort, look.scale
            if isinstance(look.channels, int):
                self.count.value = look.channels
            self.item.max = max(self.item.max, look.index)
            self.item.value = look.index
            self.query.value = "" if look.query is None else str(look.query)
        finally:
            self._filling = False


def _channels(tensor: torch.Tensor) -> int:
    """How many channels a tensor may have: a word beside a field, no more."""
    if tensor.ndim >= _WIDE:
        first, last = tensor.shape[1], tensor.shape[-1]
        # Channels-last maps are square, and have more channels than rows.
        return int(last if tensor.shape[1] == tensor.shape[2] != last else first)
    return int(tensor.shape[-1])


def _is_attention(tensor: torch.Tensor) -> bool:
    """Whether the rows of square maps sum to one, as those of attention do."""
    if tensor.ndim != _WIDE or not tensor.shape[-1] == tensor.shape[-2] > 1:
        return False
    if tensor.device.type == "meta" or not tensor.is_floating_point() or not tensor.numel():
        return False
    sums = tensor[0, 0].float().sum(dim=-1)
    return bool(((sums - 1).abs() < _NEAR).all())


def _show(widget: widgets.Widget, visible: bool) -> None:
    widget.layout.display = "flex" if visible else "none"


def _labelled(word: str, *parts: widgets.Widget) -> widgets.HBox:
    return widgets.HBox([widgets.Label(word), *parts])


def _group(*parts: widgets.Widget) -> widgets.HBox:
    """Parts that go to the next line together."""
    group = widgets.HBox(parts)
    group.add_class("fxx-group")
    return group


def _button(word: str, tooltip: str, style: str = "") -> widgets.Button:
    return widgets.Button(
        description=word, tooltip=tooltip, button_style=style, layout=_width("auto")
    )


def _width(width: str) -> widgets.Layout:
    return widgets.Layout(width=width, flex="0 0 auto")
