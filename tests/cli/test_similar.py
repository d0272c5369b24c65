"""`alexnet-tk similar`: from pictures to the ones most like them, on a terminal, in a pipe and in files."""

import csv
import io
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.cli.command import Run, run


@pytest.fixture(scope="module")
def searched(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with model.onnx, that gives features, pictures in train/ and val/ and their features."""
    here = tmp_path_factory.mktemp("similar")
    run("export", str(folder / "model.pt"), "--features", "--output", "model.onnx", cwd=here)
    shutil.copytree(folder / "images" / "Bag", here / "train")
    (here / "val").mkdir()
    with Image.open(folder / "images" / "Coat" / "0000.png") as picture:
        picture.resize((90, 90)).save(here / "val" / "own.png")
    run("features", "train/", "val/", "--output", "f.npy", cwd=here)
    run("features", "train/", "val/", "--output", "f.parquet", cwd=here)
    return here


def test_products_take_one_thread_each_in_a_search(tmp_path: Path) -> None:
    """It must be said before numpy is loaded, and holds for a search alone."""
    program = """if True:
        import os, sys
        import typer
        from alexnet_tk.cli.main import app
        from alexnet_tk.errors import AlexnetError
        assert "numpy" not in sys.modules
        try:
            typer.main.get_command(app)(sys.argv[1:], standalone_mode=False)
        except AlexnetError as error:
            print(error)
        print(os.environ.get("OPENBLAS_NUM_THREADS"), "numpy" in sys.modules)
    """
    environment = {name: value for name, value in os.environ.items() if name != "OPENBLAS_NUM_THREADS"}
    for words, expected in (("a.png", "1 True"), ("--duplicates=0.1", "None True")):
        done = subprocess.run(
            [sys.executable, "-c", program, "similar", words, "--among", "gone.npy"],
            capture_output=True,
            text=True,
            check=True,
            cwd=tmp_path,
            env=environment,
        )
        assert done.stdout.splitlines()[-1] == expected, done.stdout


@pytest.mark.parametrize("ending", ["npy", "parquet"])
def test_a_picture_is_most_like_itself(ending: str, searched: Path, run_here: Run) -> None:
    words = ("similar", "train/0003.png", "val/", "--among", f"f.{ending}", "--topk", "2")
    done = run_here(*words, cwd=searched)
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert [(row["query"], row["rank"]) for row in rows] == [
        (query, rank) for query in ("train/0003.png", "val/own.png") for rank in "12"
    ]
    assert [row["path"] for row in rows if row["rank"] == "1"] == ["train/0003.png", "val/own.png"]
    assert all(float(row["distance"]) < 0.01 for row in rows if row["rank"] == "1")
    assert "2 answered, among 101 rows of" in done.stderr
    assert run_here(*words, "--metric", "cosine", cwd=searched).stdout != done.stdout


def test_outputs_are_files(searched: Path, run_here: Run) -> None:
    run_here("similar", "gone.png", "--among", "f.npy", cwd=searched, code=1)
    (searched / "list").write_text("val/own.png\ngone.png\n")
    words = ("similar", "--from", "list", "--among", "f.npy", "--output", "s.csv", "--report", "s.html")
    done = run_here(*words, cwd=searched, code=3)
    assert done.stdout == ""
    assert "1 answered, 1 failed (1 × no such file)" in done.stderr
    rows = list(csv.DictReader(io.StringIO((searched / "s.csv").read_text())))
    assert len(rows) == 7
    assert rows[-1] == {"query": "gone.png", "rank": "", "path": "", "distance": "", "error": "no such file"}
    assert "val/own.png" in (searched / "s.html").read_text()
    assert "--overwrite" in run_here(*words, cwd=searched, code=1).stderr


def test_leaks_are_an_exit_code(searched: Path, run_here: Run) -> None:
    quiet = run_here("similar", "--among", "f.npy", "--duplicates", "0", cwd=searched)
    assert "leak" in quiet.stdout.splitlines()[0]
    assert "more than one split" not in quiet.stderr
    shutil.copy(searched / "train" / "0007.png", searched / "val" / "same.png")
    run_here("features", "train/", "val/", "--output", "g.npy", cwd=searched)
    done = run_here("similar", "--among", "g.npy", "--duplicates", "0", cwd=searched, code=3)
    rows = [row for row in csv.DictReader(io.StringIO(done.stdout)) if row["leak"]]
    assert [(row["path"], row["distance"], row["leak"]) for row in rows] == [
        ("train/0007.png", "0", "train+val"),
        ("val/same.png", "0", "train+val"),
    ]
    assert "1 group in more than one split: 1 × train+val" in done.stderr
    (searched / "val" / "same.png").unlink()


@pytest.mark.parametrize(
    "words",
    [
        ("val/", "--duplicates", "0.1"),
        ("--duplicates", "0.1", "--topk", "3"),
        ("--duplicates", "2"),
        ("val/", "--yes"),
        ("val/", "--topk", "0"),
        ("val/", "--output", "s.json"),
    ],
)
def test_contradictions_are_wrong_usage(words: tuple[str, ...], searched: Path, run_here: Run) -> None:
    run_here("similar", "--among", "f.npy", *words, cwd=searched, code=2)
