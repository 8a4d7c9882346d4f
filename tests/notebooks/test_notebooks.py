"""The tutorials run from top to bottom."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests.marks import mostly_thorough

QUICKSTART = Path(__file__).parents[2] / "notebooks" / "quickstart.ipynb"
NOTEBOOKS = sorted(QUICKSTART.parent.glob("*.ipynb"))


def test_there_are_notebooks():
    assert QUICKSTART in NOTEBOOKS


@pytest.mark.parametrize("path", mostly_thorough(NOTEBOOKS, QUICKSTART), ids=lambda path: path.name)
def test_a_notebook_runs_from_top_to_bottom(path, tmp_path):
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(cell.execution_count for cell in code)
    noise = [
        output.text
        for cell in code
        for output in cell.outputs
        if output.output_type == "stream" and output.name == "stderr"
    ]
    assert noise == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_notebooks_are_kept_without_outputs(path):
    for cell in nbformat.read(path, as_version=4).cells:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None
