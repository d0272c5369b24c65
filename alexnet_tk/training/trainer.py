"""A network in training: its steps, its evaluation, what a resumed run needs."""

from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite, log
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from alexnet_tk.errors import DataError, TrainingError
from alexnet_tk.network.alexnet import AlexNet, dropout_masks, normalise
from alexnet_tk.recipe import Recipe
from alexnet_tk.training.augment import Epoch, centre
from alexnet_tk.training.dataset import Batch, Reader
from alexnet_tk.training.metrics import Figures, Tally
from alexnet_tk.training.optim import PaperSGD, Plateau, learning_rate
from alexnet_tk.training.parallel import Mode, World, spread
from alexnet_tk.training.statistics import Statistics

# Of ln(classes): where the loss of a network stays that has learned nothing but the classes' frequencies. One
# that learns falls below; one that has begun far off comes from above.
STALLED = (0.995, 1.02)

MEMORY = 0.99  # of the running loss: what a step leaves of the average before it


class Trainer:
    """A network, its optimiser and the devices they are on; in every process of a world one of these.

    What a method returns is the same in every process unless it says otherwise, and all of them must
    call it.
    """

    def __init__(
        self,
        recipe: Recipe,
        statistics: Statistics,
        classes: int,
        world: World,
        mode: Mode | None = None,
        compile: bool = False,
    ) -> None:
        self.recipe, self.statistics, self.classes = recipe, statistics, classes
        self.world, self.device = world, world.device
        model = AlexNet(recipe.network, classes)
        model.initialise(recipe.train.seed)
        # Pixels as rows, maps as columns: faster convolutions, and what the LRN operator works on.
        model = model.to(self.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        half = _half_precision(recipe.train.precision, self.device)
        self.spread = spread(model, recipe, world, mode, half, compile)
        self.optimiser = PaperSGD(list(self.spread.parameters.values()), recipe.train, recipe.train.lr)
        self.plateau = Plateau(recipe.train)
        self.steps = 0
        preprocess = recipe.preprocess
        mean = statistics.mean if preprocess.mean == "dataset" else preprocess.mean
        self._mean = torch.tensor(mean, device=self.device)
        self._std = torch.tensor(preprocess.std, device=self.device)
        # On the device, so that a step waits for nothing: this process's share of the running loss, and the
        # first step that had none.
        self._loss = torch.zeros((), device=self.device)
        self._bad_step = torch.full((), -1, device=self.device)

    def step(self, batch: Batch, draws: Epoch, at: float) -> tuple[Tensor, Tensor]:
        """One step of gradient descent; `at` counts epochs.

        Returns logits (B, classes) and classes (B,) of the pictures that this process counts.

        Raises
        ------
        TrainingError
            the device has no memory left, or torch.compile failed

        """
        train = self.recipe.train
        # Dropout is a function of (seed, step) for the whole batch, however it is spread.
        seed = int(np.random.SeedSequence([train.seed, self.steps]).generate_state(1, np.uint64)[0] >> 1)
        self.optimiser.set_lr(learning_rate(train, int(train.epochs), at, self.plateau.drops))
        try:
            part = self._part(batch)
            color = self.recipe.preprocess.color
            x = draws.network_input(
                part.pictures, part.indices, self.statistics, self._mean, self._std, color
            )
            masks = dropout_masks(self.recipe.network, train.batch_size, seed, self.device)
            self.optimiser.zero_grad()
            loss, logits = self.spread.step(x, part.classes, part.weights, masks, part.slots)
            self.spread.scaler.step(self.optimiser)
            self.spread.scaler.update()
        except RuntimeError as error:  # the CPU's allocator has no error of its own
            if isinstance(error, torch.OutOfMemoryError) or "allocate memory" in str(error):
                raise TrainingError(
                    f"{self.device} has no memory left for train.batch_size={train.batch_size}; "
                    f"try --set train.batch_size={max(1, train.batch_size // 2)}"
                ) from error
            if type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
                why = " ".join(str(error).split("\n\n")[0].split())
                raise TrainingError(f"torch.compile failed: {why}; train without --compile") from error
            raise
        self._watch(loss)
        self.steps += 1
        return self._counted(part, logits)

    @torch.no_grad()
    def evaluate(self, reader: Reader, each: Callable[[Batch, Tensor], None]) -> Figures:
        """Loss and accuracy on the centre crops of a split; raises `DataError` if none can be read.

        `each` is called with every batch and the logits (B, classes) of those of its pictures that this
        process counts, all or none.
        """
        size, tally = self.recipe.network.image_size, Tally(self.world)
        order = np.arange(len(reader.split.classes))
        batch_size = self.recipe.train.batch_size
        for batch in reader.batches(order, batch_size, lambda picture, _: centre(picture, size)):
            if self.idle(batch):
                continue
            logits, classes = self._answer(batch)
            tally.add(logits, classes)
            each(batch, logits)
        figures = tally.figures()
        if not figures.pictures:
            index, reason = next(iter(self.failures(reader).items()))
            raise DataError(
                f"no validation picture can be read; the first: {reader.split.name(index)}: {reason}"
            )
        if not isfinite(figures.loss):
            raise self._diverged("of validation")
        return figures

    def idle(self, batch: Batch) -> bool:
        """Whether no process can read anything of a batch, which is then to be skipped."""
        return self.world.most(len(batch.indices)) == 0

    def failures(self, reader: Reader) -> dict[int, str]:
        """The pictures that any process could not read, and why."""
        return dict(item for each in self.world.each(reader.failures) for item in each.items())

    def check(self) -> float:
        """The running loss; this waits for the device. Raises `TrainingError` once it has been no number."""
        if (step := self.world.most(int(self._bad_step))) >= 0:
            raise self._diverged(f"since step {step}")
        # The average began at 0.
        return float(self.world.total(self._loss)) / (1 - MEMORY ** max(1, self.steps))

    def _diverged(self, where: str) -> TrainingError:
        return TrainingError(
            f"the loss is no number {where} (lr {self.lr:g}); the checkpoints are from before; "
            f"try --set train.lr={self.recipe.train.lr / 10:g}"
        )

    def stalled(self) -> bool:
        """Whether the loss is still that of guessing, `train.stall` steps after the start."""
        if self.steps != self.recipe.train.stall:
            return False
        low, high = (each * log(self.classes) for each in STALLED)
        return low < self.check() < high

    def finished(self, val: Figures) -> bool:
        """Take in an epoch's validation figures; True when the schedule says that nothing more will come."""
        return self.recipe.train.schedule == "plateau" and self.plateau.seen(val.top1)

    @property
    def lr(self) -> float:
        """The learning rate of the last step."""
        lr: float = self.optimiser.param_groups[0]["lr"]
        return lr

    def weights(self) -> dict[str, Tensor]:
        """A copy of the canonical weights, on the CPU and in the plain layout; nothing but on the first."""
        own = {name: _on_cpu(each) for name, each in self.spread.parameters.items()}
        return self.spread.canonical(own)

    @torch.no_grad()
    def set_weights(self, weights: dict[str, Tensor]) -> None:
        """Take canonical weights over, all or some of them."""
        for name, rows in self.spread.own_rows(weights).items():
            self.spread.parameters[name].copy_(rows)

    def state(self) -> dict[str, Any]:
        """All that a resumed run needs to take the same steps, as tensors and plain values.

        Tensors are canonical, so that any number of processes in any mode can go on; only the first process
        gets them.
        """
        momentum = {
            name: _on_cpu(self.optimiser.state[parameter]["momentum_buffer"])
            for name, parameter in self.spread.parameters.items()
            if parameter in self.optimiser.state
        }
        return {
            "weights": self.weights(),
            "momentum": self.spread.canonical(momentum),
            "lr": self.lr,
            "scaler": self.spread.scaler.state_dict(),
            "plateau": [self.plateau.drops, self.plateau.best, self.plateau.waited],
            "steps": self.steps,
            "loss": _on_cpu(self.world.total(self._loss)),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` returned."""
        self.set_weights(state["weights"])
        for name, rows in self.spread.own_rows(state["momentum"]).items():
            parameter = self.spread.parameters[name]
            self.optimiser.state[parameter]["momentum_buffer"] = torch.empty_like(parameter).copy_(rows)
        self.optimiser.param_groups[0]["lr"] = state["lr"]
        if state["scaler"] and self.spread.scaler.is_enabled():
            self.spread.scaler.load_state_dict(state["scaler"])
        self.plateau.drops, self.plateau.best, self.plateau.waited = state["plateau"]
        self.steps = state["steps"]
        self._loss = state["loss"].to(self.device) / self.world.size

    def _watch(self, loss: Tensor) -> None:
        self._loss = MEMORY * self._loss + (1 - MEMORY) * loss
        bad = ~torch.isfinite(loss) & (self._bad_step < 0)
        self._bad_step = torch.where(bad, self.steps, self._bad_step)

    def _answer(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Logits and classes of the pictures that this process counts, without dropout."""
        part = self._part(batch)
        color = self.recipe.preprocess.color
        logits = self.spread.logits(normalise(part.pictures, self._mean, self._std, color))
        return self._counted(part, logits)

    def _counted(self, part: "_Part", logits: Tensor) -> tuple[Tensor, Tensor]:
        if not self.spread.counts:
            return logits.new_zeros(0, self.classes), part.classes[:0]
        return logits[part.there], part.classes[part.there]

    def _part(self, batch: Batch) -> "_Part":
        """What this process reads of a batch, on its device.

        Of several processes each has as many pictures as the others, some of them blank: what they send
        one another must have the same shape.
        """
        own, size = self.spread.slots, self.recipe.network.image_size
        count = len(batch.slots) if self.world.size == 1 else own.stop - own.start
        pictures, indices, classes, slots = batch.pictures, batch.indices, batch.classes, batch.slots
        weights = np.ones(count, np.float32)
        there: NDArray[np.int64] | slice = slice(None)
        if len(slots) < count:
            there = rows = slots - own.start
            weights = _placed(weights[: len(rows)], rows, count)
            pictures = _placed(pictures.reshape(-1, size, size, 3), rows, count)
            indices, classes = _placed(indices, rows, count), _placed(classes, rows, count)
            slots = np.arange(own.start, own.stop)
        return _Part(
            self._send(pictures),
            indices,
            self._send(classes),
            self._send(weights),
            self._send(slots),
            there,
        )

    def _send(self, array: NDArray[Any]) -> Tensor:
        """The array on the device; on CUDA the host goes on meanwhile."""
        tensor = torch.from_numpy(array)
        if self.device.type == "cuda":
            tensor = tensor.pin_memory()
        return tensor.to(self.device, non_blocking=True)


@dataclass(frozen=True)
class _Part:
    """Pictures of a batch as a step takes them."""

    pictures: Tensor  # uint8 (B, S, S, 3)
    indices: NDArray[np.int64]  # (B,) their numbers in the split
    classes: Tensor  # int64 (B,)
    weights: Tensor  # float32 (B,) 1, or 0 where the picture is blank
    slots: Tensor  # int64 (B,) their places in the batch
    there: NDArray[np.int64] | slice  # those that are not blank


def _placed(values: NDArray[Any], rows: NDArray[np.int64], count: int) -> NDArray[Any]:
    """So many values, of which these rows are given and the others 0."""
    placed = np.zeros((count, *values.shape[1:]), values.dtype)
    placed[rows] = values
    return placed


def _half_precision(precision: str, device: torch.device) -> torch.dtype | None:
    """What autocast computes in, or None; "auto" is half precision on CUDA only, bfloat16 where it has it."""
    if precision == "auto":
        if device.type != "cuda":
            return None
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    return {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]


def _on_cpu(tensor: Tensor) -> Tensor:
    """A copy of its own on the CPU, in the plain layout."""
    return tensor.detach().to("cpu", copy=True).contiguous()
