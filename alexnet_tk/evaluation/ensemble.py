"""One model, or several whose probabilities are averaged, and how their classes correspond."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from alexnet_tk.choices import Crops
from alexnet_tk.errors import DataError, ModelError
from alexnet_tk.evaluation.dataset import LabelledPictures
from alexnet_tk.inference.classify import Answer, Classifier
from alexnet_tk.inference.model import Model
from alexnet_tk.inference.speed import Speed
from alexnet_tk.layout import normal
from alexnet_tk.text import shortened


class Ensemble:
    """Open models that answer together (section 6 of the 2012 paper), with the first one's labels.

    Raises
    ------
    ModelError
        the models don't have the same labels

    """

    def __init__(self, paths: Sequence[Path], models: Sequence[Model]) -> None:
        self.path = paths[0]
        self._classifiers = [Classifier(model) for model in models]
        first = self._classifiers[0]
        self.labels, self.label_ids = first.labels, first.label_ids
        self._columns = [
            _columns(first, other, path) for other, path in zip(self._classifiers, paths, strict=True)
        ]

    def answers(
        self,
        dataset: LabelledPictures,
        *,
        crops: Crops,
        batch_size: int | None,
        workers: int | None,
        thumbnails: bool,
    ) -> tuple[Iterator[Answer], list[Speed]]:
        """The answers in the order of the pictures, and where each model's time goes while they are read.

        The options are those of `Classifier.answers`; thumbnails come from the first model. One model alone
        also says what its answers rest on, if it can, where there are thumbnails and one crop.
        """
        explains = len(self._classifiers) == 1 and self._classifiers[0].model.places is not None
        answers = [
            classifier.answers(
                dataset.pictures,
                crops=crops,
                batch_size=batch_size,
                workers=workers,
                thumbnails=thumbnails and number == 0,
                explain=explains and thumbnails and crops == 1,
            )
            for number, classifier in enumerate(self._classifiers)
        ]
        return self._averaged(answers), [each.speed for each in answers]

    def _averaged(self, models: Sequence[Iterator[Answer]]) -> Iterator[Answer]:
        """The mean of the models' probabilities for each picture, in the order of the first one's labels."""
        if len(models) == 1:
            yield from models[0]
            return
        for answers in zip(*models, strict=True):
            if error := next((answer.error for answer in answers if answer.error), ""):
                yield replace(answers[0], error=error)
                continue
            rows = [
                answer.probabilities[columns] for answer, columns in zip(answers, self._columns, strict=True)
            ]
            yield replace(answers[0], probabilities=np.mean(rows, axis=0))

    def align(self, dataset: LabelledPictures) -> NDArray[np.int64]:
        """The index of the label of each class of the pictures; by id where both have ids.

        Raises
        ------
        DataError
            a class is not among the labels, or is the label of several classes

        """
        wanted = dataset.label_ids if dataset.label_ids and self.label_ids else dataset.labels
        by_id = {label_id: index for index, label_id in enumerate(self.label_ids)}
        by_label: dict[str, list[int]] = {}
        for index, label in enumerate(self.labels):
            by_label.setdefault(normal(label), []).append(index)
        wanted = [normal(name) for name in wanted]
        if unknown := [repr(name) for name in wanted if name not in by_id and name not in by_label]:
            more = f" and {len(unknown) - 3:,} more" if len(unknown) > 3 else ""
            raise DataError(
                f"{dataset.source} holds {', '.join(unknown[:3])}{more}, which {self.path} does not know; "
                f"rename or remove it. Its labels are {shortened(self.labels, 5)}"
            )
        indices = []
        for name in wanted:
            if name not in by_id and len(by_label[name]) > 1:
                raise DataError(
                    f"{len(by_label[name])} classes of {self.path} have the label {name!r}; name the folders "
                    f"of {dataset.source} by their ids"
                )
            indices.append(by_id[name] if name in by_id else by_label[name][0])
        return np.array(indices, dtype=np.int64)


def _columns(first: Classifier, other: Classifier, path: Path) -> NDArray[np.int64]:
    """The other model's columns in the order of the first one's labels; raises `ModelError`."""
    if first.labels == other.labels:
        return np.arange(len(first.labels))
    both_have_ids = bool(first.label_ids and other.label_ids)
    names, other_names = (each.label_ids if both_have_ids else each.labels for each in (first, other))
    if sorted(names) != sorted(other_names) or len(set(names)) < len(names):
        only_one = sorted(set(names) ^ set(other_names))
        example = f": only one of them has {only_one[0]!r}" if only_one else ""
        raise ModelError(
            f"{path} and the first model have different labels, so their answers can't be averaged{example}; "
            "evaluate them one by one"
        )
    index_of = {name: index for index, name in enumerate(other_names)}
    return np.array([index_of[name] for name in names], dtype=np.int64)
