"""A cell of JupyterLab that is run again and again holds no more than its last explorers."""

from .conftest import notebook_of

RUNS = 5
SETUP = """
%load_ext fxexplore
import resource, torch, weakref
from ipywidgets.widgets.widget import _instances

models = weakref.WeakSet()
most = 0

def make():
    global most
    most = max(most, len(models) + 1)
    model = torch.nn.Sequential(torch.nn.Linear(5000, 5000), torch.nn.ReLU())  # 100 MB
    models.add(model)
    return model

def explorers():
    return [w for w in _instances.values() if type(w).__name__ == "Explorer"]

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
"""
START = "%fxnodes make()\nbefore = peak()"
AGAIN = "model = make()\n%fxnodes model"
OTHER = "other if 'other' in globals() else None"
HELD = "held = %fxnodes make()\nheld"


def tick(lab, cell):
    cell = lab.page.locator(".jp-Cell").nth(cell)
    cell.scroll_into_view_if_needed()
    cell.locator("[data-name='0'] .fxx-box").click()


def run_cell(lab, index):
    lab.page.evaluate(
        """async index => {
            window.fxNotebook.content.activeCellIndex = index;
            await window.jupyterapp.commands.execute('notebook:run-cell');
        }""",
        index,
    )


def test_a_cell_that_is_run_again_frees_the_model_that_it_showed(lab):
    lab.open(notebook_of(SETUP, START, AGAIN, HELD, OTHER))
    lab.run_all()
    lab.python("exec('most, before = 0, peak()', globals())")
    widgets = lab.python("len(_instances)")
    for _ in range(RUNS):
        run_cell(lab, 2)
    assert lab.python("len(models)") == "3"  # one of each cell
    assert int(lab.python("most")) <= 4  # the former, which `model` still is, and the new one
    assert float(lab.python("peak() - before")) < 2 * 110
    assert lab.python("len(_instances)") == widgets
    tick(lab, cell=2)
    lab.wait_for("[e.selected for e in explorers() if e.model is model]", "[['0']]")

    # What a variable holds works on, in the page too.
    lab.python("exec('other = held', globals())")
    run_cell(lab, 3)
    assert lab.python("len(models)") == "4"
    run_cell(lab, 4)
    tick(lab, cell=4)
    lab.wait_for("other.selected", "['0']")
    lab.python("exec('del other', globals())")
    run_cell(lab, 3)
    assert lab.python("len(models)") == "3"
