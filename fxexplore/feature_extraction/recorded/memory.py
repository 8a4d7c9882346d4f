"""Which memory the values of a run are in, and which operation wrote into it when."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import torch

from fxexplore.feature_extraction.common.tensors import storage_of

from .recording import RecordedNode, RecordedReturn


class Memory:
    """The memory of one run, in pieces.

    A piece is a number, which is new for each result that is no view: the address of a
    storage may be used again.

    Args:
        state: the parameters, buffers and tensor attributes of the model.

    Attributes:
        writes: when each piece was written last, and by which node.

    Example:
        >>> memory = Memory([])
        >>> x = torch.ones(4)
        >>> returned = RecordedReturn("x", order=3, calls=1)
        >>> memory.holds(returned, memory.piece_of(x))
        >>> memory.write(x[:2], order=5, node="add_")
        >>> returned.overwritten
        5
    """

    def __init__(self, state: Iterable[torch.Tensor]) -> None:
        self._state = {storage_of(tensor) for tensor in state}
        self._pieces: dict[int, int] = {}
        self._count = 0
        self._held: dict[int, list[RecordedNode | RecordedReturn]] = {}
        self.writes: dict[int, tuple[int, str]] = {}

    def piece_of(self, tensor: torch.Tensor) -> int:
        """The piece that a tensor is in."""
        storage = storage_of(tensor)
        piece = self._pieces.get(storage)
        return self._new(storage) if piece is None else piece

    def piece_of_result(self, tensor: torch.Tensor, read: Collection[int]) -> int:
        """The piece that the result of an operation is in: a new one, if it is no view.

        Args:
            tensor: the result.
            read: the storages that the operation read.
        """
        storage = storage_of(tensor)
        if storage in read or storage in self._state:
            return self.piece_of(tensor)
        return self._new(storage)

    def _new(self, storage: int) -> int:
        self._count += 1
        self._pieces[storage] = self._count
        return self._count

    def write(self, tensor: torch.Tensor, order: int, node: str) -> None:
        """Note that a node wrote into a tensor, over the values that are in its memory."""
        piece = self.piece_of(tensor)
        self.writes[piece] = (order, node)
        for value in self._held.pop(piece, ()):
            if value.overwritten is None:
                value.overwritten = order

    def holds(self, value: RecordedNode | RecordedReturn, piece: int) -> None:
        """Note that a value is in a piece, to tell when it is overwritten."""
        self._held.setdefault(piece, []).append(value)

    def last_write(self, storage: int) -> tuple[int, str] | None:
        """When what is in a storage was written last, and by which node."""
        return self.writes.get(self._pieces.get(storage, 0))
