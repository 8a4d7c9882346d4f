"""A notebook that was saved with an explorer in it, opened again: what is left of the explorer.

The kernel that made it is gone. Either the widgets' state was saved with the notebook, or only
the page that stands beside the widget. (With its state and no kernel at all, ipywidgets in
JupyterLab shows "Loading widget..." for every widget until there is some kernel.)
"""

import json

import pytest

from .conftest import notebook_of

CELL = """
import torchvision
from fxexplore import explore
explorer = explore(torchvision.models.resnet18(weights=None), selected=["layer1"])
explorer
"""
SLOW = """
import pathlib, time
from torch import nn
from fxexplore import explore

class Slow(nn.Module):
    def __init__(self):
        super().__init__()
        self.head = nn.Linear(4, 2)

    def forward(self, x):
        while x.sum() < 1e9 and not pathlib.Path("go").exists():  # cannot be traced
            time.sleep(0.1)
        return self.head(x)

explore(Slow().eval())
"""
READY = "window.jupyterapp && window.jupyterapp.restored.then(() => true)"
OPEN = """async ([path, startsKernel]) => {
    const app = window.jupyterapp;
    const preference = app.docRegistry.getKernelPreference.bind(app.docRegistry);
    app.docRegistry.getKernelPreference = (...args) =>
        ({...preference(...args), shouldStart: startsKernel, canStart: startsKernel});
    const widget = await app.commands.execute('docmanager:open', {path});
    await widget.context.ready;
    if (startsKernel) await widget.sessionContext.ready;
    app.shell.collapseLeft?.();
    window.fxNotebook = widget;
}"""


@pytest.fixture(scope="module")
def fresh_page(browser, server):
    """Opens a notebook in a page that has not seen it."""
    address, folder = server
    pages = []

    def opened(name, notebook, *, kernel):
        (folder / name).write_text(json.dumps(notebook))
        page = browser.new_page(viewport={"width": 1500, "height": 1100})
        pages.append(page)
        page.set_default_timeout(60_000)
        page.goto(f"{address}/lab?reset")  # no tabs of the page before
        page.wait_for_function(READY)
        page.evaluate(OPEN, [name, kernel])
        return page

    yield opened
    for page in pages:
        page.evaluate("window.fxNotebook.sessionContext.shutdown()")
        page.close()


@pytest.fixture(scope="module")
def saved(fresh_page, server):
    """The notebook as JupyterLab saves it, with the state of its widgets."""
    page = fresh_page("made.ipynb", notebook_of(CELL), kernel=True)
    run = "window.jupyterapp.commands.execute('notebook:run-all-cells')"
    page.evaluate(run)
    page.locator(".fxx-explorer .fxx-diagram svg .node").first.wait_for()
    save = (
        "window.jupyterapp.commands.execute('@jupyter-widgets/jupyterlab-manager:saveWidgetState')"
    )
    # The command switches a setting, which others are not to find switched.
    page.evaluate(f"{save}.then(() => window.fxNotebook.context.save()).then(() => {save})")
    return json.loads((server[1] / "made.ipynb").read_text())


def test_with_its_state_and_a_new_kernel_the_explorer_says_that_nothing_runs(
    fresh_page, saved, screenshots
):
    page = fresh_page("opened.ipynb", saved, kernel=True)
    explorer = page.locator(".fxx-explorer.jupyter-widgets-disconnected")
    explorer.locator(".fxx-diagram svg .node").first.wait_for()
    said = explorer.evaluate("e => getComputedStyle(e, '::before').content")
    assert "Not connected to a kernel" in said
    assert explorer.locator(".fxx-tree [data-name=layer1]").is_visible()
    explorer.locator(".fxx-tree [data-name='layer1.0'] .fxx-fold").click()
    explorer.locator(".fxx-tree [data-name='layer1.0.conv1']").wait_for(state="detached")
    explorer.get_by_role("tab", name="Feature maps").click()
    for name in ("Run", "Save page", "More", "train"):
        control = explorer.get_by_text(name, exact=True).first
        style = control.evaluate(
            """e => {
                const part = e.closest('.jupyter-button, .fxx-mode, .fxx-needs-kernel');
                const {pointerEvents, opacity} = getComputedStyle(part);
                return [pointerEvents, Number(opacity)];
            }"""
        )
        assert style == ["none", 0.45], name
    page.screenshot(path=screenshots / "saved-new-kernel.png")


def test_without_its_state_the_page_beside_the_widget_is_shown(fresh_page, saved, screenshots):
    metadata = {k: v for k, v in saved["metadata"].items() if k != "widgets"}
    page = fresh_page("stateless.ipynb", saved | {"metadata": metadata}, kernel=False)
    output = page.locator(".jp-OutputArea-output")
    output.locator("summary", has_text="layer1").first.wait_for()
    page.screenshot(path=screenshots / "saved-no-state.png")
    assert "1×64×56×56" in output.inner_text()
    picture = output.locator("img")
    assert picture.evaluate("e => e.complete && e.naturalWidth > 100")
    assert page.locator(".fxx-explorer").count() == 0


def test_a_model_that_opens_late_is_saved_as_it_is_then(fresh_page, server, screenshots):
    page = fresh_page("slow.ipynb", notebook_of(SLOW), kernel=True)
    page.evaluate("window.jupyterapp.commands.execute('notebook:run-all-cells')")
    explorer = page.locator(".fxx-explorer")
    explorer.get_by_text("not run yet").first.wait_for()
    (server[1] / "go").touch()
    explorer.locator(".fxx-tree").get_by_text("1×2").first.wait_for()
    explorer.locator(".fxx-diagram svg .node").first.wait_for()
    page.wait_for_function("document.querySelectorAll('.fxx-explorer').length === 1")
    page.screenshot(path=screenshots / "saved-slow.png")
    page.evaluate("window.fxNotebook.context.save()")
    (output,) = json.loads((server[1] / "slow.ipynb").read_text())["cells"][-1]["outputs"]
    page = "".join(output["data"]["text/html"])
    assert "1×2" in page
    assert "not run yet" not in page
    assert "data:image/svg+xml" in page
