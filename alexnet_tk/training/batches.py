"""Batches of pictures, read ahead of the training step in threads."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from alexnet_tk.errors import PictureError
from alexnet_tk.machine import usable_cores
from alexnet_tk.parallel_map import parallel_map
from alexnet_tk.preprocess import Square
from alexnet_tk.training.changes import Changes
from alexnet_tk.training.dataset import Split

Crop = Callable[[NDArray[np.uint8], int], NDArray[np.uint8]]  # of a picture and its index in the split


@dataclass(frozen=True)
class PictureBatch:
    """The pictures of a batch that this process reads, B of them; its tensors are on one device."""

    pictures: Tensor  # uint8 (B, S, S, 3)
    changes: Changes | None  # in training
    targets: Tensor  # int64 (B,)
    sample_weights: Tensor  # float32 (B,) those of the pictures' classes; 0 where the picture is blank
    slots: Tensor  # int64 (B,) places in the whole batch
    present: Tensor | None  # int64, the rows that are not blank; None: all of them
    indices: NDArray[np.int64]  # in the split, of those that are not blank
    global_size: int  # pictures of the whole batch: those of all processes, readable or not

    def map(self, function: Callable[[Tensor], Tensor]) -> "PictureBatch":
        """The batch with the function's result in place of each tensor."""
        return replace(
            self,
            pictures=function(self.pictures),
            changes=None if self.changes is None else self.changes.map(function),
            targets=function(self.targets),
            sample_weights=function(self.sample_weights),
            slots=function(self.slots),
            present=None if self.present is None else function(self.present),
        )

    def without_blank(self, rows: Tensor) -> Tensor:
        """The rows, (B, …), of the pictures that are not blank."""
        return rows if self.present is None else rows[self.present]


def on_device(batches: Iterator[PictureBatch], device: torch.device) -> Iterator[PictureBatch]:
    """The batches on the device, copied on a stream of their own.

    On CUDA the host is ahead of the device, so a batch is copied while the batches before it are computed.
    """
    if device.type != "cuda":
        yield from batches
        return
    copying = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    for batch in batches:
        with torch.cuda.stream(copying):
            moved = batch.map(lambda tensor: tensor.to(device, non_blocking=True))
        torch.cuda.current_stream(device).wait_stream(copying)
        yield moved.map(_in_use)


def _in_use(tensor: Tensor) -> Tensor:
    """The tensor, whose memory may be reused only after what the current stream does with it."""
    tensor.record_stream(torch.cuda.current_stream(tensor.device))
    return tensor


class BatchReader:
    """Reads batches of a split ahead in threads; their order and content do not depend on the threads.

    An unreadable picture is left out of its batch, and `failures` holds the reason by its index.

    Parameters
    ----------
    split
        the pictures
    square
        how they are scaled, and the size of the crops; `batches` takes the function that cuts them
    slots
        the places in every batch that this process reads; every batch then has as many rows, blank ones
        where pictures are missing, so that what processes exchange has one shape. None: all pictures of a
        batch, without blank rows
    threads
        None: one for each usable core
    pinned
        read into pinned memory, from which CUDA devices copy without waiting
    class_weights
        float32 (num_classes,) what a picture of each class weighs in the loss; None: 1

    """

    def __init__(
        self,
        split: Split,
        square: Square,
        slots: slice | None = None,
        threads: int | None = None,
        pinned: bool = False,
        class_weights: NDArray[np.float32] | None = None,
    ) -> None:
        self.split = split
        self.square = square
        self.slots = slots
        self.threads = threads or usable_cores()
        self.pinned = pinned
        self.class_weights = class_weights
        self.failures: dict[int, str] = {}

    def batches(
        self,
        order: NDArray[np.int64],
        batch_size: int,
        crop: Crop,
        changes: Callable[[NDArray[np.int64]], Changes] | None = None,
    ) -> Iterator[PictureBatch]:
        """Batches of the pictures with the indices in `order`, on the CPU; a batch may be empty.

        `crop` cuts a picture, and `changes` says for the pictures' indices what is to be done with them.
        """
        parts = (order[first : first + batch_size] for first in range(0, len(order), batch_size))
        return parallel_map(lambda part: self._read(part, crop, changes), parts, self.threads)

    def _read(
        self,
        part: NDArray[np.int64],
        crop: Crop,
        changes: Callable[[NDArray[np.int64]], Changes] | None,
    ) -> PictureBatch:
        first = 0 if self.slots is None else self.slots.start
        count = len(part) if self.slots is None else self.slots.stop - first
        size = self.square.crop
        pictures = torch.empty((count, size, size, 3), dtype=torch.uint8, pin_memory=self.pinned)
        pixels = pictures.numpy()
        indices = np.zeros(count, np.int64)
        present = np.zeros(count, bool)
        for row, index in enumerate(part[first : first + count].tolist()):
            try:
                picture = crop(self.split.read(index, self.square.uncropped), index)
            except PictureError as error:
                self.failures[index] = str(error)
                continue
            pixels[row] = picture
            indices[row], present[row] = index, True
        pixels[~present] = 0
        found = np.flatnonzero(present)
        rows = found if self.slots is None else np.arange(count)
        targets, weights = self.split.targets[indices[rows]], present[rows].astype(np.float32)
        if self.class_weights is not None:
            weights *= self.class_weights[targets]
        batch = PictureBatch(
            pictures if len(rows) == count else pictures[torch.from_numpy(rows)],
            None if changes is None else changes(indices[rows]),
            torch.from_numpy(targets),
            torch.from_numpy(weights),
            torch.from_numpy(first + rows),
            None if len(rows) == len(found) else torch.from_numpy(found),
            indices[found],
            len(part),
        )
        return batch.map(Tensor.pin_memory) if self.pinned else batch  # what is pinned stays as it is
