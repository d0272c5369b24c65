"""A run over many pictures: what `alexnet-tk predict` does, every picture accounted for."""

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice

from alexnet_tk.errors import InputError
from alexnet_tk.inference.classify import Classifier
from alexnet_tk.inference.machine import usable_cores
from alexnet_tk.inference.results import Record, Totals
from alexnet_tk.inference.speed import Speed


@dataclass(frozen=True)
class Outcome:
    """What became of the pictures of a run, and how fast."""

    totals: Totals
    seconds: float
    speed: Speed | None = None  # not measured over Ray


def predict(
    classifier: Classifier,
    pictures: Sequence[str],
    topk: int,
    write: Callable[[Record], None],
    *,
    skip: int = 0,
    batch_size: int | None = None,
    workers: int | None = None,
    strict: bool = False,
    thumbnails: bool = False,
) -> Outcome:
    """Hand a record for each picture to `write`, in order, as they come.

    Parameters
    ----------
    classifier, pictures, topk, batch_size, workers, thumbnails
        as `Classifier.classify`
    write
        is called in this thread
    skip
        so many pictures were answered before. Batches are cut as if they were not, since another cut may
        round a last digit otherwise
    strict
        stop after the first picture that fails

    Raises
    ------
    InputError
        a picture failed, and `strict`

    """
    workers = workers or usable_cores()
    batch_size = batch_size or classifier.batch_size(len(pictures), workers)
    speed = Speed(workers, batch_size, classifier.device.name != "cpu", classifier.precision)
    totals, begun = Totals(), time.perf_counter()
    start = skip - skip % batch_size
    records = classifier.classify(
        pictures[start:],
        topk,
        batch_size=batch_size,
        workers=workers,
        thumbnails=thumbnails,
        speed=speed,
    )
    with closing(records):
        for record in islice(records, skip - start, None):
            writing = time.perf_counter()
            write(record)
            speed.write += time.perf_counter() - writing
            totals.add(record.error)
            if strict and record.error:
                raise InputError(f"{record.path}: {record.error}; stopped there, as --strict asks")
    return Outcome(totals, time.perf_counter() - begun, speed)
