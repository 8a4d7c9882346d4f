"""The explorer as a whole, in JupyterLab: by mouse, by keyboard alone, light and dark."""

import json

import pytest

from tests.marks import mostly_slow

from .conftest import AXE_RUN, faults, notebook_of

RESNET = """
import torchvision
from fxexplore import explore
model = torchvision.models.resnet18(weights=None)
explorer = explore(model)
explorer
"""
TWO_NODES = {"layer1.0.relu": "layer1.0.relu", "layer3": "stage3"}
SWITCHING = """
import torch
from torch import nn
from fxexplore import explore
class Net(nn.Module):
    def __init__(self, fails=False):
        super().__init__()
        self.head = nn.Conv2d(3, 2, 1)
        self.fails = fails
    def forward(self, x):
        if self.fails and self.training:
            raise RuntimeError("no <b>training</b> here")
        x = self.head(x)
        return torch.tanh(x) if self.training else torch.sigmoid(x)
model = Net({fails})
explorer = explore(model)
explorer
"""


def shown(lab, code):
    lab.open(notebook_of(code))
    lab.run_all()
    explorer = lab.page.locator(".fxx-explorer").first
    explorer.locator("[role=treeitem]").first.wait_for()
    explorer.locator(".fxx-diagram svg .node").first.wait_for()
    explorer.evaluate("e => e.scrollIntoView({block: 'nearest'})")
    return explorer


def row(explorer, name):
    return explorer.locator(f'.fxx-tree [role=treeitem][data-name="{name}"]')


def tab(explorer, name):
    explorer.get_by_role("tab", name=name).click()


def press_until(page, key, condition):
    """Press a key until the focused element fulfils a condition."""
    for _ in range(60):
        if page.evaluate(f"({condition})(document.activeElement)"):
            return
        page.keyboard.press(key)
    raise AssertionError(f"{key} never came to where {condition}")


# What pages without JupyterLab's variables define: those of VS Code's own themes, or nothing.
PAGES = {
    "vscode-light": {
        "foreground": "#3b3b3b", "descriptionForeground": "#3b3b3b", "editor-background": "#ffffff",
        "sideBar-background": "#f8f8f8", "panel-border": "#e5e5e5", "focusBorder": "#005fb8",
        "button-foreground": "#ffffff", "button-background": "#005fb8",
        "errorForeground": "#f85149", "textLink-foreground": "#005fb8",
    },
    "vscode-dark": {
        "foreground": "#cccccc", "descriptionForeground": "#9d9d9d", "editor-background": "#1f1f1f",
        "sideBar-background": "#181818", "panel-border": "#2b2b2b", "focusBorder": "#0078d4",
        "button-foreground": "#ffffff", "button-background": "#0078d4",
        "errorForeground": "#f85149", "textLink-foreground": "#4daafc",
    },
    "vscode-high-contrast": {
        "foreground": "#ffffff", "editor-background": "#000000", "sideBar-background": "#000000",
        "descriptionForeground": "rgba(255, 255, 255, 0.7)", "panel-border": "#6fc3df",
        "focusBorder": "#f38518", "button-foreground": "#ffffff", "contrastBorder": "#6fc3df",
        "errorForeground": "#f48771", "textLink-foreground": "#21a6ff",
    },
    "vscode-high-contrast-light": {
        "foreground": "#292929", "descriptionForeground": "rgba(41, 41, 41, 0.7)",
        "editor-background": "#ffffff", "sideBar-background": "#ffffff",
        "panel-border": "#0f4a85", "focusBorder": "#006bbd", "contrastBorder": "#0f4a85",
        "button-foreground": "#ffffff", "button-background": "#0f4a85",
        "errorForeground": "#b5200d", "textLink-foreground": "#0f4a85",
    },
    "bare-light": {}, "bare-dark": {},
}  # fmt: skip
# Takes JupyterLab's variables away from the explorer, and gives it others.
DRESS = """([explorer, page, values]) => {
  const host = explorer.closest('.jp-OutputArea');
  for (const name of getComputedStyle(document.body)) {
    const isTheirs = name.startsWith("--jp-") && !name.startsWith("--jp-widgets");
    if (isTheirs) host.style.setProperty(name, "initial");
  }
  for (const name in values) host.style.setProperty(`--vscode-${name}`, values[name]);
  const isDark = /dark|contrast$/.test(page);
  host.style.colorScheme = isDark ? 'dark' : 'light';
  host.style.background = values['editor-background'] ?? 'Canvas';
  host.style.color = values.foreground ?? 'CanvasText';
}"""

# Texts of less contrast than 4.5 to what is behind them (WCAG 2.2, AA).
FAINT = """explorer => {
  const parse = (css) => {
    const canvas = Object.assign(document.createElement('canvas'), {width: 1, height: 1});
    const context = canvas.getContext('2d');
    context.fillStyle = css; context.fillRect(0, 0, 1, 1);
    return [...context.getImageData(0, 0, 1, 1).data].map((v) => v / 255);
  };
  const over = (top, under) => under.map((v, i) => i < 3 ? top[i] * top[3] + v * (1 - top[3]) : 1);
  const linear = (v) => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const light = (c) => c.slice(0, 3).map(linear)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (e) => {
    const layers = [];
    for (let p = e; p; p = p.parentElement) layers.push(parse(getComputedStyle(p).backgroundColor));
    return layers.reverse().reduce((under, top) => over(top, under), [1, 1, 1, 1]);
  };
  const faint = [];
  for (const e of explorer.querySelectorAll('*')) {
    const texts = [...e.childNodes].filter((n) => n.nodeType === 3).map((n) => n.data.trim());
    const text = texts.join('');
    if (!text || e.closest('defs, [disabled], [hidden]')) continue;
    if (!e.checkVisibility({visibilityProperty: true})) continue;
    const isDrawn = e.tagName === 'text';
    const box = isDrawn && e.closest('.node')?.querySelector('path');
    const ground = behind(isDrawn ? e.closest('.fxx-pane') : e);
    const under = box ? over(parse(getComputedStyle(box).fill), ground) : ground;
    const ink = over(parse(getComputedStyle(e)[isDrawn ? 'fill' : 'color']), under);
    const [a, b] = [light(ink), light(under)].sort((x, y) => y - x);
    const contrast = (a + 0.05) / (b + 0.05);
    if (contrast < 4.5) faint.push([text.slice(0, 40), e.className, contrast.toFixed(2)]);
  }
  return faint;
}"""


@pytest.fixture(scope="class")
def resnet(lab):
    lab.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    return shown(lab, RESNET)


@pytest.mark.usefixtures("resnet")
class TestInOneNotebook:
    """Each test finds the explorer as it was opened; the last one restarts the kernel."""

    @pytest.fixture
    def explorer(self, lab):
        for trait, value in (("mode", "eval"), ("return_nodes", {}), ("focused", "")):
            lab.python(f"setattr(explorer, {trait!r}, {value!r})")
        explorer = lab.page.locator(".fxx-explorer").first
        explorer.locator(".fxx-chip").first.wait_for(state="detached")
        tab(explorer, "Diagram")
        explorer.evaluate("e => e.scrollIntoView({block: 'nearest'})")
        return explorer

    def test_facts_and_picture_are_there_and_saved_in_the_notebook(
        self, lab, explorer, screenshots
    ):
        assert "1×64×56×56" in row(explorer, "layer1").inner_text()
        assert "GFLOPs" in explorer.locator(".fxx-header").inner_text()
        page = lab.page.evaluate(
            "window.fxNotebook.content.widgets[0].outputArea.model.get(0).data['text/html']"
        )
        assert "1×64×56×56" in page
        assert "data:image/svg+xml;base64," in page
        lab.page.screenshot(path=screenshots / "explorer-1-opened.png")

    def test_keys_are_renamed_and_the_code_follows(self, lab, explorer, screenshots):
        row(explorer, "conv1").locator(".fxx-box").click()
        row(explorer, "bn1").locator(".fxx-box").click()
        explorer.get_by_role("button", name="Rename the key bn1 of bn1").click()
        key = explorer.get_by_role("textbox", name="Key of bn1")
        key.fill("conv1")
        assert "is the key of conv1 already" in explorer.locator(".fxx-key-problem").inner_text()
        lab.page.screenshot(path=screenshots / "explorer-2-clash.png")
        assert lab.python("explorer.return_nodes") == "{'conv1': 'conv1', 'bn1': 'bn1'}"
        key.fill("norm")
        lab.page.keyboard.press("Enter")
        lab.wait_for("explorer.return_nodes", "{'conv1': 'conv1', 'bn1': 'norm'}")
        tab(explorer, "Code")
        lab.page.wait_for_function(
            "() => document.querySelector('.fxx-code-tab .fxx-code').innerText.includes('\"norm\"')"
        )
        explorer.locator(".fxx-code-tab").get_by_role("button", name="Copy extractor code").click()
        explorer.get_by_role("button", name="Copied").wait_for()
        lab.page.screenshot(path=screenshots / "explorer-3-code.png")
        code = lab.page.evaluate("navigator.clipboard.readText()")
        assert lab.python("explorer.code.text") == repr(code)
        assert lab.python(
            f"(s := dict(model=model), exec({code!r}, s), list(s['features']))[2]"
        ) == ("['conv1', 'norm']")

    def test_the_node_tab_leads_from_node_to_node(self, lab, explorer, screenshots):
        row(explorer, "layer1.0.conv1").click()
        tab(explorer, "Node")
        facts = explorer.locator(".fxx-facts")
        facts.get_by_role("heading", name="layer1.0.conv1").wait_for()
        lab.page.screenshot(path=screenshots / "explorer-4-node.png")
        facts.get_by_role("button", name="layer1.0.bn1").click()
        facts.get_by_role("heading", name="layer1.0.bn1").wait_for()
        lab.page.wait_for_function(
            "() => document.querySelector('.fxx-focused')?.dataset.name === 'layer1.0.bn1'"
        )
        lab.wait_for("explorer.focused", "'layer1.0.bn1'")

    @pytest.mark.parametrize(
        "theme",
        mostly_slow(
            ["JupyterLab Light", "JupyterLab Dark", "JupyterLab Dark High Contrast"],
            "JupyterLab Light", "JupyterLab Dark",
        ),
    )  # fmt: skip
    def test_every_text_reads_well_in(self, theme, lab, explorer, screenshots):
        lab.python(f"setattr(explorer, 'return_nodes', {TWO_NODES})")
        lab.python("setattr(explorer, 'focused', 'layer1.0.conv1')")
        explorer.locator(".fxx-chip").nth(1).wait_for()
        lab.set_theme(theme)  # while it is open
        try:
            name = theme.replace("JupyterLab ", "").replace(" ", "-").lower()
            for title in ("Diagram", "Code", "Node"):
                tab(explorer, title)
                lab.page.screenshot(path=screenshots / f"explorer-7-{name}-{title.lower()}.png")
                faint = explorer.evaluate(FAINT)
                assert not faint, json.dumps(faint[:5], indent=1)
        finally:
            lab.set_theme("JupyterLab Light")

    @pytest.mark.parametrize(
        "name",
        mostly_slow(
            [*PAGES, "forced-colors", "forced-colors-dark"],
            "vscode-dark", "forced-colors",
        ),
    )  # fmt: skip
    def test_every_text_reads_well_in_other_pages(self, name, lab, explorer, screenshots):
        lab.python(f"setattr(explorer, 'return_nodes', {TWO_NODES})")
        lab.python("setattr(explorer, 'focused', 'layer1.0.conv1')")
        explorer.locator(".fxx-chip").nth(1).wait_for()
        host = lab.page.locator(".jp-OutputArea").first
        if name in PAGES:
            lab.page.evaluate(DRESS, [explorer.element_handle(), name, PAGES[name]])
        else:
            scheme = "dark" if name.endswith("dark") else "light"
            lab.page.emulate_media(forced_colors="active", color_scheme=scheme)
        try:
            for title in ("Diagram", "Feature maps", "Code", "Node"):
                tab(explorer, title)
                file = f"explorer-11-{name}-{title.lower().replace(' ', '-')}.png"
                lab.page.screenshot(path=screenshots / file)
                assert explorer.locator("text=conv1").count()
                faint = explorer.evaluate(FAINT)
                assert not faint, json.dumps(faint, indent=1)
        finally:
            host.evaluate("e => e.removeAttribute('style')")
            lab.page.emulate_media(forced_colors="none", color_scheme="light")

    def test_axe_finds_nothing(self, lab, explorer, axe):
        lab.python(f"setattr(explorer, 'return_nodes', {TWO_NODES})")
        lab.python("setattr(explorer, 'focused', 'layer1.0.conv1')")
        explorer.locator(".fxx-chip").nth(1).wait_for()
        lab.page.evaluate(axe)
        for title in ("Diagram", "Feature maps", "Code", "Node"):
            tab(explorer, title)
            found = faults(lab.page.evaluate(AXE_RUN, ".fxx-explorer"))
            assert found == [], title + "\n" + "\n".join(found)

    @pytest.mark.parametrize("width", [600, 900])
    def test_a_narrow_page(self, width, lab, explorer, screenshots):
        lab.python(f"setattr(explorer, 'return_nodes', {TWO_NODES})")
        explorer.locator(".fxx-chip").nth(1).wait_for()
        explorer.evaluate("(e, width) => (e.style.width = `${width}px`)", width)
        try:
            explorer.evaluate("e => e.scrollIntoView({block: 'nearest'})")
            lab.page.screenshot(path=screenshots / f"explorer-8-{width}.png")
            assert explorer.evaluate("e => e.scrollWidth <= e.clientWidth")
            for part in (".fxx-header", ".fxx-footer", ".fxx-left", ".fxx-right"):
                assert explorer.locator(part).evaluate("e => e.scrollWidth <= e.clientWidth + 1"), (
                    part
                )
                assert explorer.locator(part).bounding_box()["width"] >= 250
        finally:
            explorer.evaluate("e => (e.style.width = '')")

    def test_full_screen(self, lab, explorer, screenshots):
        explorer.get_by_role("button", name="Fill the screen").click()
        explorer.get_by_role("button", name="Leave full screen").wait_for()
        size = lab.page.viewport_size
        box = explorer.bounding_box()
        assert (box["width"], box["height"]) == (size["width"], size["height"])
        assert explorer.locator(".fxx-body").bounding_box()["height"] > 0.8 * size["height"]
        lab.page.screenshot(path=screenshots / "explorer-9-full.png")
        explorer.get_by_role("button", name="Leave full screen").click()
        explorer.get_by_role("button", name="Fill the screen").wait_for()

    def test_a_page_is_saved(self, lab, explorer):
        row(explorer, "conv1").locator(".fxx-box").click()
        explorer.locator(".fxx-chip").wait_for()
        with lab.page.expect_download() as download:
            explorer.get_by_role("button", name="Save page").click()
        assert download.value.suggested_filename == "ResNet.html"
        page = download.value.path().read_text()
        assert page.startswith("<!doctype html>")
        assert "☑" in page

    def test_the_whole_job_by_keyboard_alone(self, lab, explorer):
        page = lab.page
        explorer.get_by_role("tree").focus()
        for key in ("Home", "ArrowDown", "Space"):
            page.keyboard.press(key)
        lab.wait_for("explorer.selected", "['conv1']")
        press_until(page, "Tab", "e => e.getAttribute('role') === 'separator'")
        page.keyboard.press("ArrowRight")
        press_until(page, "Tab", "e => e.getAttribute('role') === 'tab'")
        for name in ("Feature maps", "Code", "Node"):
            page.keyboard.press("ArrowRight")
            page.keyboard.press("Enter")
            explorer.get_by_role("tab", name=name, selected=True).wait_for()
        press_until(page, "Tab", "e => e.getAttribute('aria-label') === 'Show conv1'")
        page.keyboard.press("F2")
        page.keyboard.type("first")
        page.keyboard.press("Enter")
        lab.wait_for("explorer.return_nodes", "{'conv1': 'first'}")
        press_until(page, "Tab", "e => e.textContent === 'Copy extractor code'")
        page.keyboard.press("Enter")
        explorer.get_by_role("button", name="Copied").first.wait_for()
        press_until(page, "Shift+Tab", "e => e.type === 'radio' && !e.checked")
        page.keyboard.press("Space")
        lab.wait_for("explorer.mode", "'train'")
        assert lab.python("explorer.return_nodes") == "{'conv1': 'first'}"

    def test_two_views_stay_in_step(self, lab, explorer):
        lab.page.evaluate(
            """async () => {
                const {content} = window.fxNotebook;
                const cell = content.widgets[0].outputArea;
                cell.model.add(cell.model.get(0).toJSON());
            }"""
        )
        second = lab.page.locator(".fxx-explorer").nth(1)
        second.locator("[role=treeitem]").first.wait_for()
        row(explorer, "conv1").locator(".fxx-box").click()
        second.locator(".fxx-chip").wait_for()
        assert row(second, "conv1").get_attribute("aria-checked") == "true"
        second.get_by_role("separator", name="Width of the tree").focus()
        lab.page.keyboard.press("Home")
        lab.page.wait_for_function(
            "() => [...document.querySelectorAll('.fxx-explorer')].every("
            "e => e.style.getPropertyValue('--fxx-split') === '15%')"
        )

    def test_after_a_restart_it_says_that_nothing_runs(self, lab, explorer, screenshots):
        row(explorer, "conv1").locator(".fxx-box").click()
        explorer.locator(".fxx-chip").wait_for()
        lab.page.evaluate("window.fxNotebook.sessionContext.session.kernel.restart()")
        lab.page.locator(".fxx-explorer.jupyter-widgets-disconnected").first.wait_for()
        said = explorer.evaluate("e => getComputedStyle(e, '::before').content")
        assert "Not connected to a kernel" in said
        assert row(explorer, "layer1").is_visible()
        assert explorer.locator(".fxx-diagram svg .node").count() > 5
        lab.page.screenshot(path=screenshots / "explorer-10-restarted.png")
        explorer.locator(".fxx-footer").get_by_role("button", name="Copy extractor code").click()
        explorer.get_by_role("button", name="Copied").first.wait_for()
        tab(explorer, "Feature maps")
        run = explorer.get_by_role("button", name="Run", exact=True)
        assert run.evaluate("e => getComputedStyle(e).pointerEvents") == "none"


def test_the_switch_of_modes(lab, screenshots):
    explorer = shown(lab, SWITCHING.format(fails=False))
    row(explorer, "sigmoid").locator(".fxx-box").click()
    row(explorer, "head").locator(".fxx-box").click()
    explorer.get_by_role("radio", name="train").check()
    row(explorer, "tanh").wait_for()
    assert "sigmoid" in explorer.locator(".fxx-notice").inner_text()
    assert explorer.locator(".fxx-chip").count() == 1
    lab.wait_for("explorer.wait(5)", "True")
    explorer.locator(".fxx-diagram svg .fxx-only").wait_for()
    lab.page.screenshot(path=screenshots / "explorer-5-train.png")
    tab(explorer, "Feature maps")
    explorer.get_by_role("button", name="Run", exact=True).click()
    explorer.locator(".fxx-pictures .fxx-map").first.wait_for()
    assert lab.python("(model.training, list(explorer.features))") == "(True, ['head'])"
    assert ").train()" in lab.python("explorer.code.text")


@pytest.mark.slow
def test_a_mode_that_does_not_open_says_why(lab, screenshots):
    explorer = shown(lab, SWITCHING.format(fails=True))
    # Not `check`: it insists that the button stays chosen, which it does not.
    explorer.get_by_role("radio", name="train").click()
    alert = explorer.get_by_role("alert").filter(has_text="no <b>training</b> here")
    alert.wait_for()
    assert explorer.get_by_role("radio", name="eval").is_checked()
    assert explorer.get_by_role("radio", name="train").is_disabled()
    assert not alert.locator("pre").is_visible()
    alert.locator("summary").click()
    assert alert.locator("pre").is_visible()
    lab.page.screenshot(path=screenshots / "explorer-6-no-train.png")


HELD = """
import threading
import torch
from torch import nn
from fxexplore import explore
hold, started = threading.Event(), threading.Event()
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.head = nn.Conv2d(3, 2, 1), nn.Conv2d(2, 2, 1)
    def forward(self, x):
        x = self.stem(x)
        if x.sum() > -1e9 and self.training:  # looks at values: it has to be run
            started.set()
            hold.wait(60)
        return self.head(x)
explorer = explore(Net().eval())
explorer.wait()
explorer
"""


def test_a_switch_that_runs_the_model_leaves_the_kernel_free_and_can_be_stopped(lab, screenshots):
    explorer = shown(lab, HELD)
    explorer.get_by_role("radio", name="train").check()
    stop = explorer.get_by_role("button", name="Stop", exact=True)
    stop.wait_for()
    assert lab.python("(started.is_set(), explorer.mode)") == "(True, 'eval')"  # it answers
    lab.page.screenshot(path=screenshots / "explorer-12-running.png")
    stop.click()
    lab.wait_for("explorer.header.switch.value", "'eval'")
    assert explorer.get_by_role("radio", name="eval").is_checked()
    lab.python("hold.set()")
    lab.wait_for("[t.name for t in threading.enumerate() if 'fxexplore-task' in t.name]", "[]")
    assert lab.python("explorer.mode") == "'eval'"
    explorer.get_by_role("radio", name="train").check()
    lab.wait_for("explorer.mode", "'train'")
