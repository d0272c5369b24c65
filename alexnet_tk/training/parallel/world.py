"""The processes of a run: how many there are, which one this is, and how they exchange values.

torchrun or `launch.py` starts them and puts each one's rank into its environment (RANK, WORLD_SIZE,
LOCAL_RANK). Without these variables a run has one process and nothing is sent. Tensors on CUDA go over NCCL,
everything else over gloo, so that processes can agree on something without waiting for their devices.
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

from alexnet_tk.errors import TrainingError
from alexnet_tk.machine import usable_cores, usable_memory

T = TypeVar("T")
PEER_ENDED = "another process of this run has ended"


class World:
    """The processes of a run, numbered from 0; this process is number `rank`."""

    def __init__(
        self,
        rank: int = 0,
        size: int = 1,
        device: torch.device | None = None,
        store: "dist.Store | None" = None,  # type: ignore[name-defined]
    ) -> None:
        self.rank, self.size = rank, size
        self.device = device or torch.device("cpu")  # this process's, on which it sends and receives
        self._store = store  # the launcher's, which outlives this process

    @property
    def cores(self) -> int:
        """This process's share of the cores that the run's processes on this machine may use."""
        return max(1, usable_cores() // self._processes_here)

    @property
    def memory(self) -> int | None:
        """This process's share of the memory that they may use, in bytes; None if it is unknown."""
        memory = usable_memory()
        return None if memory is None else memory // self._processes_here

    @property
    def _processes_here(self) -> int:
        return int(os.environ.get("LOCAL_WORLD_SIZE", 1))

    @property
    def is_first(self) -> bool:
        """Whether this process is the one that writes files and reports progress."""
        return self.rank == 0

    def written_before_restart(self, path: Path) -> bool:
        """Whether the file was written by processes of this run that torchrun has since restarted.

        Ask before writing it. The launcher's store keeps the file's time from when the launcher started; if
        the store has lost it, the file is taken for the run's, since it may hold hours of work.
        """
        if self._store is None:
            return False
        found = str(path.stat().st_mtime_ns) if path.exists() else "none"
        if not _restarts():
            self._store.set(str(path), found)
            return False
        return not self._store.check([str(path)]) or self._store.get(str(path)) != found.encode()

    def all_reduce(self, tensor: Tensor) -> Tensor:
        """The sum of the processes' tensors of this shape, in every process; CUDA is not waited for."""
        if self.size == 1:
            return tensor
        result = tensor.detach().to(self.device, copy=True)
        dist.all_reduce(result)
        return result.to(tensor.device)

    def max(self, value: int) -> int:
        """The largest of the processes' numbers, in every process."""
        if self.size == 1:
            return value
        numbers = torch.tensor(value)
        dist.all_reduce(numbers, dist.ReduceOp.MAX)
        return int(numbers)

    def broadcast(self, function: Callable[[], T]) -> T:
        """The function's result in the first process, in every process; the others don't call it."""
        if self.size == 1:
            return function()
        values = [function() if self.is_first else None]
        dist.broadcast_object_list(values, device=torch.device("cpu"))
        return cast(T, values[0])

    def all_gather(self, value: T) -> list[T]:
        """The processes' values by rank, in every process."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value)
        return values

    def gather(self, value: T) -> list[T]:
        """The processes' values by rank, in the first process; an empty list in the others."""
        if self.size == 1:
            return [value]
        values: list[Any] | None = [None] * self.size if self.is_first else None
        dist.gather_object(value, values)
        return values or []


def started_by_launcher() -> bool:
    """Whether torchrun, or `launch.py`, started this process."""
    return {"RANK", "WORLD_SIZE", "LOCAL_RANK"} <= os.environ.keys()


def is_first() -> bool:
    """Whether this is the first process of its run; works before the processes have joined."""
    return not started_by_launcher() or os.environ["RANK"] == "0"


def _restarts() -> int:
    """How often torchrun has restarted the processes after one of them died."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", 0))


def local_rank() -> int:
    """This process's number on its machine, which is also the index of its CUDA device."""
    return int(os.environ["LOCAL_RANK"]) if started_by_launcher() else 0


@contextmanager
def join_world(device: torch.device) -> Iterator[World]:
    """Join the run's other processes for the duration of the block, and make the device torch's current one.

    Raises
    ------
    TrainingError
        another process of the run has ended, so this one can't continue

    """
    if device.type == "cuda":  # kernels that don't name a device, and NCCL, take the current one
        torch.cuda.set_device(device)
    if not started_by_launcher():
        yield World(device=device)
        return
    _die_with_launcher()
    launchers, rank, size = next(dist.rendezvous("env://"))  # type: ignore[attr-defined]
    # After a restart the store still holds the addresses of the processes before it.
    store = dist.PrefixStore(f"restart {_restarts()}", launchers)  # type: ignore[attr-defined]
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    try:
        dist.init_process_group(backend, store=store, rank=rank, world_size=size)
        yield World(rank, size, device, launchers)
    except (KeyboardInterrupt, SystemExit):  # all processes have agreed on it
        _destroy_process_group()
        raise
    # After any other error the group stays: the other processes may be waiting for this one inside a
    # collective, and destroying the group could wait for them in turn.
    except RuntimeError as error:
        if isinstance(error, dist.DistError) or "gloo" in str(error).lower():
            raise TrainingError(
                f"{PEER_ENDED}; see its error message, then continue with --resume"
            ) from error
        raise
    else:
        _destroy_process_group()


def _die_with_launcher() -> None:
    """Ask Linux to kill this process when torch's launcher dies, even of SIGKILL."""
    if sys.platform == "linux" and "TORCHELASTIC_RUN_ID" in os.environ:  # not a shell, which may end earlier
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG, prctl(2)


def _destroy_process_group() -> None:
    # gloo's threads drop the last operation's tensors under Python's lock, which destroying the group holds
    # while it waits for these threads: let them have the lock now.
    time.sleep(0.2)
    if dist.is_initialized():
        dist.destroy_process_group()
