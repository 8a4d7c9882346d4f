"""Runs in the worker process: reads DOT graphs from stdin, writes pictures to stdout.

A request is a line ``<format> <seconds> <bytes>`` and the graph; an answer is a line ``ready``,
``picture`` or ``error`` with the number of bytes that follow.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
import tempfile
from typing import IO


def main() -> None:
    """Lay out graphs until stdin is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # interrupting the kernel is not meant for us
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints is no answer
    with tempfile.TemporaryFile() as said, open(os.devnull, "w", encoding="utf-8") as nowhere:
        os.dup2(said.fileno(), 2)
        try:
            import pygraphviz  # noqa: F401
        except ImportError as problem:
            _send(answers, "error", str(problem).encode())
            return
        _send(answers, "ready", b"")
        while request := sys.stdin.buffer.readline():
            file_format, seconds, size = request.split()
            source = sys.stdin.buffer.read(int(size)).decode()
            # A watchdog in C, as Graphviz holds the GIL: nobody else may be left to kill us.
            faulthandler.dump_traceback_later(float(seconds), exit=True, file=nowhere)
            kind, body = _lay_out(source, file_format.decode(), said)
            faulthandler.cancel_dump_traceback_later()
            _send(answers, kind, body)


def _send(answers: IO[bytes], kind: str, body: bytes) -> None:
    answers.write(f"{kind} {len(body)}\n".encode() + body)
    answers.flush()


def _lay_out(source: str, file_format: str, said: IO[bytes]) -> tuple[str, bytes]:
    import pygraphviz

    said.seek(0)
    said.truncate()
    try:
        graph = pygraphviz.AGraph(string=source)
        picture: bytes = graph.draw(format=file_format, prog="dot")
        graph.close()
    except Exception as problem:  # noqa: BLE001  # any refusal is an answer
        said.seek(0)
        return "error", said.read() or str(problem).encode()
    return "picture", picture
