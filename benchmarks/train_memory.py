"""Whether training's memory grows with the training set.

    python benchmarks/train_memory.py

Trains a narrow network for an epoch on packed sets of 2,000 and of 20,000 pictures, which are generated and
take 4 GB of disk meanwhile, and prints the peak of the anonymous memory (RssAnon) of the process and its
children.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from numpy.lib.format import open_memmap

from alexnet_tk.layout import PACKED_INDEX
from alexnet_tk.training.packed import PACKED_FORMAT

SETTINGS = (
    "network.channels=[8,8,8,8,8]",
    "network.hidden=[16,16]",
    "network.init=he",
    "train.epochs=1",
    "train.batch_size=64",
)


def make(folder: Path, pictures: int) -> None:
    """A packed set of noise, in the format of alexnet_tk.training.packed."""
    folder.mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (100, 256, 256, 3), dtype=np.uint8)
    for split, count in (("train", pictures), ("val", 100)):
        array = open_memmap(folder / f"{split}.npy", "w+", np.uint8, (count, 256, 256, 3))
        for first in range(0, count, 100):
            array[first : first + 100] = noise
        np.save(folder / f"{split}_classes.npy", np.arange(count) % 2)
    statistics = {"mean": [128] * 3, "eigenvalues": [9] * 3, "eigenvectors": np.eye(3).tolist()}
    index = {"format": PACKED_FORMAT, "labels": ["a", "b"], "label_ids": [], "statistics": statistics}
    (folder / PACKED_INDEX).write_text(json.dumps(index))


def anonymous(process: int) -> int:
    """RssAnon of a process and its children, bytes; 0 for one that has ended."""
    try:
        status = Path(f"/proc/{process}/status").read_text()
        children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    except OSError:
        return 0
    own = next((int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("RssAnon")), 0)
    return own + sum(anonymous(int(child)) for child in children)


def peak(root: Path, pictures: int) -> int:
    """The peak of a training run's anonymous memory, bytes."""
    folder = root / str(pictures)
    make(folder, pictures)
    words = [word for each in SETTINGS for word in ("--set", each)]
    script, output = Path(sys.executable).with_name("alexnet-tk"), root / f"{pictures}.pt"
    command: list[str | Path] = [script, "train", folder, *words, "--output", output]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    highest = 0
    while process.poll() is None:
        highest = max(highest, anonymous(process.pid))
        time.sleep(0.05)
    if process.returncode:
        sys.exit(f"training ended with {process.returncode}")
    return highest


def main() -> None:
    """Print the peaks of both runs and their difference."""
    with tempfile.TemporaryDirectory() as name:
        few, many = (peak(Path(name), pictures) for pictures in (2_000, 20_000))
    print(f"2,000 pictures: {few / 1e6:.0f} MB; 20,000: {many / 1e6:.0f} MB; {(many - few) / 1e6:+.0f} MB")


if __name__ == "__main__":
    main()
