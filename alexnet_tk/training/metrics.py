"""What is counted while a network is trained."""

from dataclasses import asdict, dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from alexnet_tk.training.parallel.world import World


class Tally:
    """Loss and correct answers summed over pictures, on the device: adding waits for nothing.

    Each process of a world counts its own; what is told is the sum over all of them.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        # Pictures, loss, top-1, top-5.
        self._sums = torch.zeros(4, dtype=torch.float64, device=world.device)

    def add(self, logits: Tensor, classes: Tensor) -> None:
        """Count a batch: logits (B, classes) and the right classes, int64 (B,)."""
        loss = F.cross_entropy(logits, classes, reduction="sum")
        ranked = logits.topk(min(5, logits.shape[1])).indices == classes[:, None]  # (B, ≤ 5)
        count = torch.full_like(loss, len(classes))
        self._sums += torch.stack([count, loss, ranked[:, 0].sum(), ranked.sum()]).detach()

    def to_list(self) -> list[float]:
        """The sums, for a file."""
        sums: list[float] = self._world.total(self._sums).tolist()
        return sums

    def add_list(self, sums: list[float]) -> None:
        """Take in sums from a file, if there are any; one process does."""
        if sums and self._world.first:
            self._sums += torch.tensor(sums, dtype=torch.float64, device=self._sums.device)

    def figures(self) -> "Figures":
        """The averages; this waits for the device."""
        pictures, *sums = self.to_list()
        loss, top1, top5 = (each / max(1, pictures) for each in sums)
        return Figures(int(pictures), loss, top1, top5)


@dataclass(frozen=True)
class Figures:
    """Averages over so many pictures; top-1 and top-5 accuracy are fractions."""

    pictures: int
    loss: float
    top1: float
    top5: float

    def named(self, prefix: str) -> dict[str, float]:
        """The figures under their names with a prefix."""
        return {prefix + name: value for name, value in asdict(self).items() if name != "pictures"}
