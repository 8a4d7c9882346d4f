"""How alike two sets of features are: which layers of two models see the same."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import torch

from .store import FeatureStore


@dataclasses.dataclass(frozen=True)
class Similarity:
    """How alike the features of two sets of nodes are.

    Attributes:
        values: rows × columns.
        rows: the keys of the first.
        columns: the keys of the second.
        method: ``"cka"`` or ``"rsa"``.
        samples: how many samples they were compared on.
    """

    values: torch.Tensor
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    method: str
    samples: int

    def __repr__(self) -> str:
        size = f"{len(self.rows)} × {len(self.columns)}"
        return f"Similarity({self.method}, {size}, {self.samples} samples)"

    def plot(self) -> Any:
        """The matrix as a picture, with its numbers where there is room.

        Returns:
            A ``matplotlib.figure.Figure``.
        """
        from matplotlib.figure import Figure

        height, width = 0.4 * len(self.rows) + 1.2, 0.5 * len(self.columns) + 2
        figure = Figure(figsize=(width, height), layout="constrained")
        axes = figure.subplots()
        picture = axes.imshow(self.values.numpy(), vmin=0, vmax=1, aspect="auto")
        words = [
            [name.replace("$", r"\$") for name in names] for names in (self.rows, self.columns)
        ]
        axes.set_yticks(range(len(self.rows)), words[0], fontsize=7)
        axes.set_xticks(range(len(self.columns)), words[1], rotation=90, fontsize=7)
        for i, row in enumerate(self.values):
            for j, value in enumerate(row):
                colour = "white" if value < 0.5 else "black"  # noqa: PLR2004
                axes.text(j, i, f"{value:.2f}", ha="center", va="center", color=colour, fontsize=6)
        figure.colorbar(picture, label=self.method.upper())
        return figure


def similarity(
    a: FeatureStore | Mapping[str, Any],
    b: FeatureStore | Mapping[str, Any] | None = None,
    *,
    method: Literal["cka", "rsa"] = "cka",
    batch_size: int = 256,
) -> Similarity:
    """Compare features of the same samples: all keys of ``a`` with all keys of ``b``.

    Args:
        a: a store, or a dict from key to an array or tensor of samples × value.
        b: the same for other nodes, or another model; by default ``a``.
        method: ``"cka"``: linear centred kernel alignment in minibatches, by the unbiased
            estimator of Nguyen, Raghu and Kornblith, "Do Wide and Deep Networks Learn the Same
            Things?" (2021). ``"rsa"``: representational similarity analysis of Kriegeskorte, Mur
            and Bandettini (2008): the rank correlation of the distances (1 − correlation) between
            all samples, which keeps a matrix of samples × samples for each key.
        batch_size: how many samples go into a minibatch, at least 4; the last ones are left out
            if they are fewer than 4.

    Returns:
        A matrix of similarities; 1 is the same up to rotation and scale.

    Raises:
        ValueError: if the samples are not the same or too few, or ``method`` is unknown.

    Example:
        >>> x = torch.randn(64, 8, generator=torch.Generator().manual_seed(0))
        >>> found = similarity({"x": x}, {"x": x, "scaled": 3 * x})
        >>> [round(value, 3) for value in found.values[0].tolist()]
        [1.0, 1.0]
    """
    b = a if b is None else b
    samples = _samples(a, b)
    if method == "rsa":
        first, second = ({key: _distances(side[key]) for key in side} for side in (a, b))
        values = torch.stack([torch.stack([_correlation(x, y) for y in second.values()])
                              for x in first.values()])  # fmt: skip
    elif method == "cka":
        values = _cka(a, b, samples, batch_size)
    else:
        raise ValueError(f"method is {method!r}; write 'cka' or 'rsa'")
    return Similarity(values, tuple(a), tuple(b), method, samples)


_FEWEST = 4  # samples that the unbiased estimator needs


def _samples(a: Mapping[str, Any], b: Mapping[str, Any]) -> int:
    sides = [side for side in (a, b) if isinstance(side, FeatureStore)]
    if len(sides) == 2 and sides[0].ids != sides[1].ids:  # noqa: PLR2004
        raise ValueError("the two stores have other samples, or another order of them: see .ids")
    counts = {key: side.samples if isinstance(side, FeatureStore) else len(side[key])
              for side in (a, b) for key in side}  # fmt: skip
    if len(set(counts.values())) != 1:
        raise ValueError(f"all features have to be of the same samples; there are {counts}")
    count = next(iter(counts.values()))
    if count < _FEWEST:
        raise ValueError(f"there are {count} samples; at least {_FEWEST} are needed")
    return int(count)


def _cka(a: Mapping[str, Any], b: Mapping[str, Any], samples: int, size: int) -> torch.Tensor:
    if size < _FEWEST:
        raise ValueError(f"batch_size is {size}; write at least {_FEWEST}")
    across = torch.zeros(len(a), len(b), dtype=torch.float64)
    of_a, of_b = torch.zeros(len(a)).double(), torch.zeros(len(b)).double()
    for start in range(0, samples, size):
        end = min(start + size, samples)
        if end - start < _FEWEST:
            break
        first = [_gram(side) for side in _sliced(a, start, end)]
        second = first if b is a else [_gram(side) for side in _sliced(b, start, end)]
        across += torch.stack([torch.stack([_hsic(x, y) for y in second]) for x in first])
        of_a += torch.stack([_hsic(x, x) for x in first])
        of_b += torch.stack([_hsic(y, y) for y in second])
    return across / (of_a[:, None] * of_b[None]).sqrt()


def _sliced(side: Mapping[str, Any], start: int, end: int) -> Iterator[torch.Tensor]:
    for key in side:
        yield torch.as_tensor(side[key][start:end]).detach().cpu().double().flatten(1)


def _gram(rows: torch.Tensor) -> torch.Tensor:
    """Inner products of all samples; the estimator leaves out those with themselves."""
    gram = rows @ rows.T
    return gram.fill_diagonal_(0)


def _hsic(k: torch.Tensor, m: torch.Tensor) -> torch.Tensor:
    """The unbiased estimator of the Hilbert-Schmidt independence criterion.

    From Song et al., "Feature Selection via Dependence Maximization" (2012), equation 5.
    """
    n = len(k)
    whole = k.sum() * m.sum() / ((n - 1) * (n - 2))
    return ((k * m).sum() + whole - 2 / (n - 2) * (k.sum(0) @ m.sum(0))) / (n * (n - 3))


def _distances(values: Any) -> torch.Tensor:
    """The ranks of the distances of all pairs of samples."""
    rows = torch.as_tensor(values[:]).detach().cpu().double().flatten(1)
    pairs = torch.triu_indices(len(rows), len(rows), 1)
    return _ranks((1 - torch.corrcoef(rows))[pairs[0], pairs[1]])


def _ranks(values: torch.Tensor) -> torch.Tensor:
    """Ranks, equal ones sharing theirs."""
    places, counts = torch.unique(values, return_inverse=True, return_counts=True)[1:]
    ranks: torch.Tensor = (counts.cumsum(0) - (counts - 1) / 2)[places].double()
    return ranks


def _correlation(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return torch.corrcoef(torch.stack([x, y]))[0, 1]
