"""The bytes that each mode of parallelism sends in a step, and the time of a step on this machine.

    python benchmarks/parallel.py [--recipe alexnet-2012] [--batch-size 32] [--steps 3] [--processes 1 2 4]

Bytes are those of the tensors that a process passes to torch.distributed in a step, for the process with
the most; they depend on network, batch and mode, not on the machine. "on the wire" is the least that it must
send when all processes share the work (a ring): an all-reduce over P processes moves 2 (P - 1) / P of its
bytes, an all-gather or a reduce-scatter (P - 1) / P of the whole.
The processes share this machine's cores, so the times say nothing about speed-up.
"""

import argparse
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import nullcontext, suppress
from statistics import median
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.tensor import DTensor
from torch.utils._python_dispatch import TorchDispatchMode

from alexnet_tk import zoo
from alexnet_tk.choices import Parallelism
from alexnet_tk.machine import usable_cores
from alexnet_tk.recipe import Recipe
from alexnet_tk.training.augment import EpochDraws
from alexnet_tk.training.batches import PictureBatch
from alexnet_tk.training.parallel import MODES, World, join_world
from alexnet_tk.training.statistics import Statistics
from alexnet_tk.training.trainer import Trainer

NUM_CLASSES = 1000
AXES = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))


class Traffic(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up the bytes that are passed to torch.distributed while it is active."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.handed = 0.0  # bytes
        self.wire = 0.0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Add an operator's tensors if it sends them."""
        if DTensor in types:  # the operators below it come here, too
            return NotImplemented
        namespace, name = func.namespace, func._opname
        if namespace in ("c10d", "_c10d_functional"):
            self._count(name, args)
        return func(*args, **(kwargs or {}))

    def _count(self, name: str, args: tuple[Any, ...]) -> None:
        if name.startswith(("wait", "_wrap", "recv")):
            return
        group = _group_size(args)
        if name.startswith("send"):
            sent, share = _bytes(args[0]), 1.0
        elif name.startswith(("allreduce", "all_reduce")):
            sent, share = _bytes(args[0]), 2 * (group - 1) / group
        elif name.startswith(("allgather", "_allgather", "all_gather")):
            own = args[1] if name.startswith(("allgather", "_allgather")) else args[0]
            sent, share = _bytes(own), float(group - 1)
        elif name.startswith(("reduce_scatter", "_reduce_scatter")):
            whole = args[0] if name.endswith("tensor") and not name.startswith("_") else args[1]
            sent, share = _bytes(whole), (group - 1) / group
        else:
            raise SystemExit(f"benchmarks/parallel.py does not know what {name} sends")
        self.handed += sent
        self.wire += sent * share


def _bytes(value: Any) -> int:
    if isinstance(value, torch.Tensor):
        return value.nbytes
    return sum(_bytes(each) for each in value)


def _group_size(args: tuple[Any, ...]) -> int:
    """The size of the process group among an operator's arguments, or the size that they name."""
    for each in args:
        if isinstance(each, torch.ScriptObject):
            with suppress(RuntimeError):  # the kind of reduction is a script object, too
                return int(dist.ProcessGroup.unbox(each).size())
    sizes = [each for each in args if isinstance(each, int)]
    return sizes[0] if sizes else dist.get_world_size()


def measure(recipe: Recipe, world: World, mode: Parallelism | None, steps: int) -> dict[str, float]:
    """Seconds and bytes of a step on random pictures."""
    size, count = recipe.network.image_size, recipe.train.batch_size
    statistics = Statistics((120.0, 120.0, 120.0), (1.0, 1.0, 1.0), AXES)
    trainer = Trainer(recipe, statistics, NUM_CLASSES, world, mode)
    slots = torch.arange(count)[trainer.strategy.slots]
    rows = len(slots)
    batch = PictureBatch(
        torch.randint(0, 256, (rows, size, size, 3), dtype=torch.uint8),
        EpochDraws.draw(recipe, 0, count, statistics).changes(slots.numpy()),
        torch.randint(0, NUM_CLASSES, (rows,)),
        torch.ones(rows),
        slots,
        None,
        slots.numpy(),
        count,
    )
    seconds = []
    traffic = Traffic()
    for step in range(2 + steps):
        begun = time.perf_counter()
        with (
            traffic if step == 2 else nullcontext()
        ):  # in the first two steps processes agree on shapes and order
            trainer.step(batch, at=0)
        trainer.check_loss()
        seconds.append(time.perf_counter() - begun)
    traffic_by_rank = world.all_gather((traffic.handed, traffic.wire))
    return {
        "seconds": median(seconds[2:]),
        "handed": max(handed for handed, _ in traffic_by_rank),
        "wire": max(wire for _, wire in traffic_by_rank),
    }


def worker(recipe: Recipe, steps: int) -> None:
    """One of several processes: every mode in turn; the first prints a line of JSON for each."""
    with join_world(torch.device("cpu")) as world:
        for mode in MODES if world.size > 1 else (None,):
            result = measure(recipe, world, mode, steps)
            if world.is_first:
                print(json.dumps({"mode": mode or "one process", "processes": world.size, **result}))


def start(processes: int, arguments: list[str]) -> list[dict[str, Any]]:
    """What the first of that number of processes prints."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    started = [
        subprocess.Popen(
            [sys.executable, __file__, "--worker", *arguments],
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ
            | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": str(processes)}
            | {"RANK": str(rank), "LOCAL_RANK": str(rank)}
            | {"OMP_NUM_THREADS": str(max(1, usable_cores() // processes))},
        )
        for rank in range(processes)
    ]
    printed = [process.communicate()[0] for process in started]
    if any(process.returncode for process in started):
        raise SystemExit(1)
    return [json.loads(line) for line in printed[0].splitlines()]


def main() -> None:
    """Start processes, print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--recipe", default="alexnet-2012")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker:
        recipe = zoo.recipe(given.recipe).override(f"train.batch_size={given.batch_size}")
        worker(recipe, given.steps)
        return
    print(
        f"{given.recipe}, {NUM_CLASSES:,} classes, batches of {given.batch_size}, gloo, {usable_cores()} "
        "cores shared by all processes: bytes are exact, times say nothing about speed-up\n"
    )
    print(f"{'mode':<12} {'processes':>9} {'s / step':>9} {'MB handed over':>15} {'MB on the wire':>15}")
    arguments = ["--recipe", given.recipe, "--batch-size", str(given.batch_size), "--steps", str(given.steps)]
    for processes in given.processes:
        for line in start(processes, arguments):
            print(
                f"{line['mode']:<12} {line['processes']:>9} {line['seconds']:>9.2f} "
                f"{line['handed'] / 1e6:>15.3f} {line['wire'] / 1e6:>15.3f}"
            )


if __name__ == "__main__":
    main()
