"""Which process does the work, and which one prints an error."""

from pathlib import Path

import pytest
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure

from alexnet_tk.errors import CheckpointError, DataError, TrainingError, UsageError
from alexnet_tk.training.parallel import launch
from alexnet_tk.training.parallel.launch import REPORTS_ERRORS, reported_elsewhere, run_in_processes
from alexnet_tk.training.parallel.world import PEER_ENDED

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


@pytest.mark.parametrize(
    ("errors", "code", "message"),
    [
        ([UsageError("no such mesh")] * 2, 2, "no such mesh"),
        ([CheckpointError("none.pt does not exist")] * 2, 1, "none.pt does not exist"),
        ([TrainingError(f"{PEER_ENDED}; see"), DataError("a is gone")], 1, "process 1 of 2: a is gone"),
        (
            [TrainingError(f"{PEER_ENDED}; see"), ZeroDivisionError("by 0")],
            1,
            "process 1 of 2: ZeroDivisionError: by 0; --debug shows where",
        ),
    ],
)
def test_the_launcher_raises_the_error_that_caused_the_others(
    errors: list[Exception], code: int, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (RANK_1 | {REPORTS_ERRORS: "1"}).items():
        monkeypatch.setenv(name, value)
    failures = {}
    for rank, error in enumerate(errors):
        file = tmp_path / f"{rank}.json"
        monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", str(file))
        assert reported_elsewhere(error)
        failures[rank] = ProcessFailure(rank, 1000 + rank, getattr(error, "exit_code", 1), str(file))

    def fail(*_: object) -> None:
        raise ChildFailedError("module", failures)

    monkeypatch.setattr("torch.distributed.launcher.api.elastic_launch", lambda *_: fail)
    for name in RANK_1:
        monkeypatch.delenv(name)
    with pytest.raises(TrainingError) as raised:
        run_in_processes(2, "module", ["train"])
    assert (str(raised.value), raised.value.exit_code) == (message, code)
