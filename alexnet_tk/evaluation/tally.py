"""The counts of an evaluation while its pictures are answered."""

from dataclasses import replace
from heapq import heappush, heappushpop

import numpy as np
from numpy.typing import NDArray

from alexnet_tk.evaluation.figures import Proportion, Unknown
from alexnet_tk.inference.classify import Answer
from alexnet_tk.inference.record import Record

MAX_MISTAKES = 20  # wrong answers that are kept, the most confident ones
RECORD_LABELS = 5  # labels in a record, the most probable ones


class Tally:
    """Counts of answers; only failed pictures make it grow."""

    def __init__(self, labels: list[str], unknown_below: float = 0.0) -> None:
        classes = len(labels)
        self.unknown_below = unknown_below
        self.known_correct, self.known = 0, 0  # of the answers that are not less probable than that
        self.labels = labels
        self.confusion: NDArray[np.int64] = np.zeros((classes, classes), np.int64)  # [true, predicted]
        self.top5_correct: NDArray[np.int64] = np.zeros(classes, np.int64)  # by true class
        self.failed: list[tuple[str, str]] = []  # path and reason
        self._count = 0
        # A heap with the least confident mistake first and, of equals, the latest.
        self._mistakes: list[tuple[float, int, int, Answer]] = []

    def add(self, answer: Answer, target: int) -> None:
        """Count the answer for a picture of the class with the index `target`."""
        self._count += 1
        if answer.error:
            self.failed.append((answer.path, answer.error))
            return
        probabilities = answer.probabilities
        predicted, own = int(probabilities.argmax()), probabilities[target]
        # Equal probabilities rank by their index, as in a record; `~(… <= …)` lets NaN count as higher.
        rank = np.count_nonzero(~(probabilities <= own)) + np.count_nonzero(probabilities[:target] == own)
        self.confusion[target, predicted] += 1
        if probabilities[predicted] >= self.unknown_below:
            self.known += 1
            self.known_correct += predicted == target
        self.top5_correct[target] += rank < 5
        if predicted != target:
            self._keep_mistake(answer, target, float(probabilities[predicted]))

    def _keep_mistake(self, answer: Answer, target: int, confidence: float) -> None:
        if len(self._mistakes) == MAX_MISTAKES and confidence <= self._mistakes[0][0]:
            return
        # A copy, because the row would keep the answers of its whole batch in memory.
        entry = (confidence, -self._count, target, replace(answer, probabilities=answer.probabilities.copy()))
        if len(self._mistakes) < MAX_MISTAKES:
            heappush(self._mistakes, entry)
        else:
            heappushpop(self._mistakes, entry)

    def unknown(self) -> Unknown:
        """What is left of the answers where the less probable ones count as unknown."""
        correct = Proportion(self.known_correct, self.known) if self.known else None
        return Unknown(self.unknown_below, Proportion(self.known, int(self.confusion.sum())), correct)

    @property
    def mistakes(self) -> list[Record]:
        """The most confident wrong answers, the most confident first."""
        return [
            as_record(answer, target, self.labels)
            for _, _, target, answer in sorted(self._mistakes, reverse=True)
        ]


def as_record(answer: Answer, target: int, labels: list[str]) -> Record:
    """The answer with its `RECORD_LABELS` most probable labels and the true one."""
    if answer.error:
        return Record(answer.path, answer.error, truth=labels[target])
    top = np.argsort(-answer.probabilities, kind="stable")[:RECORD_LABELS]
    return Record(
        answer.path,
        labels=tuple(labels[index] for index in top),
        probabilities=tuple(answer.probabilities[top].tolist()),
        thumbnail=answer.thumbnail,
        heat_thumbnail=answer.heat_thumbnail,
        truth=labels[target],
    )
