"""Which thread does what, and how many runs of the network there are at once."""

import threading
import time
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from alexnet_tk.errors import ModelError
from alexnet_tk.inference import Classifier, Record
from alexnet_tk.inference.model import Input, Model
from alexnet_tk.inference.session import Device
from alexnet_tk.preprocess import Preprocess

LABELS = [f"class {number}" for number in range(256)]
PICTURES = np.zeros((60, 8, 8, 3), np.uint8)
PICTURES[:, 0, 0, 0] = range(60)


class Slow:
    """A session that is sure of the class whose number is a picture's first pixel, later batches sooner."""

    def __init__(self, fails_at: int = -1, gathers: int = 0) -> None:
        self.fails_at = fails_at
        self.gathers = gathers  # the first runs wait until there are so many at once
        self.threads: set[threading.Thread] = set()
        self.running, self.most = 0, 0
        self.changed = threading.Condition()

    def run(self, outputs: list[str], inputs: dict[str, NDArray[np.uint8]], /) -> Any:
        (pictures,) = inputs.values()
        numbers = pictures[:, 0, 0, 0]
        with self.changed:
            self.threads.add(threading.current_thread())
            self.running += 1
            self.most = max(self.most, self.running)
            self.changed.notify_all()
            self.changed.wait_for(lambda: self.most >= self.gathers, timeout=10)
        time.sleep(0.01 if numbers[0] % 8 else 0.02)
        with self.changed:
            self.running -= 1
        if self.fails_at in numbers:
            raise RuntimeError("the device is gone")
        return [np.eye(len(LABELS), dtype=np.float32)[numbers]]


def classifier(session: Slow, device: str) -> Classifier:
    preprocess = Preprocess(8, 8, "bilinear", "RGB", (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    graph_input = Input.ours("uint8", preprocess)
    return Classifier(Model(session, Device(device, "a test"), LABELS, preprocess, graph_input, None, {}))


@pytest.mark.parametrize(
    ("device", "at_once"), [("cpu", 5), ("openvino", 5), ("cuda:0", 2), ("cuda:0, cuda:3", 4)]
)
def test_a_gpu_is_given_two_batches_at_a_time(device: str, at_once: int) -> None:
    session = Slow(gathers=at_once)
    records = list(classifier(session, device).classify(PICTURES, batch_size=4, workers=5))
    assert [record.labels for record in records] == [(label,) for label in LABELS[:60]]
    assert session.most == at_once


@pytest.mark.parametrize("device", ["cpu", "openvino", "cuda:0"])
def test_the_callers_thread_neither_runs_nor_ranks(device: str) -> None:
    session, seen = Slow(), set[threading.Thread]()

    def then(records: list[Record]) -> list[str]:
        seen.add(threading.current_thread())
        return [record.labels[0] for record in records]

    batches = list(classifier(session, device).batches(PICTURES, 1, then, batch_size=7, workers=2))
    assert batches == [LABELS[first : min(first + 7, 60)] for first in range(0, 60, 7)]
    assert threading.current_thread() not in session.threads | seen
    assert seen


@pytest.mark.parametrize("device", ["cpu", "openvino", "cuda:0", "cuda:0, cuda:1"])
def test_an_error_comes_after_the_batches_before_it(device: str) -> None:
    before = set(threading.enumerate())
    records = classifier(Slow(fails_at=22), device).classify(PICTURES, batch_size=4, workers=2)
    assert [next(records).labels[0] for _ in range(20)] == LABELS[:20]
    with pytest.raises(ModelError, match="the device is gone; `alexnet-tk doctor`"):
        next(records)
    assert set(threading.enumerate()) <= before


def test_an_error_of_the_callers_function_is_raised_and_ends_the_threads() -> None:
    def then(records: list[Record]) -> None:
        if records[0].labels[0] == LABELS[8]:
            raise ValueError("no row for this")

    before = set(threading.enumerate())
    batches = classifier(Slow(), "cuda:0").batches(PICTURES, 1, then, batch_size=4, workers=2)
    assert next(batches) is None
    assert next(batches) is None
    with pytest.raises(ValueError, match="no row for this"):
        next(batches)
    assert set(threading.enumerate()) <= before


def test_waiting_for_a_turn_is_not_time_of_the_network() -> None:
    records = classifier(Slow(), "cuda:0").classify(PICTURES, batch_size=4, workers=12)
    begun = time.perf_counter()
    list(records)
    assert records.speed.infer < 3 * (time.perf_counter() - begun)
