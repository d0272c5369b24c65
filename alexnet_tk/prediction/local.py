"""A run in this process: every picture answered, in order, and accounted for."""

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from itertools import islice

from alexnet_tk.errors import InputError
from alexnet_tk.inference import Classifier, Record
from alexnet_tk.inference.speed import Speed
from alexnet_tk.interrupt import deferred, stop
from alexnet_tk.machine import usable_cores
from alexnet_tk.prediction.account import Totals


class LocalRun:
    """A run over pictures; its counts can be read at any time, also after an error.

    Parameters
    ----------
    classifier, pictures, topk, batch_size, workers, thumbnails
        as `Classifier.classify` takes them

    """

    def __init__(
        self,
        classifier: Classifier,
        pictures: Sequence[str],
        topk: int,
        *,
        batch_size: int | None = None,
        workers: int | None = None,
        thumbnails: bool = False,
    ) -> None:
        self.classifier, self.pictures, self.topk = classifier, pictures, topk
        self.workers = workers or usable_cores()
        self.batch_size = batch_size or classifier.batch_size(len(pictures), self.workers)
        self.thumbnails = thumbnails
        self.totals = Totals()
        self.seconds = 0.0
        self.speed = Speed(self.workers, self.batch_size, classifier.device.is_cuda, classifier.precision)

    def write_records(
        self, write: Callable[[Record], None], *, skip: int = 0, strict: bool = False
    ) -> "LocalRun":
        """Hand a record for each picture to `write`, in order, as they come.

        Ctrl-C and SIGTERM end it between two records; a second one ends it at once.

        Parameters
        ----------
        write
            is called in this thread
        skip
            the number of pictures that were answered before. Batches are cut as if they were not, since
            another cut may change the last digit of a probability
        strict
            stop before the first picture that fails, so that a later run can go on there

        Raises
        ------
        InputError
            a picture failed, and `strict`

        """
        begun = time.perf_counter()
        start = skip - skip % self.batch_size
        records = self.classifier.classify(
            self.pictures[start:],
            self.topk,
            batch_size=self.batch_size,
            workers=self.workers,
            thumbnails=self.thumbnails,
        )
        self.speed = records.speed
        try:
            with deferred() as interrupt, closing(records):
                for record in islice(records, skip - start, None):
                    stop(interrupt.number)
                    if strict and record.error:
                        raise InputError(f"{record.path}: {record.error}; stopped there, as --strict asks")
                    writing = time.perf_counter()
                    write(record)
                    self.speed.write += time.perf_counter() - writing
                    self.totals.add(record.error)
        finally:
            self.seconds = time.perf_counter() - begun
        return self
