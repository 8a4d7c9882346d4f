"""Pictures of every kind are read, or refused in words; preparation equals the libraries' own."""

import io
import struct
import warnings
import zlib

import numpy as np
import pytest
import timm
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torchvision import models

from fxexplore.inputs import (
    Preprocessing,
    checkerboard,
    impulse,
    preprocessing_from_text,
    presets_for,
    read_picture,
    sample_photograph,
)

TURNS = {
    1: lambda p: p,
    2: lambda p: p[:, ::-1],
    3: lambda p: p[::-1, ::-1],
    4: lambda p: p[::-1],
    5: lambda p: p.transpose(1, 0, 2),
    6: lambda p: np.rot90(p, -1),
    7: lambda p: p[::-1, ::-1].transpose(1, 0, 2),
    8: np.rot90,
}


def pattern(height=4, width=6):
    return np.arange(height * width * 3, dtype=np.uint8).reshape(height, width, 3)


def file_of(image, kind="png", **options):
    content = io.BytesIO()
    image.save(content, kind, **options)
    return content.getvalue()


def pixels(picture):
    assert picture.image.mode == "RGB"
    return np.asarray(picture.image)


@pytest.mark.parametrize("kind", ["png", "webp"])
def test_a_file_without_loss_comes_out_as_it_went_in(kind):
    picture = read_picture(file_of(Image.fromarray(pattern()), kind, lossless=True))
    assert np.array_equal(pixels(picture), pattern())
    assert picture.notes == ()


@pytest.mark.parametrize("orientation", TURNS)
def test_the_orientation_in_exif_is_followed(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = read_picture(file_of(Image.fromarray(pattern()), "png", exif=exif))
    assert np.array_equal(pixels(picture), TURNS[orientation](pattern()))
    assert picture.notes == (() if orientation == 1 else ("turned upright",))


def test_a_telephones_jpeg_is_turned_upright():
    halves = np.zeros((40, 80, 3), np.uint8)
    halves[:, 40:] = 255
    exif = Image.Exif()
    exif[0x0112] = 6
    seen = pixels(read_picture(file_of(Image.fromarray(halves), "jpeg", exif=exif)))
    assert seen.shape == (80, 40, 3)
    assert seen[:30].max() < 30
    assert seen[50:].min() > 225


@pytest.mark.parametrize(
    ("mode", "note"),
    [
        ("1", "black and white"),
        ("L", "greyscale"),
        ("LA", "transparency on white"),
        ("RGBA", "transparency on white"),
        ("CMYK", "converted from CMYK"),
        ("P", None),
        ("I;16", "16 bit, greyscale"),
        ("I", "16 bit, greyscale"),
        ("F", "read as 0 … 255, greyscale"),
    ],
)
def test_every_mode_becomes_rgb_and_is_told(mode, note):
    grey = Image.linear_gradient("L")
    if mode.startswith("I"):
        values = np.asarray(grey).astype(np.uint16) * 257
        image = Image.fromarray(values if mode == "I;16" else values.astype(np.int32))
    else:
        image = grey.convert("RGBA").convert(mode) if mode in ("P", "CMYK") else grey.convert(mode)
    assert image.mode == mode
    picture = read_picture(image)
    assert ", ".join(picture.notes) == (note or "")
    if mode != "1":
        assert np.abs(pixels(picture).astype(int) - np.asarray(grey)[..., None]).max() <= (
            8 if mode == "P" else 3
        )


def test_what_is_transparent_is_white():
    image = Image.new("RGBA", (4, 4), (255, 0, 0, 0))
    image.putpixel((1, 1), (0, 0, 255, 255))
    seen = pixels(read_picture(file_of(image)))
    assert seen[0, 0].tolist() == [255, 255, 255]
    assert seen[1, 1].tolist() == [0, 0, 255]


@pytest.mark.parametrize(
    "source",
    [
        pattern(),
        pattern().transpose(2, 0, 1),
        pattern()[None],
        torch.from_numpy(pattern()).permute(2, 0, 1),
        torch.from_numpy(pattern()).permute(2, 0, 1).float() / 255,
        torch.from_numpy(pattern()).permute(2, 0, 1).float(),
        pattern().astype(np.uint16) * 257,
        np.dstack([pattern(), np.full((4, 6), 255, np.uint8)]),
    ],
    ids=["HWC", "CHW", "batch of one", "tensor", "0 to 1", "0 to 255", "16 bit", "RGBA"],
)
def test_arrays_and_tensors_of_every_kind_are_the_same_picture(source):
    assert np.array_equal(pixels(read_picture(source)), pattern())


def test_a_path_is_read_and_named(tmp_path):
    (tmp_path / "cat.png").write_bytes(file_of(Image.fromarray(pattern())))
    picture = read_picture(tmp_path / "cat.png")
    assert picture.name == "cat.png"
    assert np.array_equal(pixels(picture), pattern())


def bomb(width, height):
    """A PNG that says it is large, in a few bytes."""

    def chunk(kind, data):
        checked = kind + data
        return struct.pack(">I", len(data)) + checked + struct.pack(">I", zlib.crc32(checked))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    start = b"\x89PNG\r\n\x1a\n" + header
    return start + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (b"hello, I am no picture", "is no picture; give a PNG, JPEG or WebP file"),
        (b"", "is no picture"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "is no picture"),
        (file_of(Image.effect_noise((90, 90), 50))[:-900], "is broken or cut off"),
        (bomb(10_000, 10_000), r"100 megapixels \(10000 × 10000\); at most 50"),
        (bomb(100_000, 100_000), "megapixels; at most 50"),
        (np.zeros((5, 8, 8)), "5×8×8, with 5 channels; a picture has 1"),
        (np.zeros((2, 3, 8, 8)), "2×3×8×8; a picture is"),
        (np.zeros((0, 8, 3)), "there is nothing in it"),
        (np.full((4, 4), np.nan), "not all finite"),
        (np.array([["a", "b"]]), "holds <U1"),
        (torch.zeros(3, 4, 4, device="meta"), "meta device"),
        (torch.zeros(3, 4, 4, dtype=torch.complex64), "complex"),
    ],
)
def test_what_is_no_picture_is_refused_in_words(source, words):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ValueError, match=words):
            read_picture(source)


def test_other_kinds_are_refused_in_words():
    with pytest.raises(TypeError, match="a dict is no picture; give a path"):
        read_picture({})
    with pytest.raises(OSError, match="No such file"):
        read_picture("/no/such/cat.png")


@given(st.binary(max_size=300))
def test_no_bytes_raise_anything_else(content):
    for start in (b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF\0\0\0\0WEBPVP8 "):
        with pytest.raises(ValueError, match=r"no picture|broken|megapixels|nothing"):
            read_picture(start + content)


WEIGHTS = [
    models.ResNet18_Weights.IMAGENET1K_V1,
    models.ResNet50_Weights.IMAGENET1K_V2,
    models.EfficientNet_B0_Weights.IMAGENET1K_V1,
    models.ViT_B_16_Weights.IMAGENET1K_SWAG_E2E_V1,
    models.segmentation.LRASPP_MobileNet_V3_Large_Weights.COCO_WITH_VOC_LABELS_V1,
]


@pytest.mark.parametrize("weights", WEIGHTS, ids=str)
def test_torchvisions_models_are_prepared_for_as_their_weights_transforms_do(weights):
    name = type(weights).__name__.removesuffix("_Weights").lower()
    with torch.device("meta"):
        options = {"image_size": 384} if "E2E" in weights.name else {}
        model = models.get_model(name, weights=None, weights_backbone=None, **options) if (
            "lraspp" in name
        ) else models.get_model(name, weights=None, **options)  # fmt: skip
    found = {preset.source: preset for preset in presets_for(model, 3, (224, 224))}
    prepare = found[f"{type(weights).__name__}.{weights.name}"]
    image = sample_photograph().image
    assert torch.allclose(prepare(image)[0], weights.transforms()(image), atol=1e-6)


def test_the_default_weights_come_first():
    with torch.device("meta"):
        model = models.resnet50(weights=None)
    assert [preset.source for preset in presets_for(model, 3, (224, 224))] == [
        "ResNet50_Weights.IMAGENET1K_V2", "ResNet50_Weights.IMAGENET1K_V1",
        "ImageNet's numbers", "pixels from 0 to 1",
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "resnet10t", "convnext_atto"])
def test_timms_models_are_prepared_for_as_timm_does(name):
    model = timm.create_model(name, pretrained=False)
    size = timm.data.resolve_data_config(model=model)["input_size"][1:]
    transform = timm.data.create_transform(**timm.data.resolve_data_config(model=model))
    image = sample_photograph().image
    prepared = presets_for(model, 3, size)[0](image)[0]
    assert torch.allclose(prepared, transform(image), atol=1e-6)


def test_transformers_models_are_prepared_for_as_their_processor_does():
    import transformers

    config = transformers.ViTConfig(
        hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8,
        image_size=64, patch_size=16,
    )  # fmt: skip
    prepare = presets_for(transformers.ViTModel(config), 3, (64, 64))[0]
    image = sample_photograph().image
    processor = transformers.ViTImageProcessor(size={"height": 64, "width": 64})
    expected = processor(image, return_tensors="pt")["pixel_values"]
    assert prepare.source == "the defaults of ViTImageProcessor"
    assert prepare(image).shape == expected.shape
    # It resizes tensors, and PIL rounds to whole numbers between the two axes.
    assert (prepare(image) - expected).abs().max() < 3 / 255 / 0.5


def test_a_model_of_grey_pictures_gets_one_channel():
    prepare = presets_for(torch.nn.Conv2d(1, 2, 3), 1, (28, 28))[0]
    prepared = prepare(sample_photograph().image)
    assert prepared.shape == (1, 1, 28, 28)
    assert prepare.mean == (0.449,)


@pytest.mark.parametrize("channels", [1, 3])
def test_what_the_model_sees_is_the_picture_again(channels):
    prepare = presets_for(torch.nn.Conv2d(channels, 2, 3), channels, (40, 30))[0]
    seen = prepare.seen(prepare(sample_photograph().image)[0])
    plain = Preprocessing((40,), (40, 30), (0.0,) * channels, (1.0,) * channels)
    assert torch.allclose(seen, plain(sample_photograph().image)[0].expand(3, -1, -1), atol=1e-6)


def test_numbers_are_read_as_people_write_them():
    for crop in ("224", "224×224", "224x224", "224, 224", "(224 224)"):
        prepare = preprocessing_from_text("256", crop, "0.485 0.456 0.406", "0.229,0.224,0.225")
        assert (prepare.resize, prepare.crop) == ((256,), (224, 224))
        assert prepare.mean == (0.485, 0.456, 0.406)
    assert preprocessing_from_text("", "", "0", "1").words == "pixels from 0 to 1"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"resize": "big"}, "resize is 'big'; write pixels, such as 224"),
        ({"resize": "-3"}, "resize is '-3'; write pixels"),
        ({"crop": "0"}, "sides from 1 to 4096"),
        ({"crop": "99999"}, "sides from 1 to 4096"),
        ({"crop": "2 3 4"}, "crop is '2 3 4'"),
        ({"mean": "0.1 0.2"}, "one for each of the 3 channels"),
        ({"mean": "nan"}, "mean is 'nan'"),
        ({"std": "0.2 0 0.2"}, "every number must be above 0"),
        ({"std": ""}, "std is ''"),
    ],
)
def test_bad_numbers_are_told_in_words(change, words):
    good = {"resize": "256", "crop": "224", "mean": "0.5", "std": "0.5"}
    with pytest.raises(ValueError, match=words):
        preprocessing_from_text(**(good | change))


def test_an_impulse_is_one_point_and_a_checkerboard_has_mean_zero():
    assert impulse(1, 3, 9, 9).sum() == 3
    assert impulse(1, 3, 9, 9)[0, :, 4, 4].tolist() == [1, 1, 1]
    board = checkerboard(2, 3, 64, 64)
    assert board.shape == (2, 3, 64, 64)
    assert board.mean() == 0
    assert torch.equal(board[..., 8:], -board[..., :-8])
