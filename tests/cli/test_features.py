"""`alexnet-tk features`: from a checkpoint to files of features, also where the command is killed."""

import json
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from alexnet_tk import images
from alexnet_tk.training.checkpoint import Checkpoint
from tests.cli.command import SCRIPT, Run


@pytest.fixture(scope="module")
def model(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder's checkpoint, exported with features."""
    path = tmp_path_factory.mktemp("model") / "features.onnx"
    words = ["export", str(folder / "model.pt"), "--features", "--output", str(path)]
    done = subprocess.run([SCRIPT, *words], capture_output=True, text=True, check=True)
    assert "largest relative difference of features" in done.stdout
    return str(path)


def test_features_are_the_checkpoints(folder: Path, run_here: Run, model: str, tmp_path: Path) -> None:
    checkpoint = Checkpoint.load(folder / "model.pt")
    paths = sorted(map(str, (folder / "images/Bag").iterdir()))
    pixels = np.stack([images.load(path, checkpoint.preprocess) for path in paths])
    with torch.inference_mode():
        expected = checkpoint.classifier().with_features(torch.from_numpy(pixels))[1].numpy()
    for device in ("cpu", "auto"):
        words = ("features", str(folder / "images/Bag"), "--model", model, "--device", device)
        done = run_here(*words, "--output", "f.npy", "--overwrite", cwd=tmp_path)
        assert done.stdout == ""
        assert "100 found, 100 answered" in done.stderr
        found = np.load(tmp_path / "f.npy", mmap_mode="r")
        distance = np.linalg.norm(found - expected, axis=1)
        assert (distance <= 1e-5 * np.linalg.norm(expected, axis=1)).all()
        lines = (tmp_path / "f.npy.jsonl").read_text().splitlines()
        assert [json.loads(line)["path"] for line in lines] == paths


def test_a_picture_that_fails_is_a_row_without_features(
    folder: Path, run_here: Run, model: str, tmp_path: Path
) -> None:
    listed = [str(folder / "images/Bag/0000.png"), "gone.png", str(folder / "images/Coat/0000.png")]
    (tmp_path / "list").write_text("\n".join(listed))
    words = ("features", "--from", "list", "--model", model, "--dtype", "float16", "--output", "f.parquet")
    assert "1 failed (1 × no such file)" in run_here(*words, cwd=tmp_path, code=3).stderr
    table = pq.read_table(tmp_path / "f.parquet")
    assert table["path"].to_pylist() == listed
    assert [len(each or ()) for each in table["features"].to_pylist()] == [16, 0, 16]
    assert "--overwrite" in run_here(*words, cwd=tmp_path, code=1).stderr
    assert (
        "3 skipped, answered before, 1 of them failed"
        in run_here(*words, "--resume", cwd=tmp_path, code=3).stderr
    )


def test_a_model_without_features_names_the_export(folder: Path, run_here: Run, tmp_path: Path) -> None:
    words = ("features", str(folder / "images/Bag"), "--output", "f.npy")
    error = run_here(*words, "--model", str(folder / "model.onnx"), cwd=tmp_path, code=1).stderr
    assert "does not give features; `alexnet-tk export model.pt --features` makes a file that does" in error
    assert "--output" in run_here("features", "images/", cwd=tmp_path, code=2).stderr
    assert list(tmp_path.iterdir()) == []


def test_the_built_in_model_gives_them(folder: Path, run_here: Run, tmp_path: Path) -> None:
    run_here("features", str(folder / "images/Bag"), "--output", "f.npy", cwd=tmp_path)
    assert np.load(tmp_path / "f.npy").shape == (100, 768)


def test_show_tells_them(run_here: Run, model: str, tmp_path: Path) -> None:
    assert "\nfeatures = 16\n" in run_here("show", model, cwd=tmp_path).stdout


@pytest.mark.parametrize("ending", ["npy", "parquet"])
def test_killed_and_resumed_it_writes_the_same_bytes(
    ending: str, folder: Path, run_here: Run, model: str, tmp_path: Path
) -> None:
    for i in range(20):  # enough to be killed in
        (tmp_path / f"{i}").symlink_to(folder / "images" / "Bag")
    inputs = [f"{i}/" for i in range(20)]
    options = ["--model", model, "--device", "cpu", "--batch-size", "4"]
    output, journal = tmp_path / f"f.{ending}", tmp_path / f"f.{ending}.rows"
    words = ["features", *inputs, *options, "--output", output.name]
    process = subprocess.Popen([SCRIPT, *words], cwd=tmp_path, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not (journal.exists() and journal.stat().st_size > 5_000):
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not output.exists()
    assert "skipped, answered before" in run_here(*words, "--resume", cwd=tmp_path).stderr
    run_here("features", *inputs, *options, "--output", f"whole.{ending}", cwd=tmp_path)
    assert output.read_bytes() == (tmp_path / f"whole.{ending}").read_bytes()
    assert not journal.exists()
