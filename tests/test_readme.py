"""The README's Python runs as pasted, block after block."""

import re
import warnings
from pathlib import Path

import pytest
import torch

README = Path(__file__).parents[1] / "README.md"


@pytest.mark.filterwarnings("ignore:BertModel is opened by recording one run")
def test_the_readmes_code_runs_from_top_to_bottom():
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    assert len(blocks) >= 3
    scope = {}
    torch.manual_seed(0)
    with warnings.catch_warnings():
        for block in blocks:
            exec(block, scope)
    assert set(scope["features"]) == {"embeddings", "encoder.layer.0"}


@pytest.mark.parametrize("extra", ["lab", "test"])
def test_the_readme_has_one_line_for_each_job(extra):
    lines = [line for line in README.read_text().splitlines() if f'".[{extra}]"' in line]
    assert len(lines) == 1
    assert lines[0].startswith("pip install -e ")
