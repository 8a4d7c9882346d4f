"""axe-core finds nothing wrong with the widgets, in light and dark, in each of their states."""

from collections.abc import Callable

import pytest

from fxexplore.notebook.node_graph import NodeGraph
from fxexplore.notebook.node_tree import NodeTree

from .conftest import AXE_RUN, faults
from .test_tree import encoder


def _opened_tree(page):
    tree = NodeTree(encoder(), expanded=["layers", "layers.12", "tied"], only=["tied.relu"])
    tree.selected = ["stem", "layers.12.add"]
    page.show(tree).locator("[data-name='layers.12']").click()
    return tree


def _searching_tree(page):
    _opened_tree(page).query = "act"


def _tree_with_a_bad_query(page):
    _opened_tree(page).query = "colour:red"


def _searching_tree_without_hits(page):
    _opened_tree(page).query = "nowhere"
    page.screenshot("tree-nothing")


def _tree_with_menu_and_help(page):
    _opened_tree(page)
    page.host.get_by_role("button", name="How to search").click()
    page.host.get_by_role("button", name="Columns").click()


def _tree_without_kernel(page):
    _opened_tree(page)
    page.disconnect()


def _opened_diagram(page):
    diagram = NodeGraph(encoder(3), expanded=["layers", "layers.2"], only=["tied.relu"])
    diagram.selected, diagram.focused = ["stem"], "layers.2.fc"
    assert diagram.wait(60)
    return page.show(diagram, height=500)


def _diagram_with_menu(page):
    _opened_diagram(page).locator("[data-name=stem]").click(button="right")
    page.host.get_by_role("menu", name="stem").wait_for()


def _diagram_without_kernel(page):
    _opened_diagram(page)
    page.disconnect()


# A widget in a state: a function that shows it in a page.
STATES: list[Callable] = [
    _opened_tree,
    _searching_tree,
    _searching_tree_without_hits,
    _tree_with_a_bad_query,
    _tree_with_menu_and_help,
    _tree_without_kernel,
    _opened_diagram,
    _diagram_with_menu,
    _diagram_without_kernel,
]


@pytest.mark.parametrize("state", STATES)
def test_axe_finds_nothing(widget_page, axe, state):
    state(widget_page)
    widget_page.page.evaluate(axe)
    for theme in ("light", "dark", "high-contrast"):
        widget_page.set_theme(theme)
        assert faults(widget_page.page.evaluate(AXE_RUN, "#host")) == [], theme
