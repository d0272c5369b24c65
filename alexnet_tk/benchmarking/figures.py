"""The figures of a benchmark: what was measured in rounds, and how much the rounds differ."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from alexnet_tk.inference.speed import Speed


@dataclass(frozen=True)
class MedianRange:
    """The median of the rounds, with the lowest and the highest as its interval.

    The interval assumes nothing about the distribution of the values. If the rounds of another run come from
    the same distribution, its median lies outside with the probability that more than half of its
    n values precede all n of this run in a random order of them, or follow them:
    2 · C(n + n // 2, n) / C(2n, n) for odd n, which is 1.2 % for 11 rounds and 2.9 % for 9.
    """

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "MedianRange":
        """The figures of one value for each round."""
        return cls(median(values), min(values), max(values))


@dataclass
class NetworkTiming:
    """Runs of a network alone, on one device, with one batch size."""

    model: Path
    device: str
    batch_size: int
    memory: int | None  # bytes by which the process grew at its peak since before the model was opened
    latencies: list[float] = field(default_factory=list)  # seconds of each run
    rates: list[float] = field(default_factory=list)  # pictures/s of each round

    def milliseconds(self, percentile: float) -> float:
        """A percentile of the latencies, in milliseconds."""
        return 1000 * float(np.percentile(self.latencies, percentile))

    def to_dict(self) -> dict[str, Any]:
        """The figures in plain values."""
        return {
            "model": str(self.model),
            "device": self.device,
            "batch_size": self.batch_size,
            "runs": len(self.latencies),
            "milliseconds": {f"p{percentile}": self.milliseconds(percentile) for percentile in (50, 90, 99)},
            "pictures_per_second": asdict(MedianRange.of(self.rates)),
            "memory": self.memory,
        }


@dataclass
class PredictTiming:
    """Runs of `predict` over a folder, each beside runs of its parts alone; pictures/s of each round."""

    model: Path
    device: str
    pictures: int  # in one run
    rates: list[float] = field(default_factory=list)  # of `predict`
    network: list[float] = field(default_factory=list)  # of the network alone
    decoding: list[float] = field(default_factory=list)  # of decoding alone
    limits: list[float] = field(default_factory=list)  # of the two together if they share the machine ideally
    speed: Speed | None = None  # where the time of the last run went

    @property
    def share(self) -> MedianRange:
        """The fraction of the limit that `predict` reaches."""
        return MedianRange.of([rate / limit for rate, limit in zip(self.rates, self.limits, strict=True)])

    def to_dict(self) -> dict[str, Any]:
        """The figures in plain values."""
        speed = self.speed
        return {
            "model": str(self.model),
            "device": self.device,
            "pictures": self.pictures,
            "predict": asdict(MedianRange.of(self.rates)),
            "network": asdict(MedianRange.of(self.network)),
            "decoding": asdict(MedianRange.of(self.decoding)),
            "limit": asdict(MedianRange.of(self.limits)),
            "share": asdict(self.share),
            "seconds": speed
            and {"read": speed.read, "decode": speed.decode, "infer": speed.infer, "write": speed.write},
        }


@dataclass(frozen=True)
class Ratio:
    """How many times as fast the second model is as the first, in one setting."""

    device: str
    batch_size: int | None  # of the network alone; None: `predict` over a folder
    ratio: MedianRange


@dataclass
class Benchmark:
    """All figures of one model, or of two in the same settings."""

    cores: int
    networks: list[NetworkTiming] = field(default_factory=list)
    predictions: list[PredictTiming] = field(default_factory=list)
    unreadable: int = 0  # pictures of the folder that were left out

    @property
    def models(self) -> list[Path]:
        """The one or two models, in the order in which they were given."""
        return list(dict.fromkeys(timing.model for timing in self.networks))

    def ratios(self) -> list[Ratio]:
        """The second model against the first; empty with one model.

        Each round gives a ratio of its own, of two rates that were measured one right after the other.
        """
        if len(self.models) < 2:
            return []
        first, second = (self._rates_of(model) for model in self.models)
        return [
            Ratio(*setting, MedianRange.of([b / a for a, b in zip(rates, second[setting], strict=True)]))
            for setting, rates in first.items()
            if setting in second
        ]

    def _rates_of(self, model: Path) -> dict[tuple[str, int | None], list[float]]:
        """The rates of a model's rounds by device and batch size, which is None for `predict`."""
        rates: dict[tuple[str, int | None], list[float]] = {
            (timing.device, timing.batch_size): timing.rates
            for timing in self.networks
            if timing.model == model
        }
        return rates | {
            (timing.device, None): timing.rates for timing in self.predictions if timing.model == model
        }

    def to_dict(self) -> dict[str, Any]:
        """Everything in plain values; seconds, bytes, pictures/s."""
        return {
            "models": [str(model) for model in self.models],
            "cores": self.cores,
            "batches": [timing.to_dict() for timing in self.networks],
            "folder": [timing.to_dict() for timing in self.predictions],
            "unreadable": self.unreadable,
            "ratios": [asdict(ratio) for ratio in self.ratios()],
        }
