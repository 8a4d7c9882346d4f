"""The worker process: lays out one DOT graph from stdin as a picture on stdout, and ends.

It is run as a script, with the folders to import from as arguments, and imports nothing of this
package. It writes a line when it is ready, and then reads a line ``<format> <seconds> <bytes>``
and the graph. If it cannot lay that out, stderr says why.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import sys

_START_LIMIT = 30.0
_MARGIN = 2.0  # seconds that the parent has to end this process itself


def main() -> None:
    """Lay out one graph."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # interrupting the kernel is not meant for us
    sys.path[:] = sys.argv[1:]
    # A watchdog in C, as Graphviz holds the GIL: the parent may be gone before it could kill us.
    faulthandler.dump_traceback_later(_START_LIMIT, exit=True)
    import pygraphviz

    faulthandler.cancel_dump_traceback_later()
    sys.stdout.buffer.write(b"\n")
    sys.stdout.buffer.flush()
    request = sys.stdin.buffer.readline().split()
    if not request:
        return  # the parent has ended
    file_format, seconds, size = request
    # Not to the end of the file: a process that was forked from the parent may keep that open.
    source = sys.stdin.buffer.read(int(size)).decode()
    faulthandler.dump_traceback_later(float(seconds) + _MARGIN, exit=True)
    try:
        graph = pygraphviz.AGraph(string=source)
        picture: bytes = graph.draw(format=file_format.decode(), prog="dot")
    except Exception as problem:  # noqa: BLE001  # any refusal is an answer
        sys.exit(str(problem))
    sys.stdout.buffer.write(picture)
    sys.stdout.buffer.flush()
    os._exit(0)  # at once: the picture is waited for


if __name__ == "__main__":
    main()
