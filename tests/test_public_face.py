"""What ``fxexplore.<TAB>`` shows, what it costs, and what is written once."""

import importlib.metadata
import inspect
import re
import subprocess
import sys
import typing
from pathlib import Path

import pytest
import torch
import torchvision
from torch import nn

import fxexplore
from fxexplore.model_graph import ModelGraph, Node

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def graph():
    return fxexplore.open_model(
        nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()), torch.ones(1, 3, 8, 8)
    )


def test_tab_shows_what_a_user_wants_and_all_of_it_is_there():
    assert dir(fxexplore) == sorted(fxexplore.__all__)
    assert not [name for name in dir(fxexplore) if name.startswith("_")]
    for name in dir(fxexplore):
        assert getattr(fxexplore, name).__doc__, name


def test_names_for_compatibility_import_and_are_in_no_all():
    from fxexplore import _is_subseq, _warn_graph_differences

    assert callable(_is_subseq)
    assert callable(_warn_graph_differences)


def test_importing_the_package_imports_nothing_heavy():
    code = "import sys, fxexplore; print(*sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "graphviz", "matplotlib", "IPython"} & {*shown.stdout.split()}


def test_the_version_is_written_once():
    assert fxexplore.__version__ == importlib.metadata.version("fxexplore")
    written = [
        path
        for path in (ROOT / "pyproject.toml", *(ROOT / "fxexplore").rglob("*.py"))
        if re.search(rf'version\w* = "{re.escape(fxexplore.__version__)}"', path.read_text())
    ]
    assert written == [ROOT / "fxexplore" / "__init__.py"]


@pytest.mark.parametrize("name", ["explore", "extract_features", "open_model"])
def test_arguments_are_spelled_out_in_one_order(name):
    function = getattr(fxexplore, name)
    parameters = inspect.signature(function).parameters
    order = [n for n in parameters if n in ("model", "return_nodes", "example_inputs")]
    positional = [n for n, p in parameters.items() if p.kind is p.POSITIONAL_OR_KEYWORD]
    assert positional == [n for n in ("model", "return_nodes", "example_inputs") if n in positional]
    assert order[0] == "model"
    assert not [p for p in parameters.values() if p.kind in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]
    types = typing.get_type_hints(function.__init__ if isinstance(function, type) else function)
    assert types["mode"] == typing.Literal["eval", "train"] | None
    assert typing.get_args(types["backend"]) == ("auto", "symbolic", "recorded")
    documented = re.findall(r"^        (\w+): ", inspect.getdoc(function), re.MULTILINE)
    documented += re.findall(r"^    (\w+): ", inspect.getdoc(function), re.MULTILINE)
    assert set(parameters) <= set(documented)
    assert "likewise" not in function.__doc__


def test_what_is_printed_is_one_line_of_plain_words(graph):
    model, x = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()), torch.ones(1, 3, 8, 8)
    explorer = fxexplore.explore(model, x, selected=["0", "1"])
    made = {
        "Comparison": fxexplore.compare(graph, graph),
        "Explorer": explorer,
        "Features": explorer.run(),
        "LeafModuleAwareTracer": fxexplore.LeafModuleAwareTracer(),
        "NodePathTracer": fxexplore.NodePathTracer(),
    }
    elsewhere = {"FeatureStore", "ModelGraph"}  # on disk, and a table
    classes = {n for n in fxexplore.__all__ if n[0].isupper()}
    assert classes == made.keys() | elsewhere
    parts = [
        explorer.tree, explorer.diagram, explorer.maps, explorer.maps.inputs, explorer.code,
        explorer.node, explorer.chips, explorer.notice, explorer.header,
        fxexplore.example_inputs_for(model), fxexplore.check_values(model, x),
    ]  # fmt: skip
    for printed in map(str, [*made.values(), *parts]):
        assert len(printed.splitlines()) == 1
        assert len(printed) < 100
    assert repr(explorer) == "Explorer(Sequential, eval, 2 nodes ticked)"
    assert repr(explorer.maps) == "FeatureMapsPanel(Sequential, 2 nodes ticked, 2 values)"
    assert repr(made["Features"]) == "Features(0: 1×4×6×6, 1: 1×4×6×6)"


def test_a_graph_is_drawn_by_functions(graph):
    assert "row1 -> row2" in fxexplore.to_dot(graph).source
    svg = fxexplore.to_svg(graph, selected=["0"])
    assert svg.startswith("<svg")
    assert "✓" in svg
    page = fxexplore.to_html(graph, svg=svg, return_nodes={"0": "low"})
    assert "Conv2d" in page
    assert "data:image/svg+xml;base64," in page
    assert "0 → low" in page


def test_a_graph_shows_itself(graph):
    assert graph._repr_html_() == fxexplore.to_html(graph)
    assert ["node", "output", "params", "FLOPs", "class"] in map(
        str.split, repr(graph).splitlines()
    )


@pytest.mark.parametrize("columns", [60, 100, 200])
@pytest.mark.parametrize("name", ["resnet50", "vit_b_16", "efficientnet_b0"])
def test_a_printed_graph_fits_a_terminal_and_says_what_was_cut(name, columns, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(columns))
    graph = fxexplore.open_model(torchvision.models.get_model(name, weights=None))
    lines = repr(graph).splitlines()
    assert len(lines) <= 45
    assert max(map(len, lines)) <= columns
    assert "is folded" in lines[-2]
    assert "left out" in lines[-1]
    assert len(fxexplore.to_text(graph, detail="everything").splitlines()) == len(graph.rows) + 2


def test_a_printed_graph_of_one_long_level_is_cut_too():
    nodes = tuple(Node(f"n{i}", "operation", "add") for i in range(500))
    lines = repr(ModelGraph("M", nodes, ())).splitlines()
    assert len(lines) <= 45
    assert lines[-1].startswith("… 461 more lines")


def test_many_siblings_are_one_line_of_a_printed_graph():
    graph = fxexplore.open_model(nn.Sequential(*[nn.Linear(4, 4) for _ in range(99)]))
    assert len(repr(graph).splitlines()) <= 6
    assert "▸ 0 … 98" in repr(graph)


def test_a_newline_in_a_class_name_does_not_break_the_table():
    node = Node("a", "module", "Odd", detail="one\ntwo")
    assert len(fxexplore.to_text(ModelGraph("M", (node,), ())).splitlines()) == 3
