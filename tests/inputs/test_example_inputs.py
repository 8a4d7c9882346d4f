"""What a model is run on: inferred once, and the code that is shown makes the same value."""

import asyncio
import threading

import pytest
import torch
import torchvision
from torch import nn

from fxexplore import explore, open_model
from fxexplore.inputs import (
    InputChoice,
    Preprocessing,
    example_inputs_for,
    inferred,
    known_inputs,
    photograph,
    sample_photograph,
)


class Detector(nn.Module):
    """Takes a list of pictures, as torchvision's detectors do."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 2, 3)

    def forward(self, images):
        return [self.first(image) for image in images]


class Captions(nn.Module):
    """Takes a picture and a text, by position or by name."""

    def __init__(self):
        super().__init__()
        self.patch = nn.Conv2d(3, 4, 4, stride=4)
        self.words = nn.Embedding(50, 4)

    def forward(self, pixels, ids, attention_mask=None):
        words = self.words(ids)
        if attention_mask is not None:
            words = words * attention_mask.unsqueeze(-1)
        return self.patch(pixels).mean((2, 3)) + words.mean(1)


def tokenizer(text, return_tensors):
    assert return_tensors == "pt"
    ids = torch.tensor([[len(word) for word in text.split()]])
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


PIXELS, IDS = torch.rand(1, 3, 16, 16), torch.arange(5).unsqueeze(0)
GIVEN = {
    "tensor": (nn.Conv2d(3, 2, 3), PIXELS),
    "list": (Detector(), ([PIXELS[0]],)),
    "positions": (Captions(), (PIXELS, IDS)),
    "names": (Captions(), {"pixels": PIXELS, "ids": IDS}),
    "one name": (nn.Conv2d(3, 2, 3).double(), {"input": PIXELS}),
    "both": (Captions(), ((PIXELS,), {"ids": IDS, "attention_mask": torch.ones(1, 5)})),
    "inferred": (nn.Conv2d(3, 2, 3), None),
}


def assert_code_makes(inputs, model, scope=None):
    """The lines, the call and the expression for ``example_inputs`` give what ran."""
    scope = {"model": model, "tokenizer": tokenizer} | (scope or {})
    exec("\n".join(inputs.lines), scope)
    call = eval(f"(lambda *args, **kwargs: (args, kwargs))({inputs.call})", scope)
    example = example_inputs_for(model, eval(inputs.example, scope))
    for args, kwargs in (call, (example.args, example.kwargs)):
        torch.testing.assert_close((args, kwargs), (inputs.args, inputs.kwargs), rtol=0, atol=0)
    seen, code = inputs.picture(), inputs.picture_code()
    if seen is not None:
        exec("from fxexplore.inputs import *", scope)
        assert torch.equal(eval(code, scope), seen)


@pytest.mark.parametrize("way", GIVEN)
def test_the_code_of_example_inputs_makes_them(way):
    model, x = GIVEN[way]
    assert_code_makes(known_inputs(model, x), model, {"x": x})


@pytest.mark.parametrize("way", GIVEN)
def test_the_code_of_a_picture_or_a_sample_in_its_place_makes_the_same(way):
    model, x = GIVEN[way]
    choice = InputChoice(model, known_inputs(model, x))
    choice.prepare_with(Preprocessing((20,), (16, 16)))
    variable = torch.rand(3, 16, 16) - 0.5
    for choose in (
        lambda: choice.use_picture(sample_photograph()),
        lambda: choice.use_sample("impulse"),
        lambda: choice.use_variable("pixels", {"pixels": variable}),
    ):
        choose()
        model(*choice.chosen.args, **choice.chosen.kwargs)
        assert_code_makes(choice.chosen, model, {"x": x, "pixels": variable})


def test_a_variable_that_holds_all_arguments_is_brought_to_the_models_dtype():
    model = Captions().double()
    batch = {"pixels": torch.rand(2, 3, 8, 8), "ids": IDS}
    choice = InputChoice(model, known_inputs(model, (PIXELS, IDS)))
    choice.use_variable("batch", {"batch": batch})
    assert choice.chosen.kwargs["pixels"].dtype == torch.float64
    assert_code_makes(choice.chosen, model, {"batch": batch})


@pytest.mark.parametrize("way", ["positions", "names", "both"])
@pytest.mark.parametrize("text", [[4, 5], "a few more words"])
def test_a_text_stays_when_the_picture_changes_and_its_code_makes_both(way, text):
    model, x = GIVEN[way]
    choice = InputChoice(model, known_inputs(model, x), tokenizer=tokenizer)
    choice.use_text(text)
    choice.use_sample("checkerboard")
    model(*choice.chosen.args, **choice.chosen.kwargs)
    assert choice.chosen.name.endswith(" and checkerboard")
    assert_code_makes(choice.chosen, model, {"x": x})
    choice.use_text([7])
    assert choice.chosen.name == "1 ids and checkerboard"
    assert_code_makes(choice.chosen, model, {"x": x})


def test_inputs_that_were_found_are_taken_as_example_inputs():
    model = nn.Sequential(nn.Linear(3, 2))
    inputs = example_inputs_for(model)
    assert example_inputs_for(model, inputs) is inputs
    assert open_model(model, inputs)["0"].shape == (1, 2)


class Uncertain(nn.Module):
    """Looks at values, so that it has to be run; counts its runs."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(3, 2, 3)

    def forward(self, x):
        return self.layer(x) if x.sum() > 0 else self.layer(-x)


@pytest.fixture
def inferences(monkeypatch):
    """In which threads inputs were guessed."""
    threads = []
    infer = inferred._guessed

    def counted(model):
        threads.append(threading.current_thread())
        return infer(model)

    monkeypatch.setattr(inferred, "_guessed", counted)
    return threads


MODELS = [nn.Sequential(nn.Conv2d(3, 2, 3)), Uncertain(), nn.ReLU()]


@pytest.mark.parametrize("model", MODELS)
def test_an_explorer_infers_its_inputs_once(model, inferences):
    explorer = explore(model)
    explorer.mode = "train"
    explorer.mode = "eval"
    explorer.selected = [explorer.graph.nodes[-1].name]
    if explorer.maps.current_inputs is None:
        with pytest.raises(ValueError, match="no example inputs"):
            explorer.run()
    else:
        explorer.run()
        assert explorer.maps.code
    explorer.close()
    assert len(inferences) == 1


def test_no_inputs_are_inferred_where_they_are_given(inferences):
    explore(MODELS[0], torch.ones(1, 3, 8, 8)).close()
    assert not inferences


@pytest.mark.parametrize("model", MODELS[:2])
def test_inputs_are_inferred_beside_the_kernel_before_anything_is_known(
    model, inferences, monkeypatch
):
    go_on = threading.Event()
    infer = inferred._guessed
    monkeypatch.setattr(inferred, "_guessed", lambda model: go_on.wait() and infer(model))

    async def main():
        explorer = explore(model)
        assert (explorer.graph.backend, explorer.maps.current_inputs) == ("", None)
        assert explorer.maps.inputs.upload.disabled
        go_on.set()
        assert explorer.wait()
        assert explorer.maps.current_inputs.shapes == "1×3×224×224"
        assert "1×3×224×224" in explorer.header.children[0].value
        assert not explorer.maps.inputs.upload.disabled
        explorer.close()
        explorer = explore(model, selected=[explorer.graph.nodes[-1].name])
        assert explorer.run()
        explorer.close()

    asyncio.run(main())
    assert len(inferences) == 2
    assert threading.main_thread() not in inferences


def test_the_photograph_is_prepared_as_imagenet_models_expect():
    picture = photograph(64)
    assert picture.shape == (1, 3, 64, 64)
    assert -2.2 < picture.min() < -1
    assert 1 < picture.max() < 2.7


@pytest.mark.parametrize(("channels", "expected"), [(1, (1, 1, 224, 224)), (3, (1, 3, 224, 224))])
def test_a_convolution_on_pictures_gets_it(channels, expected):
    assert example_inputs_for(nn.Conv2d(channels, 2, 3)).args[0].shape == expected


@pytest.mark.parametrize(("name", "channels"), [("tresnet_m", 3), ("resnet18", 1)])
def test_a_model_of_timm_gets_the_channels_that_it_was_made_for(name, channels):
    timm = pytest.importorskip("timm")
    with torch.device("meta"):
        model = timm.create_model(name, in_chans=channels)
    assert example_inputs_for(model).args[0].shape == (1, channels, 224, 224)


def test_the_models_own_size_is_used():
    model = torchvision.models.VisionTransformer(32, 16, 1, 2, 16, 16)
    assert example_inputs_for(model).args[0].shape == (1, 3, 32, 32)


@pytest.mark.parametrize(
    "layer",
    [
        nn.Linear(5, 2),
        nn.Conv1d(2, 3, 3),
        nn.Conv2d(4, 3, 3),
        nn.Conv3d(3, 2, 3),
        nn.Embedding(6, 3),
        nn.LSTM(4, 3),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_a_first_layer_runs_on_what_it_says_it_takes(layer):
    torch.manual_seed(3)
    state = torch.get_rng_state()
    inputs = example_inputs_for(nn.Sequential(layer))
    layer(*inputs.args)
    assert type(layer).__name__ in inputs.source
    assert torch.equal(torch.get_rng_state(), state)


def test_inputs_have_the_dtype_of_the_model():
    model = nn.Sequential(nn.Linear(3, 2)).to(torch.float64)
    assert example_inputs_for(model).args[0].dtype == torch.float64


def test_what_the_caller_gives_is_taken():
    x = torch.ones(2)
    assert example_inputs_for(nn.ReLU(), x).args == (x,)
    assert example_inputs_for(nn.ReLU(), (x, 3)).args == (x, 3)
    assert example_inputs_for(nn.ReLU(), {"y": x}).kwargs == {"y": x}
    both = example_inputs_for(nn.ReLU(), ((x,), {"y": 1}))
    assert (both.args, both.kwargs) == ((x,), {"y": 1})


class TakesWords(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 2)

    def forward(self, words: str, more: dict):
        return self.layer(more["x"] * len(words.split()))


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (nn.ReLU(), r"example_inputs=torch\.randn\(\.\.\.\)"),
        (TakesWords(), r"example_inputs=\(words, more\)"),
    ],
)
def test_where_nothing_can_be_inferred_the_message_says_what_to_give(model, words):
    with pytest.raises(ValueError, match=words) as caught:
        example_inputs_for(model)
    assert ("tried in vain" in str(caught.value)) == isinstance(model, TakesWords)


def test_something_else_is_refused():
    with pytest.raises(TypeError, match="int"):
        example_inputs_for(nn.ReLU(), 3)
