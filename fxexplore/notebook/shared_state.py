"""What the parts of the explorer share: selection, fold state, focus, search."""

from __future__ import annotations

import difflib
from collections.abc import Collection
from typing import Any

import ipywidgets as widgets
import traitlets

from .graph_view import GraphView, why_not_ticked
from .return_nodes import checked_keys


class SharedState(GraphView):
    """The state that every part of the explorer shows, valid for one graph at a time.

    Example:
        >>> from torch import nn
        >>> from fxexplore import open_model
        >>> state = SharedState(open_model(nn.Sequential(nn.ReLU(), nn.Sigmoid())))
        >>> state.selected = ["1", "0"]
        >>> state.return_nodes
        {'0': '0', '1': '1'}
    """

    return_nodes = traitlets.Dict()
    """The key in ``features`` of each ticked name, in order of execution."""

    def share(self, part: widgets.Widget, *names: str) -> None:
        """Keep traits of a part in step with the state; what is refused, the part takes back."""

        def to_state(change: dict[str, Any]) -> None:
            name = change["name"]
            try:
                setattr(self, name, change["new"])
            except traitlets.TraitError as problem:
                self.refused(problem)
                raise
            finally:
                setattr(part, name, getattr(self, name))

        for name in names:
            setattr(part, name, getattr(self, name))
        part.observe(to_state, names)
        self.observe(lambda change: setattr(part, change["name"], change["new"]), names)

    def complete(self) -> None:
        """Called before a name is refused: more of the graph may be on its way."""

    def refused(self, problem: traitlets.TraitError) -> None:
        """Called with the reason when a part was given a value that is not valid."""

    @traitlets.validate("selected")
    def _check_selected(self, proposal: dict[str, Any]) -> list[str]:
        return self._checked_ticks(proposal["value"])

    @traitlets.validate("return_nodes")
    def _check_return_nodes(self, proposal: dict[str, Any]) -> dict[str, str]:
        keys = checked_keys(proposal["value"])
        ticks = self._checked_ticks(keys)  # may bring the graph that has these names
        return {name: keys[name] for name in sorted(ticks, key=self.graph.index.__getitem__)}

    @traitlets.validate("expanded")
    def _check_expanded(self, proposal: dict[str, Any]) -> list[str]:
        for path in proposal["value"]:
            self._check_name(path)
        return list(dict.fromkeys(proposal["value"]))

    @traitlets.validate("focused")
    def _check_focused(self, proposal: dict[str, Any]) -> str:
        name: str = proposal["value"]
        if name:
            self._check_name(name)
        return name

    @traitlets.observe("selected")
    def _on_selected(self, change: dict[str, Any]) -> None:
        keys = self.return_nodes
        kept = {name: keys[name] for name in change["new"] if name in keys}
        new = {name: free_key(name, kept.values()) for name in change["new"] if name not in keys}
        self.return_nodes = kept | new

    @traitlets.observe("return_nodes")
    def _on_return_nodes(self, change: dict[str, Any]) -> None:
        kept = [name for name in self.selected if name in change["new"]]
        self.selected = kept + [name for name in change["new"] if name not in kept]

    def _checked_ticks(self, names: Collection[str]) -> list[str]:
        if any(why_not_ticked(self.graph, name) for name in names):
            self.complete()
        for name in names:
            self._check_name(name)
            problem = why_not_ticked(self.graph, name)
            if problem:
                raise traitlets.TraitError(problem)
        return list(dict.fromkeys(names))

    def _check_name(self, name: str) -> None:
        if name not in self.graph.index:
            self.complete()
        if name in self.graph.index:
            return
        # Names that end alike first: most misses are a path that lacks its beginning.
        near = [known for known in self.graph.index if known.endswith(f".{name}")][:3]
        near += difflib.get_close_matches(name, self.graph.index, n=3)
        hint = f"; did you mean {', '.join(dict.fromkeys(near))}?" if near else ""
        raise traitlets.TraitError(
            f"'{name}' is no node or module of this model in {self.graph.mode} mode{hint}"
        )


def free_key(name: str, taken: Collection[str]) -> str:
    """The name, or the name with a number if another node was given it as its key.

    Example:
        >>> free_key("relu", ["relu", "relu_1"])
        'relu_2'
    """
    key, number = name, 0
    while key in taken:
        number += 1
        key = f"{name}_{number}"
    return key
