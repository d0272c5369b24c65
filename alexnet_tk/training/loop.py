"""The training loop: pictures and a recipe in, a checkpoint of the best weights out."""

import re
from dataclasses import asdict, replace
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from alexnet_tk import zoo
from alexnet_tk.errors import DataError, DeviceError, UsageError
from alexnet_tk.files import refuse_existing, replacing
from alexnet_tk.network.alexnet import AlexNet, normalise
from alexnet_tk.recipe import Recipe
from alexnet_tk.training.augment import Epoch, centre
from alexnet_tk.training.checkpoint import Checkpoint
from alexnet_tk.training.dataset import Batch, Data, Reader, Statistics, built_in_sample, from_folder
from alexnet_tk.training.metrics import Figures, Tally
from alexnet_tk.training.optim import PaperSGD, Plateau, learning_rate


class Progress(Protocol):
    """What a caller can be told while training runs."""

    def say(self, message: str) -> None:
        """A fact about the run that the user should know."""
        return

    def begin(self, what: str, pictures: int) -> None:
        """Work begins that will look at so many pictures."""
        return

    def advance(self, pictures: int) -> None:
        """So many more were looked at."""
        return

    def epoch(self, epoch: int, epochs: int, train: Figures, val: Figures, best: bool) -> None:
        """An epoch has ended; `best` says that its weights were saved."""
        return


class Silence(Progress):
    """Tells nobody."""


def train(
    data: Path | None = None,
    *,
    recipe: str | None = None,
    settings: tuple[str, ...] = (),
    output: Path = Path("model.pt"),
    overwrite: bool = False,
    device: str = "auto",
    progress: Progress | None = None,
) -> Checkpoint:
    """Train a network and write the best weights that were seen, after every epoch that is better.

    On the CPU the same pictures, recipe and number of threads give the same weights, bit for bit.
    torch's global random state is set in every step: dropout is a function of (seed, step).

    Parameters
    ----------
    data
        a folder of pictures as `dataset.from_folder` takes it; None: the built-in sample
    recipe
        a name of the zoo or a TOML file; None: "fashion-mini" for the sample, "own-pictures" for a
        folder of fewer than 100,000 pictures, else "alexnet-2012"
    settings
        dotted keys such as "train.epochs=1" that replace what the recipe says
    output
        the checkpoint; a folder runs/<its stem>/ beside it takes the list of unreadable pictures
    overwrite
        replace an output that exists
    device
        "auto", "cpu", "cuda" or "cuda:N"
    progress
        is told what happens

    Returns
    -------
    the best epoch's checkpoint, as it was written

    Raises
    ------
    RecipeError, DataError, DeviceError, OutputError

    """
    progress = progress or Silence()
    refuse_existing(output, overwrite)
    target = choose_device(device, progress)
    pictures = built_in_sample() if data is None else from_folder(data)
    for note in pictures.notes:
        progress.say(note)
    plan = _plan(pictures, recipe or _default_recipe(data, pictures, progress), settings)
    unreadable = output.parent / "runs" / output.stem / "unreadable.txt"

    reader, val_reader = (Reader(split, plan.preprocess) for split in (pictures.train, pictures.val))
    progress.begin("measuring colours", min(len(pictures.train.classes), Statistics.MOST))
    statistics = Statistics.of(reader, plan.train.seed, progress.advance)
    trainer = Trainer(plan, statistics, len(pictures.labels), target)
    history: list[dict[str, float]] = []
    best: Checkpoint | None = None
    epochs = int(plan.train.epochs)
    count, val_count = len(pictures.train.classes), len(pictures.val.classes)
    progress.begin("training", epochs * (count + val_count))

    for epoch in range(epochs):
        # -- step
        draws = Epoch.draw(plan, epoch, count)
        tally = Tally(target)
        for batch in reader.batches(draws.order, plan.train.batch_size, draws.crop):
            tally.add(*trainer.step(batch, draws, at=epoch + tally.pictures / count))
            progress.advance(len(batch.indices))

        # -- evaluate
        figures, val = tally.figures(), trainer.evaluate(val_reader, progress)
        history.append(
            {"epoch": epoch + 1, "loss": figures.loss, **{f"val_{k}": v for k, v in asdict(val).items()}}
        )

        # -- save
        better = best is None or val.top1 > best.training["figures"]["val_top1"]
        if better or best is None:
            training = {"epoch": epoch + 1, "figures": history[-1], "history": list(history)}
            best = Checkpoint(
                plan, pictures.labels, statistics, trainer.weights(), pictures.label_ids, training
            )
            best.save(output)
        _list_failures(unreadable, reader, val_reader, progress=progress)

        # -- log
        progress.epoch(epoch + 1, epochs, figures, val, better)
        if trainer.finished(val):
            progress.say(
                f"validation has stopped improving and lr was divided {plan.train.drops} times: done"
            )
            break

    assert best is not None
    return best


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


def choose_device(name: str, progress: Progress) -> torch.device:
    """The device of that name; "auto" takes CUDA where torch can use it, and says what it took and why.

    Raises
    ------
    DeviceError
        CUDA was asked for and torch can't use it, or there is no such device

    """
    if name == "cpu":
        return torch.device("cpu")
    available = torch.cuda.is_available()
    if name == "auto":
        if available:
            progress.say(f"device: cuda, {torch.cuda.get_device_name()}")
            return torch.device("cuda")
        progress.say(f"device: cpu, {torch.get_num_threads()} threads ({_why_no_cuda()})")
        return torch.device("cpu")
    if re.fullmatch(r"cuda(:\d+)?", name) is None:
        raise UsageError(f"--device is {name!r}; it must be auto, cpu, cuda or cuda:N")
    if not available:
        raise DeviceError(f"--device {name}: {_why_no_cuda()}; --device cpu works everywhere")
    device = torch.device(name)
    if (device.index or 0) >= torch.cuda.device_count():
        raise DeviceError(
            f"--device {name}: this machine has {torch.cuda.device_count()} CUDA devices, from cuda:0"
        )
    return device


def _why_no_cuda() -> str:
    if torch.version.cuda is None:
        return f"torch {torch.__version__} was built without CUDA"
    return "torch finds no working CUDA device; `nvidia-smi` shows whether the driver does"


def _default_recipe(data: Path | None, pictures: Data, progress: Progress) -> str:
    """The recipe's name where none was asked for."""
    count = len(pictures.train.classes)
    if data is None:
        name = "fashion-mini"
        progress.say(f"data: the built-in part of Fashion-MNIST, {count:,} pictures; recipe: {name}")
    else:
        name = "own-pictures" if count < 100_000 else "alexnet-2012"
        progress.say(f"recipe: {name}, for {count:,} training pictures in {len(pictures.labels)} classes")
    return name


def _plan(pictures: Data, recipe: str, settings: tuple[str, ...]) -> Recipe:
    """The recipe with the settings in place and its epochs as a number."""
    plan = zoo.recipe(recipe).override(*settings)
    epochs = plan.train.epochs_for(len(pictures.train.classes))
    return replace(plan, train=replace(plan.train, epochs=epochs))


def _list_failures(path: Path, *readers: Reader, progress: Progress) -> None:
    """Write the pictures that could not be read so far to a file and say how many there are."""
    lines = [f"{r.split.name(i)}\t{reason}\n" for r in readers for i, reason in sorted(r.failures.items())]
    listed = path.read_text(encoding="utf-8", errors="surrogateescape").count("\n") if path.exists() else 0
    if len(lines) > listed:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as part:
            part.write_text("".join(lines), encoding="utf-8", errors="surrogateescape")
        progress.say(f"{len(lines)} pictures can't be read and are left out; they are listed in {path}")
