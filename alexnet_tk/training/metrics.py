"""Loss and accuracy of a network in training, summed on its device."""

from dataclasses import asdict, dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from alexnet_tk.training.batches import PictureBatch
from alexnet_tk.training.parallel.world import World

MEMORY = 0.99  # of the running loss: the weight that a step leaves to the average before it


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

    Each process adds its own pictures; results are the sums over all processes.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        # Pictures, loss, top-1, top-5.
        self._sums = torch.zeros(4, dtype=torch.float64, device=world.device)

    def add(self, logits: Tensor, targets: Tensor) -> None:
        """Add a batch: logits (B, num_classes) and the right classes, int64 (B,)."""
        loss = F.cross_entropy(logits, targets, reduction="sum")
        ranked = logits.topk(min(5, logits.shape[1])).indices == targets[:, None]  # (B, ≤ 5)
        count = torch.full_like(loss, len(targets))
        self._sums += torch.stack([count, loss, ranked[:, 0].sum(), ranked.sum()]).detach()

    def to_list(self) -> list[float]:
        """The sums over all processes, for a file."""
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
    """An exponential average of the steps' losses, on the device: updating waits for nothing."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._share = torch.zeros((), device=world.device)  # this process's
        self._bad_step = torch.full((), -1, device=world.device)

    def update(self, share: Tensor, step: int) -> None:
        """Take in this process's share of a step's loss; the shares of all processes add up to it."""
        self._share = MEMORY * self._share + (1 - MEMORY) * share
        is_first_bad = ~torch.isfinite(share) & (self._bad_step < 0)
        self._bad_step = torch.where(is_first_bad, step, self._bad_step)

    def bad_step(self) -> int | None:
        """The first step whose loss was NaN or infinite in any process; waits for the device."""
        step = self._world.max(int(self._bad_step))
        return None if step < 0 else step

    def value(self, steps: int) -> float:
        """The average after that number of steps, corrected for its start at 0; waits for the device."""
        return float(self._world.all_reduce(self._share)) / (1 - MEMORY ** max(1, steps))

    def state(self) -> Tensor:
        """The uncorrected average over all processes, on the CPU."""
        return self._world.all_reduce(self._share).detach().to("cpu", copy=True)

    def restore(self, state: Tensor) -> None:
        """Continue from what `state` returned."""
        self._share = state.to(self._world.device) / self._world.size


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
