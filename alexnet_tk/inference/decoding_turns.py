"""Which workers decode, and which compute meanwhile."""

from collections.abc import Iterator
from contextlib import contextmanager
from math import ceil
from threading import Condition

MARGIN = 1.25  # more decoders than are needed on average, so that nobody waits where batches differ
PATIENCE = 0.25  # seconds, for what takes long, such as reading URLs, before anything is known
ENOUGH = 0.25  # seconds of work that tell something; before, what is done only once would count too much


class DecodingTurns:
    """Lets as many workers decode at once as keep all of them busy, and no more.

    Decoding small pictures is mostly Python, of which one thread runs at a time. Workers that all decode and
    then all compute hold each other up; in turn, some decode while others compute outside of Python. To begin
    with, half of them decode.
    """

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self.limit = ceil(workers / 2)
        self._decoding = self._batches = 0
        self._decode = self._compute = 0.0
        self._changed = Condition()

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait until it is this worker's turn to decode, but not for long."""
        with self._changed:
            self._changed.wait_for(lambda: self._decoding < self.limit, PATIENCE)
            self._decoding += 1
        try:
            yield
        finally:
            with self._changed:
                self._decoding -= 1
                self._changed.notify()

    def learn(self, decode: float, compute: float) -> None:
        """Take in how many seconds a batch was decoded and computed."""
        with self._changed:
            self._batches += 1
            if self._batches <= self._workers and decode + compute < ENOUGH:
                return
            self._decode += decode
            self._compute += compute
            seconds = self._decode + self._compute
            if seconds >= ENOUGH:
                needed = ceil(MARGIN * self._workers * self._decode / seconds)
                self.limit = min(self._workers, max(1, needed))
                self._changed.notify_all()
