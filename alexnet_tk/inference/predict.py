"""A run over many pictures: what `alexnet-tk predict` does, every picture accounted for."""

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice

from alexnet_tk.errors import InputError
from alexnet_tk.inference.classify import Classifier
from alexnet_tk.inference.machine import usable_cores
from alexnet_tk.inference.results import Record, Totals
from alexnet_tk.inference.speed import Speed
from alexnet_tk.interrupt import deferred, stop


@dataclass
class Outcome:
    """What became of the pictures of a run, and how fast; of one that was stopped, too."""

    totals: Totals = field(default_factory=Totals)
    seconds: float = 0.0
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
    outcome: Outcome | None = None,
) -> Outcome:
    """Hand a record for each picture to `write`, in order, as they come.

    Ctrl-C and SIGTERM, and a second one at once, end it between two records.

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
        stop before the first picture that fails, so that a later run can take up there
    outcome
        is told of what became of the pictures, even if this raises; None: of a new one

    Raises
    ------
    InputError
        a picture failed, and `strict`

    """
    workers = workers or usable_cores()
    batch_size = batch_size or classifier.batch_size(len(pictures), workers)
    speed = Speed(workers, batch_size, classifier.device.name != "cpu", classifier.precision)
    outcome, begun = outcome or Outcome(), time.perf_counter()
    outcome.speed = speed
    start = skip - skip % batch_size
    records = classifier.classify(
        pictures[start:],
        topk,
        batch_size=batch_size,
        workers=workers,
        thumbnails=thumbnails,
        speed=speed,
    )
    try:
        with deferred() as interrupt, closing(records):
            for record in islice(records, skip - start, None):
                stop(interrupt.number)
                if strict and record.error:
                    raise InputError(f"{record.path}: {record.error}; stopped there, as --strict asks")
                writing = time.perf_counter()
                write(record)
                speed.write += time.perf_counter() - writing
                outcome.totals.add(record.error)
    finally:
        outcome.seconds = time.perf_counter() - begun
    return outcome
