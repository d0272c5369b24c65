"""One process: the whole network on one device, and what every other mode has in common with it."""

from collections.abc import Iterable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional as F

from alexnet_tk.network.alexnet import AlexNet
from alexnet_tk.recipe import Recipe
from alexnet_tk.training.parallel.world import World


class Single:
    """A network on its device: logits, gradients, the parameters that this process holds.

    The modes of parallelism are subclasses. In each, a batch's pictures are divided into `parts` of the
    same size, of which this process reads one; several processes that share a network read the same
    part. Pictures that a part lacks, at the end of an epoch or because they can't be read, are blank and
    have the weight 0: the loss is Σ wℓ / Σ w over all processes.
    """

    parts, part = 1, 0
    counts = True  # whether this process's answers are counted; of those that share a network, one's are

    def __init__(
        self, model: AlexNet, recipe: Recipe, world: World, half: torch.dtype | None, compile: bool = False
    ) -> None:
        self.model, self.recipe, self.world, self.half = model, recipe, world, half
        self.device = model.c1.weight.device
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=half == torch.float16)
        self._names = list(model.state_dict())
        self.place()
        # What the optimiser changes: canonical names, and tensors of this process's own rows.
        self.parameters: dict[str, Tensor] = dict(model.named_parameters())
        self.network: nn.Module = torch.compile(model) if compile else model  # type: ignore[assignment]
        self.trained: nn.Module = self.network  # what a step of training calls

    def place(self) -> None:
        """Leave of the network what this process computes."""

    def rows(self, name: str, count: int) -> slice:
        """The rows of a canonical tensor that this process holds."""
        return slice(0, count if name in self.parameters else 0)

    def told(self, own: dict[str, Tensor]) -> dict[str, Tensor]:
        """Which of this process's rows the canonical tensors are put together of: none that another tells."""
        return own if self.world.first else {}

    @property
    def slots(self) -> slice:
        """The places in a batch of this process's part."""
        size = self.recipe.train.batch_size // self.parts
        return slice(self.part * size, (self.part + 1) * size)

    def step(
        self, x: Tensor, classes: Tensor, weights: Tensor, masks: Tensor, slots: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Compute the gradients of a step.

        Parameters
        ----------
        x
            this part's normalised pictures, float (B, 3, S, S)
        classes, weights
            of this part, int64 and float (B,)
        masks, slots
            of dropout, float (batch size, units of f6 and f7), for the whole batch; this part's rows of them

        Returns
        -------
        this process's share of the loss, of which the sum over all processes is the batch's, and
        logits (B, classes) of its part

        """
        # Processes that share a network count the same pictures: each answers for its share of their loss.
        total = self.world.total(weights.sum()).clamp(min=1)
        logits = self._logits(self.trained, x, masks[slots])
        loss = F.cross_entropy(logits, classes, reduction="none") @ (weights.to(logits.dtype) / total)
        self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        self.reduce()
        return loss.detach(), logits.detach()

    def reduce(self) -> None:
        """Sum the gradients over the processes that hold the same rows."""

    @torch.no_grad()
    def logits(self, x: Tensor) -> Tensor:
        """Logits (B, classes) of this part's normalised pictures, without dropout."""
        return self._logits(self.network, x)

    def own_rows(self, canonical: dict[str, Tensor]) -> dict[str, Tensor]:
        """What this process holds of canonical tensors."""
        return {
            name: each[self.rows(name, len(each))]
            for name, each in canonical.items()
            if name in self.parameters
        }

    def canonical(self, own: dict[str, Tensor]) -> dict[str, Tensor]:
        """The canonical tensors of every process's own rows, on the first process; elsewhere nothing."""
        told = self.world.collected(self.told(own))
        return {
            name: torch.cat(parts)
            for name in self._names
            if (parts := [each[name] for each in told if name in each])
        }

    def _logits(self, network: nn.Module, *inputs: Any) -> Tensor:
        with torch.autocast(self.device.type, dtype=self.half, enabled=self.half is not None):
            logits: Tensor = network(*inputs)
        return logits.float() if self.half is not None else logits


def sum_gradients(parameters: Iterable[Tensor], group: dist.ProcessGroup | None) -> None:
    """Replace gradients by their sum over a group's processes; all of them are sent as one."""
    gradients = [each.grad for each in parameters if each.grad is not None]
    flat = torch.cat([each.flatten() for each in gradients])
    dist.all_reduce(flat, group=group)
    totals = torch.split(flat, [each.numel() for each in gradients])
    for gradient, total in zip(gradients, totals, strict=True):
        gradient.copy_(total.view_as(gradient))
