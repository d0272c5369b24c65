"""What was measured, and how sure it is."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from alexnet_tk.inference.speed import Speed


@dataclass(frozen=True)
class Estimate:
    """The median of the rounds, the lowest and the highest of them.

    These two are an interval that supposes nothing about how the values are distributed. Where the rounds
    of another run are like those of this one, its median lies outside with the chance that more than
    half of its n values precede all n of this run in a random order of them, or follow them:
    2 · C(n + n // 2, n) / C(2n, n) for odd n, which is 1.2 % of the time for 11 rounds and 2.9 % for 9.
    """

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Estimate":
        """From one value a round."""
        return cls(median(values), min(values), max(values))


@dataclass
class Batches:
    """Runs of a network alone, on one device, with one batch size."""

    model: Path
    device: str
    batch_size: int
    memory: int | None  # bytes by which the process grew, at its peak, since before the model was opened
    latencies: list[float] = field(default_factory=list)  # seconds of each run
    rates: list[float] = field(default_factory=list)  # pictures a second, in each round

    def milliseconds(self, percent: float) -> float:
        """The percentile of a run's."""
        return 1000 * float(np.percentile(self.latencies, percent))

    def to_dict(self) -> dict[str, Any]:
        """In plain values."""
        return {
            "model": str(self.model),
            "device": self.device,
            "batch_size": self.batch_size,
            "runs": len(self.latencies),
            "milliseconds": {f"p{each}": self.milliseconds(each) for each in (50, 90, 99)},
            "pictures_per_second": asdict(Estimate.of(self.rates)),
            "memory": self.memory,
        }


@dataclass
class Folder:
    """Runs of `predict` over pictures, in turn with its parts alone; pictures a second in each round."""

    model: Path
    device: str
    pictures: int  # of a run
    rates: list[float] = field(default_factory=list)  # of `predict`
    network: list[float] = field(default_factory=list)  # of the network alone
    decoding: list[float] = field(default_factory=list)  # of decoding alone
    limits: list[float] = field(default_factory=list)  # of the machine, if the two shared it without loss
    speed: Speed | None = None  # where the time of the last run went

    @property
    def share(self) -> Estimate:
        """The part of the limit that `predict` reaches."""
        return Estimate.of([rate / limit for rate, limit in zip(self.rates, self.limits, strict=True)])

    def to_dict(self) -> dict[str, Any]:
        """In plain values."""
        names = ("rates", "network", "decoding", "limits")
        return {
            "model": str(self.model),
            "device": self.device,
            "pictures": self.pictures,
            **{
                {"rates": "predict", "limits": "limit"}.get(each, each): asdict(
                    Estimate.of(getattr(self, each))
                )
                for each in names
            },
            "share": asdict(self.share),
            "seconds": self.speed
            and {each: getattr(self.speed, each) for each in ("read", "decode", "infer", "write")},
        }


@dataclass
class Benchmark:
    """All figures, of one model or of two in the same settings."""

    cores: int
    batches: list[Batches] = field(default_factory=list)
    folders: list[Folder] = field(default_factory=list)
    unreadable: int = 0  # pictures of the folder, which were left out

    @property
    def models(self) -> list[Path]:
        """Those that were measured, in the order they were named."""
        return list(dict.fromkeys(each.model for each in self.batches))

    def ratios(self) -> list[tuple[str, int | None, Estimate]]:
        """Device, batch size (None: `predict` over a folder) and how many times as fast the second model is.

        Each round gives a ratio of its own, of figures that were measured one right after the other.
        """
        made: list[tuple[str, int | None, Estimate]] = []
        if len(self.models) < 2:
            return made
        runs = [(each.model, each.device, each.batch_size, each.rates) for each in self.batches]
        runs += [(each.model, each.device, 0, each.rates) for each in self.folders]
        first, second = (
            {(device, size): rates for model, device, size, rates in runs if model == which}
            for which in self.models
        )
        for (device, size), rates in first.items():
            if (device, size) in second:
                ratios = [b / a for a, b in zip(rates, second[device, size], strict=True)]
                made.append((device, size or None, Estimate.of(ratios)))
        return made

    def to_dict(self) -> dict[str, Any]:
        """In plain values; seconds, bytes, pictures a second."""
        return {
            "models": [str(each) for each in self.models],
            "cores": self.cores,
            "batches": [each.to_dict() for each in self.batches],
            "folder": [each.to_dict() for each in self.folders],
            "unreadable": self.unreadable,
            "ratios": [
                {"device": device, "batch_size": size, "ratio": asdict(ratio)}
                for device, size, ratio in self.ratios()
            ],
        }
