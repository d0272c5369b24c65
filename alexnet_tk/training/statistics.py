"""The colours of a training set: the mean to subtract, and the axes of the colour shift."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from alexnet_tk.errors import DataError
from alexnet_tk.preprocess import RGB
from alexnet_tk.progress import Progress
from alexnet_tk.training.batches import BatchReader

MAX_MEASURED = 10_000  # pictures to decode for the statistics of a larger training set


@dataclass(frozen=True)
class Statistics:
    """The mean of a training set's pixels, and the eigenvalues and eigenvectors of their covariance.

    Red, green, blue on the scale 0..255; `eigenvectors[i][j]` is channel i of component j.
    """

    mean: RGB
    eigenvalues: RGB
    eigenvectors: tuple[RGB, RGB, RGB]

    @classmethod
    def from_lists(
        cls, mean: list[float], eigenvalues: list[float], eigenvectors: list[list[float]]
    ) -> "Statistics":
        """From lists as files hold them; raises `ValueError` unless all lists have three items."""
        red, green, blue = eigenvectors
        return cls(_three(mean), _three(eigenvalues), (_three(red), _three(green), _three(blue)))

    @classmethod
    def of(cls, reader: BatchReader, seed: int, progress: Progress) -> "Statistics":
        """Measure the reader's split, or `MAX_MEASURED` pictures of it drawn with the seed.

        Raises
        ------
        DataError
            not one picture can be read

        """
        order = np.random.default_rng([seed, 0x57A7]).permutation(len(reader.split.targets))[:MAX_MEASURED]
        moments = Moments()
        for batch in reader.batches(np.sort(order), 16, lambda picture, index: picture):
            for picture in batch.pictures.numpy():
                moments += Moments.of(picture)
            progress.advance(len(batch.indices))
        if not moments.pixels:
            index, reason = next(iter(reader.failures.items()))
            raise DataError(
                f"no training picture is readable; the first is {reader.split.name(index)}: {reason}"
            )
        return moments.statistics()


class Moments:
    """Sums over pixels, from which the statistics follow; as integers they do not depend on the order."""

    def __init__(self) -> None:
        self.pixels = 0
        self.total = np.zeros(3, dtype=np.int64)
        self.squares = np.zeros((3, 3), dtype=np.int64)

    @classmethod
    def of(cls, picture: NDArray[np.uint8]) -> "Moments":
        """The sums of one picture, uint8 (H, W, 3)."""
        moments = cls()
        pixels = picture.reshape(-1, 3).astype(np.float64)  # exact: a picture's sums stay far below 2^53
        moments.pixels = len(pixels)
        moments.total = pixels.sum(axis=0).astype(np.int64)
        moments.squares = (pixels.T @ pixels).astype(np.int64)
        return moments

    def __iadd__(self, other: "Moments") -> "Moments":
        self.pixels += other.pixels
        self.total += other.total
        self.squares += other.squares
        return self

    def to_list(self) -> list[int]:
        """The sums, for a file."""
        return [self.pixels, *self.total.tolist(), *self.squares.ravel().tolist()]

    @classmethod
    def from_list(cls, sums: list[int]) -> "Moments":
        """The sums from a file."""
        moments = cls()
        moments.pixels = sums[0]
        moments.total, moments.squares = np.array(sums[1:4]), np.array(sums[4:13]).reshape(3, 3)
        return moments

    def statistics(self) -> Statistics:
        """Mean and principal components of all pixels so far."""
        mean = self.total / self.pixels
        eigenvalues, eigenvectors = np.linalg.eigh(self.squares / self.pixels - np.outer(mean, mean))
        # A grey set has two components without variance; rounding may leave them a hair below zero.
        return Statistics.from_lists(mean.tolist(), eigenvalues.clip(min=0).tolist(), eigenvectors.tolist())


def _three(values: list[float]) -> RGB:
    first, second, third = values
    return float(first), float(second), float(third)
