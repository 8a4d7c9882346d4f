"""Find what a model takes by trying.

The first guesses are those that the first layer, the names of forward's arguments and a few
attributes imply. A trial is one recorded run. Where it raises, :mod:`.next_guesses` tells what to
try next.
"""

from __future__ import annotations

import heapq
import inspect
import itertools
import math
import re
import time
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

from torch import nn

from fxexplore.feature_extraction import Recording, hook, patch, record, restores

from .example_inputs import as_model_has_it
from .next_guesses import PICTURE, Guess, steps
from .samples import FRAMES, TOKENS

SECONDS = 1.0  # for all trials together
_MOST = 2**22  # numbers in an argument
_SIDE, _STEPS = 224, 256


class Found(NamedTuple):
    """What a model runs on.

    Attributes:
        arguments: the guessed arguments by name.
        trials: how many runs it took.
        is_sure: whether the last run went through; else there was no time for all of it.
    """

    arguments: dict[str, Guess]
    trials: int
    is_sure: bool


class _OutOfTime(Exception):  # noqa: N818  # no error: it ends a trial
    """There is no time for the rest of a trial."""


def find_arguments(model: nn.Module, firsts: list[dict[str, Guess]]) -> Found:
    """Try arguments, and those that the trials lead to, for a second in all.

    Args:
        model: the model; it is left as it is.
        firsts: what to begin with, the likeliest first.

    Returns:
        The first with which the model runs; no arguments if there are none.
    """
    deadline = time.monotonic() + SECONDS
    # The likeliest steps first; of those the ones from the trial that came furthest, or was last.
    queue = [(0, 0, 0, i, first) for i, first in enumerate(firsts)]
    seen: set[str] = set()
    trials = furthest = 0
    while queue and time.monotonic() < deadline:
        cost, *_, arguments = heapq.heappop(queue)
        key = repr([guess[:3] for guess in arguments.values()] + list(arguments))
        if key in seen or any(math.prod(guess.shape) > _MOST for guess in arguments.values()):
            continue
        seen.add(key)
        trials += 1
        began = time.monotonic()
        recording = _tried(model, arguments, deadline)
        if recording is None:
            continue
        ran, failure = len(recording.nodes), recording.failure
        if failure is None:
            return Found(arguments, trials, is_sure=True)
        if failure.kind == _OutOfTime.__name__:
            # What ran for so long without an error is likely to go on like that.
            is_likely = ran > furthest and time.monotonic() - began > SECONDS / 2
            return Found(arguments if is_likely else {}, trials, is_sure=False)
        furthest = max(furthest, ran)
        for i, (more, step) in enumerate(steps(model, arguments, recording, _by_name)):
            heapq.heappush(queue, (cost + more, -ran, -trials, i, step))
    return Found({}, trials, is_sure=False)


@restores
def _tried(model: nn.Module, arguments: dict[str, Guess], deadline: float) -> Recording | None:
    """What a model does with some arguments; None if it cannot be recorded."""

    def check(*_: Any) -> None:
        if time.monotonic() > deadline:
            raise _OutOfTime

    patch(warnings, "filters", [("ignore", None, Warning, None, 0)])
    values = as_model_has_it(model, {name: guess.value for name, guess in arguments.items()})
    try:
        args, kwargs = as_called(model, values)
        for module in model.modules():  # and not at every operation: some of them put things back
            hook(module, check, before=True)
        return record(model, args, kwargs, training=False, partial=True)
    except Exception:  # noqa: BLE001  # whatever it was, the guess was wrong
        return None


def as_called(model: nn.Module, values: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Arguments as forward is called with them: by position as far as they go.

    Args:
        model: the model.
        values: the arguments by name.
    """
    args, left = [], dict(values)
    for name, parameter in inspect.signature(model.forward).parameters.items():
        if name not in left or parameter.kind is parameter.KEYWORD_ONLY:
            break
        args.append(left.pop(name))
    return tuple(args), left


# --- what to begin with --------------------------------------------------------------------


def first_guesses(model: nn.Module, first: nn.Module | None) -> list[dict[str, Guess]]:
    """What to begin with: every argument by its name, else as the first layer takes it.

    Args:
        model: the model.
        first: its first layer, if it has one that implies a shape.
    """
    variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    every = [
        p for p in inspect.signature(model.forward).parameters.values() if p.kind not in variable
    ]
    parameters = [p for p in every if p.default is p.empty] or every[:1]
    names = [p.name for p in parameters]
    return [
        {p.name: _by_name(model, p, main, names) or main for p in parameters}
        for main in _by_layer(model, first)
    ]


_CONVS, _NORMS = nn.modules.conv, nn.modules.batchnorm
_WIDE: dict[type[nn.Module], Callable[[Any], list[tuple[int, ...]]]] = {
    _CONVS._ConvTransposeNd: lambda layer: [
        (1, layer.in_channels, *[side] * len(layer.kernel_size))
        for side in ((1,) if layer.stride[0] == 1 else (8, 1))
    ],
    nn.Conv1d: lambda layer: [(1, layer.in_channels, _STEPS)],
    nn.Conv3d: lambda layer: [
        (1, layer.in_channels, *sides) for sides in ((64, 64, 64), (FRAMES, 112, 112))
    ],
    nn.Linear: lambda layer: [(1, layer.in_features), (1, TOKENS, layer.in_features)],
    nn.RNNBase: lambda layer: [(1, TOKENS, layer.input_size)],
    nn.RNNCellBase: lambda layer: [(1, layer.input_size)],
    nn.MultiheadAttention: lambda layer: [(1, TOKENS, layer.embed_dim)],
    nn.LayerNorm: lambda layer: [(1, TOKENS, *layer.normalized_shape)],
    nn.GroupNorm: lambda layer: [(1, layer.num_channels, 32, 32)],
    nn.BatchNorm1d: lambda layer: [(1, layer.num_features)],
    _NORMS._NormBase: lambda layer: [(1, layer.num_features, 32, 32)],
}
EMBEDDINGS = (nn.Embedding, nn.EmbeddingBag)
LAYERS = (_CONVS._ConvNd, *EMBEDDINGS, *_WIDE)
_SIZES = ("image_size", "img_size", "sample_size", "input_size", "resolution", "input_resolution")


def _by_layer(model: nn.Module, first: nn.Module | None) -> list[Guess]:
    side = picture_side(model)
    if isinstance(first, EMBEDDINGS):
        return [Guess("ids", (1, TOKENS), first.num_embeddings)]
    if isinstance(first, nn.Conv2d):
        return [Guess("noise", (1, first.in_channels, *side))]
    for kind, shapes in _WIDE.items():
        if isinstance(first, kind):
            return [Guess("noise", shape) for shape in shapes(first)]
    return [Guess("noise", shape) for shape in ((1, 64), (1, 3, *side), (1, TOKENS, 64))]


def picture_side(model: nn.Module) -> tuple[int, int]:
    """Height and width of pictures, if an attribute of the model or its config tells.

    Example:
        >>> picture_side(nn.Conv2d(3, 8, 3))
        (224, 224)
    """
    owners = [model, *(getattr(model, name, None) for name in ("config", "hparams", "patch_embed"))]
    for owner, name in itertools.product(owners, _SIZES):
        size = getattr(owner, name, None)
        sizes = (size, size) if isinstance(size, int) else size
        if isinstance(sizes, (tuple, list)) and all(type(s) is int and s > 1 for s in sizes[-2:]):
            height, width = (*sizes, *sizes)[-2:]
            return height, width
    return _SIDE, _SIDE


_VALUES = {"bool": False, "int": 1, "float": 0.5}
_STATE = re.compile(r"^h[x0t]?$|^h_?(prev|cur|0|t)$|hidden$|state$")
_IDS = re.compile(
    r"ids?$|idx|index|token|word|char|text|sentence|sequence|seq$|src|source|tgt|trg|target|label|"
    r"class|user|item|question|query|caption|^y$|categor"
)
# Arguments by their names.
_NAMES: list[tuple[re.Pattern[str], Guess]] = [
    (re.compile("mask"), Guess("ones", (1, TOKENS))),
    (re.compile("offset"), Guess("count", (1,), 0)),
    (re.compile("len"), Guess("count", (1,), TOKENS)),
    (re.compile(r"^ts?$|time_?step|^time$|sigma|noise_level"), Guess("count", (1,))),
    (re.compile("adj"), Guess("ones", (1, 1))),
    (re.compile("edge"), Guess("ids", (2, TOKENS))),
]
_BESIDE_PICTURES = [
    (re.compile("pooled"), Guess("noise", (1, 64))),
    (re.compile("hidden_states|context|memory|embed"), Guess("noise", (1, TOKENS, 64))),
]


def _by_name(
    model: nn.Module, parameter: inspect.Parameter, main: Guess, names: list[str]
) -> Guess | None:
    """An argument by its annotation, or by its name if there are others; None if that says nothing.

    Args:
        model: the model.
        parameter: the argument.
        main: what the first layer takes.
        names: those of all arguments.
    """
    name, annotation = parameter.name.lower(), str(parameter.annotation)
    kind = getattr(parameter.annotation, "__name__", annotation)
    if kind in _VALUES:
        return Guess("value", (), _VALUES[kind])
    if annotation.lower().startswith("list["):
        return Guess("list", (3, _SIDE, _SIDE))
    is_beside = len(main.shape) >= PICTURE and parameter.name != names[0]
    for pattern, guess in [*(_BESIDE_PICTURES if is_beside else []), *_NAMES]:
        if len(names) > 1 and pattern.search(name):
            return guess
    if len(names) > 1 and _STATE.search(name):
        return _state(model)
    return _of_ids(model, name, main, names)


def _of_ids(model: nn.Module, name: str, main: Guess, names: list[str]) -> Guess | None:
    if main.kind == "ids":
        return main.of_shape(TOKENS) if "offsets" in names else None
    embeddings = [m for m in model.modules() if isinstance(m, EMBEDDINGS)]
    if not embeddings or not _IDS.search(name):
        return None
    is_label = name == "y" or (re.search("label|class", name) and len(main.shape) >= PICTURE)
    return Guess("ids", (1,) if is_label else (1, TOKENS), embeddings[0].num_embeddings)


def _state(model: nn.Module) -> Guess | None:
    """The state of the first recurrent layer, or one as wide as an attribute says."""
    for layer in model.modules():
        if isinstance(layer, (nn.RNNBase, nn.RNNCellBase)):
            kind = "pair" if isinstance(layer, (nn.LSTM, nn.LSTMCell)) else "noise"
            if isinstance(layer, nn.RNNCellBase):
                return Guess(kind, (1, layer.hidden_size))
            layers = layer.num_layers * (2 if layer.bidirectional else 1)
            return Guess(kind, (layers, 1, layer.hidden_size))
    widths = (vars(model).get(name) for name in ("hidden_size", "hidden_dim", "nhid"))
    return next((Guess("noise", (1, w)) for w in widths if isinstance(w, int)), None)
