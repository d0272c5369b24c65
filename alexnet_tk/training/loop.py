"""The training loop: pictures and a recipe in, a checkpoint of the best weights out."""

import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from alexnet_tk import zoo
from alexnet_tk.files import make_folder, refuse_existing
from alexnet_tk.interrupt import Interrupt, deferred, stop
from alexnet_tk.training.augment import Epoch
from alexnet_tk.training.begin import (
    choose_recipe,
    measure_colours,
    open_pictures,
    require_same_pictures,
    take_up,
    take_weights,
)
from alexnet_tk.training.checkpoint import Checkpoint
from alexnet_tk.training.dataset import Batch, Data, Reader
from alexnet_tk.training.device import choose_device
from alexnet_tk.training.metrics import Tally
from alexnet_tk.training.parallel import Mode, joined
from alexnet_tk.training.parallel.world import is_first
from alexnet_tk.training.progress import Progress, Silence
from alexnet_tk.training.run import Board, Run
from alexnet_tk.training.trainer import Trainer

SAVE_EVERY = 10 * 60  # seconds between two saves within an epoch
PLOTS = ("curves.png", "confusion.png", "filters.png")  # of a finished run, in the order they are drawn
LOOK_EVERY = 50  # steps between two looks at the running loss on CUDA, where each makes the host wait


def train(
    data: Path | None = None,
    *,
    recipe: str | None = None,
    settings: tuple[str, ...] = (),
    output: Path = Path("model.pt"),
    resume: bool = False,
    overwrite: bool = False,
    initial: Path | None = None,
    device: str = "auto",
    parallel: Mode | None = None,
    compile: bool = False,
    progress: Progress | None = None,
) -> Checkpoint:
    """Train a network and write the best weights that were seen, after every epoch that is better.

    On the CPU the same pictures, recipe and number of threads give the same weights, bit for bit. In
    each of the processes that torchrun starts, all with the same arguments, this is a part of one run:
    the first one reads and writes checkpoints and tells `progress`, and all return the result.

    Parameters
    ----------
    data
        a folder of pictures as `dataset.from_folder` takes it, or a packed set; None: the built-in sample
    recipe
        a name of the zoo or a TOML file; None: "fashion-mini" for the sample, "own-pictures" for a
        folder of fewer than 100,000 pictures, else "alexnet-2012"
    settings
        dotted keys such as "train.epochs=1" that replace what the recipe says
    output
        the checkpoint; the folder runs/<its stem>/ beside it takes what is needed to resume, metrics
        and the list of unreadable pictures
    resume
        go on where an earlier run with this output stood; on the CPU this gives the weights, bit for bit,
        of a run that was never stopped. Without such a run one begins; a finished one is left as it is
    overwrite
        replace an output that exists
    initial
        a checkpoint to start from: its recipe, unless another is asked for, and all weights that fit
    device
        "auto", "cpu", "cuda" or "cuda:N"
    parallel
        how several processes share the work; None: "data", or one process
    compile
        run the network through `torch.compile`
    progress
        is told what happens

    Returns
    -------
    the best epoch's checkpoint, as it was written

    Raises
    ------
    RecipeError, UsageError, DataError, CheckpointError, DeviceError, OutputError, TrainingError

    """
    if recipe is not None:
        zoo.recipe(recipe).override(*settings)  # a mistake here should cost no look at the pictures
    progress = progress if progress is not None and is_first() else Silence()
    folder = output.parent / "runs" / output.stem
    last = folder / "last.pt"

    with joined(choose_device(device, progress)) as world:
        going_on = world.first and (resume or world.left_behind(last)) and last.exists()
        if world.first:
            refuse_existing(output, overwrite or going_on)
        start = None if initial is None else world.once(lambda: Checkpoint.load(initial))
        pictures, statistics = open_pictures(data, progress)
        progress.say(
            f"data: {data or 'the built-in part of Fashion-MNIST'}, {len(pictures.train.classes):,} training "
            f"and {len(pictures.val.classes):,} validation pictures in {len(pictures.labels)} classes"
        )
        require_same_pictures(world, pictures)

        def begin() -> tuple[Run, dict[str, Any] | None]:
            if going_on:
                run, state = Run.load(last)
                return take_up(run, pictures, recipe, settings, output), state
            name, plan = choose_recipe(data, pictures, recipe, settings, start)
            progress.say(f"recipe: {name}, at most {plan.train.epochs} epochs")
            colours = statistics or measure_colours(data, pictures, plan, progress)
            make_folder(folder)
            for name in ("last.pt", "metrics.jsonl", "unreadable.txt", *PLOTS):  # of an earlier run
                (folder / name).unlink(missing_ok=True)
            return Run(plan, plan, colours, pictures.fingerprint()), None

        run, state = world.once(begin)
        if run.finished and world.once((folder / PLOTS[-1]).exists):
            progress.say(f"{output}: this run has finished, nothing is left to do")
            return world.once(lambda: Checkpoint.load(output))

        def new_trainer() -> Trainer:
            return Trainer(run.recipe, run.statistics, len(pictures.labels), world, parallel, compile)

        trainer = new_trainer()
        if state is not None:
            progress.say(
                f"resuming after {run.epoch} of {run.recipe.train.epochs} epochs and {run.batch} steps"
            )
            trainer.restore(state)
        elif start is not None and initial is not None:
            take_weights(trainer, start, pictures.labels, initial, progress)
        with deferred(patient=world.size > 1) as interrupt:
            try:
                return _fit(run, trainer, pictures, output, folder, interrupt, progress)
            except Stalled:
                run = _start_again(run, trainer, progress)
                return _fit(run, new_trainer(), pictures, output, folder, interrupt, progress)


def _fit(
    run: Run,
    trainer: Trainer,
    data: Data,
    output: Path,
    folder: Path,
    interrupt: Interrupt,
    progress: Progress,
) -> Checkpoint:
    """The loop itself. Whatever ends it, `last.pt` holds a moment between two steps."""
    count, val_count = len(data.train.classes), len(data.val.classes)
    epochs, batch_size = int(run.recipe.train.epochs), run.recipe.train.batch_size
    world, slots = trainer.world, trainer.spread.slots
    splits = [data.train, data.val]
    readers = [Reader(split, run.recipe.preprocess, slots, world.cores) for split in splits]
    for reader, failures in zip(readers, run.failures, strict=True):
        reader.failures = dict(failures)
    look_every = 1 if trainer.device.type == "cpu" else LOOK_EVERY
    board = Board(folder, run.epoch) if world.first else None
    progress.begin("training", epochs * (count + val_count))
    progress.advance(run.epoch * (count + val_count) + min(run.batch * batch_size, count))
    saved = time.monotonic()

    def due() -> bool:
        """Whether to save now: after a while, or because a signal came to any of the processes."""
        return world.most(bool(interrupt.number) or time.monotonic() - saved > SAVE_EVERY) > 0

    def save() -> None:
        nonlocal saved
        trainer.check()
        run.save(folder / "last.pt", trainer)
        saved = time.monotonic()
        stop(world.most(interrupt.number))  # none alone, or the others would wait for it

    def evaluated(batch: Batch, logits: Tensor) -> None:
        progress.advance(batch.total)
        if world.most(interrupt.number):
            save()

    while run.epoch < epochs and not run.finished:
        # -- step
        draws, tally = Epoch.draw(run.recipe, run.epoch, count), Tally(world)
        tally.add_list(run.tally)
        for batch in readers[0].batches(draws.order[run.batch * batch_size :], batch_size, draws.crop):
            if not trainer.idle(batch):
                tally.add(*trainer.step(batch, draws, at=run.epoch + run.batch * batch_size / count))
            run.batch += 1
            look = trainer.steps % look_every == 0
            progress.advance(batch.total, trainer.check() if look else None)
            if not run.restarts and trainer.stalled():
                raise Stalled
            if due():
                run.tally = tally.to_list()
                save()

        # -- evaluate
        run.tally = tally.to_list()
        if not world.once((folder / "last.pt").exists):
            save()  # or a kill after the first checkpoint would leave one that can't be gone on with
        figures, val = tally.figures(), trainer.evaluate(readers[1], evaluated)

        # -- save
        trainer.check()
        better = not run.best or val.top1 > run.history[run.best - 1]["val_top1"]
        run.epoch, run.batch, run.tally = run.epoch + 1, 0, []
        run.history.append({"epoch": run.epoch, "loss": figures.loss} | val.named("val_"))
        if better:
            run.best = run.epoch
            checkpoint = _checkpoint(run, trainer, data)
            if world.first:
                checkpoint.save(output)
        run.finished = trainer.finished(val) or run.epoch == epochs
        unread = [trainer.failures(reader) for reader in readers]
        if world.first:
            failed = run.list_failures(folder / "unreadable.txt", splits, unread)
            run.write_metrics(folder / "metrics.jsonl")
        save()

        # -- log
        progress.epoch(run.epoch, epochs, figures, val, better)
        if world.first and failed:
            progress.say(
                f"pictures that can't be read and are left out: {failed}; {folder}/unreadable.txt lists them"
            )
        if board is not None:
            board.add(run.history[-1], trainer.lr)
        if run.finished and run.epoch < epochs:
            progress.say(f"validation no longer improves, after {run.recipe.train.drops} drops of lr: done")

    best = world.once(lambda: Checkpoint.load(output))
    _draw(best, run, trainer, readers[1], folder)
    return best


def _draw(best: Checkpoint, run: Run, trainer: Trainer, reader: Reader, folder: Path) -> None:
    """The pictures of a finished run."""
    trainer.set_weights(best.weights)
    counts = np.zeros((len(best.labels), len(best.labels)), dtype=np.int64)

    def count(batch: Batch, logits: Tensor) -> None:
        if len(logits):
            np.add.at(counts, (batch.classes, logits.argmax(1).cpu().numpy()), 1)

    trainer.evaluate(reader, count)
    counts = trainer.world.total(torch.from_numpy(counts)).numpy()
    if not trainer.world.first:
        return
    from alexnet_tk.training import plots  # matplotlib takes a second to load

    curves, confusion, filters = (folder / name for name in PLOTS)
    plots.draw_curves(run.history, curves)
    plots.draw_confusion(counts, best.labels, confusion)
    plots.draw_filters(best.first_kernels, best.recipe.network.towers, filters)


class Stalled(Exception):  # noqa: N818
    """The loss is still at ln(classes)."""


def _checkpoint(run: Run, trainer: Trainer, data: Data) -> Checkpoint:
    """The current weights and how they came to be."""
    training = {
        "epoch": run.epoch,
        "figures": run.history[-1],
        "history": list(run.history),
        "restarts": list(run.restarts),
    }
    return Checkpoint(run.recipe, data.labels, run.statistics, trainer.weights(), data.label_ids, training)


def _start_again(run: Run, trainer: Trainer, progress: Progress) -> Run:
    """The known cure for a loss that stays at ln(classes): biases of 0.1 and another seed, once."""
    train = run.asked.train
    story = (
        f"after {trainer.steps} steps the loss was {trainer.check():.3f}, no better than guessing; "
        f"started again with network.init=caffe (biases 0.1) and train.seed={train.seed + 1}"
    )
    progress.say(story)
    recipe = run.asked.override("network.init=caffe", f"train.seed={train.seed + 1}")
    return Run(run.asked, recipe, run.statistics, run.fingerprint, restarts=[story])
