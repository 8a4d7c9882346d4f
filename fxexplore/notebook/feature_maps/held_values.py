"""The values of the last run, in a bounded number of bytes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fxexplore.feature_extraction import tensors_in


class HeldValues:
    """Values of nodes by name; what was used longest ago is let go first.

    Args:
        limit: the most bytes that are held.

    Example:
        >>> import torch
        >>> held = HeldValues(limit=100)
        >>> for name in ("a", "b", "c"):
        ...     held[name] = torch.zeros(10)
        >>> list(held), held.bytes, held.let_go
        (['b', 'c'], 80, ['a'])
    """

    def __init__(self, limit: int) -> None:
        self._values: dict[str, Any] = {}
        self._limit = limit
        self.let_go: list[str] = []
        """Names of what was held and is no longer, for want of room."""

    @property
    def limit(self) -> int:
        """The most bytes that are held; a lower one lets go at once."""
        return self._limit

    @limit.setter
    def limit(self, limit: int) -> None:
        self._limit = limit
        self._fit()

    @property
    def bytes(self) -> int:
        """What is held, memory that values share counted once."""
        storages = {}
        for value in self._values.values():
            for tensor in tensors_in(value):
                storages[_storage(tensor)] = _bytes(tensor)
        return sum(storages.values())

    def __setitem__(self, name: str, value: Any) -> None:
        self._values.pop(name, None)
        self._values[name] = value
        if name in self.let_go:
            self.let_go.remove(name)
        self._fit()

    def __getitem__(self, name: str) -> Any:
        self._values[name] = self._values.pop(name)  # the last is what was used last
        return self._values[name]

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def __iter__(self) -> Iterator[str]:
        return iter(tuple(self._values))

    def clear(self) -> None:
        """Let everything go."""
        self._values.clear()
        self.let_go.clear()

    def _fit(self) -> None:
        while self._values and self.bytes > self._limit:
            name = next(iter(self._values))
            del self._values[name]
            self.let_go.append(name)


def _storage(tensor: Any) -> tuple[str, int]:
    try:
        return str(tensor.device), tensor.untyped_storage().data_ptr() or id(tensor)
    except (RuntimeError, NotImplementedError):  # sparse and such have no storage
        return "", id(tensor)


def _bytes(tensor: Any) -> int:
    try:
        return int(tensor.untyped_storage().nbytes())
    except (RuntimeError, NotImplementedError):
        return int(tensor.numel() * tensor.element_size())
