"""`alexnet-tk train` in several processes, as a person starts, stops, kills and resumes it."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from alexnet_tk.exporting import export
from alexnet_tk.inference import Classifier
from alexnet_tk.training import Checkpoint, train
from alexnet_tk.training.parallel import MODES
from tests.cli.command import heed_ctrl_c
from tests.conftest import TINY

SCRIPT = Path(sys.executable).with_name("alexnet-tk")
SETTINGS = (
    "train.precision=fp32",  # in bfloat16 the sums of several processes differ too much
    *TINY,
    "network.init=he",
    "preprocess.std=[60,60,60]",
    "train.batch_size=12",
    "train.micro_batches=3",
    "train.epochs=2",
)
WORDS = [word for each in SETTINGS for word in ("--set", each)]
LONG = [*WORDS, "--set", "train.epochs=40"]  # some twenty seconds: enough to be interrupted


def command(pictures: Path, *words: str | Path) -> list[str | Path]:
    return [SCRIPT, "train", pictures, "--device", "cpu", *words]


def start(folder: Path, *words: str | Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        words,
        cwd=folder,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=heed_ctrl_c,
    )


def wait_for_epoch(folder: Path, epoch: int) -> None:
    for _ in range(2400):
        if len(epochs_of(folder)) >= epoch:
            return
        time.sleep(0.05)
    raise AssertionError(f"epoch {epoch} never came")


def epochs_of(folder: Path) -> list[dict[str, float]]:
    """The figures of each epoch; a line that is still being written is left out."""
    metrics = folder / "runs" / "model" / "metrics.jsonl"
    lines = metrics.read_text(encoding="utf-8").splitlines(keepends=True) if metrics.exists() else []
    figures = [json.loads(line) for line in lines if line.endswith("\n")]
    return [each for each in figures if "step" not in each]


def processes_in(folder: Path) -> dict[int, str]:
    """The processes that work in a folder, with their command lines."""
    found = {}
    for each in Path("/proc").glob("[0-9]*"):
        try:
            if (each / "cwd").resolve() == folder.resolve():
                found[int(each.name)] = (each / "cmdline").read_text().replace("\0", " ")
        except OSError:
            continue
    return found


def workers_in(folder: Path) -> list[int]:
    return [pid for pid, line in processes_in(folder).items() if "alexnet_tk.cli.main" in line]


@pytest.fixture(scope="module")
def alone(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run in one process."""
    folder = tmp_path_factory.mktemp("alone")
    train(pictures, settings=SETTINGS, output=folder / "model.pt", device="cpu")
    return folder


@pytest.fixture(scope="module")
def answers_alone(pictures: Path, alone: Path) -> list[dict[str, float]]:
    return exported_answers(alone, pictures)


def exported_answers(folder: Path, pictures: Path) -> list[dict[str, float]]:
    """The probabilities of the pictures by the folder's checkpoint, through an ONNX file."""
    export(folder / "model.pt", folder / "model.onnx", verify_on=pictures, overwrite=True)
    records = Classifier(folder / "model.onnx", "cpu").classify(sorted(pictures.rglob("*.png")), topk=3)
    return [dict(zip(each.labels, each.probabilities, strict=True)) for each in records]


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_two_processes_write_one_checkpoint_log_and_file(
    mode: str, pictures: Path, alone: Path, answers_alone: list[dict[str, float]], tmp_path: Path
) -> None:
    words = command(pictures, "--gpus", "2", "--parallel", mode, *WORDS)
    done = subprocess.run(words, cwd=tmp_path, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(re.findall(r"^epoch +\d/2 ", done.stdout, re.MULTILINE)) == 2
    assert len(re.findall(r"^model\.pt: ", done.stdout, re.MULTILINE)) == 1
    assert done.stderr.count("data: ") == done.stderr.count("recipe: ") == 1
    assert processes_in(tmp_path) == {}

    for one, other in zip(epochs_of(alone), epochs_of(tmp_path), strict=True):
        assert one == pytest.approx(other, abs=1e-4)
    run = {path.name.partition(".")[0] for path in (tmp_path / "runs/model").iterdir()}
    assert run == {"last", "metrics", "curves", "confusion", "filters", "events", "steps"}

    for one, other in zip(answers_alone, exported_answers(tmp_path, pictures), strict=True):
        assert one == pytest.approx(other, abs=1e-4)


@pytest.mark.slow
def test_two_processes_say_once_how_long_they_will_take(pictures: Path, tmp_path: Path) -> None:
    settings = ("--set", "train.batch_size=4", "--set", "train.epochs=3")
    words = command(pictures, "--gpus", "2", *WORDS, *settings)
    done = subprocess.run(words, cwd=tmp_path, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(re.findall(r"^own-pictures: (about|under) ", done.stderr, re.MULTILINE)) == 1


@pytest.mark.slow
def test_any_mode_goes_on_from_any_other(pictures: Path, tmp_path: Path) -> None:
    """Stopped by Ctrl-C and by SIGTERM on the way; the end is that of one process, up to rounding."""
    few = (*SETTINGS, "train.epochs=9", "train.lr=0.001")
    words = [word for each in few for word in ("--set", each)]
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    whole.mkdir()
    stopped.mkdir()
    train(pictures, settings=few, output=whole / "model.pt", device="cpu")
    for epoch, number, code, mode in (  # and in more or fewer micro-batches
        (1, signal.SIGINT, 130, ("--gpus", "2", "--parallel", "towers")),
        (3, signal.SIGTERM, 143, ("--gpus", "2", "--parallel", "pipeline", "--set", "train.micro_batches=2")),
        (5, signal.SIGTERM, 143, ("--gpus", "3")),
        (7, signal.SIGINT, 130, ("--gpus", "2", "--parallel", "hybrid")),
    ):
        process = start(stopped, *command(pictures, *words, *mode, "--resume"))
        wait_for_epoch(stopped, epoch)
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == code, errors
        assert "Traceback" not in errors
        assert processes_in(stopped) == {}
    train(pictures, settings=few, output=stopped / "model.pt", resume=True, device="cpu")
    ends = [
        torch.load(each / "runs/model/last.pt", weights_only=True)["trainer"]["weights"]
        for each in (whole, stopped)
    ]
    for name, weights in ends[0].items():
        torch.testing.assert_close(ends[1][name], weights, rtol=0, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_a_killed_process_ends_the_run(mode: str, pictures: Path, tmp_path: Path) -> None:
    process = start(tmp_path, *command(pictures, "--gpus", "2", "--parallel", mode, *LONG))
    wait_for_epoch(tmp_path, 1)
    victim = sorted(workers_in(tmp_path))[-1]
    os.kill(victim, signal.SIGKILL)
    begun = time.monotonic()
    _, errors = process.communicate(timeout=60)
    assert time.monotonic() - begun < 30
    assert process.returncode == 1
    lines = [line for line in errors.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, errors
    assert re.match(r"error: process [01] of 2 was ended by SIGKILL, .*--resume", lines[0])
    assert "Traceback" not in errors
    assert processes_in(tmp_path) == {}
    assert Checkpoint.load(tmp_path / "model.pt").training["epoch"] >= 1
    if mode == "data":  # the test above resumes from the other modes' checkpoints
        train(pictures, output=tmp_path / "model.pt", resume=True, device="cpu")
        assert len(epochs_of(tmp_path)) == 40


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="prctl(2) is Linux's")
def test_a_killed_launcher_leaves_no_process(pictures: Path, tmp_path: Path) -> None:
    process = start(tmp_path, *command(pictures, "--gpus", "2", *LONG))
    wait_for_epoch(tmp_path, 1)
    process.kill()
    for _ in range(300):
        if not processes_in(tmp_path):
            break
        time.sleep(0.1)
    assert processes_in(tmp_path) == {}
    process.communicate()


@pytest.mark.slow
def test_a_signal_to_one_process_stops_all(pictures: Path, tmp_path: Path) -> None:
    process = start(tmp_path, *command(pictures, "--gpus", "2", *LONG))
    wait_for_epoch(tmp_path, 1)
    os.kill(workers_in(tmp_path)[-1], signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 143, errors
    assert re.findall("^error: .*", errors, re.MULTILINE) == [
        "error: a process received SIGTERM, so all saved and ended; continue with --resume"
    ]
    assert processes_in(tmp_path) == {}


@pytest.mark.slow
def test_a_second_ctrl_c_ends_all_at_once(pictures: Path, tmp_path: Path) -> None:
    process = subprocess.Popen(
        command(pictures, "--gpus", "2", *LONG),
        cwd=tmp_path,
        text=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
        preexec_fn=heed_ctrl_c,
    )
    wait_for_epoch(tmp_path, 1)
    for worker in workers_in(tmp_path):
        os.kill(worker, signal.SIGSTOP)  # they take their time
    for _ in range(2):
        os.kill(process.pid, signal.SIGINT)
        time.sleep(1)
    _, errors = process.communicate(timeout=10)
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert processes_in(tmp_path) == {}


@pytest.mark.slow
def test_torchrun_starts_a_dead_run_again(pictures: Path, tmp_path: Path) -> None:
    torchrun = Path(sys.executable).with_name("torchrun")
    again = ("--standalone", "--nproc-per-node", "2", "--max-restarts", "1", "--no-python")
    process = start(tmp_path, torchrun, *again, *command(pictures, *WORDS, "--set", "train.epochs=12"))
    wait_for_epoch(tmp_path, 2)
    workers = [pid for pid, line in processes_in(tmp_path).items() if "torchrun" not in line]
    os.kill(sorted(workers)[-1], signal.SIGKILL)
    out, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert re.search(r"resuming after [1-9]\d* of 12 epochs", errors)
    epochs = [int(each) for each in re.findall(r"^epoch +(\d+)/12 ", out, re.MULTILINE)]
    assert sorted(set(epochs)) == list(range(1, 13))

    # An output that is refused is refused after a restart too; the earlier run is not resumed.
    last = (tmp_path / "runs/model/last.pt").read_bytes()
    once_again = ("--standalone", "--nproc-per-node", "1", "--max-restarts", "1", "--no-python")
    process = start(tmp_path, torchrun, *once_again, *command(pictures, *WORDS))
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 1, errors
    assert len(re.findall("^error: model.pt exists already", errors, re.MULTILINE)) == 2
    assert (tmp_path / "runs/model/last.pt").read_bytes() == last


@pytest.mark.slow
def test_a_mistake_is_reported_once(pictures: Path, tmp_path: Path) -> None:
    words = ("--gpus", "2", "--parallel", "towers", "--set", "network.towers=1")
    done = subprocess.run(
        command(pictures, *words, *WORDS), cwd=tmp_path, check=False, capture_output=True, text=True
    )
    assert done.returncode == 2, done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert errors == ["error: --parallel towers needs network.towers of 2 or more, not 1"]
    assert "Traceback" not in done.stderr
