"""A notebook with an explorer that is saved, and opened again when its kernel was restarted.

In JupyterLab and in Notebook 7, by what somebody does there: run, save, restart, open.
"""

import json
import time
import urllib.request

import pytest

from .conftest import notebook_of
from .test_notebook_7 import run_first_cell

CELL = """
import torchvision
from fxexplore import explore
explore(torchvision.models.resnet18(weights=None), selected=["layer1"])
"""


@pytest.fixture(params=["lab/tree", pytest.param("notebooks", marks=pytest.mark.slow)])
def address(request, server):
    """Where a notebook is opened that has not run."""
    if request.param == "notebooks":
        pytest.importorskip("notebook")
    home, folder = server
    (folder / "kept.ipynb").write_text(json.dumps(notebook_of(CELL)))
    yield f"{home}/{request.param}/kept.ipynb"
    for session in asked(f"{home}/api/sessions"):
        if session["path"] == "kept.ipynb":
            asked(f"{home}/api/sessions/{session['id']}", "DELETE")


def asked(address, method="GET"):
    wish = urllib.request.Request(address, method=method)
    with urllib.request.urlopen(wish) as answer:
        return json.loads(answer.read() or "null")


def opened(browser, address):
    page = browser.new_page(viewport={"width": 1300, "height": 1000})
    page.set_default_timeout(60_000)
    page.goto(f"{address}?reset" if "/lab/" in address else address)
    page.locator(".jp-CodeCell .cm-content").first.wait_for()
    return page


def restart(page):
    page.keyboard.press("Escape")
    page.keyboard.press("0")
    page.keyboard.press("0")
    page.locator(".jp-Dialog").get_by_role("button", name="Confirm").click()


def saved(page, folder):
    """The state of widgets in the notebook, once it is saved with a picture."""
    for _ in range(20):
        page.keyboard.press("Control+s")
        time.sleep(0.5)
        text = (folder / "kept.ipynb").read_text()
        metadata = json.loads(text)["metadata"]
        if "widgets" in metadata and "svg+xml" in text:
            return metadata["widgets"]["application/vnd.jupyter.widget-state+json"]["state"]
    raise AssertionError("nothing was kept")


def test_shows_its_page_once_the_kernel_was_restarted(browser, server, address, screenshots):
    folder = server[1]
    page = opened(browser, address)
    run_first_cell(page)
    explorer = page.locator(".fxx-explorer")
    explorer.locator(".fxx-diagram svg .node").first.wait_for()
    assert len(saved(page, folder)) == 1
    restart(page)
    explorer.and_(page.locator(".jupyter-widgets-disconnected")).wait_for()
    name = "lab" if "/lab/" in address else "seven"
    page.screenshot(path=screenshots / f"restarted-{name}.png")
    page.close()

    page = opened(browser, address)
    output = page.locator(".jp-OutputArea-output")
    output.locator("summary", has_text="layer1").first.wait_for()
    page.screenshot(path=screenshots / f"reopened-{name}.png")
    assert "Run the cell again" in output.inner_text()
    assert "1×64×56×56" in output.inner_text()
    assert output.locator("img").evaluate("e => e.complete && e.naturalWidth > 100")
    run_first_cell(page)
    page.locator(".fxx-explorer .fxx-diagram svg .node").first.wait_for()
    assert len(saved(page, folder)) == 1  # that of the explorer that is gone is not kept
    page.close()
