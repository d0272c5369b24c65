"""Work ahead in threads: order, the window, errors, the end."""

import gc
import itertools
import threading
import time
from collections.abc import Iterator

import pytest

from alexnet_tk.parallel_map import parallel_map

WORKERS = [1, 2, 8]


class Items:
    """Counts without end, and says how far it has been taken."""

    def __init__(self) -> None:
        self.taken = 0

    def __iter__(self) -> Iterator[int]:
        for number in itertools.count():
            self.taken += 1
            yield number


@pytest.mark.parametrize("workers", WORKERS)
@pytest.mark.parametrize("count", [0, 1, 2, 5, 50])
def test_results_are_in_the_order_of_the_items(workers: int, count: int) -> None:
    def slow_at_first(number: int) -> int:
        time.sleep(0.004 if number % 7 == 0 else 0)
        return number * number

    assert list(parallel_map(slow_at_first, range(count), workers)) == [i * i for i in range(count)]


@pytest.mark.parametrize("workers", WORKERS)
def test_no_more_than_three_items_a_worker_are_taken_ahead(workers: int) -> None:
    items = Items()
    results = parallel_map(str, items, workers)
    assert items.taken == 0, "nothing is taken before it is asked for"
    for consumed in range(1, 40):
        assert next(results) == str(consumed - 1)
        assert items.taken - (consumed - 1) <= 3 * workers
    assert items.taken - 39 >= workers - 1, "and enough to keep all of them at work"


def test_as_many_run_at_once_as_there_are_workers() -> None:
    together = threading.Barrier(4, timeout=20)
    results = parallel_map(lambda number: together.wait() and number, range(8), 4)
    assert len(list(results)) == 8


@pytest.mark.parametrize("workers", WORKERS)
def test_an_exception_stands_where_its_result_would(workers: int) -> None:
    def broken_at_five(number: int) -> int:
        if number == 5:
            raise ValueError("five")
        time.sleep(0.002)
        return number

    results = parallel_map(broken_at_five, range(20), workers)
    assert [next(results) for _ in range(5)] == [0, 1, 2, 3, 4]
    with pytest.raises(ValueError, match="five"):
        next(results)
    assert list(results) == []


@pytest.mark.parametrize("end", ["close", "garbage", "exception"])
def test_stopping_early_takes_no_more_items_and_leaves_no_thread(end: str) -> None:
    before = set(threading.enumerate())
    items = Items()
    done: list[int] = []

    def work(number: int) -> int:
        time.sleep(0.002)
        if number == 4 and end == "exception":
            raise ValueError("four")
        done.append(number)
        return number

    results = parallel_map(work, items, 2)
    next(results)
    if end == "close":
        results.close()
    elif end == "garbage":
        del results
        gc.collect()
    else:
        with pytest.raises(ValueError, match="four"):
            list(results)
    assert set(threading.enumerate()) <= before
    taken, finished = items.taken, len(done)
    time.sleep(0.03)
    assert (items.taken, len(done)) == (taken, finished)
    assert taken <= 6 + 4


def test_work_that_has_not_begun_is_dropped() -> None:
    begun: list[int] = []
    release = threading.Event()

    def work(number: int) -> int:
        begun.append(number)
        if number:
            release.wait(20)
        return number

    results = parallel_map(work, range(100), 1)
    assert next(results) == 0
    threading.Timer(0.05, release.set).start()
    results.close()
    assert set(begun) <= {0, 1}


@pytest.mark.parametrize("workers", WORKERS)
def test_an_exception_of_the_items_comes_after_their_results(workers: int) -> None:
    def items() -> Iterator[int]:
        yield from range(10)
        raise ValueError("no more")

    results = parallel_map(str, items(), workers)
    assert [next(results) for _ in range(10)] == [str(each) for each in range(10)]
    with pytest.raises(ValueError, match="no more"):
        next(results)
