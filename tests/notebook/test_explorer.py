import json

import pytest
import torch
import torchvision
import traitlets
from IPython.core.error import UsageError
from IPython.core.interactiveshell import InteractiveShell
from torch import nn

from fxexplore import create_feature_extractor, explore
from fxexplore.model_graph import ModelGraph, Node
from fxexplore.model_graph.samples import photograph
from fxexplore.notebook.node_tree import NodeTree


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return torchvision.models.resnet18(weights=None)


@pytest.fixture
def explorer(model):
    return explore(model)


def test_selection_and_fold_state_are_one_in_every_part(explorer):
    explorer.tree.selected = ["layer1"]
    assert explorer.selected == explorer.diagram.selected == ["layer1"]
    explorer.diagram.expanded = ["layer4"]
    assert explorer.expanded == explorer.tree.expanded == ["layer4"]
    explorer.focused = "conv1"
    assert explorer.tree.focused == explorer.diagram.focused == "conv1"
    explorer.tree.query = "relu"
    assert explorer.query == "relu"


def test_return_nodes_follow_the_ticks_and_keep_their_keys(explorer):
    explorer.selected = ["layer1"]
    explorer.return_nodes = {"layer1": "low", "layer3": "high"}
    assert explorer.tree.selected == ["layer1", "layer3"]
    explorer.tree.selected = ["layer3", "layer4"]
    assert explorer.return_nodes == {"layer3": "high", "layer4": "layer4"}


def test_running_gives_what_the_extractor_gives_and_leaves_the_model_alone(explorer, model):
    model.train()
    state = {k: v.clone() for k, v in model.state_dict().items()}
    explorer.return_nodes = {"bn1": "norm", "layer2": "stage"}
    explorer.run()
    assert all(module.training for module in model.modules())
    assert all(torch.equal(v, state[k]) for k, v in model.state_dict().items())

    extractor = create_feature_extractor(model, explorer.return_nodes).eval()
    with torch.no_grad():
        expected = extractor(photograph())
    model.train()
    assert list(explorer.features) == ["norm", "stage"]
    for key, value in explorer.features.items():
        assert torch.equal(value, expected[key])
        assert not value.requires_grad


def test_given_inputs_are_used(model):
    x = torch.randn(2, 3, 64, 64)
    explorer = explore(model, x)
    explorer.selected = ["layer1"]
    explorer.run()
    assert explorer.features["layer1"].shape == (2, 64, 16, 16)
    assert explorer.graph["layer1"].shape == (2, 64, 16, 16)


def test_a_model_that_no_photograph_fits_opens_and_says_so_at_the_run():
    explorer = explore(nn.Sequential(nn.Sigmoid()))
    explorer.selected = ["0"]
    with pytest.raises(ValueError, match="example_inputs"):
        explorer.run()


@pytest.mark.parametrize("trait", ["selected", "return_nodes"])
def test_an_unknown_name_is_refused_with_the_nearest(explorer, trait):
    value = ["layer1.0.rel"] if trait == "selected" else {"layer1.0.rel": "a"}
    with pytest.raises(traitlets.TraitError, match=r"layer1\.0\.relu"):
        setattr(explorer, trait, value)


def test_a_module_that_never_runs_itself_cannot_be_ticked():
    class Blocks(nn.Module):
        def __init__(self):
            super().__init__()
            self.blocks = nn.ModuleList([nn.ReLU(), nn.ReLU()])

        def forward(self, x):
            for block in self.blocks:
                x = block(x)
            return x

    explorer = explore(Blocks())
    with pytest.raises(traitlets.TraitError, match="never calls"):
        explorer.selected = ["blocks"]


def test_an_error_in_a_click_is_shown_in_words(explorer):
    explorer._run_button.click()
    assert "nothing is ticked" in explorer._error.value
    assert "<summary>Traceback</summary>" in explorer._error.value


def test_strangers_text_is_escaped_in_every_part():
    model = nn.Sequential()
    model.add_module("<img src=x onerror=alert(1)>", nn.ReLU())
    explorer = explore(model)
    name = explorer.graph.nodes[1].name
    explorer.selected = [name]
    for part in (explorer._header, explorer._code, explorer._footer):
        assert "<img" not in part.value
    page = explorer._repr_mimebundle_()["text/html"]
    assert page.count("<img") == 1  # the diagram
    assert "onerror=" not in page.replace("&lt;img src=x onerror=", "")


def test_the_bundle_has_the_widget_and_a_page_without_script(explorer):
    bundle = explorer._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in bundle
    page = bundle["text/html"]
    assert "<details" in page
    assert 'src="data:image/svg+xml;base64,' in page
    assert "<script" not in page
    assert "http" not in page


def test_a_tree_of_many_rows_is_small_on_the_wire():
    nodes = tuple(Node(f"block_{i}", "module", "Linear", detail="in=3") for i in range(10_000))
    state = NodeTree(ModelGraph("M", nodes, ())).get_state()
    rows = {k: v for k, v in state.items() if k not in ("_esm", "_css", "layout", "tooltip")}
    size = len(json.dumps(rows, default=lambda v: "x" * len(bytes(v))))
    assert size / len(nodes) <= 100


@pytest.mark.parametrize("name", ["node_tree.js", "node_graph.js"])
def test_a_widgets_module_is_small(name):
    import fxexplore.notebook.node_tree as room

    assert (room._HERE / name).stat().st_size < 50_000


class TestMagic:
    @pytest.fixture
    def shell(self, model):
        shell = InteractiveShell.instance()
        shell.run_line_magic("load_ext", "fxexplore")
        shell.user_ns.update(net={"a": model}, batch=torch.ones(1, 3, 64, 64))
        yield shell
        shell.run_line_magic("unload_ext", "fxexplore")

    def test_shows_the_model_that_an_expression_names(self, shell, model):
        explorer = shell.run_line_magic("fxnodes", "net['a']")
        assert explorer.model is model
        explorer.selected = ["fc"]
        assert "net[&#x27;a&#x27;]" in explorer._code.value

    def test_takes_inputs(self, shell):
        explorer = shell.run_line_magic("fxnodes", "--inputs batch net['a'].layer1")
        assert explorer.graph.model == "Sequential"

    @pytest.mark.parametrize("line", ["", "nowhere", "batch"])
    def test_what_is_no_model_is_a_usage_error(self, shell, line):
        with pytest.raises(UsageError):
            shell.run_line_magic("fxnodes", line)

    def test_unloading_leaves_no_trace(self, shell):
        shell.run_line_magic("unload_ext", "fxexplore")
        assert shell.find_line_magic("fxnodes") is None
        shell.run_line_magic("load_ext", "fxexplore")
