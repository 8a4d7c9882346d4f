"""Whatever is unfolded, a picture or a word comes in time: `pytest -m slow -s`."""

import resource
import time

import pytest
import torchvision

from fxexplore import layout, open_model
from fxexplore.model_graph import ModelGraph, Module, Node
from fxexplore.notebook.node_graph import NodeGraph
from fxexplore.views.diagram import opening_fold, to_dot
from fxexplore.views.drawing import Drawing

pytestmark = pytest.mark.slow

TORCHVISION = [
    "resnet152", "vit_l_16", "densenet201", "mvit_v2_s", "maxvit_t", "efficientnet_v2_l",
    "swin_v2_t", "inception_v3", "googlenet", "shufflenet_v2_x1_0", "convnext_large",
]  # fmt: skip
TIMM = ["nasnetalarge", "pnasnet5large", "hrnet_w18", "coat_tiny", "dpn68", "res2net50_14w_8s"]


def built(name):
    if name == "fasterrcnn":
        return torchvision.models.detection.fasterrcnn_resnet50_fpn(
            weights=None, weights_backbone=None
        )
    if name == "bert":
        transformers = pytest.importorskip("transformers")
        return transformers.BertModel(transformers.BertConfig())
    if name in TIMM:
        return pytest.importorskip("timm").create_model(name, pretrained=False)
    extra = {"init_weights": False} if name in ("inception_v3", "googlenet") else {}
    return torchvision.models.get_model(name, weights=None, **extra)


def fold_states(graph, most=40):
    """The opening; each module unfolded alone, alone with all inside, and all but it; all."""
    paths = [module.path for module in graph.modules if module.ran]
    yield "opening", opening_fold(graph)
    for path in sorted(paths, key=lambda p: p.count("."))[:most]:
        around = [*graph.ancestors(path), path]
        inside = [p for p in paths if p.startswith(f"{path}.")]
        yield path, around
        yield f"{path} with all inside", around + inside
        if "." not in path:
            yield f"all but {path}", [p for p in paths if p not in {*inside, path}]
    yield "all", paths


def worker_seconds():
    """Processor time of the workers so far: what others do on the machine is no part of it."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@pytest.mark.parametrize("name", [*TORCHVISION, *TIMM, "fasterrcnn", "bert"])
def test_whatever_is_unfolded_there_is_a_picture_or_a_word(name):
    graph = open_model(built(name).eval())
    layout.warm_up()
    layout.to_svg("digraph { a }")
    diagram = NodeGraph(graph, expanded=[])
    times, worked, refused = {}, {}, []
    for state, expanded in fold_states(graph):
        diagram.expanded = []
        before = worker_seconds()
        start = time.perf_counter()
        diagram.expanded = expanded
        times[state] = time.perf_counter() - start
        worked[state] = worker_seconds() - before
        assert diagram.svg.startswith("<svg")
        if not diagram.wait(0):
            refused.append(state)
            assert "Fold " in diagram.message
    slowest = max(times, key=times.get)
    boxes = len(Drawing.of(graph, [module.path for module in graph.modules]).boxes)
    print(
        f"\n{name:20} {boxes:5} boxes  opening {times['opening']:.3f} s  all {times['all']:.3f} s"
        f" (Graphviz {worked['all']:.2f} s)  slowest {times[slowest]:.3f} s: {slowest} (Graphviz "
        f"at most {max(worked.values()):.2f} s)  {len(refused)} of {len(times)} without picture",
        end="",
    )


def large_graph(blocks):
    """Blocks of ten nodes in a row, each with a residual."""
    nodes, modules, last = [Node("x", "input", "x")], [], "x"
    for i in range(blocks):
        modules.append(Module(f"block{i}", "Block"))
        start = last
        for j in range(10):
            name = f"block{i}.op{j}"
            inputs = (last, start) if j == 9 else (last,)
            nodes.append(Node(name, "operation", "op", f"block{i}", inputs=inputs, shape=(1, j)))
            last = name
    return ModelGraph("Large", tuple(nodes), tuple(modules), outputs=(last,))


def test_building_dot_takes_time_in_proportion():
    times = {}
    for blocks in (100, 1_000, 4_000):
        graph = large_graph(blocks)
        _ = graph.rows, graph.index
        expanded = [module.path for module in graph.modules]
        start = time.perf_counter()
        to_dot(graph, expanded).source  # noqa: B018
        unfolded = time.perf_counter() - start
        start = time.perf_counter()
        to_dot(graph, []).source  # noqa: B018
        times[blocks] = unfolded
        print(f"\n{10 * blocks} nodes: unfolded {unfolded:.3f} s, folded "
              f"{time.perf_counter() - start:.3f} s", end="")  # fmt: skip
    # Forty times the nodes: bit sets make it a little more than linear, not 1,600 times.
    assert times[4_000] < 200 * times[100]


def test_a_picture_of_too_many_boxes_is_refused_at_once():
    graph = large_graph(1_000)
    diagram = NodeGraph(graph, expanded=[])
    last = diagram.svg
    start = time.perf_counter()
    diagram.expanded = [module.path for module in graph.modules]
    print(f"\nrefused in {time.perf_counter() - start:.3f} s: {diagram.message}", end="")
    assert "10,001 boxes" in diagram.message
    assert diagram.svg == last
