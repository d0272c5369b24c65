"""What is counted while a model is evaluated, and the figures that follow."""

from collections import Counter
from dataclasses import dataclass, field
from heapq import heappush, heappushpop
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

    count: int
    of: int

    @property
    def value(self) -> float:
        """As a fraction."""
        return self.count / self.of

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
        return Share(self.of - self.count, self.of)

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
    confusion: NDArray[np.int64] = field(init=False)  # [true, answered]
    among_five: NDArray[np.int64] = field(
        init=False
    )  # for each class, pictures with their label in the top 5
    failed: list[tuple[str, str]] = field(default_factory=list)  # pictures that can't be read, and why
    ignored: Counter[str] = field(default_factory=Counter)  # other files, by their ending
    seconds: float = 0.0
    speeds: list[Speed] = field(default_factory=list)  # of each model
    _worst: list[tuple[float, int, Record]] = field(default_factory=list)  # a heap, the least confident first

    def __post_init__(self) -> None:
        classes = len(self.labels)
        self.confusion = np.zeros((classes, classes), np.int64)
        self.among_five = np.zeros(classes, np.int64)

    def add(self, truth: int, ranked: NDArray[np.int64], record: Record) -> None:
        """Count an answer: the true class, and all classes from the most probable down."""
        self.confusion[truth, ranked[0]] += 1
        self.among_five[truth] += truth in ranked[:5]
        if ranked[0] != truth:
            entry = (record.probabilities[0], -self.pictures, record)  # of equals the first is kept
            if len(self._worst) < MISTAKES:
                heappush(self._worst, entry)
            else:
                heappushpop(self._worst, entry)

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
