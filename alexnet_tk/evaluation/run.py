"""Models and pictures whose class is known in, figures out."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from alexnet_tk.errors import DataError
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

SHOWN = 5  # labels of a picture on the page, and the k of top-5


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
        classes = align(pictures, classifiers[0], models[0])
        evaluation = Evaluation(list(models), data, crops, classifiers[0].labels, ignored=pictures.ignored)
        _tell(pictures, evaluation, classes, say)
        figures: list[str] = []
        add: Callable[[Record], None] = lambda record: None  # noqa: E731
        if report is not None:
            title = " and ".join(map(str, models))
            add = stack.enter_context(page(report, title, pictures.ignored, figures))
        if progress is not None:
            progress.begin("evaluating", len(pictures.classes))

        def take(record: Record) -> None:
            add(record)
            if progress is not None:
                progress.advance(1)

        _judge(evaluation, classifiers, pictures, classes, batch_size, workers, report is not None, take)
        figures += text(evaluation)
    outputs.write(evaluation)
    return evaluation


def _tell(
    pictures: Labelled,
    evaluation: Evaluation,
    classes: NDArray[np.int64],
    say: Callable[[str], None],
) -> None:
    """Say what is evaluated, and which labels are not."""
    present = set(classes[np.unique(pictures.classes)].tolist())
    say(f"{pictures.source}: {len(pictures.classes):,} pictures of {len(present):,} classes")
    if missing := [label for place, label in enumerate(evaluation.labels) if place not in present]:
        names = f"{', '.join(missing[:5])}{', …' if len(missing) > 5 else ''}"
        say(f"without pictures, and so without figures: {len(missing):,} of the model's labels ({names})")


def _judge(
    evaluation: Evaluation,
    classifiers: Sequence[Classifier],
    pictures: Labelled,
    classes: NDArray[np.int64],
    batch_size: int | None,
    workers: int | None,
    thumbnails: bool,
    take: Callable[[Record], None],
) -> None:
    """Count every picture, in order."""
    crops: Crops = 10 if evaluation.crops == 10 else 1
    workers = workers or usable_cores()
    orders = [
        columns(classifiers[0], each, (evaluation.models[0], path))
        for path, each in zip(evaluation.models, classifiers, strict=True)
    ]
    answers: list[Iterator[Answer]] = []
    for classifier in classifiers:
        size = batch_size or classifier.batch_size(len(pictures.classes) * crops, workers)
        speed = Speed(workers, size, classifier.device.name != "cpu", classifier.precision)
        evaluation.speeds.append(speed)
        answers.append(
            classifier.answers(
                pictures.pictures,
                crops=crops,
                batch_size=size,
                workers=workers,
                thumbnails=thumbnails and not answers,
                speed=speed,
            )
        )
    labels, begun = evaluation.labels, time.perf_counter()
    for index, several in enumerate(zip(*answers, strict=True)):
        name, truth = pictures.name(index), int(classes[pictures.classes[index]])
        if error := next((each.error for each in several if each.error), ""):
            evaluation.failed.append((name, error))
            take(Record(name, error, truth=labels[truth]))
            continue
        rows = [each.probabilities[order] for each, order in zip(several, orders, strict=True)]
        row = np.mean(rows, axis=0) if len(rows) > 1 else rows[0]
        ranked = np.argsort(-row, kind="stable")
        best = ranked[:SHOWN]
        told = tuple(labels[each] for each in best)
        record = Record(name, "", told, tuple(row[best].tolist()), several[0].thumbnail, labels[truth])
        evaluation.add(truth, ranked, record)
        take(record)
    evaluation.seconds = time.perf_counter() - begun
    if not evaluation.pictures:
        name, error = evaluation.failed[0]
        raise DataError(f"no picture in {pictures.source} can be read; the first: {name}: {error}")
