"""The training loop: pictures and a recipe in, a checkpoint of the best weights out."""

import time
from collections.abc import Sequence
from os import PathLike
from pathlib import Path

from torch import Tensor

from alexnet_tk import zoo
from alexnet_tk.choices import Parallelism
from alexnet_tk.errors import AlexnetError, CheckpointError
from alexnet_tk.files import refuse_existing
from alexnet_tk.interrupt import Interrupt, deferred, stop
from alexnet_tk.progress import SILENCE, Progress
from alexnet_tk.text import counted, one_line
from alexnet_tk.training.augment import EpochDraws
from alexnet_tk.training.batches import PictureBatch
from alexnet_tk.training.checkpoint import Checkpoint
from alexnet_tk.training.dataset import Dataset
from alexnet_tk.training.device import choose_device, device_errors, device_line, tf32
from alexnet_tk.training.kept import kept
from alexnet_tk.training.metrics import Confusion, Figures, Tally
from alexnet_tk.training.parallel import join_world
from alexnet_tk.training.parallel.world import is_first
from alexnet_tk.training.preparation import (
    copy_weights,
    new_run,
    open_dataset,
    require_same_dataset,
    resumed_run,
)
from alexnet_tk.training.run import Run
from alexnet_tk.training.run_folder import RunFolder
from alexnet_tk.training.run_log import RunLog
from alexnet_tk.training.trainer import Trainer

SAVE_EVERY = 10 * 60  # seconds between two saves within an epoch
LOG_EVERY = 100  # steps between two lines of metrics; a multiple of the next
CHECK_LOSS_EVERY = 50  # steps on CUDA, where reading the running loss makes the host wait; 1 on the CPU


def train(
    data: str | PathLike[str] | None = None,
    *,
    recipe: str | None = None,
    settings: Sequence[str] = (),
    output: str | PathLike[str] = "model.pt",
    resume: bool = False,
    overwrite: bool = False,
    initial: str | PathLike[str] | None = None,
    device: str = "auto",
    parallel: Parallelism | None = None,
    compile: bool = False,
    classes_are_folders: bool = False,
    progress: Progress = SILENCE,
) -> Checkpoint:
    """Train a network and write the best weights so far after every epoch that improves on them.

    On the CPU the same pictures, recipe and number of threads give the same weights, bit for bit. In
    processes that torchrun starts, all with the same arguments, each call does its part of one run: the
    first process writes the files and reports `progress`, and every process returns the result.

    Parameters
    ----------
    data
        a folder of pictures as `dataset.from_folder` takes it, or a packed set; None: the built-in sample
    recipe
        a name of the zoo or a TOML file; None: "fashion-mini" for the sample, "own-pictures" for a
        folder of fewer than 100,000 pictures, else "alexnet-2012"
    settings
        dotted keys such as "train.epochs=1" that replace the recipe's values
    output
        the checkpoint; the folder runs/<its stem>/ beside it gets the state to resume from, metrics
        and the list of unreadable pictures
    resume
        continue an earlier run with this output; on the CPU this gives the weights, bit for bit, of a
        run that was never stopped. Without such a run a new one starts; a finished one is left as it is,
        unless `settings` give it more `train.epochs` and its schedule is "plateau" or "steps"
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
    classes_are_folders
        every folder in `data` is a class, even one with the name of a split, such as train
    progress
        receives messages, every epoch's figures and the number of pictures seen

    Returns
    -------
    the best epoch's checkpoint, as it was written

    Raises
    ------
    RecipeError, UsageError, DataError, CheckpointError, DeviceError, OutputError, TrainingError

    """
    if recipe is not None:
        zoo.recipe(recipe).override(*settings)  # finds a mistake before the pictures are read
    data, output = None if data is None else Path(data), Path(output)
    initial = None if initial is None else Path(initial)
    progress = progress if is_first() else SILENCE
    folder = RunFolder(output)

    with join_world(choose_device(device)) as world:
        resuming = world.is_first and (resume or world.written_before_restart(folder.last))
        resuming = resuming and folder.last.exists()
        if world.is_first:
            refuse_existing(output, overwrite or resuming)
        start = None if initial is None else world.broadcast(lambda: Checkpoint.load(initial))
        dataset, statistics = open_dataset(data, progress, classes_are_folders)
        require_same_dataset(world, dataset)

        if world.broadcast(lambda: resuming):
            run, state = world.broadcast(lambda: resumed_run(folder.last, dataset, recipe, settings, output))
        else:
            run = world.broadcast(
                lambda: new_run(data, dataset, statistics, recipe, settings, start, world, progress)
            )
            state = None
            if world.is_first:
                folder.make_empty()
        precision = run.recipe.train.precision
        progress.say(device_line(device, world.device, precision))
        if run.finished and world.broadcast(folder.has_all_plots):
            if not world.broadcast(output.exists):
                raise CheckpointError(
                    f"{output} is gone, and {folder.last} holds only the last weights of its finished run; "
                    "give --overwrite to train again"
                )
            progress.say(f"{output}: this run is finished, there is nothing left to do")
            return world.broadcast(lambda: Checkpoint.load(output))

        num_classes = len(dataset.labels)
        dataset = kept(dataset, run.recipe.square.uncropped, world.memory)
        with device_errors(world.device, run.recipe.train.batch_size):
            trainer = Trainer(run.recipe, run.statistics, num_classes, world, parallel, compile)
        if state is not None:
            trainer.restore(state)
            if world.is_first:  # those of a run that was finished and gets more epochs
                folder.filters.unlink(missing_ok=True)
            progress.say(
                f"resuming after {run.epoch} of {counted(int(run.recipe.train.epochs), 'epoch')} and "
                f"{counted(run.batch, 'step')}"
            )
            if run.best and not world.broadcast(output.exists):
                run.best = 0
                progress.say(f"{output} is gone: the best of the epochs to come takes its place")
        elif start is not None and initial is not None:
            copy_weights(trainer, start, dataset.labels, initial, progress)

        with (
            deferred(patient=world.size > 1) as interrupt,
            tf32(precision == "tf32"),
            device_errors(world.device, run.recipe.train.batch_size),
        ):
            loop = Loop(run, trainer, dataset, output, folder, interrupt, progress)
            if not loop.fit():
                run = run.restarted(trainer.steps, trainer.check_loss())
                progress.say(run.restarts[-1])
                trainer = Trainer(run.recipe, run.statistics, num_classes, world, parallel, compile)
                loop = Loop(run, trainer, dataset, output, folder, interrupt, progress)
                loop.fit()
            best = world.broadcast(lambda: Checkpoint.load(output))
            loop.draw_plots(best)
            return best


class Loop:
    """A run in progress: its trainer, its readers, and where its files go.

    However it ends, `last.pt` holds a moment between two steps.
    """

    def __init__(
        self,
        run: Run,
        trainer: Trainer,
        dataset: Dataset,
        output: Path,
        folder: RunFolder,
        interrupt: Interrupt,
        progress: Progress,
    ) -> None:
        self.run, self.trainer, self.dataset = run, trainer, dataset
        self.output, self.folder = output, folder
        self.interrupt, self.progress = interrupt, progress
        self.world = trainer.world
        self.train_reader, self.val_reader = (trainer.reader(split) for split in (dataset.train, dataset.val))
        self.train_reader.failures, self.val_reader.failures = (dict(each) for each in run.failures)
        self.log = RunLog(folder, run.history, trainer.steps) if self.world.is_first else None
        self.saved_at = time.monotonic()

    def fit(self) -> bool:
        """Train to the end of the run; False where the loss stalled and training should be restarted."""
        run, trainer, progress = self.run, self.trainer, self.progress
        count, batch_size = len(self.dataset.train.targets), run.recipe.train.batch_size
        epochs = int(run.recipe.train.epochs)
        check_loss_every = 1 if trainer.device.type == "cpu" else CHECK_LOSS_EVERY
        self._begin_progress(epochs, min(run.batch * batch_size, count))
        steps_per_epoch = -(-count // batch_size)

        while not run.finished:
            # -- step
            draws = EpochDraws.draw(run.recipe, run.epoch, count, run.statistics)
            tally = Tally(self.world)
            tally.add_list(run.tally)
            begun, first = time.monotonic(), run.batch
            for batch in trainer.training_batches(self.train_reader, draws, run.batch):
                if not trainer.is_empty(batch):
                    at = run.epoch + run.batch * batch_size / count
                    logits, targets = trainer.step(batch, at)
                    tally.add(logits, targets)
                run.batch += 1
                loss = trainer.check_loss() if trainer.steps % check_loss_every == 0 else None
                step = f"step {run.batch} of {steps_per_epoch}, lr {trainer.lr:.2g}"
                progress.at(f"epoch {run.epoch + 1} of {epochs}, {step}")
                progress.advance(batch.global_size, loss)
                if self.log is not None and loss is not None and trainer.steps % LOG_EVERY == 0:
                    speed = (run.batch - first) * batch_size / (time.monotonic() - begun)
                    epoch = run.epoch + run.batch * batch_size / count
                    self.log.add_step(trainer.steps, epoch, loss, trainer.lr, speed)
                if not run.restarts and trainer.has_stalled():
                    return False
                if self._save_is_due():
                    run.tally = tally.to_list()
                    self._save()
            run.tally = tally.to_list()

            # -- evaluate
            if not self.world.broadcast(self.folder.last.exists):
                self._save()  # no checkpoint without a state to resume from, even after a kill
            figures, val = tally.figures(), trainer.evaluate(self.val_reader, self._on_validation_batch)

            # -- save
            trainer.check_loss()
            is_best = not run.best or val.top1 > run.history[run.best - 1]["val_top1"]
            run.epoch, run.batch, run.tally = run.epoch + 1, 0, []
            run.history.append({"epoch": run.epoch, "loss": figures.loss} | val.named("val_"))
            if is_best:
                run.best = run.epoch
                self._save_checkpoint()
            run.finished = trainer.update_schedule(val) or run.epoch == epochs
            unreadable = self._write_unreadable()

            # -- log
            progress.result(_epoch_line(run.epoch, epochs, figures, val, is_best))
            if unreadable:
                number = counted(unreadable, "unreadable picture")
                progress.say(f"{number} left out; listed in {self.folder.unreadable}")
            if self.log is not None:
                self.log.add_epoch(run.history[-1], trainer.lr)
            if run.finished and run.epoch < epochs:
                drops = run.recipe.train.drops
                progress.say(f"validation no longer improves after {drops} drops of lr: training ends")
            self._save()  # last: a run that dies before it repeats the epoch, and no epoch goes unreported
        return True

    def draw_plots(self, best: Checkpoint) -> None:
        """Draw a finished run's curves, the best weights' confusion matrix, and their first kernels."""
        self.trainer.set_weights(best.weights)
        confusion = Confusion(len(best.labels))
        self.trainer.evaluate(self.val_reader, confusion.add)
        counts = confusion.counts(self.world)
        if not self.world.is_first:
            return
        from alexnet_tk.training import plots  # matplotlib takes a second to load

        folder, towers = self.folder, best.recipe.network.towers
        for path, draw in (
            (folder.curves, lambda path: plots.draw_curves(self.run.history, path)),
            (folder.confusion, lambda path: plots.draw_confusion(counts, best.labels, path)),
            (folder.filters, lambda path: plots.draw_filters(best.first_kernels, towers, path)),
        ):
            try:
                note = draw(path)
            except AlexnetError:  # the disk is full
                raise
            except Exception as error:  # whatever matplotlib raises: the weights are worth more than a plot
                note = f"can't be drawn: {one_line(error)}"
            if note:
                self.progress.say(f"{path}: {note}")

    def _begin_progress(self, epochs: int, pictures: int) -> None:
        """Start the progress where the run stands: `pictures` of the current epoch are done."""
        per_epoch = len(self.dataset.train.targets) + len(self.dataset.val.targets)
        self.progress.begin("training", epochs * per_epoch)
        self.progress.advance(self.run.epoch * per_epoch + pictures)

    def _save_is_due(self) -> bool:
        """Whether it is time to save, or any process has received a signal."""
        due = bool(self.interrupt.number) or time.monotonic() - self.saved_at > SAVE_EVERY
        return self.world.max(due) > 0

    def _save(self) -> None:
        """Write `last.pt`; then stop, if any process has received a signal."""
        self.trainer.check_loss()
        self.run.save(self.folder.last, self.trainer)
        self.saved_at = time.monotonic()
        # All processes stop together: the others would wait for one that stopped alone.
        stop(self.world.max(self.interrupt.number))

    def _save_checkpoint(self) -> None:
        """Write the current weights and how they came to be to the output."""
        run, dataset = self.run, self.dataset
        training = {
            "epoch": run.epoch,
            "figures": run.history[-1],
            "history": list(run.history),
            "restarts": list(run.restarts),
        }
        weights = self.trainer.weights()
        if self.world.is_first:
            checkpoint = Checkpoint(
                run.recipe, dataset.labels, run.statistics, weights, dataset.label_ids, training
            )
            checkpoint.save(self.output)

    def _write_unreadable(self) -> int:
        """List unreadable pictures; how many those are, if there are more than before."""
        failures = [self.trainer.failures(reader) for reader in (self.train_reader, self.val_reader)]
        if not self.world.is_first or failures == self.run.failures:
            return 0
        self.run.failures = failures
        return self.folder.write_unreadable([self.dataset.train, self.dataset.val], failures)

    def _on_validation_batch(self, batch: PictureBatch, logits: Tensor) -> None:
        self.progress.at(f"epoch {self.run.epoch + 1}, validation")
        self.progress.advance(batch.global_size)
        if self.world.max(self.interrupt.number):
            self._save()


def _epoch_line(epoch: int, epochs: int, train: Figures, val: Figures, is_best: bool) -> str:
    """An epoch's figures, to print."""
    width = len(str(epochs))
    return (
        f"epoch {epoch:{width}}/{epochs}  train loss {train.loss:.4f}  validation "
        f"top-1 {val.top1:6.1%}  top-5 {val.top5:6.1%}{'  best so far, saved' if is_best else ''}"
    )
