"""The sections of benchmarks/gpu.py about training in one process: steps and accuracy."""

import time
from collections import Counter
from collections.abc import Iterable
from itertools import product
from typing import Any, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch.profiler import ProfilerActivity, profile, record_function

from alexnet_tk import zoo
from alexnet_tk.choices import TrainingPrecision
from alexnet_tk.errors import DeviceError
from alexnet_tk.preprocess import Square
from alexnet_tk.progress import Progress
from alexnet_tk.recipe import Recipe
from alexnet_tk.training import train
from alexnet_tk.training.augment import EpochDraws
from alexnet_tk.training.device import tf32, why_no_cuda
from alexnet_tk.training.parallel import World
from alexnet_tk.training.run import Run
from alexnet_tk.training.run_folder import RunFolder
from alexnet_tk.training.statistics import Statistics
from alexnet_tk.training.trainer import Trainer
from benchmarks.gpu_material import QUICK_RUN, TINY, few_pictures, settings
from benchmarks.gpu_section import Section, Skipped

POINTS = 2.0  # by which the accuracy on a device may differ from the CPU's
WAITS = ("cudaStreamSynchronize", "cudaDeviceSynchronize", "cudaEventSynchronize", "cudaMemcpy")
PROFILED = "profiled steps"
WARM_UP = 10  # steps
HOST_STEPS = 5  # whose time in the host is taken
PROFILED_STEPS = 3

# Batch size, precision, --compile. The first runs tell most; all others follow them.
FIRST_RUNS: tuple[tuple[int, TrainingPrecision, bool], ...] = (
    (128, "fp32", False),
    (128, "bf16", False),
    (512, "bf16", False),
    (128, "bf16", True),
)


def need_torch_on(device: str) -> None:
    """Raise `Skipped` where torch was built without CUDA, `DeviceError` where it can't use the GPU."""
    if device == "cuda" and not torch.cuda.is_available():
        if torch.version.cuda is None:
            raise Skipped(why_no_cuda())
        raise DeviceError(why_no_cuda())


def wait_for(device: str) -> None:
    """Wait until the device has computed everything."""
    if device == "cuda":
        torch.cuda.synchronize()


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
    need_torch_on(section.device)
    count, number = (10_000, 2) if section.quick else (1_281_167, 200)
    for batch_size, precision, compile in runs(section.quick):
        name = f"batch {batch_size}, {precision}{', --compile' if compile else ''}"
        if section.quick and compile:
            section.skip(f"{name}: not with --quick")
        elif section.device == "cpu" and precision == "fp16":
            section.skip(f"{name}: half precision with a scaled loss is for GPUs")
        elif section.has_time(name):
            recipe = zoo.recipe("alexnet-2012").override(
                *settings(section), f"train.batch_size={batch_size}", f"train.precision={precision}"
            )
            with section.part(name):  # out of memory, or what torch.compile can't do: the others go on
                section.note(name, time_steps(recipe, section.device, count, number, compile))


def runs(quick: bool) -> list[tuple[int, TrainingPrecision, bool]]:
    """Batch size, precision and --compile of every run, those that tell most first."""
    # "auto" and "half" are one of the others.
    precisions = [each for each in get_args(TrainingPrecision) if each not in ("auto", "half")]
    if quick:
        return [(8, precision, compile) for compile, precision in product((False, True), precisions)]
    others = (
        (size, precision, compile)
        for compile, size, precision in product((False, True), (128, 512), precisions)
    )
    return list(dict.fromkeys((*FIRST_RUNS, *others)))


def time_steps(recipe: Recipe, device: str, count: int, number: int, compile: bool) -> dict[str, Any]:
    """Time `number` steps after some for warming up; then the host's part, and waits, in a few more."""
    if compile:
        torch.compiler.reset()  # what was compiled for another batch size or precision would be reused
    axes = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
    statistics = Statistics((123.0, 117.0, 104.0), (1.0, 1.0, 1.0), axes)
    batch_size = recipe.train.batch_size
    with tf32(recipe.train.precision == "tf32"):
        trainer = Trainer(recipe, statistics, 1000, World(device=torch.device(device)), compile=compile)
        reader = trainer.reader(Synthetic(count, recipe.preprocess.resize))
        batches = trainer.training_batches(reader, EpochDraws.draw(recipe, 0, count, statistics))
        for _ in range(min(number, WARM_UP)):
            trainer.step(next(batches), 0.0)
        wait_for(device)
        begun = time.perf_counter()
        for _ in range(number):
            trainer.step(next(batches), 0.0)
        wait_for(device)
        seconds = time.perf_counter() - begun
        in_host = 0.0
        for _ in range(HOST_STEPS):
            batch = next(batches)
            wait_for(device)  # a step's call would block on a full queue, and count the device's time
            entered = time.perf_counter()
            trainer.step(batch, 0.0)
            in_host += time.perf_counter() - entered
        activities = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * (device == "cuda")
        with profile(activities=activities) as profiled, record_function(PROFILED):
            for _ in range(PROFILED_STEPS):
                trainer.step(next(batches), 0.0)
    step, host = seconds / number * 1e3, in_host / HOST_STEPS * 1e3
    figures: dict[str, Any] = {
        "pictures/s": round(number * batch_size / seconds),
        "ms of a step": round(step, 2),
        "ms of the host's call": round(host, 2),
        "its share of a step": round(host / step, 2),
        f"waits in {PROFILED_STEPS} steps": waits(profiled.events() or []),
    }
    if device == "cuda":
        figures["GB of memory"] = round(torch.cuda.max_memory_allocated() / 1e9, 2)
        torch.cuda.reset_peak_memory_stats()
    return figures


def waits(events: Iterable[Any]) -> dict[str, int]:
    """How often the host waited within the profiled steps; the profiler's own waits are outside of them."""
    events = list(events)
    steps = next(
        each.time_range for each in events if each.name == PROFILED and each.device_type.name == "CPU"
    )
    return dict(
        Counter(
            each.name
            for each in events
            if each.name in WAITS and steps.start <= each.time_range.start <= steps.end
        )
    )


class PlannedInterrupt(KeyboardInterrupt):
    """What `Interrupts` raises, so that a user's Ctrl-C is not taken for it."""


class Interrupts(Progress):
    """Ends a run as Ctrl-C does, when it reports its first epoch."""

    def result(self, line: str) -> None:
        """An epoch's figures."""
        raise PlannedInterrupt


def accuracy(section: Section) -> None:
    """fashion-mini, interrupted and resumed on the device, against the network that a CPU trained."""
    need_torch_on(section.device)
    data = few_pictures(section) if section.quick else None
    extra = (*TINY, *QUICK_RUN) if section.quick else ()
    output, device = section.folder / "fashion.pt", section.device
    begun = time.perf_counter()
    try:
        train(data, settings=extra, output=output, device=device, progress=Interrupts())
    except PlannedInterrupt:
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
