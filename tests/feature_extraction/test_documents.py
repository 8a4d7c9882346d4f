"""The uses that torchvision's documents show, with the import changed and nothing else."""

from __future__ import annotations

import pytest
import torch
import torchvision
from torch import nn
from torchvision.models import resnet18, resnet50
from torchvision.models.detection.backbone_utils import LastLevelMaxPool
from torchvision.models.detection.mask_rcnn import MaskRCNN
from torchvision.ops.feature_pyramid_network import FeaturePyramidNetwork

from fxexplore import NodePathTracer, create_feature_extractor, get_graph_node_names


def test_return_nodes_with_new_keys():
    model = resnet18(weights=None)
    return_nodes = {"layer1.0.relu": "early", "avgpool": "pooled"}
    model2 = create_feature_extractor(model, return_nodes=return_nodes)
    shapes = [(k, v.shape) for k, v in model2(torch.rand(1, 3, 64, 64)).items()]
    assert shapes == [("early", (1, 64, 16, 16)), ("pooled", (1, 512, 1, 1))]


def test_the_last_relu_of_each_layer_with_the_printed_shapes():
    model = resnet18(weights=None)
    return_nodes = {f"layer{i}.1.relu_1": f"feat{i}" for i in (1, 2, 3, 4)}
    out = create_feature_extractor(model, return_nodes)(torch.rand(1, 3, 224, 224))
    assert [(k, tuple(v.shape)) for k, v in out.items()] == [
        ("feat1", (1, 64, 56, 56)),
        ("feat2", (1, 128, 28, 28)),
        ("feat3", (1, 256, 14, 14)),
        ("feat4", (1, 512, 7, 7)),
    ]


def test_whole_layers_by_the_names_of_their_containers():
    return_nodes = {f"layer{i}": f"layer{i}" for i in (1, 2, 3, 4)}
    extractor = create_feature_extractor(resnet50(weights=None), return_nodes=return_nodes)
    out = extractor(torch.rand(1, 3, 64, 64))
    assert [v.shape[1] for v in out.values()] == [256, 512, 1024, 2048]


def test_names_of_the_nodes_of_resnet18_and_resnet50():
    for build, last in ((resnet18, "layer4.1.relu_1"), (resnet50, "layer4.2.relu_2")):
        train_nodes, eval_nodes = get_graph_node_names(build(weights=None))
        assert train_nodes == eval_nodes
        assert eval_nodes[:5] == ["x", "conv1", "bn1", "relu", "maxpool"]
        assert eval_nodes[-4:] == [last, "avgpool", "flatten", "fc"]


@pytest.mark.parametrize("kind", [set, tuple, list])
def test_leaf_modules_and_the_tracers_own_names(kind):
    model = resnet18(weights=None)
    block = type(model.layer1[0])
    tracer = NodePathTracer(leaf_modules=kind([block]))
    graph = tracer.trace(model)
    assert "layer1.0" in tracer.node_to_qualname.values()
    assert "layer1.0.conv1" not in tracer.node_to_qualname.values()
    extractor = create_feature_extractor(graph, ["layer1.0"])
    assert extractor(torch.rand(1, 3, 64, 64))["layer1.0"].shape == (1, 64, 16, 16)


def test_names_with_leaf_modules_in_tracer_kwargs():
    options = {"leaf_modules": [nn.ReLU]}
    names = get_graph_node_names(resnet18(weights=None), tracer_kwargs=options)
    assert "layer1.0.relu_1" in names[1]
    assert options == {"leaf_modules": [nn.ReLU]}


def test_train_and_eval_return_nodes():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.aux, self.head = (nn.Linear(4, 4) for _ in range(3))

        def forward(self, x):
            x = self.body(x)
            return (self.head(x), self.aux(x)) if self.training else self.head(x)

    model = create_feature_extractor(
        Model(),
        train_return_nodes={"aux": "auxiliary", "head": "out"},
        eval_return_nodes={"head": "out"},
        suppress_diff_warning=True,
    )
    assert list(model.train()(torch.rand(1, 4))) == ["out", "auxiliary"]
    assert list(model.eval()(torch.rand(1, 4))) == ["out"]


class Resnet50WithFPN(nn.Module):
    def __init__(self):
        super().__init__()
        m = resnet50(weights=None)
        self.body = create_feature_extractor(
            m, return_nodes={f"layer{k}": str(v) for v, k in enumerate([1, 2, 3, 4])}
        )
        inp = torch.randn(2, 3, 64, 64)
        with torch.no_grad():
            out = self.body(inp)
        in_channels_list = [o.shape[1] for o in out.values()]
        self.out_channels = 256
        self.fpn = FeaturePyramidNetwork(
            in_channels_list, out_channels=self.out_channels, extra_blocks=LastLevelMaxPool()
        )

    def forward(self, x):
        return self.fpn(self.body(x))


@pytest.mark.thorough
def test_a_mask_rcnn_on_a_resnet50_with_a_feature_pyramid():
    torch.manual_seed(0)
    model = MaskRCNN(Resnet50WithFPN(), num_classes=3, min_size=64, max_size=64).eval()
    with torch.no_grad():
        (result,) = model([torch.rand(3, 64, 64)])
    assert set(result) == {"boxes", "labels", "scores", "masks"}
    target = {
        "boxes": torch.tensor([[4.0, 4.0, 40.0, 40.0]]),
        "labels": torch.tensor([1]),
        "masks": torch.ones(1, 64, 64, dtype=torch.uint8),
    }
    losses = model.train()([torch.rand(3, 64, 64)], [target])
    sum(losses.values()).backward()
    assert model.backbone.body.conv1.weight.grad.abs().sum() > 0


def test_torchvisions_own_answers_on_a_plain_model_are_ours_too():
    import torchvision.models.feature_extraction as theirs

    model = torchvision.models.vgg11(weights=None).eval()
    specs = {"features.5": "a", "avgpool": "b", "classifier.6": "c"}
    image = torch.rand(1, 3, 64, 64)
    ours = create_feature_extractor(model, specs)(image)
    peers = theirs.create_feature_extractor(model, specs)(image)
    # features.5 is a max pool: no in-place operation overwrites what torchvision returns.
    assert all(torch.equal(ours[key], peers[key]) for key in peers)
