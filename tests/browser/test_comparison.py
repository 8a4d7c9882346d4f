"""Two models in one tree, in a real JupyterLab."""

import pytest

from .conftest import notebook_of

CELL = """
import copy
import torchvision
from torch import nn
import fxexplore
before = torchvision.models.resnet18(weights=None)
after = copy.deepcopy(before)
after.layer1[0].relu = nn.GELU()
after.fc = nn.Linear(512, 10)
_ = nn.init.normal_(after.layer4[1].conv2.weight)
fxexplore.compare(before, after)
"""


@pytest.mark.slow
def test_a_cell_shows_what_an_edit_changed_by_mouse_and_keys(lab, screenshots):
    lab.open(notebook_of(CELL))
    lab.run_all()
    panel = lab.page.locator(".fxx-explorer")
    panel.locator('[data-name="layer1.0.relu"] .fxx-differs').wait_for()
    assert "parameters moved" in panel.locator(".fxx-headline").inner_text()
    lab.page.screenshot(path=screenshots / "comparison.png")
    lab.set_theme("JupyterLab Dark")
    lab.page.screenshot(path=screenshots / "comparison-dark.png")
    lab.set_theme("JupyterLab Light")
    panel.locator(".fxx-list").focus()
    lab.page.keyboard.press("End")
    focused = panel.locator(".fxx-focused")
    focused.wait_for()
    assert "output 1×1000 → 1×10" in focused.get_attribute("aria-label")
    panel.locator(".fxx-search").fill("layer4")
    panel.locator('[data-name="layer4"]').get_by_text("Δ").wait_for()
    lab.page.screenshot(path=screenshots / "comparison-search.png")
