"""Probabilities that mean something: one temperature for a checkpoint, fitted on pictures it did not learn.

A network that was trained to its end is usually too sure of its answers. Its logits divided by one number,
the temperature, keep their order, and with the right number an answer of 70 % is right seven times out of ten
(Guo et al. 2017, "On Calibration of Modern Neural Networks").
"""

import os
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from alexnet_tk.errors import CheckpointError, DataError, UsageError
from alexnet_tk.evaluation.dataset import open_labelled
from alexnet_tk.evaluation.ensemble import Ensemble
from alexnet_tk.files import refuse_existing, sha256
from alexnet_tk.model_files import headline, open_models
from alexnet_tk.progress import SILENCE, Progress
from alexnet_tk.text import counted

BINS = 15  # of the expected calibration error
COLDEST, HOTTEST = 0.01, 100.0
HALVINGS = 60  # of the interval that the temperature lies in
ROWS_PER_PIECE = 4096  # of the probabilities, so that temporaries stay small


@dataclass(frozen=True)
class Reliability:
    """How sure answers are, and how often they are right, in bins of the first answer's probability.

    The bins hold the same number of answers, give or take one, the least sure ones first. (Guo et al. take
    bins of equal width, most of which are nearly empty where a network is good.)
    """

    counts: NDArray[np.int64]  # (bins,) answers
    confidence: NDArray[np.float64]  # (bins,) their mean probability; 0 where there are none
    accuracy: NDArray[np.float64]  # (bins,) the part of them that is right; 0 where there are none
    likelihood: float  # the mean of -ln of the right classes' probabilities

    @property
    def expected_error(self) -> float:
        """The expected calibration error: the mean of |confidence - accuracy|, weighted by the answers."""
        return float(self.counts @ np.abs(self.confidence - self.accuracy) / self.counts.sum())


@dataclass(frozen=True)
class Calibration:
    """What was fitted, on how many pictures, and what it changed."""

    temperature: float  # of the checkpoint, that which it had before included
    pictures: int
    before: Reliability
    after: Reliability

    def summary(self) -> list[str]:
        """The lines that a user sees."""
        return [
            f"temperature {self.temperature:.4f}, fitted on {counted(self.pictures, 'picture')}",
            f"expected calibration error {self.before.expected_error:.2%} before, "
            f"{self.after.expected_error:.2%} after",
            f"-ln of the right class's probability {self.before.likelihood:.4f} before, "
            f"{self.after.likelihood:.4f} after",
        ]


def calibrate(
    checkpoint: str | os.PathLike[str],
    data: str | os.PathLike[str],
    *,
    output: str | os.PathLike[str] | None = None,
    diagram: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    device: str = "auto",
    batch_size: int | None = None,
    workers: int | None = None,
    classes_are_folders: bool = False,
    progress: Progress = SILENCE,
) -> Calibration:
    """Fit a checkpoint's temperature and write it into the checkpoint, from which `export` takes it.

    The order of the answers stays. The pictures should be others than those it was trained on.

    Parameters
    ----------
    checkpoint
        a checkpoint of alexnet-tk
    data
        as for `evaluate`
    output
        where the checkpoint with the temperature goes; None: in the place of the one it was
    diagram
        a reliability diagram, as .png
    overwrite
        replace an `output` or a `diagram` that exists
    device, batch_size, workers
        as for `Classifier` and its `answers`
    classes_are_folders
        every folder in `data` is a class
    progress
        receives the device, and the number of pictures answered

    Raises
    ------
    CheckpointError, DeviceError
        a checkpoint that can't be used, or that another one has replaced meanwhile
    DataError
        no readable pictures, a class that the model does not know, pictures that fit no temperature
    OutputError
        an output exists or can't be written
    UsageError
        a diagram that is no .png

    """
    from alexnet_tk.training.checkpoint import Checkpoint  # torch takes a second to load

    path = Path(checkpoint)
    hashed = sha256(path) if path.is_file() else ""
    loaded = Checkpoint.load(path)
    target = path if output is None else Path(output)
    refuse_existing(target, overwrite or output is None, source=[path] if output is not None else [])
    if diagram is not None:
        import alexnet_tk.training.plots  # noqa: F401  if matplotlib is missing, fail before the work

        refuse_existing(Path(diagram), overwrite, source=[path, target])
        if Path(diagram).suffix.lower() != ".png":
            raise UsageError(f"--diagram {diagram} does not end in .png; give it that ending")
    probabilities, targets = _answers(
        path, Path(data), device, batch_size, workers, classes_are_folders, progress
    )
    factor = fit_temperature(probabilities, targets)
    before = reliability(probabilities, targets)
    after = reliability(tempered(probabilities, factor), targets)
    found = Calibration(loaded.temperature * factor, len(targets), before, after)
    if diagram is not None:
        from alexnet_tk.training.plots import draw_reliability

        titles = [
            f"{when}: expected calibration error {each.expected_error:.1%}"
            for when, each in (("before", before), ("after", after))
        ]
        bins = [(each.counts, each.confidence, each.accuracy) for each in (before, after)]
        draw_reliability(titles, bins, Path(diagram))
    if sha256(path) != hashed:
        raise CheckpointError(f"{path} was replaced while it answered; calibrate it again")
    replace(loaded, temperature=found.temperature).save(target)
    return found


def fit_temperature(probabilities: NDArray[np.float64], targets: NDArray[np.int64]) -> float:
    """The temperature under which the right classes are likeliest.

    Parameters
    ----------
    probabilities
        (N, classes); their logarithms are the logits, but for a number for each picture
    targets
        (N,) the right classes

    Raises
    ------
    DataError
        the likelihood has no maximum: all answers are right, or they are no better than guessing

    """

    def slope(temperature: float) -> float:
        """The derivative of the mean of -ln p by 1/T, which rises with 1/T: that mean is convex in it."""
        total = 0.0
        for first in range(0, len(targets), ROWS_PER_PIECE):
            part = slice(first, first + ROWS_PER_PIECE)
            logits = _logits(probabilities[part])
            rows = np.arange(len(logits))
            expected = (tempered(probabilities[part], temperature) * logits).sum(axis=1)
            total += float((expected - logits[rows, targets[part]]).sum())
        return total

    if slope(COLDEST) <= 0:  # 0 where float64 holds nothing but the right answers
        raise DataError(
            f"all of the {len(targets):,} answers are right, or nearly, so that no temperature fits; give "
            "more pictures, and such as the network was not trained on"
        )
    if slope(HOTTEST) > 0:
        raise DataError("the answers are no better than guesses, so that no temperature fits; train longer")
    low, high = np.log([COLDEST, HOTTEST]).tolist()
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        if slope(np.exp(middle)) > 0:
            low = middle
        else:
            high = middle
    return float(np.exp((low + high) / 2))


def tempered(probabilities: NDArray[np.float64], temperature: float) -> NDArray[np.float64]:
    """The softmax of the logits divided by a temperature; (N, classes) to the same."""
    logits = _logits(probabilities) / temperature
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)  # type: ignore[no-any-return]


def reliability(probabilities: NDArray[np.float64], targets: NDArray[np.int64]) -> Reliability:
    """How sure the first answers are, and how often they are right."""
    first = probabilities.argmax(axis=1)
    sure, right = probabilities.max(axis=1), first == targets
    bins = np.array_split(np.argsort(sure, kind="stable"), BINS)
    counts = np.array([len(each) for each in bins])
    confidence, accuracy = (
        np.array([values[each].sum() for each in bins]) / counts.clip(1) for values in (sure, right)
    )
    of_target = _logits(probabilities)[np.arange(len(targets)), targets]
    return Reliability(counts, confidence, accuracy, float(-of_target.mean()))


def _logits(probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    """Their logarithms; a probability that float32 rounded to 0 counts as its smallest number."""
    return np.log(np.maximum(probabilities, np.finfo(np.float32).tiny))


def _answers(
    path: Path,
    data: Path,
    device: str,
    batch_size: int | None,
    workers: int | None,
    classes_are_folders: bool,
    progress: Progress,
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The probabilities (N, classes) of the pictures that can be read, and their classes (N,)."""
    dataset = open_labelled(data, classes_are_folders=classes_are_folders)
    with open_models([path], device) as (model,):
        progress.say(headline(path, model))
        ensemble = Ensemble([path], [model])
        targets = ensemble.align(dataset)[dataset.targets]
        answers, _ = ensemble.answers(
            dataset, crops=1, batch_size=batch_size, workers=workers, thumbnails=False
        )
        progress.begin("answering", len(targets))
        rows, readable = [], []
        for index, answer in enumerate(answers):
            progress.advance(1)
            if answer.error:
                progress.say(f"{dataset.path(index)} is left out: {answer.error}")
                continue
            rows.append(answer.probabilities.astype(np.float32))
            readable.append(index)
    if not rows:
        raise DataError(f"no picture in {dataset.source} can be read; name another folder")
    return np.stack(rows).astype(np.float64), targets[readable]
