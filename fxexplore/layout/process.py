"""The processes that Graphviz runs in: a worker that is kept, or a ``dot`` for each graph."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
from typing import IO, Protocol

_START_LIMIT = 30.0
_MARGIN = 2.0  # seconds after which a worker whose kernel has died stops by itself
_NO_WINDOW = getattr(subprocess, "CREATE_NO_WINDOW", 0)  # on Windows only


class LayoutTimeoutError(Exception):
    """Graphviz did not finish in time; the message says what to do."""


class LayoutProcess(Protocol):
    """What lays out graphs, one at a time. ``kill`` may be called from any thread."""

    @property
    def is_alive(self) -> bool:
        """Whether it can lay out another graph."""

    def lay_out(self, source: str, file_format: str, time_limit: float) -> bytes:
        """The picture; raises as :func:`fxexplore.layout.to_svg` does."""

    def kill(self) -> None:
        """Stop at once."""

    def let_go(self) -> None:
        """Close this end of the pipes and leave the process alone."""


class _Deadline:
    """Kills a process when its time is over."""

    def __init__(self, process: subprocess.Popen[bytes], seconds: float) -> None:
        self._process = process
        self._lock = threading.Lock()
        self._is_over = False
        self._timer = threading.Timer(seconds, self._expire)
        self._timer.daemon = True
        self.expired = False

    def __enter__(self) -> None:
        self._timer.start()

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._is_over = True
        self._timer.cancel()

    def _expire(self) -> None:
        with self._lock:
            if not self._is_over:
                self.expired = True
                self._process.kill()


class WorkerProcess:
    """A Python process that imports ``pygraphviz`` once and lays out graph after graph.

    Raises:
        RuntimeError: if it does not start.
    """

    def __init__(self) -> None:
        # It finds the modules that this process finds, whatever its folder is.
        code = (
            f"import sys; sys.path[:] = {sys.path!r}; "
            "from fxexplore.layout.worker import main; main()"
        )
        self._process = subprocess.Popen(  # noqa: S603  # this Python
            [sys.executable, "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,  # pipes without locks, which a fork could leave locked
            creationflags=_NO_WINDOW,
        )
        with _Deadline(self._process, _START_LIMIT):
            kind, said = self._answer()
        if kind != b"ready":
            self.kill()
            raise RuntimeError(f"Graphviz does not start: {_text(said) or 'no reason given'}")

    @property
    def is_alive(self) -> bool:
        """Whether it can lay out another graph."""
        return self._process.poll() is None

    def lay_out(self, source: str, file_format: str, time_limit: float) -> bytes:
        """The picture; raises as :func:`fxexplore.layout.to_svg` does."""
        body = source.encode(errors="replace")
        head = f"{file_format} {time_limit + _MARGIN} {len(body)}\n".encode()
        deadline = _Deadline(self._process, time_limit)
        with deadline:
            kind, said = b"", b""
            with contextlib.suppress(BrokenPipeError):  # then there is no answer either
                _write(self._process.stdin, head + body)
                kind, said = self._answer()
        if deadline.expired:
            self._reap()
            raise _timeout(time_limit)
        if kind == b"picture":
            return said
        if not kind:
            self._reap()
            raise ValueError("Graphviz stopped in the middle of this graph; fold a module")
        raise ValueError(_refusal(said))

    def kill(self) -> None:
        """Stop at once."""
        self._process.kill()

    def let_go(self) -> None:
        """Close this end of the pipes and leave the process alone."""
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()
        self._process.returncode = 0  # as far as this process is concerned

    def _reap(self) -> None:
        self._process.kill()
        self._process.wait()
        self._process.communicate()

    def _answer(self) -> tuple[bytes, bytes]:
        """What kind of answer it is, and its body; both empty if the process has ended."""
        head = b""
        while not head.endswith(b"\n"):
            piece = _read(self._process.stdout, 1)
            if not piece:
                return b"", b""
            head += piece
        kind, size = head.split()
        body = _read(self._process.stdout, int(size))
        return (kind, body) if len(body) == int(size) else (b"", b"")


class DotProgram:
    """A ``dot`` that is started for each graph.

    Args:
        path: where it is.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def is_alive(self) -> bool:
        """Whether it can lay out another graph."""
        return True

    def lay_out(self, source: str, file_format: str, time_limit: float) -> bytes:
        """The picture; raises as :func:`fxexplore.layout.to_svg` does."""
        try:
            self._process = subprocess.Popen(  # noqa: S603  # the user's own choice
                [self._path, f"-T{file_format}"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                creationflags=_NO_WINDOW,
            )
        except OSError as problem:
            raise ValueError(f"{self._path} does not start: {problem.strerror}") from None
        deadline = _Deadline(self._process, time_limit)
        with deadline:
            picture, said = self._process.communicate(source.encode(errors="replace"))
        if deadline.expired:
            raise _timeout(time_limit)
        if self._process.returncode:
            raise ValueError(_refusal(said))
        return picture

    def kill(self) -> None:
        """Stop at once."""
        if self._process:
            self._process.kill()

    def let_go(self) -> None:
        """Nothing is kept between two graphs."""


def _timeout(time_limit: float) -> LayoutTimeoutError:
    return LayoutTimeoutError(
        f"the picture is too dense to lay out in {time_limit:g} seconds; fold a module"
    )


def _refusal(said: bytes) -> str:
    return f"Graphviz cannot lay out this graph: {_text(said)}"


def _text(said: bytes) -> str:
    return said.decode(errors="replace").strip()[-500:]


def _write(pipe: IO[bytes] | None, data: bytes) -> None:
    assert pipe is not None
    rest = memoryview(data)
    while rest:
        rest = rest[pipe.write(rest) :]


def _read(pipe: IO[bytes] | None, size: int) -> bytes:
    """So many bytes, or fewer if the other end is closed."""
    assert pipe is not None
    pieces = []
    while size:
        piece = pipe.read(size)
        if not piece:
            break
        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces)
