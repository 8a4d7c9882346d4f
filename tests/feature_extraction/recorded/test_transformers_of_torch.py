"""The transformers of torch.nn open like any module: what is inside is what hooks see."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from fxexplore import create_feature_extractor, get_graph_node_names, open_model

LAYER = {"d_model": 16, "nhead": 4, "dim_feedforward": 32, "batch_first": True}


class Encoder(nn.Module):
    """With a mask of padding, for which torch would pack the batch if nobody looked."""

    def __init__(self, **options):
        super().__init__()
        self.encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(**LAYER, **options), 2)
        self.head = nn.Linear(16, 3)

    def forward(self, x):
        padded = torch.arange(x.shape[1]).expand(x.shape[:2]) > 3
        return self.head(self.encoder(x, src_key_padding_mask=padded))


MODELS = {
    "encoder": lambda: (Encoder(), (torch.ones(2, 6, 16),)),
    "norm first": lambda: (Encoder(norm_first=True, activation="gelu"), (torch.ones(2, 6, 16),)),
    "decoder": lambda: (
        nn.TransformerDecoder(nn.TransformerDecoderLayer(**LAYER), 2),
        (torch.ones(2, 6, 16), torch.ones(2, 5, 16)),
    ),
    "both": lambda: (
        nn.Transformer(16, 4, 1, 1, 32, batch_first=True),
        (torch.ones(2, 6, 16), torch.ones(2, 5, 16)),
    ),
}


def first(value):
    return value[0] if isinstance(value, tuple) else value


@pytest.mark.filterwarnings("ignore:.*recording one run", "ignore:enable_nested_tensor")
@pytest.mark.parametrize("name", MODELS)
def test_every_layer_gives_what_a_hook_sees(name):
    torch.manual_seed(0)
    model, inputs = MODELS[name]()
    model.eval()
    graph = open_model(model, inputs)
    layers = [
        path
        for path, module in model.named_modules()
        if path and not isinstance(module, nn.ModuleList) and "out_proj" not in path
    ]
    assert set(layers) <= set(graph.index)
    assert any(node.source and "transformer.py" in node.source for node in graph.nodes)
    extractor = create_feature_extractor(model, layers, example_inputs=inputs, mode="eval")
    seen = {}
    for path in layers:
        model.get_submodule(path).register_forward_hook(
            lambda _module, _args, output, path=path: seen.update({path: first(output)})
        )
    with torch.no_grad():
        values = extractor(*inputs)
    seen.clear()
    model(*inputs)  # with gradients, without which torch packs a padded batch
    assert values.keys() == seen.keys()
    for path, value in values.items():
        torch.testing.assert_close(first(value), seen[path])
    assert torch.backends.mha.get_fastpath_enabled()


def test_a_trace_without_inputs_has_one_node_and_says_how_to_open_it():
    model = Encoder().eval()
    assert "encoder" in get_graph_node_names(model)[1]
    with pytest.raises(ValueError, match=": a run shows what is inside"):
        create_feature_extractor(model, ["encoder.layers.0"])


def test_the_callers_leaf_stays_closed():
    leaves = {"leaf_modules": [nn.TransformerEncoder]}
    graph = open_model(Encoder().eval(), torch.ones(2, 6, 16), tracer_kwargs=leaves)
    assert (graph["encoder"].kind, graph.backend) == ("module", "symbolic")
