"""Against torchvision: its names wherever they are true, its models' own values everywhere."""

from __future__ import annotations

import gc
import inspect
import warnings
from collections import Counter

import pytest
import torch
import torchvision
import torchvision.models.feature_extraction as theirs
from torch import nn

from fxexplore import open_model
from fxexplore.feature_extraction import create_feature_extractor, get_graph_node_names
from tests.feature_extraction.truth import returned_by_modules, same
from tests.marks import mostly_thorough

QUICK = [
    "resnet18",
    "quantized_shufflenet_v2_x0_5",
    "vit_b_16",
    "swin_v2_t",
    "mobilenet_v3_small",
    "googlenet",
    "densenet121",
    "efficientnet_v2_s",
    "lraspp_mobilenet_v3_large",
]
ALL = torchvision.models.list_models()
# Control flow on data, by design of these architectures: nothing opens them symbolically.
NOT_SYMBOLIC = ("rcnn", "retinanet", "ssd", "fcos", "raft")
# Too large to run here next to anything else; their names are compared all the same.
NAMES_ALONE = ("vit_h_14", "regnet_y_128gf", "vit_l_", "convnext_large", "efficientnet_v2_l")


def build(name: str) -> nn.Module:
    builder = torchvision.models.get_model_builder(name)
    options = {"weights": None}
    parameters = inspect.signature(builder).parameters
    if "weights_backbone" in parameters:
        options["weights_backbone"] = None
    if name in ("googlenet", "inception_v3"):
        options["init_weights"] = False
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return builder(**options).eval()


def example(name: str, model: nn.Module) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    size: tuple[int, ...] = (64, 64)
    if name.startswith("mvit") or name == "s3d":
        size = (16, 224, 224)
    elif name.startswith(("r3d", "mc3", "r2plus1d")):
        size = (4, 32, 32)
    elif name.startswith("swin3d"):
        size = (4, 64, 64)
    elif name.startswith("maxvit"):
        size = (224, 224)
    elif name.startswith("vit"):
        size = (model.image_size,) * 2
    elif name.startswith(("inception", "quantized_inception")):
        size = (96, 96)
    return torch.rand(2, 3, *size, generator=generator)[:1]


def symbolic(names):
    return [name for name in names if not any(part in name for part in NOT_SYMBOLIC)]


# --- names ---------------------------------------------------------------------------


def expected_name(
    theirs_name: str, ours_name: str, paths: set[str], seen: Counter[str]
) -> str | None:
    """The rule by which our name differs from torchvision's; None if no rule allows it.

    ``seen`` counts names without their suffix, as torchvision repeats them.
    """
    base = _without_number(theirs_name)
    if ours_name in paths:
        return "a real module's path belongs to that module"
    taken = {base, *(f"{base}_{i}" for i in range(seen[base] + 1))} & paths
    if _without_number(ours_name) == base and taken:
        return "an operation may not bear a real module's path"
    return None


def _without_number(name: str) -> str:
    head, _, tail = name.rpartition("_")
    return head if head and tail.isdigit() else name


def exceptions(model: nn.Module) -> list[tuple[str, str]]:
    """The pairs of differing names that no rule explains."""
    ours = get_graph_node_names(model, suppress_diff_warning=True)
    peers = theirs.get_graph_node_names(model, suppress_diff_warning=True)
    paths = {path for path, _ in model.named_modules(remove_duplicate=False)}
    unexplained = []
    for our_names, their_names in zip(ours, peers, strict=True):
        assert len(our_names) == len(their_names)
        seen: Counter[str] = Counter()
        for ours_name, theirs_name in zip(our_names, their_names, strict=True):
            if ours_name != theirs_name and not expected_name(theirs_name, ours_name, paths, seen):
                unexplained.append((theirs_name, ours_name))
            seen[_without_number(theirs_name)] += 1
    return unexplained


def check_names(name: str) -> None:
    try:
        with torch.device("meta"):  # names need no numbers
            model = build(name)
    except NotImplementedError:  # its initialisation does
        model = build(name)
    try:
        theirs.get_graph_node_names(model, suppress_diff_warning=True)
    except Exception:  # noqa: BLE001 - whatever stops the peer
        pytest.fail(f"torchvision does not open {name}: list it in NOT_SYMBOLIC")
    assert exceptions(model) == []


@pytest.mark.parametrize("name", mostly_thorough(QUICK, "resnet18", "vit_b_16"))
def test_names_are_torchvisions_but_for_the_rules(name):
    check_names(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", symbolic(ALL))
def test_names_are_torchvisions_but_for_the_rules_on_every_model(name):
    check_names(name)
    gc.collect()


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n in ALL if n not in symbolic(ALL)])
def test_models_we_do_not_open_torchvision_does_not_open_either(name):
    model = build(name)
    for look in (theirs.get_graph_node_names, get_graph_node_names):
        with pytest.raises((ValueError, TypeError, RuntimeError, AssertionError)):
            look(model)


def test_the_rules_explain_a_shifted_norm_and_nothing_else():
    block = "encoder.layers.encoder_layer_0"
    paths = {f"{block}.ln_1", f"{block}.ln_2"}
    assert expected_name(f"{block}.ln", f"{block}.ln_1", paths, Counter())
    assert not expected_name(f"{block}.add", f"{block}.sum", paths, Counter())
    assert not expected_name(f"{block}.add", f"{block}.add_1", paths, Counter())


# --- values --------------------------------------------------------------------------


def wrong_values(name: str) -> tuple[int, list[str]]:
    """How many module specs were compared with hooks, and which are wrong."""
    model, image = build(name), example(name, build(name))
    names = set(get_graph_node_names(model, suppress_diff_warning=True)[1])
    with torch.no_grad():
        calls = returned_by_modules(model, (image.clone(),))
        calls.pop("")
        truth = {p: v[0] if p in names else v[-1] for p, v in calls.items()}
        specs = [path for path in truth if not _is_hidden(model, path, names)]
        extractor = create_feature_extractor(
            model,
            train_return_nodes=[next(iter(specs))],
            eval_return_nodes=specs,
            suppress_diff_warning=True,
        )
        torch.manual_seed(0)
        values = extractor(image.clone())
        wrong = [spec for spec in specs if not same(values[spec], truth[spec])]
        # A few of them alone: no spec may change another's answer.
        for spec in specs[:: max(1, len(specs) // 4)]:
            alone = create_feature_extractor(
                model,
                train_return_nodes=[specs[0]],
                eval_return_nodes=[spec],
                suppress_diff_warning=True,
            )
            if not same(alone(image.clone())[spec], truth[spec]):
                wrong.append(f"{spec} alone")
    return len(specs), wrong


def _is_hidden(model: nn.Module, path: str, names: set[str]) -> bool:
    """Whether a module is inside one that is a single node."""
    parts = path.split(".")
    return any(
        ".".join(parts[:i]) in names and _is_leaf(model, parts[:i]) for i in range(1, len(parts))
    )


def _is_leaf(model: nn.Module, parts: list[str]) -> bool:
    return isinstance(model.get_submodule(".".join(parts)), nn.Module)


@pytest.mark.parametrize("name", mostly_thorough(QUICK, "resnet18"))
def test_every_module_gives_what_a_forward_hook_sees(name):
    compared, wrong = wrong_values(name)
    assert compared
    assert wrong == []


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("deeplabv3_mobilenet_v3_large", marks=pytest.mark.thorough),
        pytest.param("maxvit_t", marks=pytest.mark.slow),
        pytest.param("coat_tiny", marks=pytest.mark.slow),
    ],
)
def test_containers_give_what_torchvision_gives(name):
    if name == "coat_tiny":  # its blocks share modules with others
        model = pytest.importorskip("timm").create_model(name).eval()
    else:
        model = build(name)
    image = torch.rand(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    called = returned_by_modules(model, (image,))
    graph = open_model(model, image)
    specs = [path for path in graph.find("*") if graph[path].calls == 0]
    assert specs
    assert not set(specs) & set(called)
    for backend in ("symbolic", "recorded"):
        options = {"example_inputs": image, "backend": backend, "mode": "eval"}
        values = create_feature_extractor(model, specs, **options)(image)
        for spec in specs:
            theirs_too = theirs.create_feature_extractor(
                model,
                train_return_nodes=[spec],
                eval_return_nodes=[spec],
                suppress_diff_warning=True,
            )
            assert same(values[spec], theirs_too(image)[spec]), spec


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n in symbolic(ALL) if not n.startswith(NAMES_ALONE)])
def test_every_module_gives_what_a_forward_hook_sees_on_every_model(name):
    compared, wrong = wrong_values(name)
    print(f"{name}: {compared} module specs")
    assert wrong == []
    gc.collect()
