"""FLOPs are those of closed forms, whatever kernel the device chooses; a multiply-add counts 2."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from fxexplore import open_model, to_text

BATCH, HEADS, QUERIES, KEYS, WIDTH = 2, 4, 10, 12, 16
ATTENTION = 4 * BATCH * HEADS * QUERIES * KEYS * WIDTH
QUERY = torch.ones(BATCH, HEADS, QUERIES, WIDTH)
KEY = torch.ones(BATCH, HEADS, KEYS, WIDTH)


class Attention(nn.Module):
    def __init__(self, **options):
        super().__init__()
        self.options = options

    def forward(self, query, key):
        return nn.functional.scaled_dot_product_attention(query, key, key, **self.options)


def flops(model, inputs, backend):
    return open_model(model.eval(), inputs, backend=backend).flops


both_backends = pytest.mark.parametrize("backend", ["symbolic", "recorded"])


@both_backends
@pytest.mark.parametrize(
    ("options", "keys"),
    [
        ({}, KEY),
        ({"attn_mask": torch.zeros(QUERIES, KEYS)}, KEY),
        ({"is_causal": True}, KEY),
        ({"scale": 2.0}, KEY),
        ({"enable_gqa": True}, KEY[:, :2]),
    ],
)
def test_fused_attention_counts_as_its_closed_form(options, keys, backend):
    assert flops(Attention(**options), (QUERY, keys), backend) == ATTENTION


@both_backends
@pytest.mark.parametrize("needs_weights", [True, False])
def test_multi_head_attention_counts_with_its_projections(needs_weights, backend):
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.attention = nn.MultiheadAttention(64, HEADS, batch_first=True)

        def forward(self, x):
            return self.attention(x, x, x, need_weights=needs_weights)[0]

    projections = 4 * 2 * BATCH * QUERIES * 64 * 64
    attention = 4 * BATCH * QUERIES * QUERIES * 64
    x = torch.ones(BATCH, QUERIES, 64)
    assert flops(Model(), x, backend) == projections + attention


@both_backends
@pytest.mark.parametrize(
    ("compute", "count"),
    [
        (lambda x: x @ x[0], 2 * 9),
        (lambda x: x[0] @ x[0], 2 * 3),
        (lambda x: torch.addmv(x[0], x, x[0]), 2 * 9),
        (lambda x: torch.einsum("ij,jk->ik", x, x), 2 * 27),
        (lambda x: nn.functional.normalize(x) + x.softmax(0), 0),
    ],
)
def test_products_with_vectors_count(compute, count, backend):
    class Model(nn.Module):
        def forward(self, x):
            return compute(x)

    assert flops(Model(), torch.ones(3, 3), backend) == count


@both_backends
@pytest.mark.parametrize("compute", [torch.linalg.inv, torch.cdist, torch.fft.fft])
def test_what_has_no_formula_is_absent_and_the_sum_says_at_least(compute, backend):
    class Inner(nn.Module):
        def forward(self, x):
            return compute(x, x) if compute is torch.cdist else compute(x)

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(3, 3)
            self.inner = Inner()

        def forward(self, x):
            return self.inner(self.fc(x))

    graph = open_model(Model().eval(), torch.eye(3), backend=backend)
    assert (graph["fc"].flops, graph["fc"].flops_at_least) == (54, False)
    assert graph["inner"].flops_at_least
    assert (graph.flops, graph.flops_at_least) == (54, True)
    assert "at least 54 FLOPs" in to_text(graph)
