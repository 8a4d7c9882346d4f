"""The figures: what stands in them, where, and in which colours. Arrays, not pixels."""

import dataclasses
import gc
import io
import warnings
import weakref
from typing import NamedTuple

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg
from transformers.modeling_outputs import BaseModelOutput

from fxexplore import channel_at, plot_channel, plot_comparison, plot_feature_maps
from fxexplore.views.feature_maps.tensors import facts
from tests.marks import mostly_thorough

DTYPES = [
    torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.complex64, torch.complex32,
    torch.int8, torch.uint8, torch.int64, torch.bool, torch.float8_e4m3fn,
]  # fmt: skip
VIEWS = ["channels", "mean", "pca", "overlay", "histogram"]
PICTURE = torch.linspace(0, 1, 3 * 20 * 30).reshape(3, 20, 30)


def draw(figure):
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return canvas.get_renderer()


def image_of(figure, row=0, layer=-1):
    return np.ma.filled(figure.axes[row].images[layer].get_array(), np.nan)


def said(figure, row=0):
    return " · ".join(text.get_text() for text in figure.axes[row].texts)


def titles(figure):
    return [axes.get_title(loc="left") for axes in figure.axes]


def only_pixel(pixels, value=1):
    return [tuple(int(i) for i in place) for place in np.argwhere(pixels == value)]


# --- every kind of tensor ------------------------------------------------------------------


def lit(*shape, at):
    values = torch.zeros(shape)
    values[at] = 3.0
    return values


def test_a_channel_stands_in_its_tile_the_right_way_up():
    pixels = image_of(plot_feature_maps({"a": lit(1, 8, 5, 7, at=(0, 7, 1, 2))}))
    assert pixels.shape == (2 * 5 + 1, 4 * 8 - 1)
    assert only_pixel(pixels) == [(6 + 1, 3 * 8 + 2)]


def test_channels_last_are_channels():
    pixels = image_of(plot_feature_maps(lit(1, 5, 7, 8, at=(0, 1, 2, 7)), layout="NHWC"))
    assert only_pixel(pixels) == [(6 + 1, 3 * 8 + 2)]
    figure = plot_feature_maps(lit(1, 7, 7, 8, at=(0, 1, 2, 7)))
    assert only_pixel(image_of(figure)) == [(8 + 1, 3 * 8 + 2)]
    assert "read as N H W C" in said(figure)


def test_tokens_are_folded_back_and_the_class_token_set_aside():
    tokens = lit(1, 50, 4, at=(0, 1 + 2 * 7 + 5, 3))
    figure = plot_feature_maps(tokens)
    assert only_pixel(image_of(figure)) == [(8 + 2, 8 + 5)]
    assert "50 tokens = 1 class + 7×7" in said(figure)
    assert "guessed" in said(figure)


def test_tokens_of_a_wide_picture_are_folded_by_its_proportions():
    tokens = lit(1, 1 + 2 * 3, 4, at=(0, 1 + 3 + 2, 0))
    figure = plot_feature_maps(tokens, image=torch.rand(3, 32, 48))
    assert only_pixel(image_of(figure)) == [(1, 2)]
    assert "7 tokens = 1 class + 2×3 · for a picture of 32×48" in said(figure)


def test_frames_of_a_video_stand_side_by_side():
    for shape, at, options in [
        ((1, 2, 4, 5, 6), (0, 1, 3, 2, 4), {"layout": "NCTHW"}),
        ((1, 4, 2, 5, 6), (0, 3, 1, 2, 4), {"layout": "NTCHW"}),
        ((1, 4, 5, 6, 2), (0, 3, 2, 4, 1), {"layout": "NTHWC"}),
    ]:
        figure = plot_feature_maps(lit(*shape, at=at), **options)
        (place,) = only_pixel(image_of(figure))
        assert place[0] % 6 == 2  # below a gap of a pixel if the strip is the second row
        assert place[1] % 28 == 3 * 7 + 4
        assert "4 frames from left to right" in said(figure)


def test_long_videos_are_sampled_and_it_is_said():
    figure = plot_feature_maps(torch.rand(1, 3, 64, 4, 4))
    assert "16 of 64 frames" in said(figure)


def test_attention_is_a_map_per_head():
    weights = torch.eye(9).expand(1, 2, 9, 9).contiguous()
    figure = plot_feature_maps(weights)
    assert image_of(figure).shape == (9, 2 * 9 + 1)
    assert "attention" in said(figure)
    assert "rows are queries, columns keys" in said(figure)
    row = plot_feature_maps(weights, query=4, tokens=list("abcdefghi"))
    assert only_pixel(image_of(row)) == [(0, 4), (1, 4)]
    assert [t.get_text() for t in row.axes[0].get_xticklabels()] == list("abcdefghi")


def test_attention_of_a_query_is_laid_over_the_picture():
    weights = torch.zeros(1, 2, 7, 7)
    weights[..., 1 + 3 + 2] = 1  # all weight on the bottom right of a 2×3 grid behind a class token
    figure = plot_feature_maps(weights, image=torch.rand(3, 32, 48), query=(0, 1))
    tile = image_of(figure)[:32, :48]
    row, column = np.unravel_index(tile.argmax(), tile.shape)
    assert row > 20
    assert column > 36
    (mark, _) = figure.axes[0].patches
    assert (mark.get_x(), mark.get_y(), mark.get_width(), mark.get_height()) == (15.5, -0.5, 16, 16)
    assert "attention of query token 2" in said(figure)


def test_sequences_are_heat_maps():
    tokens = torch.rand(1, 10, 16)
    by_token = image_of(plot_feature_maps(tokens, scale="shared", layout="NLC"))
    low, high = tokens.min(), tokens.max()
    assert np.allclose(by_token, (tokens[0] - low) / (high - low), atol=1e-6)
    by_channel = image_of(plot_feature_maps(tokens, scale="shared", layout="NCL"))
    assert np.allclose(by_channel, by_token)


def test_vectors_are_sorted_bars_and_the_highest():
    figure = plot_feature_maps(torch.tensor([[1.0, 5.0, float("nan"), -2.0]]))
    curve, top = figure.axes[0].child_axes
    assert curve.patches[0].get_data().values[:3].tolist() == [5, 1, -2]
    assert [label.get_text() for label in top.get_yticklabels()] == ["1", "0", "3", "2"]


def test_maps_of_one_place_are_vectors():
    figure = plot_feature_maps(torch.rand(1, 9, 1, 1))
    assert len(figure.axes[0].child_axes) == 2


def test_ids_and_single_channels_are_curves():
    ids = torch.tensor([[4, 8, 15, 16]])
    (curve,) = plot_feature_maps(ids).axes[0].lines
    assert curve.get_ydata().tolist() == [4, 8, 15, 16]


def test_a_scalar_is_its_number():
    assert "3.5" in said(plot_feature_maps({"loss": torch.tensor(3.5)}))
    assert "7" in said(plot_feature_maps({"steps": 7}))


def test_what_cannot_be_placed_is_a_histogram():
    values = torch.rand(2, 2, 2, 2, 2, 2)
    (bars,) = plot_feature_maps(values).axes[0].patches
    assert bars.get_data().values.sum() == 64


def test_a_mask_and_an_integer_map_are_drawn():
    mask = torch.zeros(1, 1, 4, 6, dtype=torch.bool)
    mask[0, 0, 1, 5] = True
    assert only_pixel(image_of(plot_feature_maps(mask))) == [(1, 5)]
    assert only_pixel(image_of(plot_feature_maps(mask[0], layout="NHW"))) == [(1, 5)]


def test_nested_outputs_are_named_by_their_place():
    @dataclasses.dataclass
    class Record:
        low: torch.Tensor
        high: torch.Tensor | None = None

    class Pair(NamedTuple):
        x: torch.Tensor

    features = {
        "a": {"b": torch.rand(1, 4)}, "c": (torch.rand(1, 3, 4, 4), None),
        "d": Record(torch.rand(2)), "e": Pair(torch.rand(2)),
        "f": BaseModelOutput(last_hidden_state=torch.rand(1, 3, 4)),
    }  # fmt: skip
    assert titles(plot_feature_maps(features)) == [
        "a.b", "c[0]", "d.low", "e.x", "f.last_hidden_state"
    ]  # fmt: skip


def test_a_tensor_on_the_meta_device_is_a_message():
    figure = plot_feature_maps({"a": torch.empty(1, 2, 4, 4, device="meta")})
    assert "no values: on the meta device" in said(figure)


# --- ways to look --------------------------------------------------------------------------


def test_channels_are_chosen_by_number_list_or_slice():
    maps = torch.zeros(1, 8, 4, 4)
    maps[0, :, 0, 0] = torch.arange(8.0)
    for channels, expected in [
        (3, [0, 1, 2]),
        ([5, 2, -1], [5, 2, 7]),
        (slice(1, 8, 3), [1, 4, 7]),
    ]:
        pixels = image_of(plot_feature_maps(maps, channels=channels, scale="shared"))
        corners = pixels[::5, ::5].ravel()
        assert (corners[np.isfinite(corners)] * max(expected)).round().tolist() == expected
    assert "3 of 8 channels" in said(plot_feature_maps(maps, channels=3))


def test_channels_are_sorted_by_energy_variance_or_sparsity():
    maps = torch.stack(
        [torch.full((4, 4), 5.0), torch.eye(4), torch.eye(4) * -4 + 2, torch.zeros(4, 4)]
    ).unsqueeze(0)
    for sort, expected in [
        ("energy", [0, 2, 1, 3]), ("variance", [2, 1, 0, 3]), ("sparsity", [3, 1, 0, 2]),
    ]:  # fmt: skip
        figure = plot_feature_maps(maps, sort=sort)
        numbers = [int(t.get_text()) for t in figure.axes[0].texts if t.get_text().isdigit()]
        assert numbers == expected


def test_each_channel_has_its_own_scale_or_all_share_one():
    maps = torch.stack([torch.rand(6, 6), 1000 * torch.rand(6, 6)]).unsqueeze(0)
    own = image_of(plot_feature_maps(maps))
    assert (own[:, :6].min(), own[:, :6].max()) == (0, 1)
    assert (own[:, 7:].min(), own[:, 7:].max()) == (0, 1)
    shared = image_of(plot_feature_maps(maps, scale="shared"))
    assert shared[:, :6].max() < 0.01


def bar_of(figure, row=0):
    bar = figure.axes[row].child_axes[-1]
    return [label.get_text() for label in bar.get_yticklabels()]


def test_the_colour_bar_says_what_the_colours_stand_for():
    maps = torch.arange(16.0).reshape(1, 1, 4, 4)
    assert bar_of(plot_feature_maps(maps)) == ["0", "15"]
    both = torch.cat([maps, -maps], dim=1)
    assert bar_of(plot_feature_maps(both)) == ["−max", "0", "max"]
    assert bar_of(plot_feature_maps(both, scale="shared")) == ["−15", "0", "15"]


def test_values_of_both_signs_are_centred_at_zero():
    maps = torch.tensor([[[[-1.0, 0.0, 4.0]] * 2, [[0.0, 0.0, 1.0]] * 2]])
    pixels = image_of(plot_feature_maps(maps, layout="NCHW"))
    assert pixels[0].tolist()[:3] == [0.375, 0.5, 1.0]
    assert pixels[0].tolist()[-3:] == [0.5, 0.5, 1.0]  # zero has one colour in all channels


def test_nan_and_inf_have_a_colour_of_their_own():
    maps = torch.rand(1, 1, 4, 4)
    maps[0, 0, 1, 2], maps[0, 0, 3, 0] = float("nan"), float("-inf")
    figure = plot_feature_maps(maps)
    (image,) = figure.axes[0].images
    colours = image.to_rgba(image.get_array())
    magenta = (colours == (1, 0, 1, 1)).all(axis=-1)
    assert only_pixel(magenta) == [(1, 2), (3, 0)]
    assert "1 NaN · 1 Inf" in said(figure)
    assert "NaN and Inf in magenta" in said(figure)


def test_the_mean_is_over_all_channels_unless_some_are_chosen():
    maps = torch.rand(1, 40, 4, 4)
    for channels, chosen in [(24, slice(None)), ([3, 4], [3, 4])]:
        mean = maps[0, chosen].mean(0)
        expected = (mean - mean.min()) / (mean.max() - mean.min())
        pixels = image_of(plot_feature_maps(maps, view="mean", channels=channels))
        assert np.allclose(pixels, expected, atol=1e-5)


def test_principal_components_are_the_same_colours_every_time():
    maps = torch.rand(1, 12, 6, 8, generator=torch.Generator().manual_seed(0))
    first, second = (image_of(plot_feature_maps(maps, view="pca")) for _ in range(2))
    assert first.shape == (6, 8, 4)
    assert np.array_equal(first, second)


@pytest.mark.parametrize("shape", [(12, 6, 8), (60, 5, 7)])  # fewer and more channels than places
def test_principal_components_are_those_of_scikit_learn(shape):
    decomposition = pytest.importorskip("sklearn.decomposition")
    maps = torch.rand(1, *shape, generator=torch.Generator().manual_seed(0))
    figure = plot_feature_maps(maps, view="pca")
    samples = maps[0].flatten(1).T.double().numpy()
    pca = decomposition.PCA(3, svd_solver="full").fit(samples)
    signs = [np.sign(row[np.abs(row).argmax()]) for row in pca.components_]
    truth = pca.transform(samples) * signs  # the largest loading is positive
    low, high = np.quantile(truth, 0.01, axis=0), np.quantile(truth, 0.99, axis=0)
    expected = ((truth - low) / (high - low)).clip(0, 1).reshape(*shape[1:], 3)
    assert np.allclose(image_of(figure)[..., :3], expected, atol=1e-5)
    assert f"{pca.explained_variance_ratio_.sum():.0%}"[:-1] + " % of the variance" in said(figure)


def test_directions_in_which_nothing_varies_have_no_colour():
    maps = torch.rand(1, 1, 6, 8).expand(1, 5, 6, 8)
    pixels = image_of(plot_feature_maps(maps, view="pca"))
    assert np.allclose(pixels[..., 1:3], 0.5)
    assert pixels[..., 0].std() > 0.1


def test_the_overlay_has_the_inputs_size_and_place():
    maps = torch.zeros(1, 2, 4, 6)
    maps[0, :, 0, 5] = 1
    figure = plot_feature_maps(maps, view="overlay", image=PICTURE)
    assert np.allclose(image_of(figure, layer=0)[..., :3], PICTURE.permute(1, 2, 0))
    heat = image_of(figure)
    assert heat.shape == (20, 30)
    row, column = np.unravel_index(heat.argmax(), heat.shape)
    assert row < 5
    assert column >= 25


@pytest.mark.parametrize(
    "image",
    [
        PICTURE, PICTURE[None], PICTURE.permute(1, 2, 0).numpy(),
        (PICTURE * 255).round().byte().permute(1, 2, 0).numpy(), PICTURE[0], PICTURE[:1],
        PICTURE * 4 - 2,
    ],
)  # fmt: skip
def test_pictures_come_in_many_forms(image):
    figure = plot_feature_maps(torch.rand(1, 2, 4, 6), view="overlay", image=image)
    ground = image_of(figure, layer=0)
    assert ground.shape == (20, 30, 4)
    assert ground[-1, -1, 0] > ground[0, 0, 0]


def test_a_pil_picture_is_read():
    from PIL import Image

    picture = Image.fromarray((PICTURE[0] * 255).byte().numpy()).convert("L")
    figure = plot_feature_maps(torch.rand(1, 2, 4, 6), view="overlay", image=picture)
    assert image_of(figure, layer=0).shape == (20, 30, 4)


def test_the_item_of_the_batch_is_chosen():
    maps = torch.zeros(2, 1, 4, 4)
    maps[1, 0, 2, 3] = 1
    assert image_of(plot_feature_maps(maps, index=0)).max() == 0
    figure = plot_feature_maps({"a": maps, "shared": torch.rand(1, 1, 4, 4)}, index=1)
    assert image_of(figure)[2, 3] == 1
    assert "item 1 of 2" in said(figure)


# --- words ---------------------------------------------------------------------------------


def test_statistics_count_what_is_not_finite():
    known = facts(torch.tensor([0.0, 1.0, float("nan"), float("inf")]))
    assert known == ["0 … 1", "mean 0.5", "50 % zeros", "1 NaN", "1 Inf"]


def test_panels_say_name_shape_type_and_dead_channels():
    maps = torch.rand(1, 4, 5, 6)
    maps[0, 2] = 0
    figure = plot_feature_maps({"layer1.relu": maps})
    assert titles(figure) == ["layer1.relu"]
    assert "1×4×5×6 · float32 · 0 … " in said(figure)
    assert "25 % zeros · 1 dead channel" in said(figure)


def test_names_are_no_formulas():
    figure = plot_feature_maps({"a$x_1$b\nc": torch.rand(1, 2, 4, 4)})
    draw(figure)
    assert titles(figure) == ["a$x_1$b c"]


def boxes(figure):
    renderer = draw(figure)
    texts = [t for axes in figure.axes for t in [axes._left_title, *axes.texts] if t.get_text()]
    return [text.get_window_extent(renderer) for text in texts]


@pytest.mark.parametrize("view", VIEWS)
def test_no_text_is_cut_off_or_over_another(view):
    name = "a.module.of.a.very.long.name." * 8
    features = {
        f"{name}conv": torch.rand(2, 3, 6, 6), name: torch.rand(1, 50, 8), "fc": torch.rand(1, 300)
    }  # fmt: skip
    figure = plot_feature_maps(features, view=view, image=PICTURE, sort="energy")
    assert titles(figure)[0].startswith("…")
    assert titles(figure)[0].endswith("long.name.conv")
    width, height = figure.get_size_inches() * figure.dpi
    places = boxes(figure)
    for i, box in enumerate(places):
        assert box.x0 >= 0
        assert box.x1 <= width
        assert box.y0 >= 0
        assert box.y1 <= height
        for other in places[i + 1 :]:
            across = min(box.x1, other.x1) - max(box.x0, other.x0)
            down = min(box.y1, other.y1) - max(box.y0, other.y0)
            assert across <= 1 or down <= 1


# --- one channel, and where it is ----------------------------------------------------------


def test_one_channel_is_drawn_large_beside_the_input():
    maps = torch.rand(1, 8, 5, 7)
    figure = plot_channel({"a": maps}, "a", 3, image=PICTURE)
    assert titles(figure) == ["a · channel 3", "input"]
    low, high = maps[0, 3].min(), maps[0, 3].max()
    assert np.allclose(image_of(figure), (maps[0, 3] - low) / (high - low), atol=1e-5)
    assert bar_of(figure) == [f"{low:.2g}", f"{high:.2g}"]


@pytest.mark.parametrize("shape", [(1, 9), (1, 5, 8), (1, 3, 4, 5, 6), (), (1, 2, 3, 4, 5, 6)])
def test_one_channel_of_any_kind_is_drawn(shape):
    figure = plot_channel(torch.rand(shape), "tensor", 0, image=PICTURE)
    draw(figure)
    assert figure.axes[0].has_data() or figure.axes[0].texts


@pytest.mark.parametrize("shape", [(1, 24, 8, 8), (1, 7, 3, 9), (1, 5, 4, 6, 6), (1, 64, 2, 2)])
@pytest.mark.parametrize("style", ["default", "dark_background"])
def test_a_click_finds_the_channel_under_it(shape, style):
    with plt.style.context(style):
        figure = plot_feature_maps({"a": torch.rand(shape), "b": torch.rand(shape)}, sort="energy")
    draw(figure)
    width, height = figure.get_size_inches() * figure.dpi
    for axes, key in zip(figure.axes, "ab", strict=True):
        numbers = [t for t in axes.texts if t.get_text().isdigit()]
        assert numbers
        for text in numbers:
            # A little inside the corner that the number stands in.
            x, y = axes.transData.transform(text.xy) + np.array([2, -2])
            assert channel_at(figure, x / width, 1 - y / height) == (key, int(text.get_text()))


def test_between_tiles_and_beside_them_there_is_no_channel():
    figure = plot_feature_maps(torch.rand(1, 4, 8, 8))
    box = figure.axes[0].get_position()
    assert channel_at(figure, (box.x0 + box.x1) / 2, 1 - (box.y0 + box.y1) / 2) is None
    assert channel_at(figure, 0.001, 0.001) is None
    assert channel_at(plot_feature_maps(torch.rand(1, 4, 8, 8), view="mean"), 0.2, 0.6) is None
    assert channel_at(plt.Figure(), 0.5, 0.5) is None


def test_channels_of_a_heat_map_are_found():
    figure = plot_feature_maps({"words": torch.rand(1, 5, 10)})
    box = figure.axes[0].get_position()
    x = box.x0 + 0.75 * box.width
    assert channel_at(figure, x, 1 - (box.y0 + box.y1) / 2) == ("words", 7)


# --- two runs ------------------------------------------------------------------------------


def test_a_comparison_shares_its_scale_and_shows_the_difference():
    first = torch.rand(1, 3, 4, 4)
    second = first.clone()
    second[0, 1, 2, 3] += 9
    figure = plot_comparison({"a": first}, {"a": second}, labels=("before", "after"))
    assert titles(figure) == ["a · before", "a · after", "a · after − before"]
    before, after, change = (image_of(figure, row) for row in range(3))
    assert after[2, 5 + 3] == 1
    assert before[:, 5:9].max() < 0.12  # on the scale of both
    assert change[2, 5 + 3] == 1
    assert np.isclose(np.delete(change[np.isfinite(change)], np.nanargmax(change)), 0.5).sum() >= 46
    assert bar_of(figure, 2) == ["−9", "0", "9"]


@pytest.mark.parametrize("view", mostly_thorough(VIEWS, "channels"))
@pytest.mark.parametrize(
    "shape", [(1, 3, 4, 4), (1, 5), (1, 4, 8), (1, 2, 3, 4, 5), (), (2,) * 6, (1, 2, 9, 9)]
)
def test_any_two_runs_can_be_compared(view, shape):
    first = torch.rand(shape).softmax(-1) if shape == (1, 2, 9, 9) else torch.rand(shape)
    figure = plot_comparison({"a": first}, {"a": first * 2}, view=view, image=PICTURE)
    draw(figure)
    assert len(figure.axes) == 3


def tick_labels(axes):
    return [label.get_text() for label in axes.get_yticklabels()]


def test_each_side_has_its_own_tokens_and_the_difference_those_of_both():
    first, second = torch.rand(2, 1, 3, 8)
    sides = ["the", "quick", "fox"], ["a", "lazy", "dog"]
    figure = plot_comparison({"a": first}, {"a": second}, tokens=sides)
    assert [tick_labels(axes) for axes in figure.axes[:2]] == [*map(list, sides)]
    assert not {"the", "a"} & {*tick_labels(figure.axes[2])}
    figure = plot_comparison({"a": first}, {"a": second}, tokens=sides[0])
    assert [tick_labels(axes) for axes in figure.axes] == [list(sides[0])] * 3


def test_each_side_lies_over_its_own_picture():
    values = torch.rand(2, 1, 3, 5, 5)
    pictures = torch.zeros(3, 20, 20), torch.ones(3, 30, 30)
    figure = plot_comparison(*({"a": v} for v in values), view="overlay", image=pictures)
    assert [image_of(figure, side, 0)[..., :3].mean() for side in (0, 1)] == [0, 1]
    assert image_of(figure, 2).shape == (5, 5)  # the difference lies over neither


def test_two_runs_have_one_basis_of_principal_components():
    first = torch.rand(1, 6, 5, 5, generator=torch.Generator().manual_seed(0))
    second = first.clone()
    second[0, :, 2, 3] = first[0, :, 0, 0]
    figure = plot_comparison({"a": first}, {"a": second}, view="pca")
    before, after, length = (image_of(figure, side) for side in range(3))
    assert np.allclose(after[2, 3], before[0, 0])
    assert np.allclose(
        np.delete(after.reshape(25, 4), 13, 0), np.delete(before.reshape(25, 4), 13, 0)
    )
    assert "3 principal components of both" in said(figure)
    assert titles(figure)[2] == "a · |second − first|"
    assert only_pixel(length) == [(2, 3)]
    assert (np.delete(length.ravel(), 13) == 0).all()


def test_principal_components_lie_beside_the_picture_or_over_it():
    maps, picture = torch.rand(1, 6, 5, 5), torch.rand(3, 10, 10)
    alone = image_of(plot_feature_maps(maps, view="pca"))[..., :3]
    wide = alone.repeat(2, axis=0).repeat(2, axis=1)
    seen = picture.permute(1, 2, 0).numpy()
    beside = image_of(plot_feature_maps(maps, view="pca", image=picture))
    assert np.allclose(beside[:, :10, :3], wide)
    assert np.allclose(beside[:, -10:, :3], seen, atol=1e-6)
    assert (beside[:, 10:-10, 3] == 0).all()
    over = image_of(plot_feature_maps(maps, view="pca", image=picture, opacity=0.75))
    assert np.allclose(over[..., :3], 0.75 * wide + 0.25 * seen, atol=1e-6)


def test_a_figure_has_the_width_that_is_asked_for_and_no_captions_if_none_are():
    figure = plot_feature_maps({"conv": torch.rand(1, 4, 8, 8)}, width=4, captions=False)
    assert figure.get_figwidth() == 4
    assert titles(figure) == ["conv"]
    assert "mean" not in said(figure)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"width": 0}, "width is 0; give inches"), ({"opacity": 2}, "opacity is 2; give a number")],
)
def test_sizes_that_make_no_figure_are_refused_in_words(options, message):
    with pytest.raises(ValueError, match=message):
        plot_feature_maps(torch.rand(1, 4, 8, 8), **options)


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        ({"a": torch.rand(2)}, {"b": torch.rand(2)}, "first has 'a', which second has not"),
        ({"a": torch.rand(2)}, {"a": torch.rand(2), "b": torch.rand(2)}, "second has 'b'"),
        (
            {"a": torch.rand(1, 2)},
            {"a": torch.rand(1, 3)},
            r"'a' is \(1, 2\) in first and \(1, 3\)",
        ),
    ],
)
def test_runs_that_cannot_be_compared_are_said(first, second, message):
    with pytest.raises(ValueError, match=message):
        plot_comparison(first, second)


# --- figures -------------------------------------------------------------------------------


def test_figures_are_neither_registered_nor_kept():
    figures = []
    for run in range(20):
        figure = plot_feature_maps(torch.rand(1, 2, 4, 4))
        if run % 5 == 0:
            figure.savefig(io.BytesIO(), dpi=20)
        channel_at(figure, 0.5, 0.5)
        figures.append(weakref.ref(figure))
    del figure
    gc.collect()
    assert plt.get_fignums() == []
    assert [figure for figure in figures if figure() is not None] == []


def test_a_tensor_is_drawn_into_axes_of_ones_own():
    figure, (left, right) = plt.subplots(1, 2, layout="constrained")
    try:
        assert plot_feature_maps({"a": torch.rand(1, 4, 6, 6)}, ax=right) is figure
        assert right.get_title(loc="left") == "a"
        assert not left.images
        draw(figure)
        assert channel_at(figure, 0.6, 0.5) is not None
    finally:
        plt.close(figure)


@pytest.mark.parametrize("style", ["default", "dark_background", "ggplot"])
def test_figures_follow_the_users_style(style):
    with plt.style.context(style):
        figure = plot_feature_maps({"a": torch.rand(1, 4, 6, 6), "b": torch.rand(1, 30)})
        text = mpl.colors.to_rgba(mpl.rcParams["text.color"])
        assert figure.get_facecolor() == mpl.colors.to_rgba(mpl.rcParams["figure.facecolor"])
    for axes in figure.axes:
        assert mpl.colors.to_rgba(axes._left_title.get_color()) == text
    with mpl.rc_context({"image.cmap": "magma", "font.size": 14}):
        figure = plot_feature_maps(torch.rand(1, 4, 6, 6))
        assert figure.axes[0].images[0].get_cmap().name == "magma"
        assert figure.axes[0]._left_title.get_fontsize() == 14


def test_a_figure_shows_itself_where_pyplot_was_never_asked():
    assert plot_feature_maps(torch.rand(1, 2, 4, 4))._repr_png_().startswith(b"\x89PNG")


# --- anything at all -----------------------------------------------------------------------


@given(
    shape=st.lists(st.integers(0, 7), max_size=6),
    dtype=st.sampled_from(DTYPES),
    form=st.sampled_from(["plain", "transposed", "strided", "expanded", "grad", "strange", "meta"]),
    view=st.sampled_from(VIEWS),
    sort=st.sampled_from(["index", "energy", "variance", "sparsity"]),
    scale=st.sampled_from(["channel", "shared"]),
)
def test_any_tensor_can_be_drawn(shape, dtype, form, view, sort, scale):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's, on half-precision complex numbers
        values = torch.randn(shape).mul(5).to(dtype)
    if form == "transposed" and values.ndim > 1:
        values = values.transpose(0, -1)
    elif form == "strided" and values.ndim:
        values = values[..., ::2]
    elif form == "expanded":
        values = values[..., :1].expand(*shape[:-1], 3) if shape and shape[-1] else values
    elif form == "grad" and dtype.is_floating_point and dtype.itemsize > 1:
        values = values.requires_grad_()
    elif form == "strange" and dtype.is_floating_point and dtype.itemsize > 1 and values.numel():
        strange = [float("nan"), float("inf"), -float("inf"), torch.finfo(dtype).max, -1e-30]
        values = values.contiguous()
        for i in range(min(values.numel(), 5)):
            values.view(-1)[-i] = strange[i]
    elif form == "meta":
        values = values.to("meta")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = plot_feature_maps({"a": values}, view=view, sort=sort, scale=scale, image=PICTURE)
        draw(figure)
    assert len(figure.axes) == 1


@pytest.mark.thorough
def test_numbers_of_any_size_can_be_drawn():
    huge = torch.tensor([[1e308, -1e308, 0.0, 1e-320]], dtype=torch.float64)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for shape in [(1, 4), (1, 1, 2, 2), (1, 2, 2), (4,), (1, 1, 1, 4)]:
            for view in VIEWS:
                figure = plot_feature_maps(huge.reshape(shape), view=view, image=PICTURE)
                draw(figure)
                assert figure.axes[0].has_data() or figure.axes[0].texts


def test_sparse_values_are_drawn():
    figure = plot_feature_maps(torch.eye(5).to_sparse())
    draw(figure)
    assert figure.axes[0].has_data() or figure.axes[0].texts


def test_values_are_left_as_they_are():
    value = torch.rand(1, 2, 4, 4, requires_grad=True)
    before = value.detach().clone()
    plot_feature_maps(value, view="pca")
    assert value.grad is None
    assert torch.equal(value, before)


MAPS = torch.rand(2, 4, 6, 6)


@pytest.mark.parametrize(
    ("features", "options", "message"),
    [
        ({}, {}, "no tensor"),
        ({"a": "text"}, {}, "no tensor"),
        (MAPS, {"view": "chanels"}, "view='chanels' is not known; write one of channels"),
        (MAPS, {"sort": "size"}, "sort='size' is not known; write one of index, energy"),
        (MAPS, {"scale": "log"}, "scale='log' is not known; write one of channel, shared"),
        (MAPS, {"channels": 0}, "channels is 0; give how many to show, at least 1"),
        (MAPS, {"channels": [1, 4]}, "channel 4 is not there: 'tensor' has channels 0 to 3"),
        (MAPS, {"channels": []}, r"channels is \[\]; give how many"),
        (MAPS, {"channels": "all"}, "channels is 'all'; give how many"),
        (MAPS, {"channels": 2.5}, "channels is 2.5"),
        (MAPS, {"channels": slice(9, 12)}, "is none of the 4 of 'tensor'"),
        (MAPS, {"index": 2}, "index=2 is beyond the batch: 'tensor' has 2"),
        (MAPS, {"index": "a"}, "index is 'a'"),
        (MAPS, {"layout": "NCWX"}, "layout='NCWX' is none that is known; write one of NCHW"),
        (MAPS, {"layout": "NLC"}, "layout='NLC' has 3 axes, and 'tensor' has 4"),
        ({"a": MAPS}, {"layout": {"b": "NCHW"}}, "layout has 'b', which is no key"),
        (MAPS, {"view": "overlay"}, "give it as image="),
        (MAPS, {"image": torch.rand(5, 6, 7)}, r"image has the shape \(5, 6, 7\)"),
        (MAPS, {"image": torch.rand(2, 3, 8, 8)}, "give one picture"),
        (MAPS, {"image": "cat.png"}, "image is a str"),
        (MAPS, {"query": 1}, "query= is for attention"),
        (MAPS, {"tokens": ["a", "b"] * 9}, "tokens has 18 names"),
        (MAPS, {"tokens": "text"}, "tokens is one string"),
        (torch.eye(9)[None, None], {"query": 9}, "query=9 is not there: 'tensor' has tokens"),
        (torch.eye(9)[None, None], {"query": (0, 1)}, "no grid that is known; give a token's"),
        (torch.eye(9)[None, None], {"query": "x"}, "query is 'x'"),
        ({"a": MAPS, "b": MAPS}, {"ax": object()}, "ax= takes a single tensor"),
    ],
)  # fmt: skip
def test_what_cannot_be_drawn_is_said(features, options, message):
    with pytest.raises(ValueError, match=message):
        plot_feature_maps(features, **options)


@pytest.mark.parametrize(
    ("key", "channel", "message"),
    [("b", 0, "'b' is no key of features; these are 'a'"), ("a", 4, "channel 4 is not there")],
)
def test_what_cannot_be_enlarged_is_said(key, channel, message):
    with pytest.raises(ValueError, match=message):
        plot_channel({"a": MAPS}, key, channel)
