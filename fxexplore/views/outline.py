"""The hierarchy as text, and as HTML that folds without a script."""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Collection, Iterator, Mapping

from fxexplore.model_graph import ModelGraph, Module, Node, Row

from .calls import call_of
from .diagram import opening_fold
from .numbers import shape_text, short_count, short_flops
from .runs import Run, runs

_STYLE = "font:12px/1.7 ui-monospace,Menlo,Consolas,monospace;max-width:900px"
_LINE = "margin-left:2.4em"


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
    if isinstance(item, Module) and item.ran is False:
        found["never ran"] = "registered in the model; nothing of it ran"
    if only_in:
        found[f"{only_in} only"] = f"exists in {only_in} mode only"
    if item.calls > 1:
        call = f"{item.calls} calls" if isinstance(item, Module) else call_of(item)
        last = "; its value is that of the last call" if isinstance(item, Module) else ""
        found[call] = f"the same module is called {item.calls} times{last}"
    if item.shared:
        found["shared"] = f"the same as {', '.join(item.shared)}"
    if item.frozen:
        is_whole = item.frozen >= item.parameters
        numbers = f"{short_count(item.frozen)} of {short_count(item.parameters)}"
        found["frozen" if is_whole else "partly frozen"] = f"{numbers} parameters need no gradient"
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
    *,
    limit: int = 1_000,
) -> str:
    """Write the tree as nested ``<details>``, for pages with no kernel and no script.

    Siblings with the same structure are folded into one line, of which the first shows what
    is inside. A page with more than ``limit`` lines leaves out the deepest levels, and says so.

    Args:
        graph: the model.
        expanded: paths of the modules that are open; by default those of
            :func:`fxexplore.views.diagram.opening_fold`.
        return_nodes: the ticked names with their output keys.
        limit: how many lines there may be.

    Example:
        >>> from torch import nn
        >>> from fxexplore import open_model
        >>> page = to_html(open_model(nn.Sequential(*[nn.Linear(4, 4) for _ in range(9)])))
        >>> "0 … 8" in page, "9 × Linear" in page
        (True, True)
    """
    unfolded = set(opening_fold(graph) if expanded is None else expanded)
    return _Page(graph, unfolded, return_nodes or {}, limit).html()


class _Page:
    """The lines of a page; positions are those of ``graph.rows``."""

    def __init__(
        self, graph: ModelGraph, unfolded: set[str], ticked: Mapping[str, str], limit: int
    ) -> None:
        self._rows = graph.rows
        self._graph = graph
        self._unfolded = unfolded
        self._ticked = ticked
        self._limit = limit
        self._runs = {run.first: run for run in runs(graph)}
        self._touched = self._around(ticked)
        self._deepest = self._depth_within(limit)

    def html(self) -> str:
        lines = list(self._lines(0, len(self._rows)))
        left_out = len(lines) - self._limit
        if left_out > 0:
            lines[self._limit :] = [_note(f"… and {left_out:,} more lines")]
        return f'<div style="{_STYLE}">{self._head()}{"".join(lines)}</div>'

    def _head(self) -> str:
        graph = self._graph
        facts = " · ".join(
            [
                f"{short_count(graph.parameters)} parameters",
                *([short_flops(graph.flops)] if graph.flops else []),
                *([f"{len(graph.nodes):,} nodes"] if graph.backend else []),
                *([f"input {graph.inputs}"] if graph.inputs else []),
                graph.mode,
                graph.backend or "not run yet",
            ]
        )
        nodes = " · ".join(
            name if name == key else f"{name} → {key}" for name, key in self._ticked.items()
        )
        ticked = f"<div>return nodes: {html.escape(nodes)}</div>" if nodes else ""
        titles = _numbers(_padded("output", "params", "FLOPs"))
        model = f"<b>{html.escape(graph.model)}</b> {_quiet(facts)}"
        return f"<div>{model}</div>{ticked}<div>{titles}{_quiet('node')}</div>"

    def _lines(self, start: int, end: int) -> Iterator[str]:
        """What stands between two positions, each item with all that is inside it."""
        position = start
        while position < end:
            run = self._runs.get(position)
            if run is None:
                yield self._item(position)
                position = self._rows[position].end
            else:
                yield self._run(run)
                position = run.end

    def _item(self, position: int, *, shows_inside: bool = True) -> str:
        row = self._rows[position]
        line = self._line(row)
        if row.end == position + 1 or not shows_inside:
            return f'<div style="{_LINE}">{line}</div>'
        if row.depth >= self._deepest:
            left_out = _note(f"{row.end - position - 1:,} rows inside are left out")
            return f'<div style="{_LINE}">{line} {left_out}</div>'
        inside = "".join(self._lines(position + 1, row.end))
        return _details(line, inside, is_open=row.name in self._unfolded)

    def _run(self, run: Run) -> str:
        """A line for all siblings; below it, the first with what is inside."""
        members = [run.first]
        while self._rows[members[-1]].end < run.end:
            members.append(self._rows[members[-1]].end)
        first, last = (self._rows[position] for position in (members[0], members[-1]))
        touched = [position for position in members if position in self._touched]
        parameters = sum(self._rows[position].item.parameters for position in members)
        flops = [self._rows[position].item.flops for position in members]
        line = _text(
            f"{self._graph.label(first.name)} … {self._graph.label(last.name)}",
            f"{run.count} × {description(first.item)}, same structure",
            _columns(first.item.shape, parameters, sum(n or 0 for n in flops)),
            mark="▣ " if touched else "",
        )
        inside = "".join(
            self._item(position, shows_inside=position == run.first or position in self._touched)
            for position in members
        )
        return _details(line, inside, is_open=bool(touched))

    def _line(self, row: Row) -> str:
        item = row.item
        what = description(item)
        special = " · ".join(marks(item))
        return _text(
            self._graph.label(row.name),
            f"{what} · {special}" if special else what,
            _columns(item.shape, item.parameters, item.flops),
            mark="☑ " if row.name in self._ticked else "",
        )

    def _around(self, names: Collection[str]) -> set[int]:
        """The positions of names, and of everything that they are in."""
        index = self._graph.index
        known = [name for name in names if name in index]
        outer = [path for name in known for path in self._graph.ancestors(name)]
        return {index[name] for name in (*known, *outer)}

    def _depth_within(self, limit: int) -> int:
        """How deep the page may go, so that it has no more lines than ``limit``."""
        counts = Counter(row.depth for row in self._rows)
        for run in self._runs.values():
            start = self._rows[run.first].end
            inside = (row.depth for row in self._rows[start : run.end])
            counts.subtract(d for d in inside if d > self._rows[run.first].depth)
        depth, lines = 0, counts[0]
        while counts[depth + 1] and lines + counts[depth + 1] <= limit:
            depth += 1
            lines += counts[depth]
        return depth


def _details(line: str, inside: str, *, is_open: bool) -> str:
    state = " open" if is_open else ""
    return f'<details{state} style="margin-left:1.4em"><summary>{line}</summary>{inside}</details>'


def _columns(shape: tuple[int, ...] | None, parameters: int, flops: int | None) -> str:
    """Output, parameters and FLOPs, padded: the font gives every character the same room."""
    size = "" if shape is None else shape_text(shape)
    count = short_count(parameters) if parameters else ""
    return _padded(size, count, short_count(flops) if flops else "")


def _padded(output: str, parameters: str, flops: str) -> str:
    return f"  {output:>14}  {parameters:>7}  {flops:>7}"


def _text(name: str, note: str, columns: str, *, mark: str) -> str:
    return f"{_numbers(columns)}{mark}<b>{html.escape(name)}</b> {_quiet(note)}"


def _numbers(columns: str) -> str:
    # Floating to the right needs nothing that JupyterLab takes out of untrusted pages.
    return f'<span style="float:right;white-space:pre;opacity:.8">{html.escape(columns)}</span>'


def _quiet(text: str) -> str:
    return f'<span style="opacity:.75">{html.escape(text)}</span>'


def _note(text: str) -> str:
    return f'<span style="opacity:.75;font-style:italic">{html.escape(text)}</span>'


def _is_folded(row: Row, expanded: Collection[str] | None) -> bool:
    return isinstance(row.item, Module) and expanded is not None and row.name not in expanded
