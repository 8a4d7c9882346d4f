"""A button that takes a file of the reader's, in slices: Jupyter drops large messages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anywidget
import traitlets

from fxexplore.notebook.assets import asset


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

    _esm = asset("feature_maps/upload_button.js")
    _css = asset("feature_maps/upload_button.css")

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
        self._id = ""  # of the file that arrives
        self._content = bytearray()
        self.on_msg(lambda _, message, buffers: self.take(message, buffers))

    def take(self, message: dict[str, Any], buffers: list[Any]) -> None:
        """Take a message of the page.

        Args:
            message: ``{"type": "slice", "id": ..., "name": ..., "size": ..., "at": ...}`` with
                the file's size and the place of the slice in it, or
                ``{"type": "cancel", "id": ...}``.
            buffers: the slice.
        """
        id_ = message["id"]
        if message["type"] == "cancel":
            if id_ == self._id:
                self._end()
            return
        at, size, name = message["at"], message["size"], message["name"]
        if at == 0:
            self._id, self._content = id_, bytearray()
        if id_ != self._id:
            # A newer one has taken its place, perhaps in another view of the same button.
            self.send({"id": id_, "done": True})
            return
        had = len(self._content)
        self._content += buffers[0]
        if at != had or len(self._content) > size:
            self._end()
            self._on_problem(
                ValueError(
                    f"the slices of {name} do not fit together: {len(buffers[0])} bytes at {at} "
                    f"of {size} came after {had}; choose it again"
                )
            )
        else:
            self.send({"id": id_, "received": len(self._content)})
            if len(self._content) < size:
                return
            self._on_file(name, self._end())
        self.send({"id": id_, "done": True})

    def _end(self) -> bytes:
        """What has arrived, which is not held any longer."""
        content = bytes(self._content)
        self._id, self._content = "", bytearray()
        return content
