"""Models of a thousand and more nodes stay usable."""

import pytest

from tests.marks import mostly_slow

from .conftest import notebook_in, notebook_of

CELL = """
import torchvision
from fxexplore import explore
explorer = explore(torchvision.models.{}(weights=None))
explorer
"""
NODES = {"vit_b_16": 180, "densenet201": 700, "maxvit_t": 1500}
PATHS = {
    "vit_b_16": "encoder.layers.encoder_layer_7",
    "densenet201": "features.denseblock3",
    "maxvit_t": "blocks.1",
}


@pytest.fixture(scope="module", params=mostly_slow(NODES, "densenet201"))
def model(request):
    return request.param


@pytest.fixture(scope="module")
def lab(page, server, model):
    with notebook_in(page, server) as lab:
        lab.open(notebook_of(CELL.format(model)))
        lab.run_all()
        yield lab


@pytest.fixture
def explorer(lab, model):
    explorer = lab.page.locator(".fxx-explorer")
    explorer.locator("[role=treeitem]").first.wait_for()
    assert int(lab.python("len(explorer.graph.nodes)")) > NODES[model]
    lab.python("setattr(explorer, 'query', '')")
    lab.python("setattr(explorer, 'detail', 'everything')")
    explorer.evaluate("e => e.scrollIntoView({block: 'nearest'})")
    return explorer


def test_what_is_unfolded_gets_a_picture(lab, explorer, model, screenshots):
    path = PATHS[model]
    explorer.locator(".fxx-diagram svg .node").first.wait_for()
    lab.page.screenshot(path=screenshots / f"{model}-1-opened.png")
    lab.python(f"setattr(explorer, 'expanded', explorer.expanded + [{path!r}])")
    lab.wait_for("explorer.diagram.wait(5)", "True")
    drawn = "explorer.diagram.boxes.values()"  # operations on sizes are not
    children = f"explorer.graph.children({path!r})"
    child = lab.python(f"next(name for name in {children} if name in {drawn})").strip("'")
    # Names may have dots, which a CSS selector would read otherwise.
    lab.page.wait_for_function(
        "name => [...document.querySelectorAll('.fxx-diagram svg [data-name]')]"
        ".some(box => box.dataset.name === name)",
        arg=child,
    )
    lab.page.screenshot(path=screenshots / f"{model}-2-unfolded.png")


def test_every_row_is_reached_by_scrolling(lab, explorer, screenshots, model):
    page = lab.page
    # Unfolded in the tree alone: what the diagram makes of it is another test's business.
    lab.python("explorer.diagram.unobserve_all('expanded')")
    explorer.get_by_role("button", name="Fold or unfold every module").click()  # folds
    explorer.get_by_role("button", name="Fold or unfold every module").click()  # unfolds
    rows = int(lab.python("len(explorer.graph.rows)"))
    groups = int(lab.python("len(explorer.tree.groups) // 12"))  # which have rows of their own
    page.wait_for_function(
        "n => document.querySelector('.fxx-space').style.height === `${22 * n}px`",
        arg=rows + groups,
    )
    seen = page.evaluate(
        """async () => {
            const list = document.querySelector('.fxx-list');
            const names = new Set();
            const frame = () => new Promise(requestAnimationFrame);
            for (let top = 0; top < list.scrollHeight; top += list.clientHeight) {
                list.scrollTop = top;
                await frame(); await frame();
                for (const row of list.querySelectorAll('[data-name]')) names.add(row.dataset.name);
            }
            return [...names];
        }"""
    )
    assert len(seen) == rows
    page.screenshot(path=screenshots / f"{model}-3-scrolled.png")


def test_only_the_rows_in_sight_are_in_the_page(explorer):
    assert explorer.locator("[role=treeitem]").count() < 60


def test_a_search_finds_a_node_deep_inside(lab, explorer):
    last = lab.python("explorer.graph.nodes[-2].name").strip("'")
    explorer.locator(".fxx-search").fill(last)
    explorer.locator(f'[role=treeitem][data-name="{last}"]').wait_for()
