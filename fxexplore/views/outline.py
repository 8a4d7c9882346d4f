"""The hierarchy as a table of text, and as HTML that folds without a script."""

from __future__ import annotations

import dataclasses
import html
import math
import shutil
import textwrap
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from fxexplore.model_graph import ModelGraph, Module, Node

from .detail import Detail, hidden_in_words, hidden_nodes
from .diagram import opening_fold
from .failures import error_in_words, failure_at
from .numbers import shape_text, short_count, short_flops
from .siblings import SiblingGroup, group_words, repeated_siblings

_STYLE = "font:12px/1.7 ui-monospace,Menlo,Consolas,monospace;max-width:900px"
_LINE = "margin-left:2.4em"
_ROOM_FOR_NAMES = 0.45  # of the width of a terminal
_LEAST_SHARE = 0.001  # of the whole, that is written out
_BOXES, _LINES = 30, 40  # of a model that is printed
_CHANGES = {
    "+": "only the second model has it",
    "−": "only the first model had it",
    "≠": "what it was in the first model → what it is in the second",
    "Δ": "its numbers differ: the norm of the difference relative to the first model's",
}
_INSIDE = "so many nodes and modules inside it were added, removed or changed"


def marks(
    item: Node | Module,
    *,
    only_in: str = "",
    graph: ModelGraph | None = None,
    value: Sequence[str] = ("", ""),
) -> dict[str, str]:
    """What is special about a node or module: short words, and what they mean.

    Args:
        item: the node or module.
        only_in: the mode that it exists in, if it is only one.
        graph: its graph, to say where the model raised.
        value: what is special about its value, and what that means.

    Example:
        >>> marks(Node("relu_1", "module", "ReLU", call=2, calls=2, shared=("act",)))
        {'call 2 of 2': 'the same module is called 2 times', 'shared': 'the same as act'}
    """
    found = {words: _CHANGES.get(words[0], _INSIDE) for words in item.changes}
    if graph is not None and (failure := failure_at(graph, item)):
        found[failure] = error_in_words(graph)
    if value[0]:
        found[value[0]] = f"in the last run: {value[1]}"
    if isinstance(item, Module) and item.ran is False:
        found["never ran"] = "registered in the model; nothing of it ran"
    elif not item.reached:
        found["not reached"] = "the model raised before it came here"
    if only_in:
        found[f"{only_in} only"] = f"exists in {only_in} mode only"
    if item.calls > 1:
        call = f"{item.calls} calls" if isinstance(item, Module) else item.which_call
        last = "; its value is that of the last call" if isinstance(item, Module) else ""
        found[call] = f"the same module is called {item.calls} times{last}"
    if item.shared:
        found["shared"] = f"the same as {', '.join(item.shared)}"
    if item.frozen:
        is_whole = item.frozen >= item.parameters
        numbers = f"{short_count(item.frozen)} of {short_count(item.parameters)}"
        found["frozen" if is_whole else "partly frozen"] = f"{numbers} parameters need no gradient"
    return found


def summary(graph: ModelGraph) -> str:
    """Write a model as a table that fits a terminal: what ``print(graph)`` shows.

    Args:
        graph: the model.
    """
    width = shutil.get_terminal_size((100, 24)).columns
    unfolded = opening_fold(graph, _BOXES, hidden_nodes(graph))
    return to_text(graph, unfolded, width=width, most=_LINES)


def to_text(
    graph: ModelGraph,
    expanded: Collection[str] | None = None,
    *,
    width: int | None = None,
    most: int | None = None,
    detail: Detail = "operations",
) -> str:
    """Write the tree as a table: names, output shapes, parameters, FLOPs and classes.

    Args:
        graph: the model.
        expanded: paths of the modules that are unfolded; by default all. Where there is a
            choice, siblings with the same structure are folded into one line.
        width: how many characters a line may have; by default as many as it takes.
        most: how many lines there may be; by default as many as it takes.
        detail: how much has a line: ``"modules"``, ``"operations"`` (without sizes, asserts,
            constants, and views, which only pass values on), or ``"everything"``.

    Returns:
        The table. It ends with what was left out, if anything was.

    Example:
        >>> from torch import nn
        >>> from fxexplore import open_model
        >>> print(to_text(open_model(nn.Sequential(nn.Linear(4, 2), nn.ReLU()))))
        Sequential · 10 parameters · 16 FLOPs (a multiply-add counts 2) · 3 nodes · \
input guessed noise (for the first layer, Linear) 1×4 · eval · symbolic
        node   output  params  FLOPs  class
        input     1×4                 input
        0         1×2      10     16  Linear(in_features=4, out_features=2, bias=True)
        1         1×2                 ReLU
    """
    limit = len(graph.rows) if most is None else 10 * most
    outline = _Outline(graph, expanded, {}, limit, hidden_nodes(graph, detail))
    cells = [("node", "output", "params", "FLOPs", "class")]
    for depth, line in _open_lines(outline.lines(), 0):
        note = " · ".join(filter(None, (line.changes, line.note)))
        cells.append(
            (f"{'  ' * depth}{line.mark}{line.name}", *line.numbers, " ".join(note.split()))
        )
    shown = cells if most is None else cells[:most]
    room = [max(map(len, column)) for column in zip(*shown, strict=True)]
    if width is not None:
        room[0] = min(room[0], int(_ROOM_FOR_NAMES * width))
    head = f"{graph.model} · {facts_in_words(graph)}"
    heads = filter(None, (head, error_in_words(graph)))
    table = [
        part for line in heads for part in ([line] if width is None else textwrap.wrap(line, width))
    ]
    for name, output, parameters, flops, note in shown:
        start = f"{_cut(name, room[0]):{room[0]}}  {output:>{room[1]}}  {parameters:>{room[2]}}"
        table.append(f"{start}  {flops:>{room[3]}}  {note}".rstrip())
    hidden = len(outline.hidden)
    if len(shown) <= len(graph.rows) - hidden:
        left_out = f"… {len(cells) - len(shown):,} more lines; " if cells[len(shown) :] else ""
        table.append(
            f"{left_out}▸ is folded; print(fxexplore.to_text(graph)) shows all "
            f"{len(graph.rows) - hidden:,} rows"
        )
    if hidden:
        table.append(hidden_in_words(hidden, detail))
    return "\n".join(table if width is None else (_cut(line, width) for line in table))


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"


def _open_lines(lines: Iterable[_Line], depth: int) -> Iterator[tuple[int, _Line]]:
    for line in lines:
        yield depth, line
        # Of siblings with the same structure the first stands for all, where it is unfolded.
        shown = line.inside if line.is_open else line.inside[: line.is_group]
        if line.is_open or any(inner.is_open for inner in shown):
            yield from _open_lines(shown, depth + 1)


def facts_in_words(graph: ModelGraph) -> str:
    """What is known of a whole model, in one line."""
    if graph.compared:
        return graph.compared
    facts = [
        f"{short_count(graph.parameters)} parameters",
        f"{short_flops(graph.flops, graph.flops_at_least)} (a multiply-add counts 2)"
        if graph.flops
        else "",
        f"{len(graph.nodes):,} nodes" if graph.backend else "",
        f"input {graph.inputs}" if graph.inputs else "",
        graph.mode,
        graph.backend or "not run yet",
    ]
    return " · ".join(filter(None, facts))


def tree_html(
    graph: ModelGraph,
    expanded: Collection[str] | None = None,
    return_nodes: Mapping[str, str] | None = None,
    *,
    limit: int = 1_000,
    detail: Detail = "operations",
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
        detail: how much has a line.
    """
    ticked = return_nodes or {}
    hidden = hidden_nodes(graph, detail, ticked)
    unfolded = opening_fold(graph, hidden=hidden) if expanded is None else expanded
    outline = _Outline(graph, unfolded, ticked, limit, hidden)
    lines = [_line_html(line) for line in outline.lines()]
    if len(lines) > limit:
        lines[limit:] = [_note(f"… and {len(lines) - limit:,} more lines")]
    if hidden:
        lines.append(f"<div>{_note(hidden_in_words(len(hidden), detail))}</div>")
    nodes = " · ".join(name if name == key else f"{name} → {key}" for name, key in ticked.items())
    head = [
        f"<b>{html.escape(graph.model)}</b> {_quiet(facts_in_words(graph))}",
        *([f"<b>{html.escape(error_in_words(graph))}</b>"] if graph.error else []),
        *([f"return nodes: {html.escape(nodes)}"] if nodes else []),
        f"{_numbers(('output', 'params', 'FLOPs'))}{_quiet('node')}",
    ]
    heads = "".join(f"<div>{text}</div>" for text in head)
    return f'<div style="{_STYLE}">{heads}{"".join(lines)}</div>'


@dataclasses.dataclass(frozen=True)
class _Line:
    """A line of the outline.

    Attributes:
        mark: whether it is folded or ticked, as a sign.
        name: the name of the node or module, or the first and the last of siblings.
        note: what stands quietly beside it.
        changes: how it differs from another model's.
        numbers: output, parameters and FLOPs.
        shares: the parts of the model's parameters and FLOPs that these are.
        inside: the lines inside it.
        is_open: whether those are shown.
        is_group: whether it stands for siblings with the same structure.
        left_out: how many rows inside are left out.
    """

    mark: str
    name: str
    note: str
    numbers: tuple[str, str, str]
    shares: tuple[float, float]
    inside: tuple[_Line, ...] = ()
    is_open: bool = False
    is_group: bool = False
    left_out: int = 0
    changes: str = ""


class _Outline:
    """The lines of a model; positions are those of ``graph.rows``.

    Args:
        graph: the model.
        expanded: paths of the modules that are unfolded; None for all, one line for each row.
        ticked: the ticked names.
        limit: about how many lines there may be; the deepest levels are left out for it.
        hidden: names of the nodes that have no line.
    """

    def __init__(
        self,
        graph: ModelGraph,
        expanded: Collection[str] | None,
        ticked: Collection[str],
        limit: int,
        hidden: Collection[str],
    ) -> None:
        self.hidden = hidden
        self._rows = graph.rows
        self._graph = graph
        self._unfolded = None if expanded is None else set(expanded)
        self._ticked = ticked
        repeated = () if expanded is None else repeated_siblings(graph)
        self._repeated = {group.first: group for group in repeated}
        known = [name for name in ticked if name in graph.index]
        self._touched = {graph.index[n] for name in known for n in (name, *graph.ancestors(name))}
        self._deepest = self._depth_within(limit)

    def lines(self, position: int = 0, end: int | None = None) -> Iterator[_Line]:
        while position < (len(self._rows) if end is None else end):
            group = self._repeated.get(position)
            if group is not None:
                yield from self._group(group)
            elif self._rows[position].name not in self.hidden:
                yield self._item(position)
            position = self._rows[position].end if group is None else group.end

    def _item(self, position: int, *, shows_inside: bool = True) -> _Line:
        row, item = self._rows[position], self._rows[position].item
        inside = self._rows[position + 1 : row.end] if shows_inside else ()
        count = sum(inner.name not in self.hidden for inner in inside)
        is_cut = row.depth >= self._deepest
        is_open = not is_cut and (self._unfolded is None or row.name in self._unfolded)
        mark = "☑ " if row.name in self._ticked else ""
        others = [words for words in marks(item, graph=self._graph) if words not in item.changes]
        return _Line(
            mark if is_open or not count or mark else "▸ ",
            row.label,
            " · ".join([item.description, *others]),
            _in_digits([item]),
            self._shares([item]),
            tuple(self.lines(position + 1, row.end)) if count and not is_cut else (),
            is_open,
            left_out=count if is_cut else 0,
            changes=" · ".join(item.changes),
        )

    def _group(self, group: SiblingGroup) -> Iterator[_Line]:
        """A line for all of them; below it, the first with what is inside."""
        members = group.members(self._graph)
        shown = [i for i in members if self._rows[i].name not in self.hidden]
        if not shown:
            return
        first, last = (self._rows[position] for position in (shown[0], shown[-1]))
        touched = self._touched.intersection(members)
        items = [self._rows[position].item for position in members]
        yield _Line(
            "▣ " if touched else "▸ ",
            f"{first.label} … {last.label}",
            group_words(self._graph, group, self.hidden),
            _in_digits(items),
            self._shares(items),
            tuple(self._item(i, shows_inside=i == members[0] or i in touched) for i in shown),
            is_open=bool(touched),
            is_group=True,
        )

    def _shares(self, items: Sequence[Node | Module]) -> tuple[float, float]:
        parameters = sum(item.parameters for item in items)
        flops = sum(item.flops or 0 for item in items)
        return parameters / (self._graph.parameters or 1), flops / (self._graph.flops or math.inf)

    def _depth_within(self, limit: int) -> int:
        """How deep the lines may go, so that they are no more than ``limit``."""
        counts = Counter(row.depth for row in self._rows if row.name not in self.hidden)
        for group in self._repeated.values():
            start = self._rows[group.first].end
            rows = self._rows[start : group.end]
            inside = (row.depth for row in rows if row.name not in self.hidden)
            counts.subtract(d for d in inside if d > self._rows[group.first].depth)
        depth, lines = 0, counts[0]
        while counts[depth + 1] and lines + counts[depth + 1] <= limit:
            depth += 1
            lines += counts[depth]
        return depth


def _in_digits(items: Sequence[Node | Module]) -> tuple[str, str, str]:
    """The output of the first, and the sums; what is unknown or nothing is empty."""
    shape = items[0].shape
    parameters = sum(item.parameters for item in items)
    flops = sum(item.flops or 0 for item in items)
    at_least = "≥ " * any(item.flops_at_least for item in items)
    return (
        "" if shape is None else shape_text(shape),
        short_count(parameters) if parameters else "",
        f"{at_least}{short_count(flops)}" if flops else "",
    )


def _line_html(line: _Line) -> str:
    mark = "" if line.mark == "▸ " else line.mark  # <details> has a sign of its own
    name = f"<b>{html.escape(line.name)}</b>"
    changes = f"<b>{html.escape(line.changes)}</b> " if line.changes else ""
    text = f"{_numbers(line.numbers, line.shares)}{mark}{name} {changes}{_quiet(line.note)}"
    if line.left_out:
        text += f" {_note(f'{line.left_out:,} rows inside are left out')}"
    if not line.inside:
        return f'<div style="{_LINE}">{text}</div>'
    inside = "".join(map(_line_html, line.inside))
    state = " open" if line.is_open else ""
    return f'<details{state} style="margin-left:1.4em"><summary>{text}</summary>{inside}</details>'


def _numbers(numbers: tuple[str, str, str], shares: tuple[float, float] = (0.0, 0.0)) -> str:
    """Numbers in columns: the font gives every character the same room."""
    output, *others = numbers
    columns = html.escape(f"  {output:>14}")
    for number, share in zip(others, shares, strict=True):
        percent = f"{100 * share:.{int(share < 0.0995)}f} %" if share >= _LEAST_SHARE else ""  # noqa: PLR2004
        text = f"{number:>7} {percent:>6}"
        bar = len(text) - round(min(1.0, share) * len(text))
        columns += f"  {text[:bar]}"
        if text[bar:]:
            columns += f'<span style="border-bottom:2px solid #4a90d9">{text[bar:]}</span>'
    # Floating to the right needs nothing that JupyterLab takes out of untrusted pages.
    return f'<span style="float:right;white-space:pre;opacity:.8">{columns}</span>'


def _quiet(text: str) -> str:
    return f'<span style="opacity:.75">{html.escape(text)}</span>'


def _note(text: str) -> str:
    return f'<span style="opacity:.75;font-style:italic">{html.escape(text)}</span>'
