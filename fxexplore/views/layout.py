"""DOT laid out as SVG, by Graphviz in a process of its own."""

from __future__ import annotations

import subprocess
import sys

TIME_LIMIT = 5.0


class LayoutTimeoutError(Exception):
    """Graphviz did not finish in time; the message says what to do."""


def to_svg(dot_source: str, *, time_limit: float = TIME_LIMIT) -> str:
    """Lay out a DOT graph and draw it as SVG.

    Graphviz runs in a worker process: in this one it would hold the GIL, could not be
    stopped, and would write to the notebook's stderr.

    Args:
        dot_source: a graph in the DOT language.
        time_limit: seconds after which the worker is killed.

    Returns:
        An ``<svg>`` element.

    Raises:
        LayoutTimeoutError: if the layout takes longer than that.
        ValueError: if Graphviz refuses the graph, with what it says.
    """
    try:
        worker = subprocess.run(
            [sys.executable, "-m", "fxexplore.views.layout_worker"],
            input=dot_source.encode(),
            capture_output=True,
            timeout=time_limit,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise LayoutTimeoutError(
            f"the picture is too dense to lay out in {time_limit:g} seconds; fold a module"
        ) from None
    if worker.returncode:
        said = worker.stderr.decode(errors="replace").strip()
        raise ValueError(f"Graphviz cannot lay out this graph: {said[-500:]}")
    picture = worker.stdout.decode()
    return picture[picture.index("<svg") :]
