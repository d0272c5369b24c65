"""How many workers decode at once, by what decoding and computing take."""

import threading
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alexnet_tk.inference import decoding_turns
from alexnet_tk.inference.decoding_turns import DecodingTurns

seconds = st.floats(0, 10)


@pytest.mark.parametrize(
    ("workers", "decode", "compute", "limit"),
    [
        (2, 0.35, 0.65, 1),  # of small pictures: the two workers take turns
        (2, 0.45, 0.55, 2),
        (2, 9.0, 0.1, 2),
        (16, 0.25, 0.75, 5),
        (16, 0.0, 1.0, 1),
        (1, 1.0, 1.0, 1),
    ],
)
def test_enough_decode_to_keep_all_busy(workers: int, decode: float, compute: float, limit: int) -> None:
    turns = DecodingTurns(workers)
    assert turns.limit == ceil(workers / 2)
    turns.learn(decode, compute)
    assert turns.limit == limit


def test_short_first_batches_tell_nothing() -> None:
    turns = DecodingTurns(2)
    for _ in range(2):
        turns.learn(0.2, 0.01)
    assert turns.limit == 1
    for _ in range(9):
        turns.learn(0.01, 0.03)
    assert turns.limit == 1
    turns.learn(5.0, 0.0)
    assert turns.limit == 2


@given(st.integers(1, 9), st.lists(st.tuples(seconds, seconds)))
def test_somebody_may_always_decode(workers: int, batches: list[tuple[float, float]]) -> None:
    turns = DecodingTurns(workers)
    for decode, compute in batches:
        turns.learn(decode, compute)
        assert 1 <= turns.limit <= workers


def test_no_more_than_the_limit_and_a_raised_limit_wakes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding_turns, "PATIENCE", 60)
    turns, inside, most = DecodingTurns(4), 0, 0
    entered, leave = threading.Semaphore(0), threading.Event()

    def work() -> None:
        nonlocal inside, most
        with turns.turn():
            inside += 1
            most = max(most, inside)
            entered.release()
            assert leave.wait(60)
            inside -= 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for each in threads:
        each.start()
    for _ in range(2):
        assert entered.acquire(timeout=60)
    assert not entered.acquire(timeout=0.2)
    turns.learn(1.0, 0.0)
    for _ in range(2):
        assert entered.acquire(timeout=60)
    leave.set()
    for each in threads:
        each.join(60)
    assert (inside, most) == (0, 4)


def test_nobody_waits_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding_turns, "PATIENCE", 0.01)
    turns = DecodingTurns(2)
    with turns.turn(), turns.turn(), turns.turn():
        turns.learn(0.1, 0.9)
    assert turns.limit == 1


def test_an_error_gives_the_turn_back() -> None:
    turns = DecodingTurns(1)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError), turns.turn():
            _ = 1 / 0
