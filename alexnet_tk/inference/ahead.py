"""Work done ahead in threads, with the results in order and little of it in memory."""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_ahead(function: Callable[[Item], Result], items: Iterable[Item], workers: int) -> Generator[Result]:
    """`map` in so many threads: results in the order of the items, at most three a worker at a time.

    An exception in the function is raised where its result would stand, and one of the items after the
    results of those before it. When the iterator is closed or garbage, work that has not begun is dropped.
    """
    pool = ThreadPoolExecutor(workers)
    ahead: deque[Future[Result]] = deque()

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
            ahead.append(future)
            if len(ahead) >= 3 * workers:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
