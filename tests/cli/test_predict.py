"""`alexnet-tk predict`: its inputs, its outputs, and the account that it gives of them."""

import csv
import io
import json
import os
import re
import shutil
import subprocess
import zipfile
from pathlib import Path

import onnx
import pytest
from PIL import Image

from tests.cli.command import SCRIPT, Run, run


def test_formats_hold_the_same_records(folder: Path, run_here: Run) -> None:
    arguments = ("predict", "images/Bag", "--topk", "2")
    table = list(csv.DictReader(io.StringIO(run_here(*arguments, cwd=folder).stdout)))
    lines = [
        json.loads(line) for line in run_here(*arguments, "--format", "jsonl", cwd=folder).stdout.splitlines()
    ]
    assert [{k: str(v) for k, v in line.items()} for line in lines] == [
        {k: v if not k.startswith("prob") else str(float(v)) for k, v in row.items()} for row in table
    ]
    drawn = run_here(*arguments, "--format", "table", cwd=folder).stdout
    assert all(row["path"] in drawn for row in table)
    assert drawn.count("%") == 2 * len(table)


def test_failed_pictures_are_records_and_exit_code_3(folder: Path, run_here: Run, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(next(folder.glob("images/Bag/*")).read_bytes())
    (tmp_path / "b.png").write_bytes(b"")
    (tmp_path / "c.JPG").write_text("no picture")
    (tmp_path / "d.txt").write_text("ignored")
    done = run_here("predict", ".", "--model", str(folder / "model.onnx"), cwd=tmp_path, code=3)
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert [(row["path"], row["status"]) for row in rows] == [
        ("./a.png", "ok"),
        ("./b.png", "failed"),
        ("./c.JPG", "failed"),
    ]
    assert rows[1]["error"] == "empty file"
    assert rows[1]["label_1"] == ""
    assert "2 failed" in done.stderr
    assert ".txt" in done.stderr


def test_names_that_are_not_utf8(folder: Path, tmp_path: Path) -> None:
    name = os.fsencode(tmp_path) + b'/caf\xe9, "x"\n.png'
    Path(os.fsdecode(name)).write_bytes(next(folder.glob("images/Bag/*")).read_bytes())
    model = str(folder / "model.onnx")
    rows = list(csv.DictReader(io.StringIO(run("predict", ".", "--model", model, cwd=tmp_path).stdout)))
    assert os.fsencode(rows[0]["path"]) == b'./caf\xe9, "x"\n.png'
    line = run("predict", ".", "--model", model, "--format", "jsonl", cwd=tmp_path).stdout
    assert os.fsencode(json.loads(line)["path"]) == b'./caf\xe9, "x"\n.png'
    drawn = run("predict", ".", "--model", model, "--format", "table", cwd=tmp_path).stdout
    assert drawn.count("\n") == 2


def test_a_picture_named_on_the_command_line_counts_whatever_its_ending(
    folder: Path, run_here: Run, tmp_path: Path
) -> None:
    Image.new("L", (28, 28), 200).save(tmp_path / "picture.dat", format="PNG")
    done = run_here("predict", "picture.dat", "--model", str(folder / "model.onnx"), cwd=tmp_path)
    assert done.stdout.splitlines()[1].startswith("picture.dat,ok,")


def test_output_files(folder: Path, run_here: Run, tmp_path: Path) -> None:
    model = str(folder / "model.onnx")
    arguments = ("predict", str(folder / "images" / "Bag"), "--model", model, "--output", "answers.csv")
    done = run_here(*arguments, cwd=tmp_path)
    assert done.stdout == ""
    whole = (tmp_path / "answers.csv").read_text()
    assert whole.count("\n") == 101
    assert "--overwrite" in run_here(*arguments, cwd=tmp_path, code=1).stderr
    assert (tmp_path / "answers.csv").read_text() == whole
    run_here(*arguments, "--overwrite", cwd=tmp_path)
    assert (tmp_path / "answers.csv").read_text() == whole
    run_here(*arguments[:-1], "answers.jsonl", cwd=tmp_path)
    assert json.loads((tmp_path / "answers.jsonl").read_text().splitlines()[0])["status"] == "ok"
    assert "--format" in run_here(*arguments[:-1], "answers.xyz", cwd=tmp_path, code=2).stderr


NAMES = [f"a b/{number:04}.png" for number in range(3)]


@pytest.fixture
def bags(folder: Path, tmp_path: Path) -> Path:
    """A folder with pictures in a folder whose name holds a space, and the folder's model."""
    shutil.copytree(folder / "images" / "Bag", tmp_path / "a b")
    shutil.copy(folder / "model.onnx", tmp_path)
    return tmp_path


def test_a_list_names_pictures(bags: Path) -> None:
    """In a file, on stdin and NUL-separated: the same answers."""
    (bags / "list").write_text("\n".join([*NAMES, "gone.png"]) + "\n")
    done = run("predict", "--from", "list", cwd=bags, code=3)
    expected = [line.split(",")[:3] for line in done.stdout.splitlines()[1:]]
    assert expected == [*([name, "ok", ""] for name in NAMES), ["gone.png", "failed", "no such file"]]
    with (bags / "list").open() as listed:
        piped = subprocess.run(
            [SCRIPT, "predict", "-"], cwd=bags, stdin=listed, capture_output=True, text=True
        )
    assert (piped.returncode, piped.stdout) == (3, done.stdout)
    (bags / "list0").write_text("\0".join([*NAMES, "gone.png"]))
    assert run("predict", "--from", "list0", "-0", cwd=bags, code=3).stdout == done.stdout


def test_strict_stops_before_the_first_failure(bags: Path, run_here: Run) -> None:
    (bags / "list").write_text("gone.png\n" + "\n".join(NAMES))
    strict = run_here("predict", "--from", "list", "--strict", cwd=bags, code=1)
    assert "gone.png: no such file" in strict.stderr
    assert "4 found, 0 answered; 4 left" in strict.stderr
    assert len(strict.stdout.splitlines()) == 1, "the header"


def test_an_archive_is_read_in_place(bags: Path, run_here: Run) -> None:
    with zipfile.ZipFile(bags / "x.zip", "w") as archive:
        for name in NAMES:
            archive.write(bags / name, name)
    header, *rows = run_here("predict", *NAMES, cwd=bags).stdout.splitlines()
    inside = run_here("predict", "x.zip", cwd=bags).stdout.splitlines()
    assert inside == [header, *(f"x.zip/{row}" for row in rows)]


def test_without_pictures_there_is_nothing_to_do(run_here: Run, tmp_path: Path) -> None:
    assert "name pictures" in run_here("predict", cwd=tmp_path, code=2).stderr


def test_a_list_that_can_not_be_read_is_named(run_here: Run, tmp_path: Path) -> None:
    assert "--from none can't be read" in run_here("predict", "--from", "none", cwd=tmp_path, code=1).stderr


def test_nul_separated_paths_need_a_list(folder: Path, run_here: Run) -> None:
    assert "--from FILE or -" in run_here("predict", "images/", "-0", cwd=folder, code=2).stderr


def test_strict_stops_where_a_resume_takes_up(folder: Path, run_here: Run, tmp_path: Path) -> None:
    picture = (folder / "images" / "Bag" / "0000.png").read_bytes()
    for name in ("a", "b", "c"):
        (tmp_path / f"{name}.png").write_bytes(picture)
    (tmp_path / "b.png").write_bytes(b"")
    words = ("predict", ".", "--model", str(folder / "model.onnx"), "--output", "answers.csv", "--resume")
    stopped = run_here(*words, "--strict", cwd=tmp_path, code=1).stderr
    assert "3 found, 1 answered; 2 left" in stopped
    assert "b.png: empty file" in stopped
    (tmp_path / "b.png").write_bytes(picture)
    done = run_here(*words, "--strict", cwd=tmp_path).stderr
    assert "3 found, 2 answered; " in done
    assert "; 1 skipped, answered before" in done
    rows = list(csv.DictReader(io.StringIO((tmp_path / "answers.csv").read_text())))
    assert [(row["path"], row["status"]) for row in rows] == [(f"./{name}.png", "ok") for name in "abc"]


def test_what_can_be_resumed(folder: Path, run_here: Run, tmp_path: Path) -> None:
    words = ["predict", str(folder / "images" / "Bag"), "--model", str(folder / "model.onnx")]
    assert "--output" in run_here(*words, "--resume", cwd=tmp_path, code=2).stderr
    run_here(*words, "--resume", "--output", "a.csv", cwd=tmp_path)
    error = run_here(*words, "--resume", "--output", "a.csv", "--top5", cwd=tmp_path, code=1).stderr
    assert "with another number of labels" in error
    run_here(*words, "--overwrite", "--output", "a.csv", "--top5", cwd=tmp_path)
    assert len((tmp_path / "a.csv").read_text().splitlines()) == 101
    assert (
        "one of them"
        in run_here(*words, "--resume", "--overwrite", "--output", "a.csv", cwd=tmp_path, code=2).stderr
    )


def test_without_a_model_the_built_in_one_answers(folder: Path, run_here: Run, tmp_path: Path) -> None:
    """The one in the current folder goes before it."""
    done = run_here("predict", str(folder / "images"), cwd=tmp_path)
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("model: ")]
    assert "fashion-mini/model.onnx (comes with alexnet-tk, for pictures of single clothes: Ankle" in line
    answers = list(csv.DictReader(io.StringIO(done.stdout)))
    right = sum(Path(each["path"]).parent.name == each["label_1"] for each in answers)
    assert len(answers) == 1000
    assert right > 850
    here = run_here("predict", "images/Bag", cwd=folder)
    assert "model: model.onnx; --model names another" in here.stderr
    assert "model: " not in run_here("predict", "images/Bag", "--model", "model.onnx", cwd=folder).stderr


def test_a_model_whose_name_is_not_utf8(folder: Path, tmp_path: Path) -> None:
    model = os.fsdecode(os.fsencode(tmp_path) + b"/\xff.onnx")
    Path(model).write_bytes((folder / "model.onnx").read_bytes())
    assert run("predict", "images/Bag", "--model", model, cwd=folder).stdout.count("\n") == 101


def test_a_classifier_from_elsewhere(folder: Path, run_here: Run, tmp_path: Path) -> None:
    """Our own file without its metadata, told what it does not say any more, gives the same answers."""
    run_here("export", str(folder / "model.pt"), "--input", "float", "--output", "ours.onnx", cwd=tmp_path)
    model = onnx.load(tmp_path / "ours.onnx")
    told = {each.key: json.loads(each.value) for each in model.metadata_props}
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "other.onnx")
    words = ["predict", str(folder / "images" / "Coat"), "--topk", "3"]
    expected = run_here(*words, "--model", "ours.onnx", cwd=tmp_path).stdout
    words += ["--model", "other.onnx"]
    assert "--labels FILE and --preprocess" in run_here(*words, cwd=tmp_path, code=1).stderr
    (tmp_path / "labels.txt").write_text("\n".join(told["alexnet_tk.labels"]) + "\n")
    assert "go together" in run_here(*words, "--labels", "labels.txt", cwd=tmp_path, code=2).stderr
    preprocess = told["alexnet_tk.preprocess"]
    (tmp_path / "p.toml").write_text(
        "\n".join(f"{key} = {json.dumps(preprocess[key])}" for key in ("resize", "crop", "mean", "std"))
    )
    words += ["--labels", "labels.txt", "--preprocess", "p.toml"]
    assert run_here(*words, cwd=tmp_path).stdout == expected
    run_here(*words, "--output", "a.csv", cwd=tmp_path)
    (tmp_path / "labels.txt").write_text("\n".join(reversed(told["alexnet_tk.labels"])))
    error = run_here(*words, "--output", "a.csv", "--resume", cwd=tmp_path, code=1).stderr
    assert "with other --labels or --preprocess" in error
    assert "imagenet stands for 224×224" in run_here(*words[:-1], "imagenet", cwd=tmp_path, code=1).stderr


def test_a_page_and_where_the_time_went(folder: Path, run_here: Run, tmp_path: Path) -> None:
    (tmp_path / "x.png").write_text("no picture")
    words = ["predict", str(folder / "images" / "Coat"), "x.png", "--model", str(folder / "model.onnx")]
    done = run_here(*words, "--report", "page.html", "--workers", "2", cwd=tmp_path, code=3)
    assert "101 found, 100 answered; 1 failed (1 × not a picture that Pillow can read)" in done.stderr
    stages = r"time: read \d+\.\d s, decode .* s, infer .* s in 2 workers, write .* s; a batch of 26: median"
    assert re.search(stages, done.stderr)
    assert re.search("p99 [0-9]+ ms; bound by (read|decode|infer|write): .* would help\n", done.stderr)
    page = (tmp_path / "page.html").read_text()
    assert page.count("/9j/") == 100, "a JPEG for each picture"
    told = json.loads(page.partition('id="records">')[2].partition("</script>")[0])
    assert [len(labels) for _, _, labels, *_ in told] == [5] * 100 + [0], "five, where one is written"
    assert done.stdout.splitlines()[1].count(",") == 4, "one"
    assert "exists already" in run_here(*words, "--report", "page.html", cwd=tmp_path, code=1).stderr
    for other, code in (("none/page.html", 1), (".", 1)):
        assert "error: " in run_here(*words, "--report", other, cwd=tmp_path, code=code).stderr
    words += ["--report", "page.html", "--overwrite"]
    assert "one of them" in run_here(*words, "--resume", "--output", "a.csv", cwd=tmp_path, code=2).stderr
    run_here(*words, "--strict", cwd=tmp_path, code=1)
    assert (tmp_path / "page.html").read_text().count("/9j/") == 100, "the page of before"
    assert "--output F.parquet" in run_here(*words, "--format", "parquet", cwd=tmp_path, code=2).stderr
