import gc
import warnings
import weakref

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fxexplore import plot_feature_maps
from fxexplore.views.feature_maps import channel_grid, statistics

DTYPES = [
    torch.float16, torch.bfloat16, torch.float64, torch.complex64, torch.int8, torch.uint8,
    torch.bool,
]  # fmt: skip


def image_of(figure, row=0):
    return np.asarray(figure.axes[row].images[0].get_array().filled(np.nan))


def test_a_channel_stands_in_its_tile_the_right_way_up():
    maps = torch.zeros(1, 8, 5, 7)
    maps[0, 7, 1, 2] = 3.0  # channel 7 is the second tile of the second row
    pixels = image_of(plot_feature_maps({"a": maps}, channels=8))
    assert pixels.shape == (5 + 1 + 5, 6 * 8 - 1)
    assert [tuple(place) for place in np.argwhere(pixels == 1)] == [(6 + 1, 8 + 2)]


def test_tiles_are_apart_and_the_missing_ones_empty():
    pixels = channel_grid(torch.rand(7, 4, 4), 7).pixels
    assert pixels[:, 4].isnan().all()
    assert pixels[4].isnan().all()
    assert pixels[5:, 5:].isnan().all()


def test_each_channel_has_its_own_scale():
    maps = torch.stack([torch.rand(6, 6), 1000 * torch.rand(6, 6)])
    pixels = channel_grid(maps, 2).pixels
    for tile in (pixels[:, :6], pixels[:, 7:]):
        assert (tile.min(), tile.max()) == (0, 1)


def test_the_number_of_channels_is_bounded_and_said():
    figure = plot_feature_maps({"a": torch.rand(1, 64, 8, 8)}, channels=12)
    assert figure.axes[0].get_title(loc="right") == "12 of 64 channels"
    assert image_of(figure).shape == (2 * 9 - 1, 6 * 9 - 1)


def test_the_item_of_the_batch_is_chosen():
    maps = torch.zeros(2, 1, 4, 4)
    maps[1, 0, 2, 3] = 1
    assert image_of(plot_feature_maps(maps, index=0)).max() == 0
    assert image_of(plot_feature_maps(maps, index=1))[2, 3] == 1


def test_tokens_are_a_heat_map():
    tokens = torch.rand(1, 10, 16)
    assert np.allclose(image_of(plot_feature_maps(tokens)), tokens[0])


def test_vectors_are_bars():
    bars = plot_feature_maps(torch.tensor([[1.0, 5.0, 2.0]])).axes[0].patches
    assert [bar.get_height() for bar in bars] == [1, 5, 2]


def test_nested_outputs_are_named_by_their_place():
    features = {"a": {"b": torch.rand(1, 4)}, "c": (torch.rand(1, 3, 4, 4), None)}
    titles = [axes.get_title(loc="left") for axes in plot_feature_maps(features).axes]
    assert titles == ["a.b", "c[0]"]


def test_names_are_no_formulas():
    figure = plot_feature_maps({"a$x_1$b": torch.rand(1, 2, 4, 4)})
    figure.canvas.draw()
    assert not figure.axes[0].title.get_parse_math() or figure.axes[0].get_title(loc="left")


def test_statistics_count_what_is_not_finite():
    text = statistics(torch.tensor([0.0, 1.0, float("nan"), float("inf")]))
    assert text == "4 · 0 … 1 · mean 0.5 · 50 % zeros · 2 not finite"


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.integers(0, 5), max_size=5),
    st.sampled_from(DTYPES),
    st.booleans(),
)
def test_any_tensor_can_be_drawn(shape, dtype, transposed):
    values = torch.randn(shape).mul(5).to(dtype)
    if transposed and values.ndim > 1:
        values = values.transpose(0, -1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plot_feature_maps({"a": values}).canvas.draw()


def test_values_that_require_gradients_are_drawn_as_they_are():
    value = torch.rand(1, 2, 4, 4, requires_grad=True)
    plot_feature_maps(value)
    assert value.grad is None


@pytest.mark.parametrize(
    ("features", "options", "message"),
    [
        ({}, {}, "no tensor"),
        ({"a": "text"}, {}, "no tensor"),
        (torch.rand(1, 1, 2, 2), {"channels": 0}, "channels is 0"),
        (torch.empty(1, 2, 4, 4, device="meta"), {}, "meta device"),
    ],
)
def test_what_cannot_be_drawn_is_said(features, options, message):
    with pytest.raises(ValueError, match=message):
        plot_feature_maps(features, **options)


def test_figures_are_neither_registered_nor_kept():
    figure = weakref.ref(plot_feature_maps(torch.rand(1, 4, 8, 8)))
    gc.collect()
    assert plt.get_fignums() == []
    assert figure() is None
