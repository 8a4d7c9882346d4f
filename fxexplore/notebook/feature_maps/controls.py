"""The controls of feature maps: run, how to draw, and what to take away."""

from __future__ import annotations

import dataclasses
import html
from collections.abc import Sequence
from typing import Any, TypeVar, get_args

import ipywidgets as widgets
import traitlets

from fxexplore.notebook.problems import problem_html
from fxexplore.notebook.small_widgets import CopyButton, SaveButton
from fxexplore.notebook.task import Progress
from fxexplore.views.feature_maps import Extent, PlotOptions, Sort, View

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
            options=_VIEWS, style={"button_width": "auto"}, layout=_width("auto")
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
        self.sort = named(
            widgets.Dropdown(options=get_args(Sort), layout=_width("82px")), "sort by"
        )
        scales = widgets.Dropdown(options=_SCALES, layout=_width("104px"))
        self.scale = named(scales, "scale of colours")
        self.count = named(_number("54px", 24, 1, _MOST_CHANNELS), "channels shown")
        self.item = named(_number("48px", 0, 0, 0), "item of the batch")
        query = widgets.Text(placeholder="none", layout=_width("48px"), continuous_update=False)
        self.query = named(query, "query token")
        self._of = widgets.HTML()
        self.items = labelled("item", self.item)
        self.queries = labelled("query", self.query)
        opacity = widgets.FloatSlider(
            1.0, min=0, max=1, step=0.05, continuous_update=False, layout=_width("130px")
        )
        self.opacity = named(opacity, "opacity over the picture")
        self.over = labelled("opacity", self.opacity)
        self.captions = widgets.Checkbox(
            True, description="captions", indent=False, layout=_width("auto"),
            tooltip="Facts and notes below each name",
        )  # fmt: skip
        self._fields = {
            "view": self.view, "channels": self.count, "sort": self.sort, "scale": self.scale,
            "index": self.item, "query": self.query, "opacity": self.opacity,
            "captions": self.captions,
        }  # fmt: skip
        for widget in self._fields.values():
            widget.observe(self._on_control, "value")
        self.of_channels = widgets.HBox(
            [
                labelled("show", self.count, self._of),
                labelled("sort", self.sort),
                labelled("scale", self.scale),
            ]
        )
        return [self.of_channels, self.items, self.queries, self.over, self.captions]

    def _make_actions(self) -> list[widgets.Widget]:
        self.kind = named(widgets.Dropdown(options=_KINDS, layout=_width("64px")), "kind of file")
        self.dpi = named(_number("58px", 200, 20, 1200), "dots per inch")
        dots = labelled("dpi", self.dpi)
        self.kind.observe(lambda change: _show(dots, change["new"] == "png"), "value")
        self.copy = CopyButton(label="Copy figure code")
        self.keep = _button("Keep run", "Keep this run, to compare the next with it")
        return [widgets.HBox([self.save, self.kind, dots]), self.copy, self.keep]

    def _make_comparison(self) -> widgets.HBox:
        """What is there once a run is kept."""
        self.compare = widgets.ToggleButton(
            tooltip="Show the run that was kept beside this one", layout=_width("auto")
        )
        self.discard = _button("Discard kept run", "Drop the run that was kept")
        self.comparison = widgets.HBox([self.compare, self.discard])
        self.comparison.layout.display = "none"
        return self.comparison

    def _make_limit(self) -> widgets.HBox:
        """How much memory the values take, and a field for how much they may."""
        self.held = widgets.HTML()
        self.limit = named(_number("66px", 512, 1, 10**6), "most megabytes of values kept")
        self.limit.tooltip = _ABOUT_LIMIT
        return widgets.HBox([self.held, self.limit]).add_class("fxx-kept")

    @traitlets.observe("message")
    def _show_message(self, change: dict[str, Any]) -> None:
        words = html.escape(change["new"])
        line = f'<div class="fxx-note fxx-quiet" role="status">{words}</div>' if words else ""
        self.status_line.value = line
        _show(self.status_line, bool(words))
        self._fit_line()

    def _fit_line(self) -> None:
        """Hide the line where there is nothing in it."""
        parts = self._line.children
        _show(self._line, any(part.layout.display != "none" for part in parts))

    @traitlets.observe("problem")
    def _show_problem(self, change: dict[str, Any]) -> None:
        problem = change["new"]
        self.problem_line.value = "" if problem is None else problem_html(problem)
        _show(self.problem_line, problem is not None)

    def show_progress(self, progress: Progress) -> None:
        """Show how far a run is."""
        calls, total = progress.calls, progress.total
        _show(self._bar, True)
        self._bar.max = max(total, calls, 1)
        self._bar.value = calls
        words = f"{progress.at} · {calls} of {total} leaf modules" if calls else "running…"
        self.message = "stopping at the next module…" if progress.stop.is_set() else words

    def show_extent(self, extent: Extent, *, has_picture: bool) -> None:
        """Fit the controls to what there is to draw.

        Args:
            extent: of the values that are shown; without channels nothing is.
            has_picture: whether it is of a picture.
        """
        self._has_picture = has_picture
        self._show_over()
        self.item.max = max(extent.items - 1, self.options.index, 0)
        _show(self.items, extent.items > 1)
        _show(self.queries, extent.has_attention or self.options.query is not None)
        most = extent.channels
        self._of.value = f'<span class="fxx-quiet">of {most}</span>' if most else ""

    def show_held(self, held: int, devices: Sequence[str], kept: str | None) -> None:
        """Show how many bytes are held, and what can be done with it.

        Args:
            held: bytes of values.
            devices: where they are.
            kept: what the run goes by that is kept to compare with; None if none is.
        """
        megabytes = f"{held / _MEGABYTE:.1f}"
        where = f" on {', '.join(devices)}" if devices else ""
        words = f"values kept: {megabytes} MB{where}, at most"
        self.held.value = f'<span class="fxx-quiet" title="{_ABOUT_LIMIT}">{words}</span>'
        self.keep.disabled = not held
        self.compare.description = f"Compare with {kept}"
        _show(self.comparison, kept is not None)
        self._fit_line()

    @traitlets.observe("running")
    def _on_running(self, change: dict[str, Any]) -> None:
        self.run.description = "Stop" if change["new"] else "Run"
        self.run.button_style = "warning" if change["new"] else "primary"
        (self._line.add_class if change["new"] else self._line.remove_class)("fxx-running")
        self._bar.layout.display = "none"
        self._bar.value = 0
        self._fit_line()

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
        _show(self.of_channels, new.view == "channels")  # the others show all of them
        self._show_over()

    def _show_over(self) -> None:
        """Show the opacity where something can lie over a picture."""
        is_over = self.options.view in ("overlay", "pca") or self.options.query is not None
        _show(self.over, is_over and self._has_picture)


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


def _show(widget: widgets.Widget, visible: bool) -> None:
    widget.layout.display = "flex" if visible else "none"


def labelled(word: str, *parts: widgets.Widget) -> widgets.HBox:
    """Controls with a word in front, which wrap together."""
    return widgets.HBox([widgets.Label(word), *parts])


def _number(width: str, value: int, least: int, most: int) -> widgets.BoundedIntText:
    return widgets.BoundedIntText(
        value=value, min=least, max=most, layout=_width(width), continuous_update=False
    )


def _button(word: str, tooltip: str, style: str = "") -> widgets.Button:
    return widgets.Button(
        description=word, tooltip=tooltip, button_style=style, layout=_width("auto")
    )


def _width(width: str) -> widgets.Layout:
    return widgets.Layout(width=width, flex="0 0 auto")
