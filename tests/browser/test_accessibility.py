"""axe-core finds nothing wrong with the widgets, in light and dark, in each of their states."""

from collections.abc import Callable

import pytest

from fxexplore.notebook.node_tree import NodeTree
from tests.npm import npm_package

from .test_tree import encoder

AXE = "4.11.0"
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


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


# A widget in a state: a function that shows it in a page.
STATES: list[Callable] = [
    _opened_tree,
    _searching_tree,
    _searching_tree_without_hits,
    _tree_with_a_bad_query,
    _tree_with_menu_and_help,
    _tree_without_kernel,
]


@pytest.fixture(scope="session")
def axe(request):
    return (npm_package(request.config.cache, "axe-core", AXE) / "axe.min.js").read_text()


@pytest.mark.parametrize("state", STATES)
def test_axe_finds_nothing(widget_page, axe, state):
    state(widget_page)
    widget_page.page.evaluate(axe)
    for theme in ("light", "dark", "high-contrast"):
        widget_page.set_theme(theme)
        result = widget_page.page.evaluate(
            "tags => axe.run('#host', {runOnly: {type: 'tag', values: tags}})", RULES
        )
        assert len(result["passes"]) > 10  # it did look
        found = [
            f"{theme}, {rule['help']}: {node['html'][:200]}: {node['failureSummary']}"
            for rule in result["violations"]
            for node in rule["nodes"]
        ]
        assert found == [], "\n".join(found)
