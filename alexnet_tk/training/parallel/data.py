"""`--parallel data`: the whole network in every process, a part of the batch in each."""

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed import GradBucket  # type: ignore[attr-defined]
from torch.nn.parallel import DistributedDataParallel

from alexnet_tk.training.parallel.strategy import Strategy, require_divisible


class DataParallel(Strategy):
    """torch's DistributedDataParallel, which sends gradients while others are still being computed."""

    def divide(self) -> None:
        """A part for each process."""
        self.num_parts, self.part = self.world.size, self.world.rank
        require_divisible(self.recipe.train.batch_size, self.num_parts, "processes")

    def connect(self) -> None:
        """Wrap the network."""
        ddp = DistributedDataParallel(self.network)
        ddp.register_comm_hook(None, _sum_bucket)
        self.trained_network = ddp


def _sum_bucket(state: None, bucket: GradBucket) -> torch.futures.Future[Tensor]:
    """Gradients are summed, not averaged: each process's loss is its share of the batch's."""
    gradients = bucket.buffer()
    work = dist.all_reduce(gradients, async_op=True)
    return work.get_future().then(lambda done: gradients)  # type: ignore[no-any-return]
