"""A batch on the device of this process, in the shape that all processes share."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from alexnet_tk.training.batches import PictureBatch
from alexnet_tk.training.parallel import Strategy


@dataclass(frozen=True)
class DeviceBatch:
    """This process's part of a batch, B pictures, filled up with blank ones where that is needed."""

    pictures: Tensor  # uint8 (B, S, S, 3)
    indices: NDArray[np.int64]  # (B,) in the split
    targets: Tensor  # int64 (B,)
    sample_weights: Tensor  # float32 (B,) 1, or 0 where the picture is blank
    slots: Tensor  # int64 (B,) places in the whole batch
    present: NDArray[np.int64] | slice  # the rows that are not blank

    @classmethod
    def of(cls, batch: PictureBatch, strategy: Strategy) -> "DeviceBatch":
        """Move a batch to the device.

        With several processes B is the same in each of them: tensors that they exchange must have one shape.
        """
        own, size = strategy.slots, strategy.recipe.network.image_size
        count = len(batch.slots) if strategy.world.size == 1 else own.stop - own.start
        pictures, indices, targets, slots = batch.pictures, batch.indices, batch.targets, batch.slots
        sample_weights = np.ones(len(slots), np.float32)
        present: NDArray[np.int64] | slice = slice(None)
        if len(slots) < count:
            rows = present = slots - own.start
            sample_weights = _scattered(sample_weights, rows, count)
            pictures = _scattered(pictures.reshape(-1, size, size, 3), rows, count)
            indices, targets = _scattered(indices, rows, count), _scattered(targets, rows, count)
            slots = np.arange(own.start, own.stop)
        device = strategy.device
        return cls(
            _to_device(pictures, device),
            indices,
            _to_device(targets, device),
            _to_device(sample_weights, device),
            _to_device(slots, device),
            present,
        )


def _scattered(values: NDArray[Any], rows: NDArray[np.int64], count: int) -> NDArray[Any]:
    """An array of `count` rows, with the values in these rows and 0 in the others."""
    scattered = np.zeros((count, *values.shape[1:]), values.dtype)
    scattered[rows] = values
    return scattered


def _to_device(array: NDArray[Any], device: torch.device) -> Tensor:
    """The array on the device; on CUDA the host does not wait for the copy."""
    tensor = torch.from_numpy(array)
    if device.type == "cuda":
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)
