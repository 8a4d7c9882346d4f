"""A model that raises half-way, in JupyterLab: what ran, where it raised and why."""

import json

import pytest

from .conftest import notebook_of
from .test_explorer import FAINT, row, tab
from .test_memory import run_cell

SETUP = """
%load_ext fxexplore
import torch
from torch import nn

class LeNet(nn.Module):
    def __init__(self, looks):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 6, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.MaxPool2d(2))
        self.classifier = nn.Sequential(nn.Linear(256, 120), nn.ReLU(), nn.Linear(120, 10))
        self.looks = looks

    def forward(self, x):
        if self.looks and x.sum() > 1e9:  # cannot be traced
            x = x + 1
        return self.classifier(self.features(x).flatten(1)).softmax(1)

net = LeNet({looks})
x = torch.rand(1, 1, 32, 32)
"""
CELL = "explorer = %fxnodes --inputs x net\nexplorer"
MESSAGE = "mat1 and mat2 shapes cannot be multiplied (1×400 and 256×120)"
THEMES = {"light": "JupyterLab Light", "dark": "JupyterLab Dark"}


@pytest.mark.parametrize(
    "looks",
    [pytest.param(False, id="traced", marks=pytest.mark.slow), pytest.param(True, id="recorded")],
)
def test_it_shows_what_ran_and_where_it_raised(lab, looks, screenshots):
    lab.open(notebook_of(SETUP.replace("{looks}", str(looks)), CELL))
    lab.run_all()
    explorer = lab.page.locator(".fxx-explorer").last
    failed = explorer.locator(".fxx-raised")
    failed.wait_for()
    assert failed.get_attribute("data-name") == "classifier.0"
    assert MESSAGE in failed.get_attribute("aria-label")
    sentence = explorer.locator(".fxx-notice").inner_text().split(". What comes after")[0].strip()
    assert sentence.removeprefix("✗ classifier.0: ") == failed.locator(".fxx-note").inner_text()
    assert "✗ raised" in failed.inner_text()
    explorer.get_by_role("button", name="show everything").click()
    assert "1×400" in row(explorer, "flatten").inner_text()
    rest = row(explorer, "classifier.2")
    assert ("never ran" if looks else "not reached") in rest.inner_text()
    assert "fxx-dim" in rest.get_attribute("class")
    notice = explorer.locator(".fxx-notice").inner_text()
    for words in (MESSAGE, "self.classifier(self.features(x)", "there met 1×400, 120×256, 120"):
        assert words in notice
    box = explorer.locator(".fxx-diagram .node.fx-failed")
    box.wait_for()
    in_box = "".join(box.locator("text").all_text_contents())
    assert "".join(sentence.split()) in "".join(in_box.split())
    assert explorer.locator(".fxx-sheet .fx-unreached").count() == (0 if looks else 3)

    explorer.locator(".fxx-body").evaluate("body => body.scrollIntoView()")
    try:
        for name, theme in THEMES.items():
            lab.set_theme(theme)
            for title in ("Diagram", "Node", "Feature maps"):
                tab(explorer, title)
                file = f"raises-{'recorded' if looks else 'traced'}-{name}-{title.lower()}.png"
                lab.page.screenshot(path=screenshots / file.replace(" ", "-"))
                faint = explorer.evaluate(FAINT)
                assert not faint, json.dumps(faint, indent=1)
    finally:
        lab.set_theme("JupyterLab Light")

    # What ran has feature maps; what did not says why.
    lab.python("setattr(explorer, 'selected', ['features.3'])")
    explorer.get_by_role("button", name="Run", exact=True).click()
    lab.wait_for("list(explorer.features)", "['features.3']")
    assert "raises in classifier.0" in explorer.locator(".fxx-status").inner_text()
    row(explorer, "classifier.0").locator(".fxx-box").click()
    if looks:
        explorer.locator(".fxx-notice", has_text="'classifier.0' has no value").wait_for()
    else:
        explorer.get_by_role("button", name="Run", exact=True).click()
        explorer.locator(".fxx-maps .fxx-error", has_text="cannot be multiplied").wait_for()

    # With the error gone, the cell shows the whole.
    lab.python("exec('x = torch.rand(1, 1, 28, 28)', globals())")
    run_cell(lab, 1)
    row(explorer, "softmax").wait_for()
    assert not explorer.locator(".fxx-raised, .fx-failed, .fx-unreached, .fxx-dim").count()
    assert "1×10" in row(explorer, "softmax").inner_text()
    assert explorer.locator(".fxx-notice").is_hidden()
