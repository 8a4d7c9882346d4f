"""The panel of feature maps: one forward, nothing touched, everything said in words."""

import ast
import asyncio
import contextlib
import gc
import io
import threading
import time
import types
import weakref

import matplotlib as mpl
import numpy as np
import pytest
import torch
import torchvision
import traitlets
from ipywidgets.widgets.widget import _instances
from matplotlib import _pylab_helpers
from PIL import Image
from torch import nn

from fxexplore import create_feature_extractor, explore, open_model
from fxexplore.feature_extraction import twin_of
from fxexplore.inputs import Preprocessing
from fxexplore.notebook.feature_maps import FeatureMapsPanel
from fxexplore.notebook.feature_maps.runs import Run, Runs
from fxexplore.views.feature_maps import PlotOptions
from tests.marks import mostly_thorough


class Counting(nn.Module):
    """Two maps and a vector; counts its forwards in a list that copies share."""

    def __init__(self):
        super().__init__()
        self.low = nn.Conv2d(3, 8, 3, stride=2)
        self.norm = nn.BatchNorm2d(8)
        self.high = nn.Conv2d(8, 16, 3, stride=2)
        self.head = nn.Linear(16, 5)

    def forward(self, x):
        x = torch.relu(self.high(self.norm(self.low(x)).relu()))
        return self.head(x.mean((2, 3)))


def panel_of(model, example_inputs=None, mode="eval", tracer_kwargs=None, **options):
    """A panel that counts its forwards in ``panel.forwards``."""
    graph = open_model(model, example_inputs, mode=mode, tracer_kwargs=tracer_kwargs)
    forwards = []

    def make_extractor():
        recorded = graph.backend == "recorded"
        extractor = create_feature_extractor(
            model,
            return_nodes=panel.return_nodes,
            example_inputs=example_inputs if recorded else None,
            backend=graph.backend,
            mode=mode,
            tracer_kwargs=tracer_kwargs,
        )
        extractor.register_forward_hook(lambda *_: forwards.append(threading.get_ident()))
        return extractor

    panel = FeatureMapsPanel(
        model, graph, make_extractor=make_extractor, example_inputs=example_inputs, **options
    )
    panel.forwards = forwards
    return panel


@pytest.fixture
def model():
    torch.manual_seed(0)
    return Counting().eval()


@pytest.fixture
def x():
    return torch.randn(2, 3, 40, 40, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def panel(model, x):
    panel = panel_of(model, x)
    yield panel
    panel.close()


def shell_with(**variables):
    return types.SimpleNamespace(user_ns=variables, execution_count=1)


def picture_file(kind="png", size=(60, 50), colour=(200, 30, 60)):
    content = io.BytesIO()
    Image.new("RGB", size, colour).save(content, kind)
    return content.getvalue()


def upload(panel, content, name="cat.png"):
    """Send a file as the page does, in two slices."""
    button, half = panel.inputs.upload, len(content) // 2
    for at, part in ((0, content[:half]), (half, content[half:])):
        message = {"type": "slice", "id": "page", "name": name, "size": len(content), "at": at}
        button._handle_custom_msg(message, [memoryview(part)])


def arrays_of(figure):
    """All that a figure draws, as arrays."""
    figure.draw_without_rendering()
    drawn = []
    for axes in figure.axes:
        drawn += [np.ma.filled(image.get_array(), np.nan) for image in axes.images]
        for patch in axes.patches:
            drawn += [patch.get_data().values if hasattr(patch, "get_data") else
                      np.array(patch.get_bbox().bounds)]  # fmt: skip
        drawn += [line.get_xydata() for line in axes.lines]
        drawn += [axes.get_title(loc="left")]
    return drawn


def assert_same_drawing(one, other):
    one, other = arrays_of(one), arrays_of(other)
    assert len(one) == len(other)
    for left, right in zip(one, other, strict=True):
        if isinstance(left, str):
            assert left == right
        else:
            np.testing.assert_allclose(
                np.asarray(left, float), np.asarray(right, float), atol=1e-5, equal_nan=True
            )


# --- running -----------------------------------------------------------------------------


def test_a_run_gives_what_the_extractor_gives_in_one_forward(panel, model, x):
    panel.return_nodes = {"low": "low", "high": "top", "relu_1": "relu_1"}
    values = panel.run()
    expected = create_feature_extractor(model, panel.return_nodes)(x)
    assert list(values) == list(panel.features) == list(expected) == ["low", "top", "relu_1"]
    for key, value in expected.items():
        assert torch.equal(panel.features[key], value)
        assert not panel.features[key].requires_grad
    assert len(panel.forwards) == 1


def test_ticking_a_node_whose_value_is_kept_draws_without_a_forward(panel):
    panel.return_nodes = {"low": "low", "high": "high"}
    panel.run()
    panel.return_nodes = {"high": "high"}
    assert list(panel.features) == list(panel.cards.figures) == ["high"]
    panel.return_nodes = {"high": "renamed", "low": "low"}
    assert list(panel.features) == list(panel.cards.figures) == ["low", "renamed"]
    panel.return_nodes = {"low": "low", "norm": "norm"}
    assert list(panel.features) == ["low"]
    assert "not run yet: norm" in panel.message
    assert len(panel.forwards) == 1


def test_values_of_another_input_or_of_other_weights_are_not_shown_as_new(panel, model):
    panel.return_nodes = {"low": "low", "high": "high"}
    panel.run()
    panel.return_nodes = {"low": "low"}
    panel.inputs.use_sample("noise")
    assert "these are of x; run for the new input" in panel.message
    panel.run()
    panel.return_nodes = {"low": "low", "high": "high"}
    assert list(panel.features) == ["low"]
    panel.run()
    with torch.no_grad():
        model.low.weight.mul_(2)
    panel.return_nodes = {"low": "low"}
    assert "the model has changed since this run" in panel.message
    panel.run()
    panel.return_nodes = {"high": "high"}
    assert panel.features == {}


@pytest.mark.parametrize("mode", ["eval", "train"])
def test_the_model_and_the_random_state_stay_as_they_were(x, mode):
    torch.manual_seed(0)
    model = nn.Sequential(Counting(), nn.Dropout(0.5)).train()
    model[0].norm.eval()
    panel = panel_of(model, x, mode=mode)
    state = {key: value.clone() for key, value in model.state_dict().items()}
    flags = [module.training for module in model.modules()]
    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    panel.return_nodes = {"0.norm": "norm", "1": "1"}
    panel.run()
    assert torch.equal(torch.rand(3), expected)
    assert [module.training for module in model.modules()] == flags
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
    assert not any(module._forward_pre_hooks for module in model.modules())
    assert (panel.features["1"] == 0).any() == (mode == "train")


def test_values_that_are_kept_are_bounded_and_dropped_ones_are_named(panel):
    panel.return_nodes = {"low": "low", "norm": "norm", "high": "high"}
    values = panel.run()
    sizes = {key: value.numel() * 4 for key, value in values.items()}
    panel.kept_bytes = sizes["norm"] + sizes["high"]
    assert panel.held_bytes <= panel.kept_bytes
    assert list(panel.features) == ["norm", "high"]
    assert "dropped, over the limit: low" in panel.message
    panel.return_nodes = {"high": "high", "head": "head"}
    panel.run()
    assert list(panel.features) == ["high", "head"]
    assert panel.held_bytes <= panel.kept_bytes
    megabytes = panel.held_bytes / 1e6
    assert f"values kept: {megabytes:.1f} MB on cpu, at most" in panel.controls.held.value
    panel.controls.limit.value = 7
    assert panel.kept_bytes == 7_000_000


def test_values_that_share_memory_count_once():
    runs = Runs(limit=10_000)
    base = torch.zeros(1000)
    values = {"a": base, "b": base[:10], "c": (base.view(10, 100), {"d": base})}
    runs.add(Run(None, training=False, state=(), label="x"), values)
    assert runs.bytes == 4000
    assert list(runs.values) == ["a", "b", "c"]


def test_errors_of_the_run_are_raised_in_python_and_words_at_the_button(panel):
    with pytest.raises(ValueError, match="nothing is ticked"):
        panel.run()
    panel.controls.run.click()
    assert "nothing is ticked" in panel.problem
    assert "<details>" in panel.controls.problem_line.value
    panel.return_nodes = {"low": "low"}
    panel.inputs.chosen = panel.inputs.chosen.__class__(
        (torch.zeros(1, 5, 8, 8),), {}, "wrong", "<wrong>"
    )
    panel.controls.run.click()
    assert "RuntimeError" in panel.problem
    assert "&lt;wrong&gt;" in panel.inputs.words.value
    panel.inputs.use_sample("noise")
    panel.controls.run.click()
    assert panel.problem == ""
    assert list(panel.features) == ["low"]


def test_a_model_that_no_input_fits_says_so():
    model = nn.Sequential(nn.Sigmoid())
    panel = panel_of(model)
    panel.return_nodes = {"0": "0"}
    with pytest.raises(ValueError, match="example_inputs"):
        panel.run()
    panel.inputs.shell = shell_with(batch=torch.zeros(2, 3))
    panel.inputs.use_variable("batch")
    assert panel.run()["0"].tolist() == [[0.5] * 3] * 2


# --- in a thread ---------------------------------------------------------------------------


async def until(condition, seconds=30):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


class Waiting(nn.Module):
    """Waits in its middle until it may go on."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(4, 4)
        self.wait = Gate()
        self.last = nn.Linear(4, 4)

    def forward(self, x):
        return self.last(self.wait(self.first(x)))


GATE, ENTERED = threading.Event(), threading.Event()


class Gate(nn.Module):
    def forward(self, x):
        if threading.current_thread() is not threading.main_thread():
            ENTERED.set()
            assert GATE.wait(30)
        return x


@pytest.fixture
def waiting():
    GATE.clear()
    ENTERED.clear()
    torch.manual_seed(0)
    model = Waiting().eval()
    leaves = {"leaf_modules": [Gate]}
    panel = panel_of(model, torch.ones(1, 4), tracer_kwargs=leaves, shell=shell_with())
    panel.return_nodes = {"first": "first", "wait": "wait", "last": "last"}
    yield panel
    GATE.set()
    panel.close()


def test_the_button_runs_in_a_thread_and_the_loop_stays_free(waiting):
    async def main():
        waiting.controls.run.click()
        assert waiting.controls.run.description == "Stop"
        assert waiting.features == {}
        await until(ENTERED.is_set)
        await until(lambda: "wait · 2 of 3" in waiting.message)
        threads = [t for t in threading.enumerate() if t.name == "fxexplore-task"]
        assert [thread.daemon for thread in threads] == [True]
        GATE.set()
        await until(lambda: waiting.features)
        assert waiting.controls.run.description == "Run"
        await until(lambda: len(waiting.cards.pictures.children) == 3)

    asyncio.run(main())
    assert list(waiting.features) == ["first", "wait", "last"]


def test_stop_ends_the_run_at_the_next_module_and_keeps_the_pictures(waiting):
    GATE.set()
    before = dict(waiting.run())
    GATE.clear()
    reached = []
    waiting.model.last.register_forward_hook(lambda *_: reached.append(1))

    async def main():
        waiting.controls.run.click()
        await until(ENTERED.is_set)
        waiting.controls.run.click()
        await until(lambda: "stopping" in waiting.message)
        GATE.set()
        await until(lambda: not waiting.controls.running)

    asyncio.run(main())
    assert "stopped; the pictures are those of the run before" in waiting.message
    assert reached == []
    assert all(waiting.features[key] is before[key] for key in before)
    assert not any(t.name == "fxexplore-task" and t.is_alive() for t in threading.enumerate())


def test_a_users_run_of_the_same_model_meanwhile_is_not_disturbed(waiting):
    model = waiting.model.train()
    expected = model(torch.ones(1, 4))

    async def main():
        waiting.controls.run.click()
        await until(ENTERED.is_set)
        assert all(module.training for module in model.modules())
        assert not any(module._forward_pre_hooks for module in model.modules())
        assert torch.equal(model(torch.ones(1, 4)), expected)
        model(torch.ones(1, 4)).sum().backward()
        torch.manual_seed(5)
        waiting.shell.execution_count += 1  # a cell has ended
        GATE.set()
        await until(lambda: waiting.features)

    asyncio.run(main())
    drawn = torch.rand(2)
    torch.manual_seed(5)
    assert torch.equal(drawn, torch.rand(2))
    assert model.first.weight.grad is not None


def test_an_error_in_the_thread_is_told_in_words(panel):
    async def main():
        panel.return_nodes = {"low": "low"}
        panel.inputs.chosen = panel.inputs.chosen.__class__((torch.zeros(1, 5, 8, 8),), {}, "wrong")
        panel.controls.run.click()
        await until(lambda: panel.problem)
        assert panel.controls.run.description == "Run"

    asyncio.run(main())
    assert "RuntimeError" in panel.problem


def test_closing_while_a_run_goes_on_drops_its_result(waiting):
    async def main():
        waiting.controls.run.click()
        await until(ENTERED.is_set)
        waiting.close()
        GATE.set()
        await until(lambda: not [t for t in threading.enumerate() if t.name == "fxexplore-task"])
        await asyncio.sleep(0)

    asyncio.run(main())
    assert waiting.features == {}


def test_an_event_loop_that_is_gone_does_not_break_the_thread(waiting):
    caught = []
    before, threading.excepthook = threading.excepthook, caught.append
    try:

        async def main():
            waiting.controls.run.click()
            await until(ENTERED.is_set)

        asyncio.run(main())
        GATE.set()
        for thread in threading.enumerate():
            if thread.name == "fxexplore-task":
                thread.join(30)
    finally:
        threading.excepthook = before
    assert caught == []


def test_what_cannot_be_copied_runs_at_once_and_says_so(x):
    model = Counting()
    model.lock = threading.Lock()  # cannot be copied
    panel = panel_of(model, x)
    extractor = panel.make_extractor

    def with_lock():
        made = extractor()
        made.lock = model.lock
        return made

    panel.make_extractor = with_lock
    panel.return_nodes = {"norm": "norm"}
    before = model.norm.running_mean.clone()

    async def main():
        panel.controls.run.click()
        assert list(panel.features) == ["norm"]

    asyncio.run(main())
    assert "cannot be stopped" in panel.message
    assert torch.equal(model.norm.running_mean, before)
    assert model.training


def test_a_twin_shares_parameters_and_nothing_else(model):
    twin = twin_of(model)
    assert [id(p) for p in twin.parameters()] == [id(p) for p in model.parameters()]
    shared = {id(b) for b in model.buffers()} & {id(b) for b in twin.buffers()}
    assert shared == set()
    assert twin.train().training
    assert not model.training


@pytest.mark.parametrize(
    "name", mostly_thorough(["mobilenet_v3_small", "swin_t", "resnet18"], "resnet18")
)
def test_a_thread_computes_what_the_main_thread_does(name):
    torch.manual_seed(0)
    model = torchvision.models.get_model(name, weights=None)
    panel = panel_of(model, torch.randn(1, 3, 64, 64))
    names = [row.name for row in panel.graph.rows][5::25]
    panel.return_nodes = dict(zip(names, names, strict=True))
    expected = panel.run()

    async def main():
        panel.controls.run.click()
        await until(lambda: not panel.controls.running and panel.features)

    asyncio.run(main())
    assert panel.problem == ""
    assert panel.features.keys() == expected.keys()
    for key, value in expected.items():
        assert panel.features[key] is not value
        assert torch.equal(panel.features[key], value), key
    panel.close()


class Owning(nn.Module):
    """Its nodes are its parameter, a view of it, and its buffer, written in place."""

    def __init__(self, branches):
        super().__init__()
        self.branches = branches
        self.weight = nn.Parameter(torch.ones(3, 4))
        self.register_buffer("mean", torch.ones(4))

    def forward(self, x):
        self.mean.add_(1)
        if self.branches and x.sum() < 0:
            x = -x
        return x.view(-1) + self.weight.t().sum() + self.mean


@pytest.mark.parametrize("recorded", [False, True])
@pytest.mark.parametrize("in_thread", [False, True])
def test_a_run_does_not_change_when_the_model_is_trained_on(recorded, in_thread):
    model = Owning(branches=recorded).train()
    panel = panel_of(model, torch.ones(4), mode="train")
    assert (panel.graph.backend == "recorded") is recorded
    names = [node.name for node in panel.graph.nodes if node.kind != "size"]
    assert {"weight", "t"} <= set(names)
    panel.return_nodes = {name: name for name in names}
    if in_thread:

        async def main():
            panel.controls.run.click()
            await until(lambda: not panel.controls.running and panel.features)

        asyncio.run(main())
    else:
        panel.run()
    before = {key: value.clone() for key, value in panel.features.items()}
    assert before["t"].shape == (4, 3)
    with torch.no_grad():
        for tensor in (model.weight, model.mean):
            tensor.fill_(7)
    for key, value in panel.features.items():
        assert torch.equal(value, before[key]), key
    panel.close()


def test_a_recorded_model_runs_in_a_thread_too(x):
    class Branching(Counting):
        def forward(self, x):
            return super().forward(x) if x.sum() > -1e9 else x

    model = Branching()
    panel = panel_of(model, x, shell=shell_with())
    assert panel.graph.backend == "recorded"
    panel.return_nodes = {"high": "high", "relu_1": "relu_1"}

    async def main():
        panel.controls.run.click()
        await until(lambda: panel.features)

    asyncio.run(main())
    assert model.training
    assert not any(m._forward_pre_hooks or m._forward_hooks for m in model.modules())
    assert torch.equal(panel.features["relu_1"], panel.features["high"].relu())


# --- inputs --------------------------------------------------------------------------------


def test_an_uploaded_picture_is_prepared_in_sight(panel):
    upload(panel, picture_file())
    chosen = panel.current_inputs
    assert chosen.args[0].shape == (1, 3, 40, 40)
    assert "cat.png" in panel.inputs.words.value
    assert "crop 40×40 · ImageNet mean and deviation" in panel.inputs.words.value
    assert "<img" in panel.inputs.thumbnail.value
    assert torch.allclose(
        chosen.picture()[:, 20, 20], torch.tensor([200.0, 30, 60]) / 255, atol=1e-5
    )


def test_the_numbers_of_preparation_can_be_changed_and_bad_ones_are_told(panel):
    upload(panel, picture_file())
    panel.inputs.more.unfolded = True
    fields = panel.inputs.preparation.fields
    assert fields["crop"].value == "40×40"
    fields["crop"].value = "32"
    fields["mean"].value = "0.5"
    fields["std"].value = "0.25"
    chosen = panel.current_inputs
    expected = Preprocessing((40,), (32, 32), (0.5,) * 3, (0.25,) * 3)
    assert torch.equal(chosen.args[0], expected(Image.new("RGB", (60, 50), (200, 30, 60))))
    fields["std"].value = "0"
    assert "every number must be above 0" in panel.inputs.note.value
    assert panel.current_inputs is chosen
    fields["std"].value = "0.5"
    assert panel.inputs.note.value == ""
    panel.inputs.preparation.preset.value = "pixels from 0 to 1"
    assert panel.current_inputs.args[0].max() <= 1
    assert fields["mean"].value == "0"


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"no picture", "is no picture"), (picture_file()[:60], "broken or cut off")],
)
def test_a_file_that_is_no_picture_is_told_and_changes_nothing(panel, content, words):
    before = panel.current_inputs
    upload(panel, content, "notes.txt")
    assert words in panel.inputs.note.value
    assert "notes.txt" in panel.inputs.note.value
    assert panel.current_inputs is before
    upload(panel, picture_file())
    assert panel.inputs.note.value == ""


def test_samples_are_in_the_shape_that_the_model_takes(panel):
    for kind in ("noise", "impulse", "checkerboard", "photograph", "example inputs"):
        panel.inputs.sample.value = kind
        assert panel.inputs.note.value == ""
        assert panel.current_inputs.args[0].shape[1:] == (3, 40, 40)
        assert panel.inputs.sample.value == "Sample"


@pytest.mark.parametrize(
    ("name", "value", "shape"),
    [
        ("batch", torch.randn(4, 3, 32, 32), (4, 3, 32, 32)),
        ("array", np.random.default_rng(0).normal(size=(2, 3, 32, 32)), (2, 3, 32, 32)),
        ("one", torch.randn(3, 32, 32), (1, 3, 32, 32)),
        ("pil", Image.new("L", (9, 9)), (1, 3, 40, 40)),
        ("bytes_", torch.zeros(3, 8, 8, dtype=torch.uint8), (1, 3, 40, 40)),
        ("unit", torch.rand(3, 8, 8), (1, 3, 40, 40)),
        ("rows", np.zeros((8, 9), np.uint8), (1, 3, 40, 40)),
        ("pair", (torch.randn(1, 3, 16, 16),), (1, 3, 16, 16)),
        ("named", {"x": torch.randn(1, 3, 16, 16)}, (1, 3, 16, 16)),
    ],
)
def test_variables_of_every_kind_are_taken(panel, name, value, shape):
    panel.inputs.shell = shell_with(**{name: value, "model": 1})
    panel.inputs.name.value = name
    assert panel.inputs.note.value == ""
    (tensor,) = (*panel.current_inputs.args, *panel.current_inputs.kwargs.values())
    assert tensor.shape == shape
    assert tensor.dtype == torch.float32
    panel.return_nodes = {"low": "low"}
    scope = {"model": panel.model, name: value}
    panel.run()
    exec(panel.code, scope)
    assert torch.equal(scope["features"]["low"], panel.features["low"])


def test_a_path_of_attributes_and_a_path_of_a_file_are_taken(panel, tmp_path):
    (tmp_path / "cat.png").write_bytes(picture_file())
    data = types.SimpleNamespace(images=torch.randn(1, 3, 20, 20), path=tmp_path / "cat.png")
    panel.inputs.shell = shell_with(data=data)
    panel.inputs.use_variable(" data.images ")
    assert panel.current_inputs.args[0] is data.images
    panel.inputs.use_variable("data.path")
    assert panel.current_inputs.shapes == "1×3×40×40"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nothing", "there is no variable &#x27;nothing&#x27;"),
        ("data.nothing", "has no &#x27;nothing&#x27;"),
        ("__import__('os').system('true')", "is no name; write a variable such as batch"),
        ("data[0]", "is no name"),
        ("four", "1×4×8×8, with 4 channels; this model takes 3"),
        ("number", "int"),
        ("model", "Module"),
    ],
)
def test_variables_that_do_not_fit_are_told_in_words(panel, name, words):
    variables = {"data": [], "four": torch.zeros(1, 4, 8, 8), "number": 3, "model": nn.Module()}
    panel.inputs.shell = shell_with(**variables)
    before = panel.current_inputs
    panel.inputs.name.value = name
    assert words in panel.inputs.note.value
    assert panel.current_inputs is before


def test_models_of_other_channels_take_variables_and_no_pictures():
    panel = panel_of(nn.Sequential(nn.Conv2d(5, 2, 3)))
    with pytest.raises(ValueError, match="takes 5 channels, and a picture has 1 or 3"):
        panel.inputs.use_picture(picture_file())
    panel.inputs.use_sample("checkerboard")
    assert panel.current_inputs.args[0].shape[:2] == (1, 5)


def test_a_model_of_grey_pictures_takes_pictures_in_colour():
    panel = panel_of(nn.Sequential(nn.Conv2d(1, 2, 3)), torch.zeros(1, 1, 28, 28))
    panel.inputs.use_picture(picture_file())
    panel.return_nodes = {"0": "0"}
    assert panel.run()["0"].shape == (1, 2, 26, 26)
    assert "mean 0.449" in panel.inputs.words.value


class Text(nn.Module):
    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(50, 8)
        self.mix = nn.Linear(8, 8)

    def forward(self, input_ids):
        return self.mix(self.words(input_ids))


class Tokenizer:
    def __call__(self, text, return_tensors):
        assert return_tensors == "pt"
        return {"input_ids": torch.tensor([[len(word) for word in text.split()]])}

    def convert_ids_to_tokens(self, ids):
        return [f"<{i}>" for i in ids]


def test_a_text_model_takes_ids_and_sentences_and_labels_the_tokens():
    panel = panel_of(Text(), tokenizer=Tokenizer())
    assert panel.inputs.upload.disabled
    panel.inputs.text.value = "the quick brown fox"
    assert panel.current_inputs.tokens == ("<3>", "<5>", "<5>", "<3>")
    panel.return_nodes = {"words": "words"}
    assert panel.run()["words"].shape == (1, 4, 8)
    labels = {text.get_text() for axes in panel.figure().axes for text in axes.get_yticklabels()}
    assert {"<3>", "<5>"} <= labels
    panel.inputs.use_text([1, 2, 3])
    assert panel.current_inputs.args[0].tolist() == [[1, 2, 3]]
    scope = {"model": panel.model}
    panel.run()
    exec(panel.code, scope)
    assert_same_drawing(scope["figure"], panel.figure())


def tiny_bert():
    transformers = pytest.importorskip("transformers")
    config = transformers.BertConfig(
        vocab_size=50, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=16, max_position_embeddings=32, attn_implementation="eager",
    )  # fmt: skip
    return transformers.BertModel(config).eval()


class MaskingTokenizer(Tokenizer):
    """Leaves the last word out of the attention."""

    def __call__(self, text, return_tensors):
        made = super().__call__(text, return_tensors)
        made["attention_mask"] = torch.ones_like(made["input_ids"])
        made["attention_mask"][0, -1] = 0
        return made


def test_an_explorer_of_a_bert_takes_a_sentence_and_labels_its_tokens():
    model, tokenizer = tiny_bert(), MaskingTokenizer()
    explorer = explore(model, tokenizer=tokenizer)
    explorer.selected = ["embeddings"]
    explorer.maps.inputs.text.value = "the quick brown fox"
    assert explorer.maps.inputs.note.value == ""
    chosen = explorer.maps.current_inputs
    assert chosen.kwargs["input_ids"].tolist() == [[3, 5, 5, 3]]
    assert chosen.kwargs["attention_mask"].tolist() == [[1, 1, 1, 0]]
    explorer.run()
    assert explorer.features["embeddings"].shape == (1, 4, 16)
    figure = explorer.maps.figure()
    labels = [t.get_text() for axes in figure.axes for t in axes.get_yticklabels()]
    assert [label for label in labels if label.startswith("<")] == ["<3>", "<5>", "<5>", "<3>"]
    for code in (explorer.code.text, explorer.maps.code):
        scope = {"model": model, "tokenizer": tokenizer}
        exec(code, scope)
        assert torch.equal(scope["features"]["embeddings"], explorer.features["embeddings"])


def test_the_query_field_lays_the_attention_of_one_token_over_the_picture():
    class Attending(nn.Module):
        def __init__(self):
            super().__init__()
            self.patch = nn.Conv2d(3, 8, 8, stride=8)

        def forward(self, x):
            tokens = self.patch(x).flatten(2).transpose(1, 2)
            return (tokens @ tokens.transpose(1, 2)).softmax(-1).unsqueeze(1)

    panel = panel_of(Attending(), torch.rand(1, 3, 40, 40))
    panel.return_nodes = {"unsqueeze": "attention"}
    controls = panel.controls
    panel.run()
    assert controls.queries.layout.display == "flex"
    controls.query.value = "7"
    assert panel.options.query == 7
    figure = panel.figure()
    row = panel.features["attention"][0, 0, 7].reshape(5, 5)
    over = next(np.asarray(i.get_array()) for i in figure.axes[0].images[1:])
    place = np.unravel_index(over.argmax(), over.shape)
    assert divmod(int(row.argmax()), 5) == (place[0] // 8, place[1] // 8)
    scope = {"model": panel.model, "x": panel.current_inputs.args[0]}
    exec(panel.code, scope)
    assert_same_drawing(scope["figure"], figure)
    controls.query.value = "x"
    assert panel.options.query == 7
    assert "whole number" in panel.problem
    controls.query.value = ""
    assert panel.options.query is None
    assert panel.problem == ""
    controls.query.value = "99"
    assert all("tokens 0 to 24" in card.problem.value for card in panel.cards.cards.values())


@pytest.mark.parametrize("backend", ["symbolic", "recorded"])
def test_the_shapes_that_are_shown_follow_the_input_that_was_run(backend):
    async def main():
        explorer = explore(Text(), tokenizer=Tokenizer(), backend=backend, selected=["words"])
        await until(lambda: explorer.graph["words"].shape)
        guessed = explorer.graph["words"].shape
        explorer.maps.inputs.text.value = "the quick brown fox jumps over"
        assert explorer.graph["words"].shape == guessed  # it has not run yet
        explorer.maps.controls.run.click()
        await until(lambda: explorer.graph["words"].shape == (1, 6, 8))
        assert explorer.graph["mix"].shape == (1, 6, 8)
        assert "input 1×6 “the quick brown fox jumps over”" in explorer.header._facts.value
        assert list(explorer.features) == explorer.selected == ["words"]
        explorer.mode = "train"
        await until(lambda: explorer.graph["words"].shape == (1, 6, 8))
        assert explorer.maps.current_inputs.shapes == "1×6"
        explorer.maps.inputs.use_sample("example inputs")
        explorer.maps.controls.run.click()
        await until(lambda: explorer.graph["words"].shape == guessed)
        assert explorer.notice.words == ""

    asyncio.run(main())


def tiny_clip():
    transformers = pytest.importorskip("transformers")
    shared = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1,
              "num_attention_heads": 2}  # fmt: skip
    config = transformers.CLIPConfig(
        text_config={**shared, "vocab_size": 50, "max_position_embeddings": 32,
                     "bos_token_id": 1, "eos_token_id": 2},
        vision_config={**shared, "image_size": 32, "patch_size": 8},
        projection_dim=8,
    )  # fmt: skip
    return transformers.CLIPModel(config).eval()


def test_a_model_of_pictures_and_text_takes_both_and_keeps_one_when_the_other_changes(
    tmp_path, monkeypatch
):
    model, tokenizer = tiny_clip(), MaskingTokenizer()
    explorer = explore(model, tokenizer=tokenizer)
    explorer.selected = ["vision_model.embeddings", "text_model.embeddings"]
    inputs = explorer.maps.inputs
    inputs.text.value = "the quick brown fox"
    assert inputs.note.value == ""
    upload(explorer.maps, picture_file())
    assert inputs.note.value == ""
    chosen = explorer.maps.current_inputs
    assert chosen.kwargs["input_ids"].tolist() == [[3, 5, 5, 3]]
    assert chosen.kwargs["attention_mask"].tolist() == [[1, 1, 1, 0]]
    assert chosen.kwargs["pixel_values"].shape == (1, 3, 32, 32)
    assert torch.allclose(
        chosen.picture()[:, 16, 16], torch.tensor([200.0, 30, 60]) / 255, atol=1e-5
    )
    explorer.run()
    assert explorer.features["text_model.embeddings"].shape == (1, 4, 16)
    assert explorer.features["vision_model.embeddings"].shape == (1, 17, 16)
    explorer.maps.figure()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cat.png").write_bytes(picture_file())
    for code in (explorer.code.text, explorer.maps.code):
        scope = {"model": model, "tokenizer": tokenizer}
        exec(code, scope)
        for key, value in explorer.features.items():
            assert torch.equal(scope["features"][key], value)
    inputs.use_text([4, 5])
    assert explorer.maps.current_inputs.kwargs["input_ids"].tolist() == [[4, 5]]
    assert "cat.png" in explorer.maps.current_inputs.name
    inputs.use_sample("example inputs")
    assert explorer.maps.current_inputs.kwargs["input_ids"].shape != (1, 2)


@pytest.mark.parametrize(
    ("text", "words"),
    [("hello", "are no ids"), ("7, 50", "50 is no id of this model; its ids are 0 to 49")],
)
def test_invalid_token_ids_are_refused_in_words(text, words):
    panel = panel_of(Text())
    panel.inputs.text.value = text
    assert words in panel.inputs.note.value


# --- looking -------------------------------------------------------------------------------


def test_a_change_of_options_draws_anew_and_only_what_changed(panel):
    panel.return_nodes = {"low": "low", "high": "high"}
    panel.run()
    pictures = {key: panel.cards.cards[key].view.png for key in ("low", "high")}
    panel.controls.view.value = "mean"
    assert panel.options == PlotOptions(view="mean")
    assert all(panel.cards.cards[key].view.png != png for key, png in pictures.items())
    figures = panel.cards.figures
    panel.return_nodes = {"high": "high", "norm": "norm", "low": "low"}
    assert panel.cards.figures["low"] is figures["low"]
    panel.options = PlotOptions(sort="energy", channels=4)
    assert (panel.controls.sort.value, panel.controls.count.value) == ("energy", 4)
    assert len(panel.forwards) == 1


def test_pictures_are_as_wide_as_the_page_has_room(panel):
    panel.return_nodes = {"low": "low", "high": "high"}
    panel.run()
    for page, picture in ((700, 680), (1000, 480), (300, 440)):
        panel.cards.page.width = page
        panel.cards.draw()
        for key, card in panel.cards.cards.items():
            assert card.view.width == picture
            assert round(panel.cards.figures[key].get_figwidth() * 100) == picture
    panel.return_nodes = {"low": "low"}
    panel.cards.page.width = 1000
    assert panel.cards.cards["low"].view.width == 980


@pytest.mark.parametrize("view", ["mean", "pca", "overlay", "histogram"])
def test_controls_that_do_nothing_in_a_view_go(panel, view):
    assert panel.controls.of_channels.layout.display == "flex"
    panel.controls.view.value = view
    assert panel.controls.of_channels.layout.display == "none"
    panel.options = PlotOptions()
    assert panel.controls.of_channels.layout.display == "flex"


def test_pictures_follow_the_theme_and_the_density_of_the_page(panel):
    panel.return_nodes = {"low": "low"}
    panel.run()
    panel.cards.page.density = 1.0

    def seen():
        return Image.open(io.BytesIO(panel.cards.cards["low"].view.png)).convert("RGBA")

    narrow = seen()
    for ink, brightness in (("rgb(255, 255, 255)", 255), ("rgb(0, 0, 0)", 0)):
        panel.cards.page.ink = ink
        pixels = np.asarray(seen())
        assert pixels[0, 0, 3] == 0  # no ground
        title = pixels[:30]
        assert (title[..., 3] > 200).any()
        assert (title[title[..., 3] > 200][..., 0] == brightness).all()
    panel.cards.page.density = 3.0
    assert seen().size[0] == 3 * narrow.size[0] == 3 * panel.cards.cards["low"].view.width


def test_a_click_enlarges_the_channel_and_keys_walk_on(panel):
    panel.return_nodes = {"low": "low"}
    panel.options = PlotOptions(channels=(5, 2, 7))
    panel.run()
    view = panel.cards.cards["low"].view
    view.tell({"type": "point", "x": 0.0, "y": 0.0})
    assert panel.cards.at is None
    view.tell({"type": "open"})
    assert panel.cards.at == ("low", 5)
    assert panel.cards.large.view.alt == "Channel 5 of low"
    assert panel.cards.large.view.png.startswith(b"\x89PNG")
    seen = []
    for by in (1, 1, 1, -1):
        panel.cards.large.view.tell({"type": "step", "by": by})
        seen.append(panel.cards.at[1])
    assert seen == [2, 7, 5, 7]
    panel.cards.large.view.tell({"type": "close"})
    assert panel.cards.at is None
    assert panel.cards.detail.layout.display == "none"


def test_the_input_is_beside_an_enlarged_channel(panel):
    upload(panel, picture_file())
    panel.return_nodes = {"low": "low"}
    panel.run()
    figure = panel.channel_figure("low", 1)
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert "input" in titles


def test_a_picture_that_cannot_be_drawn_leaves_the_others(panel):
    panel.return_nodes = {"low": "low", "head": "head"}
    panel.run()
    panel.options = PlotOptions(index=7)
    assert all(card.problem.value for card in panel.cards.cards.values())
    panel.options = PlotOptions(index=1)
    assert not any(card.problem.value for card in panel.cards.cards.values())


@pytest.mark.parametrize(
    ("kind", "start"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")]
)
def test_a_figure_is_saved_as_the_code_that_is_copied_saves_it(
    panel, x, kind, start, tmp_path, monkeypatch
):
    sent = []
    save = panel.controls.save
    save.send = lambda _, buffers: sent.append((save.file_name, *buffers))
    panel.controls.kind.value, panel.controls.dpi.value = kind, 50
    panel.controls.captions.value = False
    save._handle_custom_msg("content", [])
    assert sent.pop()[1] == b""
    assert "nothing to draw" in panel.problem
    panel.return_nodes = {"low": "low"}
    panel.run()
    assert f'# figure.savefig("feature_maps.{kind}"' in panel.code
    save._handle_custom_msg("content", [])
    ((name, saved),) = sent
    assert name == f"feature_maps.{kind}"
    assert saved.startswith(start)
    assert "captions=False" in panel.code
    monkeypatch.chdir(tmp_path)
    exec(panel.code, {"model": panel.model, "x": x})
    written = (tmp_path / name).read_bytes()
    if kind == "png":
        assert Image.open(io.BytesIO(saved)).width == 50 * 6.8
        assert saved == written
    else:  # these tell the time at which they were made
        assert len(written) == pytest.approx(len(saved), rel=0.02)


THOROUGH = pytest.mark.thorough
OPTIONS = [
    ("picture", PlotOptions(view="overlay")),
    ("noise", PlotOptions(view="pca")),
    ("variable", PlotOptions(view="histogram", index=1)),
    pytest.param("given", PlotOptions(), marks=THOROUGH),
    pytest.param(
        "given", PlotOptions(channels=5, sort="energy", scale="shared", index=1), marks=THOROUGH
    ),
    pytest.param("example inputs", PlotOptions(view="overlay"), marks=THOROUGH),
    pytest.param("photograph", PlotOptions(view="mean"), marks=THOROUGH),
    pytest.param("impulse", PlotOptions(view="overlay"), marks=THOROUGH),
    pytest.param("checkerboard", PlotOptions(), marks=THOROUGH),
]


def imports_of(code):
    """What code imports, as pairs of a module and a name."""
    return [
        (node.module, alias.name)
        for node in ast.walk(ast.parse(code))
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    ]


@pytest.mark.parametrize(("source", "options"), OPTIONS, ids=str)
def test_the_code_that_is_copied_makes_the_same_figure(
    model, source, options, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    x = torch.rand(2, 3, 40, 40, generator=torch.Generator().manual_seed(1))
    panel = panel_of(model, None if source == "example inputs" else x)
    scope = {"model": model, "x": x, "batch": x * 2 - 1}
    if source == "picture":
        (tmp_path / "cat.png").write_bytes(picture_file())
        upload(panel, picture_file())
    elif source == "variable":
        panel.inputs.shell = shell_with(**scope)
        panel.inputs.use_variable("batch")
    elif source != "given":
        panel.inputs.use_sample(source)
    panel.options = options
    panel.return_nodes = {"low": "first", "high": "high"}
    panel.run()
    assert panel.controls.copy.text == panel.code
    exec(panel.code, scope)
    assert_same_drawing(scope["figure"], panel.figure())
    for module, name in imports_of(panel.code):
        assert module in ("fxexplore", "fxexplore.inputs"), name


class Pair(nn.Module):
    def __init__(self):
        super().__init__()
        self.low = nn.Conv2d(3, 4, 3)

    def forward(self, image, offset):
        return self.low(image) + offset


def pasted(code, **variables):
    """What a cell with this code shows in a notebook with these variables, and its variables."""
    *lines, last = ast.parse(code).body
    is_shown = isinstance(last, ast.Expr)
    exec(compile(ast.Module(lines if is_shown else [*lines, last], []), "cell", "exec"), variables)
    shown = ast.Expression(last.value) if is_shown else ast.parse("None", mode="eval")
    return eval(compile(shown, "cell", "eval"), variables), variables


@pytest.mark.parametrize("kind", ["picture", "variable", "sentence", "pair", "comparison"])
def test_what_is_copied_gives_in_a_fresh_cell_what_is_on_screen(kind, model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cat.png").write_bytes(picture_file())
    net, node = {"sentence": (Text(), "words"), "pair": (Pair(), "low")}.get(kind, (model, "low"))
    batch = (torch.rand(1, 3, 9, 9), torch.rand(1, 4, 7, 7)) if kind == "pair" else None
    notebook = {"net": net.eval(), "batch": batch, "words": Tokenizer()}
    notebook |= {"other": torch.rand(1, 3, 224, 224)}
    explorer = explore(net, batch, tokenizer=notebook["words"], shell=shell_with(**notebook))
    explorer.return_nodes = {node: "maps"}
    maps = explorer.maps
    if kind == "picture":
        upload(maps, picture_file())
    elif kind == "sentence":
        maps.inputs.text.value = "the quick brown fox"
    elif kind == "variable":
        maps.inputs.name.value = "other"
    elif kind == "comparison":
        maps.compare(notebook["other"])
    explorer.run()
    shown, _ = pasted(maps.code, **notebook)
    assert_same_drawing(shown, maps.figure())
    _, scope = pasted(explorer.code.copy_button.text, **notebook)
    assert torch.equal(scope["features"]["maps"], explorer.features["maps"])
    assert not scope["features"]["maps"].requires_grad
    explorer.close()


@pytest.mark.parametrize("kind", ["noise", "impulse", "checkerboard"])
@pytest.mark.parametrize("shape", [(2, 3, 40, 40), (1, 1, 33, 18)])
def test_the_code_of_a_sample_makes_just_it_in_the_models_dtype(kind, shape):
    net = nn.Conv2d(shape[1], 2, 3).to(torch.bfloat16)
    chooser = panel_of(net, torch.rand(shape)).inputs
    chooser.use_sample(kind)
    scope = {}
    exec("\n".join(chooser.chosen.lines), scope)
    assert scope["x"].dtype == torch.bfloat16
    assert torch.equal(scope["x"], chooser.chosen.args[0])


# --- comparing -----------------------------------------------------------------------------


def test_two_inputs_are_compared_side_by_side(panel, x):
    panel.return_nodes = {"low": "low"}
    figure = panel.compare(x + 1)
    assert panel.comparing
    assert len(panel.forwards) == 2
    assert len(figure.axes) >= 3
    scope = {"model": panel.model, "x": x, "other_inputs": x + 1}
    exec(panel.code, scope)
    assert_same_drawing(scope["figure"], panel.figure())
    assert torch.equal(scope["second"]["low"], panel.features["low"])


def sentences_compared(first, second):
    panel = panel_of(Text(), tokenizer=Tokenizer())
    panel.return_nodes = {"words": "words", "mix": "mix"}
    panel.inputs.text.value = first
    panel.controls.run.click()
    panel.controls.keep.click()
    panel.inputs.text.value = second
    panel.controls.run.click()
    panel.comparing = True
    return panel


def test_two_sentences_are_compared_each_with_its_own_tokens():
    panel = sentences_compared("the quick fox", "some lazy dogs")
    figure = panel.figure()
    labels = [[t.get_text() for t in axes.get_yticklabels()] for axes in figure.axes[:2]]
    assert labels == [["<3>", "<5>", "<3>"], ["<4>", "<4>", "<4>"]]
    scope = {"model": panel.model, "tokenizer": Tokenizer()}
    exec(panel.code, scope)
    assert_same_drawing(scope["figure"], figure)


def test_sentences_of_other_lengths_are_not_compared_and_that_is_said_once():
    panel = sentences_compared("the quick brown fox", "a dog")
    said = (
        "of another shape, and not compared: words, mix; “the quick brown fox” is 1×4, “a dog” 1×2"
    )
    assert said in panel.message
    assert not any(card.problem.value for card in panel.cards.cards.values())
    assert [len(figure.axes) for figure in panel.cards.figures.values()] == [1, 1]
    panel.controls.discard.click()
    assert "compared" not in panel.message


def test_two_modes_are_compared_under_their_names(x):
    explorer = explore(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)), x, inputs_name="x")
    explorer.selected = ["1"]
    explorer.run()
    explorer.maps.keep()
    explorer.mode = "train"
    explorer.run()
    explorer.maps.comparing = True
    titles = [axes.get_title(loc="left") for axes in explorer.maps.figure().axes]
    assert titles == ["1 · eval", "1 · train", "1 · train − eval"]
    scope = {"model": explorer.model, "x": x}
    exec(explorer.maps.code, scope)
    assert_same_drawing(scope["figure"], explorer.maps.figure())
    assert not torch.equal(scope["first"]["1"], scope["second"]["1"])


def test_two_pictures_are_compared_each_under_its_own_values(panel):
    panel.return_nodes = {"low": "low"}
    panel.inputs.use_sample("impulse")
    panel.controls.run.click()
    panel.controls.keep.click()
    panel.inputs.use_sample("checkerboard")
    panel.controls.run.click()
    panel.comparing = True
    for view in ("overlay", "pca"):
        panel.options = PlotOptions(view=view, opacity=0.5)
        scope = {"model": panel.model}
        exec(panel.code, scope)
        assert_same_drawing(scope["figure"], panel.figure())
    seen = panel.current_inputs.picture().permute(1, 2, 0)
    panel.options = PlotOptions(view="overlay")
    ground = panel.figure().axes[1].images[0].get_array()[..., :3]
    assert np.allclose(ground, seen, atol=1e-6)
    assert panel.controls.over.layout.display == "flex"
    assert panel.controls.opacity.value == 0.55


def test_two_models_are_compared_side_by_side(panel, x):
    torch.manual_seed(9)
    other = Counting().eval()
    panel.return_nodes = {"low": "low"}
    panel.compare(other_model=other)
    assert torch.equal(panel.features["low"], other.low(x))
    scope = {"model": panel.model, "x": x, "other_model": other}
    exec(panel.code, scope)
    assert_same_drawing(scope["figure"], panel.figure())


def test_a_run_is_kept_and_compared_with_the_next_by_buttons(panel):
    controls = panel.controls
    assert controls.comparison.layout.display == "none"
    controls.keep.click()
    assert "nothing has run yet" in panel.problem
    panel.return_nodes = {"low": "low"}
    controls.run.click()
    controls.keep.click()
    assert controls.comparison.layout.display == "flex"
    assert controls.compare.description == "Compare with x"
    panel.inputs.use_sample("noise")
    controls.run.click()
    controls.compare.value = True
    assert len(panel.cards.figures["low"].axes) >= 3
    controls.discard.click()
    assert not panel.comparing
    assert len(panel.cards.figures["low"].axes) < 3
    assert controls.comparison.layout.display == "none"


def test_comparing_needs_one_thing_to_compare_with(panel, x):
    panel.return_nodes = {"low": "low"}
    for arguments in ({}, {"other_inputs": x, "other_model": panel.model}):
        with pytest.raises(ValueError, match="give what to compare with"):
            panel.compare(**arguments)
    with pytest.raises(ValueError, match="low"):
        panel.compare(other_model=nn.Sequential(nn.Conv2d(3, 1, 1)))


# --- leaving nothing behind ------------------------------------------------------------------


def test_a_closed_panel_leaves_no_figures_threads_values_or_widgets(model, x):
    widgets_before = set(_instances)
    panel = panel_of(model, x)
    panel.return_nodes = {"low": "low"}
    panel.run()
    figure = weakref.ref(panel.cards.figures["low"])
    value = weakref.ref(panel.features["low"])
    threads = threading.active_count()
    panel.cards.cards["low"].view.tell({"type": "open"})
    panel.close()
    del panel
    with contextlib.suppress(ValueError):
        gc.collect()
    assert _pylab_helpers.Gcf.get_all_fig_managers() == []
    assert threading.active_count() == threads
    assert figure() is None
    assert value() is None
    assert set(_instances) <= widgets_before


@pytest.mark.thorough
def test_many_redraws_hold_no_more_figures_than_pictures(panel):
    from matplotlib.figure import Figure

    def alive():
        gc.collect()
        return sum(issubclass(type(o), Figure) for o in gc.get_objects())

    panel.return_nodes = {"low": "low", "high": "high"}
    panel.run()
    before = alive()
    for i in range(6):
        panel.options = PlotOptions(view=("mean", "channels", "histogram")[i % 3])
    assert alive() <= before
    assert mpl.rcParams["text.color"] == mpl.rcParamsDefault["text.color"]


def test_features_are_read_only(panel):
    with pytest.raises(traitlets.TraitError):
        panel.features = {}


def test_a_message_about_an_input_goes_with_the_next_run(panel):
    panel.return_nodes = {"low": "low"}
    inputs = panel.inputs
    inputs.name.value = "no_such_name"
    assert "variables" in inputs.note.value
    panel.controls.run.click()
    assert not inputs.note.value
