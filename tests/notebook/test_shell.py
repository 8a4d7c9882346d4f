"""What the explorer takes from the shell whose cells show it."""

import nbformat
import pytest
from nbclient import NotebookClient

from fxexplore.notebook.shell import is_interactive

CELL = """
import time, torch
from fxexplore import explore

class Slow(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.head = torch.nn.Linear(4, 2)

    def forward(self, x):
        if x.sum() < 1e9:  # cannot be traced
            time.sleep(3)
        return self.head(x)

explore(Slow().eval())
"""


@pytest.mark.thorough
def test_a_notebook_that_is_run_to_be_read_waits_for_the_whole_page():
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(CELL)])
    NotebookClient(notebook, timeout=300).execute()
    (output,) = notebook.cells[0].outputs
    assert output.output_type == "execute_result"
    assert "1×2" in output.data["text/html"]
    assert "not run yet" not in output.data["text/html"]


def test_outside_a_kernel_somebody_may_be_there():
    assert is_interactive()
