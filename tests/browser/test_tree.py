"""The tree in a bare page: what it does by itself, without JupyterLab."""

import dataclasses

import pytest
import torchvision
from torch import nn

from fxexplore import compare, open_model
from fxexplore.model_graph import ModelGraph, Module, Node
from fxexplore.notebook.node_tree import NodeTree
from fxexplore.views.numbers import short_count
from tests.graphs import big_graph

from .widget_page import WidgetPage

STRANGE = '<img src=x onerror="console.error(1)">'


def encoder(blocks=12):
    """A stem, twelve blocks of the same structure, one of another structure, a few odd nodes."""
    nodes, modules = [Node("x", "input", "input", shape=(1, 3, 8, 8))], []
    nodes.append(
        Node(
            "stem", "module", "Conv2d", detail="3, 16", parameters=448, shape=(1, 16, 8, 8), flops=9
        )
    )
    modules.append(Module("layers", "Sequential", parameters=1_300_000, shape=(1, 16, 8, 8)))
    for n in range(blocks + 1):
        path, wide = f"layers.{n}", 64 if n < blocks else 32
        modules.append(
            Module(path, "Block", parameters=100_000, shape=(1, 16, 8, 8), flops=3_000_000)
        )
        nodes += [
            Node(f"{path}.fc", "module", "Linear", path, detail=f"16, {wide}", parameters=99_000,
                 shape=(1, 16, 8, wide), flops=2_000_000),
            Node(f"{path}.act", "module", "GELU", path, call=1, calls=2, shape=(1, 16, 8, wide)),
            Node(f"{path}.act_1", "module", "GELU", path, call=2, calls=2, shape=(1, 16, 8, wide)),
            Node(f"{path}.add", "operation", "add", path, source="net.py:7", shape=(1, 16, 8, 8)),
        ]  # fmt: skip
    modules += [
        Module("aux", "Head", parameters=50_000, ran=False),
        Module("tied", "Tied", parameters=1_024, frozen=1_024, shared=("stem.twin",)),
    ]
    nodes += [
        Node("tied.relu", "operation", "relu_", "tied", source="net.py:9", shape=(1, 16)),
        Node("getattr", "size", "getattr", source="net.py:10"),
        Node(
            f"tied.{STRANGE}",
            "module",
            "Linear",
            "tied",
            detail=STRANGE,
            parameters=1_024,
            frozen=9,
        ),
    ]
    return ModelGraph("Net", tuple(nodes), tuple(modules), parameters=1_351_472, mode="train")


@pytest.fixture
def tree():
    return NodeTree(encoder(), expanded=["layers", "tied"], only=["tied.relu"])


@pytest.fixture
def host(widget_page, tree):
    return widget_page.show(tree)


@pytest.fixture(scope="module")
def search(browser, screenshots):
    """One page for the tests that only write queries."""
    page = WidgetPage(browser, screenshots)
    tree = NodeTree(encoder())
    page.show(tree)
    yield page, tree
    page.leave()
    assert page.errors == []


@pytest.fixture(scope="module")
def graph():
    return big_graph(100_000)


def row(host, name):
    return host.locator(f"[role=treeitem][data-name={name!r}]")


def group(host, name):
    return host.locator(f"[role=treeitem][data-group={name!r}]")


def names(host):
    """The lines in sight, from top to bottom; groups of siblings in brackets."""
    return host.locator("[role=treeitem]").evaluate_all(
        "rows => rows.map(r => r.dataset.name ?? `[${r.dataset.group}]`)"
    )


def press(widget_page, *keys):
    for key in keys:
        widget_page.page.keyboard.press(key)


class TestMouse:
    @pytest.mark.always
    def test_ticks_and_folds_reach_python(self, widget_page, tree, host):
        row(host, "stem").locator(".fxx-box").click()
        widget_page.wait_for(lambda: tree.selected == ["stem"])
        row(host, "layers").locator(".fxx-fold").click()
        widget_page.wait_for(lambda: tree.expanded == ["tied"])
        assert names(host)[:4] == ["x", "stem", "layers", "tied"]
        row(host, "stem").locator(".fxx-box").click()
        widget_page.wait_for(lambda: tree.selected == [])

    def test_the_first_hit_is_ticked_by_the_click_that_gives_the_list_the_focus(
        self, widget_page, tree, host
    ):
        host.get_by_role("searchbox").fill("stem")
        row(host, "layers").wait_for(state="detached")
        row(host, "stem").locator(".fxx-box").click()
        widget_page.wait_for(lambda: tree.selected == ["stem"])

    def test_a_row_that_changes_under_a_pressed_button_still_gets_the_click(
        self, widget_page, tree, host
    ):
        row(host, "stem").locator(".fxx-box").hover()
        widget_page.page.mouse.down()
        graph = encoder()
        nodes = [dataclasses.replace(node, shape=(2, 3), parameters=7) for node in graph.nodes]
        tree.graph = dataclasses.replace(graph, nodes=tuple(nodes))  # its facts arrive
        tree.hits, tree.focused = ["stem"], "layers.12"
        widget_page.wait_for("document.querySelector('[data-name=stem]').innerText.includes('2×3')")
        widget_page.page.mouse.up()
        widget_page.wait_for(lambda: tree.selected == ["stem"])

    @pytest.mark.always
    def test_what_python_sets_is_shown(self, widget_page, tree, host):
        tree.selected = ["layers.12.add"]
        tree.expanded = ["layers", "layers.12"]
        assert row(host, "layers.12.add").get_attribute("aria-checked") == "true"
        assert row(host, "layers.12").get_attribute("aria-checked") == "mixed"
        assert row(host, "layers").get_attribute("aria-checked") == "mixed"
        assert row(host, "layers").locator(".fxx-box").get_attribute("title") == "1 ticked inside"

    def test_a_focus_set_elsewhere_opens_the_way_there(self, widget_page, tree, host):
        tree.expanded = []
        tree.focused = "layers.3.add"
        row(host, "layers.3.add").wait_for()
        widget_page.wait_for(lambda: tree.expanded == ["layers", "layers.3"])
        widget_page.wait_for(lambda: tree.open_groups == ["layers.0"])

    def test_a_double_click_unfolds_and_a_fold_takes_the_focus_out(self, widget_page, tree, host):
        row(host, "layers.12").locator(".fxx-name").dblclick()
        row(host, "layers.12.add").locator(".fxx-name").click()
        widget_page.wait_for(lambda: tree.focused == "layers.12.add")
        row(host, "layers").locator(".fxx-fold").click()
        widget_page.wait_for(lambda: tree.focused == "layers")

    def test_what_has_no_output_cannot_be_ticked_and_says_why(self, widget_page, tree, host):
        row(host, "aux").locator(".fxx-box").click()
        assert "never ran" in host.locator(".fxx-said").inner_text()
        assert tree.selected == []

    @pytest.mark.parametrize(("repeats", "can_fold"), [(1, False), (12, True)])
    def test_a_flat_tree_has_nothing_to_fold_unless_siblings_repeat(
        self, widget_page, repeats, can_fold
    ):
        nodes = [Node("x", "input", "x"), Node("fc", "module", "Linear")]
        nodes += [Node(f"act{i}", "module", "ReLU") for i in range(repeats)]
        never_ran = Module("spare", "Linear", calls=0, ran=False)
        host = widget_page.show(NodeTree(ModelGraph("M", tuple(nodes), (never_ran,))))
        host.locator("[role=treeitem]").first.wait_for()
        button = host.get_by_role("button", name="Fold or unfold every module")
        assert button.count() == can_fold

    def test_all_folds_and_unfolds_by_small_messages(self, widget_page, tree, host):
        host.get_by_role("button", name="Fold or unfold every module").click()
        widget_page.wait_for(lambda: tree.expanded == [])
        host.get_by_role("button", name="Fold or unfold every module").click()
        widget_page.wait_for(lambda: len(tree.expanded) == 16)
        assert tree.open_groups == ["layers.0"]


class TestRuns:
    def test_a_group_of_siblings_is_one_row_with_their_sums(self, widget_page, tree, host):
        assert names(host)[:5] == ["x", "stem", "layers", "[layers.0]", "layers.12"]
        folded = group(host, "layers.0")
        assert folded.locator(".fxx-name").inner_text() == "0 … 11"
        assert folded.locator(".fxx-note").inner_text() == "12 × Block, same structure"
        assert folded.locator(".fxx-number").all_inner_texts() == [
            "1×16×8×8", short_count(1_200_000), short_count(36_000_000),
        ]  # fmt: skip
        assert folded.get_attribute("aria-expanded") == "false"

    def test_it_opens_by_click_and_by_keys_and_its_rows_are_inside(self, widget_page, tree, host):
        group(host, "layers.0").locator(".fxx-fold").click()
        widget_page.wait_for(lambda: tree.open_groups == ["layers.0"])
        assert tree.expanded == ["layers", "tied"]
        inside = row(host, "layers.7")
        shown = [inside.get_attribute(f"aria-{n}") for n in ("level", "posinset", "setsize")]
        assert shown == ["3", "8", "12"]
        assert row(host, "layers.12").get_attribute("aria-posinset") == "2"
        press(widget_page, "ArrowLeft")
        widget_page.wait_for(lambda: tree.open_groups == [])
        press(widget_page, "ArrowRight", "ArrowRight", "ArrowDown")
        widget_page.wait_for(lambda: tree.focused == "layers.1")
        press(widget_page, "ArrowLeft", "ArrowLeft", "Enter")
        widget_page.wait_for(lambda: tree.open_groups == ["layers.0"])

    def test_its_box_ticks_all_and_shows_some(self, widget_page, tree, host):
        tree.selected = ["layers.4.fc"]
        box = group(host, "layers.0")
        assert box.get_attribute("aria-checked") == "mixed"
        box.locator(".fxx-box").click()
        widget_page.wait_for(lambda: len(tree.selected) == 13)
        assert tree.selected[1:] == [f"layers.{n}" for n in range(12)]
        assert box.get_attribute("aria-checked") == "true"
        box.locator(".fxx-box").click()
        widget_page.wait_for(lambda: tree.selected == ["layers.4.fc"])


class TestKeyboard:
    @pytest.mark.always
    def test_every_key_of_the_tree_pattern(self, widget_page, tree, host):
        host.get_by_role("tree").focus()

        def goes_to(keys, name):
            press(widget_page, *keys)
            widget_page.wait_for(lambda: tree.focused == name)

        goes_to(["End"], "aux")
        goes_to(["Home"], "x")
        goes_to(["ArrowDown", "ArrowDown"], "layers")
        press(widget_page, "ArrowLeft")
        widget_page.wait_for(lambda: tree.expanded == ["tied"])
        goes_to(["ArrowRight", "ArrowRight", "ArrowDown"], "layers.12")
        press(widget_page, "Enter")
        widget_page.wait_for(lambda: "layers.12" in tree.expanded)
        goes_to(["PageDown"], "aux")
        goes_to(["ArrowUp"], f"tied.{STRANGE}")
        goes_to(["ArrowLeft"], "tied")
        goes_to(["Home", "ArrowDown"], "stem")
        press(widget_page, " ")
        widget_page.wait_for(lambda: tree.selected == ["stem"])
        tree.expanded = []
        press(widget_page, "*")
        widget_page.wait_for(lambda: sorted(tree.expanded) == ["layers", "tied"])
        assert widget_page.page.evaluate("fxxHandledKeys") == []  # nothing is left to JupyterLab

    def test_typed_letters_find_a_label_and_other_keys_clear_them(self, widget_page, tree, host):
        host.get_by_role("tree").focus()
        press(widget_page, "t", "i")
        widget_page.wait_for(lambda: tree.focused == "tied")
        press(widget_page, "Home", "s")  # not "tis"
        widget_page.wait_for(lambda: tree.focused == "stem")
        press(widget_page, "ArrowDown", "x")
        widget_page.wait_for(lambda: tree.focused == "x")
        press(widget_page, "Escape", "l", "Shift", "Shift+A")  # still "la", for "_" needs Shift too
        widget_page.wait_for(lambda: tree.focused == "layers")

    def test_the_focused_row_is_announced_even_when_scrolled_away(self, widget_page, host):
        widget_page.page.evaluate("document.querySelector('.fxx-list').style.flex = '0 0 88px'")
        host.get_by_role("tree").focus()
        press(widget_page, "ArrowDown")
        host.locator(".fxx-list").evaluate("list => list.scrollTop = 1e6")
        widget_page.frame()
        active = host.get_by_role("tree").get_attribute("aria-activedescendant")
        label = widget_page.page.evaluate("id => document.getElementById(id).ariaLabel", active)
        assert label.startswith("stem, Conv2d(3, 16), output 1×16×8×8")


class TestDetail:
    def test_one_control_says_how_much_is_shown_and_one_click_shows_the_rest(
        self, widget_page, tree, host
    ):
        hidden = host.locator(".fxx-foot .fxx-button")
        assert "getattr" not in names(host)
        assert hidden.inner_text() == "1 hidden"
        hidden.click()
        widget_page.wait_for(lambda: tree.detail == "everything")
        row(host, "getattr").locator(".fxx-box").click()
        assert hidden.is_hidden()
        host.get_by_label("Detail").select_option("modules")
        widget_page.wait_for(lambda: tree.detail == "modules")
        assert hidden.inner_text() == "14 hidden"
        assert "tied.relu" not in names(host)
        assert "getattr" in names(host)  # it is ticked
        tree.focused = "tied.relu"
        row(host, "tied.relu").wait_for()
        host.locator(".fxx-search").fill("op:add")
        widget_page.wait_for(lambda: tree.query == "op:add")
        assert hidden.inner_text() == "13 hidden hits"
        tree.detail = "operations"
        widget_page.wait_for(lambda: len(tree.hits) == 13)

    def test_a_module_with_nothing_to_show_does_not_unfold(self, widget_page):
        nodes = (Node("flip.t", "operation", "t", "flip"), Node("fc", "module", "Linear"))
        host = widget_page.show(NodeTree(ModelGraph("M", nodes, (Module("flip", "Flip"),))))
        assert row(host, "flip").get_attribute("aria-expanded") is None
        host.get_by_label("Detail").focus()
        press(widget_page, "e")  # as a select has it
        widget_page.wait_for("fxxModel.get('detail') === 'everything'")
        assert row(host, "flip").get_attribute("aria-expanded") == "true"


class TestSizes:
    def test_heads_of_columns_sort_siblings_by_mouse_and_keys(self, widget_page):
        nodes = [
            Node("x", "input", "x"),
            Node("a.small", "module", "Linear", "a", parameters=10, flops=300),
            Node("a.large", "module", "Linear", "a", parameters=90, flops=None),
            Node("b", "module", "Linear", parameters=200, flops=100),
        ]
        modules = (Module("a", "Block", parameters=100, flops=300, flops_at_least=True),)
        graph = ModelGraph("M", tuple(nodes), modules, parameters=300, flops=400)
        tree = NodeTree(graph, expanded=["a"])
        host = widget_page.show(tree)
        assert names(host) == ["x", "a", "a.small", "a.large", "b"]
        host.get_by_role("button", name="most parameters").click()
        widget_page.wait_for(lambda: tree.sort == "parameters")
        assert names(host) == ["b", "a", "a.large", "a.small", "x"]
        assert row(host, "a").get_attribute("aria-posinset") == "2"
        press(widget_page, "Tab", "Enter")  # the next head
        widget_page.wait_for(lambda: tree.sort == "flops")
        assert names(host) == ["a", "a.small", "a.large", "b", "x"]
        press(widget_page, "Enter")
        widget_page.wait_for(lambda: tree.sort == "execution")
        assert names(host)[0] == "x"
        tree.sort = "parameters"
        assert names(host)[0] == "b"
        host.get_by_role("button", name="in order of execution").click()
        assert names(host)[0] == "x"
        shares = row(host, "a").locator("[data-share]")
        assert shares.evaluate_all("all => all.map(e => e.dataset.share)") == ["33 %", "75 %"]
        bars = (
            row(host, "a")
            .locator(".fxx-number")
            .evaluate_all(
                "cells => cells.map(cell => parseFloat(cell.style.getPropertyValue('--fxx-share')))"
            )
        )
        assert bars[1:] == [pytest.approx(100 / 3), 75]

    def test_the_ten_largest_are_found(self, widget_page, tree, host):
        tree.query = "top:flops"
        widget_page.wait_for(lambda: tree.hits == [f"layers.{n}.fc" for n in range(10)])

    @pytest.mark.parametrize(
        ("width", "columns"),
        [
            (700, ["output", "parameters", "FLOPs"]),
            (400, ["output", "parameters", "FLOPs"]),
            (340, ["output", "parameters"]),
            (270, ["output"]),
        ],
    )
    def test_columns_go_by_priority_where_there_is_no_room(self, widget_page, tree, width, columns):
        host = widget_page.show(tree, width=width)
        row(host, "stem").wait_for()
        assert host.locator(".fxx-head > :not(.fxx-menu-button)").all_inner_texts() == [
            "node", *columns,
        ]  # fmt: skip
        assert row(host, "layers").locator("[data-share]").count() == (width == 700)

    def test_a_name_comes_before_its_marks(self, widget_page):
        node = Node("a_long_name", "module", "ReLU", call=2, calls=3, frozen=1, parameters=2)
        host = widget_page.show(NodeTree(ModelGraph("M", (node,), ())), width=240)
        name = row(host, "a_long_name").locator(".fxx-name")
        assert name.evaluate("e => e.scrollWidth <= e.clientWidth")


class TestSearch:
    def test_clearing_it_leaves_what_was_chosen_in_sight(self, widget_page, tree, host):
        host.evaluate("e => e.querySelector('.fxx-list').style.flex = '0 0 110px'")
        host.locator(".fxx-search").fill("9.add")
        row(host, "layers.9.add").locator(".fxx-name").click()
        widget_page.wait_for(lambda: tree.focused == "layers.9.add")
        host.locator(".fxx-search").fill("")
        widget_page.wait_for(lambda: "layers.9" in tree.expanded)
        assert tree.open_groups == ["layers.0"]
        box, frame = (
            part.bounding_box() for part in (row(host, "layers.9.add"), host.locator(".fxx-list"))
        )
        assert frame["y"] <= box["y"] <= frame["y"] + frame["height"] - box["height"] + 1

    @pytest.mark.parametrize(
        ("query", "hits"),
        [
            ("stem", {"stem"}),
            ("layers", {"layers"}),  # and not all that is inside
            ("layers.12", {"layers.12"}),
            ("12 GELU", {"layers.12.act", "layers.12.act_1"}),
            ("layers.?.a?d", {f"layers.{n}.add" for n in range(10)}),
            ("*.1?.f*", {f"layers.1{n}.fc" for n in range(3)}),
            ("class:head", {"aux"}),
            ("class:?lock 11", {"layers.11"}),
            ("op:relu", {"tied.relu"}),
            ("op:add layers.3", {"layers.3.add"}),
            ("shape:3", {"x"}),
            ("shape:8x32", {"layers.12.fc", "layers.12.act", "layers.12.act_1"}),
            ("shape:16x*x32 fc", {"layers.12.fc"}),
            ("params>1M", {"layers"}),
            ("params >= 100k class:block 1?", {"layers.10", "layers.11", "layers.12"}),
            ("params=448", {"stem"}),
            ("flops<1k", {"stem"}),
            ("<img", {f"tied.{STRANGE}"}),
            ("nowhere", set()),
        ],
    )
    def test_the_terms_of_a_query(self, search, query, hits):
        widget_page, tree = search
        tree.query = query
        word = "hit" if len(hits) == 1 else "hits"
        widget_page.wait_for(
            f"document.querySelector('.fxx-count').innerText === '{len(hits)} {word}'"
        )
        widget_page.wait_for(lambda: set(tree.hits) == hits)

    @pytest.mark.parametrize(
        ("query", "words"),
        [
            ("colour:red", "there is no “colour:”"),
            ("params>many", "write a number"),
            ("shape:wide", "write sizes"),
            ("class:", "as in class:Conv2d"),
        ],
    )
    def test_a_bad_term_is_said_in_words(self, search, query, words):
        widget_page, tree = search
        tree.query = query
        widget_page.wait_for(
            "w => document.querySelector('.fxx-problem').innerText.includes(w)", words
        )
        assert widget_page.host.locator(".fxx-search").get_attribute("aria-invalid") == "true"

    @pytest.mark.always
    def test_hits_are_shown_with_what_they_are_in(self, widget_page, tree, host):
        host.locator(".fxx-search").fill("11.fc")
        widget_page.wait_for(lambda: tree.query == "11.fc")
        assert names(host) == ["layers", "[layers.0]", "layers.11", "layers.11.fc"]
        assert host.locator(".fxx-hit").count() == 1
        host.locator(".fxx-search").press("Escape")
        widget_page.wait_for(lambda: tree.query == "")
        assert names(host)[3] == "[layers.0]"

    def test_buttons_and_keys_go_from_hit_to_hit(self, widget_page, tree, host):
        host.locator(".fxx-search").fill("op:add")
        host.locator(".fxx-search").press("Enter")
        widget_page.wait_for(lambda: tree.focused == "layers.0.add")
        host.get_by_role("button", name="Next hit").click()
        assert host.locator(".fxx-count").inner_text() == "2 of 13 hits"
        host.get_by_role("button", name="Previous hit").click()
        host.get_by_role("button", name="Previous hit").click()
        widget_page.wait_for(lambda: tree.focused == "layers.12.add")

    def test_all_hits_are_ticked_and_it_can_be_undone(self, widget_page, tree, host):
        tree.selected = ["layers.2.add", "x"]
        host.locator(".fxx-search").fill("op:add")
        host.get_by_role("button", name="Tick all 13 hits").click()
        widget_page.wait_for(lambda: len(tree.selected) == 14)
        host.get_by_role("button", name="Take back the ticks").click()
        widget_page.wait_for(lambda: tree.selected == ["layers.2.add", "x"])

    def test_a_parent_can_be_folded_and_a_hit_unfolded_during_a_search(
        self, widget_page, tree, host
    ):
        tree.query = "class:block 12"
        assert names(host) == ["layers", "layers.12"]
        row(host, "layers.12").locator(".fxx-fold").click()
        assert names(host)[2:] == [f"layers.12.{n}" for n in ("fc", "act", "act_1", "add")]
        row(host, "layers").locator(".fxx-fold").click()
        assert names(host) == ["layers"]
        assert tree.expanded == ["layers", "tied"]

    def test_a_row_that_others_focus_on_is_shown_although_it_is_no_hit(
        self, widget_page, tree, host
    ):
        tree.query = "stem"
        tree.focused = "layers.5.add"
        row(host, "layers.5.add").wait_for()
        assert host.locator(".fxx-hit").count() == 1

    def test_the_help_lists_what_can_be_written(self, widget_page, tree, host):
        button = host.get_by_role("button", name="How to search")
        button.click()
        examples = host.locator(".fxx-help dt").all_inner_texts()
        assert "class:Conv2d" in examples
        assert button.get_attribute("aria-expanded") == "true"
        for example in examples[:-1]:  # the last one is a key
            tree.query = example
            widget_page.frame()
            assert host.locator(".fxx-problem").inner_text() == ""
        widget_page.screenshot("tree-help")


class TestRow:
    def test_marks_say_what_is_special(self, host, widget_page, tree):
        tree.expanded = ["layers", "layers.12", "tied"]
        marks = {
            "tied": ["shared", "frozen"],
            "aux": ["never ran"],
            "tied.relu": ["train only"],
            "layers.12.act_1": ["call 2 of 2"],
            "stem": [],
        }
        for name, words in marks.items():
            assert row(host, name).locator(".fxx-mark").all_inner_texts() == words
        assert "the same as stem.twin" in row(host, "tied").get_attribute("title")
        assert "frozen: 1.02 k of 1.02 k parameters" in row(host, "tied").get_attribute("title")
        assert "never ran" in row(host, "aux").get_attribute("aria-label")

    def test_the_whole_text_is_on_hover(self, host):
        lines = row(host, "stem").get_attribute("title").split("\n")
        assert lines == [
            "stem", "Conv2d(3, 16)",
            "output 1×16×8×8 · 448 parameters (< 0.1 %) · 9 FLOPs",
        ]  # fmt: skip

    def test_untrusted_text_is_shown_as_text(self, host):
        assert host.locator("img").count() == 0
        assert row(host, f"tied.{STRANGE}".replace('"', '\\"')).count() <= 1
        assert STRANGE in host.locator(".fxx-name").all_inner_texts()

    def test_names_are_copied_by_button_and_by_key(self, widget_page, tree, host):
        def pasted():
            return widget_page.page.evaluate("navigator.clipboard.readText()")

        row(host, "layers.12").hover()
        row(host, "layers.12").get_by_role("button", name="Copy “layers.12”").click()
        assert pasted() == "layers.12"
        assert host.locator(".fxx-said").inner_text() == "Copied layers.12"
        assert host.get_by_role("tree").evaluate("list => list === document.activeElement")
        row(host, "stem").locator(".fxx-name").click()
        press(widget_page, "Control+c")
        widget_page.wait_for(lambda: pasted() == "stem")
        assert host.locator(".fxx-said").inner_text() == "Copied stem"

    def test_columns_are_hidden_by_a_menu_that_keys_work(self, widget_page, tree, host):
        host.get_by_role("button", name="Columns").click()
        press(widget_page, "ArrowDown", "Enter")
        widget_page.wait_for(lambda: tree.columns == ["output", "flops"])
        assert host.locator(".fxx-head > :not(.fxx-menu-button)").all_inner_texts() == [
            "node", "output", "FLOPs",
        ]  # fmt: skip
        assert row(host, "stem").locator(".fxx-number").count() == 2
        widget_page.screenshot("tree-menu")
        press(widget_page, "Escape")
        assert host.locator(".fxx-menu").is_hidden()
        tree.columns = ["flops"]
        widget_page.wait_for("document.querySelectorAll('.fxx-head > *').length === 3")

    @pytest.mark.parametrize("width", [300, 380, 460, 660, 1000])
    def test_names_keep_their_room_at_every_width(self, widget_page, tree, width):
        tree.expanded = ["layers", "layers.12", "tied"]
        tree.selected = ["layers.12.fc"]
        host = widget_page.show(tree, width=width, height=420)
        cells = host.locator(".fxx-cell").evaluate_all("all => all.map(c => c.clientWidth)")
        assert min(cells) >= 150
        numbers = host.locator(".fxx-number")
        assert numbers.evaluate_all("all => all.every(n => n.scrollWidth <= n.clientWidth)")
        for name in ("layers.12.act_1", "aux", "tied"):
            label = row(host, name).locator(".fxx-name")
            assert label.evaluate("e => e.scrollWidth <= e.clientWidth")
        assert host.evaluate("e => e.scrollWidth <= e.clientWidth")
        assert host.locator(".fxx-tree").evaluate("e => e.clientHeight") == 420
        widget_page.screenshot(f"tree-width-{width}")

    def test_numbers_are_written_as_in_python(self, widget_page):
        numbers = [1, 128, 999, 1000, 9_408, 9_995, 73_984, 99_950, 999_499, 999_600, 2_099_712,
                   11_689_512, 7_000_000_000, 123_456_789_012]  # fmt: skip
        nodes = tuple(
            Node(f"n{i}", "module", "Linear", parameters=n) for i, n in enumerate(numbers)
        )
        host = widget_page.show(NodeTree(ModelGraph("M", nodes, (), parameters=sum(numbers))))
        shown = host.locator(".fxx-number:nth-child(3)").all_inner_texts()
        assert shown == [short_count(n) for n in numbers]


def test_two_views_of_one_tree_stay_in_step(widget_page, host):
    widget_page.page.evaluate(
        """() => {
            const other = document.createElement('div');
            other.id = 'other';
            document.querySelector('main').append(other);
            return fxxRender(other);
        }"""
    )
    other = widget_page.page.locator("#other")
    row(host, "layers").locator(".fxx-fold").click()
    row(other, "layers").and_(other.locator("[aria-expanded=false]")).wait_for()
    row(other, "stem").locator(".fxx-box").click()
    row(host, "stem").and_(host.locator("[aria-checked=true]")).wait_for()
    other.locator(".fxx-search").fill("relu")
    assert host.locator(".fxx-search").input_value() == "relu"
    assert names(host) == names(other) == ["tied", "tied.relu"]


def test_a_view_that_is_gone_hears_nothing(widget_page, tree, host):
    widget_page.page.evaluate("fxxCleanup()")
    tree.selected = ["stem"]
    widget_page.frame()
    assert host.locator(".fxx-tree").count() == 0


class TestManyRows:
    @pytest.fixture
    def big(self, widget_page, graph):
        tree = NodeTree(graph, expanded=[])
        widget_page.show(tree)
        return tree

    def test_they_travel_once_and_what_changes_is_small(self, widget_page, big):
        rows = len(big.graph.rows)
        assert rows > 95_000
        assert widget_page.opening_bytes <= 100 * rows
        host = widget_page.host
        host.get_by_role("button", name="Fold or unfold every module").click()
        widget_page.wait_for(lambda: len(big.expanded) == len(big.graph.modules))
        row(host, "stage_0.block_0").locator(".fxx-fold").click()
        row(host, "stage_0.block_0").locator(".fxx-box").click()
        widget_page.wait_for(lambda: big.selected == ["stage_0.block_0"])
        assert set(big.graph.index) - set(big.expanded) >= {"stage_0.block_0"}
        assert max(len(str(message)) for message in widget_page.messages) < 1_000
        assert max((m["bytes"] for m in widget_page.sent), default=0) < 1_000

    def test_a_group_of_many_siblings_opens(self, widget_page):
        nodes = tuple(Node(f"fc_{i}", "module", "Linear", parameters=1) for i in range(50_000))
        tree = NodeTree(ModelGraph("M", nodes, (), parameters=50_000))
        host = widget_page.show(tree)
        assert group(host, "fc_0").locator(".fxx-number").nth(1).inner_text() == "50.0 k"
        group(host, "fc_0").locator(".fxx-name").dblclick()
        row(host, "fc_3").wait_for()
        group(host, "fc_0").locator(".fxx-box").click()
        assert "50000 are too many" in host.locator(".fxx-said").inner_text()

    def test_only_the_rows_in_sight_are_in_the_page(self, widget_page, big):
        big.expanded = [module.path for module in big.graph.modules]
        host = widget_page.host
        widget_page.frame()
        height = host.locator(".fxx-space").evaluate("e => e.clientHeight")
        assert height == 22 * len(big.graph.rows)
        assert host.locator("[role=treeitem]").count() < 60
        big.focused = big.graph.nodes[-1].name
        row(host, big.focused).wait_for()
        assert host.locator("[role=treeitem]").count() < 60
        host.locator(".fxx-search").fill("conv_14")
        widget_page.wait_for(lambda: len(big.hits) == 2_000)
        assert host.locator(".fxx-count").inner_text() == "6200 of 6200 hits"
        assert host.get_by_role("button", name="6200 are too many to tick at once").is_disabled()
        widget_page.screenshot("tree-100000")


class TestLooks:
    @pytest.mark.parametrize("theme", ["light", "dark", "high-contrast", "vscode", "none"])
    def test_every_theme_reads_well(self, widget_page, tree, theme):
        tree.expanded = ["layers", "layers.12", "tied"]
        tree.selected = ["stem", "layers.12.fc"]
        host = widget_page.show(tree)
        widget_page.set_theme(theme)
        tree.query = "12 act" if theme == "dark" else ""
        row(host, "layers.12.act").locator(".fxx-name").click()
        widget_page.screenshot(f"tree-theme-{theme}")
        shown = host.locator(".fxx-tree").evaluate(
            """tree => {
                const pen = document.createElement('canvas').getContext('2d');
                const brightness = (colour) => {
                    pen.clearRect(0, 0, 1, 1);
                    pen.fillStyle = colour;
                    pen.fillRect(0, 0, 1, 1);
                    const [r, g, b] = pen.getImageData(0, 0, 1, 1).data;
                    return (r + g + b) / 3;
                };
                const style = getComputedStyle(tree);
                return [brightness(style.color), brightness(style.backgroundColor)];
            }"""
        )
        assert abs(shown[0] - shown[1]) > 120

    def test_forced_colours_keep_ticks_hits_and_focus_apart(self, widget_page, tree):
        widget_page.emulate(forced_colors=True, reduced_motion=True)
        tree.selected = ["stem"]
        tree.query = "stem"
        host = widget_page.show(tree)
        row(host, "stem").locator(".fxx-name").click()
        outline = row(host, "stem").evaluate("e => getComputedStyle(e).outlineStyle")
        assert outline == "solid"
        widget_page.screenshot("tree-forced-colours")

    def test_without_a_kernel_it_says_so_and_folds_still_but_does_not_tick(
        self, widget_page, tree, host
    ):
        offline = host.locator(".fxx-offline")
        assert offline.is_hidden()
        widget_page.disconnect()
        assert offline.is_visible()
        assert "Not connected" in offline.inner_text()
        row(host, "layers").locator(".fxx-fold").click()
        assert "layers.12" not in names(host)
        box = row(host, "stem").locator(".fxx-box")
        assert box.evaluate("e => getComputedStyle(e).visibility") == "hidden"
        row(host, "stem").locator(".fxx-name").click()
        widget_page.page.keyboard.press("Space")
        host.get_by_text("run the cell again to tick").wait_for()
        assert widget_page.get("selected") == tree.selected == []
        widget_page.screenshot("tree-offline")

    @pytest.mark.parametrize(
        "name",
        [
            "resnet18",
            *(
                pytest.param(name, marks=pytest.mark.slow)
                for name in ("vit_b_16", "densenet201", "maxvit_t", "swin_v2_t")
            ),
        ],
    )
    def test_real_models(self, widget_page, name):
        graph = open_model(torchvision.models.get_model(name, weights=None))
        tree = NodeTree(graph)
        widget_page.show(tree, width=560)
        widget_page.set_theme("light")
        assert names(widget_page.host)
        widget_page.screenshot(f"tree-{name}")
        tree.query = "class:conv2d params>10k"
        widget_page.wait_for("document.querySelector('.fxx-count').innerText !== ''")
        widget_page.screenshot(f"tree-{name}-search")


def test_a_tree_of_two_models_marks_what_differs_and_has_nothing_to_tick(widget_page):
    before = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Sequential(nn.Tanh()))
    after = nn.Sequential(nn.Linear(2, 2), nn.GELU(), nn.Sequential(nn.Tanh(), nn.ReLU()))
    tree = NodeTree(compare(before, after).graph, ticks=False)
    host = widget_page.show(tree)
    row = host.locator('[data-name="1"]')
    assert row.locator(".fxx-differs").inner_text() == "≠ ReLU → GELU"
    assert "≠ ReLU → GELU" in row.get_attribute("aria-label")
    assert host.locator('[data-name="2.1"] .fxx-plus').inner_text() == "+ added"
    assert not host.locator(".fxx-box").first.is_visible()
    host.locator(".fxx-list").focus()
    for key in ("End", "Space", "ArrowLeft", "ArrowLeft"):  # ticks nothing, and folds
        widget_page.page.keyboard.press(key)
    widget_page.wait_for(lambda: tree.expanded == [])
    assert tree.selected == []


def test_a_box_that_stands_for_siblings_leads_to_their_row_and_leaves_it_closed(widget_page, tree):
    host = widget_page.show(tree)
    widget_page.set(focused="layers.0")
    assert host.locator(".fxx-focused").get_attribute("data-group") == "layers.0"
    assert tree.open_groups == []
    widget_page.set(focused="layers.3.fc")
    widget_page.wait_for(lambda: tree.open_groups == ["layers.0"])


def test_the_hit_that_is_shown_is_unfolded_for_other_views_too(widget_page, tree):
    host = widget_page.show(tree)
    tree.expanded = []
    search = host.locator(".fxx-search")
    search.fill("fc")
    search.press("Enter")
    widget_page.wait_for(lambda: tree.focused == "layers.0.fc")
    assert (tree.expanded, tree.open_groups) == (["layers", "layers.0"], ["layers.0"])
    search.press("Enter")
    widget_page.wait_for(lambda: tree.focused == "layers.1.fc")
    assert tree.expanded == ["layers", "layers.1"]
