"""The pictures of feature maps: drawn where they changed, and one channel enlarged."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import ipywidgets as widgets

from fxexplore.notebook.closing import close_whole
from fxexplore.notebook.problems import problem_html
from fxexplore.notebook.task import running_loop
from fxexplore.views.feature_maps import channel_at

from .feature_map_view import FeatureMapView, PageFacts
from .pictures import drawn, width_of
from .shown_runs import ShownRuns

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_PAUSE = 0.05  # seconds in which changes gather before they are drawn
_POINTS = 48  # across a picture, where channels are looked for


class _Card(NamedTuple):
    """A picture, what it was drawn from, and its figure."""

    view: FeatureMapView
    problem: widgets.HTML
    box: widgets.VBox
    signature: Any
    figure: Figure | None


class MapCards:
    """One picture for each key, and a large one of one channel.

    With an event loop, as in a kernel, changes are drawn together a moment later;
    with none, at once.
    """

    def __init__(self) -> None:
        self.page = PageFacts()
        self.page.add_class("fxx-page")
        self.pictures = widgets.VBox(layout=widgets.Layout(max_height="560px"))
        self.pictures.add_class("fxx-pictures")
        self.detail = widgets.VBox(layout=widgets.Layout(display="none"))
        self.detail.add_class("fxx-detail")
        self.on_copied: Callable[[bool], None] = lambda done: None  # noqa: ARG005
        self._cards: dict[str, _Card] = {}
        self._runs: ShownRuns | None = None
        self._signatures: dict[str, Any] = {}
        self._at: tuple[str, int] | None = None
        self._order: dict[str, list[tuple[str, int]]] = {}
        self._detail_signature: Any = None
        self._large = FeatureMapView(self._on_large, enlarged=True)
        self._close = widgets.Button(
            description="Close", layout=widgets.Layout(width="auto"), tooltip="Back to all channels"
        )
        self._large_problem = widgets.HTML()
        self.detail.children = [self._close, self._large, self._large_problem]
        self._close.on_click(lambda _: self.enlarge(None))
        self._later: asyncio.TimerHandle | None = None
        self.page.observe(lambda _: self._soon(), ["ink", "density"])
        self.page.on_msg(lambda _, content, __: self.on_copied(bool(content.get("done"))))

    @property
    def wide(self) -> bool:
        """Whether each picture takes the whole width."""
        return "fxx-wide" in self.pictures._dom_classes

    @wide.setter
    def wide(self, wide: bool) -> None:
        (self.pictures.add_class if wide else self.pictures.remove_class)("fxx-wide")

    @property
    def at(self) -> tuple[str, int] | None:
        """Key and channel of what is enlarged."""
        return self._at

    @property
    def figures(self) -> dict[str, Figure]:
        """The figures that are shown, by key."""
        self.draw()
        return {key: card.figure for key, card in self._cards.items() if card.figure is not None}

    def show(
        self,
        signatures: Mapping[str, Any],
        runs: ShownRuns | None,
    ) -> None:
        """Show pictures, and take away those that are not among them.

        Args:
            signatures: what each key depends on; its picture is drawn anew where this changed.
            runs: what there is to draw; None if there is nothing.
        """
        self._runs, self._signatures = runs, dict(signatures)
        for key in [key for key in self._cards if key not in self._keys]:
            close_whole(self._cards.pop(key).box)
        if self._at is not None and not self._is_of_a_key(self._at[0]):
            self.enlarge(None)
        self._soon()

    def enlarge(self, at: tuple[str, int] | None) -> None:
        """Show one channel large.

        Args:
            at: its key and channel; None to close it.
        """
        self._at = at
        self._draw_large()

    def draw(self) -> None:
        """Draw what has changed, now."""
        if self._later is not None:
            self._later.cancel()
            self._later = None
        page = self.page.ink, self.page.density
        for key in self._keys:
            signature = self._signatures.get(key), page
            card = self._cards.get(key) or self._new(key)
            if card.signature != signature:
                self._cards[key] = self._drawn(card, key)._replace(signature=signature)
        boxes = [self._cards[key].box for key in self._keys]
        if list(self.pictures.children) != boxes:
            self.pictures.children = boxes
        self._draw_large()

    def close(self) -> None:
        """Close the widgets and let the figures go."""
        if self._later is not None:
            self._later.cancel()
            self._later = None
        self._runs = None
        for card in self._cards.values():
            close_whole(card.box)
        self._cards.clear()

    def _soon(self) -> None:
        loop = running_loop()
        if loop is None:
            self.draw()
        elif self._later is None:
            self._later = loop.call_later(_PAUSE, self._now)

    def _now(self) -> None:
        self._later = None
        self.draw()

    def _new(self, key: str) -> _Card:
        view = FeatureMapView(lambda message: self._on_view(key, message))
        problem = widgets.HTML()
        card = _Card(view, problem, widgets.VBox([view, problem]), None, None)
        self._cards[key] = card
        return card

    @property
    def _keys(self) -> list[str]:
        return [] if self._runs is None else list(self._runs.features)

    def _is_of_a_key(self, part: str) -> bool:
        """Whether a part, such as ``"decoder[0]"``, is of a value that is shown."""
        return any(part.startswith(key) for key in self._keys)

    def _drawn(self, card: _Card, key: str) -> _Card:
        runs = self._runs
        assert runs is not None  # it has the key
        try:
            figure, png = drawn(lambda: runs.plot(key), self.page.ink, self.page.density)
        except Exception as problem:  # noqa: BLE001  # one picture must not take the others along
            card.view.png = b""
            card.problem.value = problem_html(problem)
            return card._replace(figure=None)
        card.problem.value = ""
        card.view.set_trait("alt", f"Feature maps of {key}")
        card.view.width = width_of(figure)
        card.view.png = png
        self._order.pop(key, None)
        return card._replace(figure=figure)

    def _draw_large(self) -> None:
        runs = self._runs
        if self._at is None or runs is None:
            self.detail.layout.display = "none"
            self._large.png = b""
            self._detail_signature = None
            return
        key, channel = self._at
        signature = self._at, self._signatures, self.page.ink, self.page.density
        if signature == self._detail_signature:
            return
        self._detail_signature = signature
        try:
            figure, png = drawn(
                lambda: runs.plot_channel(key, channel), self.page.ink, self.page.density
            )
        except Exception as problem:  # noqa: BLE001  # shown where the picture would be
            self._large.png = b""
            self._large_problem.value = problem_html(problem)
        else:
            self._large_problem.value = ""
            self._large.alt = f"Channel {channel} of {key}"
            self._large.width = width_of(figure)
            self._large.png = png
        self.detail.layout.display = "flex"

    def _on_view(self, key: str, message: dict[str, Any]) -> None:
        card = self._cards.get(key)
        if card is None or card.figure is None:
            return
        if message.get("type") == "point":
            at = channel_at(card.figure, float(message["x"]), float(message["y"]))
            if at is not None:
                self.enlarge(at)
        elif message.get("type") == "open":
            drawn_channels = self._channels_of(key)
            if drawn_channels:
                self.enlarge(drawn_channels[0])

    def _on_large(self, message: dict[str, Any]) -> None:
        if message.get("type") == "close":
            self.enlarge(None)
        if message.get("type") == "step" and self._at is not None:
            shown = next(
                (order for key in self._keys if self._at in (order := self._channels_of(key))), []
            )
            if shown:
                position = shown.index(self._at) + int(message.get("by", 1))
                self.enlarge(shown[position % len(shown)])

    def _channels_of(self, key: str) -> list[tuple[str, int]]:
        """The channels that a picture shows, row by row: what a click finds at its points."""
        card = self._cards.get(key)
        if key not in self._order and card is not None and card.figure is not None:
            figure = card.figure
            width, height = figure.get_size_inches()
            rows = max(1, round(_POINTS * height / width))
            found = (
                channel_at(figure, (column + 0.5) / _POINTS, (row + 0.5) / rows)
                for row in range(rows)
                for column in range(_POINTS)
            )
            self._order[key] = list(dict.fromkeys(at for at in found if at is not None))
        return self._order.get(key, [])
