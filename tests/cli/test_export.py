"""`alexnet-tk train`, `export` and `show`: from a folder of pictures to the file that is deployed."""

import csv
import io
import os
from pathlib import Path

import pytest
from PIL import Image

from tests.cli.command import Run, run


def test_the_three_commands(folder: Path) -> None:
    done = run("predict", "images/", "--top5", cwd=folder)
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    pictures = sorted(str(path.relative_to(folder)) for path in folder.glob("images/*/*.png"))
    assert [row["path"] for row in rows] == pictures
    assert len(pictures) == 1000
    assert {row["status"] for row in rows} == {"ok"}
    for row in rows[::100]:
        probabilities = [float(row[f"probability_{rank}"]) for rank in range(1, 6)]
        assert probabilities == sorted(probabilities, reverse=True)
        assert 0 < sum(probabilities) <= 1.00001
    assert "device: " in done.stderr
    assert "1,000 pictures" in done.stderr
    # One epoch of a tiny network is far from its best; chance would be 100.
    right = sum(row["label_1"] == Path(row["path"]).parent.name for row in rows)
    assert right > 150


def test_another_form_is_exported_and_answers(folder: Path, run_here: Run, tmp_path: Path) -> None:
    model = str(folder / "model.pt")
    form = ("--precision", "fp16", "--lrn", "decomposed", "--input", "float")
    pictures = str(folder / "images/Bag")
    done = run_here("export", model, "--output", "a.onnx", *form, "--verify-on", pictures, cwd=tmp_path)
    assert "100 pictures of the folder Bag" in done.stdout
    shown = run_here("show", "a.onnx", cwd=tmp_path).stdout
    for line in (
        'input = "float"',
        'precision = "fp16"',
        'lrn = "decomposed"',
        "verification.pictures = 100",
        "labels = Ankle boot, Bag, Coat, ",
    ):
        assert f"\n{line}" in shown
    one = run_here("predict", str(folder / "images/Bag"), "--model", "a.onnx", cwd=tmp_path).stdout
    other = run_here(
        "predict", str(folder / "images/Bag"), "--model", str(folder / "model.onnx"), cwd=tmp_path
    )
    labels = [[row["label_1"] for row in csv.DictReader(io.StringIO(text))] for text in (one, other.stdout)]
    assert sum(a == b for a, b in zip(*labels, strict=True)) >= 95


def test_show(folder: Path, run_here: Run, tmp_path: Path) -> None:
    for name, line in (("model.pt", "training.epoch = 1"), ("model.onnx", 'precision = "fp32"')):
        done = run_here("show", str(folder / name), "--filters", f"{name}.png", cwd=tmp_path)
        assert f"\n{line}\n" in done.stdout
        assert "\nnetwork.image_size = 40\n" in done.stdout
        assert "c1 (8, 3, 5, 5) 608" in " ".join(done.stdout.split())
        with Image.open(tmp_path / f"{name}.png") as picture:
            assert picture.format == "PNG"
    assert (
        "--overwrite"
        in run_here(
            "show", str(folder / "model.pt"), "--filters", "model.pt.png", cwd=tmp_path, code=1
        ).stderr
    )


@pytest.mark.slow
def test_what_is_no_file_is_not_replaced(folder: Path, run_here: Run, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.onnx")
    model = str(folder / "model.pt")
    done = run_here(
        "export", model, "--output", str(tmp_path / "pipe.onnx"), "--overwrite", cwd=tmp_path, code=1
    )
    assert "pipe" in done.stderr
    done = run_here("export", model, "--output", model, "--overwrite", cwd=tmp_path, code=1)
    assert "is the input itself" in done.stderr
    (tmp_path / "real").mkdir()
    (tmp_path / "link.onnx").symlink_to(tmp_path / "real" / "model.onnx")
    run_here("export", model, "--output", "link.onnx", cwd=tmp_path)
    assert (tmp_path / "link.onnx").is_symlink()
    assert (tmp_path / "real" / "model.onnx").stat().st_size > 1000
