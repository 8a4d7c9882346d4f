"""What is known about one node or module, as a widget with links to its neighbours."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import anywidget
import traitlets

from fxexplore.model_graph import ModelGraph, Module, Node, Part
from fxexplore.views import error_in_words, failure_at, shape_text, short_flops

from .assets import asset
from .graph_view import GraphWidget

Fact = dict[str, Any]


class NodeFacts(GraphWidget, anywidget.AnyWidget):
    """The facts of the focused node or module; its neighbours are links that move the focus.

    Args:
        graph: the model.
        **kwargs: initial values of traits.

    Example:
        >>> from torch import nn
        >>> from fxexplore import open_model
        >>> facts = NodeFacts(open_model(nn.Sequential(nn.Linear(4, 2), nn.ReLU())), focused="0")
        >>> [fact["label"] for fact in facts.facts][:3]
        ['class', 'arguments', 'output']
    """

    _esm = asset("node_facts.js")
    _css = asset("node_facts.css", "copy_button.css")

    _shared = ("focused",)

    facts: traitlets.List[Fact] = traitlets.List().tag(sync=True)
    """Dicts with a ``"label"`` and either ``"text"`` or ``"links"``, a list of names."""

    def __init__(self, graph: ModelGraph, **kwargs: Any) -> None:
        super().__init__(graph, **kwargs)
        self.observe(lambda _: self._show_graph(), ["focused", "values"])
        self._show_graph()

    def _show_graph(self) -> None:
        known = self.focused in self._graph.index
        value = self.values.get(self.focused, ("", ""))
        self.facts = facts_of(self._graph, self.focused, value) if known else []


def facts_of(graph: ModelGraph, name: str, value: Sequence[str] = ("", "")) -> list[Fact]:
    """What is known about a node or module, in the order in which it is read.

    Args:
        graph: the model.
        name: qualified name of the node or module.
        value: what is special about its value in the last run, and its range.

    Returns:
        Dicts with a ``"label"`` and either ``"text"`` or ``"links"``, a list of names.

    Raises:
        KeyError: if there is no such node or module.

    Example:
        >>> from torch import nn
        >>> from fxexplore import open_model
        >>> facts_of(open_model(nn.Sequential(nn.Linear(4, 2))), "0")[0]
        {'label': 'class', 'text': 'Linear'}
    """
    item = graph[name]
    what = _module_facts(item) if isinstance(item, Module) else _node_facts(item)
    texts = {
        "raised": error_in_words(graph) if failure_at(graph, item) else "",
        "not reached": "" if item.reached else "the model raised before it came here",
        **what,
        "value": " · ".join(filter(None, value)),
        "calls": what["calls"] or _repeated_around(graph, name),
        "output": " · ".join(_value_facts(item)),
        "parts": "\n".join(f"{part.path} {' · '.join(_value_facts(part))}" for part in item.parts),
        "parameters": _parameters(graph, item),
        "FLOPs": _flops(graph, item),
        "activations": "" if item.activation_bytes is None else byte_text(item.activation_bytes),
        "other paths": ", ".join(item.shared),
    }
    links = {
        "inputs": _inputs(graph, name),
        "outputs": _outputs(graph, name),
        "inside": graph.ancestors(name)[-1:],
        "contains": graph.children(name) if isinstance(item, Module) else [],
    }
    facts: list[Fact] = [{"label": label, "text": text} for label, text in texts.items() if text]
    return facts + [{"label": label, "links": names} for label, names in links.items() if names]


def byte_text(number: int) -> str:
    """A number of bytes in three digits.

    Example:
        >>> byte_text(3211264), byte_text(40)
        ('3.06 MiB', '40 B')
    """
    units = ("B", "KiB", "MiB", "GiB")
    power = min(len(units) - 1, int(math.log(number, 1024))) if number else 0
    value = number / 1024**power
    return f"{value:.3g} {units[power]}" if value < 1000 else f"{value:.0f} {units[power]}"  # noqa: PLR2004


def _module_facts(module: Module) -> dict[str, str]:
    if module.ran is None:
        runs = "unknown before the model has run once"
    elif not module.ran:
        runs = "registered, but nothing of it ran"
    elif not module.calls:
        runs = "forward calls what is inside it, never itself; its value is that of the last node"
    else:
        runs = f"{module.calls} in one run; its value is that of the last" * (module.calls > 1)
    return {"class": module.cls, "arguments": module.detail, "calls": runs}


def _node_facts(node: Node) -> dict[str, str]:
    label = {"module": "class", "parameter": "parameter", "input": "input"}.get(node.kind)
    calls = f"{node.which_call} in one run" if node.calls > 1 else ""
    return {
        label or "operation": node.target or node.name,
        "arguments": node.detail,
        "calls": calls,
        "in the code": node.source or "",
    }


def _repeated_around(graph: ModelGraph, name: str) -> str:
    """The module around it that is called several times, of which it is in one call."""
    for path in reversed(graph.ancestors(name)):
        if (calls := graph[path].calls) > 1:
            return f"in one of the {calls} calls of {path}"
    return ""


def _value_facts(value: Node | Module | Part) -> list[str]:
    if value.shape is None:
        return []
    return [shape_text(value.shape), *([value.dtype] if value.dtype else [])]


def _parameters(graph: ModelGraph, item: Node | Module) -> str:
    if not item.parameters:
        return ""
    parts = [f"{item.parameters:,}"]
    if graph.parameters:
        parts.append(_share(item.parameters, graph.parameters))
    if item.frozen:
        whole = item.frozen >= item.parameters
        parts.append("frozen" if whole else f"{item.frozen:,} of them frozen")
    if item.shared:
        parts.append("shared")
    return " · ".join(parts)


def _flops(graph: ModelGraph, item: Node | Module) -> str:
    if not item.flops:
        return ""
    share = f" · {_share(item.flops, graph.flops)}" if graph.flops else ""
    return f"{short_flops(item.flops, item.flops_at_least)}{share} · a multiply-add counts 2"


def _share(part: int, whole: int) -> str:
    percent = 100 * part / whole
    return f"{percent:.0f} % of the model" if percent >= 10 else f"{percent:.2g} % of the model"  # noqa: PLR2004


def _inputs(graph: ModelGraph, name: str) -> list[str]:
    """Names of the nodes outside that the node, or those inside the module, read."""
    inside = _nodes_of(graph, name)
    names = {node.name for node in inside}
    return list(dict.fromkeys(i for node in inside for i in node.inputs if i not in names))


def _outputs(graph: ModelGraph, name: str) -> list[str]:
    """Names of the nodes outside that read the node, or those inside the module."""
    names = {node.name for node in _nodes_of(graph, name)}
    return [n.name for n in graph.nodes if n.name not in names and not names.isdisjoint(n.inputs)]


def _nodes_of(graph: ModelGraph, name: str) -> list[Node]:
    start = graph.index[name]
    items = (row.item for row in graph.rows[start : graph.rows[start].end])
    return [item for item in items if isinstance(item, Node)]
