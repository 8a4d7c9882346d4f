"""What to try next, where a trial of guessed arguments raised."""

from __future__ import annotations

import inspect
import itertools
import math
import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import nn

from fxexplore.feature_extraction import Recording

from .samples import FRAMES, TOKENS, noise

PICTURE = 4  # dimensions
_FAR = 2**16
_SIDES = (
    1, 2, 4, 7, 8, 12, 14, 16, 20, 24, 28, 32, 36, 40, 48, 56, 64, 72, 80, 84, 96, 100, 105, 112,
    120, 128, 144, 160, 192, 200, 224, 227, 240, 256, 288, 299, 320, 384, 400, 448, 480, 512, 640,
    800, 1000, 1024, 2048, 4000, 8000, 16000, 32000,
)  # fmt: skip


class Guess(NamedTuple):
    """What one argument of forward may be.

    Attributes:
        kind: ``"noise"``, a ``"pair"`` or a ``"list"`` of it, ``"ids"``, ``"count"`` for integers,
            ``"ones"``, a ``"mask"`` that masks nothing, or a ``"value"`` that is no tensor.
        shape: of the tensor.
        number: all ids are below it, all counts are it, or it is the value.
        low: the least that its sides may be, as far as is known.
        top: the most.
        led: the number that its last sides led to, when they were wrong.
    """

    kind: str
    shape: tuple[int, ...] = ()
    number: Any = 1
    low: int = 1
    top: int = _FAR
    led: int = 0

    @property
    def value(self) -> Any:
        """The argument itself.

        Example:
            >>> Guess("ids", (1, 4), 3).value, Guess("value", (), False).value
            (tensor([[0, 1, 2, 0]]), False)
        """
        make = _VALUES[self.kind]
        return make(self)

    def of_shape(self, *shape: int) -> Guess:
        """The same in another shape."""
        return self._replace(shape=shape, low=1, top=_FAR, led=0)

    def with_size(self, size: int, *positions: int) -> Guess:
        """The same with other sizes at some positions of its shape."""
        places = {position % len(self.shape) for position in positions}
        return self.of_shape(*(size if i in places else s for i, s in enumerate(self.shape)))

    @property
    def is_float(self) -> bool:
        """Whether it is noise."""
        return self.kind in ("noise", "pair", "list")


_VALUES: dict[str, Callable[[Guess], Any]] = {
    "noise": lambda guess: noise(*guess.shape),
    "pair": lambda guess: (noise(*guess.shape), noise(*guess.shape)),
    "list": lambda guess: [noise(*guess.shape)],
    "ids": lambda guess: (
        torch.arange(math.prod(guess.shape)).remainder(max(1, guess.number)).reshape(guess.shape)
    ),
    "count": lambda guess: torch.full(guess.shape, guess.number),
    "ones": lambda guess: torch.ones(guess.shape),
    "mask": lambda guess: torch.zeros(guess.shape, dtype=torch.bool),
    "value": lambda guess: guess.number,
}

ByName = Callable[[nn.Module, inspect.Parameter, Guess, list[str]], Guess | None]


def steps(
    model: nn.Module, arguments: dict[str, Guess], recording: Recording, by_name: ByName
) -> Iterator[tuple[int, dict[str, Guess]]]:
    """The arguments to try next, and how unlikely each step is.

    Args:
        model: the model.
        arguments: what was tried.
        recording: the trial, which raised.
        by_name: guesses an argument by its name.
    """
    failed = _FailedTrial(model, recording)
    named = failed.feeding or [n for n, g in arguments.items() if g.shape in failed.given]
    for cost, learn in ((0, failed.told), (1, _in_the_dark)):
        for name in named or arguments:
            guess = arguments[name]
            for changed in learn(guess) if guess.kind != "value" else ():
                # What looks the same changes together at first, as the two pictures of a pair.
                same = {n for n, other in arguments.items() if other == guess}
                for names in (same, {name}) if len(same) > 1 else (same,):
                    yield cost, arguments | dict.fromkeys(names, changed)
    yield from ((0, arguments | shares) for shares in failed.shared(arguments))
    for parameter in failed.asked_for(arguments):
        main = next(iter(arguments.values()))
        guess = by_name(model, parameter, main, [*arguments, parameter.name]) or main
        yield 0, arguments | {parameter.name: guess}


# In the messages of torch: shapes and numbers of dimensions that are wanted, and sizes that were
# got and are wanted.
_SHAPES = re.compile(
    r"(?:should be|shape of|hidden(?:\[\d\])? size) (?:torch\.Size\()?\(([\d, ]+?),?\)"
)
_RANKS = re.compile(
    r"(\d)-?D \(batched\)|expected (\d)D|[Ee]xpected (\d) dim|to unpack \(expected (\d)|"
    r"to be 2D or (\d)D|len\(dims\) = (\d)|in the equation \((\d)\)|"
    r"same number of dimensions: got (\d) and (\d)"
)
_SIZES = [
    re.compile(pattern)
    for pattern in (
        r"cannot be multiplied \(\d+x(?P<got>\d+) and (?P<want>\d+)x",
        r"to have (?P<want>\d+) channels, but got (?P<got>\d+)",
        r"Expected (?:size )?(?P<want>\d+),? (?:but )?got (?:size )?(?P<got>\d+)",
        r"got (?P<got>\d+),? but expected (?P<want>\d+)",
        r"\[\*(?:, \d+)*, (?P<want>\d+)\], but got input of size\s?\[(?:\d+, )*(?P<got>\d+)\]",
        r"should contain (?P<got>\d+) elements not (?P<want>\d+)",
        r"dimension of (?P<want>\d+), but got (?P<got>\d+)",
        r"tensor a \((?P<got>\d+)\) must match the size of tensor b \((?P<want>\d+)\)",
        r"tensor a \((?P<want>\d+)\) must match the size of tensor b \((?P<got>\d+)\)",
    )
]
_VIEW = re.compile(r"shape '\[([-\d, ]+)\]' is invalid for input of size (\d+)")
_SMALL = re.compile(r"too small|greater than actual|less than|at least|negative|smaller than")
_NO_ID = re.compile(r"out of range|out of bounds|smaller than num")


class _FailedTrial:
    """What a trial that raised tells about the arguments.

    Args:
        model: the model.
        recording: the trial.

    Attributes:
        feeding: the arguments that led to the place where it raised, if that is known.
        given: the shapes that met there.
    """

    def __init__(self, model: nn.Module, recording: Recording) -> None:
        failure = recording.failure
        assert failure is not None
        self._model, self._node, self._text = model, failure.node, failure.message
        self.given = [v.shape for v in failure.given.values() if hasattr(v, "shape")]
        self.feeding = _feeding(recording)

    def told(self, guess: Guess) -> Iterator[Guess]:
        """What the message says."""
        yield from self._of_other_kind(guess)
        for found in _SHAPES.findall(self._text):
            yield guess.of_shape(*map(int, re.findall(r"\d+", found)))
        for rank in self._ranks(guess):
            yield from _at_rank(guess, rank)
        for got, want in self._sizes():
            yield from _resized(guess, got, want)
        if "must match except" in self._text and len(guess.shape) >= PICTURE:
            # What was halved and doubled again has its size only if that could be halved so often.
            yield from (guess.with_size(side, *range(2, len(guess.shape))) for side in (64, 256))
        if _SMALL.search(self._text):
            longest = max(guess.shape[1:], default=1)
            yield from _scaled(guess._replace(low=longest + 1), 1, 4)

    def shared(self, arguments: dict[str, Guess]) -> Iterator[dict[str, Guess]]:
        """Arguments that are joined share the width that is wanted."""
        joined = {n: g for n, g in arguments.items() if n in self.feeding and g.is_float}
        for _, want in itertools.islice(self._sizes(), 2):
            if 1 < len(joined) <= want:
                each = want // len(joined)
                sizes = [want - each * (len(joined) - 1), *[each] * len(joined)]
                pairs = zip(joined.items(), sizes, strict=False)
                yield {name: guess.with_size(size, _wide(guess)) for (name, guess), size in pairs}

    def asked_for(self, arguments: dict[str, Guess]) -> list[inspect.Parameter]:
        """Arguments that are None by default, where one is named or None is what went wrong."""
        parameters = inspect.signature(self._model.forward).parameters.values()
        left = [p for p in parameters if p.default is None and p.name not in arguments]
        named = [p for p in left if re.search(rf"\b{p.name}\b", self._text)]
        return named or (left if "NoneType" in self._text else [])

    def _of_other_kind(self, guess: Guess) -> Iterator[Guess]:
        kind, shape, text = guess.kind, guess.shape, self._text
        if kind in ("ones", "noise") and re.search("[Bb]ool", text):
            yield guess._replace(kind="mask")
        if kind == "noise" and re.search(r"Long|indices|index tensor|integer", text):
            for ids in ((1, TOKENS), (1,)):
                yield Guess("ids", ids, self._ids() or 1)
        if kind == "noise" and re.search(r"unpack \(expected 2|tuple", text):
            yield guess._replace(kind="pair")
        if kind in ("ids", "count") and re.search("[Ff]loat|type", text):
            yield Guess("noise", shape)
        if kind == "count" and re.search("[Ll]ength", text):
            yield guess._replace(number=1)
        if kind in ("ids", "count") and _NO_ID.search(text):
            most = self._ids() or 1
            if kind == "ids" and most < shape[-1]:
                yield guess.with_size(most, -1)  # there may be no more positions
            yield guess._replace(number=min(guess.number, most) if kind == "ids" else 0)

    def _ids(self) -> int | None:
        """How many ids there are in the table where it raised."""
        told = re.search(r"with size (\d+)", self._text)
        if told is not None:
            return int(told[1])
        if self._node is not None and self._node.op == "call_module":
            layer = dict(self._model.named_modules(remove_duplicate=False))[self._node.target]
            return getattr(layer, "num_embeddings", None)
        return next((shape[0] for shape in self.given[1:] if shape), None)

    def _ranks(self, guess: Guess) -> Iterator[int]:
        """How many dimensions the guess may need."""
        rank = len(guess.shape)
        for found in _RANKS.finditer(self._text):
            for wanted in map(int, filter(None, found.groups())):
                if self._node is not None and self.given:
                    yield rank + wanted - len(self.given[0])  # it came there with others
                yield wanted
        out = re.search(r"\[-\d, \d\], but got (-?\d+)", self._text)
        if out is not None:
            yield int(out[1]) + 1 if int(out[1]) > 0 else -int(out[1])
        if "tuple index out of range" in self._text or "too many indices" in self._text:
            yield rank + 1

    def _sizes(self) -> Iterator[tuple[int, int]]:
        """Sizes that were got, and those that are wanted."""
        for pattern in _SIZES:
            for found in pattern.finditer(self._text):
                yield int(found["got"]), int(found["want"])
        view = _VIEW.search(self._text)
        if view is not None:
            sizes = [abs(int(size)) for size in view[1].split(",")]
            yield int(view[2]), math.prod(sizes)
            yield int(view[2]), max(sizes)


def _feeding(recording: Recording) -> list[str]:
    """The arguments that led to the node that raised, by name; none if none is known."""
    node = recording.failure.node if recording.failure is not None else None
    seen = dict.fromkeys(() if node is None else node.inputs)
    left = list(seen)
    while left:
        more = [name for name in recording.nodes[left.pop(0)].inputs if name not in seen]
        seen.update(dict.fromkeys(more))
        left += more
    return [recording.arguments[name] for name in seen if name in recording.arguments]


# --- other shapes --------------------------------------------------------------------------


def _wide(guess: Guess) -> int:
    """Where in the shape the channels or features are."""
    return 1 if len(guess.shape) >= PICTURE else -1


def _at_rank(guess: Guess, rank: int) -> Iterator[Guess]:
    """A guess with another number of dimensions, which keeps its width."""
    shape = guess.shape
    if rank == len(shape) or not shape or not 0 < rank <= PICTURE + 1:
        return
    if not guess.is_float:
        ids: list[tuple[int, ...]] = [(TOKENS,), (1,)] if rank == 1 else [(1, TOKENS), (TOKENS, 1)]
        yield from (guess.of_shape(*form) for form in ids if rank <= len(ids))
        return
    width = shape[_wide(guess)]
    sides = shape[-2:] if len(shape) >= PICTURE else (32, 32)
    forms: dict[int, list[tuple[int, ...]]] = {
        1: [(width,)],
        2: [(1, width), (TOKENS, width)],
        3: [(1, TOKENS, width), (1, width, 256)],
        4: [(1, 3, 64, 64), (1, 1, 28, 28), (1, width, *sides)],
        5: [(1, TOKENS, *shape[1:]), (1, width, FRAMES, *sides)],
    }
    if 2 < rank < len(shape):  # noqa: PLR2004  # a picture without channels
        yield guess.of_shape(1, *shape[1 - rank :])
    yield from (guess.of_shape(*form) for form in forms[rank] if len(form) == rank)


def _resized(guess: Guess, got: int, want: int) -> Iterator[Guess]:
    """A guess with other sizes, for it led to ``got`` where ``want`` was needed."""
    shape = guess.shape
    if got == want or not shape or min(got, want) < 1:
        return
    places = [i for i, size in enumerate(shape) if size == got and (i or len(shape) == 1)]
    if places and want in shape[1:]:
        yield guess.with_size(want, places[-1]).with_size(got, shape.index(want, 1))
    if places:
        yield guess.with_size(want, *places)
        yield guess.with_size(want, places[-1])
    elif shape[0] == got and len(shape) == 2 and guess.kind != "ids":  # noqa: PLR2004
        yield guess.with_size(want, 0)
    if guess.is_float:
        width = shape[_wide(guess)]
        if width * want % got == 0:
            yield guess.with_size(width * want // got, _wide(guess))
        if width + want > got:
            yield guess.with_size(width + want - got, _wide(guess))
    yield from _scaled(guess, got, want)


def _scaled(guess: Guess, got: int, want: int) -> Iterator[Guess]:
    """A guess with longer or shorter sides, looked for between those that were wrong."""
    shape = guess.shape
    start = _start_of_sides(guess)
    sides = shape[start:] if start > 1 or _is_square(shape) else shape[start : start + 1]
    if not sides or guess.led == got > 1 or not (guess.is_float or guess.kind == "ids"):
        return  # a number that stayed as it was does not depend on the sides
    side = math.prod(sides) ** (1 / len(sides))
    low = max(guess.low, math.floor(side) + 1) if got < want else guess.low
    top = min(guess.top, math.ceil(side) - 1) if got > want else guess.top
    aim = side * (want / got) ** (1 / len(sides))
    exact = min(max(round(aim), low), top)
    usual = min(_SIDES, key=lambda s: (not low <= s <= top, abs(s - aim)))
    if low <= usual <= top and abs(usual - aim) <= aim / 8:
        exact = usual
    if low <= exact <= top:
        sized = (*shape[:start], *[exact] * len(sides), *shape[start + len(sides) :])
        yield guess._replace(shape=sized, low=low, top=top, led=got)


def _is_square(shape: tuple[int, ...]) -> bool:
    return len(shape) == 3 and shape[1] == shape[2]  # noqa: PLR2004


def _start_of_sides(guess: Guess) -> int:
    """Where in the shape the sides begin: after the channels, if those come first."""
    shape = guess.shape
    steps_last = len(shape) == 3 and shape[2] > shape[1]  # noqa: PLR2004
    return 2 if guess.is_float and (len(shape) >= PICTURE or steps_last) else 1


def _in_the_dark(guess: Guess) -> Iterator[Guess]:
    """Other guesses, where nothing is told."""
    if guess.kind == "ids":
        for shape in ((TOKENS,), (1,), (1, 4), (1, 2), (1, 1), (TOKENS, 1)):
            yield guess.of_shape(*shape)
        yield Guess("noise", guess.shape)
    elif guess.is_float:
        for rank in (4, 3, 2, 1):
            yield from _at_rank(guess, rank)
        for side in (32, 28, 64, 256, 128, 96, 16):
            if len(guess.shape) > 2:  # noqa: PLR2004
                yield guess.of_shape(*guess.shape[:2], *[side] * len(guess.shape[2:]))
