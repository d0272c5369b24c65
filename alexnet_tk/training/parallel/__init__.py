"""How a network is spread over processes: one of them, or the four modes of `--parallel`."""

from typing import Literal

import torch

from alexnet_tk.errors import UsageError
from alexnet_tk.network.alexnet import AlexNet
from alexnet_tk.recipe import Recipe
from alexnet_tk.training.parallel.data import DataParallel
from alexnet_tk.training.parallel.hybrid import Hybrid
from alexnet_tk.training.parallel.pipeline import Pipeline
from alexnet_tk.training.parallel.single import Single
from alexnet_tk.training.parallel.towers import Towers
from alexnet_tk.training.parallel.world import World, joined

Mode = Literal["data", "towers", "pipeline", "hybrid"]
MODES: dict[Mode, type[Single]] = {
    "data": DataParallel,
    "towers": Towers,
    "pipeline": Pipeline,
    "hybrid": Hybrid,
}

__all__ = ["MODES", "Mode", "Single", "World", "joined", "spread"]


def spread(
    model: AlexNet, recipe: Recipe, world: World, mode: Mode | None, half: torch.dtype | None, compile: bool
) -> Single:
    """The network as this process of the world computes it.

    Raises
    ------
    UsageError
        processes, network and batch do not fit together; the message shows the arithmetic

    """
    if world.size == 1:
        if mode is not None:
            raise UsageError(
                f"--parallel {mode} needs several processes: give --gpus N, or start it with torchrun"
            )
        return Single(model, recipe, world, half, compile)
    if mode != "data" and mode is not None and half is torch.float16:
        raise UsageError(
            f"--parallel {mode} can't scale losses for fp16 on several devices alike; "
            "give --set train.precision=bf16, or fp32"
        )
    if mode not in (None, "data") and compile:
        raise UsageError(f"--compile goes with one process or --parallel data, not with {mode}")
    return MODES[mode or "data"](model, recipe, world, half, compile)
