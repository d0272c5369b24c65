"""What is counted while a network is trained."""

from dataclasses import asdict, dataclass

import torch
from torch import Tensor
from torch.nn import functional as F


class Tally:
    """Loss and correct answers summed over pictures, on the device: adding waits for nothing."""

    def __init__(self, device: torch.device) -> None:
        self.pictures = 0
        self._sums = torch.zeros(3, dtype=torch.float64, device=device)  # loss, top-1, top-5

    def add(self, logits: Tensor, classes: Tensor) -> None:
        """Count a batch: logits (B, classes) and the right classes, int64 (B,)."""
        loss = F.cross_entropy(logits, classes, reduction="sum")
        ranked = logits.topk(min(5, logits.shape[1])).indices == classes[:, None]  # (B, ≤ 5)
        self._sums += torch.stack([loss, ranked[:, 0].sum(), ranked.sum()]).detach()
        self.pictures += len(classes)

    def to_list(self) -> list[float]:
        """The sums, for a file."""
        return [float(self.pictures), *self._sums.tolist()]

    def add_list(self, sums: list[float]) -> None:
        """Take in sums from a file, if there are any."""
        if sums:
            self.pictures += int(sums[0])
            self._sums += torch.tensor(sums[1:], dtype=torch.float64, device=self._sums.device)

    def figures(self) -> "Figures":
        """The averages; this waits for the device."""
        loss, top1, top5 = (self._sums / max(1, self.pictures)).tolist()
        return Figures(loss, top1, top5)


@dataclass(frozen=True)
class Figures:
    """Averages over a set of pictures; top-1 and top-5 accuracy are fractions."""

    loss: float
    top1: float
    top5: float

    def named(self, prefix: str) -> dict[str, float]:
        """The figures under their names with a prefix."""
        return {prefix + name: value for name, value in asdict(self).items()}
