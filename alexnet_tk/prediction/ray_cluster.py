"""The Ray cluster that answers pictures: reached or started, and how many actors it has room for."""

import io
import logging
import os
import re
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from typing import Any

import ray
import ray.data

from alexnet_tk.errors import ClusterError, DeviceError, UsageError
from alexnet_tk.inference.pipeline import CPU_BATCH_SIZE, CUDA_BATCH_SIZE
from alexnet_tk.inference.runtime import native_log
from alexnet_tk.machine import usable_cores
from alexnet_tk.progress import SILENCE, Progress
from alexnet_tk.text import counted, one_line


@dataclass(frozen=True)
class Pool:
    """The actors that a cluster has room for."""

    actors: int
    device: str  # of each, "cpu", "openvino" or "cuda"
    threads: int  # of each

    def __str__(self) -> str:
        return f"{self.actors} × {self.device}, {counted(self.threads, 'thread')} each"

    @property
    def batch_size(self) -> int:
        """Pictures in a run of the network, where nothing else is said."""
        return CUDA_BATCH_SIZE if self.device == "cuda" else CPU_BATCH_SIZE


@contextmanager
def connect(device: str = "auto", workers: int | None = None, progress: Progress = SILENCE) -> Iterator[Pool]:
    """The cluster that RAY_ADDRESS names, else a Ray of this machine that ends with the block.

    Parameters
    ----------
    device
        "auto": CUDA if the cluster has GPUs, one for each actor, else the CPU; "cpu", "openvino", which every
        machine must have then, or "cuda"
    workers
        actors; None: one for each GPU, or each core. Actors without room wait for it
    progress
        receives what Ray reports

    Raises
    ------
    ClusterError
        no cluster answers, or it has nothing to compute with
    DeviceError
        "cuda", and the cluster has no GPU
    UsageError
        one GPU of many is named

    """
    if device not in ("auto", "cpu", "openvino", "cuda"):
        raise UsageError(
            f"--device is {device!r}; over Ray it must be auto, cpu, openvino or cuda: Ray deals out the GPUs"
        )
    begun = not ray.is_initialized()
    with redirect_stdout(_Notes(progress)):  # also while Ray ends
        try:
            if begun:
                _start(workers)
            yield _pool(device, workers)
        finally:
            if begun:
                ray.shutdown()


class _Notes(io.TextIOBase):
    """Passes on what Ray prints on stdout, a line for each message: mostly that an actor is restarted."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def write(self, text: str) -> int:
        """Take a message, which comes in one piece, or the end of its line."""
        first = re.sub(r"\x1b\[\d*m|\(raylet\)", "", text).strip().partition(". ")[0]
        if first and "ray.kill" not in text:  # actors that Ray ends when the command is stopped are no news
            self._progress.say(f"ray: {first}")
        return len(text)


def _start(workers: int | None) -> None:
    """Connect this process with a cluster, or start one of this machine; raises `ClusterError`."""
    address = os.environ.get("RAY_ADDRESS")
    terminated = signal.getsignal(signal.SIGTERM)
    # What Ray tells stays in its logs: here it would run into the bar and the errors.
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.CRITICAL}
    # Its core would print that restarts need the arguments of Ray Data's own, which Ray Data holds.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        if address:
            _knock(address)
        with native_log():  # the core says there that it heeds the level
            if address:
                ray.init(**quiet)
            else:
                ray.init("local", num_cpus=workers or usable_cores(), include_dashboard=False, **quiet)
    except (OSError, RuntimeError, ValueError) as error:  # ConnectionError is the first of these
        reason = one_line(error)
        if not address:
            raise ClusterError(f"Ray can't be started here: {reason}") from error
        raise ClusterError(
            f"no Ray cluster answers at RAY_ADDRESS={address}: {reason}; one that asks for a token wants "
            "RAY_AUTH_MODE=token and the token, too"
        ) from error
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, terminated)  # Ray put its own there, which ends with another code
    for handler in logging.getLogger("ray.data").handlers:
        if handler.name == "console":
            handler.setLevel(logging.CRITICAL)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = context.print_on_execution_start = False


def _knock(address: str) -> None:
    """Raise `OSError` if nobody listens there: Ray itself would try for minutes."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()


def _pool(device: str, workers: int | None) -> Pool:
    """As many actors as the cluster has room for; raises `ClusterError`, `DeviceError`."""
    room = ray.cluster_resources()  # type: ignore[no-untyped-call]
    cores, gpus = int(room.get("CPU", 0)), int(room.get("GPU", 0))
    if device == "cuda" and not gpus:
        raise DeviceError("--device cuda: the Ray cluster has no GPU; --device cpu works everywhere")
    if device in ("auto", "cuda") and gpus:
        return Pool(workers or gpus, "cuda", max(1, cores // gpus))  # its share of cores decodes for a GPU
    if not cores:
        raise ClusterError("the Ray cluster has no core to compute with; start its nodes with --num-cpus")
    return Pool(workers or cores, "cpu" if device == "auto" else device, 1)
