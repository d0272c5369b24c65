"""What is counted while a model is evaluated, and the figures that follow."""

from collections import Counter
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count
from math import sqrt
from pathlib import Path
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from alexnet_tk.inference.results import Record
from alexnet_tk.inference.speed import Speed

Z = NormalDist().inv_cdf(0.975)  # of the two sides of a 95 % interval
MISTAKES = 20  # that are kept


@dataclass(frozen=True)
class Share:
    """So many of so many pictures, at least one."""

    hits: int
    of: int

    @property
    def value(self) -> float:
        """As a fraction."""
        return self.hits / self.of

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95 % interval (1927), which holds near 0 and 1, too."""
        center = self.value + Z**2 / (2 * self.of)
        reach = Z * sqrt(self.value * (1 - self.value) / self.of + Z**2 / (4 * self.of**2))
        low, high = ((center + side) / (1 + Z**2 / self.of) for side in (-reach, reach))
        return max(0.0, low), min(1.0, high)

    @property
    def rest(self) -> "Share":
        """Those that are left."""
        return Share(self.of - self.hits, self.of)

    def __str__(self) -> str:
        low, high = self.interval
        return f"{self.value:.1%} ({low:.1%} to {high:.1%})"


@dataclass(frozen=True)
class ClassFigures:
    """Of the pictures of one class."""

    label: str
    top1: Share
    top5: Share
    taken_for: str  # the label it is most often mistaken for; "" where there is no mistake
    times: int


@dataclass
class Evaluation:
    """Sums over the pictures so far; rows and columns of the confusion are in the order of the labels."""

    models: list[Path]
    data: Path
    crops: int
    labels: list[str]
    ignored: Counter[str] = field(default_factory=Counter)  # other files, by their ending
    speeds: list[Speed] = field(default_factory=list)  # where each model's time went
    seconds: float = 0.0
    failed: list[tuple[str, str]] = field(default_factory=list)  # pictures that can't be read, and why
    confusion: NDArray[np.int64] = field(init=False)  # [true, answered]
    among_five: NDArray[np.int64] = field(init=False)  # of each class: those with their label in the top 5
    _worst: list[tuple[float, int, Record]] = field(default_factory=list)  # a heap, the least sure first
    _places: "count[int]" = field(default_factory=count)  # by which equals are told apart

    def __post_init__(self) -> None:
        classes = len(self.labels)
        self.confusion = np.zeros((classes, classes), np.int64)
        self.among_five = np.zeros(classes, np.int64)

    def add(self, truth: int, row: NDArray[np.float32]) -> bool:
        """Count an answer, the probabilities of all classes; True if it is one of the surest mistakes so far.

        Of equal probabilities the first goes before, as in a prediction's record.
        """
        answered, own = int(row.argmax()), row[truth]
        # Written so that what is no number counts as wrong.
        before = np.count_nonzero(~(row <= own)) + np.count_nonzero(row[:truth] == own)
        self.confusion[truth, answered] += 1
        self.among_five[truth] += before < 5
        if answered == truth:
            return False
        return len(self._worst) < MISTAKES or bool(row[answered] > self._worst[0][0])

    def keep(self, mistake: Record) -> None:
        """Remember one of the surest mistakes, and forget the least sure of too many."""
        heappush(self._worst, (mistake.probabilities[0], -next(self._places), mistake))
        if len(self._worst) > MISTAKES:
            heappop(self._worst)

    @property
    def pictures(self) -> int:
        """How many were answered."""
        return int(self.confusion.sum())

    @property
    def top1(self) -> Share:
        """How many have their label as the most probable one."""
        return Share(int(self.confusion.trace()), self.pictures)

    @property
    def top5(self) -> Share:
        """How many have their label among the five most probable ones."""
        return Share(int(self.among_five.sum()), self.pictures)

    @property
    def mistakes(self) -> list[Record]:
        """The wrong answers of which the model is surest, the surest first."""
        return [record for _, _, record in sorted(self._worst, reverse=True)]

    def classes(self) -> list[ClassFigures]:
        """Figures of the classes that have pictures, in the order of the labels."""
        made = []
        for index, label in enumerate(self.labels):
            row = self.confusion[index]
            if (of := int(row.sum())) == 0:
                continue
            others = row.copy()
            others[index] = 0
            times = int(others.max())
            taken_for = self.labels[others.argmax()] if times else ""
            right, among = int(row[index]), int(self.among_five[index])
            made.append(ClassFigures(label, Share(right, of), Share(among, of), taken_for, times))
        return made
