"""Graphviz in a process of its own, with a time limit."""

from .process import LayoutTimeoutError
from .service import (
    TIME_LIMIT,
    Layout,
    cancel,
    submit,
    svg_element,
    to_svg,
    warm_up,
)

__all__ = [
    "TIME_LIMIT",
    "Layout",
    "LayoutTimeoutError",
    "cancel",
    "submit",
    "svg_element",
    "to_svg",
    "warm_up",
]
