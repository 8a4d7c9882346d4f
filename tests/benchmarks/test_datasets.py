"""A pass over a dataset against the bare loop, and its memory: `pytest -m slow -s`."""

import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import torchvision
from torch.utils import data

from fxexplore import extract_dataset

pytestmark = pytest.mark.slow


def seconds(run):
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def test_storing_costs_little_beside_the_bare_loop_and_an_early_node_gains(tmp_path):
    model = torchvision.models.resnet18(weights=None).eval()
    dataset = data.TensorDataset(torch.rand(256, 3, 128, 128), torch.arange(256))
    loader = data.DataLoader(dataset, batch_size=32)
    counter = iter(range(1000))

    def bare():
        with torch.no_grad():
            for pictures, _ in loader:
                model(pictures)

    def stored(*nodes):
        extract_dataset(model, nodes, loader, tmp_path / str(next(counter)), progress=False)

    runs = {
        "bare loop": bare,
        "avgpool": lambda: stored("avgpool"),
        "layer4": lambda: stored("layer4"),
        "layer1": lambda: stored("layer1"),
        "four stages": lambda: stored("layer1", "layer2", "layer3", "layer4"),
    }
    times = {name: [] for name in runs}
    for run in runs.values():
        run()
    for _ in range(5):
        for name, run in runs.items():
            times[name].append(seconds(run))
    floor = times["bare loop"]
    throughput = {
        name: statistics.median(base / own for base, own in zip(floor, values, strict=True))
        for name, values in times.items()
    }
    print("throughput of the bare loop:", {k: f"{v:.2f}" for k, v in throughput.items()})
    assert throughput["avgpool"] >= 0.95
    assert throughput["layer4"] >= 0.95
    assert throughput["layer1"] > 1.3


PEAK = """
import resource, sys, tempfile
import torch
from torch import nn
from fxexplore import extract_dataset

class Noise(torch.utils.data.Dataset):
    def __len__(self):
        return int(sys.argv[1])
    def __getitem__(self, index):
        return torch.full((3, 32, 32), float(index % 7))

model = nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU())
with tempfile.TemporaryDirectory() as folder:
    extract_dataset(model, ["1"], Noise(), folder + "/s", progress=False)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_memory_does_not_grow_with_the_samples():
    root = Path(__file__).parents[2]
    peaks = {}
    for count in (2_000, 20_000):  # 115 MB and 1.15 GB of values
        command = [sys.executable, "-c", PEAK, str(count)]
        shown = subprocess.run(command, capture_output=True, text=True, check=True, cwd=root)
        peaks[count] = int(shown.stdout) / 1024
    print("peak MB:", {count: f"{peak:.0f}" for count, peak in peaks.items()})
    assert peaks[20_000] - peaks[2_000] < 60
