"""A cell that is run again frees what it showed before, unless something of the user's holds it."""

import gc
import weakref

import pytest
import torch
from IPython.core.interactiveshell import InteractiveShell
from IPython.display import display
from ipywidgets.widgets.widget import _instances
from torch import nn

from fxexplore import Explorer, explore


class Notebook:
    """Runs code in cells with an id, as a kernel does for JupyterLab; counts what is alive."""

    def __init__(self):
        self.shell = InteractiveShell.instance()
        self.shell.run_line_magic("load_ext", "fxexplore")
        self.models = weakref.WeakSet()
        self.names = set(self.shell.user_ns)
        self.before = set(_instances)
        self.shell.push(
            {"make": self.make, "x": torch.rand(1, 4), "explore": explore, "display": display}
        )

    def make(self):
        model = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
        self.models.add(model)
        return model

    def run(self, cell_id, code):
        result = self.shell.run_cell(code, store_history=True, cell_id=cell_id)
        result.raise_error()

    def __getitem__(self, name):
        return self.shell.user_ns[name]

    @property
    def explorers(self):
        gc.collect()
        mine = [w for key, w in _instances.items() if key not in self.before]
        return [widget for widget in mine if isinstance(widget, Explorer)]


@pytest.fixture
def notebook():
    notebook = Notebook()
    yield notebook
    for name in set(notebook.shell.user_ns) - notebook.names:
        notebook.shell.user_ns.pop(name)
    for widget in notebook.explorers:
        widget.close()
    notebook.shell.reset()


TWICE = """
for _number in range(2):
    display(get_ipython().run_line_magic("fxnodes", "make()"))
"""


MODEL_AND_MAGIC = "model = make()\n%fxnodes model"
CELLS = [
    "%fxnodes make()",
    MODEL_AND_MAGIC,
    "explorer = explore(make(), x, selected=['0'])\nexplorer.run()",
    "explorer = %fxnodes make()\nexplorer",
    TWICE,
]


@pytest.mark.thorough
@pytest.mark.parametrize("cell", CELLS)
def test_of_many_runs_of_a_cell_only_the_last_is_held(notebook, cell):
    notebook.run("other", "%fxnodes make()")
    for _ in range(4):
        notebook.run("a", cell)
        assert len(notebook.models) <= 3  # one is the other cell's
    notebook.run("b", "explorer = model = None")
    notebook.run("a", "1 + 1")
    assert len(notebook.explorers) == len(notebook.models) == 1


@pytest.mark.thorough  # it collects garbage often, which takes long in a large process
def test_a_cell_that_is_run_again_goes_on_where_it_was(notebook):
    cell = "model = make()\n%fxnodes model"
    notebook.run("a", cell)
    (explorer,) = notebook.explorers
    explorer.return_nodes = {"0": "first", "1": "1"}
    explorer.query, explorer.focused, explorer.detail = "relu", "1", "everything"
    explorer._tabs.selected_index = 1
    explorer.maps.inputs.name.value = "x"
    del explorer
    notebook.run("a", cell.replace("make()", "make()[:1]"))
    (explorer,) = notebook.explorers
    assert explorer.return_nodes == {"0": "first"}
    assert explorer.expanded == []
    assert (explorer.query, explorer.focused, explorer.detail) == ("relu", "", "everything")
    assert explorer._tabs.selected_index == 1
    assert explorer.maps.current_inputs.args[0] is notebook["x"]
    del explorer
    notebook.run("a", "model = make()\nexplore(model, x, selected=['1'], query='linear')")
    (explorer,) = notebook.explorers
    assert (explorer.selected, explorer.query) == (["1"], "linear")
    del explorer
    notebook.run("b", "%fxnodes model")
    assert {len(explorer.selected) for explorer in notebook.explorers} == {0, 1}


IN_A_BOX = "import ipywidgets\nheld = ipywidgets.VBox([explorer])"
HELD = ["held = explorer", "held = [[explorer]]", "held = explorer.tree", IN_A_BOX]


@pytest.mark.thorough
@pytest.mark.parametrize("hold", HELD)
def test_what_the_user_holds_goes_on_working(notebook, hold):
    notebook.run("a", f"explorer = %fxnodes make()\n{hold}\nexplorer")
    explorer = weakref.ref(notebook["explorer"])
    notebook.run("a", "explorer = %fxnodes make()\nexplorer")
    notebook.run("a", "explorer = %fxnodes make()\nexplorer")
    assert len(notebook.explorers) == 2
    tree = explorer().tree
    data = {"method": "update", "state": {"selected": ["1"]}, "buffer_paths": []}
    tree.comm.handle_msg({"content": {"data": data}, "buffers": []})
    assert list(explorer().run()) == ["1"]
    assert tree.model_id in _instances
    del tree
    notebook.run("b", "held.close() if hasattr(held, 'close') else None\ndel held")
    notebook.run("a", "explorer = None")
    assert explorer() is None


@pytest.mark.thorough
def test_a_result_is_held_until_its_cell_is_run_again(notebook):
    notebook.run("a", "%fxnodes make()")
    notebook.run("b", "same = _")
    notebook.run("b", "del same")
    notebook.run("c", "1 + 1")
    assert len(notebook.explorers) == 1
    number = notebook.shell.execution_count
    notebook.run("a", "2 + 2")
    assert not notebook.explorers
    assert notebook["_"] == notebook["Out"][number] == 4


@pytest.mark.thorough
def test_a_result_that_is_closed_is_in_no_record_of_results(notebook):
    notebook.run("a", "%fxnodes make()")
    notebook.run("b", "_.close()")
    gc.collect()
    assert not notebook.models
    assert notebook["_"] == ""


@pytest.mark.thorough
def test_where_cells_have_no_ids_nothing_is_freed(notebook):
    notebook.run(None, "%fxnodes make()")
    notebook.run(None, "%fxnodes make()")
    assert len(notebook.explorers) == 2
