"""Graphviz in a process of its own, with a time limit."""

from .service import (
    TIME_LIMIT,
    Layout,
    LayoutTimeoutError,
    lay_out,
    svg_element,
    to_svg,
    warm_up,
)

__all__ = [
    "TIME_LIMIT",
    "Layout",
    "LayoutTimeoutError",
    "lay_out",
    "svg_element",
    "to_svg",
    "warm_up",
]
