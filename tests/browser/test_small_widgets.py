"""The explorer's small widgets in a bare page: chips, buttons, separators, facts."""

import pytest

from fxexplore.model_graph import ModelGraph, Node
from fxexplore.notebook.node_facts import NodeFacts
from fxexplore.notebook.return_nodes import ReturnNodes
from fxexplore.notebook.small_widgets import (
    CopyButton,
    Disclosure,
    FullScreenButton,
    PageKeeper,
    SaveButton,
    Splitter,
)

STRANGE = '<img src=x onerror="console.error(1)">'


NO_CLIPBOARD = "Clipboard.prototype.writeText = () => Promise.reject(new Error('no')); 0"


class TestChips:
    @pytest.fixture
    def chips(self):
        return ReturnNodes(return_nodes={"0": "0", "layer1": "low", "layer2.relu": "layer2.relu"})

    @pytest.fixture
    def host(self, widget_page, chips):
        return widget_page.show(chips)

    def key(self, host, name):
        return host.locator(f".fxx-chip[data-name='{name}'] .fxx-key")

    @pytest.mark.always
    def test_a_key_is_renamed_in_place(self, widget_page, chips, host):
        self.key(host, "layer1").click()
        host.get_by_role("textbox", name="Key of layer1").fill("stage")
        widget_page.page.keyboard.press("Enter")
        widget_page.wait_for(lambda: chips.return_nodes["layer1"] == "stage")
        assert list(chips.return_nodes) == ["0", "layer1", "layer2.relu"]
        assert host.locator("input").count() == 0
        assert self.key(host, "layer1").evaluate("e => document.activeElement === e")

    def test_escape_keeps_the_key(self, widget_page, chips, host):
        self.key(host, "layer1").click()
        host.locator("input").fill("other")
        widget_page.page.keyboard.press("Escape")
        assert self.key(host, "layer1").inner_text().startswith("low")
        assert chips.return_nodes["layer1"] == "low"

    def test_a_clash_is_marked_and_explained_and_not_sent(self, widget_page, chips, host):
        self.key(host, "layer1").click()
        host.locator("input").fill("0")
        assert host.locator("input").get_attribute("aria-invalid") == "true"
        assert "“0” is the key of 0 already" in host.get_by_role("alert").inner_text()
        widget_page.screenshot("chips-clash")
        widget_page.page.keyboard.press("Enter")
        host.locator("input").evaluate("input => input.blur()")
        assert host.locator("input").count() == 1  # still there, still marked
        assert chips.return_nodes["layer1"] == "low"
        host.locator("input").fill("")
        assert "at least one character" in host.get_by_role("alert").inner_text()
        host.locator("input").fill("mended")
        assert host.get_by_role("alert").inner_text() == ""
        widget_page.page.keyboard.press("Enter")
        widget_page.wait_for(lambda: chips.return_nodes["layer1"] == "mended")

    def test_what_is_written_is_taken_when_the_focus_leaves(self, widget_page, chips, host):
        self.key(host, "layer1").click()
        host.locator("input").fill("left")
        host.locator("input").evaluate("input => input.blur()")
        widget_page.wait_for(lambda: chips.return_nodes["layer1"] == "left")

    def test_chips_are_removed_one_by_one_and_all(self, widget_page, chips, host):
        host.get_by_role("button", name="Untick layer1").click()
        widget_page.wait_for(lambda: list(chips.return_nodes) == ["0", "layer2.relu"])
        host.get_by_role("button", name="Untick all").click()
        widget_page.wait_for(lambda: chips.return_nodes == {})
        assert "none yet" in host.inner_text()

    def test_a_name_shows_its_node(self, widget_page, chips, host):
        host.get_by_role("button", name="Show layer2.relu").click()
        widget_page.wait_for(lambda: chips.focused == "layer2.relu")

    def test_everything_works_by_keyboard_alone(self, widget_page, chips, host):
        press = widget_page.page.keyboard.press
        press("Tab")  # one stop for all chips: the first button
        active = "document.activeElement.getAttribute('aria-label')"
        assert widget_page.page.evaluate(active) == "Show 0"
        for _ in range(4):
            press("ArrowRight")
        assert widget_page.page.evaluate(active) == "Rename the key low of layer1"
        press("Enter")
        for key in "new":
            press(key)
        press("Enter")
        widget_page.wait_for(lambda: chips.return_nodes["layer1"] == "new")
        press("Delete")
        widget_page.wait_for(lambda: "layer1" not in chips.return_nodes)
        press("End")
        assert widget_page.page.evaluate(active) == "Untick all"
        press("Tab")
        assert host.locator(":focus").count() == 0

    def test_python_changes_what_is_shown(self, chips, host):
        chips.return_nodes = {STRANGE: "'\"<b>"}
        host.locator(".fxx-chip").nth(0).wait_for()
        assert STRANGE in host.inner_text()
        assert host.locator("img, b").count() == 0

    def test_many_chips_scroll_and_long_names_can_be_read(self, widget_page, chips, host):
        chips.return_nodes = {f"{'block.' * 20}{i}": f"key{i}" for i in range(60)}
        widget_page.page.wait_for_function("document.querySelectorAll('.fxx-chip').length === 60")
        bar = host.get_by_role("toolbar")
        assert bar.evaluate("e => e.clientHeight < 100 && e.scrollHeight > 300")
        assert host.evaluate("e => e.scrollWidth <= e.clientWidth + 1")
        chip = host.locator(".fxx-chip").first
        assert chip.locator(".fxx-place").get_attribute("title").endswith("block.0")
        chip.locator(".fxx-place").focus()
        assert chip.locator(".fxx-place").evaluate("e => e.scrollWidth <= e.clientWidth")
        widget_page.screenshot("chips-many")


class TestCopyButton:
    def test_copies_and_says_so(self, widget_page):
        host = widget_page.show(CopyButton(text="x = 'ü\n'", label="Copy code"))
        host.get_by_role("button", name="Copy code").click()
        host.get_by_role("button", name="Copied").wait_for()
        assert host.get_by_role("status").inner_text() == "Copied ✓"
        assert widget_page.page.evaluate("navigator.clipboard.readText()") == "x = 'ü\n'"

    def test_copies_where_the_browser_has_no_clipboard(self, widget_page):
        host = widget_page.show(CopyButton(text="old way"))
        page = widget_page.page
        page.evaluate(NO_CLIPBOARD)
        host.get_by_role("button").click()
        host.get_by_role("button", name="Copied").wait_for()
        assert page.evaluate("navigator.clipboard.readText()") == "old way"

    def test_says_when_it_could_not(self, widget_page):
        host = widget_page.show(CopyButton(text="x"))
        widget_page.page.evaluate(f"{NO_CLIPBOARD}; document.execCommand = () => false; 0")
        host.get_by_role("button").click()
        host.get_by_role("button", name="did not allow").wait_for()

    def test_nothing_to_copy_is_nothing_to_press(self, widget_page):
        assert widget_page.show(CopyButton()).get_by_role("button").is_disabled()


def test_a_page_is_saved_as_a_file(widget_page):
    host = widget_page.show(SaveButton(lambda: "<p>ü</p>", label="Save page", file_name="Net.html"))
    with widget_page.page.expect_download() as download:
        host.get_by_role("button", name="Save page").click()
        widget_page.wait_for(lambda: True)
    assert download.value.suggested_filename == "Net.html"
    assert download.value.path().read_text() == "<p>ü</p>"
    host.get_by_role("button", name="Saved").wait_for()


NOTEBOOK = """async () => {
    const VIEW = "application/vnd.jupyter.widget-view+json";
    const shows = (id, page) => ({data: {[VIEW]: {model_id: id}, "text/html": page}});
    const area = (...items) => ({outputs: {length: items.length, get: (i) => items[i]}});
    const metadata = {};
    const heard = [];
    window.cells = [{}, area({data: {"text/plain": "1"}}, shows("mine", ["<b>", "page</b>"]))];
    const model = {
        get cells() { return window.cells; },
        getMetadata: (name) => metadata[name],
        setMetadata: (name, value) => { metadata[name] = value; },
        deleteMetadata: (name) => { delete metadata[name]; },
    };
    const saveState = {connect: (f) => heard.push(f), disconnect: () => heard.pop()};
    fxxModel.widget_manager = {context: {saveState, model}};
    window.save = () => {
        for (const hear of heard) hear(null, "started");
        return metadata.widgets ?? null;
    };
    const url = URL.createObjectURL(new Blob([fxxModel.get("_esm")], {type: "text/javascript"}));
    window.forget = (await import(url)).default.initialize({model: fxxModel});
}"""


def test_the_page_of_a_widget_is_kept_as_long_as_its_output_is_there(widget_page):
    widget_page.show(PageKeeper(widget_id="mine"))
    page = widget_page.page
    page.evaluate(NOTEBOOK)
    ((mime, states),) = page.evaluate("save()").items()
    assert mime == "application/vnd.jupyter.widget-state+json"
    kept = states["state"]["mine"]
    assert kept["model_name"] == "HTMLModel"
    assert kept["state"]["value"].endswith("<b>page</b>")
    page.evaluate("cells = []")
    assert page.evaluate("save()") is None
    page.evaluate("forget()")


class TestSplitter:
    def test_moves_by_keyboard_within_its_limits(self, widget_page):
        splitter = Splitter(value=46.0, label="Width of the tree")
        bar = widget_page.show(splitter).get_by_role("separator", name="Width of the tree")
        bar.focus()
        widget_page.page.keyboard.press("ArrowRight")
        widget_page.wait_for(lambda: splitter.value == 48)
        assert bar.get_attribute("aria-valuenow") == "48"
        widget_page.page.keyboard.press("End")
        widget_page.wait_for(lambda: splitter.value == splitter.most)
        widget_page.page.keyboard.press("Enter")
        widget_page.wait_for(lambda: splitter.value == 46)

    def test_is_dragged(self, widget_page):
        splitter = Splitter(value=500, least=240, most=900, unit="px", variable="--fxx-height")
        host = widget_page.show(splitter)
        host.evaluate("e => e.classList.add('fxx-explorer')")
        box = host.get_by_role("separator").bounding_box()
        mouse = widget_page.page.mouse
        mouse.move(box["x"] + 50, box["y"] + 3)
        mouse.down()
        mouse.move(box["x"] + 50, box["y"] + 103, steps=4)
        height = "e => getComputedStyle(e).getPropertyValue('--fxx-height')"
        assert host.evaluate(height) == "600px"  # while it is dragged, before Python knows
        mouse.up()
        widget_page.wait_for(lambda: splitter.value == 600)

    def test_starts_where_the_style_sheet_has_it_and_goes_back_there(self, widget_page):
        splitter = Splitter(value=None, least=240, most=900, unit="px", variable="--fxx-height")
        host = widget_page.show(splitter)
        widget_page.page.add_style_tag(
            content="@property --fxx-height {syntax: '<length>'; inherits: true; initial-value: 0}"
            ".fxx-explorer { --fxx-height: calc(100vh - 400px) }"  # of 700 pixels
        )
        host.evaluate("e => e.classList.add('fxx-explorer')")
        host.get_by_role("separator").focus()
        widget_page.page.keyboard.press("ArrowDown")
        widget_page.wait_for(lambda: splitter.value == 324)
        widget_page.page.keyboard.press("Enter")
        widget_page.wait_for(lambda: splitter.value is None)
        height = "e => getComputedStyle(e).getPropertyValue('--fxx-height')"
        assert host.evaluate(height) == "300px"


def test_a_disclosure_unfolds_its_panel_by_mouse_and_keys(widget_page):
    host = widget_page.show(disclosure := Disclosure())
    host.evaluate("e => e.classList.add('fxx-maps')")
    button = host.get_by_role("button", name="More")
    for act, unfolded in ((button.click, True), (lambda: button.press("Enter"), False)):
        act()
        widget_page.wait_for(lambda unfolded=unfolded: disclosure.unfolded is unfolded)
        assert button.get_attribute("aria-expanded") == str(unfolded).lower()
        assert host.evaluate("e => e.classList.contains('fxx-unfolded')") is unfolded


def test_the_full_screen_button_fills_the_screen_and_comes_back(widget_page):
    host = widget_page.show(FullScreenButton())
    host.evaluate("e => e.classList.add('fxx-explorer')")
    host.get_by_role("button", name="Fill the screen").click()
    host.get_by_role("button", name="Leave full screen").click()
    host.get_by_role("button", name="Fill the screen").wait_for()
    # Where a page may not ask for it, it fills the window.
    host.evaluate("e => { e.style = ''; e.requestFullscreen = () => Promise.reject(); }")
    host.get_by_role("button", name="Fill the screen").click()
    widget_page.page.wait_for_function("document.querySelector('.fxx-full')")
    assert host.evaluate("e => e.getBoundingClientRect().width === innerWidth")
    widget_page.page.keyboard.press("Escape")
    host.get_by_role("button", name="Fill the screen").wait_for()


class TestNodeFacts:
    @pytest.fixture
    def facts(self):
        nodes = [Node("x", "input", "x")]
        nodes += [Node(f"op{i}", "operation", "add", inputs=("x",)) for i in range(40)]
        nodes.append(Node(STRANGE, "module", STRANGE, detail=STRANGE, inputs=("x",), parameters=7))
        return NodeFacts(ModelGraph("Net", tuple(nodes), (), parameters=7), focused=STRANGE)

    def test_untrusted_text_is_shown_as_text(self, widget_page, facts):
        host = widget_page.show(facts)
        assert host.get_by_role("heading").inner_text() == STRANGE
        assert host.locator("img").count() == 0
        assert "7 · 100 % of the model" in host.inner_text()
        widget_page.screenshot("node-facts")

    def test_a_link_moves_the_focus(self, widget_page, facts):
        host = widget_page.show(facts)
        host.get_by_role("button", name="x", exact=True).click()
        widget_page.wait_for(lambda: facts.focused == "x")
        host.get_by_role("button", name="op23").wait_for()
        assert host.get_by_role("button", name="op39").count() == 0
        host.get_by_role("button", name="and 17 more").click()
        host.get_by_role("button", name="op39").click()
        widget_page.wait_for(lambda: facts.focused == "op39")

    def test_the_name_is_copied(self, widget_page, facts):
        host = widget_page.show(facts)
        host.get_by_role("button", name="Copy name").click()
        host.get_by_role("button", name="Copied").wait_for()
        assert widget_page.page.evaluate("navigator.clipboard.readText()") == STRANGE

    def test_with_no_focus_it_says_what_to_do(self, widget_page, facts):
        facts.focused = ""
        assert "Click a row" in widget_page.show(facts).inner_text()
