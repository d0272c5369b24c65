"""What a section of benchmarks/gpu.py gets, and what it leaves: figures, failed expectations, reasons."""

import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from alexnet_tk.text import one_line

say = partial(print, flush=True)  # a run that is cut off has shown what it measured

# All eight layers and both towers, small enough for a CPU.
TINY = (
    "network.image_size=40",
    "network.channels=[8,16,16,16,8]",
    "network.hidden=[16,16]",
    "network.c1={kernel=5,stride=2,padding=2}",
    "preprocess.resize=44",
)


class Skipped(Exception):  # noqa: N818
    """A section, or the rest of it, has no ground here; the message is the reason."""


@dataclass
class Section:
    """One section of a run."""

    device: str  # "cuda" or "cpu"
    quick: bool  # tiny sizes: whether it runs, not how fast
    folder: Path  # for the run's files; sections share it
    deadline: float  # of `time.monotonic`
    figures: dict[str, Any] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)

    def note(self, name: str, value: object) -> None:
        """Keep a figure and print it."""
        self.figures[name] = value
        say(f"  {name}: {value}")

    def expect(self, holds: bool, what: str) -> None:
        """Keep and print what was expected and does not hold."""
        if not holds:
            self.failures.append(what)
            say(f"  FAILED: {what}")

    def skip(self, reason: str) -> None:
        """Keep and print why a part of the section is left out."""
        self.skipped.append(reason)
        say(f"  skipped: {reason}")

    def has_time(self, part: str) -> bool:
        """Whether the section's time is not over; if it is, `part` is skipped."""
        if time.monotonic() < self.deadline:
            return True
        self.skip(f"{part}: no time left; --minutes gives more")
        return False

    def failed(self, part: str, error: BaseException) -> None:
        """Keep and print an error; the other parts of the section go on."""
        self.expect(False, f"{part}: {type(error).__name__}: {one_line(error)}")


def settings(section: Section) -> tuple[str, ...]:
    """Settings of the recipe alexnet-2012 for networks that start from random weights."""
    return ("network.init=he", *(TINY if section.quick else ()))


def jpegs(section: Section, count: int) -> Path:
    """A folder of `count` JPEGs of photographs' size, made of smooth noise."""
    from PIL import Image

    folder = section.folder / f"{count} pictures"
    if not folder.exists():
        folder.mkdir()
        random = np.random.default_rng(0)
        for number in range(min(count, 16)):
            noise = Image.fromarray(random.integers(0, 256, (24, 32, 3), dtype=np.uint8))
            noise.resize((500, 375)).save(folder / f"{number:05}.jpg", quality=90)
        for number in range(16, count):
            (folder / f"{number:05}.jpg").write_bytes((folder / f"{number % 16:05}.jpg").read_bytes())
    return folder


def few_pictures(section: Section) -> Path:
    """A folder of 60 training and 12 validation pictures in three classes, for runs that show nothing."""
    from PIL import Image

    folder = section.folder / "few"
    random = np.random.default_rng(0)
    for split, count in (("train", 20), ("val", 4)):
        for number in range(3 * count):
            path = folder / split / f"class {number % 3}" / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(random.integers(0, 256, (48, 48, 3), dtype=np.uint8)).save(path)
    return folder


def untrained(section: Section, *extra: str, labels: int = 10) -> Path:
    """A checkpoint of random weights whose answers differ between pictures."""
    from alexnet_tk import zoo
    from alexnet_tk.network.alexnet import AlexNet
    from alexnet_tk.training.checkpoint import Checkpoint
    from alexnet_tk.training.statistics import Statistics

    path = section.folder / f"untrained{len(extra)}.pt"
    recipe = zoo.recipe("alexnet-2012").override(*settings(section), "preprocess.std=[58,57,57]", *extra)
    network = AlexNet(recipe.network, labels)
    network.initialise(0)
    axes = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
    statistics = Statistics((123.0, 117.0, 104.0), (1.0, 1.0, 1.0), axes)
    names = [f"label {i}" for i in range(labels)]
    Checkpoint(recipe, names, statistics, dict(network.state_dict())).save(path)
    return path


def forms(section: Section) -> dict[str, Path]:
    """The ONNX files of one untrained network that are meant for GPUs, by their names."""
    from alexnet_tk.choices import LrnForm, Precision
    from alexnet_tk.exporting import export

    checkpoint: Path | None = None
    files = {}
    pairs: list[tuple[Precision, LrnForm]] = [
        ("fp32", "native"),
        ("fp32", "decomposed"),
        ("fp16", "native"),
        ("fp16", "decomposed"),
    ]
    for precision, lrn in (pairs[0], pairs[3]) if section.quick else pairs:
        files[f"{precision} {lrn}"] = path = section.folder / f"{precision}-{lrn}.onnx"
        if not path.exists():
            checkpoint = checkpoint or untrained(section)
            export(checkpoint, path, precision=precision, lrn=lrn, verify_on=jpegs(section, 32))
    return files
