"""Pictures through the network: read and decoded in worker threads, answered in batches, in order."""

import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sized
from contextlib import closing
from math import ceil
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from alexnet_tk import images
from alexnet_tk.choices import Crops
from alexnet_tk.errors import PictureError
from alexnet_tk.inference.model import Model
from alexnet_tk.inference.pictures import (
    Batch,
    Decoded,
    Picture,
    each_of,
    in_batches,
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
    finish: Callable[[list[Decoded]], list[Result]],
    crops: Crops,
    batch_size: int | None,
    workers: int | None,
    thumbnails: bool,
) -> Answers[Result]:
    """Send pictures through the network, batch by batch, in worker threads.

    On the CPU each worker decodes a batch and runs it; on CUDA the workers decode ahead and the caller's
    thread runs the network. `finish` makes the results of a batch, in the thread that runs the network.
    The other arguments are those of `Classifier.answers`.
    """
    workers = workers or usable_cores()
    pictures = each_of(pictures)
    count = len(pictures) if isinstance(pictures, Sized) else None
    views = batch_size or choose_batch_size(model, count and count * crops, workers)
    size = max(1, views // crops)  # pictures of a batch
    speed = Speed(workers, views, model.device.is_cuda, model.metadata.get("precision"))
    batches = in_batches(((name_of(each, i), each) for i, each in enumerate(pictures)), size)

    def work(named: list[tuple[str, Picture]]) -> tuple[Batch, list[Result] | None]:
        batch = _decode(model, named, crops, thumbnails)
        return batch, None if model.device.is_cuda else _finish(model, batch, crops, finish)

    def results() -> Generator[Result]:
        # Closed when the caller has had enough, and not when the garbage collector runs, in any thread.
        with closing(parallel_map(work, batches, workers)) as worked:
            for batch, finished in worked:
                if finished is None:
                    finished = _finish(model, batch, crops, finish, pad_to=size)
                speed.add(batch.read, batch.decode, batch.infer)
                yield from finished

    return Answers(results(), speed)


def choose_batch_size(model: Model, pictures: int | None, workers: int) -> int:
    """The batch size that the file demands, else up to 32 on a CPU and 128 on CUDA.

    It is smaller where the batches of all workers would take more than half of the memory that this
    process may use, and where that lets the last worker finish earlier.
    """
    if model.batch is not None:
        return model.batch
    largest = CUDA_BATCH_SIZE if model.device.is_cuda else CPU_BATCH_SIZE
    if (memory := usable_memory()) is not None:
        largest = min(largest, memory // 2 // (workers * PICTURE_BYTES * model.image_size**2))
    largest = max(1, largest)
    if not pictures:
        return largest
    runners = 1 if model.device.is_cuda else workers  # threads that run the network

    def longest_share(size: int) -> float:
        return ceil(ceil(pictures / size) / runners) * (size + RUN_COST)

    return min(range(largest, 0, -1), key=longest_share)


def _decode(model: Model, named: list[tuple[str, Picture]], crops: Crops, thumbnails: bool) -> Batch:
    """Read and decode pictures; the network has not seen them yet."""
    batch = Batch()
    for path, picture in named:
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


def _finish(
    model: Model,
    batch: Batch,
    crops: Crops,
    finish: Callable[[list[Decoded]], list[Result]],
    pad_to: int = 0,
) -> list[Result]:
    """Run the network; padding keeps the batch shape that CUDA has prepared for."""
    begun = time.perf_counter()
    decoded = [each for each in batch.pictures if each.views is not None]
    views = [each.views for each in decoded if each.views is not None]
    if views:
        blank = [np.zeros_like(views[0])] * (pad_to - len(views))
        rows = model.run(np.concatenate(views + blank))[: len(views) * crops]
        if crops > 1:
            rows = rows.reshape(len(views), crops, -1).mean(axis=1)
        finite = np.asarray(np.isfinite(rows).all(axis=1))
        for picture, row, is_finite in zip(decoded, rows, finite, strict=True):
            picture.views = None
            if is_finite:
                picture.probabilities = row
            else:
                picture.error = "the network's answer is not a number"
                picture.thumbnail = b""
    results = finish(batch.pictures)
    batch.infer = time.perf_counter() - begun
    return results
