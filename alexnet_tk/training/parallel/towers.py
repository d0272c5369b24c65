"""`--parallel towers`: a tower in every process, as on the two GPUs of 2012.

c1, c2, c4, c5 and the normalisation see only the maps of their own tower. Before c3, f6, f7 and f8 the towers
exchange their activations, or before f8 alone where they don't talk, and the softmax sees the logits of all.
With k times as many processes as towers, k replicas of the network each take a part of the batch.
"""

from dataclasses import replace
from itertools import pairwise
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.nn import functional as F

from alexnet_tk.training.parallel.strategy import (
    StepInputs,
    Strategy,
    require,
    require_divisible,
    sum_gradients,
)


class Towers(Strategy):
    """One tower of the network: its rows of every layer."""

    def divide(self) -> None:
        """A part for each copy of the network, whose towers are in as many processes."""
        towers, processes = self.recipe.network.towers, self.world.size
        require(towers > 1, f"--parallel towers needs network.towers of 2 or more, not {towers}")
        more = (processes // towers + 1) * towers
        require(
            processes % towers == 0,
            f"--parallel towers gives each process a tower: {processes} processes are not a multiple of "
            f"network.towers={towers}; {more // towers} × {towers} = {more} are",
        )
        network = self.recipe.network
        require(
            not (network.has_lrn and network.lrn.across_towers),
            "--parallel towers normalises within each tower, but network.lrn.across_towers is true",
        )
        self.num_parts = processes // towers
        self.part, self.tower = divmod(self.world.rank, towers)
        self.towers = towers
        self.reports_metrics = self.tower == 0
        require_divisible(self.recipe.train.batch_size, self.num_parts, f"networks of {towers} processes")

    def place(self) -> None:
        """Cut this tower's rows out of every layer; layers that read all towers exchange their inputs."""
        model = self.model
        self._num_classes = model.f8.out_features
        for layer in model.children():
            if isinstance(layer, (nn.Conv2d, nn.Linear)):
                assert layer.bias is not None
                rows = self._tower_rows(len(layer.bias))
                layer.weight = nn.Parameter(layer.weight.detach()[rows].clone())
                layer.bias = nn.Parameter(layer.bias.detach()[rows].clone())
        readers = (model.c3, model.f6, model.f7, model.f8) if self.recipe.network.talk else (model.f8,)
        for layer in model.children():
            if layer in readers:
                layer.register_forward_pre_hook(self._exchange)
            elif isinstance(layer, nn.Conv2d):  # within the tower
                layer.groups = 1
        model.norm.towers = 1
        model.f8.register_forward_hook(self._join_logits)

    def connect(self) -> None:
        """Group the towers of one network, and the replicas of one tower."""
        shape = (self.num_parts, self.towers)
        mesh = init_device_mesh(self.device.type, shape, mesh_dim_names=("replica", "tower"))
        self._towers, self._replicas = mesh.get_group("tower"), mesh.get_group("replica")

    def forward(self, inputs: StepInputs) -> tuple[Tensor, Tensor]:
        """As in one process, with the masks of this tower's units of f6 and f7."""
        per_layer = torch.split(inputs.masks, list(self.recipe.network.hidden), dim=1)
        own_units = [masks[:, self._tower_rows(masks.shape[1])] for masks in per_layer]
        return super().forward(replace(inputs, masks=torch.cat(own_units, dim=1)))

    def reduce_gradients(self) -> None:
        """Sum over the replicas."""
        if self.num_parts > 1:
            sum_gradients(self.parameters.values(), self._replicas)

    def rows(self, name: str, count: int) -> slice:
        """Tower r of T holds the rows from r·M/T to (r + 1)·M/T."""
        return self._tower_rows(count)

    def contributed_rows(self, own: dict[str, Tensor]) -> dict[str, Tensor]:
        """The first replica's."""
        return own if self.part == 0 else {}

    def _tower_rows(self, count: int) -> slice:
        return slice(self.tower * count // self.towers, (self.tower + 1) * count // self.towers)

    def _exchange(self, layer: nn.Module, inputs: tuple[Tensor]) -> Tensor:
        """The maps or units of all towers side by side, (N, M, …) of (N, M / T, …).

        They travel in the precision in which the layer reads them: LRN's results, before c3, may be float32.
        """
        (x,) = inputs
        return gather_columns(x if self.autocast_dtype is None else x.to(self.autocast_dtype), self._towers)

    def _join_logits(self, layer: nn.Module, inputs: object, logits: Tensor) -> Tensor:
        """The logits of all towers; where the classes don't divide, some towers have one fewer."""
        bounds = [tower * self._num_classes // self.towers for tower in range(self.towers + 1)]
        widths = [end - begin for begin, end in pairwise(bounds)]
        logits = gather_columns(F.pad(logits, (0, max(widths) - logits.shape[1])), self._towers)
        parts = logits.chunk(self.towers, dim=1)
        return torch.cat([part[:, :width] for part, width in zip(parts, widths, strict=True)], dim=1)


def gather_columns(x: Tensor, group: dist.ProcessGroup) -> Tensor:
    """The processes' tensors, which have one shape, joined along the second dimension."""
    y: Tensor = _GatherColumns.apply(x, group)  # type: ignore[no-untyped-call]
    return y


class _GatherColumns(torch.autograd.Function):
    """All-gather along the second dimension.

    Every process reads all columns, so the gradient of its own is summed over the processes.
    """

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
