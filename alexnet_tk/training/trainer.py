"""A network in training: its steps, its validation, and the state from which a run resumes."""

from collections.abc import Callable, Iterator
from math import isfinite, log
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from alexnet_tk.choices import Parallelism
from alexnet_tk.errors import DataError, TrainingError
from alexnet_tk.network.alexnet import AlexNet, dropout_masks, line_of_pixels, normalise
from alexnet_tk.recipe import Recipe
from alexnet_tk.training.augment import EpochDraws
from alexnet_tk.training.batches import BatchReader, PictureBatch, on_device
from alexnet_tk.training.dataset import Split
from alexnet_tk.training.device import autocast_dtype, device_errors
from alexnet_tk.training.metrics import Figures, RunningLoss, Tally
from alexnet_tk.training.optim import PaperSGD, Plateau, learning_rate
from alexnet_tk.training.parallel import StepInputs, World, choose_strategy
from alexnet_tk.training.statistics import Statistics

# The loss of a network that has learned nothing but the classes' frequencies, as fractions of
# ln(num_classes). One that learns falls below; one that began far off comes down from above.
STALLED_LOSS = (0.995, 1.02)


class Trainer:
    """A network, its optimiser and its device; every process of a run has one.

    All processes call the same methods in the same order, and get the same results unless a method says
    otherwise.
    """

    def __init__(
        self,
        recipe: Recipe,
        statistics: Statistics,
        num_classes: int,
        world: World,
        mode: Parallelism | None = None,
        compile: bool = False,
    ) -> None:
        self.recipe, self.statistics, self.num_classes = recipe, statistics, num_classes
        self.world, self.device = world, world.device
        model = AlexNet(recipe.network, num_classes)
        model.initialise(recipe.train.seed)
        # Pixels as rows, maps as columns: faster convolutions, and the layout that the LRN operator works on.
        model = model.to(self.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        dtype = autocast_dtype(recipe.train.precision, self.device)
        self.strategy = choose_strategy(model, recipe, world, mode, dtype, compile)
        self.optimiser = PaperSGD(self.strategy.parameters, recipe.train)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=dtype == torch.float16)
        self.plateau = Plateau(recipe.train)
        self.steps = 0
        self.lr, self.at = recipe.train.lr, 0.0  # the learning rate of the last step, and when it was
        preprocess = recipe.resolve(statistics.mean)
        self._channel_order = preprocess.channel_order
        size = recipe.network.image_size
        self._mean, self._std = (
            line_of_pixels(each, size).to(self.device)
            for each in (statistics.subtracted(recipe), torch.tensor(preprocess.std))
        )
        self._loss = RunningLoss(world, self.strategy.loss_copies)

    def reader(self, split: Split) -> BatchReader:
        """What reads this process's part of every batch of a split."""
        slots = self.strategy.slots if self.world.size > 1 else None
        pinned = self.device.type == "cuda"
        weights = None
        if self.recipe.train.class_weights == "balanced":
            weights = balanced_weights(split.targets, self.num_classes)
        return BatchReader(split, self.recipe.square, slots, self.world.cores, pinned, weights)

    def training_batches(
        self, reader: BatchReader, draws: EpochDraws, first: int = 0
    ) -> Iterator[PictureBatch]:
        """An epoch's batches on this process's device, from number `first`."""
        batch_size = self.recipe.train.batch_size
        order = draws.order[first * batch_size :]
        return self._on_device(reader.batches(order, batch_size, draws.crop, draws.changes))

    def step(self, batch: PictureBatch, at: float) -> tuple[Tensor, Tensor]:
        """One step of gradient descent.

        Parameters
        ----------
        batch
            the pictures that this process reads, with what is to be changed in them, on its device
        at
            when the step is: the completed epochs, with fractions

        Returns
        -------
        logits (B, num_classes) and targets (B,) of the pictures whose metrics this process reports

        Raises
        ------
        TrainingError
            the device has no memory left, or torch.compile failed

        """
        train = self.recipe.train
        self.lr, self.at = learning_rate(train, int(train.epochs), at, self.plateau.drops), at
        self.optimiser.set_lr(self.lr, at)
        with device_errors(self.device, self.recipe.train.batch_size):
            self.optimiser.zero_grad()
            logits, loss = self.strategy.forward(self._inputs(batch))
            self.strategy.backward(self.scaler.scale(loss))
            self.scaler.step(self.optimiser)
            self.scaler.update()
        self._loss.update(loss.detach(), self.steps)
        self.steps += 1
        return self._reported(batch, logits.detach())

    @torch.no_grad()
    def evaluate(self, reader: BatchReader, on_batch: Callable[[PictureBatch, Tensor], None]) -> Figures:
        """Loss and accuracy on the centre crops of a split.

        `on_batch` receives every batch and the logits (B, num_classes) of its pictures, or (0, num_classes)
        in a process that does not report their metrics.

        Raises
        ------
        DataError
            not one picture can be read
        TrainingError
            the loss is NaN or infinite, or the device has no memory left

        """
        tally = Tally(self.world)
        order = np.arange(len(reader.split.targets))
        batch_size = self.recipe.train.batch_size
        square = self.recipe.square
        batches = reader.batches(order, batch_size, lambda picture, index: square.centre(picture))
        for batch in self._on_device(batches):
            if self.is_empty(batch):
                continue
            with device_errors(self.device, self.recipe.train.batch_size):
                x = normalise(batch.pictures, self._mean, self._std, self._channel_order)
                logits, targets = self._reported(batch, self.strategy.logits(x))
                tally.add(logits, targets)
            on_batch(batch, logits)
        figures = tally.figures()
        if not figures.pictures:
            index, reason = next(iter(self.failures(reader).items()))
            name = reader.split.name(index)
            raise DataError(f"no validation picture is readable; the first is {name}: {reason}")
        if not isfinite(figures.loss):
            raise self._diverged("in validation")
        return figures

    def is_empty(self, batch: PictureBatch) -> bool:
        """Whether no process could read any picture of a batch, which is then to be skipped."""
        return self.world.max(len(batch.indices)) == 0

    def failures(self, reader: BatchReader) -> dict[int, str]:
        """The reasons why pictures could not be read, in any process, by the pictures' indices."""
        per_process = self.world.all_gather(reader.failures)
        return {index: reason for failures in per_process for index, reason in failures.items()}

    def check_loss(self) -> float:
        """The running loss; waits for the device. Raises `TrainingError` once a loss was NaN or infinite."""
        if (step := self._loss.bad_step()) is not None:
            raise self._diverged(f"at step {step}")
        return self._loss.value(self.steps)

    def has_stalled(self) -> bool:
        """Whether the loss is still that of guessing; asked `train.stall` steps after the start."""
        if self.steps != self.recipe.train.stall:
            return False
        low, high = (fraction * log(self.num_classes) for fraction in STALLED_LOSS)
        return low < self.check_loss() < high

    def update_schedule(self, val: Figures) -> bool:
        """Take in an epoch's validation figures; True when the schedule "plateau" ends the training."""
        return self.recipe.train.schedule == "plateau" and self.plateau.update(val.top1)

    def weights(self) -> dict[str, Tensor]:
        """A copy of the canonical weights, on the CPU; empty in all processes but the first."""
        own = {name: _cpu_copy(parameter) for name, parameter in self.strategy.parameters.items()}
        return self.strategy.canonical(own)

    @torch.no_grad()
    def set_weights(self, weights: dict[str, Tensor]) -> None:
        """Replace all or some of the weights by canonical ones."""
        for name, rows in self.strategy.own_rows(weights).items():
            self.strategy.parameters[name].copy_(rows)

    def state(self) -> dict[str, Any]:
        """All that a resumed run needs to take the same steps, as tensors and plain values.

        Tensors are canonical, so that any number of processes in any mode can continue; only the first
        process gets them.
        """
        momentum = {
            name: _cpu_copy(self.optimiser.state[parameter]["momentum_buffer"])
            for name, parameter in self.strategy.parameters.items()
        }
        return {
            "weights": self.weights(),
            "momentum": self.strategy.canonical(momentum),
            "lr": self.lr,
            "at": self.at,
            "scaler": self.scaler.state_dict(),
            "plateau": [self.plateau.drops, self.plateau.best, self.plateau.waited],
            "steps": self.steps,
            "loss": self._loss.state(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from what `state` returned."""
        self.set_weights(state["weights"])
        for name, rows in self.strategy.own_rows(state["momentum"]).items():
            parameter = self.strategy.parameters[name]
            self.optimiser.state[parameter]["momentum_buffer"].copy_(rows)
        self.lr, self.at = state["lr"], state.get("at", 0.0)  # version 0.1.0 had one rate for all
        self.optimiser.restore_lr(self.lr, self.at)
        if state["scaler"] and self.scaler.is_enabled():
            self.scaler.load_state_dict(state["scaler"])
        self.plateau.drops, self.plateau.best, self.plateau.waited = state["plateau"]
        self.steps = state["steps"]
        self._loss.restore(state["loss"])

    def _on_device(self, batches: Iterator[PictureBatch]) -> Iterator[PictureBatch]:
        with device_errors(self.device, self.recipe.train.batch_size):
            yield from on_device(batches, self.device)

    def _inputs(self, batch: PictureBatch) -> StepInputs:
        """What the network sees of a batch in training: augmented pictures, and the step's dropout."""
        train = self.recipe.train
        assert batch.changes is not None
        x = batch.changes.network_input(batch.pictures, self._mean, self._std, self._channel_order)
        # Dropout is a function of (seed, step) for the whole batch, however it is spread.
        seed = int(np.random.SeedSequence([train.seed, self.steps]).generate_state(1, np.uint64)[0] >> 1)
        masks = dropout_masks(self.recipe.network, train.batch_size, seed, self.device)
        return StepInputs(x, batch.targets, batch.sample_weights, batch.slots, masks)

    def _reported(self, batch: PictureBatch, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Logits and targets without those of blank pictures; none where another process reports them."""
        if not self.strategy.reports_metrics:
            return logits.new_zeros(0, self.num_classes), batch.targets[:0]
        return batch.without_blank(logits), batch.without_blank(batch.targets)

    def _diverged(self, where: str) -> TrainingError:
        return TrainingError(
            f"loss became NaN or infinite {where} (lr {self.lr:g}); saved checkpoints predate it; "
            f"try --set train.lr={self.recipe.train.lr / 10:g}"
        )


def balanced_weights(targets: NDArray[np.int64], num_classes: int) -> NDArray[np.float32]:
    """N / (num_classes · N_c) for each class, so that the mean over N pictures is 1."""
    counts = np.bincount(targets, minlength=num_classes)
    return (len(targets) / (num_classes * np.maximum(counts, 1))).astype(np.float32)


def _cpu_copy(tensor: Tensor) -> Tensor:
    """A copy on the CPU, contiguous."""
    return tensor.detach().to("cpu", copy=True).contiguous()
