"""Timed runs of a prediction's parts, each alone, on the cores or the GPU that `predict` would use."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np

from alexnet_tk import images
from alexnet_tk.inference.model import Model
from alexnet_tk.machine import usable_cores

Result = TypeVar("Result")


def network_alone(model: Model, batch_size: int, seconds: float) -> tuple[float, list[float]]:
    """Run the network on random pictures, for about `seconds` but at least once per thread.

    On a CPU every core runs batches of its own, and a GPU is given two at a time, as for `predict`.

    Returns
    -------
    pictures/s, and the seconds of each run

    """
    size = model.image_size
    pictures = np.random.default_rng(0).integers(0, 256, (batch_size, size, size, 3), dtype=np.uint8)

    def run_batches(_: int) -> list[float]:
        latencies: list[float] = []
        end = time.perf_counter() + seconds
        while not latencies or time.perf_counter() < end:
            started = time.perf_counter()
            model.run(pictures)
            latencies.append(time.perf_counter() - started)
        return latencies

    by_thread = _in_threads(run_batches, model.device.runs or usable_cores())
    # Threads end at different times, so each has a rate of its own.
    rate = sum(batch_size * len(latencies) / sum(latencies) for latencies in by_thread)
    return rate, [latency for latencies in by_thread for latency in latencies]


def decoding_alone(model: Model, paths: Sequence[str]) -> float:
    """The pictures/s of reading and decoding on every core; all pictures must be readable."""
    cores = usable_cores()

    def decode(core: int) -> None:
        for path in paths[core::cores]:
            images.load(path, model.preprocess)

    started = time.perf_counter()
    _in_threads(decode, cores)
    return len(paths) / (time.perf_counter() - started)


def _in_threads(work: Callable[[int], Result], threads: int) -> list[Result]:
    """The results of `work` for the numbers from 0, each in a thread of its own."""
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(work, range(threads)))


def limit(network: float, decoding: float, device: str) -> float:
    """The most pictures/s that a machine can reach with these rates of its parts.

    On a CPU the cores take turns at the two, so the times of a picture add up; beside a GPU they
    decode meanwhile.
    """
    return min(network, decoding) if device.startswith("cuda") else 1 / (1 / network + 1 / decoding)
