"""The colours of a training set: the mean to subtract, and the axes of the colour shift."""

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from alexnet_tk.errors import DataError
from alexnet_tk.preprocess import RGB
from alexnet_tk.progress import Progress
from alexnet_tk.recipe import Recipe
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
    # The mean of the scaled squares, float32 (R, R, 3), where a recipe asks for it.
    picture: Tensor | None = field(default=None, repr=False, compare=False)

    @classmethod
    def from_lists(
        cls,
        mean: list[float],
        eigenvalues: list[float],
        eigenvectors: list[list[float]],
        picture: Tensor | None = None,
    ) -> "Statistics":
        """From lists as files hold them; raises `ValueError` unless all lists have three items."""
        red, green, blue = eigenvectors
        vectors = _three(red), _three(green), _three(blue)
        return cls(_three(mean), _three(eigenvalues), vectors, picture)

    def to_plain(self) -> dict[str, Any]:
        """For a file, the inverse of `from_lists`; the mean picture where there is one."""
        plain = asdict(self)
        if self.picture is None:
            del plain["picture"]
        return plain

    @classmethod
    def of(
        cls, reader: BatchReader, seed: int, progress: Progress, with_picture: bool = False
    ) -> "Statistics":
        """Measure the reader's split, or `MAX_MEASURED` pictures of it drawn with the seed.

        With `with_picture` also the mean picture.

        Raises
        ------
        DataError
            not one picture can be read

        """
        order = np.random.default_rng([seed, 0x57A7]).permutation(len(reader.split.targets))[:MAX_MEASURED]
        moments, size = Moments(), reader.square.crop
        total = np.zeros((size, size, 3), np.int64) if with_picture else None
        for batch in reader.batches(np.sort(order), 16, lambda picture, index: picture):
            for picture in batch.pictures.numpy():
                moments += Moments.of(picture)
                if total is not None:
                    total += picture
            progress.advance(len(batch.indices))
        if not moments.pixels:
            index, reason = next(iter(reader.failures.items()))
            raise DataError(
                f"no training picture is readable; the first is {reader.split.name(index)}: {reason}"
            )
        return moments.statistics(total)

    def subtracted(self, recipe: Recipe) -> Tensor:
        """What is subtracted from a crop, 0..255: the mean colour, (3,), or a picture, (S, S, 3).

        That is the centre of the mean picture wherever the crop is from and whether it is mirrored or not,
        as in the authors' code.
        """
        if recipe.preprocess.mean != "picture":
            return torch.tensor(recipe.resolve(self.mean).mean)
        assert self.picture is not None  # a run measures it before it begins
        centre: Tensor = recipe.square.centre(self.picture)
        return centre.to(torch.get_default_dtype())


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

    def statistics(self, total: NDArray[np.int64] | None = None) -> Statistics:
        """Mean and principal components of all pixels so far.

        With the mean picture, if `total` is the sum of the pictures, (H, W, 3): all of that size.
        """
        mean = self.total / self.pixels
        eigenvalues, eigenvectors = np.linalg.eigh(self.squares / self.pixels - np.outer(mean, mean))
        # A grey set has two components without variance; rounding may leave them a hair below zero.
        picture = None
        if total is not None:
            count = self.pixels // (total.shape[0] * total.shape[1])
            picture = torch.from_numpy((total / count).astype(np.float32))
        lists = mean.tolist(), eigenvalues.clip(min=0).tolist(), eigenvectors.tolist()
        return Statistics.from_lists(*lists, picture)


def _three(values: list[float]) -> RGB:
    first, second, third = values
    return float(first), float(second), float(third)
