"""The line of the explorer that says what is going on, and what went wrong."""

from __future__ import annotations

import html
from collections.abc import Callable

import ipywidgets as widgets

from .brief import Brief
from .problems import problem_html


class Notice(Brief, widgets.HBox):
    """Progress with a way to stop, a remark, or an error with its traceback folded.

    Args:
        in_words: what is made of words before they are shown.

    Example:
        >>> notice = Notice()
        >>> notice.say("layer1 is gone")
        >>> notice.words
        'layer1 is gone'
    """

    def _told(self) -> list[str]:
        return [self.words]

    def __init__(self, in_words: Callable[[str], str] = str) -> None:
        self._in_words = in_words
        self.words = ""
        """What is shown; ``""`` for nothing."""
        self.is_progress = False
        """Whether progress is shown, not a remark or an error."""
        self._text = widgets.HTML().add_class("fxx-notice-text")
        self._button = widgets.Button()
        self._close = widgets.Button(description="✕", tooltip="Take this line away")
        self._close.on_click(lambda _: self.clear())
        self._button.on_click(lambda _: self._clicked())
        self._action: Callable[[], None] | None = None
        super().__init__([self._text, self._button, self._close])
        self.add_class("fxx-notice")
        self.clear()

    def clear(self) -> None:
        """Show nothing."""
        self._show("", "")

    def say(self, words: str) -> None:
        """Show a remark."""
        words = self._in_words(words)
        self._show(words, f'<div role="status">{html.escape(words)}</div>')

    def progress(self, words: str, stop: Callable[[], None] | None = None) -> None:
        """Say what is being done.

        Args:
            words: what it is.
            stop: what a click on the button "Stop" does, if there is a way.
        """
        bar = '<span class="fxx-busy" aria-hidden="true"></span>'
        self._show(words, f'<div role="status">{bar}{html.escape(words)}…</div>', stop)
        self.is_progress = True

    def error(self, problem: BaseException, what: str = "") -> None:
        """Say what went wrong, with the traceback folded beneath.

        Args:
            problem: what was raised.
            what: what did not work, in words.
        """
        words = f"{what}: {problem}" if what else str(problem) or type(problem).__name__
        self._show(self._in_words(words), problem_html(problem, what, self._in_words))

    def alert(self, words: str) -> None:
        """Show what is wrong, in words that say it all."""
        words = self._in_words(words)
        self._show(words, f'<div class="fxx-error" role="alert">{html.escape(words)}</div>')

    def offer(self, words: str, label: str, action: Callable[[], None]) -> None:
        """Show a remark with something that can be done about it.

        Args:
            words: the remark.
            label: what stands on the button.
            action: what a click on it does.
        """
        self._show(words, f'<div role="status">{html.escape(words)}</div>', action, label)
        self._close.layout.display = None

    def _show(
        self, words: str, page: str, action: Callable[[], None] | None = None, label: str = "Stop"
    ) -> None:
        self.words = words
        self.is_progress = False
        self._text.value = page
        self._action, self._button.description = action, label
        self._button.layout.display = None if action else "none"
        self._close.layout.display = "none" if action else None
        self.layout.display = None if words else "none"

    def _clicked(self) -> None:
        action = self._action
        self.clear()
        if action:
            action()
