"""What kind of thing a box stands for, and the tint and the sign that tell kinds apart."""

from __future__ import annotations

from fxexplore.model_graph import Module, Node

# Words of leaf modules and operations, in lower case; the first kind that has one wins.
_WORDS: dict[str, tuple[str, ...]] = {
    "convolution": ("conv",),
    "normalisation": ("norm",),
    "attention": ("attention",),
    "pooling": ("pool", "interpolate", "upsample"),
    "linear": ("linear", "mlp", "embedding", "matmul", "einsum", "bmm", "addmm"),
    "activation": (
        "relu", "gelu", "silu", "elu", "hardswish", "hardsigmoid", "sigmoid", "tanh", "softmax",
        "mish", "softplus", "swish",
    ),
    "arithmetic": (
        "add", "sub", "mul", "truediv", "div", "pow", "neg", "sum", "mean", "sqrt", "exp", "log",
        "cumsum", "clamp", "abs", "maximum", "minimum",
    ),
}  # fmt: skip
_LOOKS = {
    "convolution": ("#cfe6f7", "▦"),
    "normalisation": ("#dfe0f2", "≡"),
    "activation": ("#fbdcc4", "∫"),
    "attention": ("#fbf1b4", "◎"),
    "pooling": ("#c9ecdf", "▽"),
    "linear": ("#f6d9e8", "∑"),
    "arithmetic": ("#e6e6e6", "±"),
    "input": ("#ffffff", "○"),
    "output": ("#ffffff", "●"),
    "parameter": ("#f4ecdf", "◆"),
    "folded": ("#eceef1", "▸"),
    "operation": ("#ffffff", "ƒ"),
}
FILLS = {kind: fill for kind, (fill, _) in _LOOKS.items()}
"""Fill of each kind of box on white: light tints of a palette for colour-blind readers."""

GLYPHS = {kind: glyph for kind, (_, glyph) in _LOOKS.items()}
"""A sign of each kind, which tells boxes apart without their colour."""


def kind_of(item: Node | Module) -> str:
    """The kind of box that stands for a node or module: ``"convolution"``, ``"folded"``, ...

    Example:
        >>> kind_of(Node("layer1.0.conv1", "module", "Conv2d"))
        'convolution'
    """
    if isinstance(item, Module):
        return "folded"
    if item.kind in ("input", "parameter"):
        return item.kind
    target = item.target.lower()
    for kind, words in _WORDS.items():
        if kind == "arithmetic":  # "add" is no part of another word, such as "padding"
            if target.strip("_").removeprefix("i") in words or target.strip("_") in words:
                return kind
        elif any(word in target for word in words):
            return kind
    return "operation"
