"""`alexnet-tk evaluate` and `benchmark`: what they print, draw and write."""

import csv
import io
import json
import re
import shutil
from importlib import import_module
from pathlib import Path

import pytest

from alexnet_tk.benchmarking.figures import Benchmark, NetworkTiming
from tests.cli.command import Run


def test_evaluate_tells_the_same_of_a_checkpoint_and_its_export(
    folder: Path, run_here: Run, tmp_path: Path
) -> None:
    (exported, ours) = (
        run_here("evaluate", str(folder / name), str(folder / "images"), cwd=tmp_path)
        for name in ("model.onnx", "model.pt")
    )
    assert exported.stdout == ours.stdout
    first, second, third = exported.stdout.splitlines()[:3]
    interval = r"\d+\.\d% \(\d+\.\d% to \d+\.\d%\)"
    assert re.fullmatch(rf"top-1  accuracy {interval}, error {interval}", first)
    assert re.fullmatch(rf"top-5  accuracy {interval}, error {interval}", second)
    assert third == "1,000 pictures, the centre crop; 95 % intervals (Wilson)"
    assert "Ankle boot" in exported.stdout
    assert re.search(r"model\.onnx: \d+\.\d MB, on ", exported.stderr)
    assert re.search(r"1,000 pictures in .*/s\): 1,000 answered, 0 failed", exported.stderr)
    assert "time: read " in exported.stderr
    answers = run_here("predict", "images/", cwd=folder).stdout
    rows = list(csv.DictReader(io.StringIO(answers)))
    right = sum(row["label_1"] == Path(row["path"]).parent.name for row in rows)
    assert first.startswith(f"top-1  accuracy {right / 1000:.1%} (")
    averaged = run_here(
        "evaluate", str(folder / "model.onnx"), str(folder / "model.pt"), str(folder / "images"), cwd=tmp_path
    )
    assert averaged.stdout.splitlines()[0] == first, "the average of one model and itself"
    assert "the centre crop and 2 models" in averaged.stdout


def test_evaluate_with_all_its_options(folder: Path, run_here: Run, tmp_path: Path) -> None:
    shutil.copytree(folder / "images" / "Bag", tmp_path / "data" / "Bag")
    (tmp_path / "data" / "Bag" / "x.png").write_bytes(b"")
    words = ["evaluate", str(folder / "model.onnx"), "data", "--crops", "10", "--output", "a.json"]
    words += ["--confusion", "c.csv", "--confusion", "c.png", "--report", "page.html"]
    words += ["--device", "cpu", "--batch-size", "20", "--workers", "2"]
    done = run_here(*words, cwd=tmp_path, code=3)
    assert "failed: data/Bag/x.png: empty file" in done.stderr
    assert "9 of the model's labels (Ankle boot, Coat, Dress, Pullover, Sandal, …)" in done.stderr
    assert "a batch of 20: median" in done.stderr
    assert json.loads((tmp_path / "a.json").read_text())["crops"] == 10
    assert (tmp_path / "page.html").read_text().count("/9j/") == 100
    assert "--overwrite" in run_here(*words, cwd=tmp_path, code=1).stderr
    run_here(*words, "--overwrite", cwd=tmp_path, code=3)


@pytest.mark.slow
def test_benchmark_draws_a_table_of_80_columns(
    folder: Path, run_here: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("alexnet_tk.benchmarking.run.SECONDS", 6.0)
    other = tmp_path / "other.onnx"
    other.write_bytes((folder / "model.onnx").read_bytes())
    words = ["benchmark", str(folder / "model.onnx"), str(folder / "images" / "Bag"), "--compare", str(other)]
    done = run_here(*words, "--device", "cpu", "--output", "a.json", cwd=tmp_path)
    table = [line for line in done.stdout.splitlines() if line.startswith("cpu")]
    assert [line.split()[1:3] for line in table] == [[m, b] for b in ("1", "8", "32") for m in ("A", "B")]
    assert all(len(line) <= 80 for line in done.stdout.splitlines()[:8])
    assert "of the machine's limit" in done.stdout
    assert done.stdout.count("bound by") == 2
    told = json.loads((tmp_path / "a.json").read_text())
    assert len(told["ratios"]) == 4
    for each in told["ratios"]:
        assert 0.5 < each["ratio"]["median"] < 2, "the same file"


@pytest.mark.parametrize(
    ("width", "columns"), [(83, 9), (82, 8), (76, 8), (75, 7), (57, 7), (50, 6), (43, 5)]
)
def test_benchmark_cuts_no_figure_short(
    run_here: Run, tmp_path: Path, width: int, columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches = [
        NetworkTiming(Path(name), "cuda:0", 128, 1_234_000_000, [0.0123], [12_345.6, 12_000.1])
        for name in "AB"
    ]
    monkeypatch.setattr("alexnet_tk.benchmarking.benchmark", lambda *_, **__: Benchmark(2, batches))
    monkeypatch.setattr(import_module("alexnet_tk.cli.benchmark"), "WIDTH", width)
    lines = run_here("benchmark", "A", "--compare", "B", cwd=tmp_path).stdout.splitlines()
    rows = [line for line in lines if line.startswith("cuda")]
    assert [len(row.split()) for row in rows] == [columns, columns]
    assert rows[1].split()[:4] == ["cuda:0", "B", "128", "12.30"]
    assert not any("…" in line for line in lines)
    assert all(len(row) <= width for row in rows)
