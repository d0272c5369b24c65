"""The host's share of a training step: the time in which Python prepares what a device computes.

    python benchmarks/host_share.py                       # this checkout
    python benchmarks/host_share.py --against CHECKOUT    # and another one that has this benchmark, in turn

Takes steps of the whole trainer, metrics included, on the CPU with a network so small that its arithmetic
hardly counts, and of so few pictures that they are changed in one piece, as all of a batch is on CUDA. Prints
the median of the thread's own time, which other programs on the machine do not add to.
"""

import argparse
import subprocess
import sys
import time
from itertools import cycle, islice
from pathlib import Path
from statistics import median

import numpy as np
import torch
from numpy.typing import NDArray

from alexnet_tk.preprocess import Square
from alexnet_tk.recipe import Recipe
from alexnet_tk.training.augment import EpochDraws
from alexnet_tk.training.changes import PICTURES_PER_PIECE
from alexnet_tk.training.metrics import Tally
from alexnet_tk.training.parallel import World
from alexnet_tk.training.statistics import Statistics
from alexnet_tk.training.trainer import Trainer

STEPS, ROUNDS = 300, 3
PICTURES = 1000
COLOURS = Statistics.from_lists([120, 110, 100], [100, 300, 9000], np.eye(3).tolist())
RECIPE = Recipe().override(
    "network.image_size=16",
    "network.channels=[2,2,2,2,2]",
    "network.hidden=[2,2]",
    "network.c1={kernel=3,stride=1,padding=1}",
    "preprocess.resize=18",
    f"train.batch_size={PICTURES_PER_PIECE}",
)


class BlankSplit:
    """A `Split` of black pictures."""

    targets = np.zeros(PICTURES, np.int64)

    def read(self, index: int, square: Square) -> NDArray[np.uint8]:
        """A black picture."""
        return np.zeros((square.crop, square.crop, 3), np.uint8)

    def name(self, index: int) -> str:
        """Its number."""
        return str(index)


def milliseconds() -> float:
    """The median time of a step in this thread."""
    torch.set_num_threads(1)
    world = World()
    trainer, tally = Trainer(RECIPE, COLOURS, 10, world), Tally(world)
    draws = EpochDraws.draw(RECIPE, 0, PICTURES, COLOURS)
    batches = list(islice(trainer.training_batches(trainer.reader(BlankSplit()), draws), 4))
    times = []
    for number, batch in enumerate(islice(cycle(batches), STEPS)):
        begun = time.thread_time()
        tally.add(*trainer.step(batch, number / STEPS))
        times.append(time.thread_time() - begun)
    return median(times[STEPS // 10 :]) * 1e3


def main() -> None:
    """Measure here, or here and in another checkout in turn."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--against", type=Path, metavar="CHECKOUT")
    against = parser.parse_args().against
    if against is None:
        print(f"{milliseconds():.3f} ms")
        return
    for _ in range(ROUNDS):
        for checkout in (against, Path(__file__).parents[1]):
            command = [sys.executable, "-P", "benchmarks/host_share.py"]
            done = subprocess.run(
                command, cwd=checkout, env={"PYTHONPATH": "."}, capture_output=True, text=True, check=True
            )
            print(f"{checkout}: {done.stdout.strip()}")


if __name__ == "__main__":
    main()
