import ast
import asyncio
import sys
import threading
import types

import pytest
import torch
import torchvision
import traitlets
from torch import nn
from torch.fx.proxy import TraceError

from fxexplore import Explorer, create_feature_extractor, explore
from fxexplore.inputs import known_inputs, photograph
from fxexplore.model_graph.opening import Opening
from fxexplore.notebook import modes as modes_file
from fxexplore.notebook import saved_forms
from tests.notebook.buttons import button
from tests.notebook.switching import Switching


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return torchvision.models.resnet18(weights=None)


@pytest.fixture
def explorer(model):
    return explore(model)


SMALL = nn.Sequential(nn.Conv2d(3, 2, 3), nn.BatchNorm2d(2), nn.ReLU())


def test_inputs_that_do_not_fit_are_told_when_the_model_opens():
    explorer = explore(SMALL, torch.ones(1, 4, 8, 8))
    assert "✗ 0: RuntimeError" in explorer.notice.words
    assert "there met 1×4×8×8" in explorer.notice.words
    assert not explore(SMALL, torch.ones(1, 3, 8, 8)).notice.words


class TestSharedState:
    def test_selection_and_fold_state_are_one_in_every_part(self, explorer):
        explorer.tree.selected = ["layer1"]
        assert explorer.selected == explorer.diagram.selected == ["layer1"]
        explorer.diagram.expanded = ["layer4"]
        assert explorer.expanded == explorer.tree.expanded == ["layer4"]
        explorer.focused = "conv1"
        assert explorer.tree.focused == explorer.diagram.focused == "conv1"
        explorer.chips.focused = "layer1"
        assert explorer.focused == explorer.node.focused == explorer.tree.focused == "layer1"
        explorer.tree.query = "relu"
        assert explorer.query == "relu"

    def test_traits_are_observed_and_linked_from_outside(self, explorer):
        other = explore(SMALL)
        seen = []
        explorer.observe(lambda change: seen.append(change["new"]), "selected")
        explorer.tree.selected = ["conv1"]
        assert seen == [["conv1"]]
        traitlets.link((explorer, "query"), (other, "query"))
        other.tree.query = "conv"
        assert explorer.tree.query == "conv"

    def test_traits_are_set_where_it_is_made(self, model):
        explorer = Explorer(model, selected=["layer2"], query="relu", focused="layer1")
        assert explorer.tree.selected == ["layer2"]
        assert (explorer.tree.query, explorer.node.focused) == ("relu", "layer1")

    def test_detail_is_one_in_tree_picture_and_page(self, model):
        explorer = Explorer(model, detail="everything", expanded=[])
        assert explorer.tree.detail == explorer.diagram.detail == "everything"
        assert "flatten" in explorer.diagram.boxes.values()
        assert "flatten" in str(explorer.static())
        explorer.tree.detail = "operations"
        assert explorer.detail == explorer.diagram.detail == "operations"
        explorer.wait()
        assert "flatten" not in explorer.diagram.boxes.values()
        assert "flatten" not in explorer.page()
        with pytest.raises(traitlets.TraitError, match="modules"):
            explorer.detail = "all"

    @pytest.mark.parametrize(
        ("trait", "value"),
        [
            ("selected", ["layer1.0.rel"]),
            ("return_nodes", {"layer1.0.rel": "a"}),
            ("expanded", ["layer1.0.rel"]),
            ("focused", "layer1.0.rel"),
        ],
    )
    def test_an_unknown_name_is_refused_with_the_nearest(self, explorer, trait, value):
        before = getattr(explorer, trait)
        with pytest.raises(traitlets.TraitError, match=r"layer1\.0\.relu"):
            setattr(explorer, trait, value)
        assert getattr(explorer, trait) == before

    def test_an_invalid_change_in_a_part_is_undone_and_the_reason_shown(self, explorer):
        explorer.selected = ["layer1"]
        with pytest.raises(traitlets.TraitError, match="no node or module"):
            explorer.tree.selected = ["layer9"]
        assert explorer.tree.selected == explorer.selected == ["layer1"]
        assert "layer9" in explorer.notice.words

    def test_a_module_that_never_runs_itself_gives_the_last_node_in_it(self):
        class Blocks(nn.Module):
            def __init__(self):
                super().__init__()
                self.blocks = nn.ModuleList([nn.ReLU(), nn.ReLU()])

            def forward(self, x):
                for block in self.blocks:
                    x = block(x)
                return x

        x = torch.randn(2, 3)
        explorer = explore(Blocks(), x)
        assert "blocks" in explorer.graph.find("*")
        explorer.selected = ["blocks"]
        assert torch.equal(explorer.run()["blocks"], x.relu())

    def test_an_unknown_argument_is_refused(self, model):
        with pytest.raises(TypeError, match="unexpected keyword argument"):
            explore(model, modes="train")


class TestReturnNodes:
    def test_they_follow_the_ticks_and_keep_their_keys(self, explorer):
        explorer.selected = ["layer1"]
        explorer.return_nodes = {"layer1": "low", "layer3": "high"}
        assert explorer.tree.selected == ["layer1", "layer3"]
        explorer.tree.selected = ["layer3", "layer4"]
        assert explorer.return_nodes == {"layer3": "high", "layer4": "layer4"}
        assert explorer.chips.return_nodes == explorer.return_nodes

    def test_they_stand_in_order_of_execution_and_ticks_in_order_of_ticking(self, explorer):
        explorer.selected = ["layer4", "conv1", "layer2"]
        assert list(explorer.return_nodes) == ["conv1", "layer2", "layer4"]
        assert explorer.selected == ["layer4", "conv1", "layer2"]

    def test_a_clash_of_keys_is_refused_and_does_not_reach_the_code(self, explorer):
        explorer.return_nodes = {"layer1": "low", "layer2": "high"}
        with pytest.raises(traitlets.TraitError, match="'low' is given to both"):
            explorer.chips.return_nodes = {"layer1": "low", "layer2": "low"}
        assert explorer.return_nodes == explorer.chips.return_nodes
        assert '"layer2": "high"' in explorer.code.text
        with pytest.raises(traitlets.TraitError, match="empty"):
            explorer.return_nodes = {"layer1": ""}

    def test_a_ticked_name_that_is_already_a_key_gets_a_free_key(self, explorer):
        explorer.return_nodes = {"layer1": "layer2"}
        explorer.selected = ["layer1", "layer2"]
        assert explorer.return_nodes == {"layer1": "layer2", "layer2": "layer2_1"}


class TestRunning:
    def test_gives_what_the_extractor_gives_and_leaves_the_model_alone(self, explorer, model):
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

    def test_given_inputs_are_used(self, model):
        explorer = explore(model, torch.randn(2, 3, 64, 64))
        explorer.selected = ["layer1"]
        explorer.run()
        assert explorer.features["layer1"].shape == (2, 64, 16, 16)
        assert explorer.graph["layer1"].shape == (2, 64, 16, 16)

    def test_a_model_that_nothing_fits_opens_and_says_so_at_the_run(self):
        explorer = explore(nn.Sequential(nn.Sigmoid()))
        explorer.selected = ["0"]
        with pytest.raises(ValueError, match="example_inputs"):
            explorer.run()

    def test_nothing_ticked_is_said_in_words(self, explorer):
        with pytest.raises(ValueError, match="nothing is ticked"):
            explorer.run()


class TestModes:
    def test_train_mode_shows_and_runs_what_train_mode_computes(self):
        torch.manual_seed(0)
        net = nn.Sequential(nn.BatchNorm2d(3), nn.ReLU()).eval()
        x = torch.randn(4, 3, 8, 8) * 5 + 2
        explorer = Explorer(net, x, selected=["0"], mode="train")
        before = {k: v.clone() for k, v in net.state_dict().items()}
        explorer.run()
        means = explorer.features["0"].mean(dim=(0, 2, 3))
        assert means.abs().max() < 1e-5  # the statistics of the batch, not the stored ones
        assert not net.training
        assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())

    def test_a_switch_keeps_the_selection_as_far_as_the_names_exist_and_says_which_went(self):
        explorer = explore(Switching())
        explorer.return_nodes = {"head": "a", "sigmoid": "b"}
        explorer.focused = "sigmoid"
        explorer.mode = "train"
        assert explorer.graph.mode == explorer.header.switch.value == "train"
        assert explorer.return_nodes == explorer.chips.return_nodes == {"head": "a"}
        assert explorer.tree.selected == explorer.diagram.selected == ["head"]
        assert explorer.focused == explorer.node.focused == ""
        assert "sigmoid" in explorer.notice.words
        assert list(explorer.tree.only) == list(explorer.diagram.only) == ["tanh"]
        explorer.mode = "eval"
        assert list(explorer.tree.only) == ["sigmoid"]

    def test_the_switch_and_the_trait_are_one(self, explorer):
        explorer.header.switch.value = "train"
        assert explorer.mode == "train"
        explorer.mode = "eval"
        assert explorer.header.switch.value == "eval"

    def test_what_is_no_mode_is_refused(self, explorer, model):
        with pytest.raises(traitlets.TraitError, match="write 'eval' or 'train'"):
            explorer.mode = "trian"
        with pytest.raises(traitlets.TraitError, match="write 'eval' or 'train'"):
            explore(model, mode="trian")

    def test_a_model_that_opens_in_one_mode_alone_says_why_and_stays(self):
        explorer = explore(Switching(fails_in="train"))
        explorer.selected = ["head"]
        with pytest.raises(traitlets.TraitError, match=r"train mode.*no training here"):
            explorer.mode = "train"
        explorer.header.switch.value = "train"  # as a click does
        assert explorer.mode == explorer.header.switch.value == explorer.graph.mode == "eval"
        assert explorer.header.switch.disabled
        assert "no training here" in explorer.notice.words
        explorer.run()
        assert list(explorer.features) == ["head"]


class TestOpening:
    def test_with_no_event_loop_everything_is_there_at_once(self, explorer):
        assert explorer.graph["layer1"].shape == (1, 64, 56, 56)
        assert explorer.diagram.svg
        assert explorer.wait(0)

    def test_in_an_event_loop_names_come_first_and_facts_later(self, model, monkeypatch):
        hold = threading.Event()
        held(monkeypatch, hold)

        async def main():
            explorer = explore(model)
            shapes = [explorer.graph["layer1"].shape]
            explorer.selected = ["layer1"]
            hold.set()
            await until(lambda: explorer.graph["layer1"].shape is not None)
            shapes.append(explorer.graph["layer1"].shape)
            assert explorer.node.graph is explorer.graph
            assert explorer.selected == ["layer1"]
            assert "FLOPs" in explorer.header.children[0].value
            explorer.close()
            return shapes

        assert asyncio.run(main()) == [None, (1, 64, 56, 56)]

    def test_the_first_display_waits_for_the_facts_but_not_long(self, model, monkeypatch):
        async def quick():
            explorer = explore(model)
            page = explorer._repr_mimebundle_()[0]["text/html"]
            explorer.close()
            return page

        monkeypatch.setattr(saved_forms, "_DISPLAY_WAIT", 60)  # for machines that are busy
        assert "1×64×56×56" in asyncio.run(quick())

        monkeypatch.setattr(saved_forms, "_DISPLAY_WAIT", 0.05)
        hold = threading.Event()
        held(monkeypatch, hold)

        async def slow():
            explorer = explore(model)
            page = explorer._repr_mimebundle_()[0]["text/html"]
            explorer.close()
            hold.set()
            return page

        page = asyncio.run(slow())
        assert "layer1" in page
        assert "1×64×56×56" not in page

    def test_slow_facts_show_progress_that_can_be_stopped(self, model, monkeypatch):
        monkeypatch.setattr(modes_file, "_SOON", 0.0)
        hold = threading.Event()
        held(monkeypatch, hold)

        async def main():
            explorer = explore(model)
            await until(lambda: explorer.notice.is_progress)
            assert "shapes" in explorer.notice.words
            button(explorer.notice, "Stop").click()
            hold.set()
            await asyncio.sleep(0.1)
            assert explorer.notice.words == ""
            assert explorer.graph["layer1"].shape is None
            explorer.close()

        asyncio.run(main())

    def test_facts_that_fail_are_said_in_words_and_the_names_stay(self, monkeypatch):
        def fail(_):
            raise RuntimeError("<b>no</b> shapes")

        monkeypatch.setattr(Opening, "annotated", fail)

        async def main():
            explorer = explore(SMALL)
            await until(lambda: explorer.notice.words)
            explorer.selected = ["2"]
            return explorer.notice

        notice = asyncio.run(main())
        assert notice.words == "Shapes and FLOPs could not be found: <b>no</b> shapes"
        page = notice.children[0].value
        assert "<b>no" not in page
        assert "<summary>Traceback</summary>" in page

    def test_closing_leaves_no_thread_that_works_for_it(self, model, monkeypatch):
        hold = threading.Event()
        held(monkeypatch, hold)

        async def main():
            explorer = explore(model)
            explorer.close()
            hold.set()
            await asyncio.sleep(0.05)
            return explorer

        explorer = asyncio.run(main())
        assert explorer.graph["layer1"].shape is None
        assert explorer.tree.comm is None
        assert explorer.comm is None


async def until(condition):
    for _ in range(6000):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise TimeoutError


def held(monkeypatch, hold):
    """Make facts wait for an event."""
    annotated = Opening.annotated

    def late(self):
        assert hold.wait(60)
        return annotated(self)

    monkeypatch.setattr(Opening, "annotated", late)


class Draws(Switching):
    """Cannot be traced, and draws random numbers."""

    def forward(self, x):
        return super().forward(x + torch.rand(()) if x.sum() > -1e9 else x)


@pytest.mark.parametrize("another_cell", [False, True], ids=["none", "another"])
def test_opening_in_the_background_leaves_the_random_state(monkeypatch, another_cell):
    shell = types.SimpleNamespace(execution_count=1, user_ns={})
    monkeypatch.setattr(modes_file, "present_shell", lambda: shell)
    monkeypatch.setattr(modes_file, "_SOON", 60.0)

    async def main():
        net = Draws().eval()
        states = [torch.get_rng_state()]
        explorer = explore(net)
        states.append(torch.get_rng_state())
        explorer.header.switch.value = "train"
        shell.execution_count += another_cell  # one that ended meanwhile may have drawn
        await until(lambda: explorer.mode == "train")
        states.append(torch.get_rng_state())
        explorer.close()
        return states

    before, opened, switched = asyncio.run(main())
    assert torch.equal(before, opened)
    assert torch.equal(before, switched) is not another_cell


class Waits(Switching):
    """Cannot be traced; a forward waits for an event where it has been told to."""

    def __init__(self, holds_in=(), fails_in=None):
        super().__init__(fails_in)
        self.first = nn.Identity()
        self.holds_in = holds_in
        self.hold = threading.Event()
        self.started = threading.Event()

    def forward(self, x):
        x = self.first(x)
        if x.sum() > -1e9 and ("train" if self.training else "eval") in self.holds_in:
            self.started.set()
            assert self.hold.wait(60)
        return super().forward(x)

    def __deepcopy__(self, memo):
        twin = type(self)(self.holds_in, self.fails_in)
        twin.hold, twin.started = self.hold, self.started
        twin.head.weight, twin.head.bias = self.head.weight, self.head.bias
        return twin.train(self.training)


class TestOpeningInTheBackground:
    """A model that has to be run is run as a copy in a thread."""

    @pytest.fixture(autouse=True)
    def at_once(self, monkeypatch):
        monkeypatch.setattr(modes_file, "_SOON", 0.05)

    def test_a_switch_lets_the_loop_run_and_comes_when_it_is_ready(self):
        async def main():
            explorer = explore(net := Waits(["train"]).eval(), selected=["head"])
            explorer.wait(60)
            assert explorer.graph.backend == "recorded"
            explorer.header.switch.value = "train"
            await until(lambda: net.started.is_set() and explorer.notice.is_progress)
            assert "Running the model once in train mode" in explorer.notice.words
            assert (explorer.mode, explorer.graph.mode) == ("eval", "eval")
            assert not any(module.training for module in net.modules())  # its copy is
            net.hold.set()
            await until(lambda: explorer.mode == "train")
            assert explorer.graph.mode == explorer.header.switch.value == "train"
            assert "tanh" in explorer.graph.index
            assert explorer.notice.words == ""
            explorer.run()
            assert not net.training
            explorer.close()

        asyncio.run(main())

    @pytest.mark.parametrize("how", ["button", "other mind", "closed"])
    def test_a_stop_leaves_the_old_mode_in_place_and_ends_the_run(self, how):
        async def main():
            explorer = explore(net := Waits(["train"]).eval(), selected=["sigmoid"])
            explorer.wait(60)
            explorer.header.switch.value = "train"
            await until(lambda: net.started.is_set() and explorer.notice.is_progress)
            if how == "button":
                button(explorer.notice, "Stop").click()
            elif how == "other mind":
                explorer.header.switch.value = "eval"
            else:
                explorer.close()
            net.hold.set()
            await until(lambda: not working_threads())
            assert (explorer.mode, explorer.header.switch.value) == ("eval", "eval")
            assert explorer.selected == ["sigmoid"]
            assert explorer.notice.words == ""
            assert not explorer.header.switch.disabled
            explorer.close()

        asyncio.run(main())

    def test_a_stopped_run_ends_at_the_next_module(self):
        async def main():
            explorer = explore(net := Waits(["train"]).eval())
            explorer.wait(60)
            calls = []
            handle = torch.nn.modules.module.register_module_forward_hook(
                lambda module, *_: calls.append(type(module).__name__)
            )
            try:
                explorer.header.switch.value = "train"
                await until(lambda: net.started.is_set() and explorer.notice.is_progress)
                button(explorer.notice, "Stop").click()
                net.hold.set()
                await until(lambda: not working_threads())
            finally:
                handle.remove()
            assert "Identity" in calls
            assert "Conv2d" not in calls  # it comes after the wait
            explorer.close()

        asyncio.run(main())

    def test_a_mode_that_does_not_open_is_refused_later_too(self):
        async def main():
            explorer = explore(net := Waits(["train"], fails_in="train").eval())
            explorer.wait(60)
            explorer.header.switch.value = "train"
            await until(net.started.is_set)
            net.hold.set()
            await until(lambda: "no training here" in explorer.notice.words)
            assert explorer.mode == explorer.header.switch.value == "eval"
            assert explorer.header.switch.disabled
            explorer.close()

        asyncio.run(main())

    def test_the_modules_come_first_and_nodes_when_the_model_has_run(self):
        async def main():
            explorer = explore(net := Waits(["eval"]).eval())
            assert [row.name for row in explorer.graph.rows] == ["head", "first"]
            assert explorer.graph["head"].parameters == 8
            assert "not run yet" in explorer.header.children[0].value
            await until(lambda: explorer.diagram.svg)
            assert {*explorer.diagram.boxes.values()} == {"head", "first"}
            assert "edge" not in explorer.diagram.svg
            with pytest.raises(traitlets.TraitError, match="write 'eval'"):
                explorer.mode = "evil"
            explorer.focused = "head"
            await until(lambda: explorer.notice.is_progress)
            assert ">head<" in explorer._repr_mimebundle_()[0]["text/html"]
            net.hold.set()
            await until(lambda: explorer.graph.backend == "recorded")
            assert explorer.graph["head"].shape == (1, 2, 224, 224)
            assert explorer.focused == explorer.node.focused == "head"
            assert explorer.diagram.wait(60)
            assert 'id="edge' in explorer.diagram.svg
            explorer.close()

        asyncio.run(main())

    def test_naming_a_node_from_python_waits_for_it(self):
        async def main():
            net = Waits(["eval"]).eval()
            threading.Timer(0.2, net.hold.set).start()
            explorer = explore(net, return_nodes={"sigmoid": "out"})
            features = explorer.run()
            explorer.close()
            return list(features)

        assert asyncio.run(main()) == ["out"]

    def test_the_first_opening_can_be_stopped_and_asked_for_again(self):
        async def main():
            explorer = explore(net := Waits(["eval"]).eval())
            await until(lambda: explorer.notice.is_progress)
            button(explorer.notice, "Stop").click()
            assert "registered modules" in explorer.notice.words
            net.hold.set()
            explorer.selected = ["sigmoid"]  # opens it here
            assert explorer.graph.backend == "recorded"
            assert explorer.tree.graph is explorer.diagram.graph is explorer.graph
            explorer.close()

        asyncio.run(main())

    def test_what_does_not_open_at_all_is_an_error_of_the_cell(self, monkeypatch):
        monkeypatch.setattr(modes_file, "_SOON", 60.0)  # however busy the machine is

        async def main():
            explore(Waits(), (torch.ones(1, 3, 4, 4), 3))

        with pytest.raises(TraceError, match="2 positional arguments but 3 were given"):
            asyncio.run(main())

    def test_numbers_that_the_user_drew_meanwhile_stay_drawn(self, monkeypatch):
        monkeypatch.setattr(modes_file, "present_shell", lambda: None)

        async def main():
            explorer = explore(net := Waits(["train"]).eval())
            explorer.wait(60)
            explorer.header.switch.value = "train"
            await until(net.started.is_set)
            torch.manual_seed(7)
            first = torch.rand(1)
            net.hold.set()
            await until(lambda: explorer.mode == "train")
            second = torch.rand(1)
            explorer.close()
            torch.manual_seed(7)
            return (first, second), (torch.rand(1), torch.rand(1))

        drawn, expected = asyncio.run(main())
        assert drawn == expected

    def test_what_cannot_be_copied_is_opened_in_the_kernels_thread(self):
        class Single(Waits):
            def __deepcopy__(self, memo):
                raise TypeError("there is only one")

        async def main():
            explorer = explore(Single().eval())
            assert explorer.graph.backend == "recorded"
            explorer.header.switch.value = "train"
            assert explorer.mode == "train"
            explorer.close()

        asyncio.run(main())


def working_threads():
    return [t for t in threading.enumerate() if t.name == "fxexplore-task"]


class TestPages:
    def test_untrusted_text_is_escaped_in_every_part(self):
        net = nn.Sequential()
        net.add_module("<img src=x onerror=alert(1)>", nn.ReLU())
        explorer = explore(net)
        explorer.selected = [explorer.graph.nodes[1].name]
        for part in (explorer.header.children[0], explorer.code.children[0]):
            assert "<img" not in part.value
        for page in (explorer._repr_mimebundle_()[0]["text/html"], explorer.page()):
            assert page.count("<img") == 1  # the diagram
            assert "onerror=" not in page.replace("&lt;img src=x onerror=", "")

    def test_the_bundle_has_the_widget_and_a_page_without_script(self, explorer):
        bundle, _ = explorer._repr_mimebundle_()
        assert "application/vnd.jupyter.widget-view+json" in bundle
        page = bundle["text/html"]
        assert "<details" in page
        assert 'src="data:image/svg+xml;base64,' in page
        assert "<script" not in page
        assert "http" not in page
        assert bundle["text/plain"].startswith("ResNet · 11.7 M parameters")

    def test_colab_is_told_where_to_load_the_parts_from(self, explorer, monkeypatch):
        assert explorer._repr_mimebundle_()[1] == {}
        colab = types.ModuleType("google.colab.output")
        colab.enable_custom_widget_manager = lambda: None
        colab._widgets = types.SimpleNamespace(_installed_url="https://example.org/manager.js")
        monkeypatch.setitem(sys.modules, "google.colab.output", colab)
        _, metadata = explorer._repr_mimebundle_()
        assert metadata["application/vnd.jupyter.widget-view+json"]["colab"] == {
            "custom_widget_manager": {"url": "https://example.org/manager.js"}
        }

    def test_the_static_page_has_the_code_and_no_widget(self, explorer):
        explorer.return_nodes = {"layer1": "low"}
        static = explorer.static()
        page = static._repr_html_()
        assert "☑" in page
        assert "&quot;layer1&quot;: &quot;low&quot;" in page
        assert "<script" not in page
        assert not hasattr(static, "_repr_mimebundle_")
        assert repr(static).startswith("ResNet · 11.7 M parameters")

    def test_the_saved_page_is_a_document_of_its_own(self, explorer):
        page = explorer.page()
        assert page.startswith("<!doctype html>")
        assert "<title>ResNet</title>" in page
        assert "<script" not in page
        assert "http" not in page


def is_code(text):
    ast.parse(text)
    return True


class Forks(nn.Sequential):
    """Cannot be traced, as it looks at values; counts the threads of its forwards."""

    def __init__(self):
        super().__init__(*SMALL)
        self.threads = []

    def forward(self, x):
        self.threads.append(threading.current_thread().name)
        return super().forward(x) if x.sum() > -1e9 else x

    def __deepcopy__(self, memo):
        copy = type(self)()
        copy.threads = self.threads
        return copy


class TestRecordedModels:
    def test_a_run_is_one_forward_in_the_background(self):
        net = Forks()

        async def main():
            explorer = explore(net, torch.rand(1, 3, 32, 32), selected=["0", "2"])
            assert explorer.graph.backend == "recorded"
            opened = len(net.threads)
            explorer.maps.controls.run.click()
            await until(lambda: explorer.features)
            assert net.threads[opened:] == ["fxexplore-task"]
            explorer.close()

        asyncio.run(main())


class TestCode:
    def pasted(self, explorer, **scope):
        """What the code that is shown computes."""
        exec(explorer.code.text, scope)
        return scope["features"]

    def check(self, explorer, **scope):
        """The pasted code gives the keys and shapes that a run gives."""
        explorer.run()
        features = self.pasted(explorer, **scope)
        assert list(features) == list(explorer.features)
        for key, value in explorer.features.items():
            assert features[key].shape == value.shape
        return features

    def test_of_a_traced_model_runs_as_pasted(self, explorer, model):
        explorer.return_nodes = {"layer1.0.relu": "first", "layer4": "last"}
        assert explorer.code.copy_button.text == explorer.code.text
        self.check(explorer, model=model)

    def test_in_train_mode(self, model):
        explorer = Explorer(model, torch.randn(2, 3, 64, 64), mode="train", inputs_name="batch")
        explorer.selected = ["bn1"]
        self.check(explorer, model=model, batch=torch.randn(2, 3, 64, 64))
        assert ").train()" in explorer.code.text

    def test_of_nodes_of_one_mode_alone(self):
        net = Switching()
        for mode, name in (("eval", "sigmoid"), ("train", "tanh")):
            explorer = Explorer(net, mode=mode, selected=[name])
            self.check(explorer, model=net)

    def test_of_a_recorded_model_with_given_inputs(self):
        class Loops(nn.Module):
            def __init__(self):
                super().__init__()
                self.fc = nn.Linear(3, 3)

            def forward(self, x, times):
                for _ in range(int(times)):
                    x = self.fc(x)
                return x

        net = Loops()
        batch = (torch.ones(1, 3), torch.tensor(2))
        explorer = Explorer(net, batch, name="net", inputs_name="batch", selected=["fc_1"])
        assert explorer.graph.backend == "recorded"
        features = self.check(explorer, net=net, batch=batch)
        assert torch.equal(features["fc_1"], explorer.features["fc_1"])

    def test_of_a_traced_model_that_takes_token_ids(self):
        net = nn.Sequential(nn.Embedding(9, 4), nn.Linear(4, 2))
        explorer = Explorer(net, selected=["0"])
        self.check(explorer, model=net)

    def test_of_a_model_in_half_precision(self):
        net = nn.Sequential(nn.Linear(4, 2)).to(torch.bfloat16)
        self.check(Explorer(net, selected=["0"]), model=net)

    def test_with_leaf_modules_that_the_explorer_was_given(self, model):
        block = torchvision.models.resnet.BasicBlock
        explorer = explore(model, tracer_kwargs={"leaf_modules": [block]})
        explorer.selected = ["layer1.0"]
        assert "from torchvision.models.resnet import BasicBlock" in explorer.code.text
        self.check(explorer, model=model)

    def test_with_hostile_names_and_keys(self):
        net = nn.Sequential()
        name = 'a"""\'\\\n#{'
        net.add_module(name, nn.ReLU())
        net.add_module("b", nn.Conv2d(3, 1, 1))
        explorer = explore(net)
        explorer.return_nodes = {name: "');raise SystemExit#", "b": "\u2028"}
        self.check(explorer, model=net)

    @pytest.mark.parametrize("recorded", [False, True])
    def test_follows_the_inputs_that_were_chosen_in_the_panel(self, recorded):
        net = Forks() if recorded else SMALL
        x = torch.rand(1, 3, 32, 32)
        explorer = explore(net, x, selected=["0", "2"])
        given = explorer.code.text
        assert "extractor(x)" in given or recorded
        explorer.maps.inputs.use_sample("impulse")
        assert "impulse(1, 3, 32, 32)" in explorer.code.text
        features = self.check(explorer, model=net)
        assert torch.equal(features["0"], explorer.features["0"])
        explorer.mode = "train"
        assert "impulse(1, 3, 32, 32)" in explorer.code.text
        explorer.maps.inputs.use_sample("example inputs")
        explorer.mode = "eval"
        assert explorer.code.text == given

    def test_nothing_ticked_is_no_code_to_copy(self, explorer):
        assert is_code(explorer.code.text)
        assert explorer.code.copy_button.text == ""


class Zeroed(nn.Module):
    """NaN after a while, in a module; and zeros."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 2, 3), nn.ReLU())
        self.head = nn.Conv2d(2, 2, 3)

    def forward(self, x):
        x = self.body(x)
        return self.head(x / x.amax() + x.sum() * 0) * 0


class TestValues:
    @pytest.fixture
    def explorer(self):
        model = Zeroed()
        model.body[0].bias.data.fill_(-100)  # all is zero after ReLU
        return explore(model, torch.rand(1, 3, 8, 8))

    def marks(self, explorer, name):
        return explorer.tree.marks[explorer.graph.index[name]]

    def fact(self, explorer):
        return next((f["text"] for f in explorer.node.facts if f["label"] == "value"), "")

    def test_what_ran_is_marked_in_tree_picture_and_facts(self, explorer):
        explorer.selected = ["body.0", "body.1", "head"]
        explorer.run()
        assert self.marks(explorer, "body.1").startswith("all 0: in the last run: all 0")
        assert self.marks(explorer, "head").startswith("✗ NaN: ")
        assert self.marks(explorer, "body.0") == ""
        assert explorer.diagram.values["head"] == ["✗ NaN", "32 of 32 are NaN"]
        explorer.focused = "body.0"
        assert " … -99" in self.fact(explorer)
        explorer.focused = "head"
        assert self.fact(explorer) == "✗ NaN · 32 of 32 are NaN"
        explorer.mode = "train"
        assert self.marks(explorer, "head") == self.fact(explorer) == ""  # of eval mode

    def test_the_button_leads_to_the_first(self, explorer):
        button(explorer, "Find NaN").click()
        assert explorer.focused == "truediv"
        assert "✗ NaN first in truediv" in explorer.notice.words
        assert "It reads body.1 all 0; amax all 0." in explorer.notice.words
        assert self.marks(explorer, "truediv").startswith("✗ NaN: ")
        assert self.marks(explorer, "body.1").startswith("all 0: ")
        assert explorer.selected == []

    def test_a_module_around_is_marked_too(self):
        model = nn.Sequential(nn.Sequential(nn.Linear(2, 2), nn.ReLU()), nn.Linear(2, 2))
        model[0][0].weight.data.fill_(float("nan"))
        explorer = explore(model, torch.ones(1, 2), expanded=[])
        assert explorer.check_values().first == "0.0"
        assert self.marks(explorer, "0") == ("✗ NaN inside: in the last run: in 0.0")
        model[0][0].weight.data.fill_(1.0)
        assert explorer.check_values().first == ""
        assert "No NaN" in explorer.notice.words
        assert self.marks(explorer, "0") == ""

    def test_it_goes_on_beside_the_kernel_and_can_be_stopped(self):
        class Slow(nn.Module):
            def __init__(self):
                super().__init__()
                self.steps = nn.Sequential(*[nn.Identity() for _ in range(400)])

            def forward(self, x):
                for step in self.steps:
                    x = step(x)
                    sleeping.wait(0.02 if x.sum() > 0 else 0)
                return x

        async def main():
            explorer = explore(Slow(), torch.zeros(1, 2))
            await until(lambda: explorer.graph.backend == "recorded")
            explorer.maps.inputs.chosen = known_inputs(explorer.model, torch.ones(1, 2))
            threads = threading.active_count()
            button(explorer, "Find NaN").click()
            await until(lambda: "Looking for the first NaN" in explorer.notice.words)
            button(explorer.notice, "Stop").click()
            assert not explorer.notice.words
            await until(lambda: threading.active_count() <= threads)
            assert explorer.values == {}

        sleeping = threading.Event()
        asyncio.run(main())
