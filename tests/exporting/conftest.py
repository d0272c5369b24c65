"""Checkpoints with random weights, whose graphs are built once."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from alexnet_tk.network.alexnet import AlexNet
from alexnet_tk.recipe import Recipe
from alexnet_tk.training.checkpoint import Checkpoint
from alexnet_tk.training.statistics import Statistics
from tests.exporting.graphs import shared_graphs

Make = Callable[..., Checkpoint]


@pytest.fixture(scope="module", autouse=True)
def _shared_graphs() -> Iterator[None]:
    with shared_graphs():
        yield


@pytest.fixture(scope="session")
def make(tiny: tuple[str, ...]) -> Make:
    """A function that writes a checkpoint whose random weights give high and low probabilities."""

    def write(path: Path, *settings: str, classes: int = 7) -> Checkpoint:
        recipe = Recipe().override(*tiny, "network.init=he", "preprocess.std=[9,10,11]", *settings)
        net = AlexNet(recipe.network, classes)
        net.initialise(1)
        side = recipe.preprocess.resize
        picture = torch.linspace(0, 255, side * side * 3).view(3, side, side).permute(1, 2, 0).contiguous()
        statistics = Statistics.from_lists(
            [110, 120, 130],
            [1, 2, 3],
            [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
            picture if recipe.preprocess.mean == "picture" else None,
        )
        labels = [f"label {i}" for i in range(classes)]
        checkpoint = Checkpoint(recipe, labels, statistics, net.state_dict(), [], {"epoch": 1})
        checkpoint.save(path)
        return checkpoint

    return write
