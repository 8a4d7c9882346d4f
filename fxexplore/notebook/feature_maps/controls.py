"""The controls of feature maps: run, how to draw, and what to take away."""

from __future__ import annotations

import dataclasses
import html
from typing import Any, TypeVar, get_args

import ipywidgets as widgets
import traitlets

from fxexplore.notebook.problems import problem_html
from fxexplore.notebook.small_widgets import CopyButton, SaveButton
from fxexplore.notebook.task import Progress
from fxexplore.views.feature_maps import Extent, PlotOptions, Sort, View

from .runs import Runs

_VIEWS = [(view.replace("pca", "PCA"), view) for view in get_args(View)]
_SCALES = [("each channel", "channel"), ("shared", "shared")]
_ABOUT_LIMIT = (
    "Memory for the values of the last run and of the one that is kept, which are drawn anew "
    "without another run. They stay on the device that the model has computed them on. "
    "Above the limit, those that were used longest ago are dropped."
)
_MOST_CHANNELS = 4096
_KINDS = [("PNG", "png"), ("SVG", "svg"), ("PDF", "pdf")]
_MEGABYTE = 1_000_000

Control = TypeVar("Control", bound=widgets.Widget)


class MapControls(traitlets.HasTraits):
    """The widgets around the pictures; the panel gives them their work.

    Args:
        save: the button that saves the figure.

    Example:
        >>> controls = MapControls(SaveButton(lambda: ""))
        >>> controls.sort.value = "energy"
        >>> controls.options
        PlotOptions(view='channels', channels=24, sort='energy', ...)
    """

    options = traitlets.Instance(PlotOptions, ())
    """How feature maps are drawn, as the controls say."""

    running = traitlets.Bool(False)
    """Whether a run is on its way, so that the button stops it."""

    message = traitlets.Unicode()
    """How things are, in a line."""

    problem = traitlets.Any()
    """The error that is shown; None if there is none."""

    def __init__(self, save: SaveButton) -> None:
        super().__init__()
        self.save = save
        self._filling = self._has_picture = False
        self.run = _button("Run", "Run the model as far as the ticked nodes need", "primary")
        self.view = widgets.ToggleButtons(
            options=_VIEWS, style={"button_width": "auto"}, layout=width_of("auto")
        )
        self.view.add_class("fxx-segments")
        rows = [self._make_options(), [*self._make_actions(), self._make_limit()]]
        self.folded = widgets.VBox([widgets.HBox(row).add_class("fxx-row") for row in rows])
        self.folded.add_class("fxx-more")
        self._bar = widgets.IntProgress(min=0, layout=widgets.Layout(width="160px", display="none"))
        # Hidden while they are empty: an empty line would be as high as a full one.
        self.status_line = widgets.HTML(layout=widgets.Layout(display="none"))
        self.problem_line = widgets.HTML(layout=widgets.Layout(display="none"))
        self._line = widgets.HBox([self._bar, self.status_line, self._make_comparison()])
        self._line.add_class("fxx-row").add_class("fxx-status")
        self.status = widgets.VBox([self._line, self.problem_line])

    def _make_options(self) -> list[widgets.Widget]:
        self.sort = _choice("sort by", get_args(Sort), "82px")
        self.scale = _choice("scale of colours", _SCALES, "104px")
        self.count = _number("channels shown", "54px", 24, 1, _MOST_CHANNELS)
        self.item = _number("item of the batch", "48px", 0, 0, 0)
        query = widgets.Text(placeholder="none", layout=width_of("48px"), continuous_update=False)
        self.query = named(query, "query token")
        opacity = widgets.FloatSlider(
            1.0, min=0, max=1, step=0.05, continuous_update=False, layout=width_of("130px")
        )
        self.opacity = named(opacity, "opacity over the picture")
        self.captions = widgets.Checkbox(
            True, description="captions", indent=False, layout=width_of("auto"),
            tooltip="Facts and notes below each name",
        )  # fmt: skip
        self._fields = {
            "view": self.view, "channels": self.count, "sort": self.sort, "scale": self.scale,
            "index": self.item, "query": self.query, "opacity": self.opacity,
            "captions": self.captions,
        }  # fmt: skip
        for widget in self._fields.values():
            widget.observe(self._on_control, "value")
        self._of = widgets.HTML()
        shown = labelled("show", self.count, self._of)
        sort, scale = labelled("sort", self.sort), labelled("scale", self.scale)
        self.of_channels = widgets.HBox([shown, sort, scale])
        self.items = labelled("item", self.item)
        self.queries = labelled("query", self.query)
        self.over = labelled("opacity", self.opacity)
        return [self.of_channels, self.items, self.queries, self.over, self.captions]

    def _make_actions(self) -> list[widgets.Widget]:
        self.kind = _choice("kind of file", _KINDS, "64px")
        self.dpi = _number("dots per inch", "58px", 200, 20, 1200)
        dots = labelled("dpi", self.dpi)
        self.kind.observe(lambda change: show(dots, change["new"] == "png"), "value")
        self.copy = CopyButton(label="Copy figure code")
        self.keep = _button("Keep run", "Keep this run, to compare the next with it")
        return [widgets.HBox([self.save, self.kind, dots]), self.copy, self.keep]

    def _make_comparison(self) -> widgets.HBox:
        """What is there once a run is kept."""
        self.compare = widgets.ToggleButton(
            tooltip="Show the run that was kept beside this one", layout=width_of("auto")
        )
        self.discard = _button("Discard kept run", "Drop the run that was kept")
        self.comparison = widgets.HBox([self.compare, self.discard])
        self.comparison.layout.display = "none"
        return self.comparison

    def _make_limit(self) -> widgets.HBox:
        """How much memory the values take, and a field for how much they may."""
        self.held = widgets.HTML()
        self.limit = _number("most megabytes of values kept", "66px", 512, 1, 10**6)
        self.limit.tooltip = _ABOUT_LIMIT
        return widgets.HBox([self.held, self.limit]).add_class("fxx-kept")

    @traitlets.observe("message")
    def _show_message(self, change: dict[str, Any]) -> None:
        words = html.escape(change["new"])
        line = f'<div class="fxx-note fxx-quiet" role="status">{words}</div>' if words else ""
        self.status_line.value = line
        show(self.status_line, bool(words))

    @traitlets.observe("problem")
    def _show_problem(self, change: dict[str, Any]) -> None:
        problem = change["new"]
        self.problem_line.value = "" if problem is None else problem_html(problem)
        show(self.problem_line, problem is not None)

    def show_progress(self, progress: Progress) -> None:
        """Show how far a run is."""
        calls, total = progress.calls, progress.total
        show(self._bar, True)
        self._bar.max = max(total, calls, 1)
        self._bar.value = calls
        words = f"{progress.at} · {calls} of {total} leaf modules" if calls else "running…"
        self.message = "stopping at the next module…" if progress.stop.is_set() else words

    def show_state(self, runs: Runs, extent: Extent) -> None:
        """Fit the controls to what there is to draw, and show what is held.

        Args:
            runs: the last run, and the one that is kept.
            extent: of the values that are shown; without channels nothing is.
        """
        self._has_picture = runs.last is not None and runs.last.inputs.picture() is not None
        self._show_over()
        self.item.max = max(extent.items - 1, self.options.index, 0)
        show(self.items, extent.items > 1)
        show(self.queries, extent.has_attention or self.options.query is not None)
        self._of.value = _quiet(f"of {extent.channels}" if extent.channels else "")
        where = f" on {', '.join(runs.devices)}" if runs.devices else ""
        words = f"values kept: {runs.bytes / _MEGABYTE:.1f} MB{where}, at most"
        self.held.value = _quiet(words, _ABOUT_LIMIT)
        self.keep.disabled = not runs.bytes
        show(self.comparison, runs.kept is not None)
        if runs.kept is not None:
            self.compare.description = f"Compare with {runs.kept.label}"

    @traitlets.observe("running")
    def _on_running(self, change: dict[str, Any]) -> None:
        self.run.description = "Stop" if change["new"] else "Run"
        self.run.button_style = "warning" if change["new"] else "primary"
        (self._line.add_class if change["new"] else self._line.remove_class)("fxx-running")
        self._bar.layout.display = "none"
        self._bar.value = 0

    def _on_control(self, change: dict[str, Any]) -> None:
        """Change the one option that this control is for."""
        if self._filling:
            return
        field = next(name for name, control in self._fields.items() if control is change["owner"])
        value = change["new"]
        self.problem = None
        if field == "query":
            text = value.strip()
            if text and not text.isdecimal():
                words = f"query is {text!r}; write the whole number of a token, or nothing"
                self.problem = ValueError(words)
                return
            value = int(text) if text else None
        self.options = dataclasses.replace(self.options, **{field: value})

    @traitlets.observe("options")
    def _on_options(self, change: dict[str, Any]) -> None:
        new: PlotOptions = change["new"]
        self._filling = True
        try:
            self.item.max = max(self.item.max, new.index)
            values = {name: getattr(new, name) for name in self._fields}
            values["query"] = "" if new.query is None else str(new.query)
            values["opacity"] = new.drawn_opacity
            if not isinstance(new.channels, int):
                del values["channels"]
            for name, value in values.items():
                self._fields[name].value = value
        finally:
            self._filling = False
        show(self.of_channels, new.view == "channels")  # the others show all of them
        self._show_over()

    def _show_over(self) -> None:
        """Show the opacity where something can lie over a picture."""
        is_over = self.options.view in ("overlay", "pca") or self.options.query is not None
        show(self.over, is_over and self._has_picture)


def named(control: Control, name: str) -> Control:
    """Give a control a label that is read and not seen (see ``panel.css``).

    Args:
        control: a control of ipywidgets that has a description.
        name: what it is for.

    Example:
        >>> named(widgets.Text(), "query token").description
        'query token'
    """
    control.description = name
    control.add_class("fxx-named")
    return control


def show(widget: widgets.Widget, visible: bool) -> None:
    """Show a row or a part of one, or take it away."""
    widget.layout.display = "flex" if visible else "none"


def _quiet(words: str, title: str = "") -> str:
    return f'<span class="fxx-quiet" title="{title}">{words}</span>'


def labelled(word: str, *parts: widgets.Widget) -> widgets.HBox:
    """Controls with a word in front, which wrap together."""
    return widgets.HBox([widgets.Label(word), *parts])


def _choice(name: str, options: Any, width: str) -> widgets.Dropdown:
    return named(widgets.Dropdown(options=options, layout=width_of(width)), name)


def _number(name: str, width: str, value: int, least: int, most: int) -> widgets.BoundedIntText:
    field = widgets.BoundedIntText(
        value=value, min=least, max=most, layout=width_of(width), continuous_update=False
    )
    return named(field, name)


def _button(word: str, tooltip: str, style: str = "") -> widgets.Button:
    return widgets.Button(
        description=word, tooltip=tooltip, button_style=style, layout=width_of("auto")
    )


def width_of(width: str, flex: str = "0 0 auto") -> widgets.Layout:
    """A layout that is as wide as it says, or takes the room that there is."""
    return widgets.Layout(width=width, flex=flex)
