"""Which process does the work, and which one prints an error."""

import pytest

from alexnet_tk.errors import DataError, UsageError
from alexnet_tk.training.parallel import launch
from alexnet_tk.training.parallel.launch import REPORTS_ERRORS, reported_elsewhere, run_in_processes

RANK_1 = {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1"}


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, str, list[str]]]:
    """The calls of the launcher, which starts nothing."""
    calls: list[tuple[int, str, list[str]]] = []
    monkeypatch.setattr(launch, "_launch", lambda *arguments: calls.append(arguments))
    return calls


def test_several_processes_are_launched(launched: list[tuple[int, str, list[str]]]) -> None:
    assert run_in_processes(3, "module", ["train", "data"])
    assert launched == [(3, "module", ["train", "data"])]


@pytest.mark.parametrize("processes", [None, 1])
def test_one_process_does_the_work_itself(
    processes: int | None, launched: list[tuple[int, str, list[str]]]
) -> None:
    assert not run_in_processes(processes, "module", [])
    assert launched == []


def test_a_launched_process_does_its_part(
    launched: list[tuple[int, str, list[str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in RANK_1.items():
        monkeypatch.setenv(name, value)
    assert not run_in_processes(2, "module", [])
    assert launched == []


def test_who_prints_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    recorded: list[BaseException] = []

    class Handler:
        def record_exception(self, error: BaseException) -> None:
            recorded.append(error)

    monkeypatch.setattr("torch.distributed.elastic.multiprocessing.errors.get_error_handler", Handler)
    monkeypatch.delenv("TORCHELASTIC_ERROR_FILE", raising=False)
    assert not reported_elsewhere(DataError("alone"))
    assert not recorded

    monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", "error.json")  # started by torchrun
    for name, value in RANK_1.items():
        monkeypatch.setenv(name, value)
    assert not reported_elsewhere(DataError("its own"))
    assert reported_elsewhere(UsageError("the same in all processes"))
    monkeypatch.setenv("RANK", "0")
    assert not reported_elsewhere(UsageError("the same in all processes"))
    assert len(recorded) == 3

    monkeypatch.setenv(REPORTS_ERRORS, "1")  # started by `--gpus`
    assert reported_elsewhere(DataError("its own"))
