"""`--parallel hybrid`: "one weird trick for parallelizing convolutional neural networks" (Krizhevsky 2014).

The convolutional layers, where the work is, are in every process, with a part of the batch each. The fully
connected ones, where the weights are, are sharded: each process holds some of their units and computes them
for the whole batch, whose activations are far smaller to send than the weights' gradients would be.
"""

import torch
from torch import Tensor
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Replicate, Shard
from torch.distributed.tensor.parallel import ColwiseParallel, parallelize_module

from alexnet_tk.geometry import FULLY_CONNECTED
from alexnet_tk.training.parallel.strategy import (
    LEAST_WEIGHT,
    StepInputs,
    Strategy,
    require,
    require_divisible,
    sum_gradients,
    weighted_loss,
)


class Hybrid(Strategy):
    """All of c1 to c5, and some of the units of f6 to f8."""

    def divide(self) -> None:
        """A part for each process, and at least one unit of every sharded layer."""
        processes = self.world.size
        self.num_parts, self.part = processes, self.world.rank
        self.loss_copies = processes
        require_divisible(self.recipe.train.batch_size, processes, "processes")
        network = self.recipe.network
        require(
            network.talk or network.towers == 1,
            "--parallel hybrid shards layers that read all towers, but network.talk is false; take another",
        )
        narrowest = min(*network.hidden, self.model.f8.out_features)
        require(
            narrowest >= processes,
            f"--parallel hybrid can't divide a layer of {narrowest} units among {processes} processes; "
            "start fewer",
        )

    def place(self) -> None:
        """Shard the fully connected layers by their units."""
        mesh = init_device_mesh(self.world.device.type, (self.world.size,))
        for name in FULLY_CONNECTED:
            layout = Shard(0) if name == "f6" else Replicate()  # f6 gathers the parts of the batch
            plan = ColwiseParallel(input_layouts=layout, output_layouts=Replicate())
            parallelize_module(self.model, mesh, {name: plan})

    def connect(self) -> None:
        """Give the optimiser this process's rows of the sharded parameters."""
        self._sharded = {name: each for name, each in self.parameters.items() if isinstance(each, DTensor)}
        with torch.no_grad():
            self.parameters |= {name: shard.to_local() for name, shard in self._sharded.items()}

    def forward(self, inputs: StepInputs) -> tuple[Tensor, Tensor]:
        """As in one process; every process computes all of the batch's loss."""
        weights, targets = self._whole_batch(inputs.sample_weights), self._whole_batch(inputs.targets)
        logits = self._run(self.network, inputs.x, inputs.masks)  # (batch size, num_classes)
        shares = weights.to(logits.dtype) / weights.sum().clamp(min=LEAST_WEIGHT)
        loss = weighted_loss(logits, targets, shares, self.recipe.train)
        return logits[self.slots], loss

    def reduce_gradients(self) -> None:
        """Sum those of the convolutional layers; those of the sharded layers are complete."""
        whole = (parameter for name, parameter in self.parameters.items() if name not in self._sharded)
        sum_gradients(whole, None)
        for name, shard in self._sharded.items():
            assert isinstance(shard.grad, DTensor)
            self.parameters[name].grad = shard.grad.to_local()
            shard.grad = None

    @torch.no_grad()
    def logits(self, x: Tensor) -> Tensor:
        """Those of this part; the network computes the whole batch's."""
        return super().logits(x)[self.slots]

    def rows(self, name: str, count: int) -> slice:
        """As DTensor and torch.chunk cut: parts of the same size, the last ones smaller or empty."""
        if name not in self._sharded:
            return slice(0, count)
        size = -(-count // self.world.size)
        return slice(self.world.rank * size, (self.world.rank + 1) * size)

    def contributed_rows(self, own: dict[str, Tensor]) -> dict[str, Tensor]:
        """Every process's shards, and the first process's convolutional layers."""
        return own if self.world.is_first else {name: own[name] for name in self._sharded}

    def _whole_batch(self, part: Tensor) -> Tensor:
        """The whole batch's values, (batch size,), of every process's part."""
        values = part.new_zeros(self.recipe.train.batch_size)
        values[self.slots] = part
        return self.world.all_reduce(values)
