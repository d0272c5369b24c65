"""Everything before the first step: the dataset, a new run or one to resume, and initial weights."""

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from alexnet_tk import zoo
from alexnet_tk.errors import DataError, RecipeError
from alexnet_tk.layout import is_packed
from alexnet_tk.network.alexnet import AlexNet
from alexnet_tk.progress import Progress
from alexnet_tk.recipe import Recipe
from alexnet_tk.text import counted
from alexnet_tk.training.batches import BatchReader
from alexnet_tk.training.checkpoint import Checkpoint
from alexnet_tk.training.dataset import Dataset, built_in_sample, from_folder
from alexnet_tk.training.forecast import forecast
from alexnet_tk.training.packed import open_packed
from alexnet_tk.training.parallel import World
from alexnet_tk.training.run import Run
from alexnet_tk.training.statistics import MAX_MEASURED, Statistics
from alexnet_tk.training.trainer import Trainer


def open_dataset(
    data: Path | None, progress: Progress, classes_are_folders: bool = False
) -> tuple[Dataset, Statistics | None]:
    """The pictures in DATA, and their statistics where a packed set holds them."""
    statistics = None
    if data is None:
        dataset = built_in_sample()
    elif is_packed(data):
        dataset, statistics = open_packed(data)
    else:
        dataset = from_folder(data, classes_are_folders=classes_are_folders)
    for note in dataset.notes:
        progress.say(note)
    progress.say(
        f"data: {data or 'the built-in part of Fashion-MNIST'}, {len(dataset.train.targets):,} training "
        f"and {counted(len(dataset.val.targets), 'validation picture')} in {len(dataset.labels):,} classes"
    )
    return dataset, statistics


def require_same_dataset(world: World, dataset: Dataset) -> None:
    """Raise `DataError` unless all processes, perhaps on several machines, have found the same pictures."""
    fingerprints = world.all_gather(dataset.fingerprint())
    for rank, fingerprint in enumerate(fingerprints):
        if fingerprint != fingerprints[0]:
            raise DataError(
                f"process {rank} finds other pictures than process 0; every machine needs the same DATA"
            )


def new_run(
    data: Path | None,
    dataset: Dataset,
    statistics: Statistics | None,
    recipe: str | None,
    settings: Sequence[str],
    initial: Checkpoint | None,
    world: World,
    progress: Progress,
) -> Run:
    """A run from its beginning; measures the colours unless `statistics` have all that the recipe needs.

    Where the user has named pictures and no recipe, and a CPU is to train, it also says how long that takes.
    """
    count = len(dataset.train.targets)
    if recipe is None and initial is not None:
        name, plan = "the initial checkpoint's", initial.recipe
    else:
        name = recipe or zoo.default_recipe(None if data is None else count)
        plan = zoo.recipe(name)
    plan = _with_epochs(plan.override(*settings), count)
    progress.say(f"recipe: {name}, at most {counted(int(plan.train.epochs), 'epoch')}")
    if uneven := dataset.uneven_classes():
        cure = "; --set train.class_weights=balanced lets all weigh the same in the loss"
        progress.say(uneven + (cure if plan.train.class_weights == "equal" else ""))
    statistics = _statistics(data, dataset, statistics, plan, progress)
    if data is not None and recipe is None and initial is None and world.device.type == "cpu":
        times = forecast(name, plan, settings, dataset, statistics, world, progress)
        if times:
            progress.say(times)
    return Run(plan, plan, statistics, dataset.fingerprint())


def resumed_run(
    last: Path, dataset: Dataset, recipe: str | None, settings: Sequence[str], output: Path
) -> tuple[Run, dict[str, Any]]:
    """The run in `last.pt` with the epochs and micro-batches asked for now, and its trainer's state.

    Raises
    ------
    DataError, RecipeError
        the run was started with other pictures or another recipe

    """
    run, state = Run.load(last)
    if not dataset.has_fingerprint(run.fingerprint):
        raise DataError(
            f"{output} was started with other pictures; resume with those, or start anew with --overwrite"
        )
    if recipe is None and not settings:
        return run, state
    plan = zoo.recipe(recipe) if recipe else run.requested
    plan = _with_epochs(plan.override(*settings), len(dataset.train.targets))

    def with_changes(other: Recipe) -> Recipe:  # micro-batches change how a run computes, not what
        train = replace(other.train, micro_batches=plan.train.micro_batches, epochs=plan.train.epochs)
        return replace(other, train=train)

    if plan != with_changes(run.requested):
        raise RecipeError(
            f"{output} was started with another recipe; resume without --recipe and --set, "
            "or start anew with --overwrite"
        )
    finished = run.finished
    if plan.train.epochs != run.requested.train.epochs:
        _require_extensible(run, plan, state, output)
        finished = run.epoch == plan.train.epochs
    return replace(run, requested=plan, recipe=with_changes(run.recipe), finished=finished), state


def _require_extensible(run: Run, plan: Recipe, state: dict[str, Any], output: Path) -> None:
    """Raise `RecipeError` unless the run would have come to the same point with that number of epochs."""
    advice = f"start a new run from its weights, with --init {output} and another --output"
    schedule = plan.train.schedule
    if schedule not in ("plateau", "steps"):
        raise RecipeError(
            f"{output} can't change train.epochs: the learning rate of {schedule!r} depends on it; {advice}"
        )
    if int(plan.train.epochs) < run.epoch:
        raise RecipeError(
            f"{output} has been trained for {counted(run.epoch, 'epoch')}; train.epochs must be as many"
        )
    if schedule == "plateau" and state["plateau"][0] > plan.train.drops:
        raise RecipeError(
            f"{output} ended after {counted(run.epoch, 'epoch')}, when validation improved no more; {advice}"
        )


def copy_weights(
    trainer: Trainer, initial: Checkpoint, labels: list[str], source: Path, progress: Progress
) -> None:
    """Start with another checkpoint's weights, except in layers of another shape or for other labels.

    They are adapted to the recipe's channel order, deviation and dropout, so that a layer gives the same
    for a picture.
    """
    with torch.device("meta"):
        own = AlexNet(trainer.recipe.network, trainer.num_classes).state_dict()
    copied = {
        name: _adapted(name, tensor, initial.recipe, trainer.recipe)
        for name, tensor in initial.weights.items()
        if name in own
        and own[name].shape == tensor.shape
        and (not name.startswith("f8.") or initial.labels == labels)
    }
    trainer.set_weights(copied)
    new_layers = sorted({name.partition(".")[0] for name in own.keys() - copied.keys()})
    progress.say(
        f"weights from {source} in "
        + (f"all layers except {', '.join(new_layers)}" if new_layers else "all layers")
    )


def _adapted(name: str, tensor: Tensor, formerly: Recipe, recipe: Recipe) -> Tensor:
    """The tensor of a layer that was trained with another recipe, for what this recipe gives to the layer."""
    if name == "c1.weight":
        before, now = formerly.preprocess, recipe.preprocess
        if before.std != now.std:
            scale = torch.tensor(now.std) / torch.tensor(before.std)
            tensor = tensor * (scale if before.channel_order == "RGB" else scale.flip(0))[:, None, None]
        return tensor if before.channel_order == now.channel_order else tensor.flip(1)
    if name in ("f7.weight", "f8.weight"):  # they read what dropout leaves
        scales = [
            1 - each.network.dropout if each.network.dropout_scale == "prediction" else 1.0
            for each in (formerly, recipe)
        ]
        return tensor if scales[0] == scales[1] else tensor * (scales[0] / scales[1])
    return tensor


def _with_epochs(recipe: Recipe, pictures: int) -> Recipe:
    """The recipe with a number for `train.epochs`."""
    return replace(recipe, train=replace(recipe.train, epochs=recipe.train.epochs_for(pictures)))


def _statistics(
    data: Path | None, dataset: Dataset, packed: Statistics | None, recipe: Recipe, progress: Progress
) -> Statistics:
    """The training set's statistics, with the mean picture where the recipe asks for it.

    They are those of a packed set, but for a mean picture that is missing or of another size than the
    recipe's squares. What is not there is measured, and it is said how long it takes to decode pictures
    from a folder.
    """
    with_picture = recipe.preprocess.mean == "picture"
    if packed is not None and not with_picture:
        return replace(packed, picture=None)
    if packed is not None and packed.picture is not None and len(packed.picture) == recipe.preprocess.resize:
        return packed
    count = len(dataset.train.targets)
    measured = min(count, MAX_MEASURED)
    progress.begin("measuring colours", measured)
    reader = BatchReader(dataset.train, recipe.square.uncropped)
    begun = time.perf_counter()
    statistics = Statistics.of(reader, recipe.train.seed, progress, with_picture)
    rate = measured / (time.perf_counter() - begun)
    if data is not None and packed is None:
        progress.say(
            f"decoding: {rate:,.0f} pictures/s, so {count / rate:,.0f} s in every epoch; "
            f"`alexnet-tk pack {data} PACKED` decodes them once, for `alexnet-tk train PACKED`"
        )
    return statistics if packed is None else replace(packed, picture=statistics.picture)
