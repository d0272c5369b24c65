"""Batches of pictures, read ahead of the training step in threads."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from alexnet_tk.errors import PictureError
from alexnet_tk.machine import usable_cores
from alexnet_tk.parallel_map import parallel_map
from alexnet_tk.preprocess import Square
from alexnet_tk.training.dataset import Split

WHOLE_BATCH = slice(0, None)  # the slots of a process that reads every picture

Crop = Callable[[NDArray[np.uint8], int], NDArray[np.uint8]]  # of a picture and its index in the split


@dataclass(frozen=True)
class PictureBatch:
    """The pictures of a batch that this process reads, without unreadable ones: B of them."""

    pictures: NDArray[np.uint8]  # (B, S, S, 3)
    indices: NDArray[np.int64]  # (B,) in the split
    targets: NDArray[np.int64]  # (B,)
    slots: NDArray[np.int64]  # (B,) places in the whole batch
    global_size: int  # pictures of the whole batch: those of all processes, readable or not


class BatchReader:
    """Reads batches of a split ahead in threads; their order and content do not depend on the threads.

    An unreadable picture is left out of its batch, and `failures` holds the reason by its index.

    Parameters
    ----------
    split
        the pictures
    square
        how they are scaled; `batches` takes the function that crops them
    slots
        the places in every batch that this process reads
    threads
        None: one for each usable core

    """

    def __init__(
        self, split: Split, square: Square, slots: slice = WHOLE_BATCH, threads: int | None = None
    ) -> None:
        self.split = split
        self.square = square.uncropped
        self.slots = slots
        self.threads = threads or usable_cores()
        self.failures: dict[int, str] = {}

    def batches(self, order: NDArray[np.int64], batch_size: int, crop: Crop) -> Iterator[PictureBatch]:
        """Batches of the pictures with the indices in `order`; a batch may be short or even empty."""
        parts = (order[first : first + batch_size] for first in range(0, len(order), batch_size))
        return parallel_map(lambda part: self._read(part, crop), parts, self.threads)

    def _read(self, part: NDArray[np.int64], crop: Crop) -> PictureBatch:
        pictures = np.empty((0, 0, 0, 3), np.uint8)
        read: list[int] = []
        slots: list[int] = []
        own = part[self.slots]
        for slot, index in enumerate(own.tolist(), self.slots.start):
            try:
                picture = crop(self.split.read(index, self.square), index)
            except PictureError as error:
                self.failures[index] = str(error)
                continue
            if not read:  # the first picture shows the crop's size
                pictures = np.empty((len(own), *picture.shape), np.uint8)
            pictures[len(read)] = picture
            read.append(index)
            slots.append(slot)
        indices = np.array(read, dtype=np.int64)
        targets = self.split.targets[indices]
        return PictureBatch(
            pictures[: len(read)], indices, targets, np.array(slots, dtype=np.int64), len(part)
        )
