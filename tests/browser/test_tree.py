"""The tree in a bare page: what it does by itself, without JupyterLab."""

import torchvision

from fxexplore import open_model
from fxexplore.notebook.node_tree import NodeTree


def test_ticks_reach_python(widget_page):
    tree = NodeTree(open_model(torchvision.models.resnet18(weights=None)))
    host = widget_page.show(tree)
    host.locator('[data-name="conv1"] .fxx-box').click()
    widget_page.wait_for(lambda: tree.selected == ["conv1"])
    tree.selected = ["conv1", "layer1"]
    widget_page.wait_for(
        "() => document.querySelector('[data-name=layer1]').ariaChecked === 'true'"
    )
    widget_page.set_theme("dark")
    widget_page.screenshot("tree-dark")
