"""The main job, by hand, in JupyterLab: unfold, tick, run, read the code."""

import ast
from pathlib import Path

import pytest

from .conftest import notebook_in

QUICKSTART = Path(__file__).parents[2] / "notebooks" / "quickstart.ipynb"


@pytest.fixture(scope="module")
def lab(page, server):
    """One notebook for all tests of this file; the first one finds it as it was opened."""
    with notebook_in(page, server) as lab:
        lab.open(QUICKSTART)
        lab.run_all()  # which leaves the explorer of the second cell in the variable _2
        yield lab


@pytest.fixture
def explorer(lab):
    """The explorer that ``%fxnodes`` shows, as a locator, with nothing ticked or searched."""
    explorer = lab.page.locator(".fxx-explorer").first
    explorer.locator(".fxx-tree [role=treeitem]").first.wait_for()
    explorer.get_by_role("tab", name="Diagram").click()
    explorer.locator(".fxx-diagram svg .node").first.wait_for()
    for trait, value in (("return_nodes", {}), ("focused", ""), ("query", "")):
        lab.python(f"setattr(_2, {trait!r}, {value!r})")
    explorer.locator(".fxx-chip").first.wait_for(state="detached")
    explorer.evaluate("e => e.scrollIntoView({block: 'nearest'})")
    return explorer


def row(explorer, name):
    return explorer.locator(f'.fxx-tree [role=treeitem][data-name="{name}"]')


def boxes(explorer):
    return explorer.locator(".fxx-diagram svg .node").count()


@pytest.mark.always
def test_unfold_tick_run_and_read_the_code(lab, explorer, screenshots):
    page = lab.page
    page.screenshot(path=screenshots / "quickstart-1-opened.png")

    before = boxes(explorer)
    assert row(explorer, "layer2.0").get_attribute("aria-expanded") == "false"
    row(explorer, "layer2.0").locator(".fxx-fold").click()
    row(explorer, "layer2.0.conv1").wait_for()
    page.wait_for_function(
        "n => document.querySelectorAll('.fxx-diagram svg .node').length > n", arg=before
    )
    assert row(explorer, "layer2.0").get_attribute("aria-expanded") == "true"

    row(explorer, "layer1.0.relu").locator(".fxx-box").click()
    row(explorer, "layer2.0").locator(".fxx-box").click()
    assert row(explorer, "layer1.0.relu").get_attribute("aria-checked") == "true"
    assert row(explorer, "layer1").get_attribute("aria-checked") == "mixed"
    explorer.locator(".fxx-diagram svg .fxx-ticked").nth(1).wait_for()
    page.screenshot(path=screenshots / "quickstart-2-ticked.png")

    explorer.get_by_role("tab", name="Feature maps").click()
    explorer.get_by_role("button", name="Run", exact=True).click()
    maps = explorer.locator(".fxx-pictures .fxx-map")
    maps.nth(1).wait_for()
    assert maps.count() == 2
    assert maps.nth(0).evaluate("image => image.complete && image.naturalWidth > 600")
    page.screenshot(path=screenshots / "quickstart-3-maps.png")

    explorer.get_by_role("tab", name="Code").click()
    code = explorer.locator(".fxx-code-tab .fxx-code").inner_text()
    assert '"layer1.0.relu"' in code
    assert '"layer2.0"' in code
    page.screenshot(path=screenshots / "quickstart-4-code.png")

    assert ast.literal_eval(lab.python("_2.return_nodes")) == {
        "layer1.0.relu": "layer1.0.relu",
        "layer2.0": "layer2.0",
    }
    assert lab.python("{k: tuple(v.shape) for k, v in _2.features.items()}") == (
        "{'layer1.0.relu': (1, 64, 56, 56), 'layer2.0': (1, 128, 28, 28)}"
    )


@pytest.mark.always
def test_the_code_that_is_shown_runs_as_pasted(lab, explorer):
    lab.python("setattr(_2, 'selected', ['layer1', 'layer4.1.add'])")
    explorer.get_by_role("tab", name="Code").click()
    code = explorer.locator(".fxx-code-tab .fxx-code")
    lab.page.wait_for_function(
        "() => document.querySelector('.fxx-code-tab .fxx-code').innerText.includes('layer4.1.add')"
    )
    assert lab.python(f"(scope := {{'model': model}}, exec({code.inner_text()!r}, scope))[1]") == (
        "None"
    )


def test_the_selection_made_in_python_shows_in_tree_and_diagram(lab, explorer):
    lab.python("setattr(_2, 'selected', ['layer3'])")
    lab.page.wait_for_function("() => document.querySelector('.fxx-ticked')")
    assert row(explorer, "layer3").get_attribute("aria-checked") == "true"
    assert explorer.locator(".fxx-diagram .fxx-ticked").get_attribute("data-name") == "layer3"


@pytest.mark.always
def test_the_tree_works_by_keyboard_alone(lab, explorer):
    tree = explorer.get_by_role("tree")
    tree.focus()
    page = lab.page
    for key in ("Home", "ArrowDown", "Space", "l", "ArrowLeft"):
        page.keyboard.press(key)
    page.wait_for_function(
        "() => document.querySelector('.fxx-focused')?.dataset.name === 'layer1'"
    )
    assert row(explorer, "layer1").get_attribute("aria-expanded") == "false"
    lab.wait_for("(_2.selected, 'layer1' in _2.expanded)", "(['conv1'], False)")


def test_a_search_shows_hits_with_their_parents(lab, explorer, screenshots):
    explorer.locator(".fxx-search").fill("downsample conv2d")
    lab.page.wait_for_function("() => document.querySelector('.fxx-count').innerText === '3 hits'")
    titles = [r.get_attribute("title") for r in explorer.locator("[role=treeitem]").all()]
    assert [title.split("\n")[0] for title in titles][:4] == [
        "layer2", "layer2.0", "layer2.0.downsample", "layer2.0.downsample.0",
    ]  # fmt: skip
    lab.page.screenshot(path=screenshots / "quickstart-5-search.png")


def test_an_error_is_shown_in_words(lab, explorer, screenshots):
    explorer.get_by_role("tab", name="Feature maps").click()
    explorer.get_by_role("button", name="Run", exact=True).click()
    alert = explorer.get_by_role("alert").filter(has_text="nothing is ticked")
    alert.wait_for()
    assert "nothing is ticked" in alert.inner_text()
    lab.page.screenshot(path=screenshots / "quickstart-6-error.png")


def test_the_dark_theme_reads_well(lab, explorer, screenshots):
    lab.python("setattr(_2, 'selected', ['layer1.0.relu', 'layer3'])")
    lab.set_theme("JupyterLab Dark")
    try:
        lab.page.wait_for_function("() => document.body.dataset.jpThemeLight === 'false'")
        lab.page.screenshot(path=screenshots / "quickstart-7-dark.png")
        colours = explorer.locator(".fxx-tree").evaluate(
            "tree => [getComputedStyle(tree).color, getComputedStyle(tree).backgroundColor]"
        )
        assert brightness(colours[0]) - brightness(colours[1]) > 120
    finally:
        lab.set_theme("JupyterLab Light")


def brightness(colour):
    channels = [float(part) for part in colour[colour.index("(") + 1 : -1].split(",")[:3]]
    return sum(channels) / 3
