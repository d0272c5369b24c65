"""The commands as a person types them: what is printed where, exit codes, what is left behind."""

import csv
import io
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import onnx
import pytest
from PIL import Image

from alexnet_tk.inference.resume import answers_file

# A tiny network with one large layer: a checkpoint of 200 kB.
TINY_WORDS = "--set network.image_size=40 --set preprocess.resize=40 --set 'network.hidden=[256,128]'"
TINY_WORDS += " --set 'network.c1={kernel=5,stride=2,padding=2}'"

SCRIPT = Path(sys.executable).with_name("alexnet-tk")


def run(*arguments: str, cwd: Path, code: int = 0) -> subprocess.CompletedProcess[str]:
    """Run the installed command and check its exit code."""
    done = subprocess.run(
        [SCRIPT, *arguments],
        cwd=cwd,
        capture_output=True,
        encoding="utf-8",
        errors="surrogateescape",
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


def heed_ctrl_c() -> None:
    """What a shell's & makes its children ignore."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty folder in which the README's commands were run, with a network that is tiny."""
    from tests.conftest import TINY

    folder = tmp_path_factory.mktemp("commands")
    run("samples", "images/", cwd=folder)
    settings = [word for each in (*TINY, "train.epochs=1", "train.lr=0.005") for word in ("--set", each)]
    trained = run("train", *settings, cwd=folder)
    assert "epoch 1/1" in trained.stdout
    assert "alexnet-tk export model.pt" in trained.stdout
    assert "fashion-mini" in trained.stderr
    exported = run("export", "model.pt", cwd=folder)
    assert "largest difference" in exported.stdout
    assert sorted(path.name for path in folder.iterdir()) == ["images", "model.onnx", "model.pt", "runs"]
    return folder


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


def test_formats_hold_the_same_records(folder: Path) -> None:
    arguments = ("predict", "images/Bag", "--topk", "2")
    table = list(csv.DictReader(io.StringIO(run(*arguments, cwd=folder).stdout)))
    lines = [
        json.loads(line) for line in run(*arguments, "--format", "jsonl", cwd=folder).stdout.splitlines()
    ]
    assert [{k: str(v) for k, v in line.items()} for line in lines] == [
        {k: v if not k.startswith("prob") else str(float(v)) for k, v in row.items()} for row in table
    ]
    drawn = run(*arguments, "--format", "table", cwd=folder).stdout
    assert all(row["path"] in drawn for row in table)
    assert drawn.count("%") == 2 * len(table)


def test_failed_pictures_are_records_and_exit_code_3(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(next(folder.glob("images/Bag/*")).read_bytes())
    (tmp_path / "b.png").write_bytes(b"")
    (tmp_path / "c.JPG").write_text("no picture")
    (tmp_path / "d.txt").write_text("ignored")
    done = run("predict", ".", "--model", str(folder / "model.onnx"), cwd=tmp_path, code=3)
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


def test_output_files(folder: Path, tmp_path: Path) -> None:
    model = str(folder / "model.onnx")
    arguments = ("predict", str(folder / "images" / "Bag"), "--model", model, "--output", "answers.csv")
    done = run(*arguments, cwd=tmp_path)
    assert done.stdout == ""
    whole = (tmp_path / "answers.csv").read_text()
    assert whole.count("\n") == 101
    assert "--overwrite" in run(*arguments, cwd=tmp_path, code=1).stderr
    assert (tmp_path / "answers.csv").read_text() == whole
    run(*arguments, "--overwrite", cwd=tmp_path)
    assert (tmp_path / "answers.csv").read_text() == whole
    run(*arguments[:-1], "answers.jsonl", cwd=tmp_path)
    assert json.loads((tmp_path / "answers.jsonl").read_text().splitlines()[0])["status"] == "ok"
    assert "--format" in run(*arguments[:-1], "answers.xyz", cwd=tmp_path, code=2).stderr


MISTAKES = [
    (("predict", "nosuch/"), 1, "nosuch/"),
    (("predict", "empty/"), 1, "empty/"),
    (("predict", "images/", "--model", "nosuch.onnx"), 1, "nosuch.onnx"),
    (("predict", "images/", "--model", "text.pt"), 1, "text.pt"),
    (("predict", "images/", "--device", "gpu"), 2, "gpu"),
    (("predict", "images/", "--top5", "--topk", "2"), 2, "--topk"),
    (("predict", "images/", "--output", "nosuch/answers.csv"), 1, "nosuch"),
    (("export", "nosuch.pt"), 1, "nosuch.pt"),
    (("export", "text.pt"), 1, "text.pt"),
    (("export", "model.pt"), 1, "--overwrite"),
    (("export", "model.pt", "--output", "nosuch/x.onnx"), 1, "nosuch"),
    (("export", "model.pt", "--output", "x.onnx", "--verify-on", "nosuch"), 1, "nosuch"),
    (("export", "model.pt", "--output", "x.onnx", "--verify-on", "empty"), 1, "empty"),
    (("export", "model.pt", "--output", "x.onnx", "--calibrate", "images"), 2, "--precision int8"),
    (("import", "nosuch.pth"), 1, "nosuch.pth"),
    (("import", "text.pt", "--output", "new.pt"), 1, "bvlcalexnet"),
    (("import", "model.onnx", "--output", "new.pt"), 1, "export of alexnet-tk"),
    (("show", "nosuch.onnx"), 1, "nosuch.onnx"),
    (("show", "text.pt"), 1, "text.pt"),
    (("show", "images"), 1, "is a folder"),
    (("evaluate", "model.onnx"), 2, "MODEL DATA"),
    (("evaluate", "nosuch.onnx", "images/"), 1, "nosuch.onnx"),
    (("evaluate", "text.pt", "images/"), 1, "text.pt"),
    (("evaluate", "model.onnx", "nosuch/"), 1, "nosuch"),
    (("evaluate", "model.onnx", "empty/"), 1, "empty"),
    (("evaluate", "model.onnx", "."), 1, "images"),
    (("evaluate", "model.onnx", "images/", "--output", "x.txt"), 2, "x.txt"),
    (("evaluate", "model.onnx", "images/", "--output", "nosuch/x.csv"), 1, "nosuch"),
    (("evaluate", "model.onnx", "images/", "--report", "model.onnx", "--overwrite"), 1, "model itself"),
    (("benchmark", "nosuch.onnx"), 1, "nosuch.onnx"),
    (("benchmark", "text.pt"), 1, "text.pt"),
    (("benchmark", "model.onnx", "empty/"), 1, "empty"),
    (("benchmark", "model.onnx", "--compare", "model.onnx"), 2, "--compare"),
    (("benchmark", "model.onnx", "--output", "x.csv"), 2, "x.csv"),
    (("train",), 1, "--overwrite"),
    (("train", "--recipe", "nosuch"), 2, "nosuch"),
    (("train", "--recipe", "fashion-mini", "--set", "train.nosuch=1"), 2, "train.nosuch"),
    (("train", "--set", "network.lrn.size=4", "--output", "new.pt"), 2, "network.lrn.size"),
    (("train", "nosuch/", "--output", "new.pt"), 1, "nosuch"),
    (("train", "empty/", "--output", "new.pt"), 1, "empty"),
    (("samples", "text.pt"), 1, "text.pt"),
]


@pytest.mark.parametrize(
    ("arguments", "code", "word"),
    MISTAKES,
    ids=lambda each: " ".join(each) if isinstance(each, tuple) else None,
)
def test_a_mistake_is_one_line(folder: Path, arguments: tuple[str, ...], code: int, word: str) -> None:
    (folder / "empty").mkdir(exist_ok=True)
    (folder / "text.pt").write_text("hello\n")
    before = sorted(folder.rglob("*"))
    done = run(*arguments, cwd=folder, code=code)
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert done.stderr.splitlines()[-1] == errors[0]
    assert word in errors[0]
    assert done.stdout == ""
    assert sorted(folder.rglob("*")) == before


def test_debug_shows_the_traceback(folder: Path) -> None:
    done = subprocess.run(
        [SCRIPT, "export", "nosuch.pt", "--debug"], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "CheckpointError" in done.stderr


def test_a_missing_extra_is_named(folder: Path) -> None:
    """As in an installation for prediction only, where there is no torch."""
    code = (
        "import sys; sys.modules['torch'] = None; sys.argv = ['alexnet-tk', 'train', '--output', 'x.pt']\n"
        "from alexnet_tk.cli.main import app\napp()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert (
        done.stderr
        == "error: this command needs torch, which is not installed: pip install 'alexnet-tk[train]'\n"
    )


@pytest.mark.parametrize("form", ["csv", "table"])
def test_a_reader_that_has_enough_ends_it_quietly(folder: Path, form: str) -> None:
    command = f"'{SCRIPT}' predict images/ images/ images/ --batch-size 8 --format {form} | head -n 1"
    done = subprocess.run(
        ["/bin/bash", "-o", "pipefail", "-c", command],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0
    assert done.stdout.startswith("path,status" if form == "csv" else "picture")
    assert "Traceback" not in done.stderr
    assert "Broken" not in done.stderr


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_keeps_what_was_finished(
    folder: Path, tmp_path: Path, number: signal.Signals, code: int
) -> None:
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


def test_ctrl_c_while_training_keeps_the_best_weights(tmp_path: Path) -> None:
    from tests.conftest import TINY

    settings = [word for each in (*TINY, "train.epochs=500") for word in ("--set", each)]
    process = subprocess.Popen(
        [SCRIPT, "train", *settings],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=heed_ctrl_c,
    )
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not (tmp_path / "model.pt").exists():
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Traceback" not in errors
    run("export", "model.pt", cwd=tmp_path)


def test_a_full_disk_is_one_line(folder: Path) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [SCRIPT, "predict", "images/Bag"],
            cwd=folder,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("error: ")
    assert "No space left" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_picture_named_on_the_command_line_counts_whatever_its_ending(folder: Path, tmp_path: Path) -> None:
    Image.new("L", (28, 28), 200).save(tmp_path / "picture.dat", format="PNG")
    done = run("predict", "picture.dat", "--model", str(folder / "model.onnx"), cwd=tmp_path)
    assert done.stdout.splitlines()[1].startswith("picture.dat,ok,")


def test_version_and_help() -> None:
    assert run("--version", cwd=Path()).stdout.startswith("alexnet-tk 0.")
    commands = ("train", "pack", "import", "export", "predict", "evaluate", "benchmark", "samples", "show")
    for command in commands:
        assert "Usage" in run(command, "--help", cwd=Path()).stdout


def test_without_a_model_the_built_in_one_answers(folder: Path, tmp_path: Path) -> None:
    """The one in the current folder goes before it."""
    done = run("predict", str(folder / "images"), cwd=tmp_path)
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("model: ")]
    assert "fashion-mini/model.onnx (comes with alexnet-tk, knows Ankle boot, Bag, Coat" in line
    answers = list(csv.DictReader(io.StringIO(done.stdout)))
    right = sum(Path(each["path"]).parent.name == each["label_1"] for each in answers)
    assert len(answers) == 1000
    assert right > 850
    here = run("predict", "images/Bag", cwd=folder)
    assert "model: model.onnx; --model names another" in here.stderr
    assert "model: " not in run("predict", "images/Bag", "--model", "model.onnx", cwd=folder).stderr


def test_another_form_is_exported_and_answers(folder: Path, tmp_path: Path) -> None:
    model = str(folder / "model.pt")
    form = ("--precision", "fp16", "--lrn", "decomposed", "--input", "float")
    pictures = str(folder / "images/Bag")
    done = run("export", model, "--output", "a.onnx", *form, "--verify-on", pictures, cwd=tmp_path)
    assert "100 pictures of the folder Bag" in done.stdout
    shown = run("show", "a.onnx", cwd=tmp_path).stdout
    for line in (
        'input = "float"',
        'precision = "fp16"',
        'lrn = "decomposed"',
        "verification.pictures = 100",
        "labels = Ankle boot, Bag, Coat, ",
    ):
        assert f"\n{line}" in shown
    one = run("predict", str(folder / "images/Bag"), "--model", "a.onnx", cwd=tmp_path).stdout
    other = run("predict", str(folder / "images/Bag"), "--model", str(folder / "model.onnx"), cwd=tmp_path)
    labels = [[row["label_1"] for row in csv.DictReader(io.StringIO(text))] for text in (one, other.stdout)]
    assert sum(a == b for a, b in zip(*labels, strict=True)) >= 95


def test_show(folder: Path, tmp_path: Path) -> None:
    for name, line in (("model.pt", "training.epoch = 1"), ("model.onnx", 'precision = "fp32"')):
        done = run("show", str(folder / name), "--filters", f"{name}.png", cwd=tmp_path)
        assert f"\n{line}\n" in done.stdout
        assert "\nnetwork.image_size = 40\n" in done.stdout
        assert "c1 (8, 3, 5, 5) 608" in " ".join(done.stdout.split())
        with Image.open(tmp_path / f"{name}.png") as picture:
            assert picture.format == "PNG"
    assert (
        "--overwrite"
        in run("show", str(folder / "model.pt"), "--filters", "model.pt.png", cwd=tmp_path, code=1).stderr
    )


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-"])
def test_a_closed_stream_changes_nothing_else(folder: Path, tmp_path: Path, closed: str) -> None:
    output = tmp_path / "answers.csv"
    command = f"'{SCRIPT}' predict images/Bag --output {output} {closed}"
    done = subprocess.run(["/bin/sh", "-c", command], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert output.read_text().count("\n") == 101


def test_a_name_can_not_write_lines_of_its_own(tmp_path: Path) -> None:
    done = run("predict", "a\nerror: \x1b[31mb", cwd=tmp_path, code=1)
    assert done.stderr == "error: a\\nerror: \\x1b[31mb does not exist; name files or folders of pictures\n"


@pytest.mark.slow
def test_what_is_no_file_is_not_replaced(folder: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.onnx")
    model = str(folder / "model.pt")
    done = run("export", model, "--output", str(tmp_path / "pipe.onnx"), "--overwrite", cwd=tmp_path, code=1)
    assert "pipe" in done.stderr
    done = run("export", model, "--output", model, "--overwrite", cwd=tmp_path, code=1)
    assert "the checkpoint itself" in done.stderr
    (tmp_path / "real").mkdir()
    (tmp_path / "link.onnx").symlink_to(tmp_path / "real" / "model.onnx")
    run("export", model, "--output", "link.onnx", cwd=tmp_path)
    assert (tmp_path / "link.onnx").is_symlink()
    assert (tmp_path / "real" / "model.onnx").stat().st_size > 1000


def test_a_model_whose_name_is_not_utf8(folder: Path, tmp_path: Path) -> None:
    model = os.fsdecode(os.fsencode(tmp_path) + b"/\xff.onnx")
    Path(model).write_bytes((folder / "model.onnx").read_bytes())
    assert run("predict", "images/Bag", "--model", model, cwd=folder).stdout.count("\n") == 101


def test_debug_before_the_command_too(folder: Path) -> None:
    done = subprocess.run(
        [SCRIPT, "--debug", "export", "nosuch.pt"], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "CheckpointError" in done.stderr


def test_a_limit_on_the_size_of_files_is_one_line(folder: Path, tmp_path: Path) -> None:
    command = f"ulimit -f 100; '{SCRIPT}' train --output {tmp_path}/m.pt --set train.epochs=1 {TINY_WORDS}"
    done = subprocess.run(
        ["/bin/bash", "-c", command], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "can't be written" in done.stderr.splitlines()[-1]
    assert not list(tmp_path.rglob("*.part"))


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


def test_lists_archives_and_strictness(folder: Path, tmp_path: Path) -> None:
    model = str(folder / "model.onnx")
    shutil.copytree(folder / "images" / "Bag", tmp_path / "a b")
    names = [f"a b/{number:04}.png" for number in range(3)]
    (tmp_path / "list").write_text("\n".join([*names, "gone.png"]) + "\n")
    done = run("predict", "--model", model, "--from", "list", cwd=tmp_path, code=3)
    expected = [line.split(",")[:3] for line in done.stdout.splitlines()[1:]]
    assert expected == [*([name, "ok", ""] for name in names), ["gone.png", "failed", "no such file"]]

    with (tmp_path / "list").open() as listed:
        piped = subprocess.run(
            [SCRIPT, "predict", "-", "--model", model],
            cwd=tmp_path,
            stdin=listed,
            capture_output=True,
            text=True,
        )
    assert (piped.returncode, piped.stdout) == (3, done.stdout)
    (tmp_path / "list0").write_text("\0".join([*names, "gone.png"]))
    assert (
        run("predict", "--model", model, "--from", "list0", "-0", cwd=tmp_path, code=3).stdout == done.stdout
    )

    (tmp_path / "bad").write_text("gone.png\n" + "\n".join(names))
    strict = run("predict", "--model", model, "--from", "bad", "--strict", cwd=tmp_path, code=1)
    assert "gone.png: no such file" in strict.stderr
    assert len(strict.stdout.splitlines()) == 2, "the header, and the picture that failed"

    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        for name in names:
            archive.write(tmp_path / name, name)
    inside = run("predict", "--model", model, "x.zip", cwd=tmp_path).stdout
    assert (
        inside
        == "\n".join(
            [done.stdout.splitlines()[0], *(f"x.zip/{line}" for line in done.stdout.splitlines()[1:4])]
        )
        + "\n"
    )
    assert "name pictures" in run("predict", "--model", model, cwd=tmp_path, code=2).stderr
    assert "--from none can't be read" in run("predict", "--from", "none", cwd=tmp_path, code=1).stderr


@pytest.mark.parametrize(
    "form", ["csv", *(pytest.param(form, marks=pytest.mark.slow) for form in ("jsonl", "parquet"))]
)
def test_predictions_that_were_killed_go_on(folder: Path, tmp_path: Path, form: str) -> None:
    """After SIGKILL at random moments the file is that of a run that was never disturbed, byte for byte."""
    chance = random.Random(form)
    whole, output = tmp_path / f"whole.{form}", tmp_path / f"out.{form}"
    grows = answers_file(output, form)
    words = [
        "predict",
        str(folder / "images"),
        str(tmp_path / "x.png"),
        "--model",
        str(folder / "model.onnx"),
    ]
    (tmp_path / "x.png").write_text("no picture")
    run(*words, "--top5", "--output", str(whole), cwd=tmp_path, code=3)
    size = 100_000  # of all answers, about
    kills = 0
    while True:
        most = (grows.stat().st_size if grows.exists() else 0) + chance.uniform(0.1, 0.6) * size
        process = subprocess.Popen(
            [SCRIPT, *words, "--top5", "--output", str(output), "--resume"],
            cwd=tmp_path,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        while process.poll() is None and not (grows.exists() and grows.stat().st_size > most):
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


def test_what_can_be_resumed(folder: Path, tmp_path: Path) -> None:
    words = ["predict", str(folder / "images" / "Bag"), "--model", str(folder / "model.onnx")]
    assert "--output" in run(*words, "--resume", cwd=tmp_path, code=2).stderr
    run(*words, "--resume", "--output", "a.csv", cwd=tmp_path)
    error = run(*words, "--resume", "--output", "a.csv", "--top5", cwd=tmp_path, code=1).stderr
    assert "another topk" in error
    run(*words, "--overwrite", "--output", "a.csv", "--top5", cwd=tmp_path)
    assert len((tmp_path / "a.csv").read_text().splitlines()) == 101
    assert (
        "one of them"
        in run(*words, "--resume", "--overwrite", "--output", "a.csv", cwd=tmp_path, code=2).stderr
    )


def test_a_classifier_from_elsewhere(folder: Path, tmp_path: Path) -> None:
    """Our own file without its metadata, told what it does not say any more, gives the same answers."""
    run("export", str(folder / "model.pt"), "--input", "float", "--output", "ours.onnx", cwd=tmp_path)
    model = onnx.load(tmp_path / "ours.onnx")
    told = {each.key: json.loads(each.value) for each in model.metadata_props}
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "other.onnx")
    words = ["predict", str(folder / "images" / "Coat"), "--topk", "3"]
    expected = run(*words, "--model", "ours.onnx", cwd=tmp_path).stdout
    words += ["--model", "other.onnx"]
    assert "--labels FILE and --preprocess" in run(*words, cwd=tmp_path, code=1).stderr
    (tmp_path / "labels.txt").write_text("\n".join(told["alexnet_tk.labels"]) + "\n")
    assert "go together" in run(*words, "--labels", "labels.txt", cwd=tmp_path, code=2).stderr
    preprocess = told["alexnet_tk.preprocess"]
    (tmp_path / "p.toml").write_text(
        "\n".join(f"{key} = {json.dumps(preprocess[key])}" for key in ("resize", "crop", "mean", "std"))
    )
    words += ["--labels", "labels.txt", "--preprocess", "p.toml"]
    assert run(*words, cwd=tmp_path).stdout == expected
    run(*words, "--output", "a.csv", cwd=tmp_path)
    (tmp_path / "labels.txt").write_text("\n".join(reversed(told["alexnet_tk.labels"])))
    error = run(*words, "--output", "a.csv", "--resume", cwd=tmp_path, code=1).stderr
    assert "another settings" in error
    assert "imagenet stands for 224×224" in run(*words[:-1], "imagenet", cwd=tmp_path, code=1).stderr


def test_a_page_and_where_the_time_went(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "x.png").write_text("no picture")
    words = ["predict", str(folder / "images" / "Coat"), "x.png", "--model", str(folder / "model.onnx")]
    done = run(*words, "--report", "page.html", "--workers", "2", cwd=tmp_path, code=3)
    assert "101 found, 100 answered; 1 failed (1 × not a picture that Pillow can read)" in done.stderr
    stages = r"time: read \d+\.\d s, decode .* s, infer .* s in 2 workers, write .* s; a batch of 26: median"
    assert re.search(stages, done.stderr)
    assert re.search("p99 [0-9]+ ms; bound by (read|decode|infer|write): .* would help\n", done.stderr)
    assert (tmp_path / "page.html").read_text().count("/9j/") == 100, "a JPEG for each picture"
    assert "exists already" in run(*words, "--report", "page.html", cwd=tmp_path, code=1).stderr
    for other, code in (("none/page.html", 1), (".", 1)):
        assert "error: " in run(*words, "--report", other, cwd=tmp_path, code=code).stderr
    words += ["--report", "page.html", "--overwrite"]
    assert "one of them" in run(*words, "--resume", "--output", "a.csv", cwd=tmp_path, code=2).stderr
    run(*words, "--strict", cwd=tmp_path, code=1)
    assert (tmp_path / "page.html").read_text().count("/9j/") == 100, "the page of before"
    assert "--output F.parquet" in run(*words, "--format", "parquet", cwd=tmp_path, code=2).stderr


def test_evaluate_tells_the_same_of_a_checkpoint_and_its_export(folder: Path, tmp_path: Path) -> None:
    (exported, ours) = (
        run("evaluate", str(folder / name), str(folder / "images"), cwd=tmp_path)
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
    answers = run("predict", "images/", cwd=folder).stdout
    rows = list(csv.DictReader(io.StringIO(answers)))
    right = sum(row["label_1"] == Path(row["path"]).parent.name for row in rows)
    assert first.startswith(f"top-1  accuracy {right / 1000:.1%} (")
    averaged = run(
        "evaluate", str(folder / "model.onnx"), str(folder / "model.pt"), str(folder / "images"), cwd=tmp_path
    )
    assert averaged.stdout.splitlines()[0] == first, "the average of one model and itself"
    assert "the centre crop and 2 models" in averaged.stdout


def test_evaluate_with_all_its_options(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "images" / "Bag", tmp_path / "data" / "Bag")
    (tmp_path / "data" / "Bag" / "x.png").write_bytes(b"")
    words = ["evaluate", str(folder / "model.onnx"), "data", "--crops", "10", "--output", "a.json"]
    words += ["--confusion", "c.csv", "--confusion", "c.png", "--report", "page.html"]
    words += ["--device", "cpu", "--batch-size", "20", "--workers", "2"]
    done = run(*words, cwd=tmp_path, code=3)
    assert "failed: data/Bag/x.png: empty file" in done.stderr
    assert "9 of the model's labels (Ankle boot, Coat, Dress, Pullover, Sandal, …)" in done.stderr
    assert "a batch of 20: median" in done.stderr
    assert json.loads((tmp_path / "a.json").read_text())["crops"] == 10
    assert (tmp_path / "page.html").read_text().count("/9j/") == 100
    assert "--overwrite" in run(*words, cwd=tmp_path, code=1).stderr
    run(*words, "--overwrite", cwd=tmp_path, code=3)


@pytest.mark.slow
def test_benchmark_draws_a_table_of_80_columns(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.onnx"
    other.write_bytes((folder / "model.onnx").read_bytes())
    words = ["benchmark", str(folder / "model.onnx"), str(folder / "images" / "Bag"), "--compare", str(other)]
    done = run(*words, "--output", "a.json", cwd=tmp_path)
    table = [line for line in done.stdout.splitlines() if line.startswith("cpu")]
    assert [line.split()[1:3] for line in table] == [[m, b] for b in ("1", "8", "32") for m in ("A", "B")]
    assert all(len(line) <= 80 for line in done.stdout.splitlines()[:8])
    assert "of the machine's limit" in done.stdout
    assert done.stdout.count("bound by") == 2
    told = json.loads((tmp_path / "a.json").read_text())
    assert len(told["ratios"]) == 4
    for each in told["ratios"]:
        assert 0.5 < each["ratio"]["median"] < 2, "the same file"


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
    assert any("rounds" in line for line in process.stderr), "it has begun to measure"
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert output == ""
    assert "stopped by Ctrl-C" in errors
    assert "Traceback" not in errors
