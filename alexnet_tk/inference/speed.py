"""Where the time of a prediction goes, what limits it, and what would help."""

from array import array
from dataclasses import dataclass, field

import numpy as np


@dataclass
class Speed:
    """The seconds that each stage of a run took, summed over its threads."""

    workers: int
    batch_size: int
    runs: int = 0  # of the network at once, on GPUs, while the workers read and decode; 0: on a CPU
    faster: tuple[str, ...] = ()  # what would make the network faster on a CPU, in words
    read: float = 0.0
    decode: float = 0.0
    infer: float = 0.0
    write: float = 0.0  # in the caller's thread
    batches: "array[float]" = field(default_factory=lambda: array("d"))  # seconds of each

    def add(self, read: float, decode: float, infer: float) -> None:
        """Count a batch."""
        self.read += read
        self.decode += decode
        self.infer += infer
        self.batches.append(read + decode + infer)

    def bound(self) -> str:
        """The stage that the others wait for: that whose threads are busy longest."""
        busy = {
            "read": self.read / self.workers,
            "decode": self.decode / self.workers,
            "infer": self.infer / (self.runs or self.workers),
            "write": self.write,
        }
        return max(busy, key=lambda stage: busy[stage])

    def advice(self) -> str:
        """What would make the run faster."""
        if self.bound() == "infer":
            if self.runs:
                return "a larger --batch-size, or a file of --precision fp16"
            return f"{', '.join([*self.faster, 'more cores'])} or a GPU"
        return {
            "read": "a faster disk, or more --workers",
            "decode": "more cores, or smaller pictures",
            "write": "an --output on a faster disk",
        }[self.bound()]

    def __str__(self) -> str:
        median, p99 = (1000 * np.percentile(self.batches, [50, 99])) if self.batches else (0.0, 0.0)
        return (
            f"read {self.read:.1f} s, decode {self.decode:.1f} s, infer {self.infer:.1f} s in {self.workers} "
            f"workers, write {self.write:.1f} s; a batch of {self.batch_size}: median {median:,.0f} ms, "
            f"p99 {p99:,.0f} ms; bound by {self.bound()}: {self.advice()} would help"
        )
