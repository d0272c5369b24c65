"""The parts of a prediction, each alone, on the cores or the GPU that `predict` would use."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np

from alexnet_tk import images
from alexnet_tk.inference.machine import usable_cores
from alexnet_tk.inference.model import Model

Result = TypeVar("Result")


def on_every_core(work: Callable[[int], Result], cores: int | None = None) -> list[Result]:
    """What this work, which is told its number, gives in a thread for each usable core."""
    cores = cores or usable_cores()
    with ThreadPoolExecutor(cores) as pool:
        return list(pool.map(work, range(cores)))


def network_alone(model: Model, batch_size: int, seconds: float) -> tuple[float, list[float]]:
    """Pictures a second without decoding, and the seconds of each run, of which there is one at least.

    On a CPU every core runs batches of its own, as it does for `predict`; a GPU is fed by one thread.
    """
    size = model.image_size
    pictures = np.random.default_rng(0).integers(0, 256, (batch_size, size, size, 3), dtype=np.uint8)

    def work(_: int) -> list[float]:
        runs: list[float] = []
        end = time.perf_counter() + seconds
        while not runs or time.perf_counter() < end:
            begun = time.perf_counter()
            model.run(pictures)
            runs.append(time.perf_counter() - begun)
        return runs

    several = on_every_core(work, None if model.device.name == "cpu" else 1)
    # Cores end at different times, so each has a rate of its own.
    rate = sum(batch_size * len(runs) / sum(runs) for runs in several)
    return rate, [each for runs in several for each in runs]


def decoding_alone(model: Model, paths: Sequence[str]) -> float:
    """Pictures a second without the network; all must be readable."""
    cores = usable_cores()

    def work(core: int) -> None:
        for path in paths[core::cores]:
            images.load(path, model.preprocess.resize, model.image_size, model.preprocess.filter)

    begun = time.perf_counter()
    on_every_core(work, cores)
    return len(paths) / (time.perf_counter() - begun)


def limit(network: float, decoding: float, device: str) -> float:
    """The most pictures a second of which a machine with these parts is capable.

    Cores take turns at the two, so the times of a picture add up; beside a GPU they decode meanwhile.
    """
    return 1 / (1 / network + 1 / decoding) if device == "cpu" else min(network, decoding)
