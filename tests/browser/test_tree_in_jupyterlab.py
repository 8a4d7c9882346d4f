"""The tree alone in JupyterLab, and what is left of it when its kernel is gone."""

from .conftest import notebook_of

CELL = """
import torchvision
from fxexplore import open_model
from fxexplore.notebook.node_tree import NodeTree
tree = NodeTree(open_model(torchvision.models.resnet18(weights=None)))
tree
"""


def test_the_tree_is_used_alone_and_says_when_its_kernel_is_gone(lab, screenshots):
    lab.open(notebook_of(CELL))
    lab.run_all()
    tree = lab.page.locator(".fxx-tree")
    tree.locator("[data-name=conv1] .fxx-box").click()
    lab.wait_for("tree.selected", "['conv1']")
    assert tree.locator(".fxx-offline").is_hidden()
    # Keys are the tree's own: `b` would add a cell, `d d` would delete this one.
    for key in ("b", "d", "d", "Enter", "Control+Enter", "ArrowDown"):
        lab.page.keyboard.press(key)
    assert lab.page.evaluate("fxNotebook.content.widgets.length") == 1
    assert lab.page.evaluate("fxNotebook.content.widgets[0].model.executionCount") == 1

    lab.page.evaluate("fxNotebook.sessionContext.restartKernel()")
    tree.locator(".fxx-offline").wait_for()
    tree.locator("[data-name=layer4] .fxx-fold").click()
    tree.locator("[data-name=layer4][aria-expanded=false]").wait_for()
    lab.page.screenshot(path=screenshots / "tree-in-jupyterlab-offline.png")
