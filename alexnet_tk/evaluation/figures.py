"""The figures of an evaluation, and the text in which they are printed."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from alexnet_tk.choices import Crops
from alexnet_tk.inference.record import Record
from alexnet_tk.inference.speed import Speed
from alexnet_tk.text import by_kind, counted, printable

Z = NormalDist().inv_cdf(0.975)  # of a two-sided 95 % interval
MAX_PRINTED_CLASSES = 40
MAX_PRINTED_MISTAKES = 5
MAX_PRINTED_FAILURES = 10


@dataclass(frozen=True)
class Proportion:
    """A count of pictures out of a total, which is at least 1."""

    count: int
    total: int

    @property
    def fraction(self) -> float:
        """The count divided by the total."""
        return self.count / self.total

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95 % interval of the fraction (1927), which holds near 0 and 1, too."""
        center = self.fraction + Z**2 / (2 * self.total)
        reach = Z * sqrt(self.fraction * (1 - self.fraction) / self.total + Z**2 / (4 * self.total**2))
        low, high = ((center + side) / (1 + Z**2 / self.total) for side in (-reach, reach))
        return max(0.0, low), min(1.0, high)

    @property
    def complement(self) -> "Proportion":
        """The other pictures out of the same total."""
        return Proportion(self.total - self.count, self.total)

    def __str__(self) -> str:
        low, high = self.interval
        return f"{self.fraction:.1%} ({low:.1%} to {high:.1%})"


@dataclass(frozen=True)
class Scores:
    """How well a class is told from the others, or the means of classes; all from 0 to 1."""

    precision: float  # of the answers with this label, the part that is right; 0 without such an answer
    recall: float  # of the pictures of this class, the part that is answered so: its top-1 accuracy
    f1: float  # the harmonic mean of the two; 0 where both are


@dataclass(frozen=True)
class ClassFigures:
    """The figures of the pictures of one class."""

    label: str
    top1: Proportion
    top5: Proportion
    scores: Scores
    mistaken_for: str  # the label it is most often mistaken for; "" without a mistake
    times_mistaken: int  # for that label


@dataclass(frozen=True)
class Unknown:
    """What is left if answers that are less probable than `below` count as unknown."""

    below: float
    coverage: Proportion  # of the pictures, those with a known answer
    correct: Proportion | None  # of these, those whose answer is right; None: there are none

    def __str__(self) -> str:
        error = f"their error {self.correct.complement}" if self.correct else "no answer is left"
        return f"unknown below {self.below:g}: coverage {self.coverage}, {error}"


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The figures of a model, or of several whose probabilities are averaged."""

    models: list[Path]
    data: Path
    crops: Crops
    labels: list[str]
    confusion: NDArray[np.int64]  # pictures by [true class, predicted class], in the order of `labels`
    top5_correct: NDArray[np.int64]  # of each class, the pictures with their label in the top 5
    mistakes: list[Record]  # wrong answers, the most confident first, at most `tally.MAX_MISTAKES`
    failed: list[tuple[str, str]]  # the paths of unreadable pictures, with the reason
    ignored: Counter[str]  # other files and what else is left out, by kind
    speeds: list[Speed]  # where the time of each model went
    seconds: float
    unknown: "Unknown | None" = None  # where it was asked for

    @property
    def pictures(self) -> int:
        """The number of pictures that were answered."""
        return int(self.confusion.sum())

    @property
    def top1(self) -> Proportion:
        """The pictures whose label is the most probable one."""
        return Proportion(int(self.confusion.trace()), self.pictures)

    @property
    def top5(self) -> Proportion:
        """The pictures whose label is among the five most probable ones."""
        return Proportion(int(self.top5_correct.sum()), self.pictures)

    @property
    def macro(self) -> Scores:
        """The means of precision, recall and F1 over the classes with pictures, each class counting the same.

        A label without pictures is left out, whatever was answered with it.
        """
        with_pictures = self._scores()[self.confusion.any(axis=1)]
        return Scores(*with_pictures.mean(axis=0).tolist())

    def classes(self) -> list[ClassFigures]:
        """The figures of each class with pictures, in the order of the labels."""
        scores = [Scores(*row) for row in self._scores().tolist()]
        return [self._class_figures(i, scores[i]) for i in range(len(self.labels)) if self.confusion[i].any()]

    def _scores(self) -> NDArray[np.float64]:
        """Precision, recall and F1 of each label, (labels, 3); 0 where there is nothing to divide by."""
        right = self.confusion.diagonal()
        answers, pictures = self.confusion.sum(axis=0), self.confusion.sum(axis=1)
        parts = [(right, answers), (right, pictures), (2 * right, answers + pictures)]
        # What is divided is 0 wherever the divisor is.
        return np.stack([part / np.maximum(whole, 1) for part, whole in parts], axis=1)

    def _class_figures(self, index: int, scores: Scores) -> ClassFigures:
        wrong = self.confusion[index].copy()
        total, correct, wrong[index] = int(wrong.sum()), int(wrong[index]), 0
        times = int(wrong.max())
        return ClassFigures(
            self.labels[index],
            Proportion(correct, total),
            Proportion(int(self.top5_correct[index]), total),
            scores,
            self.labels[wrong.argmax()] if times else "",
            times,
        )

    def summary(self) -> list[str]:
        """The figures in lines to print: those of all pictures, of the classes, and the worst mistakes."""
        return [*self._accuracy_lines(), *self._class_lines(), *self._mistake_lines()]

    def account(self) -> list[str]:
        """The run in lines to print: how many pictures in what time, where it went, which pictures failed."""
        total = self.pictures + len(self.failed)
        lines = [
            f"{counted(total, 'picture')} in {self.seconds:.2f} s ({total / self.seconds:,.0f}/s): "
            f"{self.pictures:,} answered, {len(self.failed):,} failed, "
            f"{self.ignored.total():,} ignored" + (f" ({by_kind(self.ignored)})" if self.ignored else "")
        ]
        for model, speed in zip(self.models, self.speeds, strict=True):
            lines.append(f"time{f', {model}' if len(self.models) > 1 else ''}: {speed}")
        lines += [f"failed: {path}: {error}" for path, error in self.failed[:MAX_PRINTED_FAILURES]]
        if (more := len(self.failed) - MAX_PRINTED_FAILURES) > 0:
            lines.append(f"failed: {more:,} more; --output F.json lists all")
        return lines

    def _accuracy_lines(self) -> Iterator[str]:
        for name, proportion in (("top-1", self.top1), ("top-5", self.top5)):
            yield f"{name}  accuracy {proportion}, error {proportion.complement}"
        crops = "the centre crop" if self.crops == 1 else f"{self.crops} crops averaged"
        models = "" if len(self.models) == 1 else f" and {len(self.models)} models"
        yield f"{counted(self.pictures, 'picture')}, {crops}{models}; 95 % intervals (Wilson)"
        macro = self.macro
        yield (
            f"macro  precision {macro.precision:.1%}, recall {macro.recall:.1%}, F1 {macro.f1:.1%}: "
            "means of the classes with pictures"
        )
        if self.unknown is not None:
            yield str(self.unknown)

    def _class_lines(self) -> Iterator[str]:
        classes = self.classes()
        if len(classes) > MAX_PRINTED_CLASSES:
            yield ""
            yield f"the worst {MAX_PRINTED_CLASSES} of {len(classes):,} classes; --output F.csv lists all"
            classes = sorted(classes, key=lambda figures: figures.top1.fraction)[:MAX_PRINTED_CLASSES]
        yield ""
        yield "top-1   top-5   precision      F1  pictures  class, and what it is most often mistaken for"
        for figures in classes:
            scores = f"{figures.scores.precision:9.1%}  {figures.scores.f1:6.1%}"
            mistaken = f", {figures.times_mistaken:,} × {printable(figures.mistaken_for)}"
            yield (
                f"{figures.top1.fraction:6.1%}  {figures.top5.fraction:6.1%}  {scores}  "
                f"{figures.top1.total:8,}  {printable(figures.label)}"
                f"{mistaken if figures.times_mistaken else ''}"
            )

    def _mistake_lines(self) -> Iterator[str]:
        if self.mistakes:
            yield ""
            yield "most confident mistakes"
        for record in self.mistakes[:MAX_PRINTED_MISTAKES]:
            yield (
                f"{record.probabilities[0]:6.1%}  {printable(record.labels[0])} instead of "
                f"{printable(record.truth)}: {printable(record.path)}"
            )
