"""The host's share of a training step: the time in which Python prepares what a device computes.

    python benchmarks/host_share.py                       # this checkout
    python benchmarks/host_share.py --against CHECKOUT    # and another one that has this benchmark, in turn

Takes steps of the whole trainer, metrics included, on the CPU with one picture and a network so small that
its arithmetic hardly counts. Where Triton is installed, LRN takes its way on CUDA, with a driver that
launches nothing. Prints the median of the thread's own time, to which other programs on the machine add
little, beside that of a bare step: the same layers without LRN, their gradients, and torch's update.
"""

import argparse
import importlib.util
import os
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from alexnet_tk.network import alexnet
from alexnet_tk.preprocess import Square
from alexnet_tk.recipe import Recipe
from alexnet_tk.training.augment import EpochDraws
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
    "train.batch_size=1",
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


class Driver:
    """Triton's driver for a GPU that does not exist."""

    def __init__(self, *arguments: Any) -> None:
        self.utils = self

    def __call__(self, *arguments: Any) -> None:
        """Launch nothing."""

    def launcher_cls(self, *arguments: Any) -> "Driver":
        """What launches a kernel."""
        return self

    def load_binary(self, *arguments: Any) -> tuple[int, int, int, int, int]:
        """A kernel: its handles, registers, spilt registers, and largest number of threads."""
        return 1, 1, 0, 0, 1024

    def get_device_properties(self, device: int) -> dict[str, int]:
        """The shared memory, which a kernel must not exceed."""
        return {"max_shared_mem": 1 << 20}

    def get_current_target(self) -> Any:
        """What to compile for."""
        from triton.backends.compiler import GPUTarget

        return GPUTarget("cuda", 90, 32)

    def get_current_device(self) -> int:
        """Its number."""
        return 0

    def get_current_stream(self, device: int) -> int:
        """Its handle."""
        return 0


def normalise_as_on_cuda() -> None:
    """Have the network's LRN launch its kernels."""
    from triton.runtime import driver

    from alexnet_tk.network import lrn_triton

    os.environ["TRITON_DEFAULT_FP_FUSION"] = "1"  # unset, Triton warns of a change of its default
    type(driver).active = Driver()
    vars(alexnet)["operator_for"] = lambda x: lrn_triton.launched_local_response_norm


def milliseconds(step: Callable[[int], None]) -> float:
    """The median time of a step in this thread."""
    times = []
    for number in range(STEPS):
        begun = time.thread_time()
        step(number)
        times.append(time.thread_time() - begun)
    return median(times[STEPS // 10 :]) * 1e3


def whole_step() -> Callable[[int], None]:
    """A step of the trainer, and its metrics."""
    world = World()
    trainer, tally = Trainer(RECIPE, COLOURS, 10, world), Tally(world)
    draws = EpochDraws.draw(RECIPE, 0, PICTURES, COLOURS)
    batches = list(islice(trainer.training_batches(trainer.reader(BlankSplit()), draws), 4))
    return lambda number: tally.add(*trainer.step(batches[number % 4], number / STEPS))


def bare_step() -> Callable[[int], None]:
    """What any training of the same layers does."""
    recipe = RECIPE.override("network.lrn.enabled=false")
    network = alexnet.AlexNet(recipe.network, 10).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimiser = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4, fused=True)
    x = torch.zeros(1, 3, 16, 16).contiguous(memory_format=torch.channels_last)
    targets = torch.zeros(1, dtype=torch.int64)

    def step(number: int) -> None:
        optimiser.zero_grad()
        F.cross_entropy(network(x), targets).backward()  # type: ignore[no-untyped-call]
        optimiser.step()

    return step


def main() -> None:
    """Measure here, or here and in another checkout in turn."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--against", type=Path, metavar="CHECKOUT")
    against = parser.parse_args().against
    if against is None:
        torch.set_num_threads(1)
        if importlib.util.find_spec("triton"):
            normalise_as_on_cuda()
        whole, bare = (milliseconds(step) for step in (whole_step(), bare_step()))
        print(f"{whole:.3f} ms, of which a bare step {bare:.3f} ms")
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
