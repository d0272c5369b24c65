"""From models and labelled pictures to figures."""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from alexnet_tk.choices import Crops, Math
from alexnet_tk.errors import DataError, UsageError
from alexnet_tk.evaluation.dataset import LabelledPictures, open_labelled
from alexnet_tk.evaluation.ensemble import Ensemble
from alexnet_tk.evaluation.figures import Evaluation
from alexnet_tk.evaluation.output import Outputs
from alexnet_tk.evaluation.tally import Tally, as_record
from alexnet_tk.inference.classify import Answer
from alexnet_tk.inference.record import Record
from alexnet_tk.model_files import headline, open_models
from alexnet_tk.prediction.report import report as report_page
from alexnet_tk.progress import SILENCE, Progress
from alexnet_tk.text import counted, shortened

StrPath = str | os.PathLike[str]


def evaluate(
    models: StrPath | Sequence[StrPath],
    data: StrPath,
    *,
    crops: Crops = 1,
    device: str = "auto",
    math: Math = "exact",
    batch_size: int | None = None,
    workers: int | None = None,
    output: StrPath | None = None,
    confusion: StrPath | Sequence[StrPath] = (),
    report: StrPath | None = None,
    unknown_below: float | None = None,
    overwrite: bool = False,
    classes_are_folders: bool = False,
    progress: Progress = SILENCE,
) -> Evaluation:
    """Compare a model's answers, which are those of `predict`, with the true classes of pictures.

    Parameters
    ----------
    models
        a checkpoint or an ONNX file, or several: their classes are aligned by label and their probabilities
        averaged, as in section 6 of the 2012 paper
    data
        `data/val/<class>/*`, `data/<class>/*`, or a packed set; the name of a class is a label of the
        model, or its id
    crops
        1: the centre, as `predict` answers; 10: the mean over ten views (section 4.1)
    device, math, batch_size, workers
        as for `Classifier` and its `answers`
    output
        .csv: a line for each class; .json: everything
    confusion
        the confusion matrix, as .csv or .png, or both
    report
        an HTML page of the pictures and their answers
    unknown_below
        tell how many answers are not less probable, and how many of these are wrong
    overwrite
        replace existing outputs
    classes_are_folders
        every folder in `data` is a class, even one with the name of a split, such as train
    progress
        receives the models' devices, what is evaluated, and the number of pictures answered

    Raises
    ------
    UsageError
        no model, an output with another ending, or two with the same name
    CheckpointError, ModelError, DeviceError
        a model that can't be used, models with different labels
    DataError
        no readable pictures, a class that the model does not know
    OutputError
        an output exists or can't be written

    """
    paths, source = _paths(models), Path(data)
    if not paths:
        raise UsageError("no model to evaluate; name at least one")
    if unknown_below is not None and not 0 <= unknown_below <= 1:  # NaN, too
        raise UsageError(f"unknown_below is {unknown_below}; it must be a probability, from 0 to 1")
    outputs = Outputs(
        None if output is None else Path(output),
        _paths(confusion),
        None if report is None else Path(report),
    )
    outputs.refuse(paths, overwrite)
    dataset = open_labelled(source, classes_are_folders=classes_are_folders)
    with ExitStack() as stack:
        opened = stack.enter_context(open_models(paths, device, math))
        for path, model in zip(paths, opened, strict=True):
            progress.say(headline(path, model))
        ensemble = Ensemble(paths, opened)
        targets = ensemble.align(dataset)[dataset.targets]
        for note in dataset.notes:
            progress.say(note)
        for line in _dataset_lines(dataset, targets, ensemble.labels):
            progress.say(line)
        answers, speeds = ensemble.answers(
            dataset,
            crops=crops,
            batch_size=batch_size,
            workers=workers,
            thumbnails=outputs.report is not None,
        )
        page_figures: list[str] = []  # the page is completed when the block ends, with what is in here then
        add_to_page: Callable[[Record], None] | None = None
        if outputs.report is not None:
            title = " and ".join(map(str, paths))
            page = report_page(outputs.report, title, dataset.ignored, page_figures)
            add_to_page = stack.enter_context(page)
        started = time.perf_counter()
        tally = _count(answers, dataset, targets, ensemble.labels, unknown_below, add_to_page, progress)
        evaluation = Evaluation(
            models=paths,
            data=source,
            crops=crops,
            labels=ensemble.labels,
            confusion=tally.confusion,
            top5_correct=tally.top5_correct,
            mistakes=tally.mistakes,
            failed=tally.failed,
            ignored=dataset.ignored,
            speeds=speeds,
            seconds=time.perf_counter() - started,
            unknown=None if unknown_below is None else tally.unknown(),
        )
        page_figures += evaluation.summary()
    outputs.write(evaluation)
    return evaluation


def _count(
    answers: Iterator[Answer],
    dataset: LabelledPictures,
    targets: NDArray[np.int64],
    labels: list[str],
    unknown_below: float | None,
    add_to_page: Callable[[Record], None] | None,
    progress: Progress,
) -> Tally:
    """Tally all answers; raises `DataError` if no picture can be read."""
    tally = Tally(labels, unknown_below or 0.0)
    progress.begin("evaluating", len(targets))
    for index, answer in enumerate(answers):
        answer, target = replace(answer, path=dataset.path(index)), int(targets[index])
        tally.add(answer, target)
        if add_to_page is not None:
            add_to_page(as_record(answer, target, labels).marked(unknown_below))
        progress.advance(1)
    if not tally.confusion.any():
        path, error = tally.failed[0]
        raise DataError(
            f"no picture in {dataset.source} can be read, for example {path}: {error}; name another folder"
        )
    return tally


def _paths(paths: StrPath | Sequence[StrPath]) -> list[Path]:
    if isinstance(paths, (str, os.PathLike)):
        return [Path(paths)]
    return [Path(path) for path in paths]


def _dataset_lines(
    dataset: LabelledPictures, targets: NDArray[np.int64], labels: Sequence[str]
) -> Iterator[str]:
    """What is evaluated, and which of the model's labels are not."""
    present = set(targets.tolist())
    yield (
        f"{dataset.source}: {counted(len(targets), 'picture')} in {len(present):,} of the model's "
        f"{len(labels):,} classes"
    )
    if missing := [label for index, label in enumerate(labels) if index not in present]:
        yield (
            f"no pictures, so no figures, for {len(missing):,} of the model's labels "
            f"({shortened(missing, 5)})"
        )
