"""Whether a model is still what it was when it was opened, and what to do if it is not."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from .notice import Notice

_MOST = 3  # changes that are named in a line


class ModelWatch:
    """Says so where a model is no longer what an explorer shows, and offers what helps.

    Args:
        model: the model, as it is when it is opened.
        notice: where it is said.
        open_again: opens the model anew.
        run_again: runs it anew, whose values are those of other weights.

    Example:
        >>> net, notice = nn.Sequential(nn.ReLU()), Notice()
        >>> watch = ModelWatch(net, notice, print, print)
        >>> net[0] = nn.GELU()
        >>> watch.look()
        >>> notice.words
        "The model has changed since it was opened: '0' is another module, a GELU"
    """

    def __init__(
        self,
        model: nn.Module,
        notice: Notice,
        open_again: Callable[[], None],
        run_again: Callable[[], None],
    ) -> None:
        self._model, self._notice = model, notice
        self._ways = {"Open again": open_again, "Run again": run_again}
        self.begin()

    def begin(self) -> None:
        """Take the model as it is now."""
        self._snapshot = Snapshot(self._model)
        self._said = ""

    def check(self) -> None:
        """Refuse a model of other modules or tensors than the one that was opened.

        Raises:
            ValueError: saying what is another.
        """
        words = self._changes()
        if words:
            self.look()
            raise ValueError(f"{words}. Open it again first, as open_again() does")

    def look(self, *, is_outdated: bool = False) -> None:
        """Say what has changed; nothing that was said before is said again.

        Args:
            is_outdated: whether values are shown that are of other weights.
        """
        if self._notice.is_progress:
            return
        words, label = self._changes(), "Open again"
        if not words and is_outdated:
            words = "The model's weights have changed since these feature maps were computed"
            label = "Run again"
        if words and words != self._said:
            self._notice.offer(words, label, self._ways[label])
        elif self._said and not words and self._notice.words == self._said:
            self._notice.clear()
        self._said = words

    def _changes(self) -> str:
        changes = self._snapshot.changes(self._model)
        more = f", and {len(changes) - _MOST} more" if len(changes) > _MOST else ""
        named = ", ".join(changes[:_MOST])
        return f"The model has changed since it was opened: {named}{more}" if changes else ""


class Snapshot:
    """The modules and tensors of a model, by name. It holds none of them alive.

    Args:
        model: the model.

    Example:
        >>> net = nn.Sequential(nn.Linear(2, 3), nn.ReLU())
        >>> snapshot = Snapshot(net)
        >>> net[1] = nn.GELU()
        >>> snapshot.changes(net)
        ["'1' is another module, a GELU"]
        >>> _ = net.half()
        >>> snapshot.changes(net)[1]
        "'0.weight' is 3×2 float16 on cpu"
    """

    def __init__(self, model: nn.Module) -> None:
        self._modules = {path: weakref.ref(module) for path, module in _modules(model).items()}
        self._tensors = _tensors(model)

    def changes(self, model: nn.Module) -> list[str]:
        """What is another module now, or a tensor of another kind, in words.

        Args:
            model: the same model, later. That numbers were written into its tensors is no change.
        """
        modules, tensors = _modules(model), _tensors(model)
        outer = [path for path, module in modules.items() if self._was(path) is not module]
        replaced = [path for path in outer if path.rpartition(".")[0] not in outer or not path]
        words = [
            f"'{path}' is another module, a {type(modules[path]).__name__}" for path in replaced
        ]
        gone = [path for path in self._modules if path not in modules]
        words += [f"'{path}' is gone" for path in gone if path.rpartition(".")[0] not in gone]
        inside = tuple(f"{path}." for path in (*outer, *gone))
        for name in dict.fromkeys([*self._tensors, *tensors]):
            if not name.startswith(inside) and tensors.get(name) != self._tensors.get(name):
                words.append(f"'{name}' is {tensors.get(name, 'gone')}")
        return words

    def _was(self, path: str) -> nn.Module | None:
        held = self._modules.get(path)
        return None if held is None else held()


def _modules(model: nn.Module) -> dict[str, nn.Module]:
    return dict(model.named_modules(remove_duplicate=False))


def _tensors(model: nn.Module) -> dict[str, str]:
    named: dict[str, Any] = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    return {name: _kind(tensor) for name, tensor in named.items()}


def _kind(tensor: torch.Tensor) -> str:
    if nn.parameter.is_lazy(tensor):
        return "not known yet"
    shape = "×".join(map(str, tensor.shape)) or "one number"
    return f"{shape} {str(tensor.dtype).removeprefix('torch.')} on {tensor.device}"
