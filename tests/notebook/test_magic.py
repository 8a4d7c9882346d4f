import subprocess
import sys

import pytest
import torch
import torchvision
from IPython.core.completer import provisionalcompleter
from IPython.core.error import UsageError
from IPython.core.interactiveshell import InteractiveShell

from fxexplore import Explorer
from fxexplore.views.page import StaticPage


@pytest.fixture(scope="module")
def model():
    return torchvision.models.resnet18(weights=None)


@pytest.fixture
def shell(model):
    shell = InteractiveShell.instance()
    shell.run_line_magic("load_ext", "fxexplore")
    shell.user_ns.update(net={"a": model}, batch=torch.ones(1, 3, 64, 64), resnet=model)
    yield shell
    shell.run_line_magic("unload_ext", "fxexplore")
    for name in ("net", "batch", "resnet"):
        del shell.user_ns[name]


def test_shows_the_model_that_an_expression_names(shell, model):
    explorer = shell.run_line_magic("fxnodes", "net['a']")
    assert isinstance(explorer, Explorer)
    assert explorer.model is model
    explorer.selected = ["fc"]
    assert "    net['a'],\n" in explorer.code.text


def test_takes_an_expression_with_spaces(shell):
    line = "torchvision.models.resnet18(weights = None) .layer1"
    shell.user_ns["torchvision"] = torchvision
    assert shell.run_line_magic("fxnodes", line).graph.model == "Sequential"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("torch.nn.ReLU", r"the class ReLU.*give an instance of it: ReLU\(...\)"),
        ("3", "model is an int, and no torch.nn.Module"),
        ("--inputs three resnet", "--inputs batch resnet"),
        ("lazy", "run the model once"),
    ],
)
def test_what_cannot_be_shown_is_told_in_words(shell, line, words):
    shell.push({"torch": torch, "three": 3, "lazy": torch.nn.LazyLinear(2)})
    with pytest.raises(UsageError, match=words):
        shell.magics_manager.magics["line"]["fxnodes"](line)


def test_takes_inputs(shell):
    explorer = shell.run_line_magic("fxnodes", "--inputs batch net['a']")
    assert explorer.graph["layer1"].shape == (1, 64, 16, 16)
    explorer.selected = ["layer1"]
    assert explorer.code.text.endswith("features = extractor(batch)")


def test_takes_a_tokenizer_and_the_variables_of_the_shell(shell):
    def words(text, return_tensors):
        assert return_tensors == "pt"
        return {"input_ids": torch.tensor([[len(word) for word in text.split()]])}

    reader = torch.nn.Sequential(torch.nn.Embedding(9, 4), torch.nn.Linear(4, 2))
    shell.push({"reader": reader, "words": words, "ids": [1, 2, 3]})
    explorer = shell.run_line_magic("fxnodes", "--tokenizer words reader")
    explorer.maps.inputs.use_text("the quick fox")
    assert explorer.maps.current_inputs.args[0].tolist() == [[3, 5, 3]]
    assert "words('the quick fox'" in " ".join(explorer.maps.current_inputs.lines)
    explorer.maps.inputs.use_variable("ids")
    assert explorer.maps.current_inputs.args[0].tolist() == [[1, 2, 3]]
    shell.drop_by_id({"reader": reader, "words": words})
    shell.user_ns.pop("ids", None)


def test_takes_a_mode(shell):
    assert shell.run_line_magic("fxnodes", "--mode train resnet").mode == "train"


def test_shows_a_page_without_a_widget(shell):
    page = shell.run_line_magic("fxnodes", "--static resnet")
    assert isinstance(page, StaticPage)
    assert "layer1" in page._repr_html_()


@pytest.mark.parametrize("line", ["", "nowhere", "batch", "resnet.nothing", "resnet +", "-m x y"])
def test_what_is_no_model_is_a_usage_error(shell, line):
    with pytest.raises(UsageError):
        shell.run_line_magic("fxnodes", line)


def test_help_says_what_it_takes(shell):
    text = shell.find_line_magic("fxnodes").__doc__
    for option in ("--inputs NAME", "--mode", "--static"):
        assert option in text


def completed(shell, line):
    with provisionalcompleter():
        return [c.text for c in shell.Completer.completions(line, len(line))]


@pytest.mark.parametrize("before", ["%fxnodes ", "%fxnodes --mode train ", "explorer = %fxnodes "])
def test_completes_models_first(shell, before):
    assert completed(shell, f"{before}res") == ["resnet"]
    assert "batch" not in completed(shell, before)


def test_completes_modules_inside_a_model(shell):
    assert completed(shell, "%fxnodes resnet.lay") == [f"resnet.layer{i}" for i in (1, 2, 3, 4)]


def test_completes_options_and_their_values(shell):
    assert completed(shell, "%fxnodes --sta") == ["--static"]
    assert completed(shell, "%fxnodes --mode t") == ["train"]
    assert "batch" in completed(shell, "%fxnodes -i bat")


def test_leaves_the_completion_of_other_lines_alone(shell):
    assert "resnet" in completed(shell, "print(res")
    assert completed(shell, "%timeit res") != ["resnet.layer1"]


def test_unloading_leaves_no_trace(shell):
    before = len(shell.Completer.custom_matchers)
    shell.run_line_magic("reload_ext", "fxexplore")
    assert len(shell.Completer.custom_matchers) == before
    shell.run_line_magic("unload_ext", "fxexplore")
    assert shell.find_line_magic("fxnodes") is None
    assert len(shell.Completer.custom_matchers) == before - 1
    shell.run_line_magic("load_ext", "fxexplore")


def test_completion_does_not_run_the_users_code(shell):
    ran = []

    class Sly(torch.nn.Module):
        @property
        def trap(self):
            ran.append(1)

    shell.user_ns["sly"] = Sly()
    found = completed(shell, "%fxnodes sly.tr")
    del shell.user_ns["sly"]
    assert "trap" in found
    assert not ran


def test_importing_the_package_does_not_import_what_the_magic_needs():
    code = "import sys, fxexplore; assert not {'torch', 'IPython', 'ipywidgets'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


PAIR = """from torch import nn

class Pair(nn.Module):
    def forward(self, image, meta):
        if image.sum() > meta["limit"]:
            return image
        return image + meta["offset"]

pair = Pair()
"""


def test_texts_suggest_a_line_of_the_notebook_with_the_arguments_of_forward(shell):
    shell.run_cell(PAIR, store_history=True).raise_error()
    number = shell.execution_count - 1
    with pytest.raises(UsageError) as caught:
        shell.magics_manager.magics["line"]["fxnodes"]("pair")
    words = str(caught.value)
    assert "batch = (image, meta), then %fxnodes --inputs batch pair" in words
    assert "example_inputs" not in words
    assert f"cell [{number}], line 5 `if image.sum()" in words
    shell.run_cell("traced = nn.Identity()").raise_error()
    explorer = shell.run_line_magic("fxnodes", "traced")
    assert "batch = torch.randn(...), then %fxnodes --inputs batch traced" in explorer.notice.words
    assert "%fxnodes --inputs batch traced" in explorer.maps.inputs.note.value


def test_operations_are_told_by_their_cell(shell):
    code = (
        "class Twice(nn.Module):\n    def forward(self, x):\n        return x * 2\ntwice = Twice()"
    )
    shell.run_cell(f"from torch import nn\n{code}", store_history=True).raise_error()
    number = shell.execution_count - 1
    explorer = shell.run_line_magic("fxnodes", "twice")
    assert explorer.graph["mul"].description == f"operation · cell [{number}], line 4"
