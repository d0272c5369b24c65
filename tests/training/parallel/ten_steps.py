"""Ten steps of training in every mode, in each of the processes that are started with

    python ten_steps.py FOLDER PICTURES DTYPE

The first of them writes FOLDER/<mode>.pt. The tests take the same steps in one process, and compare.
"""

import sys
from pathlib import Path
from typing import Any

import torch

from alexnet_tk.recipe import Recipe
from alexnet_tk.training.augment import Epoch
from alexnet_tk.training.dataset import Data, Reader, from_folder
from alexnet_tk.training.parallel import MODES, Mode, World, joined
from alexnet_tk.training.statistics import Statistics
from alexnet_tk.training.trainer import Trainer

STEPS = 10
BATCH = 8

# Five classes divide neither by two nor by four; dropout, rotation, mirrors, crops and colour noise are on.
RECIPE = Recipe().override(
    "network.image_size=40",
    "network.channels=[8,16,16,16,8]",
    "network.hidden=[16,24]",
    "network.c1={kernel=5,stride=2,padding=2}",
    "network.init=he",
    "preprocess.resize=44",
    "preprocess.std=[60,60,60]",
    "augment.rotate=5",
    f"train.batch_size={BATCH}",
    "train.micro_batches=2",
    "train.lr=0.02",
)


def take_steps(trainer: Trainer, pictures: Data, first: int, last: int) -> list[float]:
    """The running loss after each step from `first` to `last`; every epoch ends with a ragged batch."""
    count = len(pictures.train.classes)
    each_epoch = -(-count // BATCH)
    losses = []
    reader = Reader(pictures.train, trainer.recipe.preprocess, trainer.spread.slots)
    for step in range(first, last):
        epoch, batch = divmod(step, each_epoch)
        draws = Epoch.draw(trainer.recipe, epoch, count)
        order = draws.order[batch * BATCH : (batch + 1) * BATCH]
        (read,) = reader.batches(order, BATCH, draws.crop)
        if not trainer.idle(read):
            trainer.step(read, draws, at=epoch + batch * BATCH / count)
        losses.append(trainer.check())
    return losses


def run(pictures: Data, world: World, mode: Mode | None) -> dict[str, Any]:
    """Ten steps, after five of which the training is stopped and taken up by a new trainer."""
    axes = ((0.6, 0.0, 0.8), (0.0, 1.0, 0.0), (0.8, 0.0, -0.6))
    statistics = Statistics((110.0, 100.0, 90.0), (40.0, 90.0, 900.0), axes)

    def new() -> Trainer:
        return Trainer(RECIPE, statistics, len(pictures.labels), world, mode)

    trainer = new()
    losses = take_steps(trainer, pictures, 0, STEPS // 2)
    state = trainer.state()
    trainer = new()
    trainer.restore(world.once(lambda: state))
    losses += take_steps(trainer, pictures, STEPS // 2, STEPS)
    reader = Reader(pictures.val, RECIPE.preprocess, trainer.spread.slots)
    answers = trainer.evaluate(reader, lambda batch, logits: None)
    return {
        "losses": losses,
        "state": trainer.state(),
        "validation": [answers.pictures, answers.loss, answers.top1, answers.top5],
        "failures": trainer.failures(reader),
    }


def main() -> None:
    """Every mode in turn."""
    folder, pictures, dtype = Path(sys.argv[1]), from_folder(Path(sys.argv[2])), sys.argv[3]
    torch.set_default_dtype(getattr(torch, dtype))
    torch.set_num_threads(1)
    with joined(torch.device("cpu")) as world:
        for mode in MODES:
            result = run(pictures, world, mode)
            if world.first:
                torch.save(result, folder / f"{mode}.pt")


if __name__ == "__main__":
    main()
