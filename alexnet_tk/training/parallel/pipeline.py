"""`--parallel pipeline`: the convolutional layers in one process, the fully connected ones in the next.

A batch goes through in parts, train.micro_batches of them, so that both compute at a time. With 2·k
processes, k pipelines each take a part of the batch.
"""

import torch
from torch import Tensor
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.pipelining import PipelineStage, ScheduleGPipe
from torch.nn import functional as F

from alexnet_tk.network.alexnet import AlexNet
from alexnet_tk.recipe import Recipe
from alexnet_tk.training.parallel.data import require_division
from alexnet_tk.training.parallel.single import Single, sum_gradients
from alexnet_tk.training.parallel.world import World, require

STAGES = (("c1", "c2", "c3", "c4", "c5"), ("f6", "f7", "f8"))


class Pipeline(Single):
    """One of two stages of the network."""

    def __init__(
        self, model: AlexNet, recipe: Recipe, world: World, half: torch.dtype | None, compile: bool = False
    ) -> None:
        require(
            world.size % 2 == 0,
            f"--parallel pipeline has two stages: {world.size} processes are no multiple of 2",
        )
        self.parts = world.size // 2
        self.part, self.stage = divmod(world.rank, 2)
        self.counts = self.stage == 1
        batch_size, micro = recipe.train.batch_size, recipe.train.micro_batches
        require_division(batch_size, self.parts, "pipelines")
        require_division(
            batch_size,
            self.parts * micro,
            f"parts ({self.parts} pipelines × train.micro_batches={micro})",
        )
        mesh = init_device_mesh(world.device.type, (self.parts, 2), mesh_dim_names=("replica", "stage"))
        self._replicas = mesh.get_group("replica")
        super().__init__(model, recipe, world, half, compile)
        if half is not None:  # the schedule runs backward passes, too, where autocast has no place
            model.forward = torch.autocast(self.device.type, dtype=half)(model.forward)  # type: ignore[method-assign]
        stage = PipelineStage(model, self.stage, 2, self.device, group=mesh.get_group("stage"))
        self._schedule = ScheduleGPipe(stage, micro, _loss, scale_grads=False)

    def place(self) -> None:
        """Drop the other stage's layers."""
        for name in STAGES[1 - self.stage]:
            delattr(self.model, name)

    def told(self, own: dict[str, Tensor]) -> dict[str, Tensor]:
        """The first replica's."""
        return own if self.part == 0 else {}

    def step(
        self, x: Tensor, classes: Tensor, weights: Tensor, masks: Tensor, slots: Tensor
    ) -> tuple[Tensor, Tensor]:
        """As in one process; only the second stage has a loss and logits."""
        # Both stages count a picture.
        shares = 2 * weights.to(x.dtype) / self.world.total(weights.sum()).clamp(min=1)
        losses: list[Tensor] = []
        if self.stage == 0:
            self._schedule.step(x)
            loss, logits = x.new_zeros(()), x.new_zeros(len(x), 0)
        else:
            target = torch.stack([classes.to(shares.dtype), shares], dim=1)  # (B, 2): it is cut up, too
            logits = self._schedule.step(masks=masks[slots], target=target, losses=losses)
            loss = torch.stack(losses).sum()
        if self.parts > 1:
            sum_gradients(self.parameters.values(), self._replicas)
        return loss.detach(), logits.detach().float() if self.half is not None else logits.detach()

    @torch.no_grad()
    def logits(self, x: Tensor) -> Tensor:
        """Logits (B, classes) on the second stage; (B, 0) on the first."""
        if self.stage == 0:
            self._schedule.eval(x)
            return x.new_zeros(len(x), 0)
        logits: Tensor = self._schedule.eval(target=x.new_zeros(len(x), 2))
        return logits.float() if self.half is not None else logits


def _loss(logits: Tensor, target: Tensor) -> Tensor:
    """The sum of a part's losses; `target` holds for each picture its class and its share."""
    logits = logits.float() if logits.dtype != target.dtype else logits
    return F.cross_entropy(logits, target[:, 0].long(), reduction="none") @ target[:, 1]
