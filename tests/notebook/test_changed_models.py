"""A model that is changed after it was opened: it is said, nothing old runs, it opens again."""

import gc
import weakref

import pytest
import torch
from IPython.core.interactiveshell import InteractiveShell
from torch import nn

from fxexplore import explore
from fxexplore.notebook.model_watch import Snapshot
from tests.notebook.buttons import button


class Loops(nn.Module):
    """Is recorded, because its loop depends on its input."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 4), nn.ReLU())

    def forward(self, x):
        while x.sum() < 0:
            x = x + 1
        return self.body(x)


MODELS = [lambda: nn.Sequential(nn.Sequential(nn.Linear(4, 4), nn.ReLU())), Loops]


@pytest.fixture(params=MODELS, ids=["traced", "recorded"])
def explorer(request):
    explorer = explore(request.param().eval(), torch.rand(2, 4))
    body = "body" if isinstance(explorer.model, Loops) else "0"
    explorer.return_nodes = {f"{body}.0": "linear", body: "all"}
    explorer.run()
    yield explorer
    explorer.close()


def body(explorer):
    return next(explorer.model.children())


def values(explorer):
    return body(explorer)[0](explorer.maps.current_inputs.args[0])


def test_a_layer_that_is_replaced_is_not_run_as_it_was(explorer):
    body(explorer)[0] = nn.Linear(4, 4)
    with pytest.raises(ValueError, match=r"\.0' is another module, a Linear\. Open it again"):
        explorer.run()
    assert explorer.notice.words.startswith("The model has changed since it was opened")
    button(explorer.notice, "Open again").click()
    assert explorer.notice.words == ""
    assert not explorer.features
    assert set(explorer.return_nodes.values()) == {"linear", "all"}
    assert torch.equal(explorer.run()["linear"], values(explorer))


def test_a_layer_that_is_gone_is_told_and_the_others_stay_ticked(explorer):
    del body(explorer)[1]
    explorer.look_again()
    assert explorer.notice.words.endswith(".1' is gone")
    button(explorer.notice, "Open again").click()
    assert set(explorer.return_nodes.values()) == {"linear", "all"}
    assert list(explorer.run()["linear"].shape) == [2, 4]


def test_weights_that_are_edited_make_the_pictures_old(explorer):
    with torch.no_grad():
        body(explorer)[0].weight.mul_(2)
    explorer.selected = [name for name, key in explorer.return_nodes.items() if key == "linear"]
    assert "weights have changed since these feature maps" in explorer.notice.words
    button(explorer.notice, "Run again").click()
    assert torch.equal(explorer.features["linear"], values(explorer))
    assert explorer.notice.words == ""


def test_a_model_of_another_precision_opens_again():
    explorer = explore(nn.Sequential(nn.Linear(4, 4)).eval())
    explorer.return_nodes = {"0": "linear"}
    explorer.model.double()
    explorer.look_again()
    assert "'0.weight' is 4×4 float64 on cpu" in explorer.notice.words
    explorer.open_again()
    assert explorer.run()["linear"].dtype == torch.float64


@pytest.mark.thorough
def test_it_is_said_after_the_cell_that_changed_it_and_only_once():
    shell = InteractiveShell.instance()
    shell.push({"explore": explore, "model": nn.Sequential(nn.Linear(4, 4)), "nn": nn})
    shell.run_cell("explorer = explore(model)", cell_id="a").raise_error()
    explorer = shell.user_ns["explorer"]
    shell.run_cell("model[0] = nn.Linear(4, 2)", cell_id="b").raise_error()
    assert "'0' is another module" in explorer.notice.words
    explorer.notice.clear()
    shell.run_cell("1 + 1", cell_id="b").raise_error()
    assert explorer.notice.words == ""
    shell.run_cell("del explorer, model", cell_id="a").raise_error()


def test_what_a_model_was_made_of_is_not_held():
    model = nn.Sequential(nn.Linear(2, 2))
    snapshot, layer = Snapshot(model), weakref.ref(model[0])
    model[0] = nn.Identity()
    gc.collect()
    assert layer() is None
    assert snapshot.changes(model) == ["'0' is another module, a Identity"]
