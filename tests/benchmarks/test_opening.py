"""What opening costs, step by step, beside a bare trace: `pytest -m slow -s`."""

import statistics
import time

import pytest
import torchvision

from fxexplore.feature_extraction import LeafModuleAwareTracer
from fxexplore.feature_extraction.common.leaves import default_tracer_kwargs
from fxexplore.layout import warm_up
from fxexplore.model_graph import Opening
from fxexplore.notebook.node_graph import NodeGraph
from fxexplore.notebook.node_tree import NodeTree

pytestmark = pytest.mark.slow


def seconds(action):
    start = time.perf_counter()
    result = action()
    return time.perf_counter() - start, result


def bare_trace(model):
    """The floor: a graph of torch.fx, and no names, modules, edges or facts."""
    return LeafModuleAwareTracer(**default_tracer_kwargs()).trace(model)


@pytest.mark.parametrize("name", ["resnet18", "vit_b_16", "densenet201", "mvit_v2_s", "maxvit_t"])
def test_what_opening_costs(name):
    model = torchvision.models.get_model(name, weights=None).eval()
    warm_up()
    steps = {"bare trace": [], "names": [], "facts": [], "tree": [], "first picture": []}
    for _ in range(3):
        steps["bare trace"].append(seconds(lambda: bare_trace(model))[0])
        took, opening = seconds(lambda: Opening(model))
        steps["names"].append(took)
        took, graph = seconds(opening.annotated)
        steps["facts"].append(took)
        steps["tree"].append(seconds(lambda: NodeTree(graph))[0])  # noqa: B023
        took, diagram = seconds(lambda: NodeGraph(graph))  # noqa: B023
        steps["first picture"].append(took)
        assert diagram.svg
    medians = {step: statistics.median(times) for step, times in steps.items()}
    print(f"\n{name}: {len(graph.nodes)} nodes, {len(diagram.svg) / 1000:.0f} kB of picture")
    for step, took in medians.items():
        print(f"  {step:14} {1000 * took:8.0f} ms  {took / medians['bare trace']:5.1f} bare traces")
    assert medians["first picture"] < 1
