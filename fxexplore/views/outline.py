"""The hierarchy as text, and as HTML that folds without a script."""

from __future__ import annotations

import html
from collections.abc import Collection, Mapping

from fxexplore.model_graph.graph import ModelGraph, Module, Node, Row

from .diagram import opening_fold
from .numbers import shape_text, short_count

_STYLE = "font:12px/1.7 ui-monospace,Menlo,Consolas,monospace"


def description(item: Node | Module) -> str:
    """What stands beside a name: the class with its arguments, or what is computed where.

    Example:
        >>> description(Node("fc", "module", "Linear", detail="512, 10"))
        'Linear(512, 10)'
        >>> description(Node("add", "operation", "add", source="resnet.py:103"))
        'operation · resnet.py:103'
    """
    if isinstance(item, Module) or item.kind == "module":
        cls = item.cls if isinstance(item, Module) else item.target
        return f"{cls}({item.detail})" if item.detail else cls
    return f"{item.kind} · {item.source}" if item.source else item.kind


def marks(item: Node | Module, *, only_in: str = "") -> dict[str, str]:
    """What is special about a node or module: short words, and what they mean.

    Args:
        item: the node or module.
        only_in: the mode that it exists in, if it is only one.

    Example:
        >>> marks(Node("relu_1", "module", "ReLU", call=2, calls=2, shared=("act",)))
        {'call 2 of 2': 'the same module is called 2 times', 'shared': 'the same as act'}
    """
    found = {}
    if isinstance(item, Module) and not item.ran:
        found["never ran"] = "registered in the model; nothing of it ran"
    if only_in:
        found[f"{only_in} only"] = f"exists in {only_in} mode only"
    if item.calls > 1:
        call = (
            f"{item.calls} calls"
            if isinstance(item, Module)
            else f"call {item.call} of {item.calls}"
        )
        found[call] = f"the same module is called {item.calls} times"
    if item.shared:
        found["shared"] = f"the same as {', '.join(item.shared)}"
    if item.frozen:
        is_whole = item.frozen >= item.parameters
        found["frozen" if is_whole else "partly frozen"] = (
            f"{short_count(item.frozen)} of {short_count(item.parameters)} parameters need no gradient"
        )
    return found


def to_text(graph: ModelGraph, expanded: Collection[str] | None = None) -> str:
    """Write the tree as indented lines.

    Args:
        graph: the model.
        expanded: paths of the modules that are unfolded; by default all.

    Example:
        >>> from torch import nn
        >>> from fxexplore import open_model
        >>> print(to_text(open_model(nn.Sequential(nn.Linear(4, 2), nn.ReLU()))))
        Sequential · 10 parameters
          input  input
          0  Linear(in_features=4, out_features=2, bias=True)  10
          1  ReLU
    """
    lines = [f"{graph.model} · {short_count(graph.parameters)} parameters"]
    position = 0
    while position < len(graph.rows):
        row = graph.rows[position]
        folded = _is_folded(row, expanded)
        mark = "▸ " if folded else ""
        count = f"  {short_count(row.item.parameters)}" if row.item.parameters else ""
        text = f"{mark}{graph.label(row.name)}  {description(row.item)}{count}"
        lines.append("  " * (row.depth + 1) + text)
        position = row.end if folded else position + 1
    return "\n".join(lines)


def to_html(
    graph: ModelGraph,
    expanded: Collection[str] | None = None,
    return_nodes: Mapping[str, str] | None = None,
) -> str:
    """Write the tree as nested ``<details>``, for pages with no kernel and no script.

    Args:
        graph: the model.
        expanded: paths of the modules that are open; by default those of
            :func:`fxexplore.views.diagram.opening_fold`.
        return_nodes: the ticked names with their output keys.
    """
    unfolded = set(opening_fold(graph) if expanded is None else expanded)
    ticked = return_nodes or {}
    parts = [f'<div style="{_STYLE}"><b>{html.escape(graph.model)}</b> ', _facts(graph)]
    ends: list[int] = []
    for position, row in enumerate(graph.rows):
        while ends and ends[-1] <= position:
            parts.append("</details>")
            ends.pop()
        line = _line(graph, row, ticked)
        if isinstance(row.item, Module):
            state = " open" if row.name in unfolded else ""
            parts.append(f'<details{state} style="margin-left:1.4em"><summary>{line}</summary>')
            ends.append(row.end)
        else:
            parts.append(f'<div style="margin-left:2.4em">{line}</div>')
    return "".join(parts) + "</details>" * len(ends) + "</div>"


def _facts(graph: ModelGraph) -> str:
    return (
        f'<span style="opacity:.7">{short_count(graph.parameters)} parameters · '
        f"{len(graph.nodes)} nodes · {html.escape(graph.backend)}</span>"
    )


def _line(graph: ModelGraph, row: Row, ticked: Mapping[str, str]) -> str:
    name = html.escape(graph.label(row.name))
    mark = "☑ " if row.name in ticked else ""
    facts = [description(row.item), *marks(row.item)]
    if row.item.shape is not None:
        facts.append(shape_text(row.item.shape))
    if row.item.parameters:
        facts.append(short_count(row.item.parameters))
    return f'{mark}<b>{name}</b> <span style="opacity:.7">{html.escape(" · ".join(facts))}</span>'


def _is_folded(row: Row, expanded: Collection[str] | None) -> bool:
    return isinstance(row.item, Module) and expanded is not None and row.name not in expanded
