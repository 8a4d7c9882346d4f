"""The explorer as a whole, in JupyterLab: by mouse, by keyboard alone, light and dark."""

import pytest

from .conftest import notebook_of

RESNET = """
import torchvision
from fxexplore import explore
model = torchvision.models.resnet18(weights=None)
explorer = explore(model)
explorer
"""


def shown(lab, code):
    lab.open(notebook_of(code))
    lab.run_all()
    explorer = lab.page.locator(".fxx-explorer").first
    explorer.locator("[role=treeitem]").first.wait_for()
    explorer.locator(".fxx-diagram svg .node").first.wait_for()
    explorer.scroll_into_view_if_needed()
    return explorer


@pytest.fixture
def explorer(lab):
    return shown(lab, RESNET)


def test_scratch(lab, explorer, screenshots):
    page = lab.page
    page.screenshot(path=screenshots / "a1.png")
    lab.python(
        "setattr(explorer, 'return_nodes', {'layer1.0.relu':'layer1.0.relu','layer3':'stage3'})"
    )
    lab.python("setattr(explorer, 'focused', 'layer1.0.conv1')")
    explorer.get_by_role("tab", name="Code").click()
    page.wait_for_function("() => document.querySelector('.fxx-code').innerText.includes('stage3')")
    page.screenshot(path=screenshots / "a2.png")
    explorer.get_by_role("tab", name="Node").click()
    page.screenshot(path=screenshots / "a3.png")
    explorer.get_by_role("radio", name="train").check()
    lab.wait_for("explorer.mode", "'train'")
    explorer.get_by_role("tab", name="Feature maps").click()
    explorer.get_by_role("button", name="Run", exact=True).click()
    explorer.locator(".fxx-pictures .fxx-map").first.wait_for()
    page.screenshot(path=screenshots / "a4.png")
    lab.set_theme("JupyterLab Dark")
    page.screenshot(path=screenshots / "a5.png")
    explorer.get_by_role("tab", name="Diagram").click()
    page.screenshot(path=screenshots / "a6.png")
    lab.set_theme("JupyterLab Light")
    page.set_viewport_size({"width": 760, "height": 1100})
    page.screenshot(path=screenshots / "a7.png")
    page.set_viewport_size({"width": 1500, "height": 1100})
    explorer.get_by_role("button", name="Fill the screen").click()
    page.wait_for_timeout(500)
    page.screenshot(path=screenshots / "a8.png")
    page.keyboard.press("Escape")
    explorer.get_by_role("button", name="Leave full screen").click()
    page.evaluate(
        "async () => { await window.fxNotebook.sessionContext.session.kernel.restart(); }"
    )
    page.wait_for_timeout(1500)
    page.screenshot(path=screenshots / "a9.png")
