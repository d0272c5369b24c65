"""`map` over a pool of threads: results in order, a bounded number of items in memory."""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

IN_FLIGHT_PER_WORKER = 3


def parallel_map(
    function: Callable[[Item], Result], items: Iterable[Item], workers: int
) -> Generator[Result]:
    """`map` in `workers` threads: results in the order of the items, at most three per worker in flight.

    An exception from the function is raised in place of its result; an exception from the items is raised
    after the results of the items before it. When the iterator is closed or garbage-collected, work that
    has not started is dropped.
    """
    pool = ThreadPoolExecutor(workers)
    pending: deque[Future[Result]] = deque()

    def submitted() -> Iterator[Future[Result]]:
        try:
            for item in items:
                yield pool.submit(function, item)
        except Exception as error:
            failed: Future[Result] = Future()
            failed.set_exception(error)
            yield failed

    try:
        for future in submitted():
            pending.append(future)
            if len(pending) >= IN_FLIGHT_PER_WORKER * workers:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
