"""The chosen return nodes as chips, whose keys are renamed in place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import anywidget
import traitlets

from .assets import asset
from .brief import Brief, ticked


def _to_pairs(return_nodes: Mapping[str, str], _: Any) -> list[list[str]]:
    # A list: objects of JavaScript put keys such as "0" first.
    return [[name, key] for name, key in return_nodes.items()]


def _from_pairs(pairs: list[list[str]], _: Any) -> dict[str, str]:
    return {name: key for name, key in pairs}  # noqa: C416  # pairs are lists, not tuples


class ReturnNodes(Brief, anywidget.AnyWidget):
    """Names of return nodes with their output keys, as chips.

    A key is renamed in place; one that another node has is marked, explained and not taken.

    Args:
        **kwargs: initial values of traits.

    Example:
        >>> chips = ReturnNodes(return_nodes={"layer1": "low"})
        >>> chips.return_nodes = {"layer1": "low", "layer2": "low"}
        Traceback (most recent call last):
        traitlets.traitlets.TraitError: the key 'low' is given to both 'layer1' and 'layer2'; \
keys must differ
    """

    _esm = asset("return_nodes.js")
    _css = asset("return_nodes.css")

    return_nodes = traitlets.Dict(
        value_trait=traitlets.Unicode(), key_trait=traitlets.Unicode()
    ).tag(sync=True, to_json=_to_pairs, from_json=_from_pairs)
    """The key of each return node by the node's name."""

    focused = traitlets.Unicode().tag(sync=True)
    """The name that was clicked last; ``""`` for none."""

    def _told(self) -> list[str]:
        return [ticked(len(self.return_nodes))]

    @traitlets.validate("return_nodes")
    def _check_keys(self, proposal: dict[str, Any]) -> dict[str, str]:
        return checked_keys(proposal["value"])


def checked_keys(return_nodes: Mapping[str, str]) -> dict[str, str]:
    """A copy of ``return_nodes``, all of whose keys differ.

    Args:
        return_nodes: the key of each return node by the node's name.

    Raises:
        traitlets.TraitError: if a key is empty, or given to two nodes.
    """
    owners: dict[str, str] = {}
    for name, key in return_nodes.items():
        if not key:
            raise traitlets.TraitError(f"the key of '{name}' is empty; write a name for it")
        if key in owners:
            raise traitlets.TraitError(
                f"the key '{key}' is given to both '{owners[key]}' and '{name}'; keys must differ"
            )
        owners[key] = name
    return dict(return_nodes)
