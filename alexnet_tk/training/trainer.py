"""One network on one device: a step of training, an evaluation, what a resumed run needs."""

from collections.abc import Callable
from math import isfinite, log
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from alexnet_tk.errors import DataError, TrainingError
from alexnet_tk.network.alexnet import AlexNet, normalise
from alexnet_tk.recipe import Recipe
from alexnet_tk.training.augment import Epoch, centre
from alexnet_tk.training.dataset import Batch, Reader
from alexnet_tk.training.metrics import Figures, Tally
from alexnet_tk.training.optim import PaperSGD, Plateau, learning_rate
from alexnet_tk.training.statistics import Statistics

# Of ln(classes): where the loss of a network stays that has learned nothing but the classes' frequencies. One
# that learns falls below; one that has begun far off comes from above.
STALLED = (0.995, 1.02)

MEMORY = 0.99  # of the running loss: what a step leaves of the average before it


class Trainer:
    """A network, its optimiser and the device they are on."""

    def __init__(
        self,
        recipe: Recipe,
        statistics: Statistics,
        classes: int,
        device: torch.device,
        compile: bool = False,
    ) -> None:
        self.recipe, self.statistics, self.classes, self.device = recipe, statistics, classes, device
        model = AlexNet(recipe.network, classes)
        model.initialise(recipe.train.seed)
        # Pixels as rows, maps as columns: faster convolutions, and what the LRN operator works on.
        self.model = model.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimiser = PaperSGD(list(self.model.parameters()), recipe.train, recipe.train.lr)
        self.plateau = Plateau(recipe.train)
        self.steps = 0
        preprocess = recipe.preprocess
        mean = statistics.mean if preprocess.mean == "dataset" else preprocess.mean
        self._mean = torch.tensor(mean, device=device)
        self._std = torch.tensor(preprocess.std, device=device)
        self._forward: Callable[[Tensor], Tensor] = torch.compile(self.model) if compile else self.model
        self._half = _half_precision(recipe.train.precision, device)
        self._scaler = torch.amp.GradScaler(device.type, enabled=self._half == torch.float16)
        # On the device, so that a step waits for nothing: the running loss, and the first step that had none.
        self._loss = torch.zeros((), device=device)
        self._bad_step = torch.full((), -1, device=device)

    def step(self, batch: Batch, draws: Epoch, at: float) -> tuple[Tensor, Tensor]:
        """One step of gradient descent; `at` counts epochs. Returns logits (B, classes) and classes (B,).

        Raises
        ------
        TrainingError
            the device has no memory left, or torch.compile failed

        """
        train = self.recipe.train
        self.model.train()
        # Dropout is a function of (seed, step), so that a resumed run draws the same masks.
        masks = np.random.SeedSequence([train.seed, self.steps]).generate_state(1, np.uint64)[0]
        torch.manual_seed(int(masks >> np.uint64(1)))
        self.optimiser.set_lr(learning_rate(train, int(train.epochs), at, self.plateau.drops))
        try:
            pictures, classes = self._to_device(batch)
            color = self.recipe.preprocess.color
            x = draws.network_input(pictures, batch.indices, self.statistics, self._mean, self._std, color)
            logits = self._logits(x)
            loss = F.cross_entropy(logits, classes)
            self.optimiser.zero_grad()
            self._scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
            self._scaler.step(self.optimiser)
            self._scaler.update()
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
        self._watch(loss.detach())
        self.steps += 1
        return logits.detach(), classes

    @torch.no_grad()
    def evaluate(self, reader: Reader, each: Callable[[Batch, Tensor], None]) -> Figures:
        """Loss and accuracy on the centre crops of a split; raises `DataError` if none can be read.

        `each` is called with every batch and its logits (B, classes).
        """
        self.model.eval()
        size, tally = self.recipe.network.image_size, Tally(self.device)
        order = np.arange(len(reader.split.classes))
        batch_size = self.recipe.train.batch_size
        for batch in reader.batches(order, batch_size, lambda picture, _: centre(picture, size)):
            if len(batch.indices):
                pictures, classes = self._to_device(batch)
                logits = self._logits(
                    normalise(pictures, self._mean, self._std, self.recipe.preprocess.color)
                )
                tally.add(logits, classes)
                each(batch, logits)
        if not tally.pictures:
            index, reason = next(iter(reader.failures.items()))
            raise DataError(
                f"no validation picture can be read; the first: {reader.split.name(index)}: {reason}"
            )
        figures = tally.figures()
        if not isfinite(figures.loss):
            raise self._diverged("of validation")
        return figures

    def check(self) -> float:
        """The running loss; this waits for the device. Raises `TrainingError` once it has been no number."""
        if (step := int(self._bad_step)) >= 0:
            raise self._diverged(f"since step {step}")
        return float(self._loss) / (1 - MEMORY ** max(1, self.steps))  # the average began at 0

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
        """A copy of the canonical weights, on the CPU and in the plain layout."""
        return {name: _on_cpu(each) for name, each in self.model.state_dict().items()}

    def set_weights(self, weights: dict[str, Tensor]) -> None:
        """Take canonical weights over, all or some of them."""
        self.model.load_state_dict(weights, strict=False)

    def state(self) -> dict[str, Any]:
        """All that a resumed run needs to take the same steps, as tensors and plain values."""
        momentum = {
            name: _on_cpu(self.optimiser.state[parameter]["momentum_buffer"])
            for name, parameter in self.model.named_parameters()
            if parameter in self.optimiser.state
        }
        return {
            "weights": self.weights(),
            "momentum": momentum,
            "lr": self.lr,
            "scaler": self._scaler.state_dict(),
            "plateau": [self.plateau.drops, self.plateau.best, self.plateau.waited],
            "steps": self.steps,
            "loss": _on_cpu(self._loss),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` returned."""
        self.set_weights(state["weights"])
        for name, parameter in self.model.named_parameters():
            if name in state["momentum"]:
                buffer = torch.empty_like(parameter).copy_(state["momentum"][name])
                self.optimiser.state[parameter]["momentum_buffer"] = buffer
        self.optimiser.param_groups[0]["lr"] = state["lr"]
        self._scaler.load_state_dict(state["scaler"])
        self.plateau.drops, self.plateau.best, self.plateau.waited = state["plateau"]
        self.steps = state["steps"]
        self._loss = state["loss"].to(self.device)

    def _logits(self, x: Tensor) -> Tensor:
        with torch.autocast(self.device.type, dtype=self._half, enabled=self._half is not None):
            return self._forward(x).float()

    def _watch(self, loss: Tensor) -> None:
        self._loss = MEMORY * self._loss + (1 - MEMORY) * loss
        bad = ~torch.isfinite(loss) & (self._bad_step < 0)
        self._bad_step = torch.where(bad, self.steps, self._bad_step)

    def _to_device(self, batch: Batch) -> tuple[Tensor, Tensor]:
        pictures, classes = torch.from_numpy(batch.pictures), torch.from_numpy(batch.classes)
        if self.device.type == "cuda":
            pictures, classes = pictures.pin_memory(), classes.pin_memory()
        return pictures.to(self.device, non_blocking=True), classes.to(self.device, non_blocking=True)


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
