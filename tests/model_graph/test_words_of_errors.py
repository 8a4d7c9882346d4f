"""What a caller gets wrong is answered with what was wrong, where, and what to write instead."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from torch import nn
from torch.fx.proxy import TraceError

from fxexplore import (
    ModelGraph,
    create_feature_extractor,
    explore,
    get_graph_node_names,
    open_model,
    plot_comparison,
    plot_feature_maps,
)

VECTOR = torch.ones(1, 2)

# --- the model -----------------------------------------------------------------------


class Pipeline:
    def __init__(self):
        self.tokenizer, self.model = None, nn.Linear(2, 2)


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (nn.Linear, "model is the class Linear.* instance of it: Linear\\(...\\)"),
        (torchvision.models.resnet18, r"the function resnet18.*: resnet18\(...\)"),
        (lambda x: x, "the function <lambda>.*give the module that it makes$"),
        (torch.sin, "the function sin"),
        ("resnet18.a1_in1k", r"the string .*timm\.create_model\('resnet18\.a1_in1k'\)"),
        ("google/bert", r"the string .*AutoModel\.from_pretrained\('google/bert'\)"),
        ("weights/best.pth", r"the path 'weights/best\.pth'.*load_state_dict\(torch\.load"),
        (Path("best.safetensors"), "the path 'best.safetensors'"),
        (nn.Linear(2, 2).state_dict(), r"a state_dict of 2 tensors.*load_state_dict"),
        ({"epoch": 3, "net": nn.ReLU()}, r"a dict,.*give model\['net'\], which is a ReLU"),
        ([nn.ReLU()], r"a list,.*give model\[0\], which is a ReLU"),
        (Pipeline(), r"a Pipeline,.*give model\.model, which is a Linear"),
        (None, "None, and no torch.nn.Module; give a model, such as"),
        (torch.ones(2), "a Tensor, and no torch.nn.Module"),
    ],
)
def test_what_is_no_module_is_a_type_error_that_says_what_to_give(model, words):
    for look in (get_graph_node_names, open_model):
        with pytest.raises(TypeError, match=words):
            look(model)


def test_an_exported_program_is_no_module_but_what_it_makes_opens_in_both_modes():
    model = nn.Sequential(nn.Linear(2, 2), nn.Dropout()).eval()
    exported = torch.export.export(model, (VECTOR,))
    with pytest.raises(TypeError, match=r"an ExportedProgram.*model that was exported.*\.module"):
        get_graph_node_names(exported)
    module = exported.module()
    train_nodes, eval_nodes = get_graph_node_names(module)
    assert train_nodes == eval_nodes
    extractor = create_feature_extractor(module, ["linear_default"])
    for mode in (True, False):
        assert torch.equal(extractor.train(mode)(VECTOR)["linear_default"], model(VECTOR))
    for mode in ("train", "eval"):
        assert open_model(module, VECTOR, mode=mode)["linear_default"].shape == VECTOR.shape
    assert all(part.training for part in module.modules())


def test_a_scripted_model_is_told_to_be_given_as_it_was_before():
    scripted = torch.jit.script(nn.Sequential(nn.Linear(2, 2)))
    for look in (get_graph_node_names, open_model):
        with pytest.raises(TypeError, match="the module that it was scripted or traced from"):
            look(scripted, example_inputs=VECTOR)


# --- the inputs ----------------------------------------------------------------------


class Branching(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x):
        x = self.conv(x)
        return x if x.sum() > 0 else -x


TRACEABLE, RUN = nn.Sequential(nn.ReLU(), nn.Conv2d(3, 4, 3)), Branching()
IMAGE = torch.ones(1, 3, 8, 8)


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        (IMAGE.numpy(), r"example_inputs is a ndarray; .*torch\.from_numpy"),
        (np.float32(3), r"example_inputs is a float32"),
        ("cat.png", "example_inputs is a str; give a tensor"),
        (3, "example_inputs is an int; give a tensor"),
    ],
)
@pytest.mark.parametrize("model", [TRACEABLE, RUN])
def test_what_is_no_input_is_a_type_error(model, inputs, words):
    for look in (get_graph_node_names, open_model):
        with pytest.raises(TypeError, match=words):
            look(model, example_inputs=inputs)


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ((1, 3, 8, 8), r"\(1, 3, 8, 8\).*of that shape give torch\.randn\(1, 3, 8, 8\)"),
        (IMAGE.shape, r"of that shape give torch\.randn\(1, 3, 8, 8\)"),
        ((IMAGE, IMAGE), r"\(1×3×8×8, 1×3×8×8\).*positional arguments"),
        ({"y": IMAGE}, r"\(y=1×3×8×8\).*argument"),
        ((), "argument"),
    ],
)
def test_inputs_that_forward_does_not_take_are_told_with_what_it_takes(inputs, words):
    with pytest.raises(TypeError, match=words):
        open_model(TRACEABLE, inputs)
    for look in (get_graph_node_names, open_model):
        with pytest.raises(TraceError, match=f"(?s)Run on the example inputs .*{words}"):
            look(RUN, example_inputs=inputs)


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        (IMAGE.double(), "double|float64"),
        (IMAGE.byte(), "unsigned char|uint8"),
        (torch.ones(1, 1, 8, 8), "1×1×8×8"),
        (torch.ones(8), "got input of size: [8]"),
    ],
)
def test_inputs_that_do_not_run_are_told_with_the_layer_and_the_shapes(inputs, words):
    shape = "×".join(map(str, inputs.shape))
    graph = open_model(TRACEABLE, inputs)
    assert graph["0"].shape == tuple(inputs.shape)
    assert graph["1"].shape is None
    assert f"the inputs: given {shape}" in graph.missing
    assert "from '1' on, a Conv2d(3, 4," in graph.missing
    with pytest.raises(TraceError) as caught:
        open_model(RUN, inputs)
    text = str(caught.value)
    assert f"Run on the example inputs ({shape}): in eval mode" in text
    assert "self.conv(x)" in text
    for told in (graph.missing, text):
        assert any(word in told for word in words.split("|")), told


def test_a_list_of_numbers_is_told_to_become_a_tensor():
    with pytest.raises(TraceError, match=r"make a tensor of numbers by torch\.tensor"):
        open_model(RUN, IMAGE.tolist())


def test_a_list_for_a_detector_is_told_to_be_one_argument():
    class Detector(nn.Module):
        def forward(self, images: list[torch.Tensor]):
            return [image.flatten(0, 2) for image in images]

    with pytest.raises(TraceError, match=r"the list of 'images' is one argument: .*\(\[tensor"):
        open_model(Detector(), [torch.ones(3, 2, 2)])
    assert open_model(Detector(), ([torch.ones(3, 2, 2)],)).backend == "recorded"


def test_what_goes_wrong_in_both_modes_is_told_once():
    with pytest.raises(TraceError, match="in train and eval mode") as caught:
        get_graph_node_names(RUN, example_inputs=torch.ones(1, 1, 8, 8))
    assert str(caught.value).count("to have 3 channels") == 1


# --- the options ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"mode": "evaluate"}, "mode is 'evaluate'; write .*'eval'"),
        ({"mode": ["eval"]}, r"mode is \['eval'\]; write .*'eval'"),
        ({"backend": "fx"}, "backend is 'fx'; write 'auto', 'symbolic' or 'recorded'"),
        ({"backend": None}, "backend is None; write 'auto'"),
    ],
)
def test_an_unknown_option_is_told_with_the_known_ones(options, words):
    for look in (get_graph_node_names, open_model):
        with pytest.raises(ValueError, match=words):
            look(nn.ReLU(), **options)
    with pytest.raises(ValueError, match=words):
        create_feature_extractor(nn.ReLU(), ["input"], **options)


# --- why a model cannot be traced ------------------------------------------------------


class Does(nn.Module):
    def __init__(self, what):
        super().__init__()
        self.what = what

    def forward(self, x):
        return self.what(x)


def raises(_x):
    raise RuntimeError


@pytest.mark.parametrize(
    ("what", "words"),
    [
        (lambda x: len(x) * x, "len() needs a value that is known only at run time"),
        (lambda x: torch.from_numpy(np.array(x)), "numpy needs numbers"),
        (np.sin, "numpy needs numbers"),
        (lambda x: torch.as_tensor(np.asarray(x)), "numpy needs numbers"),
        (torch.tensor, "numbers are copied into a tensor"),
        (lambda x: torch.zeros(int(x)), "a number is needed that is known only at run time"),
        (raises, "RuntimeError at test_words_of_errors.py"),
    ],
)
def test_what_cannot_be_traced_is_told_in_our_words(what, words):
    with pytest.raises(TraceError) as caught:
        get_graph_node_names(Does(what))
    assert words in str(caught.value)
    assert not any(raw in str(caught.value) for raw in ("fx.wrap", "__array", "InPlaceProxy"))


@pytest.mark.parametrize("look", [get_graph_node_names, open_model])
def test_concrete_args_that_do_not_fit_are_told(look):
    with pytest.raises(TypeError, match="concrete_args is a tuple; give a dict"):
        look(nn.Linear(2, 2), concrete_args=(1,))
    with pytest.raises(ValueError, match="names 'mask', but the arguments of forward are: input"):
        look(nn.Linear(2, 2), concrete_args={"mask": None})


# --- graphs and figures ------------------------------------------------------------------


def test_a_name_that_a_graph_lacks_is_told_with_those_that_are_like_it():
    graph = open_model(nn.Sequential(nn.Sequential(nn.Linear(2, 2))), VECTOR)
    for look in (graph.__getitem__, graph.children, graph.ancestors, graph.label):
        with pytest.raises(KeyError, match=r"the graph has no '0\.00'; did you mean: 0\.0"):
            look("0.00")


@pytest.mark.parametrize("document", ["hello", "{}", '{"format": 1}', "[]", 3])
def test_what_is_no_graph_is_told(document):
    with pytest.raises(ValueError, match="not a model graph in format 1"):
        ModelGraph.from_json(document)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"graph": nn.Linear(2, 2)}, r"graph is a Linear; give what open_model\(model\) returns"),
        ({"layout": 3}, "layout is an int; give letters such as 'NCHW'"),
        ({"ax": 3}, "ax is an int; give one Axes"),
        ({"return_nodes": "a"}, "return_nodes is the string 'a'; write"),
        ({"return_nodes": 3}, "return_nodes is 3; give a list of names"),
    ],
)
def test_an_argument_of_a_figure_that_does_not_fit_is_told(options, words):
    with pytest.raises((TypeError, ValueError), match=words):
        plot_feature_maps({"a": torch.rand(1, 2, 4, 4)}, **options)


@pytest.mark.parametrize("labels", ["ab", ("one",), 3])
def test_a_comparison_wants_two_labels(labels):
    with pytest.raises(ValueError, match=r"give two, such as \('before', 'after'\)"):
        plot_comparison({"a": VECTOR}, {"a": VECTOR}, labels=labels)


def test_return_nodes_are_a_list_or_a_dict_wherever_they_are_asked_for():
    model = nn.Sequential(nn.Linear(2, 2))
    assert explore(model, return_nodes=["0"]).return_nodes == {"0": "0"}
    figure = plot_feature_maps({"0": torch.rand(1, 2, 4, 4)}, return_nodes=["0"])
    assert figure.axes
