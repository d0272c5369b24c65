"""The sections of benchmarks/gpu.py about training: LRN, steps, accuracy, several GPUs."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any, cast, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from alexnet_tk import zoo
from alexnet_tk.choices import Parallelism, TrainingPrecision
from alexnet_tk.network.lrn import local_response_norm, why_no_kernel
from alexnet_tk.preprocess import Square
from alexnet_tk.progress import SILENCE, Progress
from alexnet_tk.recipe import Recipe
from alexnet_tk.training import train
from alexnet_tk.training.augment import EpochDraws
from alexnet_tk.training.parallel import World
from alexnet_tk.training.run import Run
from alexnet_tk.training.run_folder import RunFolder
from alexnet_tk.training.statistics import Statistics
from alexnet_tk.training.trainer import Trainer
from benchmarks.gpu_section import TINY, Section, Skipped, few_pictures, settings

SHAPES = ((128, 96, 55, 55), (128, 96, 27, 27), (128, 256, 13, 13))
LRN_CONSTANTS = (5, 1e-4, 0.75, 2.0, 2)
# Of the largest value; half precision rounds its results.
LRN_TOLERANCES = {torch.float32: 1e-6, torch.bfloat16: 8e-3, torch.float16: 1e-3}
POINTS = 2.0  # by which the accuracy on a device may differ from the CPU's
QUICK_RUN = ("train.epochs=2", "train.batch_size=20")
WAITS = ("cudaStreamSynchronize", "cudaDeviceSynchronize", "cudaEventSynchronize", "cudaMemcpy")


def wait_for(device: str) -> None:
    """Wait until the device has computed everything."""
    if device == "cuda":
        torch.cuda.synchronize()


def lrn(section: Section) -> None:
    """Fused and plain, forward and backward: against float64, and their times in milliseconds."""
    operators: dict[str, Callable[..., Tensor]] = {"plain": local_response_norm}
    if section.device != "cuda":
        section.skip("fused: Triton's kernels run on CUDA")
    elif (reason := why_no_kernel()) is not None:
        section.skip(f"fused: {reason}")
    else:
        from alexnet_tk.network.lrn_triton import fused_local_response_norm

        operators["fused"] = fused_local_response_norm
    shapes = ((2, 96, 5, 5),) if section.quick else SHAPES
    for shape, dtype in product(shapes, LRN_TOLERANCES):
        if not section.has_time(f"{shape}"):
            return
        generator = torch.Generator().manual_seed(0)
        x, grad = (
            each.to(section.device, dtype).contiguous(memory_format=torch.channels_last)
            for each in (
                torch.randn(shape, generator=generator) * 30,
                torch.randn(shape, generator=generator),
            )
        )
        exact = both_ways(local_response_norm, x.double(), grad.double())
        for name, operator in operators.items():
            results = both_ways(operator, x, grad)
            errors = [
                ((ours.double() - true).abs().max() / true.abs().max()).item()
                for ours, true in zip(results, exact, strict=True)
            ]
            what = f"{name}, {shape}, {str(dtype).removeprefix('torch.')}"
            section.note(f"{what}: error forward, backward", [float(f"{each:.1e}") for each in errors])
            allowed = LRN_TOLERANCES[dtype]
            section.expect(max(errors) <= allowed, f"{what}: within {allowed:g} of float64")
            rounds = 2 if section.quick else 20
            section.note(
                f"{what}: ms forward, backward", lrn_times(operator, x, grad, section.device, rounds)
            )


def both_ways(operator: Callable[..., Tensor], x: Tensor, grad: Tensor) -> tuple[Tensor, Tensor]:
    """The normalised maps, and the gradient for x."""
    x = x.detach().requires_grad_()
    y = operator(x, *LRN_CONSTANTS)
    (dx,) = torch.autograd.grad(y, x, grad)
    return y.detach(), dx


def lrn_times(
    operator: Callable[..., Tensor], x: Tensor, grad: Tensor, device: str, rounds: int
) -> list[float]:
    """Medians of the milliseconds forward and backward."""
    forward, backward = [], []
    x = x.detach().requires_grad_()
    for _ in range(rounds):
        wait_for(device)
        begun = time.perf_counter()
        y = operator(x, *LRN_CONSTANTS)
        wait_for(device)
        between = time.perf_counter()
        torch.autograd.grad(y, x, grad)
        wait_for(device)
        forward.append((between - begun) * 1e3)
        backward.append((time.perf_counter() - between) * 1e3)
    return [round(median(each), 3) for each in (forward, backward)]


class Synthetic:
    """A training set of any size, all of whose pictures are one of eight."""

    def __init__(self, count: int, size: int) -> None:
        random = np.random.default_rng(0)
        self.targets: NDArray[np.int64] = random.integers(0, 1000, count)
        self.pictures = random.integers(0, 256, (8, size, size, 3), dtype=np.uint8)

    def read(self, index: int, square: Square) -> NDArray[np.uint8]:
        """One of the eight."""
        picture: NDArray[np.uint8] = self.pictures[index % 8]
        return picture

    def name(self, index: int) -> str:
        """The number."""
        return f"picture {index}"


def steps(section: Section) -> None:
    """Steps of the full recipe on 1.28 million synthetic pictures: pictures/s, the host's share, waits."""
    count, number = (10_000, 2) if section.quick else (1_281_167, 200)
    batch_sizes = (8,) if section.quick else (128, 512)
    precisions = [each for each in get_args(TrainingPrecision) if each != "auto"]
    for batch_size, precision, compile in product(batch_sizes, precisions, (False, True)):
        name = f"batch {batch_size}, {precision}{', --compile' if compile else ''}"
        if section.quick and compile:
            section.skip(f"{name}: not with --quick")
        elif section.device == "cpu" and precision == "fp16":
            section.skip(f"{name}: half precision with a scaled loss is for GPUs")
        elif section.has_time(name):
            recipe = zoo.recipe("alexnet-2012").override(
                *settings(section), f"train.batch_size={batch_size}", f"train.precision={precision}"
            )
            try:
                section.note(name, time_steps(recipe, section.device, count, number, compile))
            except Exception as error:  # out of memory, or what torch.compile can't do: the others go on
                section.failed(name, error)


def time_steps(recipe: Recipe, device: str, count: int, number: int, compile: bool) -> dict[str, Any]:
    """Time `number` steps after some for warming up, then look for waits in three more."""
    axes = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
    statistics = Statistics((123.0, 117.0, 104.0), (1.0, 1.0, 1.0), axes)
    trainer = Trainer(recipe, statistics, 1000, World(device=torch.device(device)), compile=compile)
    reader = trainer.reader(Synthetic(count, recipe.preprocess.resize))
    draws, batch_size = EpochDraws.draw(recipe, 0, count, statistics), recipe.train.batch_size
    batches = trainer.training_batches(reader, draws)
    for _ in range(min(number, 10)):
        trainer.step(next(batches), 0.0)
    wait_for(device)
    begun = time.perf_counter()
    in_steps = 0.0
    for _ in range(number):
        batch = next(batches)
        entered = time.perf_counter()
        trainer.step(batch, 0.0)
        in_steps += time.perf_counter() - entered
    wait_for(device)
    seconds = time.perf_counter() - begun
    figures: dict[str, Any] = {
        "pictures/s": round(number * batch_size / seconds),
        "ms of a step": round(seconds / number * 1e3, 2),
        "share of it in the host's call": round(in_steps / seconds, 2),
    }
    if device == "cuda":
        activities = [torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA]
        with torch.profiler.profile(activities=activities) as profile:
            for _ in range(3):
                trainer.step(next(batches), 0.0)
        found = {each.key: each.count for each in profile.key_averages() if each.key in WAITS}
        figures["waits in 3 steps"] = found
        figures["GB of memory"] = round(torch.cuda.max_memory_allocated() / 1e9, 2)
        torch.cuda.reset_peak_memory_stats()
    return figures


class Interrupts(Progress):
    """Ends a run as Ctrl-C does, when it reports its first epoch."""

    def result(self, line: str) -> None:
        """An epoch's figures."""
        raise KeyboardInterrupt


class Dies(Progress):
    """Ends this process as `kill -9` does, when it reports its first epoch."""

    def result(self, line: str) -> None:
        """An epoch's figures."""
        os.kill(os.getpid(), signal.SIGKILL)


def accuracy(section: Section) -> None:
    """fashion-mini, interrupted and resumed on the device, against the network that a CPU trained."""
    data = few_pictures(section) if section.quick else None
    extra = (*TINY, *QUICK_RUN) if section.quick else ()
    output, device = section.folder / "fashion.pt", section.device
    begun = time.perf_counter()
    try:
        train(data, settings=extra, output=output, device=device, progress=Interrupts())
    except KeyboardInterrupt:
        section.note("interrupted", "after the first epoch")
    checkpoint = train(data, output=output, device=device, resume=True)
    section.note("seconds", round(time.perf_counter() - begun, 1))
    resumed, _ = Run.load(RunFolder(output).last)
    section.expect(resumed.finished and len(resumed.history) > 1, "the resumed run has all its epochs")
    ours = 100 * checkpoint.training["figures"]["val_top1"]
    section.note("top-1 %", round(ours, 1))
    if not section.quick:
        theirs = cpu_accuracy()
        section.note("top-1 % of the network that a CPU trained", round(theirs, 1))
        section.expect(ours > theirs - POINTS, f"top-1 within {POINTS:g} points of the CPU's")


def cpu_accuracy() -> float:
    """The built-in network's top-1 in percent on the built-in validation pictures, computed on the CPU."""
    from alexnet_tk import images, sample
    from alexnet_tk.inference.model import open_model

    pictures, targets = sample.pictures("val")
    model = open_model(zoo.built_in_model(), "cpu")
    resized = np.stack([images.load(each, model.preprocess) for each in pictures])
    return 100 * float((model.run(resized).argmax(1) == targets).mean())


def modes(section: Section) -> None:
    """Every parallel mode on the GPUs of this machine, or two processes of the CPU; then one that dies."""
    count = 2 if section.device == "cpu" else torch.cuda.device_count()
    if count < 2:
        raise Skipped("parallel modes: this machine has one GPU")
    names = list(get_args(Parallelism))
    if section.quick:
        section.skip(f"{', '.join(names[1:])}: not with --quick")
        names = names[:1]
    data = few_pictures(section)
    for mode in [*names, "killed"]:
        if not section.has_time(mode):
            return
        output = section.folder / f"{mode}.pt"
        begun = time.perf_counter()
        script = [Path(__file__).with_name("gpu_rank.py"), mode, data, output, section.device]
        launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}"]
        try:
            done = subprocess.run(
                [sys.executable, *launcher, *script],
                capture_output=True,
                text=True,
                check=False,
                timeout=max(30.0, section.deadline - time.monotonic()),
            )
        except subprocess.TimeoutExpired:
            section.expect(False, f"{mode}: ends in its time")
            continue
        section.note(mode, {"processes": count, "seconds": round(time.perf_counter() - begun, 1)})
        if mode == "killed":
            section.expect(done.returncode != 0, "a killed process ends the run with an error")
            section.expect("SIGKILL" in done.stderr, "the error names the signal")
        else:
            last = done.stderr.strip().splitlines()[-1:]
            section.expect(done.returncode == 0 and output.exists(), f"{mode} trains: {last}")


def run_rank(mode: str, data: str, output: str, device: str) -> None:
    """What a process of `modes` does: train a tiny network; of a "killed" run, the first dies."""
    parallel, progress = ("data", Dies()) if mode == "killed" else (cast(Parallelism, mode), SILENCE)
    extra = (*TINY, *QUICK_RUN)
    train(data, settings=extra, output=output, device=device, parallel=parallel, progress=progress)
