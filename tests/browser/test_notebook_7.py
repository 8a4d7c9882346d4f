"""A smoke test in Notebook 7, which the same server serves."""

import contextlib
import json
import re
import urllib.request

import pytest
from playwright import sync_api

from .conftest import notebook_of

CELL = """
import torchvision
from fxexplore import explore
explorer = explore(torchvision.models.resnet18(weights=None))
explorer
"""


@pytest.fixture
def notebook(browser, server):
    """A page of Notebook 7, whose only cell was run."""
    pytest.importorskip("notebook")
    address, folder = server
    (folder / "seven.ipynb").write_text(json.dumps(notebook_of(CELL)))
    page = browser.new_page(viewport={"width": 1200, "height": 1000})
    page.set_default_timeout(60_000)
    page.goto(f"{address}/notebooks/seven.ipynb")
    run_first_cell(page)
    yield page
    page.close()
    with urllib.request.urlopen(f"{address}/api/sessions") as answer:
        sessions = json.load(answer)
    for session in sessions:
        if session["path"] == "seven.ipynb":
            wish = urllib.request.Request(
                f"{address}/api/sessions/{session['id']}", method="DELETE"
            )
            urllib.request.urlopen(wish).close()


def run_first_cell(page):
    """Ask until the kernel takes it: a page without one takes the key and does nothing."""
    prompt = page.locator(".jp-CodeCell .jp-InputPrompt").first
    for _ in range(20):
        page.locator(".jp-CodeCell .cm-content").first.click()
        page.keyboard.press("Control+Enter")
        with contextlib.suppress(sync_api.TimeoutError):
            prompt.filter(has_text=re.compile(r"\[(\*|1)\]")).wait_for(timeout=3_000)
            return
    raise AssertionError("no kernel took the cell")


def test_the_main_job(notebook, screenshots):
    explorer = notebook.locator(".fxx-explorer").first
    explorer.locator(".fxx-diagram svg .node").first.wait_for()
    explorer.locator(".fxx-tree [data-name=conv1] .fxx-box").click()
    explorer.locator(".fxx-chip").wait_for()
    explorer.evaluate("e => e.scrollIntoView({block: 'nearest'})")
    notebook.screenshot(path=screenshots / "notebook-7.png")
    explorer.get_by_role("tab", name="Feature maps").click()
    explorer.get_by_role("button", name="Run", exact=True).click()
    explorer.locator(".fxx-pictures .fxx-map").first.wait_for()
    explorer.get_by_role("tab", name="Code").click()
    assert '"conv1"' in explorer.locator(".fxx-code-tab .fxx-code").inner_text()
