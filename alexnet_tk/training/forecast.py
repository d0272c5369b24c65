"""How long a run on a CPU will take, from a measured second of training steps, before it begins."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch

from alexnet_tk import zoo
from alexnet_tk.errors import RecipeError
from alexnet_tk.progress import Progress
from alexnet_tk.recipe import Recipe
from alexnet_tk.training.augment import EpochDraws
from alexnet_tk.training.batches import BatchReader, PictureBatch
from alexnet_tk.training.dataset import Dataset
from alexnet_tk.training.device import device_errors
from alexnet_tk.training.kept import kept
from alexnet_tk.training.parallel import World
from alexnet_tk.training.statistics import Statistics
from alexnet_tk.training.trainer import Trainer

MEASURED = 1.0  # seconds of steps, and at most as many of reading
PATIENCE = 10.0  # seconds of a first step, from which on it is the only one
# In a timed step, if the recipe's batch is not smaller: a step of 128 takes twice as long, and little less
# for each picture.
STEP_PICTURES = 64
READ_PICTURES = 64  # to measure reading with
FORWARD = 1 / 3  # of a step's time: the backward pass takes about twice as long as the forward pass
MIN_STEPS = 20  # a run of fewer is hardly longer than its forecast
LONG = 10 * 60  # seconds, from which a user is told of faster recipes

Clock = Callable[[], float]  # in seconds


def forecast(
    name: str,
    recipe: Recipe,
    settings: Sequence[str],
    dataset: Dataset,
    statistics: Statistics,
    world: World,
    progress: Progress,
    clock: Clock = time.perf_counter,
) -> str:
    """The time of a run in words, and that of faster recipes where it is long; "" for a run of a few steps.

    It times networks of its own and leaves no trace: neither in torch's random numbers nor in its threads.

    Parameters
    ----------
    name, recipe
        the run's recipe, with `settings` in it
    settings
        what the user has set, which goes for other recipes, too
    dataset, statistics, world
        the run's; only the calling process measures, and the others are taken to be as fast
    progress
        receives what is being timed
    clock
        what measures

    Raises
    ------
    TrainingError
        there is no memory for a batch

    """
    if _epochs(recipe, dataset) * len(dataset.train.targets) < MIN_STEPS * recipe.train.batch_size:
        return ""

    def seconds(name: str, recipe: Recipe) -> float:
        progress.begin(f"timing {name}", 1)
        return _seconds(recipe, dataset, statistics, world, clock)

    long = seconds(name, recipe)
    parts = [f"{name}: {about(long)}"]
    for other in zoo.alternatives(name) if long > LONG else ():
        try:
            changed = zoo.recipe(other).override(*settings)
        except RecipeError:  # such as a size that fits the run's recipe alone
            continue
        if (shorter := seconds(other, changed)) < long:
            parts.append(f"--recipe {other}: {about(shorter)}")
    return "; ".join(parts)


def about(seconds: float) -> str:
    """A time in words, rounded as far as it can be known: "about 25 min", "about 2.5 h"."""
    minutes, hours, days = (seconds / unit for unit in (60, 3600, 86_400))
    if minutes < 1:
        return "under a minute"
    if minutes < 15:
        return f"about {minutes:.0f} min"
    if minutes < 87.5:
        return f"about {5 * round(minutes / 5)} min"
    if hours < 9.75:
        return f"about {round(2 * hours) / 2:g} h"
    return f"about {hours:.0f} h" if hours < 36 else f"about {days:,.0f} days"


def _seconds(recipe: Recipe, dataset: Dataset, statistics: Statistics, world: World, clock: Clock) -> float:
    """The time of a whole run."""
    train, val = len(dataset.train.targets), len(dataset.val.targets)
    batch = max(1, min(recipe.train.batch_size // world.size, train, STEP_PICTURES))
    with device_errors(world.device, recipe.train.batch_size):
        step = _step_of_blank_pictures(recipe, statistics, len(dataset.labels), batch)
        computing = _seconds_per_call(step, clock) / batch
    first, later = _seconds_per_picture(recipe, dataset, statistics, world, clock)
    epochs = _epochs(recipe, dataset)
    # On a CPU the same cores read and compute.
    reading = (first + (epochs - 1) * later) * (train + val)
    return (epochs * computing * (train + FORWARD * val) + reading) / world.size


def _epochs(recipe: Recipe, dataset: Dataset) -> int:
    return recipe.train.epochs_for(len(dataset.train.targets))


def _step_of_blank_pictures(
    recipe: Recipe, statistics: Statistics, num_classes: int, batch_size: int
) -> Callable[[], object]:
    """A function that takes a training step of a new network, which is the function's own."""
    train = replace(recipe.train, batch_size=batch_size, epochs=1)
    recipe = replace(recipe, train=train)
    with torch.random.fork_rng(devices=[]):  # layers draw weights when they are made
        trainer = Trainer(recipe, statistics, num_classes, World())
    indices, size = np.arange(batch_size), recipe.network.image_size
    batch = PictureBatch(
        torch.zeros(batch_size, size, size, 3, dtype=torch.uint8),
        EpochDraws.draw(recipe, 0, batch_size, statistics).changes(indices),
        torch.zeros(batch_size, dtype=torch.int64),
        torch.ones(batch_size),
        torch.from_numpy(indices),
        None,
        indices,
        batch_size,
    )
    return lambda: trainer.step(batch, 0.0)


def _seconds_per_call(function: Callable[[], object], clock: Clock) -> float:
    """The mean of the calls in `MEASURED` seconds, without the first, unless that one takes far longer."""
    begun = clock()
    function()  # gets memory, and the convolutions are planned, which takes seconds in bfloat16
    if (first := clock() - begun) >= PATIENCE:
        return first
    begun, calls, elapsed = clock(), 0, 0.0
    while elapsed < MEASURED:
        function()
        calls, elapsed = calls + 1, clock() - begun
    return elapsed / calls


def _seconds_per_picture(
    recipe: Recipe, dataset: Dataset, statistics: Statistics, world: World, clock: Clock
) -> tuple[float, float]:
    """The time in which the cores read and crop a training picture in the first epoch, and in a later one."""
    count = len(dataset.train.targets)
    split = kept(dataset, recipe.square.uncropped, world.memory).train
    reader = BatchReader(split, recipe.square, threads=world.cores)
    crop = EpochDraws.draw(recipe, 0, count, statistics).crop
    indices = np.linspace(0, count - 1, min(READ_PICTURES, count)).astype(np.int64)

    def seconds() -> float:
        begun, read = clock(), 0
        for batch in reader.batches(indices, 4, crop):
            read += batch.global_size
            if clock() - begun > MEASURED:
                break
        return (clock() - begun) / read

    return seconds(), seconds()
