"""`--parallel hybrid`: "one weird trick for parallelizing convolutional neural networks" (Krizhevsky 2014).

The convolutional layers, where the work is, are in every process, with a part of the batch each. The fully
connected ones, where the weights are, are cut: each process holds some of their units and computes them
for the whole batch, whose activations are far less to send than the weights' gradients would be.
"""

import torch
from torch import Tensor
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Replicate, Shard
from torch.distributed.tensor.parallel import ColwiseParallel, parallelize_module
from torch.nn import functional as F

from alexnet_tk.network.alexnet import AlexNet
from alexnet_tk.recipe import Recipe
from alexnet_tk.training.parallel.data import require_division
from alexnet_tk.training.parallel.single import Single, sum_gradients
from alexnet_tk.training.parallel.world import World, require

FULLY_CONNECTED = ("f6", "f7", "f8")


class Hybrid(Single):
    """All of c1 to c5, and some of the units of f6 to f8."""

    def __init__(
        self, model: AlexNet, recipe: Recipe, world: World, half: torch.dtype | None, compile: bool = False
    ) -> None:
        self.parts, self.part = world.size, world.rank
        require_division(recipe.train.batch_size, world.size, "processes")
        fewest = min(*recipe.network.hidden, model.f8.out_features)
        require(
            fewest >= world.size,
            f"--parallel hybrid has no units of a layer of {fewest} for each of {world.size} processes",
        )
        super().__init__(model, recipe, world, half, compile)
        self._cut = {name: each for name, each in self.parameters.items() if isinstance(each, DTensor)}
        with torch.no_grad():
            # The optimiser changes this process's rows in place.
            self.parameters |= {name: each.to_local() for name, each in self._cut.items()}

    def place(self) -> None:
        """Cut the fully connected layers by their units."""
        mesh = init_device_mesh(self.world.device.type, (self.world.size,))
        whole = Replicate()
        for name in FULLY_CONNECTED:
            reads = Shard(0) if name == "f6" else whole  # f6 gathers the parts of the batch
            plan = ColwiseParallel(input_layouts=reads, output_layouts=whole)
            parallelize_module(self.model, mesh, {name: plan})

    def rows(self, name: str, count: int) -> slice:
        """As DTensor cuts them, and torch.chunk: parts of the same size, the last ones smaller or empty."""
        if name not in self._cut:
            return slice(0, count)
        size = -(-count // self.world.size)
        return slice(self.world.rank * size, (self.world.rank + 1) * size)

    def told(self, own: dict[str, Tensor]) -> dict[str, Tensor]:
        """The first process tells the convolutional layers, too."""
        return own if self.world.first else {name: own[name] for name in self._cut}

    def step(
        self, x: Tensor, classes: Tensor, weights: Tensor, masks: Tensor, slots: Tensor
    ) -> tuple[Tensor, Tensor]:
        """As in one process, with the loss of the whole batch in each."""
        weights, classes = self._whole(weights), self._whole(classes)
        logits = self._logits(self.network, x, masks)  # of the whole batch
        shares = weights.to(logits.dtype) / weights.sum().clamp(min=1)
        loss = F.cross_entropy(logits, classes, reduction="none") @ shares
        loss.backward()  # type: ignore[no-untyped-call]
        sum_gradients((p for name, p in self.parameters.items() if name not in self._cut), None)
        for name, each in self._cut.items():
            assert isinstance(each.grad, DTensor)
            self.parameters[name].grad = each.grad.to_local()
            each.grad = None
        return loss.detach() / self.world.size, logits.detach()[self.slots]

    @torch.no_grad()
    def logits(self, x: Tensor) -> Tensor:
        """Those of this part; the network gives the whole batch's."""
        return super().logits(x)[self.slots]

    def _whole(self, part: Tensor) -> Tensor:
        """The whole batch's numbers (batch size,) of a part's."""
        numbers = part.new_zeros(self.recipe.train.batch_size)
        numbers[self.slots] = part
        return self.world.total(numbers)
