"""Options, and how much of each property is tried."""

from __future__ import annotations

import os
import re

import pytest
import torch
from hypothesis import settings

settings.register_profile("default", max_examples=20, deadline=None)
settings.register_profile("thorough", max_examples=50, deadline=None)


def pytest_configure(config):
    settings.load_profile("thorough" if _is_thorough(config) else "default")
    if hasattr(config, "workerinput"):  # one of several processes, which share the cores
        torch.set_num_threads(1)
        os.environ["OMP_NUM_THREADS"] = "1"  # for the processes that tests start


def _is_thorough(config) -> bool:
    return re.search(r"(?<!not )\bthorough\b", config.option.markexpr) is not None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config, items):
    """Try every property with few examples by default, and again with many where asked for."""
    if _is_thorough(config):
        for item in items:
            if getattr(getattr(item, "obj", None), "is_hypothesis_test", False):
                item.add_marker(pytest.mark.thorough)


def pytest_addoption(parser):
    parser.addoption(
        "--regenerate-golden",
        action="store_true",
        help="write the files that views are compared with anew, rather than compare",
    )


@pytest.fixture
def golden(request):
    """Compare a text with a file, or write the file if ``--regenerate-golden`` is given."""

    def compare(path, text):
        text = text.rstrip("\n") + "\n"
        if request.config.getoption("regenerate_golden"):
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
        assert text == path.read_text(encoding="utf-8")

    return compare
