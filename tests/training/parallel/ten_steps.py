"""Ten steps of training in every mode, in each of the processes that are started with

    python -m tests.training.parallel.ten_steps FOLDER PICTURES DTYPE DEVICE

The first process writes FOLDER/<mode>-<recipe>.pt. The tests take the same steps in one process and compare.
"""

import sys
from pathlib import Path
from typing import Any

import torch

from alexnet_tk.choices import Parallelism
from alexnet_tk.recipe import Recipe
from alexnet_tk.training.augment import EpochDraws
from alexnet_tk.training.dataset import Dataset, from_folder
from alexnet_tk.training.parallel import MODES, World, join_world
from alexnet_tk.training.statistics import Statistics
from alexnet_tk.training.trainer import Trainer
from tests.conftest import TINY

DEVICE = "cpu"  # of all processes
STEPS = 10
BATCH = 8

# Five classes divide neither by two nor by four; every random change and every kind of weight is on.
RECIPE = Recipe().override(
    *TINY,
    "network.hidden=[16,24]",
    "network.init=he",
    "preprocess.std=[60,60,60]",
    "augment.rotate=5",
    "augment.crop_area=[0.5,1]",
    f"train.batch_size={BATCH}",
    "train.micro_batches=2",
    "train.lr=0.02",
    "train.label_smoothing=0.1",
    "train.class_weights=balanced",
    "train.bias_lr=2",
    "train.bias_schedule=constant",
    "train.bias_weight_decay=0",
    'train.layer_rates=[["c1", 2, 0.1], ["f6", 2, 0.5]]',
    "augment.group=3",
    "augment.color_epochs=2",
    "augment.color_divisor=1.1",
    "preprocess.mean=picture",
    "network.dropout_scale=prediction",
    'network.c1.then=["lrn", "pool", "relu"]',
    'network.c2.then=["relu", "lrn", "spatial", "pool"]',
    "network.spatial.alpha=0.1",
)
# Towers that do not talk are for the modes that do not shard layers which read all towers.
RECIPES = {"talking": RECIPE, "apart": RECIPE.override("network.talk=false")}
CASES = [(mode, name) for mode in MODES for name in RECIPES if (mode, name) != ("hybrid", "apart")]

AXES = ((0.6, 0.0, 0.8), (0.0, 1.0, 0.0), (0.8, 0.0, -0.6))
STATISTICS = Statistics(
    (110.0, 100.0, 90.0),
    (40.0, 90.0, 900.0),
    AXES,
    torch.linspace(60, 140, 44 * 44 * 3, dtype=torch.float32).view(44, 44, 3),
)


def take_steps(trainer: Trainer, dataset: Dataset, first: int, last: int) -> list[float]:
    """The running loss after each step from `first` to `last`; every epoch ends with a ragged batch."""
    count = len(dataset.train.targets)
    each_epoch = -(-count // BATCH)
    losses = []
    reader = trainer.reader(dataset.train)
    for step in range(first, last):
        epoch, batch = divmod(step, each_epoch)
        draws = EpochDraws.draw(trainer.recipe, epoch, count, trainer.statistics)
        read = next(trainer.training_batches(reader, draws, batch))
        if not trainer.is_empty(read):
            trainer.step(read, at=epoch + batch * BATCH / count)
        losses.append(trainer.check_loss())
    return losses


def run(dataset: Dataset, world: World, mode: Parallelism | None, recipe: Recipe) -> dict[str, Any]:
    """Ten steps, after five of which a new trainer resumes from the state of the first."""

    def new() -> Trainer:
        return Trainer(recipe, STATISTICS, len(dataset.labels), world, mode)

    trainer = new()
    losses = take_steps(trainer, dataset, 0, STEPS // 2)
    state = trainer.state()
    trainer = new()
    trainer.restore(world.broadcast(lambda: state))
    losses += take_steps(trainer, dataset, STEPS // 2, STEPS)
    reader = trainer.reader(dataset.val)
    figures = trainer.evaluate(reader, lambda batch, logits: None)
    return {
        "losses": losses,
        "state": trainer.state(),
        "validation": [figures.pictures, figures.loss, figures.top1, figures.top5],
        "failures": trainer.failures(reader),
    }


def main() -> None:
    """Every case in turn."""
    folder, dataset, dtype = Path(sys.argv[1]), from_folder(Path(sys.argv[2])), sys.argv[3]
    torch.set_default_dtype(getattr(torch, dtype))
    torch.set_num_threads(1)
    with join_world(torch.device(sys.argv[4])) as world:
        for mode, name in CASES:
            result = run(dataset, world, mode, RECIPES[name])
            if world.is_first:
                torch.save(result, folder / f"{mode}-{name}.pt")


if __name__ == "__main__":
    main()
