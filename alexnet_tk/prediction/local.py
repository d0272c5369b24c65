"""A run in this process: every picture answered, in order, and accounted for."""

import time
from collections.abc import Callable, Sequence
from contextlib import closing

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
    classifier, pictures, topk, batch_size, workers, thumbnails, features, explain
        as `Classifier.batches` takes them
    row
        makes what is written of a record, in the worker threads; None: nothing is

    """

    def __init__(
        self,
        classifier: Classifier,
        pictures: Sequence[str],
        topk: int,
        *,
        row: Callable[[Record], bytes] | None = None,
        batch_size: int | None = None,
        workers: int | None = None,
        thumbnails: bool = False,
        features: bool = False,
        explain: bool = False,
    ) -> None:
        self.classifier, self.pictures, self.topk = classifier, pictures, topk
        self.row = row
        self.workers = workers or usable_cores()
        self.batch_size = batch_size or classifier.batch_size(len(pictures), self.workers)
        self.thumbnails, self.features, self.explain = thumbnails, features, explain
        self.totals = Totals()
        self.seconds = 0.0
        self.speed = Speed(self.workers, self.batch_size, classifier.device.runs, classifier.model.faster)

    def write_records(
        self,
        write: Callable[[list[Record], list[bytes]], None],
        *,
        skip: int = 0,
        strict: bool = False,
        singly: bool = False,
    ) -> "LocalRun":
        """Hand a record for each picture, and its row, to `write`, in order, as they come.

        Ctrl-C and SIGTERM end it between two calls of `write`; a second one ends it at once.

        Parameters
        ----------
        write
            is called in this thread, with the records of a batch, or a part of them, and their rows
        skip
            the number of pictures that were answered before. Batches are cut as if they were not, since
            another cut may change the last digit of a probability
        strict
            stop before the first picture that fails, so that a later run can go on there
        singly
            `write` receives one record at a time

        Raises
        ------
        InputError
            a picture failed, and `strict`

        """
        start = skip - skip % self.batch_size
        batches = self.classifier.batches(
            self.pictures[start:],
            self.topk,
            self._rows,
            batch_size=self.batch_size,
            workers=self.workers,
            thumbnails=self.thumbnails,
            features=self.features,
            explain=self.explain,
        )
        # After OpenVINO has compiled: what opens the network is no picture's time.
        begun = time.perf_counter()
        self.speed = batches.speed
        known = skip - start  # records of the first batch
        try:
            with deferred() as interrupt, closing(batches):
                for records, rows in batches:
                    end = len(records)
                    if strict:
                        end = next((i for i in range(known, end) if records[i].error), end)
                    size = 1 if singly else max(1, end - known)
                    for first in range(known, end, size):
                        stop(interrupt.number)
                        self._write(write, records[first : first + size], rows[first : first + size])
                    if end < len(records):
                        failed = records[end]
                        raise InputError(f"{failed.path}: {failed.error}; stopped there, as --strict asks")
                    known = 0
        finally:
            self.seconds = time.perf_counter() - begun
        return self

    def _rows(self, records: list[Record]) -> tuple[list[Record], list[bytes]]:
        """The records of a batch and what is written of them."""
        return records, [] if self.row is None else [self.row(each) for each in records]

    def _write(
        self, write: Callable[[list[Record], list[bytes]], None], records: list[Record], rows: list[bytes]
    ) -> None:
        writing = time.perf_counter()
        write(records, rows)
        self.speed.write += time.perf_counter() - writing
        for record in records:
            self.totals.add(record.error)
