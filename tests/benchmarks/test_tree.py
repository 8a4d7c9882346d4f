"""What the tree costs: bytes on the wire, and milliseconds in the page."""

import statistics
import time

import pytest

from fxexplore.model_graph import ModelGraph, Module, Node
from fxexplore.notebook.node_tree import NodeTree
from tests.browser.conftest import browser, screenshots, widget_page  # noqa: F401

# Last, like all that is in a browser: see tests/browser/conftest.py.
pytestmark = [pytest.mark.slow, pytest.mark.browser]


def big_graph(rows: int) -> ModelGraph:
    """Nested modules, every one of another structure: nothing folds into runs."""
    nodes, modules = [], []
    for stage in range(rows // 500):
        modules.append(Module(f"stage_{stage}", "Stage", 10 * stage, shape=(1, stage)))
        for block in range(31):
            path = f"stage_{stage}.block_{block}"
            modules.append(Module(path, "Block", stage + block, shape=(1, 64, stage)))
            nodes += [
                Node(
                    f"{path}.conv_{i}", "module", "Conv2d", path, f"{stage}, {block}, {i}",
                    parameters=stage * i, shape=(1, 64, stage, block), flops=stage * block,
                )
                for i in range(15)
            ]  # fmt: skip
    return ModelGraph("Big", tuple(nodes), tuple(modules), parameters=10**8)


MEASURE = """async (action) => {
    const times = [];
    for (let n = 0; n < 7; n++) {
        const start = performance.now();
        action(n);
        await Promise.resolve(); await Promise.resolve();
        document.querySelector('.fxx-list').getBoundingClientRect(); // lays out
        times.push(performance.now() - start);
    }
    return times;
}"""


def measure(page, action):
    times = page.evaluate(f"() => ({MEASURE})({action})")
    return f"{statistics.median(times):8.1f} ms, at best {min(times):.1f}"


@pytest.mark.parametrize("rows", [10_000, 100_000])
def test_what_the_tree_costs(widget_page, rows):
    graph = big_graph(rows)
    start = time.perf_counter()
    tree = NodeTree(graph, expanded=[])
    print(f"\n{len(graph.rows)} rows; made in Python in {time.perf_counter() - start:.2f} s")
    widget_page.show(tree)
    page = widget_page.page
    print(f"  wire           {widget_page.opening_bytes / len(graph.rows):8.1f} bytes a row")
    print(f"  first paint    {page.evaluate('fxxRenderTime'):8.1f} ms, then {again(page):.1f} ms")
    press = "document.querySelector('.fxx-find > .fxx-button:last-child').click()"
    print(f"  (un)fold all   {measure(page, f'() => {press}')}")
    one = "document.querySelector('.fxx-fold').click()"
    print(f"  (un)fold one   {measure(page, f'() => {one}')}")
    tick = "document.querySelectorAll('.fxx-box')[n].click()"
    print(f"  tick           {measure(page, f'(n) => {tick}')}")
    words = "['conv_1', 'block_3', 'class:Conv2d', 'params>10', 'conv 7', 'b*9', '']"
    search = f"fxxModel.set('query', {words}[n])"
    print(f"  filter         {measure(page, f'(n) => {search}')}")
    for query in ("conv_1", "block_3", "class:Conv2d", "params>10", "stage_7 conv", "b*9", ""):
        took = page.evaluate(
            f"async q => (await ({MEASURE})(n => fxxModel.set('query', n % 2 ? q : '')))[3]", query
        )
        print(f"    {query:<13}{took:8.1f} ms")
    print(f"  frame          {statistics.median(frames(page)):8.1f} ms while scrolling")
    biggest = max(len(str(message)) for message in widget_page.messages)
    print(f"  biggest answer {biggest:8} bytes")


def again(page):
    """Milliseconds of another view of the same tree: the best of five, for machines are busy."""
    return page.evaluate(
        """async () => {
            const times = [];
            for (let n = 0; n < 5; n++) {
                const el = document.createElement('div');
                const start = performance.now();
                const leave = await fxxRender(el);
                document.querySelector('main').append(el);
                el.getBoundingClientRect();
                times.push(performance.now() - start);
                leave();
                el.remove();
            }
            return Math.min(...times);
        }"""
    )


def frames(page):
    """Milliseconds of each frame while all rows are scrolled through."""
    return page.evaluate(
        """async () => {
            document.querySelector('.fxx-find > .fxx-button:last-child').click();
            const list = document.querySelector('.fxx-list');
            const times = [];
            let last = await new Promise(requestAnimationFrame);
            for (let n = 1; n < 120; n++) {
                list.scrollTop = (n / 120) * list.scrollHeight;
                const now = await new Promise(requestAnimationFrame);
                times.push(now - last);
                last = now;
            }
            return times;
        }"""
    )
