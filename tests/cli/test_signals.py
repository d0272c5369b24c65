"""Commands that are interrupted, ended or killed: their exit codes, and what they leave behind."""

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from alexnet_tk.prediction.formats import FORMATS, AppendableFormat, WholeFormat
from alexnet_tk.prediction.output import OutputFile
from tests.cli.command import SCRIPT, Run, heed_ctrl_c, run
from tests.conftest import TINY


@pytest.mark.parametrize(
    ("device", "number", "code"),
    [
        (device, number, code)
        for device in ("cpu", "openvino")
        for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143))
    ],
)
def test_a_signal_keeps_what_was_finished(
    folder: Path, tmp_path: Path, device: str, number: signal.Signals, code: int
) -> None:
    if device == "openvino":
        pytest.importorskip("openvino", exc_type=ImportError)
    output = tmp_path / "answers.csv"
    for i in range(60):  # enough to be interrupted in
        (tmp_path / f"{i}").symlink_to(folder / "images" / "Bag")
    inputs = [str(tmp_path / f"{i}") + "/" for i in range(60)]
    process = subprocess.Popen(
        [
            SCRIPT,
            "predict",
            *inputs,
            "--model",
            folder / "model.onnx",
            "--output",
            output,
            "--batch-size",
            "4",
            "--device",
            device,
        ],
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=heed_ctrl_c,
    )
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and (not output.exists() or output.stat().st_size < 500):
        time.sleep(0.01)
    process.send_signal(number)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == code
    assert "Traceback" not in errors
    text = output.read_text()
    assert text.endswith("\n")
    assert 5 < text.count("\n") < 6001
    assert {len(line.split(",")) for line in text.splitlines()} == {5}
    answered = text.count("\n") - 1
    assert f"6,000 found, {answered:,} answered; {6000 - answered:,} left" in errors


def test_a_second_ctrl_c_ends_at_once() -> None:
    """Even work that takes its time to end in good order, here an hour."""
    code = """if True:
        import signal, time
        from alexnet_tk.cli import main

        main._prepare_process()
        try:
            signal.raise_signal(signal.SIGINT)
        finally:
            print("ending", flush=True)
            signal.raise_signal(signal.SIGINT)
            time.sleep(3600)
    """
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        preexec_fn=heed_ctrl_c,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "ending\n", "")


def test_ctrl_c_while_training_keeps_the_best_weights(folder: Path, run_here: Run, tmp_path: Path) -> None:
    settings = [word for each in (*TINY, "train.epochs=500") for word in ("--set", each)]
    process = subprocess.Popen(
        [SCRIPT, "train", folder / "images", *settings],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=heed_ctrl_c,
    )
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline and not (tmp_path / "model.pt").exists():
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Traceback" not in errors
    run_here("export", "model.pt", cwd=tmp_path)


def test_ctrl_c_while_measuring(folder: Path) -> None:
    process = subprocess.Popen(
        [SCRIPT, "benchmark", "model.onnx"],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=heed_ctrl_c,
    )
    assert process.stderr is not None
    assert any("rounds" in line for line in process.stderr), "it has started to measure"
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert output == ""
    assert "stopped by Ctrl-C" in errors
    assert "Traceback" not in errors


def test_nohup_is_heeded(folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "answers.csv"
    inputs = ["images/"] * 5
    process = subprocess.Popen(
        ["nohup", SCRIPT, "predict", *inputs, "--output", output, "--batch-size", "4"],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and (not output.exists() or output.stat().st_size < 500):
        time.sleep(0.01)
    process.send_signal(signal.SIGHUP)
    assert process.wait(timeout=60) == 0
    assert output.read_text().count("\n") == 5001


@pytest.mark.parametrize(
    ("form", "device"),
    [
        ("csv", "cpu"),
        ("csv", "openvino"),
        pytest.param("jsonl", "cpu", marks=pytest.mark.slow),
        pytest.param("parquet", "cpu", marks=pytest.mark.slow),
        pytest.param("parquet", "openvino", marks=pytest.mark.slow),
    ],
)
def test_predictions_that_were_killed_go_on(folder: Path, tmp_path: Path, form: str, device: str) -> None:
    """After SIGKILL at random moments the file is that of a run that was never disturbed, byte for byte."""
    if device == "openvino":
        pytest.importorskip("openvino", exc_type=ImportError)
    chance = random.Random(form)
    whole, output = tmp_path / f"whole.{form}", tmp_path / f"out.{form}"
    format = FORMATS[form]
    assert isinstance(format, (AppendableFormat, WholeFormat))
    grows = OutputFile(output, format).appended
    words = [
        "predict",
        str(folder / "images"),
        str(tmp_path / "x.png"),
        "--model",
        str(folder / "model.onnx"),
        "--device",
        device,
    ]
    (tmp_path / "x.png").write_text("no picture")
    run(*words, "--top5", "--output", str(whole), cwd=tmp_path, code=3)
    size = 100_000  # of all answers, about
    kills = 0
    while True:
        limit = (grows.stat().st_size if grows.exists() else 0) + chance.uniform(0.1, 0.6) * size
        process = subprocess.Popen(
            [SCRIPT, *words, "--top5", "--output", str(output), "--resume"],
            cwd=tmp_path,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        while process.poll() is None and not (grows.exists() and grows.stat().st_size > limit):
            time.sleep(0.001)
        if process.poll() is not None:
            break
        process.kill()
        process.wait()
        kills += 1
    assert kills
    assert process.returncode == 3
    assert output.read_bytes() == whole.read_bytes()
    done = run(*words, "--top5", "--output", str(output), "--resume", cwd=tmp_path, code=3)
    assert "1,001 skipped" in done.stderr
    assert output.read_bytes() == whole.read_bytes()
