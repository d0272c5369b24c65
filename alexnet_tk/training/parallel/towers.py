"""`--parallel towers`: a tower in every process, as on the two GPUs of 2012.

c1, c2, c4, c5 and the normalisation see only the maps of their own tower. Before c3, f6, f7 and f8 the towers
tell each other what they have computed, and the softmax sees the logits of all. With k times as many
processes as towers, k replicas of the network each take a part of the batch.
"""

from itertools import pairwise
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.nn import functional as F

from alexnet_tk.network.alexnet import AlexNet
from alexnet_tk.recipe import Recipe
from alexnet_tk.training.parallel.data import require_division
from alexnet_tk.training.parallel.single import Single, sum_gradients
from alexnet_tk.training.parallel.world import World, require


class Towers(Single):
    """One tower of the network: its rows of every layer."""

    def __init__(
        self, model: AlexNet, recipe: Recipe, world: World, half: torch.dtype | None, compile: bool = False
    ) -> None:
        towers = recipe.network.towers
        require(towers > 1, f"--parallel towers needs network.towers of 2 or more, not {towers}")
        require(
            world.size % towers == 0,
            f"--parallel towers needs a tower for each process: {world.size} processes are not a "
            f"multiple of network.towers={towers}; {world.size // towers + 1} × {towers} = "
            f"{(world.size // towers + 1) * towers} are",
        )
        lrn = recipe.network.lrn
        require(
            not (lrn.enabled and lrn.across_towers),
            "--parallel towers normalises within each tower, and network.lrn.across_towers is true",
        )
        self.parts = world.size // towers
        self.part, self.tower = divmod(world.rank, towers)
        self.towers = towers
        self.counts = self.tower == 0
        require_division(recipe.train.batch_size, self.parts, f"networks of {towers} processes")
        mesh = init_device_mesh(world.device.type, (self.parts, towers), mesh_dim_names=("replica", "tower"))
        self._towers, self._replicas = mesh.get_group("tower"), mesh.get_group("replica")
        super().__init__(model, recipe, world, half, compile)

    def place(self) -> None:
        """Cut this tower's rows out of every layer, and let those layers that read all towers exchange."""
        model = self.model
        self._classes = model.f8.out_features
        for layer in model.children():
            if isinstance(layer, (nn.Conv2d, nn.Linear)):
                assert layer.bias is not None
                rows = self._rows(len(layer.bias))
                layer.weight = nn.Parameter(layer.weight.detach()[rows].clone())
                layer.bias = nn.Parameter(layer.bias.detach()[rows].clone())
        for convolution in (model.c2, model.c4, model.c5):  # within the tower
            convolution.groups = 1
        model.norm.towers = 1
        for reader in (model.c3, model.f6, model.f7, model.f8):
            reader.register_forward_pre_hook(self._exchange)
        model.f8.register_forward_hook(self._join)

    def rows(self, name: str, count: int) -> slice:
        """Tower r of T holds the rows from r·M/T to (r + 1)·M/T."""
        return self._rows(count)

    def told(self, own: dict[str, Tensor]) -> dict[str, Tensor]:
        """The first replica's."""
        return own if self.part == 0 else {}

    def step(
        self, x: Tensor, classes: Tensor, weights: Tensor, masks: Tensor, slots: Tensor
    ) -> tuple[Tensor, Tensor]:
        """As in one process, with this tower's units of f6 and f7."""
        each = torch.split(masks, list(self.recipe.network.hidden), dim=1)
        own = torch.cat([units[:, self._rows(units.shape[1])] for units in each], dim=1)
        return super().step(x, classes, weights, own, slots)

    def reduce(self) -> None:
        """Sum over the replicas."""
        if self.parts > 1:
            sum_gradients(self.parameters.values(), self._replicas)

    def _rows(self, count: int) -> slice:
        return slice(self.tower * count // self.towers, (self.tower + 1) * count // self.towers)

    def _exchange(self, layer: nn.Module, inputs: tuple[Tensor]) -> Tensor:
        """The maps or units of all towers side by side, (N, M, …) of (N, M / T, …)."""
        return gather_columns(inputs[0], self._towers)

    def _join(self, layer: nn.Module, inputs: object, logits: Tensor) -> Tensor:
        """The logits of all towers; where the classes don't divide, some towers have one fewer."""
        bounds = [each * self._classes // self.towers for each in range(self.towers + 1)]
        widths = [end - begin for begin, end in pairwise(bounds)]
        logits = gather_columns(F.pad(logits, (0, max(widths) - logits.shape[1])), self._towers)
        parts = logits.chunk(self.towers, dim=1)
        return torch.cat([part[:, :width] for part, width in zip(parts, widths, strict=True)], dim=1)


def gather_columns(x: Tensor, group: dist.ProcessGroup) -> Tensor:
    """The second dimension of all processes' tensors, which have one shape, side by side."""
    y: Tensor = _GatherColumns.apply(x, group)  # type: ignore[no-untyped-call]
    return y


class _GatherColumns(torch.autograd.Function):
    """Every process reads all columns, so the gradient of one's own is the sum of what all have for them."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, group: dist.ProcessGroup) -> Tensor:
        ctx.group = group
        parts = [torch.empty_like(x, memory_format=torch.contiguous_format) for _ in range(group.size())]
        dist.all_gather(parts, x.contiguous(), group)
        return torch.cat(parts, dim=1)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        parts = [each.contiguous() for each in gradient.chunk(ctx.group.size(), dim=1)]
        own = torch.empty_like(parts[0])
        dist.reduce_scatter(own, parts, group=ctx.group)
        return own, None
