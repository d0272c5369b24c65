"""Folders of pictures in, one record for each picture out, in order."""

import io
import os
from collections.abc import Iterable, Iterator, Sized
from dataclasses import dataclass
from itertools import islice
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from alexnet_tk import images
from alexnet_tk.errors import PictureError
from alexnet_tk.inference.ahead import map_ahead
from alexnet_tk.inference.archives import Member
from alexnet_tk.inference.machine import usable_cores
from alexnet_tk.inference.model import open_model
from alexnet_tk.inference.results import Record
from alexnet_tk.inference.session import Device

BATCH_SIZE = 32

Picture = str | os.PathLike[str] | Image.Image | NDArray[Any]


class Classifier:
    """An exported network, ready to answer.

    On the CPU each worker thread decodes a batch and runs it on one core of its own, which beats
    one session with many threads behind a pool of decoders. On CUDA the workers decode ahead and the
    caller's thread feeds the device, always with the same batch shape.

    Parameters
    ----------
    model
        a file that `alexnet-tk export` wrote
    device
        "auto", "cpu", "cuda" or "cuda:N"

    Raises
    ------
    ModelError, DeviceError

    """

    def __init__(self, model: str | os.PathLike[str], device: str = "auto") -> None:
        self._model = open_model(Path(model), device)

    @property
    def device(self) -> Device:
        """Where it computes, and why there."""
        return self._model.device

    @property
    def labels(self) -> list[str]:
        """The class names in the order of the network's outputs."""
        return self._model.labels

    def batch_size(self, pictures: int | None = None, workers: int | None = None) -> int:
        """What the file asks for, else up to 32, fewer where workers would stand idle."""
        most = BATCH_SIZE if pictures is None else ceil(pictures / (workers or usable_cores()))
        return self._model.batch or max(1, min(BATCH_SIZE, most))

    def classify(
        self,
        pictures: Iterable[Picture],
        topk: int = 1,
        *,
        batch_size: int | None = None,
        workers: int | None = None,
    ) -> Iterator[Record]:
        """Answer for every picture, in order; one that can't be read gets a `failed` record.

        Parameters
        ----------
        pictures
            paths, also of members of archives as `find` gives them, Pillow images or arrays uint8
            (H, W, 3) or (H, W); the same one twice is answered twice. What has no path is called
            "picture N" in its record, counted from 0
        topk
            how many labels a record holds, at most as many as there are
        batch_size
            pictures in a run of the network; None: as `batch_size` says
        workers
            threads; None: one for each usable core

        Returns
        -------
        an iterator; only a few batches are in memory, however many pictures there are

        """
        workers = workers or usable_cores()
        count = len(pictures) if isinstance(pictures, Sized) else None
        batch_size = batch_size or self.batch_size(count, workers)
        topk = min(topk, len(self.labels))
        parts = _batches(((_name(each, i), each) for i, each in enumerate(pictures)), batch_size)
        if self.device.name == "cpu":
            answers = map_ahead(lambda part: self._answer(self._read(part), topk), parts, workers)
        else:
            decoded = map_ahead(self._read, parts, workers)
            answers = (self._answer(part, topk, pad_to=batch_size) for part in decoded)
        for records in answers:
            yield from records

    def _read(self, pictures: list[tuple[str, Picture]]) -> "_Decoded":
        preprocess, size = self._model.preprocess, self._model.image_size
        pixels: list[NDArray[np.uint8]] = []
        errors: list[str] = []
        for _, picture in pictures:
            try:
                source = io.BytesIO(picture.read()) if isinstance(picture, Member) else picture
                pixels.append(images.load(source, preprocess.resize, size, preprocess.filter))
                errors.append("")
            except PictureError as error:
                errors.append(str(error))
        return _Decoded([name for name, _ in pictures], errors, pixels)

    def _answer(self, batch: "_Decoded", topk: int, pad_to: int = 0) -> list[Record]:
        """Records in the order of the batch; padding keeps the shape that CUDA has prepared for."""
        answered: Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]] = iter(())
        if batch.pixels:
            blank = [np.zeros_like(batch.pixels[0])] * (pad_to - len(batch.pixels))
            probabilities = self._model.run(np.stack(batch.pixels + blank))[: len(batch.pixels)]
            answered = zip(
                np.argsort(-probabilities, axis=1, kind="stable")[:, :topk], probabilities, strict=True
            )
        records = []
        for path, error in zip(batch.paths, batch.errors, strict=True):
            if error:
                records.append(Record(path, error))
            else:
                best, row = next(answered)
                records.append(
                    Record(path, "", tuple(self.labels[i] for i in best), tuple(row[best].tolist()))
                )
        return records


def _name(picture: Picture, index: int) -> str:
    if isinstance(picture, (str, os.PathLike)):
        return os.fspath(picture)
    return getattr(picture, "filename", "") or f"picture {index}"


def _batches(items: Iterable[tuple[str, Picture]], size: int) -> Iterator[list[tuple[str, Picture]]]:
    rest = iter(items)
    while part := list(islice(rest, size)):
        yield part


@dataclass(frozen=True)
class _Decoded:
    """A batch of paths: for each its error, and for those without one the pixels, in the same order."""

    paths: list[str]
    errors: list[str]
    pixels: list[NDArray[np.uint8]]
