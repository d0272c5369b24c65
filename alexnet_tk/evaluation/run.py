"""Models and pictures whose class is known in, figures out."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from alexnet_tk.errors import DataError, counted
from alexnet_tk.evaluation.figures import Evaluation
from alexnet_tk.evaluation.output import Outputs, text
from alexnet_tk.evaluation.pictures import Labelled, align, columns, labelled
from alexnet_tk.inference.classify import Answer, Classifier, Crops
from alexnet_tk.inference.machine import usable_cores
from alexnet_tk.inference.report import report as page
from alexnet_tk.inference.results import Record
from alexnet_tk.inference.speed import Speed
from alexnet_tk.opening import opened

if TYPE_CHECKING:
    from alexnet_tk.training.progress import Progress

SHOWN = 5  # labels of a picture, on the page and among the mistakes


def evaluate(
    models: Sequence[Path],
    data: Path,
    *,
    crops: Crops = 1,
    device: str = "auto",
    batch_size: int | None = None,
    workers: int | None = None,
    output: Path | None = None,
    confusion: Sequence[Path] = (),
    report: Path | None = None,
    overwrite: bool = False,
    progress: "Progress | None" = None,
) -> Evaluation:
    """Compare a model's answers with the classes that the pictures' folders tell.

    The answers are those that `predict` gives, by the same way: one worker for each core, a few batches in
    memory.

    Parameters
    ----------
    models
        checkpoints or ONNX files; the probabilities of several are averaged, as section 6 of the 2012 paper
        does, and their classes are aligned by label
    data
        `data/val/<class>/*`, `data/<class>/*`, or a packed set; the name of a class is a label of the
        model, or its id
    crops
        1: the centre, as `predict` answers; 10: the mean over ten views (section 4.1)
    device, batch_size, workers
        as `Classifier` and its `answers`
    output
        .csv: a line for each class; .json: everything
    confusion
        the confusion matrix, as .csv or .png
    report
        a page of the pictures and their answers
    overwrite
        replace outputs that exist
    progress
        is told what happens

    Raises
    ------
    UsageError
        an output with another ending, or two with one name
    CheckpointError, ModelError, DeviceError
        a model that can't be used, models of other labels
    DataError
        pictures that can't be used, a class that the model does not know
    OutputError
        an output exists or can't be written

    """
    say: Callable[[str], None] = progress.say if progress is not None else lambda message: None
    outputs = Outputs(output, tuple(confusion), report)
    outputs.refuse(models, overwrite)
    pictures = labelled(data)
    with opened(models, device) as networks, ExitStack() as stack:
        classifiers = [Classifier(network) for network in networks]
        for path, classifier in zip(models, classifiers, strict=True):
            on = classifier.device
            say(f"{path}: {path.stat().st_size / 1e6:.1f} MB, on {on.name} ({on.why})")
        labels, classes = classifiers[0].labels, align(pictures, classifiers[0], models[0])
        _tell(pictures, labels, classes, say)
        workers = workers or usable_cores()
        speeds = [_speed(each, len(pictures.classes) * crops, batch_size, workers) for each in classifiers]
        evaluation = Evaluation(list(models), data, crops, labels, pictures.ignored, speeds)
        orders = [columns(classifiers[0], each, path) for each, path in zip(classifiers, models, strict=True)]
        several = [
            classifier.answers(
                pictures.pictures,
                crops=crops,
                batch_size=speed.batch_size,
                workers=workers,
                thumbnails=report is not None and speed is speeds[0],
                speed=speed,
            )
            for classifier, speed in zip(classifiers, speeds, strict=True)
        ]
        figures: list[str] = []
        add: Callable[[Record], None] | None = None
        if report is not None:
            add = stack.enter_context(page(report, " and ".join(map(str, models)), pictures.ignored, figures))
        if progress is not None:
            progress.begin("evaluating", len(pictures.classes))
        begun = time.perf_counter()
        for index, answer in enumerate(_averaged(several, orders)):
            _count(evaluation, answer, pictures.name(index), int(classes[pictures.classes[index]]), add)
            if progress is not None:
                progress.advance(1)
        evaluation.seconds = time.perf_counter() - begun
        if not evaluation.pictures:
            name, error = evaluation.failed[0]
            raise DataError(f"no picture in {pictures.source} can be read; the first: {name}: {error}")
        figures += text(evaluation)
    outputs.write(evaluation)
    return evaluation


def _tell(
    pictures: Labelled, labels: Sequence[str], classes: NDArray[np.int64], say: Callable[[str], None]
) -> None:
    """Say what is evaluated, and which labels are not."""
    present = set(classes[np.unique(pictures.classes)].tolist())
    count = counted(len(pictures.classes), "picture")
    say(f"{pictures.source}: {count} of {len(present):,} of the model's {len(labels):,} classes")
    if missing := [label for place, label in enumerate(labels) if place not in present]:
        names = f"{', '.join(missing[:5])}{', …' if len(missing) > 5 else ''}"
        say(f"without pictures, and so without figures: {len(missing):,} of the model's labels ({names})")


def _speed(classifier: Classifier, views: int, batch_size: int | None, workers: int) -> Speed:
    size = batch_size or classifier.batch_size(views, workers)
    return Speed(workers, size, classifier.device.name != "cpu", classifier.precision)


def _averaged(several: Sequence[Iterator[Answer]], orders: Sequence[NDArray[np.int64]]) -> Iterator[Answer]:
    """The mean of the models' answers for each picture, in the order of the first model's labels."""
    if len(several) == 1:
        yield from several[0]
        return
    for answers in zip(*several, strict=True):
        if error := next((each.error for each in answers if each.error), ""):
            yield replace(answers[0], error=error)
            continue
        rows = [each.probabilities[order] for each, order in zip(answers, orders, strict=True)]
        yield replace(answers[0], probabilities=np.mean(rows, axis=0))


def _count(
    evaluation: Evaluation, answer: Answer, name: str, truth: int, add: Callable[[Record], None] | None
) -> None:
    """Take an answer in; `add` is told of every picture, and a record is made only where it is wanted."""
    labels, row = evaluation.labels, answer.probabilities
    if answer.error:
        evaluation.failed.append((name, answer.error))
        if add is not None:
            add(Record(name, answer.error, truth=labels[truth]))
        return
    sure_mistake = evaluation.add(truth, row)
    if not sure_mistake and add is None:
        return
    best = np.argsort(-row, kind="stable")[:SHOWN]
    told = tuple(labels[each] for each in best)
    record = Record(name, "", told, tuple(row[best].tolist()), answer.thumbnail, labels[truth])
    if sure_mistake:
        evaluation.keep(record)
    if add is not None:
        add(record)
