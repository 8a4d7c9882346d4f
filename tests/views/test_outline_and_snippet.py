import re
from collections import defaultdict
from html.parser import HTMLParser

import torch
import torchvision
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from fxexplore import open_model
from fxexplore.inputs import ExampleInputs, example_inputs_for
from fxexplore.model_graph import ModelGraph, Node
from fxexplore.views import to_python
from fxexplore.views.outline import to_text
from fxexplore.views.page import to_html


class Outline(HTMLParser):
    """Collects the elements and the text of a page, and checks that they nest."""

    def __init__(self, page):
        super().__init__()
        self.open, self.elements, self.words = [], [], ""
        self.texts = defaultdict(list)
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words += data
        if "white-space:pre" in self.elements[-1][1].get("style", ""):
            self.texts["white-space:pre"].append(data)


def test_the_text_has_a_line_per_row_and_says_what_is_folded():
    graph = open_model(torchvision.models.resnet18(weights=None))
    assert len(to_text(graph, detail="everything").splitlines()) == len(graph.rows) + 2
    folded = to_text(graph, expanded=["layer1"], detail="everything").splitlines()
    cells = [line.split() for line in folded]
    assert ["▸", "0", "1×64×56×56", "74.0", "k", "462", "M", "BasicBlock"] in cells
    assert ["▸", "layer2", "1×128×28×28", "526", "k", "822", "M", "Sequential"] in cells
    assert folded[-1].startswith("▸ is folded")


def test_the_page_folds_without_a_script():
    graph = open_model(torchvision.models.resnet18(weights=None))
    page = Outline(to_html(graph, expanded=["layer1"], return_nodes={"layer1.0.relu": "a"}))
    details = [attrs for tag, attrs in page.elements if tag == "details"]
    assert len(details) == len(graph.modules)
    assert sum("open" in attrs for attrs in details) == 1
    assert page.words.count("☑") == 1
    assert {tag for tag, _ in page.elements} == {"div", "b", "span", "details", "summary"}


def twelve_blocks():
    blocks = [nn.Sequential(nn.Linear(4, 4), nn.ReLU()) for _ in range(12)]
    return open_model(nn.Sequential(nn.Linear(4, 4), nn.Sequential(*blocks)), torch.ones(2, 4))


def test_the_page_folds_siblings_with_the_same_structure():
    page = Outline(to_html(twelve_blocks()))
    assert "0 … 11 12 × Sequential, same structure" in page.words
    assert page.words.count("ReLU") == 1  # in the first of them
    ticked = Outline(to_html(twelve_blocks(), return_nodes={"1.7.1": "a"}))
    assert ticked.words.count("ReLU") == 2
    assert "▣ 0 … 11" in ticked.words


def test_numbers_stand_in_columns():
    whole = to_html(open_model(torchvision.models.resnet18(weights=None)))
    page = Outline(re.sub('<span style="border-bottom[^>]*>([^<]*)</span>', r"\1", whole))
    numbers = [attrs for tag, attrs in page.elements if "white-space:pre" in attrs.get("style", "")]
    assert len(numbers) == len(page.texts["white-space:pre"])
    assert len({len(text) for text in page.texts["white-space:pre"]}) == 1


def test_shares_of_the_whole_are_written_and_drawn():
    page = to_html(open_model(torchvision.models.resnet18(weights=None)))
    (line,) = (text for text in re.findall("<summary>(.*?)</summary>", page) if "layer4" in text)
    assert "8.39 M   72 %" in re.sub("<[^>]*>", "", line)
    bars = re.findall("border-bottom[^>]*>([^<]*)<", line)
    assert [len(bar) for bar in bars] == [10, 3]  # of 14 characters: 72 % and 23 %


def test_a_huge_page_leaves_out_the_deepest_and_says_so():
    graph = open_model(torchvision.models.resnet50(weights=None))
    page = to_html(graph, limit=40)
    assert len(page) < 40 * 400
    assert "rows inside are left out" in page
    assert "layer4" in page
    flat = open_model(nn.Sequential(*[nn.Linear(4, 4 + n % 2) for n in range(0)], nn.ReLU()))
    assert "left out" not in to_html(flat)
    many = ModelGraph("M", tuple(Node(f"n{i}", "operation", "add") for i in range(99)), ())
    assert "… and 59 more lines" in to_html(many, limit=40)


def test_the_page_has_only_what_jupyterlab_lets_through():
    graph = open_model(torchvision.models.resnet18(weights=None))
    styles = {attrs["style"] for _, attrs in Outline(to_html(graph)).elements if "style" in attrs}
    properties = {rule.split(":")[0] for style in styles for rule in style.split(";")}
    assert properties <= {
        "font", "max-width", "margin-left", "opacity", "float", "white-space", "font-style",
        "border-bottom",
    }  # fmt: skip


@given(st.text(min_size=1), st.text())
def test_the_page_shows_untrusted_text_as_text(name, detail):
    graph = ModelGraph("M", (Node(name, "module", "Linear", detail=detail),), ())
    assert {tag for tag, _ in Outline(to_html(graph)).elements} == {"div", "b", "span"}


names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


@given(st.dictionaries(names, names, min_size=1, max_size=4))
def test_the_code_asks_for_just_the_return_nodes(return_nodes):
    asked = {}

    class Extractor:
        def eval(self):
            return self

        def __call__(self, x):
            return x

    def create_feature_extractor(_, return_nodes, mode):
        assert mode == "eval"
        is_dict = isinstance(return_nodes, dict)
        asked.update(return_nodes if is_dict else {name: name for name in return_nodes})
        return Extractor()

    code = to_python(return_nodes, ExampleInputs((torch.ones(1),), {}, "given", "x"))
    code = code.replace("from fxexplore import create_feature_extractor", "")
    exec(code, {"create_feature_extractor": create_feature_extractor, "model": None, "x": 1})
    assert asked == return_nodes


def test_the_code_runs_as_pasted():
    torch.manual_seed(0)
    scope = {"model": nn.Sequential(nn.Linear(4, 3), nn.ReLU())}
    exec(to_python({"0": "first"}, example_inputs_for(scope["model"])), scope)
    assert scope["features"]["first"].shape == (1, 3)


def test_no_selection_is_no_code():
    assert to_python({}).startswith("#")
