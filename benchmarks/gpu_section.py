"""What a section of benchmarks/gpu.py gets, and what it leaves: figures, failed expectations, reasons."""

import ctypes
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from alexnet_tk.errors import MissingExtraError
from alexnet_tk.extras import PACKAGES
from alexnet_tk.text import one_line

say = partial(print, flush=True)  # a run that is cut off has shown what it measured


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
    skipped: list[str] = field(default_factory=list)  # what the machine lacks
    out_of_time: list[str] = field(default_factory=list)

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
        """Whether the section's time is not over; if it is, `part` is left out."""
        if time.monotonic() < self.deadline:
            return True
        self.out_of_time.append(part)
        say(f"  no time left for {part}; --minutes gives more")
        return False

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Keep and print an error in the block as a failure, or as skipped where a package is missing.

        The section goes on after the block, unless it is `Skipped` or interrupted.
        """
        try:
            yield
        except Skipped:
            raise
        except Exception as error:
            if (lacking := missing_package(error)) is not None:
                self.skip(f"{name}: {lacking}")
            else:
                self.expect(False, f"{name}: {type(error).__name__}: {one_line(error)}")


def missing_package(error: Exception) -> str | None:
    """What to say of an import that failed because a package of this project's is not installed."""
    if isinstance(error, MissingExtraError):
        return str(error)
    if isinstance(error, ModuleNotFoundError) and (error.name or "").partition(".")[0] in PACKAGES:
        return f"{error.name} is not installed"
    return None


def gpus() -> int:
    """How many GPUs this process may use, as the NVIDIA driver counts them; 0 without a working driver."""
    count = ctypes.c_int(0)
    try:
        driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return 0
    failed = driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count))
    return 0 if failed else count.value
