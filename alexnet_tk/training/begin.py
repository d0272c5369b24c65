"""What a run begins with: pictures, a recipe, the colours' statistics, weights."""

import time
from dataclasses import replace
from pathlib import Path

import torch

from alexnet_tk import zoo
from alexnet_tk.errors import DataError, RecipeError
from alexnet_tk.network.alexnet import AlexNet
from alexnet_tk.recipe import Recipe
from alexnet_tk.training.checkpoint import Checkpoint
from alexnet_tk.training.dataset import Data, Reader, built_in_sample, from_folder
from alexnet_tk.training.packed import is_packed, open_packed
from alexnet_tk.training.parallel import World
from alexnet_tk.training.progress import Progress
from alexnet_tk.training.run import Run
from alexnet_tk.training.statistics import Statistics
from alexnet_tk.training.trainer import Trainer


def open_pictures(data: Path | None, progress: Progress) -> tuple[Data, Statistics | None]:
    """The pictures, and their statistics where they are known already."""
    if data is None:
        return built_in_sample(), None
    if is_packed(data):
        return open_packed(data)
    pictures = from_folder(data)
    for note in pictures.notes:
        progress.say(note)
    return pictures, None


def choose_recipe(
    data: Path | None, pictures: Data, recipe: str | None, settings: tuple[str, ...], start: Checkpoint | None
) -> tuple[str, Recipe]:
    """The name of what is trained, and the recipe with the settings in place and its epochs as a number."""
    count = len(pictures.train.classes)
    if recipe is None and start is not None:
        return "the initial checkpoint's", _with_epochs(start.recipe.override(*settings), count)
    name = recipe or _default_recipe(data, count)
    return name, _with_epochs(zoo.recipe(name).override(*settings), count)


def _with_epochs(recipe: Recipe, pictures: int) -> Recipe:
    return replace(recipe, train=replace(recipe.train, epochs=recipe.train.epochs_for(pictures)))


def require_same_pictures(world: World, pictures: Data) -> None:
    """Raise `DataError` unless all processes, maybe on several machines, have found the same pictures."""
    found = world.each(pictures.fingerprint())
    other = [rank for rank, each in enumerate(found) if each != found[0]]
    if other:
        raise DataError(
            f"process {other[0]} finds other pictures than process 0; every machine needs the same DATA"
        )


def take_up(run: Run, pictures: Data, recipe: str | None, settings: tuple[str, ...], output: Path) -> Run:
    """The run, in as many micro-batches as are asked for now; raises for other pictures or another recipe."""
    if pictures.fingerprint() != run.fingerprint:
        raise DataError(f"{output} was begun with other pictures; resume with those, or give --overwrite")
    if recipe is None and not settings:
        return run
    plan = _with_epochs(
        (zoo.recipe(recipe) if recipe else run.asked).override(*settings), len(pictures.train.classes)
    )

    def parted(each: Recipe) -> Recipe:  # into micro-batches, which change how a run computes and not what
        return replace(each, train=replace(each.train, micro_batches=plan.train.micro_batches))

    if plan != parted(run.asked):
        raise RecipeError(
            f"{output} was begun with another recipe; resume without --recipe and --set, or give --overwrite"
        )
    return replace(run, asked=plan, recipe=parted(run.recipe))


def take_weights(
    trainer: Trainer, start: Checkpoint, labels: list[str], source: Path, progress: Progress
) -> None:
    """Begin with another checkpoint's weights; layers of another shape, or for other labels, start afresh."""
    with torch.device("meta"):
        own = AlexNet(trainer.recipe.network, trainer.classes).state_dict()
    fits = {
        name: each
        for name, each in start.weights.items()
        if name in own
        and own[name].shape == each.shape
        and (not name.startswith("f8.") or start.labels == labels)
    }
    trainer.set_weights(fits)
    afresh = sorted({name.partition(".")[0] for name in own.keys() - fits.keys()})
    progress.say(
        f"weights from {source}; "
        + (f"afresh: {', '.join(afresh)}" if afresh else "all layers are taken over")
    )


def measure_colours(folder: Path | None, data: Data, recipe: Recipe, progress: Progress) -> Statistics:
    """The training set's statistics; where pictures are decoded for it, how long that takes is said."""
    count = len(data.train.classes)
    measured = min(count, Statistics.MOST)
    progress.begin("measuring colours", measured)
    begun = time.perf_counter()
    statistics = Statistics.of(Reader(data.train, recipe.preprocess), recipe.train.seed, progress.advance)
    rate = measured / (time.perf_counter() - begun)
    if folder is not None:
        progress.say(
            f"decoding: {rate:,.0f} pictures/s, so {count / rate:,.0f} s in every epoch; "
            f"`alexnet-tk pack {folder} PACKED` decodes them once, for `alexnet-tk train PACKED`"
        )
    return statistics


def _default_recipe(data: Path | None, pictures: int) -> str:
    """The recipe's name where none was asked for."""
    if data is None:
        return "fashion-mini"
    return "own-pictures" if pictures < 100_000 else "alexnet-2012"
