"""Runs through reused arrays, on the CPU with a stand-in for CUDA's runtime."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest

from alexnet_tk import zoo
from alexnet_tk.inference import pinned
from alexnet_tk.inference.model import FEATURES_NAME, INPUT_NAME, OUTPUT_NAME
from alexnet_tk.inference.session import open_session


class Runtime:
    """Remembers what is page-locked; an error where `works` is false."""

    def __init__(self, works: bool = True) -> None:
        self.works = works
        self.registered: set[int] = set()
        self.errors_read = 0
        self.current: list[int] = []

    def cudaSetDevice(self, device: int) -> int:  # noqa: N802
        self.current.append(device)
        return 0

    def cudaHostRegister(self, address: Any, size: Any, flags: int) -> int:  # noqa: N802
        if self.works:
            self.registered.add(address.value)
        return 0 if self.works else 2

    def cudaHostUnregister(self, address: Any) -> int:  # noqa: N802
        self.registered.remove(address.value)
        return 0

    def cudaGetLastError(self) -> int:  # noqa: N802
        self.errors_read += 1
        return 2


@pytest.fixture(scope="module")
def session() -> ort.InferenceSession:
    return open_session(zoo.built_in_model(), "cpu")[0]


def batch(session: ort.InferenceSession, count: int, seed: int) -> dict[str, Any]:
    shape = (count, *session.get_inputs()[0].shape[1:])
    return {INPUT_NAME: np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)}


def test_outputs_are_those_that_are_asked_for(feature_file: Path) -> None:
    """One or both, in any order, in arrays that are reused where they fit."""
    session, runtime = open_session(feature_file, "cpu")[0], Runtime()
    runs = pinned.PinnedSession(session, runtime)
    asked = [[OUTPUT_NAME], [OUTPUT_NAME, FEATURES_NAME], [FEATURES_NAME], [FEATURES_NAME, OUTPUT_NAME]] * 2
    for seed, outputs in enumerate(asked):
        inputs = batch(session, 3, seed)
        found, expected = runs.run(outputs, inputs), session.run(outputs, inputs)
        assert len(found) == len(expected) == len(outputs)
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("works", [True, False])
def test_answers_are_those_of_the_session_and_stay(session: ort.InferenceSession, works: bool) -> None:
    runs = pinned.PinnedSession(session, Runtime(works))
    inputs = [batch(session, count, seed) for seed, count in enumerate((3, 3, 2, 3))]
    answers = [runs.run([OUTPUT_NAME], each)[0] for each in inputs]
    for each, found in zip(inputs, answers, strict=True):
        np.testing.assert_array_equal(found, session.run([OUTPUT_NAME], each)[0])


def test_arrays_are_reused_and_in_the_end_released(session: ort.InferenceSession) -> None:
    runtime = Runtime()
    runs = pinned.PinnedSession(session, runtime)
    for seed in range(3):
        runs.run([OUTPUT_NAME], batch(session, 2, seed))
    assert len(runtime.registered) == 2
    runs.run([OUTPUT_NAME], batch(session, 3, 0))  # others, in place of those
    assert len(runtime.registered) == 2
    del runs
    assert not runtime.registered


def test_runs_of_two_threads_have_arrays_of_their_own(session: ort.InferenceSession) -> None:
    runs = pinned.PinnedSession(session, Runtime())
    inputs = [batch(session, 2, seed) for seed in range(12)]
    with ThreadPoolExecutor(2) as threads:
        answers = list(threads.map(lambda each: runs.run([OUTPUT_NAME], each)[0], inputs))
    for each, found in zip(inputs, answers, strict=True):
        np.testing.assert_array_equal(found, session.run([OUTPUT_NAME], each)[0])


def test_a_refused_registration_leaves_no_error_behind(session: ort.InferenceSession) -> None:
    runtime = Runtime(works=False)
    pinned.PinnedSession(session, runtime).run([OUTPUT_NAME], batch(session, 2, 0))
    assert runtime.errors_read == 2


def test_without_cudas_runtime_the_session_is_as_it_is(
    session: ort.InferenceSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> None:
        raise OSError(name)

    monkeypatch.setattr("ctypes.CDLL", missing)
    assert pinned.pinned(session) is session


def test_memory_is_page_locked_on_the_sessions_own_gpu(session: ort.InferenceSession) -> None:
    """A thread's current device is GPU 0 until it says another, and registering makes a context there."""

    class OnSecondGPU:
        get_outputs, run_with_ortvaluevector = session.get_outputs, session.run_with_ortvaluevector

        def get_provider_options(self) -> dict[str, dict[str, str]]:
            return {"CUDAExecutionProvider": {"device_id": "1"}, "CPUExecutionProvider": {}}

    runtime, on_second = Runtime(), OnSecondGPU()
    runs = pinned.PinnedSession(on_second, runtime)
    with ThreadPoolExecutor(1) as thread:
        thread.submit(runs.run, [OUTPUT_NAME], batch(session, 2, 0)).result()
    assert runtime.current == [1, 1]
