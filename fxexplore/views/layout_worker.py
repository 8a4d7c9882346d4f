"""Reads DOT from stdin and writes SVG to stdout: ``python -m fxexplore.views.layout_worker``."""

from __future__ import annotations

import sys


def main() -> None:
    """Lay out one graph."""
    import pygraphviz

    graph = pygraphviz.AGraph(string=sys.stdin.buffer.read().decode())
    sys.stdout.buffer.write(graph.draw(format="svg", prog="dot"))


if __name__ == "__main__":
    main()
