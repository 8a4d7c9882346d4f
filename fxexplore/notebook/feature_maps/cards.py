"""The pictures of feature maps: drawn where they changed, and one channel enlarged."""

from __future__ import annotations

import asyncio
import functools
import operator
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import ipywidgets as widgets

from fxexplore.notebook.closing import close_parts, close_since, open_comms
from fxexplore.notebook.problems import problem_html
from fxexplore.notebook.task import running_loop
from fxexplore.views.feature_maps import channel_at, channels_in

from .feature_map_view import DPI, FeatureMapView, PageFacts
from .runs import Shown

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_PAUSE = 0.05  # seconds in which changes gather before they are drawn
_LEAST = 440  # pixels of the page that a picture is wide, where there is more than one column
_GAP = 20  # pixels between two of them


class Card(widgets.VBox):
    """A picture, or what went wrong in its place.

    Args:
        on_message: called with what the reader did with the picture.
        enlarged: whether it shows one channel.
    """

    def __init__(
        self, on_message: Callable[[dict[str, Any]], None], *, enlarged: bool = False
    ) -> None:
        self.view = FeatureMapView(on_message, enlarged=enlarged)
        self.problem = widgets.HTML()
        self.figure: Figure | None = None
        self._drawn_from: tuple[Any, ...] = ()
        super().__init__([self.view, self.problem])

    def draw(
        self,
        page: PageFacts,
        make: Callable[..., Figure],
        depends: tuple[Any, ...],
        alt: str,
        width: int,
    ) -> None:
        """Draw the picture, if it is another than before.

        Args:
            page: where it is shown.
            make: makes the figure, of a ``width`` in inches.
            depends: the objects that it depends on.
            alt: what it shows, in words.
            width: pixels of the page that it takes.
        """
        seen = (page.ink, page.density, width, *depends)
        before, self._drawn_from = self._drawn_from, seen
        is_same = len(before) == len(seen) and all(map(operator.is_, before[3:], depends))
        if is_same and before[:3] == seen[:3]:
            return
        words, png = "", b""
        try:
            self.figure, png = page.drawn(lambda: make(width=width / DPI))
        except Exception as problem:  # noqa: BLE001  # one picture must not take the others along
            self.figure, words = None, problem_html(problem)
        else:
            self.view.alt, self.view.width = alt, width
        self.problem.value, self.view.png = words, png

    def forget(self) -> None:
        """Drop the figure, and what it was drawn from."""
        self.figure, self._drawn_from, self.view.png = None, (), b""

    def close(self) -> None:
        """Close the widgets, and drop the figure and what it was drawn from."""
        close_parts(self)
        self.forget()
        super().close()


class MapCards:
    """One picture for each key, and a large one of one channel.

    With an event loop, as in a kernel, changes are drawn together a moment later;
    with none, at once.
    """

    def __init__(self) -> None:
        self.page = PageFacts()
        self.page.add_class("fxx-page")
        self.pictures = widgets.HBox().add_class("fxx-pictures")
        self.cards: dict[str, Card] = {}
        """The pictures, by key."""
        self.large = Card(self._on_large, enlarged=True)
        """The picture of one channel."""
        self.at: tuple[str, int] | None = None
        """Its key and channel; None if nothing is enlarged."""
        close = widgets.Button(
            description="Close", layout=widgets.Layout(width="auto"), tooltip="Back to all channels"
        )
        close.on_click(lambda _: self.enlarge(None))
        self.detail = widgets.VBox([close, self.large], layout=widgets.Layout(display="none"))
        self.detail.add_class("fxx-detail")
        self._shown: Shown | None = None
        self._later: asyncio.TimerHandle | None = None
        self.page.observe(lambda _: self._soon(), ["ink", "density", "width"])

    @property
    def figures(self) -> dict[str, Figure]:
        """The figures that are shown, by key."""
        self.draw()
        return {key: card.figure for key, card in self.cards.items() if card.figure is not None}

    def show(self, shown: Shown | None) -> None:
        """Show pictures, and take away those that are not among them.

        Args:
            shown: what there is to draw; None if there is nothing.
        """
        self._shown = shown
        for key in [key for key in self.cards if key not in self._keys]:
            self.cards[key].close()
            del self.cards[key]
        if self.at is not None and self._key_of(self.at[0]) is None:
            self.enlarge(None)
        self._soon()

    def enlarge(self, at: tuple[str, int] | None) -> None:
        """Show one channel large.

        Args:
            at: its key and channel; None to close it.
        """
        self.at = at
        shown, of = self._shown, None if at is None else self._key_of(at[0])
        self.detail.layout.display = "none" if of is None else "flex"
        if of is None:
            self.large.forget()
        if shown is not None and at is not None and of is not None:
            depends = (*shown.depends(of), at)
            alt = f"Channel {at[1]} of {at[0]}"
            make = functools.partial(shown.plot_channel, *at)
            self.large.draw(self.page, make, depends, alt, self._width(1))

    def draw(self) -> None:
        """Draw what has changed, now."""
        self._forget_later()
        shown = self._shown
        width = self._width(1 if shown is None or shown.kept else len(self._keys))
        for key in self._keys:
            assert shown is not None  # it has the key
            if key not in self.cards:
                self._add(key)
            make, alt = functools.partial(shown.plot, key), f"Feature maps of {key}"
            self.cards[key].draw(self.page, make, shown.depends(key), alt, width)
        self.pictures.children = [self.cards[key] for key in self._keys]
        self.enlarge(self.at)

    def _width(self, most: int) -> int:
        """Pixels of a picture, where at most so many stand side by side."""
        room = max(_LEAST, self.page.width - _GAP)  # as much stands around them
        columns = max(1, min(most, (room + _GAP) // (_LEAST + _GAP)))
        return (room + _GAP) // columns - _GAP

    def _add(self, key: str) -> None:
        """Make a card; if that is interrupted, leave none of its widgets."""
        known = open_comms()
        try:
            self.cards[key] = Card(functools.partial(self._on_view, key))
        except BaseException:
            close_since(known)
            raise

    def close(self) -> None:
        """Close the widgets and drop the figures."""
        self._forget_later()
        self._shown = None
        for card in self.cards.values():
            card.close()
        self.cards.clear()

    def _soon(self) -> None:
        loop = running_loop()
        if loop is None:
            self.draw()
        elif self._later is None:
            self._later = loop.call_later(_PAUSE, self.draw)

    def _forget_later(self) -> None:
        if self._later is not None:
            self._later.cancel()
            self._later = None

    @property
    def _keys(self) -> list[str]:
        return [] if self._shown is None else list(self._shown.features)

    def _key_of(self, part: str) -> str | None:
        """The key of what a part, such as ``"decoder[0]"``, is of; None if it is not shown."""
        return max((key for key in self._keys if part.startswith(key)), key=len, default=None)

    def _on_view(self, key: str, message: dict[str, Any]) -> None:
        figure = self.cards[key].figure if key in self.cards else None
        if figure is None:
            return
        if message.get("type") == "point":
            at = channel_at(figure, float(message["x"]), float(message["y"]))
            if at is not None:
                self.enlarge(at)
        elif message.get("type") == "open":
            self.enlarge(next(iter(channels_in(figure)), None))

    def _on_large(self, message: dict[str, Any]) -> None:
        if message.get("type") == "close":
            self.enlarge(None)
        elif message.get("type") == "step" and self.at is not None:
            card = self.cards.get(self._key_of(self.at[0]) or "")
            shown = channels_in(card.figure) if card and card.figure else []
            if self.at in shown:
                position = shown.index(self.at) + int(message.get("by", 1))
                self.enlarge(shown[position % len(shown)])
