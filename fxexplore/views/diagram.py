"""The hierarchy as a Graphviz picture: what is unfolded is a cluster, what is folded a box."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Collection, Iterator

import graphviz

from fxexplore.model_graph.graph import ModelGraph, Module, Node

from .numbers import short_count

OPENING_BOXES = 60

# By what a box computes: the fill, and the words of its leaf modules and operations.
# The fills are light tints whose hues also differ for colour-blind readers.
_KINDS: dict[str, tuple[str, tuple[str, ...]]] = {
    "convolution": ("#cfe3f7", ("conv",)),
    "normalisation": ("#e4e1f5", ("norm",)),
    "attention": ("#fdf0b8", ("attention",)),
    "pooling": ("#d5efdc", ("pool",)),
    "linear": ("#f7d7e1", ("linear", "mlp", "embedding", "matmul", "einsum", "bmm")),
    "activation": (
        "#fbe0cd",
        ("relu", "gelu", "silu", "elu", "hardswish", "hardsigmoid", "sigmoid", "tanh", "softmax",
         "mish", "softplus", "swish"),
    ),
}  # fmt: skip
_OTHER_FILLS = {
    "input": "#ffffff",
    "output": "#ffffff",
    "folded": "#eceef1",
    "operation": "#eceef1",
}


_TEXT = {"fontname": "sans-serif", "fontsize": "11"}
_GRAPH = _TEXT | {
    "bgcolor": "transparent", "nodesep": "0.2", "ranksep": "0.28", "pad": "0.1",
    "fontcolor": "#667", "labeljust": "l", "style": "dashed,rounded", "color": "#b6bac4",
}  # fmt: skip
_BOX = _TEXT | {
    "shape": "box", "style": "filled,rounded", "color": "#667", "height": "0.3",
    "margin": "0.13,0.05", "penwidth": "0.8",
}  # fmt: skip
_EDGE = _TEXT | {
    "color": "#667", "arrowsize": "0.55", "penwidth": "0.8", "fontsize": "9", "fontcolor": "#667",
}  # fmt: skip


def kind_of(item: Node | Module) -> str:
    """The kind of box that stands for a node or module: ``"convolution"``, ``"folded"``, ...

    Example:
        >>> kind_of(Node("layer1.0.conv1", "module", "Conv2d"))
        'convolution'
    """
    if isinstance(item, Module):
        return "folded"
    if item.kind in ("input", "parameter"):
        return "input"
    target = item.target.lower()
    for kind, (_, words) in _KINDS.items():
        if any(word in target for word in words):
            return kind
    return "operation"


def opening_fold(graph: ModelGraph, limit: int = OPENING_BOXES) -> list[str]:
    """Choose what to unfold so that the first picture says much in few boxes.

    Whole levels are unfolded while they fit; of the first level that does not, only the
    first module is, and so on into its depth.

    Args:
        graph: the model.
        limit: how many boxes the picture may hold.

    Returns:
        Paths of the modules to unfold, parents before children.
    """
    boxes = len(graph.children())
    expanded: list[str] = []
    level = _modules_among(graph, graph.children())
    while level:
        more = {path: len(graph.children(path)) - 1 for path in level}
        if boxes + sum(more.values()) <= limit:
            chosen = level
        else:
            chosen = [path for path in level[:1] if boxes + more[path] <= limit]
        boxes += sum(more[path] for path in chosen)
        expanded += chosen
        inside = itertools.chain.from_iterable(graph.children(path) for path in chosen)
        level = _modules_among(graph, inside)
    return expanded


def _modules_among(graph: ModelGraph, names: Collection[str] | Iterator[str]) -> list[str]:
    return [name for name in names if isinstance(graph[name], Module)]


def to_dot(
    graph: ModelGraph,
    expanded: Collection[str] | None = None,
    selected: Collection[str] = (),
) -> graphviz.Digraph:
    """Draw a model as DOT.

    Every box and cluster has the id ``row<i>`` of its row in ``graph.rows``, and a class
    that starts with ``fx-`` and says its kind. Operations on sizes are left out.

    Args:
        graph: the model to draw.
        expanded: paths of the modules that are unfolded; by default :func:`opening_fold`.
        selected: names of the nodes and modules that are ticked.

    Returns:
        A ``graphviz.Digraph``. Names of the model are escaped in it.

    Example:
        >>> from torch import nn
        >>> from fxexplore import open_model
        >>> dot = to_dot(open_model(nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU())))
        >>> 'row1 -> row2' in dot.source
        True
    """
    unfolded = set(opening_fold(graph) if expanded is None else expanded)
    drawing = _Drawing(graph, unfolded, set(selected))
    return drawing.dot()


class _Drawing:
    def __init__(self, graph: ModelGraph, expanded: set[str], selected: set[str]) -> None:
        self._graph = graph
        self._expanded = expanded
        self._selected = selected

    def dot(self) -> graphviz.Digraph:
        dot = graphviz.Digraph(graph_attr=_GRAPH, node_attr=_BOX, edge_attr=_EDGE)
        self._fill(dot, self._graph.children())
        outputs = self._box_of_outputs()
        if outputs:
            dot.node("output", "output", id="output", **_style("output"))
        for (tail, head), count in (self._edges() + outputs).items():
            dot.edge(tail, head, label=f" ×{count}" if count > 1 else None)
        return dot

    def _fill(self, dot: graphviz.Digraph, names: Collection[str]) -> None:
        for name in names:
            item = self._graph[name]
            if isinstance(item, Module) and not item.ran:
                continue
            if isinstance(item, Module) and name in self._expanded:
                with dot.subgraph(name=f"cluster_{self._box(name)}") as cluster:
                    cluster.attr(
                        label=graphviz.escape(f"{self._mark(name)}{self._label(name)}  {item.cls}"),
                        id=self._box(name),
                        margin="9",
                        **{"class": self._class(name, "unfolded")},
                    )
                    self._fill(cluster, self._graph.children(name))
            elif isinstance(item, Module) or item.kind != "size":
                self._draw_box(dot, name, item)

    def _draw_box(self, dot: graphviz.Digraph, name: str, item: Node | Module) -> None:
        kind = kind_of(item)
        first = f"{self._mark(name)}{self._label(name)}"
        facts = item.cls if isinstance(item, Module) else item.target
        if isinstance(item, Module):
            first = f"▸ {first}"
            facts += f" · {short_count(item.parameters)}" if item.parameters else ""
        # A node whose label says what it is needs no second line.
        plain = isinstance(item, Node) and item.kind != "module"
        lines = [first] if plain else [first, facts]
        style = _style(kind)
        style["class"] = self._class(name, kind)
        if name in self._selected:
            style |= {"penwidth": "2.4", "color": "#0b63c9"}
        dot.node(
            self._box(name), "\\n".join(graphviz.escape(line) for line in lines),
            id=self._box(name), **style,
        )  # fmt: skip

    def _mark(self, name: str) -> str:
        return "✓ " if name in self._selected else ""

    def _label(self, name: str) -> str:
        return self._graph.label(name)

    def _class(self, name: str, kind: str) -> str:
        return f"fx-{kind}" + (" fx-selected" if name in self._selected else "")

    def _box(self, name: str) -> str:
        return f"row{self._graph.index[name]}"

    def _visible(self, name: str) -> str:
        """What stands for a node: itself, or the outermost folded module around it."""
        return next((p for p in self._graph.ancestors(name) if p not in self._expanded), name)

    def _edges(self) -> Counter[tuple[str, str]]:
        edges: Counter[tuple[str, str]] = Counter()
        visible = {node.name: self._visible(node.name) for node in self._graph.nodes}
        hidden = {node.name for node in self._graph.nodes if node.kind == "size"}
        for node in self._graph.nodes:
            for source in node.inputs:
                tail, head = visible[source], visible[node.name]
                if tail != head and source not in hidden and node.name not in hidden:
                    edges[self._box(tail), self._box(head)] += 1
        return edges

    def _box_of_outputs(self) -> Counter[tuple[str, str]]:
        sizes = {node.name for node in self._graph.nodes if node.kind == "size"}
        names = [name for name in self._graph.outputs if name not in sizes]
        return Counter((self._box(self._visible(name)), "output") for name in names)


def _style(kind: str) -> dict[str, str]:
    fill = _KINDS[kind][0] if kind in _KINDS else _OTHER_FILLS[kind]
    return {"fillcolor": fill, "class": f"fx-{kind}"}
