"""Pictures answered over Ray: on all cores or GPUs of a cluster, or of this machine.

Ray Data hands parts of the pictures to actors, each with a `Classifier` of its own. A row of its data is a
part: paths in, a Parquet file of their records out. A part is answered as a whole, so an actor that is killed
takes with it only what it had in hand: Ray starts another and gives it the part again. This process alone
writes the parts, as they come; of the pictures it holds the paths and nothing else.

The machines must share this package, with the extra `ray`, and the pictures (a common folder, or URLs). The
model is sent to them.
"""

import io
import logging
import os
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import ray
import ray.data
from ray.data.exceptions import ExecutionTimeoutError
from ray.exceptions import RayError

from alexnet_tk.errors import AlexnetError, ClusterError, DeviceError, UsageError, counted
from alexnet_tk.inference.archives import Member
from alexnet_tk.inference.classify import BATCH_SIZE, CUDA_BATCH_SIZE, Classifier
from alexnet_tk.inference.foreign import Preprocessing
from alexnet_tk.inference.machine import usable_cores
from alexnet_tk.inference.parquet import encode, errors
from alexnet_tk.inference.parts import Parts
from alexnet_tk.inference.predict import Outcome
from alexnet_tk.inference.remote import is_url
from alexnet_tk.inference.results import Totals
from alexnet_tk.inference.session import native_log

_SEPARATOR = b"\0"  # no path holds it


@dataclass(frozen=True)
class Pool:
    """The actors that a cluster has room for."""

    actors: int
    device: str  # of each, "cpu" or "cuda"
    threads: int  # of each

    def __str__(self) -> str:
        return f"{self.actors} × {self.device}, {counted(self.threads, 'thread')} each"

    @property
    def batch_size(self) -> int:
        """Pictures in a run of the network, where nothing else is said."""
        return BATCH_SIZE if self.device == "cpu" else CUDA_BATCH_SIZE


@contextmanager
def connect(device: str = "auto", workers: int | None = None) -> Iterator[Pool]:
    """The cluster that RAY_ADDRESS names, else a Ray of this machine that ends with the block.

    Parameters
    ----------
    device
        "auto": CUDA if the cluster has GPUs, one for each actor, else the CPU; "cpu" or "cuda"
    workers
        actors; None: one for each GPU, or each core. More than there is room for wait until there is

    Raises
    ------
    ClusterError
        no cluster answers, or it has nothing to compute with
    DeviceError
        "cuda", and the cluster has no GPU
    UsageError
        one GPU of many is named

    """
    if device not in ("auto", "cpu", "cuda"):
        raise UsageError(
            f"--device is {device!r}; over Ray it must be auto, cpu or cuda: Ray deals out the GPUs"
        )
    begun = not ray.is_initialized()
    try:
        if begun:
            _start(workers)
        yield _pool(device, workers)
    finally:
        if begun:
            ray.shutdown()


def predict(
    pool: Pool,
    model: Path,
    pictures: Sequence[str],
    topk: int,
    parts: Parts,
    advance: Callable[[int], None],
    *,
    labels: list[str] | None = None,
    preprocess: Preprocessing | None = None,
) -> Outcome:
    """Answer for the pictures whose part is not there yet.

    Parameters
    ----------
    pool
        what `connect` gives
    model, labels, preprocess
        as `Classifier`
    pictures
        URLs, or paths as all machines see them; relative ones are seen from the folder this process is in
    topk
        how many labels a record holds, at most as many as there are
    parts
        those of a plan for these pictures
    advance
        is told of so many pictures more when their part is written

    Raises
    ------
    ClusterError
        an actor can't open the model or compute, or Ray gave up
    OutputError
        a part can't be written

    """
    totals, begun = Totals(), time.perf_counter()
    rows = [
        {"part": number, "paths": _SEPARATOR.join(map(os.fsencode, parts.cut(pictures, number)))}
        for number in parts.missing()
    ]
    if not rows:
        return Outcome(totals, time.perf_counter() - begun)
    content = ray.put(np.fromfile(model, np.uint8))
    work = _Work(
        model.name,
        content,
        labels,
        preprocess,
        pool.device,
        pool.threads,
        parts.plan.batch_size,
        topk,
        str(Path.cwd()),
    )
    try:
        # Rows are `map`ped one by one, each a block: a part is a task, and lost, retried and written as one.
        answered = ray.data.from_items(rows, override_num_blocks=len(rows)).map(
            _Actor,  # type: ignore[arg-type]  # its annotation knows functions only
            fn_constructor_args=(work,),
            compute=ray.data.ActorPoolStrategy(size=pool.actors),
            num_cpus=1 if pool.device == "cpu" else None,
            num_gpus=None if pool.device == "cpu" else 1,
        )
        for row in answered.iter_rows():
            if row["refusal"]:
                raise ClusterError(row["refusal"])
            parts.put(row["part"], row["answers"])
            for error in errors(io.BytesIO(row["answers"])):
                totals.add(error)
            advance(len(parts.cut(pictures, row["part"])))
    except (RayError, ExecutionTimeoutError) as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise ClusterError(f"Ray gave up: {lines[-1]}; --resume goes on from what is finished") from error
    return Outcome(totals, time.perf_counter() - begun)


def refuse_members(pictures: Iterable[str]) -> None:
    """Raise `UsageError` for a picture in an archive, of which a process that reads it holds the index."""
    for each in pictures:
        if isinstance(each, Member):
            raise UsageError(f"{each}: --engine ray does not read archives in place; unpack it")


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
        reason = (
            getattr(error, "strerror", None) or (str(error).strip().splitlines() or ["no reason told"])[0]
        )
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
    if device != "cpu" and gpus:
        return Pool(workers or gpus, "cuda", max(1, cores // gpus))  # its share of cores decodes for a GPU
    if not cores:
        raise ClusterError("the Ray cluster has no core to compute with; start its nodes with --num-cpus")
    return Pool(workers or cores, "cpu", 1)


@dataclass(frozen=True)
class _Work:
    """What all actors are told."""

    name: str  # of the model's file
    content: "ray.ObjectRef[Any]"  # its bytes, uint8; every node holds them once
    labels: list[str] | None
    preprocess: Preprocessing | None
    device: str
    threads: int
    batch_size: int
    topk: int
    folder: str  # which relative paths start from


class _Actor:
    """Answers parts, in a process of its own that may be anywhere."""

    def __init__(self, work: _Work) -> None:
        self._work = work
        self._classifier: Classifier | None = None

    def __call__(self, part: dict[str, Any]) -> dict[str, Any]:
        """The records of a part as a Parquet file, or why there are none.

        What can't be done is said and not raised: Ray would wrap it in tracebacks, or try it again.
        """
        try:
            return {"part": part["part"], "answers": self._answer(part["paths"]), "refusal": ""}
        except AlexnetError as error:
            return {"part": part["part"], "answers": b"", "refusal": str(error)}

    def _answer(self, names: bytes) -> bytes:
        work, paths = self._work, [os.fsdecode(each) for each in names.split(_SEPARATOR)]
        if self._classifier is None:
            self._classifier = self._open()
        seen = [path if is_url(path) else os.path.join(work.folder, path) for path in paths]  # noqa: PTH118
        records = self._classifier.classify(seen, work.topk, batch_size=work.batch_size, workers=work.threads)
        named = (replace(record, path=path) for record, path in zip(records, paths, strict=True))
        return encode(named, work.topk)

    def _open(self) -> Classifier:
        with tempfile.TemporaryDirectory() as folder:
            model = Path(folder) / self._work.name
            ray.get(self._work.content).tofile(model)
            return Classifier(
                model, self._work.device, labels=self._work.labels, preprocess=self._work.preprocess
            )
