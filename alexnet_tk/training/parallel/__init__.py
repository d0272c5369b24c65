"""How a network is spread over processes: one of them, or the four modes of `--parallel`."""

import torch

from alexnet_tk.choices import Parallelism
from alexnet_tk.errors import UsageError
from alexnet_tk.network.alexnet import AlexNet
from alexnet_tk.recipe import Recipe
from alexnet_tk.training.parallel.data import DataParallel
from alexnet_tk.training.parallel.hybrid import Hybrid
from alexnet_tk.training.parallel.pipeline import Pipeline
from alexnet_tk.training.parallel.strategy import SingleProcess, StepInputs, Strategy
from alexnet_tk.training.parallel.towers import Towers
from alexnet_tk.training.parallel.world import World, join_world

MODES: dict[Parallelism, type[Strategy]] = {
    "data": DataParallel,
    "towers": Towers,
    "pipeline": Pipeline,
    "hybrid": Hybrid,
}

__all__ = ["MODES", "SingleProcess", "StepInputs", "Strategy", "World", "choose_strategy", "join_world"]


def choose_strategy(
    model: AlexNet,
    recipe: Recipe,
    world: World,
    mode: Parallelism | None,
    autocast_dtype: torch.dtype | None,
    compile: bool,
) -> Strategy:
    """Place the network in this process as the mode asks; None: "data" for several processes.

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
        return SingleProcess(model, recipe, world, autocast_dtype, compile)
    mode = mode or "data"
    if mode != "data" and autocast_dtype is torch.float16:
        raise UsageError(
            f"--parallel {mode} does not support fp16, whose loss scale would differ between devices; "
            "give --set train.precision=bf16, or fp32"
        )
    if mode != "data" and compile:
        raise UsageError(f"--compile works with one process or with --parallel data, not with {mode}")
    return MODES[mode](model, recipe, world, autocast_dtype, compile)
