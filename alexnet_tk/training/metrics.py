"""Loss and accuracy of a network in training, summed on its device."""

from dataclasses import asdict, dataclass
from math import isfinite

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from alexnet_tk.training.batches import PictureBatch
from alexnet_tk.training.parallel.world import World

MEMORY = 0.99  # of the running loss: the weight that a step leaves to the average before it
BATCHES_KEPT = 16  # by a tally, until it sums them: their logits are few megabytes


@dataclass(frozen=True)
class Figures:
    """Averages over that number of pictures; top-1 and top-5 accuracy are fractions."""

    pictures: int
    loss: float
    top1: float
    top5: float

    def named(self, prefix: str) -> dict[str, float]:
        """The averages by name, each name with the prefix."""
        return {prefix + name: value for name, value in asdict(self).items() if name != "pictures"}


class Tally:
    """Loss and correct answers summed over pictures, on the device: adding waits for nothing.

    Each process adds its own pictures; results are the sums over all processes. Batches are kept and summed
    several at a time, because each operator costs the host as much for one batch as for many.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        # Pictures, loss, top-1, top-5.
        self._sums = torch.zeros(4, dtype=torch.float64, device=world.device)
        self._kept: list[tuple[Tensor, Tensor]] = []

    def add(self, logits: Tensor, targets: Tensor) -> None:
        """Add a batch: logits (B, num_classes) and the right classes, int64 (B,)."""
        self._kept.append((logits.detach(), targets))
        if len(self._kept) == BATCHES_KEPT:
            self._sum()

    def _sum(self) -> None:
        """Add the batches that are kept to the sums."""
        if not self._kept:
            return
        logits, targets = (torch.cat(parts) for parts in zip(*self._kept, strict=True))
        self._kept.clear()
        losses = F.cross_entropy(logits, targets, reduction="none").double()
        ranked = logits.topk(min(5, logits.shape[1])).indices == targets[:, None]  # (B, ≤ 5)
        self._sums[0] += len(targets)
        self._sums[1:] += torch.stack([losses.sum(), ranked[:, 0].sum(), ranked.sum()])

    def to_list(self) -> list[float]:
        """The sums over all processes, for a file."""
        self._sum()
        sums: list[float] = self._world.all_reduce(self._sums).tolist()
        return sums

    def add_list(self, sums: list[float]) -> None:
        """Add sums from a file, or an empty list, in the first process; the others ignore them."""
        if sums and self._world.is_first:
            self._sums += torch.tensor(sums, dtype=torch.float64, device=self._sums.device)

    def figures(self) -> Figures:
        """The averages over all processes; waits for the device."""
        pictures, *sums = self.to_list()
        loss, top1, top5 = (value / max(1, pictures) for value in sums)
        return Figures(int(pictures), loss, top1, top5)


class RunningLoss:
    """An exponential average of the steps' losses, which stay on the device until the average is read.

    `loss_copies` is the number of processes that each know all of a step's loss; of 1, each knows its share.
    """

    def __init__(self, world: World, loss_copies: int = 1) -> None:
        self._world, self._loss_copies = world, loss_copies
        self._share = 0.0  # this process's
        self._bad_step = -1
        self._unread: list[tuple[int, Tensor]] = []

    def update(self, loss: Tensor, step: int) -> None:
        """Take in what this process knows of a step's loss, a scalar; waits for nothing."""
        self._unread.append((step, loss))

    def bad_step(self) -> int | None:
        """The first step whose loss was NaN or infinite in any process; waits for the device."""
        self._read()
        step = self._world.max(self._bad_step)
        return None if step < 0 else step

    def value(self, steps: int) -> float:
        """The average after that number of steps, corrected for its start at 0; waits for the device."""
        return float(self.state()) / (1 - MEMORY ** max(1, steps))

    def state(self) -> Tensor:
        """The uncorrected average over all processes, on the CPU; waits for the device."""
        self._read()
        return self._world.all_reduce(torch.tensor(self._share))

    def restore(self, state: Tensor) -> None:
        """Continue from what `state` returned."""
        self._share = float(state) / self._world.size

    def _read(self) -> None:
        """Take the losses from the device, all at once."""
        if not self._unread:
            return
        steps, losses = zip(*self._unread, strict=True)
        self._unread.clear()
        for step, loss in zip(steps, torch.stack(losses).tolist(), strict=True):
            self._share = MEMORY * self._share + (1 - MEMORY) * loss / self._loss_copies
            if self._bad_step < 0 and not isfinite(loss):
                self._bad_step = step


class Confusion:
    """A confusion matrix: true classes by row, predicted ones by column."""

    def __init__(self, num_classes: int) -> None:
        self._counts = np.zeros((num_classes, num_classes), dtype=np.int64)

    def add(self, batch: PictureBatch, logits: Tensor) -> None:
        """Add a batch's logits (B, num_classes); (0, num_classes) where another process reports them."""
        if len(logits):
            targets, answers = batch.without_blank(batch.targets), logits.argmax(1)
            np.add.at(self._counts, (targets.cpu().numpy(), answers.cpu().numpy()), 1)

    def counts(self, world: World) -> NDArray[np.int64]:
        """The counts over all processes, int64 (num_classes, num_classes)."""
        counts: NDArray[np.int64] = world.all_reduce(torch.from_numpy(self._counts)).numpy()
        return counts
