"""How a step is computed in this process: the base class of all modes, and the mode of one process."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional as F

from alexnet_tk.errors import UsageError
from alexnet_tk.network.alexnet import AlexNet
from alexnet_tk.recipe import Recipe, Train
from alexnet_tk.training.parallel.world import World

LEAST_WEIGHT = 1e-9  # of a batch, below any that holds a picture


@dataclass(frozen=True)
class StepInputs:
    """This process's part of a batch, B pictures, and the dropout of the whole batch; on the device."""

    x: Tensor  # float (B, 3, S, S) normalised pictures
    targets: Tensor  # int64 (B,)
    sample_weights: Tensor  # float32 (B,) in the loss; 0 where the picture is blank
    slots: Tensor  # int64 (B,) the pictures' places in the whole batch, which are their rows in `masks`
    masks: Tensor  # float (batch size, units of f6 and f7)

    @property
    def own_masks(self) -> Tensor:
        """The rows of this process's pictures."""
        return self.masks if len(self.slots) == len(self.masks) else self.masks[self.slots]


class Strategy:
    """A network on this process's device: its forward and backward pass, and the parameters it holds.

    The modes of parallelism are subclasses. In each, a batch is divided into `num_parts` parts of the same
    size, of which this process reads number `part`; processes that share one copy of the network read the
    same part. A part that lacks pictures, at the end of an epoch or because they can't be read, is filled
    up with blank ones of weight 0: the loss is Σ wℓ / Σ w over all processes.
    """

    num_parts, part = 1, 0
    reports_metrics = True  # True in one of the processes that share a copy of the network
    loss_copies = 1  # processes that each compute all of the batch's loss; 1: each computes its share

    def __init__(
        self,
        model: AlexNet,
        recipe: Recipe,
        world: World,
        autocast_dtype: torch.dtype | None,
        compile: bool = False,
    ) -> None:
        self.model, self.recipe, self.world, self.autocast_dtype = model, recipe, world, autocast_dtype
        self.device = model.c1.weight.device
        self._names = list(model.state_dict())
        self.divide()
        self.place()
        # What the optimiser updates: this process's rows, by their canonical names.
        self.parameters: dict[str, Tensor] = dict(model.named_parameters())
        self.network: nn.Module = torch.compile(model) if compile else model  # type: ignore[assignment]
        self.trained_network: nn.Module = self.network  # may be wrapped to exchange gradients
        self.connect()

    def divide(self) -> None:
        """Set which part of a batch is this process's; raises `UsageError` where that is impossible."""

    def place(self) -> None:
        """Reduce the network to what this process computes."""

    def connect(self) -> None:
        """Prepare what the processes exchange in a step."""

    @property
    def slots(self) -> slice:
        """The places of this process's part in a batch."""
        size = self.recipe.train.batch_size // self.num_parts
        return slice(self.part * size, (self.part + 1) * size)

    def forward(self, inputs: StepInputs) -> tuple[Tensor, Tensor]:
        """The forward pass of a training step.

        Returns
        -------
        logits (B, num_classes) of this part, and the loss to pass to `backward`: this process's share of the
        batch's loss, or all of it where `loss_copies` is not 1

        """
        # Processes that share a network weigh the same pictures: each computes its share of their loss.
        total_weight = self.world.all_reduce(inputs.sample_weights.sum()).clamp(min=LEAST_WEIGHT)
        logits = self._run(self.trained_network, inputs.x, inputs.own_masks)
        shares = inputs.sample_weights.to(logits.dtype) / total_weight
        return logits, weighted_loss(logits, inputs.targets, shares, self.recipe.train)

    def backward(self, loss: Tensor) -> None:
        """Leave the batch's gradients in `parameters`."""
        loss.backward()  # type: ignore[no-untyped-call]
        self.reduce_gradients()

    def reduce_gradients(self) -> None:
        """Sum the gradients over the processes that hold the same rows."""

    @torch.no_grad()
    def logits(self, x: Tensor) -> Tensor:
        """Logits (B, num_classes) of this part's normalised pictures (B, 3, S, S), without dropout."""
        return self._run(self.network, x)

    def rows(self, name: str, count: int) -> slice:
        """The rows of a canonical tensor, `count` in all, that this process holds."""
        return slice(0, count if name in self.parameters else 0)

    def contributed_rows(self, own: dict[str, Tensor]) -> dict[str, Tensor]:
        """Those of this process's rows that make up canonical tensors: none that another contributes."""
        return own if self.world.is_first else {}

    def own_rows(self, canonical: dict[str, Tensor]) -> dict[str, Tensor]:
        """This process's rows of canonical tensors."""
        return {
            name: tensor[self.rows(name, len(tensor))]
            for name, tensor in canonical.items()
            if name in self.parameters
        }

    def canonical(self, own: dict[str, Tensor]) -> dict[str, Tensor]:
        """Canonical tensors, joined from all processes' rows, in the first process; empty in the others."""
        contributions = self.world.gather(self.contributed_rows(own))
        return {
            name: torch.cat(parts)
            for name in self._names
            if (parts := [rows[name] for rows in contributions if name in rows])
        }

    def _run(self, network: nn.Module, *inputs: Any) -> Tensor:
        """The network's logits, computed under autocast where the recipe asks for it, as float32."""
        autocast = self.autocast_dtype is not None
        with torch.autocast(self.device.type, dtype=self.autocast_dtype, enabled=autocast):
            logits: Tensor = network(*inputs)
        return logits.float() if autocast else logits


class SingleProcess(Strategy):
    """The whole network and the whole batch in one process, where no picture is blank."""

    def forward(self, inputs: StepInputs) -> tuple[Tensor, Tensor]:
        """As elsewhere, with fewer operators where all pictures have the same weight."""
        train = self.recipe.train
        if train.class_weights != "equal":
            return super().forward(inputs)
        logits = self._run(self.trained_network, inputs.x, inputs.own_masks)
        return logits, F.cross_entropy(logits, inputs.targets, label_smoothing=train.label_smoothing)


def weighted_loss(logits: Tensor, targets: Tensor, shares: Tensor, train: Train) -> Tensor:
    """The sum of the losses of logits (B, num_classes), each times its share (B,); a scalar."""
    losses = F.cross_entropy(logits, targets, reduction="none", label_smoothing=train.label_smoothing)
    return losses @ shares


def sum_gradients(parameters: Iterable[Tensor], group: dist.ProcessGroup | None) -> None:
    """Replace gradients by their sum over a group's processes, in one message."""
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(flat, group=group)
    sums = torch.split(flat, [gradient.numel() for gradient in gradients])
    for gradient, summed in zip(gradients, sums, strict=True):
        gradient.copy_(summed.view_as(gradient))


def require(holds: bool, message: str) -> None:
    """Raise `UsageError` where processes, network and batch do not fit together."""
    if not holds:
        raise UsageError(message)


def require_divisible(batch_size: int, parts: int, noun: str) -> None:
    """Raise `UsageError` with the arithmetic unless the batch divides into `parts` equal parts."""
    size = max(1, round(batch_size / parts))
    require(
        batch_size % parts == 0,
        f"train.batch_size={batch_size} does not divide into {parts} {noun}: "
        f"{parts} × {size} = {parts * size}; try --set train.batch_size={parts * size}",
    )
