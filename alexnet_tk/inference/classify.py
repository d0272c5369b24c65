"""Pictures in, answers out, in order: what `predict`, `evaluate` and Python callers ask."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from alexnet_tk.choices import Crops, Math
from alexnet_tk.errors import ModelError, UsageError
from alexnet_tk.inference.model import EXPLANATION_NAME, FEATURES_NAME, Model, open_model
from alexnet_tk.inference.other_models import (
    GivenPreprocess,
    open_other_model,
    read_labels,
    read_preprocess,
)
from alexnet_tk.inference.pictures import Decoded, Picture
from alexnet_tk.inference.pipeline import (
    Answers,
    Result,
    answer,
    choose_batch_size,
    one_by_one,
    require_at_least_1,
)
from alexnet_tk.inference.ranking import most_probable
from alexnet_tk.inference.record import Record
from alexnet_tk.inference.session import Device
from alexnet_tk.machine import usable_cores


@dataclass(frozen=True)
class Answer:
    """The probabilities of all classes for one picture, or the error for which there are none."""

    path: str
    error: str
    probabilities: NDArray[np.float32]  # (classes,); (0,) where there is an error
    thumbnail: bytes = field(default=b"", repr=False)  # JPEG, where it was asked for
    heat_thumbnail: bytes = field(default=b"", repr=False)  # with what the best answer rests on, likewise


class Classifier:
    """An exported network, ready to answer.

    Each worker thread decodes a batch, runs it and makes its records. On the CPU it runs the batch on one
    core of its own, which beats one session with many threads behind a pool of decoders. On CUDA the workers
    take turns at the device. On CUDA and in OpenVINO all batches have the same shape.

    Parameters
    ----------
    model
        a file that `alexnet-tk export` wrote, or one that is open already
    device
        of a file: "auto", "cpu", "openvino", "cuda", "cuda:N", or "cuda:all" for all GPUs of the machine
    math
        "exact"; "fast" allows TF32 on CUDA, whose probabilities differ in the third digit, and bfloat16 in
        OpenVINO, where they may differ in the second
    labels, preprocess
        for a model from elsewhere, whose file says neither: the class names in the order of its outputs, or
        a file with one on each line; "imagenet", "caffe" or a TOML file with the keys of a recipe's
        `[preprocess]`, or what `read_preprocess` returns for it
    outputs
        of such a model with several outputs: the name of the one with a number for each label; None: the one
        of the right size, by its name where several are
    latency
        answer each picture as early as possible, alone and on all cores, where a program waits for it; a
        folder takes longer than with a batch on each core

    Raises
    ------
    ModelError, DeviceError
    MissingExtraError
        "openvino", and it is not installed
    InputError, RecipeError
        the file of labels or of preprocessing can't be used
    UsageError
        not both of `labels` and `preprocess` where one of these three is given, or no such device or math

    """

    def __init__(
        self,
        model: str | os.PathLike[str] | Model,
        device: str = "auto",
        *,
        math: Math = "exact",
        labels: Sequence[str] | str | os.PathLike[str] | None = None,
        preprocess: str | GivenPreprocess | None = None,
        outputs: str | None = None,
        latency: bool = False,
    ) -> None:
        self._name = "the model" if isinstance(model, Model) else str(model)
        self._outputs = outputs
        if isinstance(model, Model):
            self.model = model
        elif labels is None and preprocess is None and outputs is None:
            self.model = open_model(Path(model), device, math, latency)
        elif labels is None or preprocess is None:
            raise UsageError(
                "--labels and --preprocess go together: a model from elsewhere needs both, as does --outputs"
            )
        else:
            names = read_labels(Path(labels)) if isinstance(labels, (str, os.PathLike)) else list(labels)
            read = read_preprocess(preprocess) if isinstance(preprocess, str) else preprocess
            self.model = open_other_model(Path(model), device, names, read, math, outputs, latency)

    @property
    def device(self) -> Device:
        """Where it computes, and why there."""
        return self.model.device

    @property
    def labels(self) -> list[str]:
        """The class names in the order of the network's outputs."""
        return self.model.labels

    @property
    def label_ids(self) -> list[str]:
        """The classes' ids in the same order, where the file holds them, as for ImageNet; else none."""
        ids: list[str] = self.model.metadata.get("label_ids", [])
        return ids

    @property
    def precision(self) -> str | None:
        """The precision of the file, "fp32", "fp16" or "int8"; None where it does not say."""
        return self.model.metadata.get("precision")

    @property
    def settings(self) -> str:
        """What decides the answers and is not in the model's file, as text; "" for a file of ours."""
        if self.model.metadata:
            return ""
        told = self.model.preprocess
        # The words of version 0.1.0, whose outputs go on being resumed.
        words = (
            f"Preprocess(resize={told.resize}, filter={told.filter!r}, color={told.channel_order!r}, "
            f"mean={told.mean}, std={told.std})"
        )
        output = "" if self._outputs is None else f", {self._outputs!r}"
        return f"({self.model.labels!r}, {words}, {told.crop}{output})"

    def batch_size(self, pictures: int | None = None, workers: int | None = None) -> int:
        """The batch size for this number of pictures, where none is asked for; see `choose_batch_size`."""
        return choose_batch_size(self.model, pictures, workers or usable_cores())

    def classify(
        self,
        pictures: Picture | Iterable[Picture],
        topk: int = 1,
        *,
        batch_size: int | None = None,
        workers: int | None = None,
        thumbnails: bool = False,
        explain: bool = False,
    ) -> Answers[Record]:
        """Answer for every picture, in order; one that can't be read gets a `failed` record.

        Parameters
        ----------
        pictures
            paths, also URLs and members of archives as `find` gives them, Pillow images or arrays uint8
            (H, W, 3) or (H, W); the same one twice is answered twice. What has no path is called
            "picture N" in its record, counted from 0. One alone is answered by one record; an array
            (N, H, W, 3) or (N, H, W) is N pictures
        topk
            how many labels a record holds, at most as many as there are
        batch_size
            pictures in a run of the network; None: as `batch_size` says
        workers
            threads; None: one for each usable core
        thumbnails
            give each record what the network saw of its picture, as a small JPEG
        explain
            give each record what its first answer rests on, in its `heat_map`; the file is one of
            `export --explain`

        Returns
        -------
        an iterator; only a few batches are in memory, however many pictures there are

        Raises
        ------
        ModelError
            `explain`, and the file does not say it

        """
        batches = self.batches(
            pictures,
            topk,
            list,
            batch_size=batch_size,
            workers=workers,
            thumbnails=thumbnails,
            explain=explain,
        )
        return one_by_one(batches)

    def features(
        self,
        pictures: Picture | Iterable[Picture],
        topk: int = 1,
        *,
        batch_size: int | None = None,
        workers: int | None = None,
    ) -> Answers[Record]:
        """As `classify`, with the activations of the last hidden layer in each record's `features`.

        They are f7's after ReLU, float32 (4096,) in the full network: by them figure 4 of the 2012 paper
        compares pictures. A `failed` record has none.

        Raises
        ------
        ModelError
            the file does not give them; `alexnet-tk export --features` makes one that does

        """
        batches = self.batches(pictures, topk, list, batch_size=batch_size, workers=workers, features=True)
        return one_by_one(batches)

    def require_features(self) -> int:
        """The number of activations of the last hidden layer; raises `ModelError` if the file gives none."""
        if self.model.features is None:
            raise ModelError(
                f"{self._name} does not give features; `alexnet-tk export model.pt --features` makes a file "
                "that does"
            )
        return self.model.features

    def require_explanations(self) -> None:
        """Raise `ModelError` if the file does not say what its answers rest on."""
        if self.model.places is None:
            raise ModelError(
                f"{self._name} does not say what its answers rest on; `alexnet-tk export model.pt --explain` "
                "makes a file that does"
            )

    def batches(
        self,
        pictures: Picture | Iterable[Picture],
        topk: int,
        then: Callable[[list[Record]], Result],
        *,
        batch_size: int | None = None,
        workers: int | None = None,
        thumbnails: bool = False,
        features: bool = False,
        explain: bool = False,
    ) -> Answers[Result]:
        """As `classify`, or `features`, with a result for each batch: what `then` makes of its records.

        `then` is called in the worker threads, in several of them at once.
        """
        require_at_least_1(topk=topk)
        extras = []
        if features:
            self.require_features()
            extras.append(FEATURES_NAME)
        if explain:
            self.require_explanations()
            extras.append(EXPLANATION_NAME)
        topk = min(topk, len(self.labels))

        def finish(pictures: list[Decoded]) -> Result:
            best: Iterator[tuple[list[int], list[float]]] = iter(())
            if rows := [each.probabilities for each in pictures if each.probabilities is not None]:
                probabilities = np.stack(rows)  # (N, classes)
                classes = most_probable(probabilities, topk)  # (N, topk)
                values = np.take_along_axis(probabilities, classes, axis=1)
                best = zip(classes.tolist(), values.tolist(), strict=True)
            return then([self._record(each, best) for each in pictures])

        return answer(self.model, pictures, finish, 1, batch_size, workers, thumbnails, extras)

    def answers(
        self,
        pictures: Picture | Iterable[Picture],
        *,
        crops: Crops = 1,
        batch_size: int | None = None,
        workers: int | None = None,
        thumbnails: bool = False,
        explain: bool = False,
    ) -> Answers[Answer]:
        """As `classify`, with the probabilities of all labels.

        With `crops` of 10 they are the mean over the four corners and the centre of the scaled picture and
        their mirrors (section 4.1 of the 2012 paper), and `batch_size` counts these views. `explain` is for
        one crop, and goes with `thumbnails`.
        """
        if explain:
            self.require_explanations()
        none = np.empty(0, np.float32)

        def answers(pictures: list[Decoded]) -> list[Answer]:
            return [
                Answer(
                    each.path,
                    each.error,
                    none if each.probabilities is None else each.probabilities,
                    each.thumbnail,
                    each.heat_thumbnail,
                )
                for each in pictures
            ]

        extras = [EXPLANATION_NAME] if explain else []
        batches = answer(self.model, pictures, answers, crops, batch_size, workers, thumbnails, extras)
        return one_by_one(batches)

    def _record(self, picture: Decoded, best: Iterator[tuple[list[int], list[float]]]) -> Record:
        """The record of a picture; `best` gives classes and probabilities of each that was answered."""
        if picture.probabilities is None:
            return Record(picture.path, picture.error)
        classes, probabilities = next(best)
        labels = tuple([self.labels[each] for each in classes])
        return Record(
            picture.path,
            "",
            labels,
            tuple(probabilities),
            picture.thumbnail,
            heat_map=picture.heat_map,
            heat_thumbnail=picture.heat_thumbnail,
            features=picture.features,
        )
