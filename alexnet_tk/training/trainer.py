"""One network on one device: a step of training, an evaluation."""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from alexnet_tk.errors import DataError
from alexnet_tk.network.alexnet import AlexNet, normalise
from alexnet_tk.recipe import Recipe
from alexnet_tk.training.augment import Epoch, centre
from alexnet_tk.training.dataset import Batch, Reader
from alexnet_tk.training.metrics import Figures, Tally
from alexnet_tk.training.optim import PaperSGD, Plateau, learning_rate
from alexnet_tk.training.progress import Progress
from alexnet_tk.training.statistics import Statistics


class Trainer:
    """A network, its optimiser and the device they are on."""

    def __init__(self, recipe: Recipe, statistics: Statistics, classes: int, device: torch.device) -> None:
        self.recipe, self.statistics, self.device = recipe, statistics, device
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

    def step(self, batch: Batch, draws: Epoch, at: float) -> tuple[Tensor, Tensor]:
        """One step of gradient descent; `at` counts epochs. Returns logits (B, classes) and classes (B,)."""
        train = self.recipe.train
        self.model.train()
        # Dropout is a function of (seed, step), so that a resumed run draws the same masks.
        torch.manual_seed(
            int(np.random.SeedSequence([train.seed, self.steps]).generate_state(1, np.uint64)[0] >> 1)
        )
        self.optimiser.set_lr(learning_rate(train, int(train.epochs), at, self.plateau.drops))
        pictures, classes = self._to_device(batch)
        x = draws.change(pictures, batch.indices, self.statistics)
        logits = self.model(normalise(x, self._mean, self._std, self.recipe.preprocess.color))
        loss = F.cross_entropy(logits, classes)
        self.optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimiser.step()
        self.steps += 1
        return logits.detach(), classes

    @torch.no_grad()
    def evaluate(self, reader: Reader, progress: Progress) -> Figures:
        """Loss and accuracy on the centre crops of a split; raises `DataError` if none can be read."""
        self.model.eval()
        size, tally = self.recipe.network.image_size, Tally(self.device)
        order = np.arange(len(reader.split.classes))
        for batch in reader.batches(
            order, self.recipe.train.batch_size, lambda picture, _: centre(picture, size)
        ):
            pictures, classes = self._to_device(batch)
            x = normalise(pictures, self._mean, self._std, self.recipe.preprocess.color)
            tally.add(self.model(x), classes)
            progress.advance(len(batch.indices))
        if not tally.pictures:
            index, reason = next(iter(reader.failures.items()))
            raise DataError(
                f"no validation picture can be read; the first: {reader.split.name(index)}: {reason}"
            )
        return tally.figures()

    def finished(self, val: Figures) -> bool:
        """Take in an epoch's validation figures; True when the schedule says that nothing more will come."""
        return self.recipe.train.schedule == "plateau" and self.plateau.seen(val.top1)

    def weights(self) -> dict[str, Tensor]:
        """A copy of the canonical weights, on the CPU and in the plain layout."""
        return {
            name: each.detach().to("cpu", copy=True).contiguous()
            for name, each in self.model.state_dict().items()
        }

    def _to_device(self, batch: Batch) -> tuple[Tensor, Tensor]:
        pictures, classes = torch.from_numpy(batch.pictures), torch.from_numpy(batch.classes)
        if self.device.type == "cuda":
            pictures, classes = pictures.pin_memory(), classes.pin_memory()
        return pictures.to(self.device, non_blocking=True), classes.to(self.device, non_blocking=True)
