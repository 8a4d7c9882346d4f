"""The diagram as a widget of its own."""

from __future__ import annotations

import pathlib
import re
from collections.abc import Collection, Iterator
from typing import Any, get_args

import anywidget
import traitlets

from fxexplore import layout
from fxexplore.model_graph import ModelGraph, Module, Node
from fxexplore.views import (
    Direction,
    Drawing,
    SiblingGroup,
    draw,
    error_in_words,
    failure_at,
    folded_groups,
    hidden_nodes,
    opening_fold,
    repeated_siblings,
    shape_text,
    short_count,
    short_flops,
    to_dot,
)

from .assets import asset
from .graph_view import GraphWidget
from .task import Task

_SECONDS = 1.6  # an answer within two, whatever is unfolded
_FEW = 100  # boxes that take Graphviz a moment: if that is slow, the machine is busy
_MANY = 800  # boxes from which Graphviz is asked for haste at once
_MOST_BOXES = 2_000  # more of them, and the page stutters
_NOISE = re.compile(r"<!--.*?-->\n?|<title>.*?</title>\n?", re.DOTALL)
_COORDINATES = re.compile(r' (?:d|points|x|y)="[^"]*"')


class NodeGraph(GraphWidget, anywidget.AnyWidget):
    """Graphviz's picture of a model, with modules that fold and unfold.

    Where an asyncio loop runs, as in a kernel, a new picture comes when it is ready, and
    ``busy`` says that it is on its way; elsewhere it is there at once.

    Args:
        graph: the model to show.
        **kwargs: initial values of traits.

    Example:
        >>> from torch import nn
        >>> from fxexplore import open_model
        >>> diagram = NodeGraph(open_model(nn.Sequential(nn.Linear(4, 2), nn.ReLU())))
        >>> diagram.svg[:4], diagram.boxes["row1"]
        ('<svg', '0')
    """

    _esm = asset(
        "node_graph_parts.js", "node_graph_picture.js", "node_graph_view.js", "node_graph.js"
    )
    _css = asset("node_graph.css")

    _shared = (*GraphWidget._shared, "only", "values", "open_groups")

    direction = traitlets.Enum(get_args(Direction), "down").tag(sync=True)
    """Where the picture leads: ``"down"`` from the top, or ``"right"`` from the left."""

    mode = traitlets.Unicode().tag(sync=True)
    """The mode of the model that is shown, ``"eval"`` or ``"train"``."""

    svg = traitlets.Unicode().tag(sync=True)
    """The picture, laid out."""

    boxes = traitlets.Dict().tag(sync=True)
    """The name of the node or module behind each id in the picture."""

    facts = traitlets.Dict().tag(sync=True)
    """For each id its kind, whether it can be ticked, and what there is to say, in lines."""

    groups = traitlets.Dict().tag(sync=True)
    """For each id that is of a group of siblings or rounds of a loop: the name of the group's
    first, how often it is there, and whether it is open (0 or 1)."""

    left_out = traitlets.List(traitlets.Int()).tag(sync=True)
    """Rows of tail and head, in turn, of the edges that are left out; -1 is the output."""

    message = traitlets.Unicode().tag(sync=True)
    """What there is to say about the picture, such as why it is not the newest."""

    busy = traitlets.Bool().tag(sync=True)
    """Whether a newer picture is on its way."""

    _task: Task[layout.Layout] | None = None

    def __init__(self, graph: ModelGraph, **kwargs: Any) -> None:
        hidden = hidden_nodes(graph, kwargs.get("detail", "operations"))
        kwargs.setdefault("expanded", opening_fold(graph, hidden=hidden))
        self._is_newest = False
        self._left: Any = None
        super().__init__(graph, mode=graph.mode, **kwargs)
        self.on_msg(self._on_message)
        self.observe(lambda _: self._draw(), ["expanded", "direction", "open_groups"])
        self.observe(lambda _: self._hide(), ["detail", "selected", "focused", "values"])
        self._draw()

    def _show_graph(self) -> None:
        self.mode = self._graph.mode
        self._draw()

    def wait(self, seconds: float) -> bool:
        """Block until the newest picture is in ``svg``.

        Args:
            seconds: how long to wait at most.

        Returns:
            Whether it is; False also if it could not be laid out, as ``message`` says.
        """
        if self._task is not None:
            self._task.wait(seconds)
        return self._is_newest

    def save(self, path: str | pathlib.Path) -> None:
        """Write the picture of this fold state and selection to a file.

        Args:
            path: where to; it ends with ``.svg``, ``.png``, ``.pdf``, ``.dot`` or ``.gv``.

        Raises:
            ValueError: if it ends otherwise.
            LayoutTimeoutError: if the picture is too dense to lay out.

        Example:
            >>> import tempfile
            >>> from torch import nn
            >>> from fxexplore import open_model
            >>> diagram = NodeGraph(open_model(nn.ReLU()))
            >>> diagram.save(f"{tempfile.mkdtemp()}/relu.svg")
        """
        path = pathlib.Path(path)
        kind = path.suffix.removeprefix(".").lower()
        if kind not in ("svg", "png", "pdf", "dot", "gv"):
            raise ValueError(f"'{path}' does not end with .svg, .png, .pdf, .dot or .gv")
        source = self.dot
        if kind in ("dot", "gv"):
            path.write_text(source, encoding="utf-8")
        else:
            path.write_bytes(layout.lay_out([source], file_format=kind).picture)

    def close(self) -> None:
        """Stop a layout that is running, and take the widget off the page."""
        if self._task is not None:
            self._task.cancel()
        super().close()

    @property
    def dot(self) -> str:
        """The picture of this fold state and selection in the DOT language."""
        dot = to_dot(
            self._graph,
            self.expanded,
            self.selected,
            detail=self.detail,
            direction=self.direction,
            open_groups=self.open_groups,
        )
        return str(dot.source)

    def _hide(self) -> None:
        """Draw again if other nodes are hidden now, or drawn for others."""
        if self._what_is_left_out() != self._left:
            self._draw()

    def _what_is_left_out(self) -> tuple[frozenset[str], list[SiblingGroup]]:
        """The nodes without a box, and the groups that are drawn once."""
        hidden = hidden_nodes(self._graph, self.detail, [*self.selected, self.focused])
        kept = [*self.selected, *(name for name, (sign, _) in self.values.items() if sign)]
        return hidden, folded_groups(self._graph, self.open_groups, kept, self.expanded)

    def _draw(self) -> None:
        if self._task is not None:
            self._task.cancel()
            self._task = None
        hidden, groups = self._left = self._what_is_left_out()
        drawing = Drawing.of(self._graph, self.expanded, hidden=hidden, groups=groups)
        self._is_newest = False
        self.busy = True  # the page hears that somebody is there
        if len(drawing.boxes) > _MOST_BOXES:
            self.busy = False
            self._report_failure(f"the picture would have {len(drawing.boxes):,} boxes", drawing)
            return
        tries = 1 if len(drawing.boxes) > _MANY else 2
        limit = _SECONDS if len(drawing.boxes) <= _FEW else _SECONDS / tries
        sources = _sources(drawing, tries, self.direction)
        self._task = Task(
            lambda now: layout.lay_out(sources, time_limit=limit, stop=now.stop),
            lambda task: self._deliver(task, drawing),
        )
        self._task.start()

    def _deliver(self, task: Task[layout.Layout], drawing: Drawing) -> None:
        with self.hold_sync():
            self.busy = False
            try:
                picture, attempt = task.result()
            except layout.LayoutTimeoutError:
                self._report_failure("this is too dense to lay out in time", drawing)
            except (ValueError, RuntimeError) as problem:
                self._report_failure(str(problem).rstrip("."), drawing)
            else:
                self._show(picture, drawing if attempt == 0 else drawing.with_edges("fewest"))

    def _show(self, picture: bytes, drawing: Drawing) -> None:
        rows = drawing.graph.rows
        drawn = sorted({*drawing.boxes, *drawing.clusters})
        self.boxes = {f"row{row}": rows[row].name for row in drawn}
        self.facts = {f"row{row}": _facts(drawing, row) for row in drawn}
        self.groups = _groups(drawing, self.open_groups)
        self.left_out = [end for pair in sorted(drawing.left_out) for end in pair]
        self.svg = _slim(layout.svg_element(picture))
        self.message = _said(drawing)
        self._is_newest = True

    def _report_failure(self, reason: str, drawing: Drawing) -> None:
        last = "This is the last picture: " if self.svg else "No picture: "
        crowded = " or ".join(f"{name} ({count:,} boxes)" for name, count in drawing.crowded())
        self.message = last + reason + (f". Fold {crowded}." if crowded else ".")

    def _on_message(self, _: Any, content: Any, __: Any) -> None:
        """The page asks for the source."""
        if content == "dot":
            self.send({"dot": self.dot})


def _sources(drawing: Drawing, tries: int, direction: Direction) -> Iterator[str]:
    """The picture, and a plainer one for when it takes too long."""
    if tries > 1:
        yield draw(drawing, direction=direction).source
        drawing = drawing.with_edges("fewest")
    yield draw(drawing, direction=direction, quick=True, straight=tries > 1).source


def _said(drawing: Drawing) -> str:
    if not drawing.graph.backend:
        return "The registered modules; what flows between them shows when the model has run once."
    count = len(drawing.left_out)
    if not count:
        return ""
    edges, are = ("edge", "is") if count == 1 else ("edges", "are")
    return (
        f"{count:,} {edges} that longer paths imply {are} left out; "
        "the box that is pointed at or chosen shows its own."
    )


def _groups(drawing: Drawing, open_groups: Collection[str]) -> dict[str, list[Any]]:
    """By id: the name of the group's first, how often it is there, and whether it is open."""
    graph, drawn = drawing.graph, {*drawing.boxes, *drawing.clusters}
    found = {}
    for group in repeated_siblings(graph):
        name = graph.rows[group.first].name
        for row in drawn.intersection(group.members(graph)):
            if row in drawing.stands_for or name in open_groups:
                found[f"row{row}"] = [name, group.count, int(name in open_groups)]
    return found


def _facts(drawing: Drawing, row: int) -> list[Any]:
    """Its kind, whether it can be ticked (0 or 1), and what there is to say, in lines."""
    graph, item = drawing.graph, drawing.graph.rows[row].item
    facts = [item.description]
    if row in drawing.stands_for:
        group = drawing.stands_for[row]
        what = "rounds of a loop" if group.is_loop else f"of one structure: {drawing.label(row)}"
        facts.append(f"drawn once for {group.count} {what}")
    facts += [error_in_words(graph)] if failure_at(graph, item) else []
    facts += [] if item.reached else ["not reached: the model raised before"]
    facts += [] if item.shape is None else [shape_text(item.shape)]
    facts += [f"{short_count(item.parameters)} parameters"] if item.parameters else []
    facts += [short_flops(item.flops, item.flops_at_least)] if item.flops else []
    if item.calls > 1:
        is_last = isinstance(item, Module)
        facts.append(
            f"called {item.calls} times; its value is the last" if is_last else item.which_call
        )
    if isinstance(item, Node) and item.source and item.source not in facts[0]:
        facts.append(item.source)
    return [drawing.kind(row), int(item.has_value), "\n".join(facts)]


def _slim(svg: str) -> str:
    """The same picture in fewer bytes: no remarks, and tenths of a pixel."""
    short = _NOISE.sub("", svg).replace(' xml:space="preserve"', "")
    return _COORDINATES.sub(lambda found: re.sub(r"(\.\d)\d+", r"\1", found[0]), short)
