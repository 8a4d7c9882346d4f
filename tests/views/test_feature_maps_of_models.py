"""What is drawn of real models, next to what forward hooks saw.

A bright patch in the top right corner of an otherwise black input must light up in that
corner of what is drawn, for every family of models and every kind of tensor.
"""

import dataclasses
import functools
from collections.abc import Callable

import numpy as np
import pytest
import timm
import torch
import torchvision
import transformers
from torch import nn
from torchvision.models.video.mvit import MSBlockConfig, MViT

from fxexplore import create_feature_extractor, open_model, plot_feature_maps
from tests.marks import mostly_thorough

HEIGHT, WIDTH = 64, 96


@dataclasses.dataclass
class Case:
    """A model, a node of it, and its value as C × places by a hand-written rule."""

    make: Callable[[], nn.Module]
    node: str
    places: Callable[[torch.Tensor], torch.Tensor]
    words: str = ""  # to be said above the picture
    shape: tuple[int, ...] = (1, 3, HEIGHT, WIDTH)
    backend: str = "auto"


def folded(first, height, width):
    return lambda out: out[0, first:].T.reshape(-1, height, width)


def channels_last(out):
    return out[0].permute(2, 0, 1)


def tiny(name, **options):
    return functools.partial(timm.create_model, name, pretrained=False, **options)


VIT = {"depth": 1, "embed_dim": 24, "num_heads": 2, "img_size": (HEIGHT, WIDTH)}


def torchvision_vit():
    return torchvision.models.VisionTransformer(
        image_size=64, patch_size=16, num_layers=1, num_heads=2, hidden_dim=24, mlp_dim=48
    )


def torchvision_swin():
    return torchvision.models.SwinTransformer(
        patch_size=[4, 4], embed_dim=24, depths=[1, 1], num_heads=[2, 2], window_size=[4, 4]
    )


def torchvision_convnext():
    setting = torchvision.models.convnext.CNBlockConfig(24, None, 2)
    return torchvision.models.ConvNeXt([setting])


def mvit():
    block = functools.partial(MSBlockConfig, kernel_q=[3, 3, 3], kernel_kv=[3, 3, 3])
    blocks = [
        block(1, 16, 32, stride_q=[1, 1, 1], stride_kv=[1, 2, 2]),
        block(2, 32, 32, stride_q=[1, 2, 2], stride_kv=[1, 1, 1]),
    ]
    return MViT(
        spatial_size=(64, 96), temporal_size=8, block_setting=blocks, residual_pool=True,
        residual_with_cls_embed=False, rel_pos_embed=True, proj_after_attn=True,
    )  # fmt: skip


def transformers_vit():
    config = transformers.ViTConfig(
        hidden_size=24, num_hidden_layers=1, num_attention_heads=2, intermediate_size=48,
        image_size=(HEIGHT, WIDTH), patch_size=16,
    )  # fmt: skip
    return transformers.ViTModel(config, add_pooling_layer=False)


def transformers_dinov2():
    config = transformers.Dinov2WithRegistersConfig(
        hidden_size=24, num_hidden_layers=1, num_attention_heads=2, image_size=64, patch_size=16,
        num_register_tokens=4,
    )  # fmt: skip
    return transformers.Dinov2WithRegistersModel(config)


CLIP = (1, 3, 8, HEIGHT, WIDTH)
CASES = {
    "resnet": Case(torchvision.models.resnet18, "layer1", lambda out: out[0]),
    "torchvision vit": Case(
        torchvision_vit, "encoder.layers.encoder_layer_0.ln_1", folded(1, 4, 4),
        "17 tokens = class_token + 4×4", (1, 3, 64, 64),
    ),
    "timm vit": Case(
        tiny("vit_tiny_patch16_224", **VIT), "pos_drop", folded(1, 4, 6),
        "25 tokens = cls_token + 4×6",
    ),
    "timm vit block": Case(
        tiny("vit_tiny_patch16_224", **VIT), "blocks.0", folded(1, 4, 6),
        "25 tokens = cls_token + 4×6",
    ),
    "deit distilled": Case(
        tiny("deit_tiny_distilled_patch16_224", **VIT), "pos_drop", folded(2, 4, 6),
        "26 tokens = cls_token + dist_token + 4×6",
    ),
    "dinov2 registers": Case(
        tiny("vit_small_patch14_reg4_dinov2", **VIT | {"img_size": (56, 84)}), "pos_drop",
        folded(5, 4, 6), "29 tokens = cls_token + 4 reg_token + 4×6", (1, 3, 56, 84),
    ),
    "siglip": Case(
        tiny("vit_base_patch16_siglip_224", **VIT), "pos_drop", folded(0, 4, 6),
        "24 tokens = 4×6",
    ),
    "timm swin": Case(
        tiny("swin_tiny_patch4_window7_224", img_size=(HEIGHT, WIDTH), window_size=4,
             embed_dim=24, depths=(1, 1), num_heads=(2, 2)),
        "patch_embed", channels_last,
    ),
    "timm swin stage": Case(
        tiny("swin_tiny_patch4_window7_224", img_size=(HEIGHT, WIDTH), window_size=4,
             embed_dim=24, depths=(1, 1), num_heads=(2, 2)),
        "layers.1", channels_last,
    ),
    "torchvision swin": Case(torchvision_swin, "features.0", channels_last),
    "timm convnext": Case(
        tiny("convnext_atto", depths=(1, 1, 1, 1), dims=(8, 16, 24, 32)), "stages.0",
        lambda out: out[0],
    ),
    "torchvision convnext": Case(torchvision_convnext, "features.1.0.block.2", channels_last),
    "r3d": Case(torchvision.models.video.r3d_18, "stem", lambda out: out[0], shape=CLIP),
    "mvit": Case(
        mvit, "blocks.0.norm2", lambda out: out[0, 1:].T.reshape(-1, 4, 16, 24),
        "1537 tokens = class_token + 4×16×24", CLIP,
    ),
    "mvit pooled": Case(
        mvit, "blocks.1.norm2", lambda out: out[0, 1:].T.reshape(-1, 4, 8, 12),
        "385 tokens = class_token + 4×8×12", CLIP,
    ),
    "transformers vit": Case(
        transformers_vit, "embeddings", folded(1, 4, 6), "25 tokens = cls_token + 4×6"
    ),
    "transformers dinov2": Case(
        transformers_dinov2, "embeddings", folded(5, 4, 4),
        "21 tokens = cls_token + 4 register_tokens + 4×4", (1, 3, 64, 64),
    ),
}  # fmt: skip
# A CNN, a ViT with a class token, channels last, and video.
TELLING = ("resnet", "timm vit block", "torchvision swin", "mvit pooled")


def lit_corner(shape):
    """Black, and a bright patch in the top right corner; of a clip in its first frames."""
    picture = torch.zeros(shape)
    if len(shape) == 5:
        picture[:, :, :2, :14, -14:] = 1
    else:
        picture[..., :14, -14:] = 1
    return picture


def hooked(model, path, *args, **kwargs):
    seen = []
    handle = model.get_submodule(path).register_forward_hook(lambda _m, _a, out: seen.append(out))
    with torch.no_grad():
        model(*args, **kwargs)
    handle.remove()
    return seen[-1]


def extracted(model, node, args=(), kwargs=None):
    inputs = (args, kwargs or {})
    graph = open_model(model, inputs)
    extractor = create_feature_extractor(
        model, [node], example_inputs=inputs, backend=graph.backend, mode="eval"
    )
    with torch.no_grad():
        return extractor.eval()(*args, **inputs[1]), graph


def drawn_tiles(figure, count, height, width):
    """The tiles of the only image, cut out by hand."""
    pixels = np.ma.filled(figure.axes[0].images[0].get_array(), np.nan)
    gap = max(1, round(0.04 * min(height, width)))
    columns = (pixels.shape[1] + gap) // (width + gap)
    tiles = []
    for i in range(count):
        top, left = i // columns * (height + gap), i % columns * (width + gap)
        tiles.append(pixels[top : top + height, left : left + width])
    return np.stack(tiles)


def on_their_scale(maps):
    """What is to be drawn: each channel from 0 to 1, about zero where there are both signs."""
    maps = maps.double().numpy()
    axes = tuple(range(1, maps.ndim))
    low, high = maps.min(axes, keepdims=True), maps.max(axes, keepdims=True)
    if maps.min() < 0 < maps.max():
        high = np.maximum(abs(low), abs(high))
        low = -high
    return np.where(high > low, (maps - low) / np.where(high > low, high - low, 1), 0.5)


def said(figure):
    return " · ".join(text.get_text() for text in figure.axes[0].texts)


@pytest.mark.filterwarnings("ignore:.* is opened by recording one run")
@pytest.mark.parametrize("name", mostly_thorough(CASES, *TELLING))
def test_what_a_hook_sees_is_drawn_where_it_belongs(name):
    case = CASES[name]
    torch.manual_seed(0)
    model = case.make().eval()
    picture = lit_corner(case.shape)
    truth = case.places(hooked(model, case.node, picture))
    features, graph = extracted(model, case.node, (picture,))
    figure = plot_feature_maps(features, channels=4, graph=graph)
    expected = on_their_scale(truth)[:4]
    if truth.ndim == 4:  # video: frames from left to right
        gap = np.full((4, truth.shape[2], max(1, round(0.02 * truth.shape[3]))), np.nan)
        frames = [part for t in range(truth.shape[1]) for part in (expected[:, t], gap)]
        expected = np.concatenate(frames[:-1], axis=2)
    tiles = drawn_tiles(figure, 4, *expected.shape[1:])
    assert np.allclose(tiles, expected, atol=1e-5, equal_nan=True)
    assert case.words in said(figure)
    assert "guess" not in said(figure)


@pytest.mark.filterwarnings("ignore:.* is opened by recording one run")
@pytest.mark.parametrize("name", mostly_thorough(CASES, *TELLING))
def test_a_lit_corner_lights_up_in_that_corner(name):
    case = CASES[name]
    torch.manual_seed(0)
    model = case.make().eval()
    lit, graph = extracted(model, case.node, (lit_corner(case.shape),))
    dark, _ = extracted(model, case.node, (torch.zeros(case.shape),))
    change = (lit[case.node] - dark[case.node]).abs()
    figure = plot_feature_maps({case.node: change}, view="mean", graph=graph)
    tile = np.ma.filled(figure.axes[0].images[0].get_array(), 0)
    row, column = np.unravel_index(tile.argmax(), tile.shape)
    frame = case.places(change).shape[-1]
    assert row <= 0.4 * len(tile)
    assert column % (frame + max(1, round(0.02 * frame))) >= 0.6 * frame


@pytest.mark.parametrize("name", ["timm vit", "deit distilled", "siglip", "timm swin"])
def test_without_a_graph_the_picture_tells_the_grid(name):
    case = CASES[name]
    model = case.make().eval()
    picture = lit_corner(case.shape)
    truth = case.places(hooked(model, case.node, picture))
    figure = plot_feature_maps({"x": hooked(model, case.node, picture)}, image=picture, channels=4)
    tiles = drawn_tiles(figure, 4, *truth.shape[1:])
    assert np.allclose(tiles, on_their_scale(truth)[:4], atol=1e-5)
    assert "for a picture of 64×96" in said(figure) or "read as N H W C" in said(figure)


def test_an_input_of_another_size_is_folded_to_its_own_grid():
    model = timm.create_model(
        "vit_tiny_patch16_224", pretrained=False, dynamic_img_size=True, **VIT
    ).eval()
    graph = open_model(model, torch.zeros(1, 3, 64, 96))
    picture = lit_corner((1, 3, 96, 160))
    tokens = hooked(model, "blocks.0", picture)
    figure = plot_feature_maps({"blocks.0": tokens}, image=picture, graph=graph, channels=2)
    tiles = drawn_tiles(figure, 2, 6, 10)
    assert np.allclose(tiles, on_their_scale(folded(1, 6, 10)(tokens))[:2], atol=1e-5)
    assert "6×10" in said(figure)
    unknown = plot_feature_maps({"blocks.0": tokens}, graph=graph)
    assert "no grid that is known" in said(unknown)


@pytest.mark.parametrize("name", mostly_thorough(["timm vit", "mvit", "timm convnext"], "timm vit"))
def test_every_node_of_a_model_can_be_drawn(name):
    case = CASES[name]
    model = case.make().eval()
    for module in model.modules():
        if hasattr(module, "fused_attn"):
            module.fused_attn = False
    picture = torch.rand(case.shape)
    graph = open_model(model, picture)
    nodes = [n.name for n in graph.nodes if n.kind in ("module", "operation") and n.shape]
    nodes = nodes[:70]  # the first blocks, of which the others are repeats
    with torch.no_grad():
        features = create_feature_extractor(model, nodes).eval()(picture)
    figure = plot_feature_maps(features, graph=graph, channels=2)
    assert len(figure.axes) == len(nodes)


class Reordered(nn.Module):
    """Patches whose tokens are put into another order, as in windows, or in a masked encoder."""

    def __init__(self, how):
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 8, 8)
        self.mix = nn.Linear(8, 8)
        self.how = how

    def forward(self, x):
        x = self.patches(x)
        if self.how == "windows":
            n, c, h, w = x.shape
            x = x.view(n, c, h // 2, 2, w // 2, 2).permute(0, 2, 4, 3, 5, 1).reshape(n, h * w, c)
        else:
            x = x.flatten(2).transpose(1, 2)
            order = torch.arange(x.shape[1] - 1, -1, -1)
            x = torch.gather(x, 1, order[None, :, None].expand(1, -1, 8))
        return self.mix(x)


@pytest.mark.parametrize("how", ["windows", "gather"])
def test_tokens_in_another_order_are_not_folded_to_a_picture(how):
    model, picture = Reordered(how).eval(), torch.rand(1, 3, 64, 64)
    features, graph = extracted(model, "mix", (picture,))
    figure = plot_feature_maps(features, graph=graph)
    assert image_shape(figure) == (64, 8)  # a heat map, tokens by channels
    assert "tokens =" not in said(figure)


def image_shape(figure):
    return figure.axes[0].images[0].get_array().shape


def attentive_vit():
    model = timm.create_model("vit_tiny_patch16_224", pretrained=False, **VIT).eval()
    model.blocks[0].attn.fused_attn = False
    return model


def test_attention_is_one_map_per_head_and_a_query_is_laid_over_the_grid():
    model, picture = attentive_vit(), torch.rand(1, 3, HEIGHT, WIDTH)
    weights = hooked(model, "blocks.0.attn.attn_drop", picture)
    features, graph = extracted(model, "blocks.0.attn.softmax", (picture,))
    heads = drawn_tiles(plot_feature_maps(features, graph=graph), 2, 25, 25)
    assert np.allclose(heads, on_their_scale(weights[0]), atol=1e-4)
    figure = plot_feature_maps(features, graph=graph, query=(1, 2))
    looks = drawn_tiles(figure, 2, 4, 6)
    expected = weights[0, :, 1 + 1 * 6 + 2, 1:].reshape(2, 4, 6)
    assert np.allclose(looks, on_their_scale(expected), atol=1e-4)
    assert "attention of query token 9" in said(figure)
    over = plot_feature_maps(features, graph=graph, query=9, image=picture)
    assert over.axes[0].images[0].get_array().shape[-1] == 4  # the picture, then the maps
    assert over.axes[0].patches


@pytest.mark.filterwarnings("ignore:.* is opened by recording one run")
def test_words_are_rows_of_a_heat_map_with_their_names():
    config = transformers.BertConfig(
        vocab_size=50, hidden_size=24, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=48,
    )  # fmt: skip
    config._attn_implementation = "eager"  # which gives its weights away
    model = transformers.BertModel(config).eval()
    ids = torch.tensor([[2, 17, 4, 33, 8, 3, 9, 9, 9]])
    hidden = hooked(model, "embeddings", input_ids=ids)
    features, graph = extracted(model, "embeddings", kwargs={"input_ids": ids})
    figure = plot_feature_maps(features, graph=graph, tokens=list("abcdefghi"), scale="shared")
    image = np.ma.filled(figure.axes[0].images[0].get_array(), np.nan)
    most = hidden.abs().max()
    assert np.allclose(image, (hidden[0] + most) / (2 * most), atol=1e-5)
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == list("abcdefghi")
    weights, graph = extracted(
        model, "encoder.layer.0.attention.self.softmax", kwargs={"input_ids": ids}
    )
    assert len(drawn_tiles(plot_feature_maps(weights, graph=graph), 2, 9, 9)) == 2


@pytest.mark.filterwarnings("ignore:.* is opened by recording one run")
def test_sound_is_a_heat_map_over_time():
    config = transformers.Wav2Vec2Config(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
        conv_dim=(8, 8), conv_kernel=(10, 3), conv_stride=(5, 2), num_feat_extract_layers=2,
        num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=4,
    )  # fmt: skip
    model = transformers.Wav2Vec2Model(config).eval()
    sound = torch.zeros(1, 2000)
    sound[0, 500:540] = 1
    conv = "feature_extractor.conv_layers.1"
    seen = hooked(model, conv, sound)
    features, graph = extracted(model, conv, kwargs={"input_values": sound})
    image = np.ma.filled(
        plot_feature_maps(features, graph=graph).axes[0].images[0].get_array(), np.nan
    )
    assert image.shape == (8, seen.shape[2])  # channels by time
    assert np.allclose(image, on_their_scale(seen[0]), atol=1e-5)
    change = np.abs(image - np.median(image, axis=1, keepdims=True)).sum(axis=0)
    assert 0.24 < change.argmax() / len(change) < 0.28  # where the sound is
    later, graph = extracted(model, "feature_projection", kwargs={"input_values": sound})
    assert "token" in plot_feature_maps(later, graph=graph).axes[0].get_ylabel()
