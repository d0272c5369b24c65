"""The training loop: pictures and a recipe in, a checkpoint of the best weights out."""

import time
from dataclasses import asdict, replace
from pathlib import Path

import torch

from alexnet_tk import zoo
from alexnet_tk.files import refuse_existing, replacing
from alexnet_tk.recipe import Recipe
from alexnet_tk.training.augment import Epoch
from alexnet_tk.training.checkpoint import Checkpoint
from alexnet_tk.training.dataset import Data, Reader, built_in_sample, from_folder
from alexnet_tk.training.device import choose_device
from alexnet_tk.training.metrics import Tally
from alexnet_tk.training.packed import is_packed, open_packed
from alexnet_tk.training.progress import Progress, Silence
from alexnet_tk.training.statistics import Statistics
from alexnet_tk.training.trainer import Trainer


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
        a folder of pictures as `dataset.from_folder` takes it, or a packed set; None: the built-in sample
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
    if recipe is not None:
        zoo.recipe(recipe).override(*settings)  # a mistake here should cost no look at the pictures
    refuse_existing(output, overwrite)
    target = choose_device(device, progress)
    statistics = None
    if data is None:
        pictures = built_in_sample()
    elif is_packed(data):
        pictures, statistics = open_packed(data)
    else:
        pictures = from_folder(data)
    for note in pictures.notes:
        progress.say(note)
    count, val_count = len(pictures.train.classes), len(pictures.val.classes)
    name = recipe or _default_recipe(data, count)
    plan = _with_epochs(zoo.recipe(name).override(*settings), count)
    progress.say(
        f"data: {data or 'the built-in part of Fashion-MNIST'}, {count:,} training and {val_count:,} "
        f"validation pictures in {len(pictures.labels)} classes; "
        f"recipe: {name}, at most {plan.train.epochs} epochs"
    )
    statistics = statistics or _measure(data, pictures, plan, progress)
    return _fit(plan, pictures, statistics, output, target, progress)


def _fit(
    recipe: Recipe,
    data: Data,
    statistics: Statistics,
    output: Path,
    device: torch.device,
    progress: Progress,
) -> Checkpoint:
    """The loop itself; the recipe's epochs are a number by now."""
    count, epochs = len(data.train.classes), int(recipe.train.epochs)
    reader, val_reader = Reader(data.train, recipe.preprocess), Reader(data.val, recipe.preprocess)
    trainer = Trainer(recipe, statistics, len(data.labels), device)
    history: list[dict[str, float]] = []
    best: Checkpoint | None = None
    progress.begin("training", epochs * (count + len(data.val.classes)))

    for epoch in range(epochs):
        # -- step
        draws = Epoch.draw(recipe, epoch, count)
        tally = Tally(device)
        for batch in reader.batches(draws.order, recipe.train.batch_size, draws.crop):
            tally.add(*trainer.step(batch, draws, at=epoch + tally.pictures / count))
            progress.advance(len(batch.indices))

        # -- evaluate
        figures, val = tally.figures(), trainer.evaluate(val_reader, progress)
        history.append(
            {"epoch": epoch + 1, "loss": figures.loss, **{f"val_{k}": v for k, v in asdict(val).items()}}
        )

        # -- save
        better = best is None or val.top1 > best.training["figures"]["val_top1"]
        if best is None or better:
            training = {"epoch": epoch + 1, "figures": history[-1], "history": list(history)}
            weights = trainer.weights()
            best = Checkpoint(recipe, data.labels, statistics, weights, data.label_ids, training)
            best.save(output)

        # -- log
        progress.epoch(epoch + 1, epochs, figures, val, better)
        _list_failures(_run_folder(output) / "unreadable.txt", reader, val_reader, progress=progress)
        if trainer.finished(val):
            progress.say(
                f"validation no longer improves, and lr was divided {recipe.train.drops} times: done"
            )
            break

    assert best is not None  # a recipe has at least one epoch
    return best


def _measure(folder: Path | None, data: Data, recipe: Recipe, progress: Progress) -> Statistics:
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


def _run_folder(output: Path) -> Path:
    """Where a run keeps what is not the checkpoint itself."""
    return output.parent / "runs" / output.stem


def _default_recipe(data: Path | None, pictures: int) -> str:
    """The recipe's name where none was asked for."""
    if data is None:
        return "fashion-mini"
    return "own-pictures" if pictures < 100_000 else "alexnet-2012"


def _with_epochs(recipe: Recipe, pictures: int) -> Recipe:
    """The recipe with its epochs as a number."""
    return replace(recipe, train=replace(recipe.train, epochs=recipe.train.epochs_for(pictures)))


def _list_failures(path: Path, *readers: Reader, progress: Progress) -> None:
    """Write the pictures that could not be read so far to a file and say how many there are."""
    lines = [f"{r.split.name(i)}\t{reason}\n" for r in readers for i, reason in sorted(r.failures.items())]
    listed = path.read_text(encoding="utf-8", errors="surrogateescape").count("\n") if path.exists() else 0
    if len(lines) > listed:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as part:
            part.write_text("".join(lines), encoding="utf-8", errors="surrogateescape")
        progress.say(f"{len(lines)} pictures can't be read and are left out; they are listed in {path}")
