"""How feature maps are drawn, as somebody asks for it."""

from __future__ import annotations

import dataclasses
import math
import operator
from collections.abc import Iterable, Sequence
from typing import Any, Literal, get_args

from .arrays import image_of

View = Literal["channels", "mean", "pca", "overlay", "histogram"]
Sort = Literal["index", "energy", "variance", "sparsity"]
Scaling = Literal["channel", "shared"]
Channels = int | Sequence[int] | slice
Query = int | tuple[int, ...]

_OPACITY = 0.55


@dataclasses.dataclass(frozen=True)
class PlotOptions:
    """How feature maps are drawn: options of ``plot_feature_maps``, which explains each.

    Raises:
        ValueError: if one is none that is known, in words.

    Example:
        >>> PlotOptions(sort="energy").changed()
        {'sort': 'energy'}
    """

    view: View = "channels"
    channels: Channels = 24
    sort: Sort = "index"
    scale: Scaling = "channel"
    index: int = 0
    query: Query | None = None
    image: Any = dataclasses.field(default=None, compare=False, repr=False)
    tokens: Sequence[str] | None = None
    opacity: float | None = None
    captions: bool = True

    def __post_init__(self) -> None:
        for name, known in (("view", View), ("sort", Sort), ("scale", Scaling)):
            value = getattr(self, name)
            if value not in get_args(known):
                known_names = ", ".join(get_args(known))
                raise ValueError(f"{name}={value!r} is not known; write one of {known_names}")
        if self.opacity is not None and not 0 <= self.opacity <= 1:
            raise ValueError(f"opacity is {self.opacity!r}; give a number from 0 to 1")
        if isinstance(self.tokens, str):
            raise ValueError("tokens is one string; give a list of names")  # noqa: TRY004
        settle = object.__setattr__  # once, in a frozen dataclass
        if not isinstance(self.channels, slice):
            words = "give how many to show, at least 1, a list of their numbers, or a slice"
            settle(self, "channels", _whole_numbers("channels", self.channels, words, least=1))
        if self.query is not None:
            words = "give a token's number, or its (row, column) in the grid"
            settle(self, "query", _whole_numbers("query", self.query, words))
        settle(self, "image", None if self.image is None else image_of(self.image))
        settle(self, "tokens", tuple(map(str, self.tokens or ())))

    def changed(self) -> dict[str, Any]:
        """The options that are not as they are by default, without ``image`` and ``tokens``."""
        fields = [f for f in dataclasses.fields(self) if f.name not in ("image", "tokens")]
        values = {field.name: getattr(self, field.name) for field in fields}
        return {f.name: values[f.name] for f in fields if values[f.name] != f.default}

    @property
    def drawn_opacity(self) -> float:
        """The opacity of what lies over the picture."""
        default = 1.0 if self.view == "pca" else _OPACITY
        return default if self.opacity is None else self.opacity

    @property
    def image_size(self) -> tuple[int, int] | None:
        """Height and width of the input picture, if there is one."""
        return None if self.image is None else (self.image.shape[0], self.image.shape[1])


def _whole_numbers(name: str, value: Any, words: str, least: float = -math.inf) -> Any:
    """A whole number, or a tuple of them; an error that says what to give, if it is neither."""
    is_several = isinstance(value, Iterable) and not isinstance(value, str)
    try:
        numbers = tuple(map(operator.index, value if is_several else [value]))
    except TypeError:
        numbers = ()
    if not numbers or value is True or not (is_several or numbers[0] >= least):
        raise ValueError(f"{name} is {value!r}; {words}")
    return numbers if is_several else numbers[0]
