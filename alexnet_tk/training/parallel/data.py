"""`--parallel data`: the whole network in every process, a part of the batch in each."""

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed import GradBucket  # type: ignore[attr-defined]
from torch.nn.parallel import DistributedDataParallel

from alexnet_tk.network.alexnet import AlexNet
from alexnet_tk.recipe import Recipe
from alexnet_tk.training.parallel.single import Single
from alexnet_tk.training.parallel.world import World, require


class DataParallel(Single):
    """torch's DistributedDataParallel, which sends gradients while others are still being computed."""

    def __init__(
        self, model: AlexNet, recipe: Recipe, world: World, half: torch.dtype | None, compile: bool = False
    ) -> None:
        self.parts, self.part = world.size, world.rank
        require_division(recipe.train.batch_size, world.size, "processes")
        super().__init__(model, recipe, world, half, compile)
        ddp = DistributedDataParallel(self.network)
        ddp.register_comm_hook(None, _sum)
        self.trained = ddp


def require_division(batch_size: int, parts: int, what: str) -> None:
    """Raise `UsageError` unless a batch can be cut into so many parts of the same size."""
    size = max(1, round(batch_size / parts))
    require(
        batch_size % parts == 0,
        f"train.batch_size={batch_size} does not divide into {parts} {what}: "
        f"{parts} × {size} = {parts * size}; try --set train.batch_size={parts * size}",
    )


def _sum(state: None, bucket: GradBucket) -> torch.futures.Future[Tensor]:
    """Gradients are summed, not averaged: each process's loss is its share of the batch's."""
    work = dist.all_reduce(bucket.buffer(), async_op=True)
    return work.get_future().then(lambda done: done.value()[0])  # type: ignore[no-any-return]
