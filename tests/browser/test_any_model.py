"""A detector and a language model in the explorer: tree, run and code."""

import pytest

from .conftest import notebook_of

DETECTOR = """
import torchvision
from fxexplore import explore
model = torchvision.models.detection.fasterrcnn_resnet50_fpn(
    weights=None, weights_backbone=None).eval()
explorer = explore(model)
explorer.wait()  # else it is shown anew when it has opened, while the test acts
explorer
"""
BERT = """
import torch
from transformers import BertConfig, BertModel
from fxexplore import explore
model = BertModel(BertConfig(vocab_size=99, hidden_size=32, num_hidden_layers=2,
                             num_attention_heads=4, intermediate_size=37))
explorer = explore(model)
explorer.wait()  # else it is shown anew when it has opened, while the test acts
explorer
"""


def shown(lab, code):
    lab.open(notebook_of(code))
    lab.run_all()
    explorer = lab.page.locator(".fxx-explorer")
    explorer.locator("[role=treeitem]").first.wait_for()
    explorer.locator(".fxx-diagram svg .node").first.wait_for()
    explorer.evaluate("e => e.scrollIntoView({block: 'nearest'})")
    return explorer


def tick_run_and_read(lab, explorer, name, screenshot):
    """Find a row, tick it, run, look at its maps, and run the code that is shown."""
    explorer.locator(".fxx-search").fill(name)
    explorer.locator(".fxx-count").filter(has_text="hit").wait_for()  # rows have settled
    explorer.locator(f'[role=treeitem][data-name="{name}"]').locator(".fxx-box").click()
    explorer.get_by_role("tab", name="Feature maps").click()
    explorer.get_by_role("button", name="Run", exact=True).click()
    explorer.locator(".fxx-pictures .fxx-map").first.wait_for()
    lab.page.screenshot(path=screenshot)
    explorer.get_by_role("tab", name="Code").click()
    code = explorer.locator(".fxx-code-tab .fxx-code").inner_text()
    assert lab.python(f"(scope := {{'model': model}}, exec({code!r}, scope))[1]") == "None"
    assert lab.python("list(explorer.features)") == f"['{name}']"


@pytest.mark.slow
def test_a_detector(lab, screenshots):
    explorer = shown(lab, DETECTOR)
    assert "recorded" in explorer.locator(".fxx-header").first.inner_text()
    row = explorer.locator('[role=treeitem][data-name="backbone"]')
    millions = lab.python("sum(p.numel() for p in model.backbone.parameters()) / 1e6")
    assert f"{float(millions):.1f} M" in row.inner_text()
    lab.page.screenshot(path=screenshots / "detector-1-opened.png")
    tick_run_and_read(lab, explorer, "roi_heads.box_head", screenshots / "detector-2-maps.png")


def test_a_language_model(lab, screenshots):
    explorer = shown(lab, BERT)
    row = explorer.locator('[role=treeitem][data-name="embeddings.word_embeddings"]')
    assert "1×8×32" in row.inner_text()
    assert "3.17 k" in row.inner_text()
    lab.page.screenshot(path=screenshots / "bert-1-opened.png")
    tick_run_and_read(lab, explorer, "embeddings", screenshots / "bert-2-maps.png")
