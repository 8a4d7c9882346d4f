"""What is closed is freed: widgets leave ipywidgets' registry, models and values the memory."""

import asyncio
import contextlib
import gc
import io
import threading
import weakref

import ipywidgets as widgets
import pytest
import torch
from comm import get_comm_manager
from ipywidgets.widgets.widget import _instances
from PIL import Image
from torch import nn

from fxexplore import create_feature_extractor, explore, open_model
from fxexplore.inputs import known_inputs
from fxexplore.notebook.feature_maps import FeatureMapsPanel
from fxexplore.notebook.node_facts import NodeFacts
from fxexplore.notebook.node_graph import NodeGraph
from fxexplore.notebook.node_tree import NodeTree
from fxexplore.views.feature_maps import PlotOptions
from tests.marks import mostly_thorough


class Net(nn.Module):
    """Traced, or recorded if it looks at values."""

    def __init__(self, looks=False):
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.last = nn.Sequential(nn.Conv2d(4, 4, 3), nn.ReLU())
        self.looks = looks

    def forward(self, x):
        if self.looks and x.sum() > 1e9:
            x = x + 1
        x = self.last(self.norm(self.first(x)))
        return x + 1 if self.training else x


@pytest.fixture
def freed():
    """Checks that what was made is gone: objects, widgets in the registry, comms, threads."""
    gc.collect()
    before, comms = set(_instances), set(get_comm_manager().comms)

    def check(**objects):
        refs = {name: weakref.ref(value) for name, value in objects.items()}
        objects.clear()
        yield
        gc.collect()
        assert [name for name, ref in refs.items() if ref() is not None] == []
        assert [type(_instances[key]).__name__ for key in set(_instances) - before] == []
        assert set(get_comm_manager().comms) <= comms

    return contextlib.contextmanager(check)


def picture():
    content = io.BytesIO()
    Image.new("RGB", (60, 50), (200, 30, 60)).save(content, "png")
    return content.getvalue()


async def until(is_so):
    for _ in range(4000):
        if is_so():
            return
        await asyncio.sleep(0.005)
    raise TimeoutError


async def nothing(explorer):
    pass


async def facts_found(explorer):
    await until(lambda: explorer.graph.flops)


async def run_by_its_button(explorer):
    explorer.selected = ["last", "first"]
    explorer.maps.controls.run.click()
    await until(lambda: len(explorer.features) == 2)
    await until(lambda: explorer.maps.cards.cards)


async def enlarged_kept_and_compared(explorer):
    explorer.selected = ["last"]
    explorer.run()
    explorer.maps.keep()
    explorer.maps.inputs.use_sample("checkerboard")
    explorer.run()
    explorer.maps.comparing = True
    explorer.maps.options = PlotOptions(view="mean")
    explorer.maps.cards.draw()
    explorer.maps.cards.cards["last"].view.tell({"type": "open"})
    explorer.maps.figure()


async def picture_and_variable(explorer):
    inputs = explorer.maps.inputs
    inputs.upload._on_file("cat.png", picture())
    inputs.more.unfolded = True
    inputs.name.value = "no_such_name"


async def other_mode(explorer):
    explorer.header.switch.value = "train"
    await until(lambda: explorer.mode == "train")
    explorer.header.switch.value = "eval"


async def left_while_opening_the_other_mode(explorer):
    explorer.header.switch.value = "train"


async def errors(explorer):
    explorer.maps.controls.run.click()  # nothing is ticked
    explorer.tree.set_state({"focused": "first"})
    with pytest.raises(Exception, match="no node"):
        explorer.tree.selected = ["nowhere"]
    explorer.selected = ["last"]
    explorer.maps.inputs.chosen = known_inputs(explorer.model, torch.rand(1, 5, 9, 9), "model")
    explorer.maps.controls.run.click()
    await until(lambda: explorer.maps.problem)


async def left_while_running(explorer):
    explorer.selected = ["last"]
    explorer.maps.controls.run.click()


async def shown_and_saved(explorer):
    explorer._repr_mimebundle_()
    explorer.page()
    explorer.static()


async def observed_by_the_user(explorer):
    other = widgets.Text()
    link = widgets.link((explorer, "query"), (other, "value"))
    explorer.observe(lambda _: explorer, "selected")
    explorer.selected = ["last"]
    other.value = "conv"
    link.unlink()
    other.layout.close()
    other.style.close()
    other.close()


USES = [
    nothing, facts_found, run_by_its_button, enlarged_kept_and_compared, picture_and_variable,
    other_mode, left_while_opening_the_other_mode, errors, left_while_running, shown_and_saved,
    observed_by_the_user,
]  # fmt: skip
OFTEN = [enlarged_kept_and_compared, left_while_opening_the_other_mode, left_while_running]


@pytest.mark.parametrize("looks", mostly_thorough([False, True], True))
@pytest.mark.parametrize("use", mostly_thorough(USES, *OFTEN), ids=lambda use: use.__name__)
def test_a_closed_explorer_is_freed_with_its_model(use, looks, freed):
    async def main():
        net = Net(looks).eval()
        explorer = explore(net, torch.rand(1, 3, 12, 12))
        await use(explorer)
        features = {f"feature {key}": value for key, value in explorer.features.items()}
        with freed(**features):
            del features
            explorer.close()
        with pytest.raises(ValueError, match="this explorer is closed"):
            explorer.run()
        with freed(explorer=explorer, model=net, graph=explorer.graph, tree=explorer.tree):
            del explorer, net
            await until(lambda: not working_threads())

    asyncio.run(main())


@pytest.mark.parametrize(
    "kind", mostly_thorough([NodeTree, NodeGraph, NodeFacts, FeatureMapsPanel], FeatureMapsPanel)
)
def test_a_part_is_closed_alone(kind, freed):
    async def main():
        graph = open_model(Net().eval(), torch.rand(1, 3, 12, 12))
        part = panel_of(graph) if kind is FeatureMapsPanel else kind(graph)
        await asyncio.sleep(0.05)
        part.close()
        part.close()
        with freed(part=part, graph=graph):
            del part, graph
            await until(lambda: not working_threads())

    asyncio.run(main())


def test_values_above_the_limit_are_dead():
    async def main():
        panel = panel_of(open_model(Net().eval(), torch.rand(1, 3, 12, 12)))
        panel.keep()
        kept = panel.features["last"]
        panel.return_nodes = {"first": "first", "last": "last"}
        panel.controls.run.click()
        await until(lambda: len(panel.features) == 2)
        panel.cards.draw()
        panel.cards.cards["last"].view.tell({"type": "open"})
        assert panel.controls.held.value.count("MB on cpu") == 1
        values = weakref.WeakSet([kept, *panel.features.values()])
        del kept
        panel.kept_bytes = 1
        panel.cards.draw()
        gc.collect()
        assert panel.held_bytes == len(values) == 0
        assert "last of the run that was kept" in panel.message

    asyncio.run(main())


def panel_of(graph):
    model = Net().eval()

    def make_extractor():
        return create_feature_extractor(model, return_nodes=panel.return_nodes, mode="eval")

    x = torch.rand(1, 3, 12, 12)
    panel = FeatureMapsPanel(model, graph, make_extractor=make_extractor, example_inputs=x)
    panel.return_nodes = {"last": "last"}
    panel.run()
    return panel


@pytest.mark.parametrize("options", [{"selected": ["nowhere"]}, {"mode": "walk"}, {"layout": 3}])
def test_an_explorer_that_cannot_be_made_leaves_nothing(options, freed):
    model = Net().eval()
    with freed(model=model):
        with pytest.raises(Exception):  # noqa: B017, PT011
            explore(model, **options)
        del model


def test_a_layout_of_the_users_stays_open():
    layout = widgets.Layout(width="300px")
    explore(Net().eval(), torch.rand(1, 3, 12, 12), layout=layout).close()
    assert layout.comm is not None


def working_threads():
    return [thread for thread in threading.enumerate() if thread.name == "fxexplore-task"]
