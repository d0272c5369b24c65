"""Pictures through the network: read and decoded in worker threads, answered in batches, in order."""

import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence, Sized
from contextlib import closing, nullcontext
from math import ceil
from threading import Semaphore
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from alexnet_tk import images
from alexnet_tk.choices import Crops
from alexnet_tk.errors import PictureError, UsageError
from alexnet_tk.inference.decoding_turns import DecodingTurns
from alexnet_tk.inference.heat_map import overlay
from alexnet_tk.inference.model import EXPLANATION_NAME, FEATURES_NAME, Model
from alexnet_tk.inference.pictures import (
    Batch,
    Decoded,
    Picture,
    each_of,
    in_batches,
    jpeg,
    name_of,
    open_picture,
    thumbnail,
)
from alexnet_tk.inference.speed import Speed
from alexnet_tk.machine import usable_cores, usable_memory
from alexnet_tk.parallel_map import parallel_map
from alexnet_tk.preprocess import Preprocess

CPU_BATCH_SIZE = 32  # a CPU gains nothing from more
CUDA_BATCH_SIZE = 128
RUN_COST = 1  # of a run of the network, whatever its size; in pictures (half of one, measured on a CPU)
HEAT_MAP_QUALITY = 90  # of JPEGs
PICTURE_BYTES = 128  # of the network's values for each pixel of a picture, on the generous side

Result = TypeVar("Result")


class Answers(Iterator[Result], Generic[Result]):
    """The results for pictures, in order, as they come; `speed` says where the time has gone so far.

    `close` drops the work that has not begun; so does the end of the program or of a `with closing(…)`.
    """

    def __init__(self, results: Generator[Result], speed: Speed) -> None:
        self._results = results
        self.speed = speed

    def __next__(self) -> Result:
        return next(self._results)

    def close(self) -> None:
        """Stop the worker threads once they have finished the batches in hand."""
        self._results.close()


def answer(
    model: Model,
    pictures: Picture | Iterable[Picture],
    finish: Callable[[list[Decoded]], Result],
    crops: Crops,
    batch_size: int | None,
    workers: int | None,
    thumbnails: bool,
    extras: Sequence[str] = (),
) -> Answers[Result]:
    """Send pictures through the network, batch by batch, in worker threads.

    Each worker decodes a batch, runs it and finishes it, so the caller's thread only takes results. On the
    CPU a worker runs its batch on its own core. On CUDA there are more workers than cores, because some wait:
    `Device.runs` of them use the device, so that it has the next batch when it is done with one. All batches
    have the same shape there, and in OpenVINO. `finish` makes the result of a batch, in several threads at
    once. `extras` are further outputs of the file, for one crop. The other arguments are those of
    `Classifier.answers`.
    """
    require_at_least_1(batch_size=batch_size, workers=workers)
    workers = workers or usable_cores()
    pictures = each_of(pictures)
    count = len(pictures) if isinstance(pictures, Sized) else None
    views = batch_size or choose_batch_size(model, count and count * crops, workers)
    size = max(1, views // crops)  # pictures of a batch
    model.prepare(size * crops)
    runs = model.device.runs
    speed = Speed(workers, views, runs, model.faster)
    batches = enumerate(in_batches(pictures, size))
    turns = Semaphore(runs or workers)
    decoding = DecodingTurns(workers)

    def work(numbered: tuple[int, list[Picture]]) -> tuple[Batch, Result]:
        number, taken = numbered
        with nullcontext() if model.device.is_cuda else decoding.turn():  # a GPU is not to wait for pictures
            batch = _decode(model, taken, number * size, crops, thumbnails)
        pad_to = size if model.device.prepares_shapes else 0
        _run(model, batch, crops, turns, pad_to, extras)
        decoding.learn(batch.read + batch.decode, batch.infer)
        begun = time.perf_counter()
        result = finish(batch.pictures)
        batch.infer += time.perf_counter() - begun
        return batch, result

    def results() -> Generator[Result]:
        # Closed when the caller has had enough, and not when the garbage collector runs, in any thread.
        with closing(parallel_map(work, batches, workers + runs)) as worked:
            for batch, result in worked:
                speed.add(batch.read, batch.decode, batch.infer)
                yield result

    return Answers(results(), speed)


def require_at_least_1(**arguments: int | None) -> None:
    """Raise `UsageError` for an argument, by its name, that is neither None nor a whole number above 0."""
    for name, number in arguments.items():
        if number is not None and (not hasattr(number, "__index__") or number < 1):
            raise UsageError(f"{name} is {number!r}; it must be a whole number of at least 1")


def one_by_one(batches: Answers[list[Result]]) -> Answers[Result]:
    """The results of all batches, of which each is a list."""

    def results() -> Generator[Result]:
        with closing(batches):
            for batch in batches:
                yield from batch

    return Answers(results(), batches.speed)


def choose_batch_size(model: Model, pictures: int | None, workers: int) -> int:
    """The batch size that the file demands, else 1 for latency, else up to 32 on a CPU and 128 on CUDA.

    It is smaller where the batches of all workers would take more than half of the memory that this
    process may use, and where that lets the last worker finish earlier.
    """
    if model.batch is not None:
        return model.batch
    if model.device.latency:
        return 1
    largest = CUDA_BATCH_SIZE if model.device.is_cuda else CPU_BATCH_SIZE
    if (memory := usable_memory()) is not None:
        largest = min(largest, memory // 2 // (workers * PICTURE_BYTES * model.image_size**2))
    largest = max(1, largest)
    if not pictures:
        return largest
    computing = model.device.gpus or workers  # GPUs, or cores

    def longest_share(size: int) -> float:
        return ceil(ceil(pictures / size) / computing) * (size + RUN_COST)

    return min(range(largest, 0, -1), key=longest_share)


def _decode(model: Model, pictures: list[Picture], first: int, crops: Crops, thumbnails: bool) -> Batch:
    """Read and decode pictures, counted from `first`; the network has not seen them yet."""
    batch = Batch()
    for index, picture in enumerate(pictures, first):
        path = name_of(picture, index)
        begun, opened = time.perf_counter(), 0.0
        try:
            source = open_picture(picture)
            opened = time.perf_counter()
            views = _views(source, model.preprocess, crops)
            centre = views[:5][-1]
            small = thumbnail(centre) if thumbnails else b""
            batch.pictures.append(Decoded(path, "", views, small))
        except PictureError as error:
            batch.pictures.append(Decoded(path, str(error)))
        done = time.perf_counter()
        opened = opened or done  # it could not be opened
        batch.read += opened - begun
        batch.decode += done - opened
    return batch


def _views(source: images.Source, preprocess: Preprocess, crops: Crops) -> NDArray[np.uint8]:
    """What the network sees of a picture, uint8 (crops, S, S, 3)."""
    if crops == 1:
        return images.load(source, preprocess)[None]
    return images.ten_crops(images.load(source, preprocess.uncropped), preprocess.crop)


def _run(
    model: Model, batch: Batch, crops: Crops, turns: Semaphore, pad_to: int, extras: Sequence[str]
) -> None:
    """Run the network when it is this batch's turn; padding keeps the shape that it is prepared for."""
    begun = time.perf_counter()
    decoded = [each for each in batch.pictures if each.views is not None]
    views = [each.views for each in decoded if each.views is not None]
    if not views:
        return
    blank = [np.zeros_like(views[0])] * (pad_to - len(views))
    stacked = np.concatenate(views + blank)  # (N · crops, S, S, 3)
    waiting = time.perf_counter()
    with turns:
        waited = time.perf_counter() - waiting
        rows, *others = model.run_with(stacked, *extras)
    rows = rows[: len(views) * crops]
    if crops > 1:
        rows = rows.reshape(len(views), crops, -1).mean(axis=1)
    finite = np.asarray(np.isfinite(rows).all(axis=1))
    for number, (picture, row, is_finite) in enumerate(zip(decoded, rows, finite, strict=True)):
        if is_finite:
            picture.probabilities = row
            _add(picture, {name: each[number] for name, each in zip(extras, others, strict=True)}, model)
        else:
            picture.error = "the network's answer is not a number"
            picture.thumbnail = b""
        picture.views = None
    batch.infer = time.perf_counter() - begun - waited


def _add(picture: Decoded, extras: dict[str, NDArray[np.float32]], model: Model) -> None:
    """Give an answered picture what else the file says of it."""
    picture.features = extras.get(FEATURES_NAME)
    if EXPLANATION_NAME in extras and picture.views is not None and model.places is not None:
        pixels = overlay(picture.views[0], extras[EXPLANATION_NAME], model.places)
        picture.heat_map = jpeg(Image.fromarray(pixels), HEAT_MAP_QUALITY)
        if picture.thumbnail:
            picture.heat_thumbnail = thumbnail(pixels)
