"""Folders of pictures in, one record for each picture out, in order."""

import os
import time
from collections.abc import Callable, Generator, Iterable, Sequence, Sized
from contextlib import closing
from dataclasses import dataclass, field
from math import ceil
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from alexnet_tk import images
from alexnet_tk.errors import PictureError, UsageError
from alexnet_tk.inference.ahead import map_ahead
from alexnet_tk.inference.batch import Batch, Picture, in_batches, name_of, open_picture, thumbnail
from alexnet_tk.inference.foreign import Preprocessing, open_foreign, read_labels, read_preprocessing
from alexnet_tk.inference.machine import usable_cores, usable_memory
from alexnet_tk.inference.model import Model, open_model
from alexnet_tk.inference.results import Record
from alexnet_tk.inference.session import Device
from alexnet_tk.inference.speed import Speed

BATCH_SIZE = 32  # on a CPU, which gains nothing from more
CUDA_BATCH_SIZE = 128
RUN = 1  # what a run of the network costs whatever its size, in pictures (half of one, measured on a CPU)
PICTURE_BYTES = 128  # of the network's values for each pixel of a picture, on the generous side

Crops = Literal[1, 10]  # the centre, or the ten views of the paper's evaluation
Result = TypeVar("Result")


@dataclass(frozen=True)
class Answer:
    """All that the network says of a picture: nothing, where it has an error."""

    path: str
    error: str
    probabilities: NDArray[np.float32]  # (classes,)
    thumbnail: bytes = field(default=b"", repr=False)  # JPEG, where it was asked for


class Classifier:
    """An exported network, ready to answer.

    On the CPU each worker thread decodes a batch and runs it on one core of its own, which beats
    one session with many threads behind a pool of decoders. On CUDA the workers decode ahead and the
    caller's thread feeds the device, always with the same batch shape.

    Parameters
    ----------
    model
        a file that `alexnet-tk export` wrote, or one that is open already
    device
        of a file: "auto", "cpu", "cuda" or "cuda:N"
    labels, preprocess
        for a classifier from elsewhere, whose file says neither: the class names in the order of its
        outputs, or a file with a line for each; "imagenet", "caffe" or a TOML file with the keys of a
        recipe's `[preprocess]`, or what `read_preprocessing` made of it

    Raises
    ------
    ModelError, DeviceError
    InputError, RecipeError
        the file of labels or of preprocessing can't be used
    UsageError
        only one of `labels` and `preprocess`, or no such device

    """

    def __init__(
        self,
        model: str | os.PathLike[str] | Model,
        device: str = "auto",
        *,
        labels: Sequence[str] | str | os.PathLike[str] | None = None,
        preprocess: str | Preprocessing | None = None,
    ) -> None:
        if isinstance(model, Model):
            self._model = model
        elif labels is None and preprocess is None:
            self._model = open_model(Path(model), device)
        elif labels is None or preprocess is None:
            raise UsageError("--labels and --preprocess go together: a model from elsewhere needs both")
        else:
            names = read_labels(Path(labels)) if isinstance(labels, (str, os.PathLike)) else list(labels)
            read = read_preprocessing(preprocess) if isinstance(preprocess, str) else preprocess
            self._model = open_foreign(Path(model), device, names, read)

    @property
    def device(self) -> Device:
        """Where it computes, and why there."""
        return self._model.device

    @property
    def labels(self) -> list[str]:
        """The class names in the order of the network's outputs."""
        return self._model.labels

    @property
    def label_ids(self) -> list[str]:
        """The classes' ids in the same order, where the file holds them, as for ImageNet; else none."""
        ids: list[str] = self._model.metadata.get("label_ids", [])
        return ids

    @property
    def precision(self) -> str | None:
        """The file's, "fp32", "fp16" or "int8"; None where it does not say."""
        return self._model.metadata.get("precision")

    @property
    def settings(self) -> str:
        """What decides the answers and is not in the model's file; "" for a file of ours."""
        if self._model.metadata:
            return ""
        return repr((self._model.labels, self._model.preprocess, self._model.image_size))

    def batch_size(self, pictures: int | None = None, workers: int | None = None) -> int:
        """What the file asks for, else up to 32, on CUDA 128.

        Fewer where the batches of all workers would take more than half of the memory that this process
        may use, and as many as let the worker with most to do end first.
        """
        if self._model.batch is not None:
            return self._model.batch
        workers = workers or usable_cores()
        most = CUDA_BATCH_SIZE if self._on_cuda else BATCH_SIZE
        if (memory := usable_memory()) is not None:
            most = min(most, memory // 2 // (workers * PICTURE_BYTES * self._model.image_size**2))
        most = max(1, most)
        if not pictures:
            return most
        runners = 1 if self._on_cuda else workers  # of the network

        def longest(size: int) -> float:
            return ceil(ceil(pictures / size) / runners) * (size + RUN)

        return min(range(most, 0, -1), key=longest)

    @property
    def _on_cuda(self) -> bool:
        return self.device.name != "cpu"

    def classify(
        self,
        pictures: Iterable[Picture],
        topk: int = 1,
        *,
        batch_size: int | None = None,
        workers: int | None = None,
        thumbnails: bool = False,
        speed: Speed | None = None,
    ) -> Generator[Record]:
        """Answer for every picture, in order; one that can't be read gets a `failed` record.

        Parameters
        ----------
        pictures
            paths, also URLs and members of archives as `find` gives them, Pillow images or arrays uint8
            (H, W, 3) or (H, W); the same one twice is answered twice. What has no path is called
            "picture N" in its record, counted from 0
        topk
            how many labels a record holds, at most as many as there are
        batch_size
            pictures in a run of the network; None: as `batch_size` says
        workers
            threads; None: one for each usable core
        thumbnails
            give each record what the network saw of its picture, as a small JPEG
        speed
            is told where the time goes

        Returns
        -------
        an iterator; only a few batches are in memory, however many pictures there are

        """
        topk = min(topk, len(self.labels))

        def records(batch: Batch) -> list[Record]:
            best = np.argsort(-batch.probabilities, axis=1, kind="stable")[:, :topk]
            rows = zip(batch.probabilities, best, batch.thumbnails, strict=True)
            made = []
            for path, error in zip(batch.paths, batch.errors, strict=True):
                if error:
                    made.append(Record(path, error))
                    continue
                row, top, thumbnail = next(rows)
                labels = tuple(self.labels[i] for i in top)
                made.append(Record(path, "", labels, tuple(row[top].tolist()), thumbnail))
            return made

        return self._each(pictures, records, 1, batch_size, workers, thumbnails, speed)

    def answers(
        self,
        pictures: Iterable[Picture],
        *,
        crops: Crops = 1,
        batch_size: int | None = None,
        workers: int | None = None,
        thumbnails: bool = False,
        speed: Speed | None = None,
    ) -> Generator[Answer]:
        """As `classify`, with the probabilities of all labels.

        With `crops` of 10 they are the mean over the four corners and the centre of the scaled picture and
        their mirrors (section 4.1 of the 2012 paper), and `batch_size` counts these views.
        """
        nothing = np.empty(0, np.float32)

        def rows(batch: Batch) -> list[Answer]:
            sound = zip(batch.probabilities, batch.thumbnails, strict=True)
            return [
                Answer(path, error, nothing) if error else Answer(path, "", *next(sound))
                for path, error in zip(batch.paths, batch.errors, strict=True)
            ]

        return self._each(pictures, rows, crops, batch_size, workers, thumbnails, speed)

    def _each(
        self,
        pictures: Iterable[Picture],
        finish: Callable[[Batch], list[Result]],
        crops: Crops,
        batch_size: int | None,
        workers: int | None,
        thumbnails: bool,
        speed: Speed | None,
    ) -> Generator[Result]:
        """What `finish`, called in the threads that answer, makes of each batch, in order."""
        workers = workers or usable_cores()
        count = len(pictures) if isinstance(pictures, Sized) else None
        views = batch_size or self.batch_size(count and count * crops, workers)
        size = max(1, views // crops)  # pictures of a batch
        parts = in_batches(((name_of(each, i), each) for i, each in enumerate(pictures)), size)

        def ahead(part: list[tuple[str, Picture]]) -> tuple[Batch, list[Result] | None]:
            batch = self._decode(part, crops, thumbnails)
            return batch, None if self._on_cuda else self._answer(batch, crops, finish)

        # Closed when the caller has had enough, and not whenever the collector comes by, in whichever thread.
        with closing(map_ahead(ahead, parts, workers)) as batches:
            for batch, results in batches:
                if results is None:
                    results = self._answer(batch, crops, finish, pad_to=size)
                if speed is not None:
                    speed.add(batch.read, batch.decode, batch.infer)
                yield from results

    def _decode(self, pictures: list[tuple[str, Picture]], crops: Crops, thumbnails: bool) -> Batch:
        batch = Batch([name for name, _ in pictures])
        for _, picture in pictures:
            begun, opened = time.perf_counter(), 0.0
            try:
                source = open_picture(picture)
                opened = time.perf_counter()
                views = self._views(source, crops)
                batch.views.append(views)
                batch.thumbnails.append(thumbnail(views[:5][-1]) if thumbnails else b"")  # the centre
                batch.errors.append("")
            except PictureError as error:
                batch.errors.append(str(error))
            done = time.perf_counter()
            opened = opened or done  # it could not be opened
            batch.read += opened - begun
            batch.decode += done - opened
        return batch

    def _views(self, source: images.Source, crops: Crops) -> NDArray[np.uint8]:
        """What the network is to see of a picture, uint8 (crops, S, S, 3)."""
        preprocess, size = self._model.preprocess, self._model.image_size
        if crops == 1:
            return images.load(source, preprocess.resize, size, preprocess.filter)[None]
        square = images.load(source, preprocess.resize, preprocess.resize, preprocess.filter)
        return images.ten_crops(square, size)

    def _answer(
        self, batch: Batch, crops: Crops, finish: Callable[[Batch], list[Result]], pad_to: int = 0
    ) -> list[Result]:
        """Results in the order of the batch; padding keeps the shape that CUDA has prepared for."""
        begun = time.perf_counter()
        count = len(batch.views)
        if count:
            blank = [np.zeros_like(batch.views[0])] * (pad_to - count)
            rows = self._model.run(np.concatenate(batch.views + blank))[: count * crops]
            batch.keep(rows if crops == 1 else rows.reshape(count, crops, -1).mean(axis=1))
        results = finish(batch)
        batch.infer = time.perf_counter() - begun
        return results
