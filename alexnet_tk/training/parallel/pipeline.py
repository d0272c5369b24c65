"""`--parallel pipeline`: the convolutional layers in one process, the fully connected ones in the next.

A batch passes through in train.micro_batches pieces, so that both stages compute at the same time. With 2·k
processes, k pipelines each take a part of the batch.
"""

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.pipelining import PipelineStage, ScheduleGPipe

from alexnet_tk.geometry import CONVOLUTIONS, FULLY_CONNECTED
from alexnet_tk.network.alexnet import AlexNet
from alexnet_tk.training.parallel.strategy import (
    LEAST_WEIGHT,
    StepInputs,
    Strategy,
    require,
    require_divisible,
    sum_gradients,
    weighted_loss,
)

STAGES = (CONVOLUTIONS, FULLY_CONNECTED)


class _Convolutions(nn.Module):
    """The first stage: pictures (N, 3, S, S) to flat maps (N, 9216)."""

    def __init__(self, alexnet: AlexNet) -> None:
        super().__init__()
        self.alexnet = alexnet

    def forward(self, x: Tensor) -> Tensor:
        """Compute c1 to c5."""
        return self.alexnet.pooled_maps(x)


class _FullyConnected(nn.Module):
    """The second stage: flat maps (N, 9216) to logits (N, num_classes)."""

    def __init__(self, alexnet: AlexNet) -> None:
        super().__init__()
        self.alexnet = alexnet

    def forward(self, x: Tensor, masks: Tensor | None = None) -> Tensor:
        """Compute f6 to f8; `masks` of dropout are for training."""
        return self.alexnet.head(self.alexnet.hidden(x, masks))


class Pipeline(Strategy):
    """One of two stages of the network; the last stage has the loss and the logits."""

    def divide(self) -> None:
        """A part for each pipeline of two stages."""
        processes, train = self.world.size, self.recipe.train
        require(
            processes % 2 == 0,
            f"--parallel pipeline has two stages: {processes} processes are not a multiple of 2",
        )
        self.num_parts = processes // 2
        self.part, self.stage = divmod(self.world.rank, 2)
        self.reports_metrics = self.stage == 1
        batch_size, micro_batches = train.batch_size, train.micro_batches
        require_divisible(batch_size, self.num_parts, "pipelines")
        require_divisible(
            batch_size,
            self.num_parts * micro_batches,
            f"parts ({self.num_parts} pipelines × train.micro_batches={micro_batches})",
        )

    def place(self) -> None:
        """Drop the other stage's layers."""
        for name in STAGES[1 - self.stage]:
            delattr(self.model, name)

    def connect(self) -> None:
        """Make the schedule, which sends activations and their gradients between the stages."""
        shape = (self.num_parts, 2)
        mesh = init_device_mesh(self.device.type, shape, mesh_dim_names=("replica", "stage"))
        self._replicas = mesh.get_group("replica")
        module = (_Convolutions, _FullyConnected)[self.stage](self.model)
        if self.autocast_dtype is not None:  # not around the schedule: it also runs the backward passes
            autocast = torch.autocast(self.device.type, dtype=self.autocast_dtype)
            module.forward = autocast(module.forward)  # type: ignore[method-assign]
        stage = PipelineStage(module, self.stage, 2, self.device, group=mesh.get_group("stage"))
        micro_batches = self.recipe.train.micro_batches
        self._schedule = ScheduleGPipe(stage, micro_batches, self._piece_loss, scale_grads=False)

    def forward(self, inputs: StepInputs) -> tuple[Tensor, Tensor]:
        """Run the schedule, whose backward passes follow its forward passes piece by piece.

        The gradients exist when it returns; `backward` only sums them over the replicas.
        """
        # Both stages add up the weights of the same pictures, hence the 2.
        total_weight = self.world.all_reduce(inputs.sample_weights.sum()).clamp(min=LEAST_WEIGHT)
        shares = 2 * inputs.sample_weights.to(inputs.x.dtype) / total_weight
        if self.stage == 0:
            self._schedule.step(inputs.x)
            return inputs.x.new_zeros(len(inputs.x), 0), inputs.x.new_zeros(())
        losses: list[Tensor] = []
        # One tensor (B, 2), since the schedule cuts it up like the pictures.
        target = torch.stack([inputs.targets.to(shares.dtype), shares], dim=1)
        logits = self._schedule.step(masks=inputs.own_masks, target=target, losses=losses)
        return self._as_float32(logits), torch.stack(losses).sum().detach()

    def backward(self, loss: Tensor) -> None:
        """Sum the gradients that the schedule has computed."""
        if self.num_parts > 1:
            sum_gradients(self.parameters.values(), self._replicas)

    @torch.no_grad()
    def logits(self, x: Tensor) -> Tensor:
        """Logits (B, num_classes) in the last stage; (B, 0) in the first."""
        if self.stage == 0:
            self._schedule.eval(x)
            return x.new_zeros(len(x), 0)
        return self._as_float32(self._schedule.eval(target=x.new_zeros(len(x), 2)))

    def contributed_rows(self, own: dict[str, Tensor]) -> dict[str, Tensor]:
        """The first replica's."""
        return own if self.part == 0 else {}

    def _as_float32(self, logits: Tensor) -> Tensor:
        return logits.float() if self.autocast_dtype is not None else logits

    def _piece_loss(self, logits: Tensor, target: Tensor) -> Tensor:
        """The sum of a piece's losses; `target` (B, 2) has each picture's class and its share of the loss."""
        logits = logits.float() if logits.dtype != target.dtype else logits
        classes, shares = target[:, 0].long(), target[:, 1]
        return weighted_loss(logits, classes, shares, self.recipe.train)
