"""``extract_dataset``: what is stored, how it goes on, and what it refuses."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import nn
from torch.utils import data

from fxexplore import create_feature_extractor, extract_dataset, open_features
from fxexplore.datasets import store as stores

from .cases import Branching, Small, batched, by_hooks, pictures

QUIET = {"progress": False}


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


@pytest.mark.parametrize("cls", [Small, Branching])
@pytest.mark.parametrize(("count", "size"), [(1, 4), (7, 3), (8, 4)])
def test_what_is_stored_is_what_forward_hooks_see(tmp_path, cls, count, size):
    model, dataset = cls(), pictures(count)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    store = extract_dataset(
        model, {"conv": "low", "fc": "high"}, dataset, tmp_path / "s", batch_size=size, **QUIET
    )
    truth = by_hooks(model, ["conv", "fc"], batched(dataset, size))
    for key, path in (("low", "conv"), ("high", "fc")):
        np.testing.assert_array_equal(store.numpy(key), truth[path].numpy())
        assert 1 <= store[key].chunks[0] * store[key][:1].nbytes <= 64 * 2**20
    assert store.labels.tolist() == [label for _, label in dataset]
    assert store.ids == [str(i) for i in range(count)]
    assert model.training
    assert all(torch.equal(model.state_dict()[name], value) for name, value in before.items())


@pytest.mark.parametrize(
    ("reduce", "truth"),
    [
        ("mean", lambda v: v.mean((2, 3))),
        ("max", lambda v: v.amax((2, 3))),
        (lambda v: v[:, 0], lambda v: v[:, 0]),
        ({"conv": "mean"}, lambda v: v.mean((2, 3))),
    ],
)
def test_a_reduction_is_the_same_as_on_the_whole(tmp_path, reduce, truth):
    model, dataset = Small(), pictures(5)
    store = extract_dataset(model, ["conv"], dataset, tmp_path / "s", reduce=reduce, **QUIET)
    whole = by_hooks(model, ["conv"], batched(dataset, 32))["conv"]
    np.testing.assert_allclose(store.numpy("conv"), truth(whole).numpy(), rtol=1e-5, atol=1e-6)


RUNS = []


class Counting(Branching):
    def forward(self, x):
        RUNS.append(len(x))
        return super().forward(x)


def test_what_is_no_picture_costs_no_trial_of_inputs_and_runs_once(tmp_path):
    RUNS.clear()
    extract_dataset(Counting(), ["fc"], pictures(5), tmp_path / "s", batch_size=2, **QUIET)
    assert RUNS == [1, 2, 2, 1]  # the first is recorded


class Tokens(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(11, 4)
        self.block = nn.Linear(4, 4)

    def forward(self, input_ids, attention_mask=None):
        return self.block(self.embed(input_ids)) * attention_mask.unsqueeze(-1)


def _sentences():
    rows = [
        ([1, 2, 3, 0], [1, 1, 1, 0]),
        ([4, 5, 6, 7], [1, 1, 1, 1]),
        ([9, 0, 0, 0], [1, 0, 0, 0]),
    ]
    return [{"input_ids": ids, "attention_mask": mask, "label": 1} for ids, mask in rows]


def test_padding_does_not_count_in_a_mean_and_the_first_token_is_cls(tmp_path):
    model = Tokens()
    reduce = {"mean": "mean", "cls": "cls"}
    # One node under two keys takes two stores.
    found = {
        key: extract_dataset(
            model, {"block": key}, _sentences(), tmp_path / key, reduce={key: way}, **QUIET
        ).numpy(key)
        for key, way in reduce.items()
    }
    with torch.no_grad():
        for i, row in enumerate(_sentences()):
            value = model.block(model.embed(torch.tensor(row["input_ids"])))
            kept = value[torch.tensor(row["attention_mask"]).bool()]
            np.testing.assert_allclose(found["mean"][i], kept.mean(0), rtol=1e-5, atol=1e-6)
            np.testing.assert_allclose(found["cls"][i], value[0], rtol=1e-5, atol=1e-6)


def test_half_precision_halves_the_store(tmp_path):
    store = extract_dataset(
        Small(), ["conv"], pictures(3), tmp_path / "s", dtype="float16", **QUIET
    )
    assert store["conv"].dtype == np.float16
    again = extract_dataset(
        Small().bfloat16(),
        ["conv"],
        [x.bfloat16() for x, _ in pictures(3)],
        tmp_path / "b",
        **QUIET,
    )
    assert again["conv"].dtype == np.float32
    assert again.labels is None


class Stream(data.IterableDataset):
    def __init__(self, elements):
        self.elements = elements

    def __iter__(self):
        return iter(self.elements)


def test_every_kind_of_dataset_gives_the_same(tmp_path):
    model, dataset = Small().eval(), pictures(7)
    tensors = data.TensorDataset(torch.stack([x for x, _ in dataset]), torch.arange(7) % 3)
    kinds = {
        "list": dataset,
        "map": tensors,
        "stream": Stream(dataset),
        "loader": data.DataLoader(tensors, batch_size=3),
        "dicts": [{"x": x, "label": label} for x, label in dataset],
        "workers": tensors,
    }
    extractor = create_feature_extractor(model, ["fc"])
    found = {}
    for name, kind in kinds.items():
        workers = {"num_workers": 2} if name == "workers" else {}
        out = tmp_path / name
        store = extract_dataset(model, ["fc"], kind, out, batch_size=3, **workers, **QUIET)
        found[name] = store.numpy("fc")
        assert store.labels.tolist() == [0, 1, 2, 0, 1, 2, 0], name
    store = extract_dataset(extractor, None, dataset, tmp_path / "made", batch_size=3, **QUIET)
    found["extractor"] = store.numpy("fc")
    for name, values in found.items():
        np.testing.assert_array_equal(values, found["list"], err_msg=name)


@pytest.fixture
def folder(tmp_path):
    """Pictures in two folders, one of them cut in half."""
    for i, name in enumerate(("cats/a.png", "cats/b.png", "dogs/c.png", "dogs/d.png")):
        path = tmp_path / "pictures" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        values = np.random.default_rng(i).integers(0, 255, (40, 30, 3), dtype=np.uint8)
        Image.fromarray(values).save(path)
    path.write_bytes(path.read_bytes()[:900])
    return tmp_path / "pictures"


def test_a_folder_of_pictures_is_prepared_and_what_cannot_be_read_is_told(tmp_path, folder):
    model = nn.Sequential(nn.Conv2d(3, 2, 5, stride=4), nn.ReLU())
    with pytest.raises(ValueError, match=r"sample dogs/d\.png cannot be read.*on_error='skip'"):
        extract_dataset(model, ["1"], folder, tmp_path / "a", **QUIET)
    store = extract_dataset(
        model, ["1"], folder, tmp_path / "b", reduce="mean", on_error="skip", batch_size=2, **QUIET
    )
    assert store.ids == ["cats/a.png", "cats/b.png", "dogs/c.png"]
    assert list(store.labels) == ["cats", "cats", "dogs"]
    assert list(store.skipped) == ["dogs/d.png"]
    assert store["1"].shape == (3, 2)
    own = extract_dataset(
        model,
        ["1"],
        [folder / "cats/a.png"],
        tmp_path / "c",
        transform=lambda image: torch.full((3, 9, 9), float(image.size[0])),
        **QUIET,
    )
    assert own["1"].shape == (1, 2, 2, 2)


# --- it goes on ----------------------------------------------------------------------------


class Power(Exception):  # noqa: N818
    """Something ends the run."""


class Failing(data.Dataset):
    """A dataset that raises at some reads, as often as it is told to."""

    def __init__(self, elements, failures):
        self.elements, self.failures, self.reads = elements, list(failures), 0

    def __len__(self):
        return len(self.elements)

    def __getitem__(self, index):
        self.reads += 1
        if self.failures and self.reads >= self.failures[0]:
            self.failures.pop(0)
            raise Power
        return self.elements[index]


@pytest.mark.thorough
@settings(max_examples=12, deadline=None)
@given(
    count=st.integers(1, 30),
    size=st.integers(1, 8),
    failures=st.lists(st.integers(2, 40), max_size=3).map(sorted),
)
def test_a_run_that_was_ended_goes_on_and_gives_the_same_bits(
    tmp_path_factory, count, size, failures
):
    out = tmp_path_factory.mktemp("stores")
    torch.manual_seed(0)
    model, elements = Small(), pictures(count)
    whole = extract_dataset(model, ["conv", "fc"], elements, out / "a", batch_size=size, **QUIET)
    dataset = Failing(elements, failures)
    for _ in range(len(failures) + 1):
        try:
            parts = extract_dataset(
                model, ["conv", "fc"], dataset, out / "b", batch_size=size, **QUIET
            )
        except ValueError as problem:
            assert "Power" in str(problem)  # noqa: PT017  # it may end well, too
    for key in whole:
        np.testing.assert_array_equal(parts.numpy(key), whole.numpy(key))
    assert parts.labels.tolist() == whole.labels.tolist()
    assert parts.ids == whole.ids


KILLED = """
import sys, torch
sys.path.insert(0, sys.argv[2])
from fxexplore import extract_dataset
from fxexplore.datasets import extraction
from tests.datasets.cases import Small, pictures
torch.manual_seed(0)
extraction._BYTES = 2_000  # so that it writes often
extract_dataset(Small(), ["conv", "fc"], pictures(400), sys.argv[1], batch_size=3, progress=False)
"""


@pytest.mark.parametrize(
    "kills",
    [
        pytest.param(2, marks=pytest.mark.thorough),
        pytest.param(30, marks=pytest.mark.slow),
    ],
)
def test_a_process_that_is_killed_leaves_a_store_that_goes_on(tmp_path, kills):
    root = str(Path(__file__).parents[2])
    command = [sys.executable, "-c", textwrap.dedent(KILLED), str(tmp_path / "killed"), root]
    chance, done = random.Random(0), 0
    while done < kills:
        process = subprocess.Popen(command)
        group = tmp_path / "killed" / "fc" / "c"
        while process.poll() is None and not group.exists():
            time.sleep(0.01)
        time.sleep(chance.uniform(0, 0.4))
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
            done += 1
        elif process.returncode == 0:  # it came to its end before
            done += 1
            for file in sorted((tmp_path / "killed").rglob("*"), reverse=True):
                file.rmdir() if file.is_dir() else file.unlink()
        process.wait()
    subprocess.run(command, check=True)
    torch.manual_seed(0)
    whole = extract_dataset(
        Small(), ["conv", "fc"], pictures(400), tmp_path / "whole", batch_size=3, **QUIET
    )
    store = open_features(tmp_path / "killed")
    assert store.is_complete
    for key in whole:
        np.testing.assert_array_equal(store.numpy(key), whole.numpy(key))
    assert store.ids == whole.ids


def test_an_interrupt_says_how_to_go_on(tmp_path):
    def interrupt(done, _):
        if done >= 6:
            raise KeyboardInterrupt

    with pytest.raises(
        KeyboardInterrupt, match=r"6 of 9 samples are stored; the same call goes on"
    ):
        extract_dataset(
            Small(), ["fc"], pictures(9), tmp_path / "s", batch_size=3, progress=interrupt
        )
    with pytest.warns(UserWarning, match="6 samples; make the same call"):
        assert open_features(tmp_path / "s").samples == 6


def test_a_full_disk_is_an_error_and_the_run_goes_on_later(tmp_path, monkeypatch):
    model, dataset = Small(), pictures(9)
    real = stores.Writer.write

    def full(self, *args):
        if self.samples:
            raise OSError(28, "No space left on device")
        real(self, *args)

    monkeypatch.setattr("fxexplore.datasets.extraction._BYTES", 1)
    monkeypatch.setattr(stores.Writer, "write", full)
    with pytest.raises(OSError, match="No space left"):
        extract_dataset(model, ["fc"], dataset, tmp_path / "s", batch_size=3, **QUIET)
    monkeypatch.setattr(stores.Writer, "write", real)
    store = extract_dataset(model, ["fc"], dataset, tmp_path / "s", batch_size=3, **QUIET)
    truth = by_hooks(model, ["fc"], batched(dataset, 3))["fc"]
    np.testing.assert_array_equal(store.numpy("fc"), truth.numpy())


# --- what is refused -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model": Branching()}, "model was .*Small.*Branching"),
        ({"nodes": ["conv"]}, "return_nodes was"),
        ({"dataset": pictures(4, seed=5)}, "data was"),
        ({"batch_size": 3}, "batch_size was 2, and is 3"),
        ({"reduce": "mean"}, "reduce was"),
    ],
)
def test_a_store_of_something_else_is_not_written_to(tmp_path, change, words):
    torch.manual_seed(0)
    given = {"model": Small(), "nodes": ["fc"], "dataset": pictures(4), "batch_size": 2}

    def run(model, nodes, dataset, **options):
        return extract_dataset(model, nodes, dataset, tmp_path / "s", **options, **QUIET)

    first = run(**given).numpy("fc")
    with pytest.raises(ValueError, match=f"{words}.*overwrite=True"):
        run(**(given | change))
    np.testing.assert_array_equal(open_features(tmp_path / "s").numpy("fc"), first)
    assert run(**(given | change), overwrite=True).is_complete


def test_changed_weights_are_another_model(tmp_path):
    model = Small()
    extract_dataset(model, ["fc"], pictures(4), tmp_path / "s", **QUIET)
    with torch.no_grad():
        model.fc.bias += 1
    with pytest.raises(ValueError, match="parameters was"):
        extract_dataset(model, ["fc"], pictures(4), tmp_path / "s", **QUIET)


class Ragged(nn.Module):
    def forward(self, x):
        return x[:, : int(x[0, 0])] * 1, (x * 2, x)


def _ragged(*lengths):
    return [torch.full((5,), float(length)) for length in lengths]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda out: (Small(), ["fc"], [], out), "no samples"),
        (lambda out: (Small(), ["fc"], 5, out), "dataset is an int"),
        (lambda out: (Small(), ["nothing"], pictures(2), out), "nothing"),
        (lambda out: (Small(), ["fc"], [(1, 2, 3)], out), "of 3 items"),
        (lambda out: (Small(), ["fc"], [{"x": torch.ones(1, 6, 6), "y": 1}], out), "'y'"),
        (
            lambda out: (Small(), ["fc"], [torch.ones(1, 6, 6), torch.ones(1, 7, 7)], out),
            "sample 0 has .*sample 1 has",
        ),
        (
            lambda out: (
                Small(),
                ["fc"],
                data.DataLoader(data.TensorDataset(torch.ones(4, 1, 6, 6)), shuffle=True),
                out,
            ),
            "shuffle=False",
        ),
        (lambda out: (Small(), {"fc": "a/b"}, pictures(2), out), "cannot be the name"),
        (lambda out: (Small(), ["fc"], "no/such/folder", out), "there is no folder"),
    ],
)
def test_what_cannot_be_done_is_said(tmp_path, call, words):
    with pytest.raises((ValueError, TypeError), match=words):
        extract_dataset(*call(tmp_path / "s"), **QUIET)


def test_values_of_other_shapes_name_two_samples(tmp_path):
    with pytest.raises(
        ValueError, match=r"\(2,\) for sample 0, \(3,\) for sample 1; write reduce="
    ):
        extract_dataset(
            Ragged(),
            ["mul"],
            _ragged(2, 3),
            tmp_path / "s",
            batch_size=1,
            backend="recorded",
            **QUIET,
        )


def test_a_last_batch_of_one_with_batch_norm_in_train_mode_is_said(tmp_path):
    model = nn.Sequential(nn.Flatten(), nn.Linear(36, 4), nn.BatchNorm1d(4))
    with pytest.raises(ValueError, match="sample 2 is alone in its batch"):
        extract_dataset(
            model, ["2"], pictures(3), tmp_path / "s", batch_size=2, mode="train", **QUIET
        )


def test_two_runs_do_not_write_to_one_store(tmp_path):
    def meanwhile(*_):
        with pytest.raises(ValueError, match="another process writes to"):
            extract_dataset(Small(), ["fc"], pictures(2), tmp_path / "s", **QUIET)

    extract_dataset(Small(), ["fc"], pictures(2), tmp_path / "s", progress=meanwhile)


def test_a_store_opens_without_fxexplore_and_feeds_a_probe(tmp_path):
    import zarr

    store = extract_dataset(Small(), ["fc"], pictures(6), tmp_path / "s", **QUIET)
    bare = zarr.open_group(tmp_path / "s", mode="r")
    np.testing.assert_array_equal(bare["fc"][:], store.numpy("fc"))
    assert bare["fc"].metadata.dimension_names == ("sample", "fc_1")
    features, labels = next(iter(data.DataLoader(store.dataset("fc"), batch_size=4)))
    np.testing.assert_array_equal(features, store["fc"][:4])
    assert labels.tolist() == [0, 1, 2, 0]
    with pytest.raises(KeyError, match="'conv' is not stored"):
        store["conv"]
    with pytest.raises(ValueError, match="no features in"):
        open_features(tmp_path / "nothing")
