"""A button that brings a file of the reader's to the kernel."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import anywidget
import traitlets

_HERE = pathlib.Path(__file__).parent
_MEGABYTE = 1_000_000


class UploadButton(anywidget.AnyWidget):
    """Sends a file in pieces, because Jupyter's connection takes no more than 10 MB at once.

    Args:
        on_file: called with the bytes of a file and its name.
        on_problem: called with the error if it cannot be taken.
        **kwargs: initial values of traits.

    Example:
        >>> button = UploadButton(lambda content, name: print(name, content), print)
        >>> button.receive({"type": "piece", "name": "a.png", "size": 4, "at": 0}, [b"ab"])
        >>> button.receive({"type": "piece", "name": "a.png", "size": 4, "at": 2}, [b"cd"])
        a.png b'abcd'
    """

    _esm = _HERE / "upload_button.js"

    disabled = traitlets.Bool(False).tag(sync=True)
    """Whether it can be pressed."""

    tooltip = traitlets.Unicode().tag(sync=True)
    """What it says when the mouse rests on it."""

    def __init__(
        self,
        on_file: Callable[[bytes, str], None],
        on_problem: Callable[[Exception], None],
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.add_class("fxx-upload")
        self._on_file = on_file
        self._on_problem = on_problem
        self._content = bytearray()
        self.on_msg(lambda _, message, buffers: self.receive(message, buffers))

    def receive(self, message: dict[str, Any], buffers: Sequence[Any] = ()) -> None:
        """Take a piece of a file, or the word that it is too large.

        Args:
            message: its ``type``, and the ``name`` and ``size`` of the file; of a piece
                where it begins (``at``).
            buffers: the bytes of the piece.
        """
        name, size = str(message.get("name")), int(message.get("size", 0))
        if message.get("type") == "too large":
            most = int(message["most"]) // _MEGABYTE
            words = f"{name} has {size / _MEGABYTE:.0f} MB; at most {most} MB are taken"
            self._on_problem(ValueError(f"{words}. Name its path as a variable instead"))
        if message.get("type") != "piece":
            return
        if not message["at"]:
            self._content = bytearray()
        self._content += buffers[0]
        if len(self._content) >= size:
            content, self._content = bytes(self._content), bytearray()
            self._on_file(content, name)
