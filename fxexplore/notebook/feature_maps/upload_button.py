"""A button that takes a file of the reader's, in slices: Jupyter drops large messages."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable
from typing import Any

import anywidget
import traitlets

_HERE = pathlib.Path(__file__).parent


@dataclasses.dataclass
class _Arriving:
    """A file of which slices have arrived."""

    id: str
    name: str
    size: int
    content: bytearray = dataclasses.field(default_factory=bytearray)


class UploadButton(anywidget.AnyWidget):
    """A button that takes a file: chosen, dropped on the panel around it, or pasted there.

    Jupyter drops messages above 10 MB without a word. So the page sends the file in slices,
    each when the one before has arrived; a newer file takes the place of one on its way.

    Args:
        on_file: called with the name and the bytes of a file.
        on_problem: called with the error of messages that do not fit together.
        **kwargs: initial values of traits.

    Example:
        >>> upload = UploadButton(lambda name, content: print(name, content), print)
        >>> message = {"type": "slice", "id": "1", "name": "cat.png", "size": 5}
        >>> upload.take({**message, "at": 0}, [b"abc"])
        >>> upload.take({**message, "at": 3}, [b"de"])
        cat.png b'abcde'
    """

    _esm = _HERE / "upload_button.js"
    _css = _HERE / "upload_button.css"

    label = traitlets.Unicode("Upload").tag(sync=True)
    """What stands on the button."""

    title = traitlets.Unicode().tag(sync=True)
    """What it says of itself when it is pointed at."""

    accept = traitlets.Unicode().tag(sync=True)
    """The files that are offered first, as HTML's ``accept`` has it."""

    disabled = traitlets.Bool(False).tag(sync=True)
    """Whether no file is taken."""

    refused = traitlets.Unicode().tag(sync=True)
    """Why the page did not take the last file; set it to ``""`` to take the words away."""

    zone = traitlets.Unicode(".fxx-maps").tag(sync=True)
    """CSS selector of the panel around it, on which files are dropped and pasted."""

    most_bytes = traitlets.Int(128_000_000).tag(sync=True)
    """How large a file may be."""

    slice_bytes = traitlets.Int(2_000_000).tag(sync=True)
    """How large a slice is."""

    def __init__(
        self,
        on_file: Callable[[str, bytes], None],
        on_problem: Callable[[Exception], None],
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._on_file = on_file
        self._on_problem = on_problem
        self._arriving: _Arriving | None = None
        self.on_msg(lambda _, message, buffers: self.take(message, buffers))

    def take(self, message: Any, buffers: list[Any]) -> None:
        """Take a message of the page.

        Args:
            message: ``{"type": "slice", "id": ..., "name": ..., "size": ..., "at": ...}`` with
                the file's size and the place of the slice in it, or
                ``{"type": "cancel", "id": ...}``.
            buffers: the slice.
        """
        try:
            file = self._joined(message, buffers)
        except ValueError as problem:
            self._arriving = None
            self._on_problem(problem)
            self.send({"id": _id_of(message), "done": True})
            return
        if file is not None:
            self._on_file(file.name, bytes(file.content))
            self.send({"id": file.id, "done": True})

    def _joined(self, message: Any, buffers: list[Any]) -> _Arriving | None:
        """The file, if this slice makes it whole; asks for the next one, if not.

        Raises:
            ValueError: if the message does not fit.
        """
        id_ = _id_of(message)
        if isinstance(message, dict) and message.get("type") == "cancel":
            if self._arriving is not None and self._arriving.id == id_:
                self._arriving = None
            return None
        at, size = _checked(message, buffers, self.most_bytes)
        if at == 0:
            self._arriving = _Arriving(id_, message["name"], size)
        file = self._arriving
        if file is None or file.id != id_:
            # A newer one has taken its place, perhaps in another view of the same button.
            self.send({"id": id_, "done": True})
            return None
        if at != len(file.content) or size != file.size or at + len(buffers[0]) > size:
            raise ValueError(
                f"the slices of {file.name} do not fit together: {len(buffers[0])} bytes at {at} "
                f"of {size} came after {len(file.content)} of {file.size}; choose it again"
            )
        file.content += buffers[0]
        self.send({"id": id_, "received": len(file.content)})
        if len(file.content) < size:
            return None
        self._arriving = None
        return file


def _id_of(message: Any) -> str:
    return str(message.get("id")) if isinstance(message, dict) else ""


def _checked(message: Any, buffers: list[Any], most: int) -> tuple[int, int]:
    """The place of a slice and the size of its file; raises ValueError if it is no slice."""
    if isinstance(message, dict) and message.get("type") == "slice" and len(buffers) == 1:
        at, size, name = message.get("at"), message.get("size"), message.get("name")
        if type(at) is int and type(size) is int and at >= 0 and isinstance(name, str):
            if size > most:
                raise ValueError(f"{name} has {size:,} bytes; at most {most:,} are taken")
            if len(buffers[0]):
                return at, size
    raise ValueError(
        "the page sent something else than a slice of a file; reload the page, and choose it again"
    )
