"""Statistics, top activations and similarity against brute force."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from fxexplore import dataset_statistics, extract_dataset, similarity, top_activations

from .cases import Branching, Small, batched, by_hooks, pictures
from .test_extraction import Tokens, _sentences

QUIET = {"progress": False}
FIGURES = {
    "mean": lambda v: v.mean(0),
    "std": lambda v: v.std(0),
    "min": lambda v: v.min(0),
    "max": lambda v: v.max(0),
    "zeros": lambda v: (v == 0).mean(0),
    "dead": lambda v: (v == 0).all(0),
}


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def _channels_last(values):
    return np.moveaxis(values.numpy(), 1, -1).reshape(-1, values.shape[1]).astype(np.float64)


@settings(max_examples=10, deadline=None)
@given(count=st.integers(1, 20), size=st.integers(1, 8), shift=st.sampled_from([0.0, 1e3]))
def test_statistics_are_those_of_the_whole_array(count, size, shift):
    model, dataset = Small(), pictures(count)
    with torch.no_grad():
        model.conv.bias += shift  # a mean that is large beside the deviation
        model.conv.weight[1], model.conv.bias[1] = 0, 0
    found = dataset_statistics(model, ["conv"], dataset, batch_size=size, **QUIET)
    values = _channels_last(by_hooks(model, ["conv"], batched(dataset, size))["conv"])
    assert found.samples == count
    for name, truth in FIGURES.items():
        result = getattr(found["conv"], name).numpy()
        np.testing.assert_allclose(result, truth(values), rtol=1e-5, atol=1e-5, err_msg=name)
    assert found["conv"].dead.tolist() == [False, True, False, False]


def test_statistics_of_parts_merge_to_those_of_the_whole():
    model, dataset = Branching(), pictures(11)
    parts = [dataset_statistics(model, ["conv"], d, **QUIET) for d in (dataset[:4], dataset[4:])]
    whole = dataset_statistics(model, ["conv"], dataset, **QUIET)
    merged = parts[0].merge(parts[1])
    assert merged.samples == 11
    for name in FIGURES:
        one, other = getattr(merged["conv"], name), getattr(whole["conv"], name)
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("by", ["channel", "token"])
def test_padding_does_not_count(by):
    model = Tokens()
    found = dataset_statistics(model, ["block"], _sentences(), by=by, batch_size=2, **QUIET)[
        "block"
    ]
    with torch.no_grad():
        ids = torch.tensor([row["input_ids"] for row in _sentences()])
        mask = torch.tensor([row["attention_mask"] for row in _sentences()]).bool()
        values = model.block(model.embed(ids))
    for i in range(4):
        kept = values[mask][:, i] if by == "channel" else values[:, i][mask[:, i]]
        assert found.mean[i].item() == pytest.approx(kept.mean().item(), rel=1e-5)
        assert found.std[i].item() == pytest.approx(kept.std(correction=0).item(), rel=1e-4)
        assert found.max[i].item() == pytest.approx(kept.max().item())


@settings(max_examples=10, deadline=None)
@given(count=st.integers(1, 20), size=st.integers(1, 8), k=st.integers(1, 6))
def test_top_activations_are_those_of_a_sort_of_everything(count, size, k):
    model, dataset = Small(), pictures(count)
    dataset = [dataset[i % max(1, count // 2)] for i in range(count)]  # with ties
    values = by_hooks(model, ["conv"], batched(dataset, size))["conv"]
    for of, judge in (("max", lambda v: v.amax((2, 3))), ("mean", lambda v: v.mean((2, 3)))):
        options = {"k": k, "of": of, "batch_size": size, **QUIET}
        top = top_activations(model, ["conv"], dataset, **options)["conv"]
        scores = judge(values).numpy()
        for channel in range(4):
            order = np.lexsort((np.arange(count), -scores[:, channel]))[:k]
            np.testing.assert_allclose(top.values[channel], scores[order, channel], atol=1e-6)
            if of == "max":
                assert top.samples[channel].tolist() == order.tolist()
            for sample, place in zip(top.samples[channel], top.positions[channel], strict=True):
                assert values[sample, channel][tuple(place)] == values[sample, channel].max()


def test_the_inputs_are_shown_with_their_place():
    top = top_activations(Small(), ["conv"], pictures(12), k=3, **QUIET)
    figure = top.plot("conv", channels=[0, 2])
    assert len(figure.axes) == 6
    assert all(len(axes.images) == 1 and len(axes.patches) == 1 for axes in figure.axes)
    with pytest.raises(ValueError, match="channel 9 is not there: 'conv' has 4"):
        top.plot("conv", channels=[9])
    words = top_activations(Tokens(), ["block"], _sentences(), k=2, **QUIET)
    texts = [axes.texts[0].get_text() for axes in words.plot("block").axes]
    assert all(text.count("[") == 1 for text in texts)


def test_similarity_by_cka_is_one_up_to_rotation_and_scale_and_small_for_noise():
    x = torch.randn(200, 6)
    turned = x @ torch.linalg.qr(torch.randn(6, 6))[0] * 3 + 1
    found = similarity({"x": x}, {"turned": turned, "noise": torch.randn(200, 6)}, batch_size=50)
    assert found.values[0, 0].item() == pytest.approx(1, abs=1e-6)
    assert abs(found.values[0, 1].item()) < 0.1


def test_similarity_of_one_batch_is_the_unbiased_estimator_by_hand():
    x, y = torch.randn(9, 4).double(), torch.randn(9, 5).double()

    def hsic(a, b):
        n, ones = len(a), torch.ones(len(a), 1).double()
        k, m = a @ a.T, b @ b.T
        k, m = k - torch.diag(k.diag()), m - torch.diag(m.diag())
        first = torch.trace(k @ m)
        second = (ones.T @ k @ ones) * (ones.T @ m @ ones) / ((n - 1) * (n - 2))
        third = ones.T @ k @ m @ ones * 2 / (n - 2)
        return ((first + second - third) / (n * (n - 3))).item()

    wanted = hsic(x, y) / (hsic(x, x) * hsic(y, y)) ** 0.5
    assert similarity({"x": x}, {"y": y}).values.item() == pytest.approx(wanted, rel=1e-9)


def test_similarity_by_rsa_is_scipys_rank_correlation_of_distances():
    from scipy.spatial.distance import pdist
    from scipy.stats import spearmanr

    x, y = torch.randn(12, 4), torch.randn(12, 7)
    wanted = spearmanr(pdist(x, "correlation"), pdist(y, "correlation")).statistic
    found = similarity({"x": x}, {"y": y}, method="rsa")
    assert found.values.item() == pytest.approx(wanted, abs=1e-6)


def test_two_stores_are_compared_and_have_to_be_of_the_same_samples(tmp_path):
    stores = [
        extract_dataset(Small(), ["conv", "fc"], pictures(n), tmp_path / str(i), **QUIET)
        for i, n in enumerate((9, 9, 8))
    ]
    found = similarity(*stores[:2])
    assert (found.rows, found.columns, found.samples) == (("conv", "fc"), ("conv", "fc"), 9)
    assert len(found.plot().axes) == 2
    with pytest.raises(ValueError, match="other samples"):
        similarity(stores[0], stores[2])


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: dataset_statistics(Small(), ["fc"], pictures(2), by="head"), "by is 'head'"),
        (lambda: dataset_statistics(Small(), ["fc"], pictures(2), by="token"), "no axis of tokens"),
        (lambda: top_activations(Small(), ["fc"], pictures(2), k=0), "k is 0"),
        (lambda: top_activations(Small(), ["fc"], pictures(2), of="median"), "of is 'median'"),
        (lambda: similarity({"x": torch.ones(9, 2)}, method="pca"), "method is 'pca'"),
        (lambda: similarity({"x": torch.ones(3, 2)}), "at least 4"),
        (lambda: dataset_statistics(Small(), ["fc"], pictures(2), batches=3), "option 'batches'"),
        (lambda: dataset_statistics(nn.Linear, ["fc"], pictures(2)), "model is"),
    ],
)
def test_what_cannot_be_done_is_said(call, words):
    with pytest.raises((ValueError, TypeError), match=words):
        call()
