"""The processes of a run: how many they are, which of them this is, what they tell one another.

Who starts them, torchrun or `launch.py`, leaves each its place in the environment (RANK, WORLD_SIZE,
LOCAL_RANK); without it a run has one process, and nothing is sent. Tensors on CUDA go over NCCL, all else
over gloo, so that processes can agree on something without waiting for their devices.
"""

import ctypes
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor

from alexnet_tk.errors import TrainingError, UsageError
from alexnet_tk.inference.machine import usable_cores

T = TypeVar("T")
LOST = "another process of this run has ended"


class World:
    """The processes of a run, each with a number from 0, its rank."""

    def __init__(
        self,
        rank: int = 0,
        size: int = 1,
        device: torch.device | None = None,
        store: "dist.Store | None" = None,  # type: ignore[name-defined]
    ) -> None:
        self.rank, self.size = rank, size
        self.device = device or torch.device("cpu")  # of this process: what it sends must lie there
        self._store = store  # the launcher's, which outlives this process

    @property
    def cores(self) -> int:
        """This process's share of the cores that it and the others on its machine may use."""
        return max(1, usable_cores() // int(os.environ.get("LOCAL_WORLD_SIZE", 1)))

    @property
    def first(self) -> bool:
        """Whether this process is the one that writes files and tells the user."""
        return self.rank == 0

    def left_behind(self, path: Path) -> bool:
        """Whether processes that torchrun has now started again wrote this file.

        To be asked before it is written. What the file was when the launcher began, the launcher's store
        keeps; where that is lost, the file counts as theirs, since it may hold hours of work.
        """
        if self._store is None:
            return False
        found = str(path.stat().st_mtime_ns) if path.exists() else "none"
        if not _restarts():
            self._store.set(str(path), found)
            return False
        return not self._store.check([str(path)]) or self._store.get(str(path)) != found.encode()

    def total(self, tensor: Tensor) -> Tensor:
        """The sum of the processes' tensors of this shape, on every process; CUDA is not waited for."""
        if self.size == 1:
            return tensor
        result = tensor.detach().to(self.device, copy=True)
        dist.all_reduce(result)
        return result.to(tensor.device)

    def most(self, value: int) -> int:
        """The largest of the processes' numbers."""
        if self.size == 1:
            return value
        numbers = torch.tensor(value)
        dist.all_reduce(numbers, dist.ReduceOp.MAX)
        return int(numbers)

    def once(self, function: Callable[[], T]) -> T:
        """What the function gives in the first process, for all of them; the others don't call it."""
        if self.size == 1:
            return function()
        values = [function() if self.first else None]
        dist.broadcast_object_list(values, device=torch.device("cpu"))
        return cast(T, values[0])

    def each(self, value: T) -> list[T]:
        """The processes' values, in their order, on every process."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value)
        return values

    def collected(self, value: T) -> list[T]:
        """The processes' values, in their order, on the first one; elsewhere an empty list."""
        if self.size == 1:
            return [value]
        values: list[Any] | None = [None] * self.size if self.first else None
        dist.gather_object(value, values)
        return values or []


def started_by_launcher() -> bool:
    """Whether torchrun, or `launch.py`, started this process."""
    return {"RANK", "WORLD_SIZE", "LOCAL_RANK"} <= os.environ.keys()


def is_first() -> bool:
    """Whether this is the first process of its run, asked before they have joined."""
    return not started_by_launcher() or os.environ["RANK"] == "0"


def _restarts() -> int:
    """How often torchrun has started the processes again after one of them had died."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", 0))


def local_rank() -> int:
    """This process's number among those of its machine: its CUDA device."""
    return int(os.environ["LOCAL_RANK"]) if started_by_launcher() else 0


@contextmanager
def joined(device: torch.device) -> Iterator[World]:
    """The world that this process belongs to, for as long as the block lasts.

    Raises
    ------
    TrainingError
        another process of the run has ended, so this one can't go on

    """
    if not started_by_launcher():
        yield World(device=device)
        return
    _end_with_launcher()
    launchers, rank, size = next(dist.rendezvous("env://"))  # type: ignore[attr-defined]
    # After a restart it still holds where the processes before them could be reached.
    store = dist.PrefixStore(f"restart {_restarts()}", launchers)  # type: ignore[attr-defined]
    backend = "gloo"
    if device.type == "cuda":
        torch.cuda.set_device(device)
        backend = "cpu:gloo,cuda:nccl"
    try:
        dist.init_process_group(backend, store=store, rank=rank, world_size=size)
        yield World(rank, size, device, launchers)
    except (KeyboardInterrupt, SystemExit):  # on which all processes have agreed
        _leave()
        raise
    # After any other error the group stays as it is: the others may wait for this process in the midst of
    # something, and taking the group down could wait for them.
    except RuntimeError as error:
        if isinstance(error, dist.DistError) or "gloo" in str(error).lower():
            raise TrainingError(f"{LOST}; what it said tells why, and --resume goes on") from error
        raise
    else:
        _leave()


def _end_with_launcher() -> None:
    """Have the system end this process when torch's launcher is gone, be it by SIGKILL; on Linux."""
    if sys.platform == "linux" and "TORCHELASTIC_RUN_ID" in os.environ:  # not a shell, which may end earlier
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG, prctl(2)


def _leave() -> None:
    """Take the group down."""
    # gloo's threads drop the last operation's tensors under Python's lock, which the end of the group holds
    # while it waits for these threads: they get the lock now.
    time.sleep(0.2)
    if dist.is_initialized():
        dist.destroy_process_group()


def require(holds: bool, what: str) -> None:
    """Raise `UsageError` where processes, network and batch do not fit together."""
    if not holds:
        raise UsageError(what)
