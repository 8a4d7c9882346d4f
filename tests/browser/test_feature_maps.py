"""The panel of feature maps in JupyterLab: upload, run, stop, redraw, enlarge, save, themes."""

import base64
import io
import time

import numpy as np
import pytest
from PIL import Image

from tests.marks import mostly_slow

from .conftest import notebook_of

SETUP = """
import torch, threading
from torch import nn
import torchvision
import ipywidgets as widgets
from fxexplore import create_feature_extractor, open_model
from fxexplore.notebook.feature_maps import FeatureMapsPanel
torch.manual_seed(0)
"""

RESNET = """
model = torchvision.models.resnet18(weights=None).eval()
panel = FeatureMapsPanel(
    model, open_model(model),
    make_extractor=lambda: create_feature_extractor(model, panel.return_nodes, mode="eval"))
panel.return_nodes = {"conv1": "conv1", "layer1.0.relu": "layer1.0.relu", "layer3": "stage3"}
batch = torch.randn(2, 3, 96, 128)
"""

SLOW = """
class Slow(nn.Module):
    def forward(self, x):
        gate.wait(0 if threading.current_thread() is threading.main_thread() else 60)
        return x + 1
gate = threading.Event()
reached = []
model = nn.Sequential(nn.Conv2d(3, 4, 3), Slow(), nn.ReLU())
model[2].register_forward_hook(lambda *_: reached.append(1))
leaves = {"leaf_modules": [Slow]}
panel = FeatureMapsPanel(
    model, open_model(model, torch.randn(1, 3, 16, 16), tracer_kwargs=leaves),
    example_inputs=torch.randn(1, 3, 16, 16),
    make_extractor=lambda: create_feature_extractor(
        model, panel.return_nodes, mode="eval", tracer_kwargs=leaves))
panel.return_nodes = {"0": "0", "2": "2"}
"""


# Whether the title over the first picture is written in dark ink.
DARKEST = """
async () => {
    const image = document.querySelector('.fxx-pictures img.fxx-map');
    const bitmap = await createImageBitmap(image);
    const canvas = new OffscreenCanvas(bitmap.width, 60);
    const context = canvas.getContext('2d');
    context.drawImage(bitmap, 0, 0);
    const data = context.getImageData(0, 0, bitmap.width, 60).data;
    let sum = 0, weight = 0;
    for (let i = 0; i < data.length; i += 4) {
        sum += data[i] * data[i + 3];
        weight += data[i + 3];
    }
    return weight > 0 ? sum / weight < 128 : null;
}
"""


def panel_in(lab, code, shown="panel"):
    lab.open(notebook_of(SETUP + code, shown))
    lab.run_all()
    errors = lab.page.locator("[data-mime-type='application/vnd.jupyter.error']")
    assert errors.all_inner_texts() == []
    panel = lab.page.locator(".jp-OutputArea .fxx-maps").first
    button(panel, "Run").wait_for()
    panel.scroll_into_view_if_needed()
    return panel


@pytest.fixture
def panel(lab):
    return panel_in(lab, RESNET)


def picture(width=320, height=200):
    """A photograph-like picture that lies on its side, as telephones store them."""
    image = (
        Image.linear_gradient("L").resize((height, width)).convert("RGB").rotate(90, expand=True)
    )
    image.paste((220, 40, 40), (40, 40, 120, 160))
    exif = Image.Exif()
    exif[0x0112] = 3
    content = io.BytesIO()
    image.save(content, "jpeg", exif=exif)
    return content.getvalue()


def wait_until(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline


def button(panel, name):
    return panel.get_by_role("button", name=name, exact=True)


def images(panel):
    return panel.locator(".fxx-pictures img.fxx-map")


def run(panel, count):
    button(panel, "Run").click()
    images(panel).nth(count - 1).wait_for()
    loaded(panel)


def loaded(panel):
    panel.page.wait_for_function(
        """() => [...document.querySelectorAll('.fxx-maps img.fxx-map')]
            .filter((image) => image.offsetParent).every((image) => image.complete)"""
    )


def redrawn(panel, action):
    """Do something, and wait until every picture is another."""
    before = images(panel).evaluate_all("all => all.map((image) => image.src)")
    action()
    panel.page.wait_for_function(
        """before => [...document.querySelectorAll('.fxx-pictures img.fxx-map')]
            .every((image, i) => image.src !== before[i])""",
        arg=before,
    )
    loaded(panel)


def test_upload_run_look_and_enlarge(lab, panel, screenshots):
    page = lab.page
    page.screenshot(path=screenshots / "feature-maps-1-opened.png")
    file = {"name": "cat.jpg", "mimeType": "image/jpeg", "buffer": picture()}
    choose(panel, file)
    panel.get_by_text("cat.jpg").first.wait_for()
    assert "turned upright" in panel.inner_text()
    assert "resize 256 · crop 224×224 · ImageNet mean and deviation" in panel.inner_text()
    assert lab.python("panel.current_inputs.shapes") == "'1×3×224×224'"

    run(panel, 3)
    assert images(panel).count() == 3
    assert images(panel).first.evaluate("i => i.naturalWidth >= i.clientWidth * devicePixelRatio")
    # One row of controls, and the picture takes the width that is left.
    top = panel.locator(".fxx-scroll").bounding_box()["y"] - panel.bounding_box()["y"]
    assert top < 60
    page.wait_for_function(
        """() => document.querySelector('.fxx-pictures img').clientWidth
            === Math.floor((document.querySelector('.fxx-scroll').clientWidth - 40) / 2)"""
    )
    page.screenshot(path=screenshots / "feature-maps-2-run.png")
    for view in ("mean", "overlay", "PCA", "histogram", "channels"):
        redrawn(panel, panel.locator(".fxx-segments").get_by_role("button", name=view).click)
        page.screenshot(path=screenshots / f"feature-maps-3-{view}.png")
    button(panel, "More").click()
    sort = panel.locator("select").filter(has_text="sparsity")
    redrawn(panel, lambda: sort.select_option("energy"))
    assert lab.python("panel.options.changed()") == "{'sort': 'energy'}"

    box = images(panel).first.bounding_box()
    found = lab.python(
        "next((x / 40, y / 40) for y in range(40) for x in range(40) if "
        "__import__('fxexplore').channel_at(panel.cards.figures['conv1'], x / 40, y / 40))"
    )
    x, y = (float(part) + 0.02 for part in found.strip("()").split(","))
    images(panel).first.click(position={"x": x * box["width"], "y": y * box["height"]})
    large = panel.locator(".fxx-detail .fxx-map-view")
    large.locator("img").wait_for()
    first = lab.python("panel.cards.at")
    assert first.startswith("('conv1', ")
    loaded(panel)
    page.screenshot(path=screenshots / "feature-maps-4-enlarged.png")
    large.focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_function(
        "before => document.querySelector('.fxx-detail img').alt !== before",
        arg=large.locator("img").get_attribute("alt"),
    )
    assert lab.python("panel.cards.at") != first
    page.keyboard.press("Escape")
    large.wait_for(state="hidden")


def choose(panel, file):
    """Choose a file with the button."""
    with panel.page.expect_file_chooser() as chooser:
        button(panel, "Upload").click()
    chooser.value.set_files(file)


def photograph_of(path, height, width):
    """A JPEG that is as large as those of cameras are: noise does not compress."""
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    Image.fromarray(pixels).save(path, quality=80)
    return path


def test_a_photograph_larger_than_jupyters_message_limit_arrives(lab, panel, screenshots, tmp_path):
    path = photograph_of(tmp_path / "large.jpg", 3600, 5400)
    assert path.stat().st_size > 12_000_000  # Jupyter drops messages above 10 MB
    choose(panel, path)
    panel.locator(".fxx-words").get_by_text("large.jpg").wait_for()
    lab.page.screenshot(path=screenshots / "feature-maps-9-large.png")
    # What the model gets is what it gets of the file itself.
    lab.python("setattr(panel, 'uploaded', panel.inputs.chosen.args[0])")
    lab.python(f"panel.inputs.use_picture({str(path)!r})")
    same = "(panel.inputs.chosen.name, torch.equal(panel.uploaded, panel.inputs.chosen.args[0]))"
    assert lab.python(same) == "('large.jpg', True)"
    assert panel.get_by_role("progressbar").count() == 0


@pytest.mark.parametrize("kind", mostly_slow(["flat", "noise"], "flat"))
def test_a_picture_of_100_megapixels_is_refused_in_words(lab, panel, screenshots, tmp_path, kind):
    path = tmp_path / f"{kind}.{'png' if kind == 'flat' else 'jpg'}"
    if kind == "flat":
        Image.new("RGB", (10_000, 10_001), "teal").save(path)
    else:
        photograph_of(path, 10_001, 10_000)
        assert 10_000_000 < path.stat().st_size < 128_000_000
    choose(panel, path)
    said = f"{path.name} has 100 megapixels (10000 × 10001); at most 50 are read"
    panel.get_by_role("alert").filter(has_text=said).wait_for()
    lab.page.screenshot(path=screenshots / f"feature-maps-10-{kind}.png")
    run(panel, 3)  # on the example inputs, as before
    assert lab.python("panel.features['conv1'].shape[0]") == "1"


def test_a_file_over_the_limit_is_refused_at_once(panel, tmp_path):
    path = tmp_path / "huge.jpg"
    with path.open("wb") as file:
        file.truncate(128_000_001)  # a file with a hole takes no room
    choose(panel, path)
    said = "huge.jpg has 128.1 MB, and at most 128 MB are taken. Make it smaller"
    panel.get_by_role("alert").filter(has_text=said).wait_for()
    button(panel, "More").click()
    panel.locator("select").filter(has_text="checkerboard").select_option("noise")
    panel.get_by_role("alert").filter(has_text=said).wait_for(state="hidden")


def test_a_file_is_dropped_on_the_panel(lab, panel):
    data = lab.page.evaluate_handle(
        """text => {
            const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
            const data = new DataTransfer();
            data.items.add(new File([bytes], "dropped.jpg", { type: "image/jpeg" }));
            return data;
        }""",
        base64.b64encode(picture()).decode(),
    )
    words = panel.locator(".fxx-words")
    words.dispatch_event("dragover", {"dataTransfer": data})
    lab.page.locator(".fxx-maps.fxx-dropping").wait_for()
    words.dispatch_event("drop", {"dataTransfer": data})
    words.get_by_text("dropped.jpg").wait_for()
    assert lab.page.locator(".fxx-dropping").count() == 0
    assert "turned upright" in panel.inner_text()
    run(panel, 3)


def test_both_themes_read_well_in_a_narrow_place(lab, screenshots):
    page = lab.page
    panel = panel_in(lab, RESNET, "widgets.Box([panel], layout={'width': '720px'})")
    run(panel, 3)
    for theme, light in (("JupyterLab Dark", False), ("JupyterLab Light", True)):
        lab.set_theme(theme)
        try:
            wait_until(lambda light=light: page.evaluate(DARKEST) == light)
            name = "light" if light else "dark"
            page.screenshot(path=screenshots / f"feature-maps-5-{name}.png")
        finally:
            lab.set_theme("JupyterLab Light")


def test_a_run_is_stopped_and_the_notebook_stays_free(lab, screenshots):
    panel = panel_in(lab, SLOW)
    button(panel, "Run").click()
    button(panel, "Stop").wait_for()
    panel.get_by_text("2 of 3 leaf modules").wait_for()
    assert lab.python("1 + 1") == "2"  # cells run meanwhile
    lab.page.screenshot(path=screenshots / "feature-maps-6-running.png")
    button(panel, "Stop").click()
    panel.get_by_text("stopping at the next module").wait_for()
    lab.python("gate.set()")
    button(panel, "Run").wait_for()
    panel.get_by_text("stopped; the pictures are those of the run before").wait_for()
    assert lab.python("(reached, dict(panel.features))") == "([], {})"
    run(panel, 2)
    assert lab.python("len(reached)") == "1"


def test_a_kernel_shuts_down_while_a_run_goes_on(lab):
    panel = panel_in(lab, SLOW)
    button(panel, "Run").click()
    button(panel, "Stop").wait_for()
    lab.page.evaluate("window.fxNotebook.sessionContext.shutdown()")
    lab.page.wait_for_function("!window.fxNotebook.sessionContext.session")


def test_a_run_whose_kernel_goes_is_said_to_be_interrupted(lab, screenshots):
    panel = panel_in(lab, SLOW)
    button(panel, "Run").click()
    panel.get_by_text("2 of 3 leaf modules").wait_for()
    bar = panel.locator(".widget-hprogress")
    assert bar.is_visible()
    lab.page.evaluate("window.fxNotebook.sessionContext.session.kernel.restart()")
    bar.wait_for(state="hidden")
    note = panel.locator(".fxx-running .fxx-note")
    said = note.evaluate("e => getComputedStyle(e, '::after').content")
    assert "interrupted: the kernel is gone" in said
    stop = button(panel, "Stop")
    assert stop.evaluate("e => getComputedStyle(e).pointerEvents") == "none"
    lab.page.screenshot(path=screenshots / "feature-maps-11-interrupted.png")


@pytest.mark.parametrize("width", mostly_slow([480, 600, 800], 480))
def test_in_a_narrow_place_buttons_go_to_the_next_line_together(lab, width):
    panel = panel_in(lab, RESNET, f"widgets.Box([panel], layout={{'width': '{width}px'}})")
    for group in (["Upload", "Run"], ["overlay", "More"]):
        boxes = [button(panel, name).bounding_box() for name in group]
        assert len({round(box["y"] + box["height"] / 2) for box in boxes}) == 1
    assert panel.evaluate("e => e.scrollWidth <= e.clientWidth")


def test_what_goes_wrong_is_said_and_the_panel_stays_alive(lab, panel, screenshots):
    page = lab.page
    file = {"name": "notes.txt", "mimeType": "text/plain", "buffer": b"hello"}
    choose(panel, file)
    alert = panel.get_by_role("alert")
    said = "notes.txt is no picture; give a PNG, JPEG or WebP file"
    alert.filter(has_text=said).wait_for()
    button(panel, "More").click()
    name = panel.get_by_placeholder("name of a variable")
    name.wait_for()
    lab.wait_for("panel.inputs.preparation.fields['crop'].value", "'224×224'")
    page.screenshot(path=screenshots / "feature-maps-7-words.png")
    name.fill("nothing")
    name.press("Enter")
    alert.filter(has_text="there is no variable 'nothing' in the notebook").wait_for()
    name.fill("batch")
    name.press("Enter")
    alert.wait_for(state="detached")
    assert "2×3×96×128" in panel.inner_text()
    run(panel, 3)
    assert lab.python("panel.features['conv1'].shape[0]") == "2"


def test_a_run_is_saved_copied_and_compared(lab, panel, screenshots):
    page = lab.page
    run(panel, 3)
    button(panel, "More").click()
    for kind in ("PNG", "SVG", "PDF"):
        panel.get_by_label("kind of file").select_option(kind)
        with page.expect_download() as download:
            button(panel, "Save").click()
        assert download.value.suggested_filename == f"feature_maps.{kind.lower()}"
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    button(panel, "Copy figure code").click()
    button(panel, "Copied ✓").wait_for()
    code = page.evaluate("navigator.clipboard.readText()")
    assert lab.python(f"(s := {{'model': model}}, exec({code!r}, s))[1]") == "None"
    button(panel, "Keep run").click()
    panel.locator("select").filter(has_text="checkerboard").select_option("checkerboard")
    panel.locator(".fxx-words").get_by_text("checkerboard").wait_for()
    redrawn(panel, button(panel, "Run").click)
    panel.get_by_role("button", name="Compare with").click()
    lab.wait_for("[len(f.axes) >= 3 for f in panel.cards.figures.values()]", "[True, True, True]")
    loaded(panel)
    page.screenshot(path=screenshots / "feature-maps-8-compared.png")
