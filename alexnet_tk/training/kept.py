"""Pictures that stay in memory once they are read, so that later epochs decode and scale none."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from alexnet_tk.preprocess import Square
from alexnet_tk.training.dataset import Dataset, Split
from alexnet_tk.training.packed import PackedSplit

SHARE = 1 / 4  # of the memory that a process may use; the network and the rest of the machine need theirs


class KeptSplit:
    """A `Split` whose pictures of one square stay in memory; several threads may read at once."""

    def __init__(self, split: Split, square: Square) -> None:
        self._split, self._square = split, square
        count = len(split.targets)
        self._pictures = np.empty((count, square.crop, square.crop, 3), np.uint8)  # taken row by row
        self._is_kept = np.zeros(count, bool)

    @property
    def targets(self) -> NDArray[np.int64]:
        """The pictures' classes, (N,)."""
        return self._split.targets

    def read(self, index: int, square: Square) -> NDArray[np.uint8]:
        """The picture from memory, once it could be read."""
        if square != self._square:
            return self._split.read(index, square)
        if not self._is_kept[index]:
            self._pictures[index] = self._split.read(index, square)
            self._is_kept[index] = True
        picture: NDArray[np.uint8] = self._pictures[index]
        return picture

    def name(self, index: int) -> str:
        """That of the split."""
        return self._split.name(index)


def kept(dataset: Dataset, square: Square, memory: int | None) -> Dataset:
    """The dataset with pictures of that square kept, if they fit into their share of `memory`, in bytes.

    What is stored in this size already is left as it is, and so is all if the memory is unknown.
    """
    splits = (dataset.train, dataset.val)
    num_bytes = sum(len(split.targets) for split in splits) * square.crop**2 * 3
    if memory is None or num_bytes > SHARE * memory:
        return dataset
    train, val = (
        split if isinstance(split, PackedSplit) and split.stores(square) else KeptSplit(split, square)
        for split in splits
    )
    return replace(dataset, train=train, val=val)
