"""Which tests the default run leaves to ``pytest -m "thorough and not slow"``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest


def mostly_thorough(values: Iterable[Any], *kept: Any) -> list[Any]:
    """Parameters of a test, of which only those that are ``kept`` belong to the default run."""
    return _marked(values, kept, pytest.mark.thorough)


def mostly_slow(values: Iterable[Any], *kept: Any) -> list[Any]:
    """Parameters of a test, of which only those that are ``kept`` belong to what CI runs."""
    return _marked(values, kept, pytest.mark.slow)


def _marked(values: Iterable[Any], kept: tuple[Any, ...], mark: pytest.MarkDecorator) -> list[Any]:
    values = list(values)
    assert all(value in values for value in kept)
    return [pytest.param(value, marks=[] if value in kept else [mark]) for value in values]
