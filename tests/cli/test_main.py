"""What all commands share: one line for a mistake, --debug, --help, streams that are closed or full."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.command import SCRIPT, Run, run

# A tiny network with one large layer: a checkpoint of 200 kB.
TINY_WORDS = "--set network.image_size=40 --set preprocess.resize=40 --set 'network.hidden=[256,128]'"
TINY_WORDS += " --set 'network.c1={kernel=5,stride=2,padding=2}'"

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
    (("import", "text.pt", "--output", "new.pt"), 1, "is text that begins"),
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
    (("evaluate", "model.onnx", "images/", "--report", "model.onnx", "--overwrite"), 1, "input itself"),
    (("calibrate", "nosuch.pt", "images/"), 1, "nosuch.pt"),
    (("calibrate", "model.onnx", "images/"), 1, "model.onnx"),
    (("calibrate", "model.pt", "nosuch/"), 1, "nosuch"),
    (("calibrate", "model.pt", "empty/"), 1, "empty"),
    (("calibrate", "model.pt", "images/", "--output", "model.pt", "--overwrite"), 1, "input itself"),
    (("calibrate", "model.pt", "images/", "--diagram", "model.pt", "--overwrite"), 1, "input itself"),
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
def test_a_mistake_is_one_line(
    folder: Path, run_here: Run, arguments: tuple[str, ...], code: int, word: str
) -> None:
    (folder / "empty").mkdir(exist_ok=True)
    (folder / "text.pt").write_text("hello\n")
    before = sorted(folder.rglob("*"))
    done = run_here(*arguments, cwd=folder, code=code)
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert done.stderr.splitlines()[-1] == errors[0]
    assert word in errors[0]
    assert done.stdout == ""
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize("arguments", [["predict", "nosuch", "--debug"], ["--debug", "predict", "nosuch"]])
def test_debug_shows_the_traceback(folder: Path, arguments: list[str]) -> None:
    done = subprocess.run([SCRIPT, *arguments], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "InputError" in done.stderr


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
    assert done.stderr == "error: this needs torch, which is not installed: pip install 'alexnet-tk[train]'\n"


def test_version() -> None:
    assert run("--version", cwd=Path()).stdout.startswith("alexnet-tk 0.")


def test_a_name_can_not_write_lines_of_its_own(tmp_path: Path) -> None:
    done = run("predict", "a\nerror: \x1b[31mb", cwd=tmp_path, code=1)
    assert done.stderr.startswith("error: a\\nerror: \\x1b[31mb does not exist; name files or folders")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-"])
def test_a_closed_stream_changes_nothing_else(folder: Path, tmp_path: Path, closed: str) -> None:
    output = tmp_path / "answers.csv"
    command = f"'{SCRIPT}' predict images/Bag --output {output} {closed}"
    done = subprocess.run(["/bin/sh", "-c", command], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert output.read_text().count("\n") == 101


def test_a_list_on_a_closed_stdin_is_one_line(folder: Path) -> None:
    command = ["/bin/sh", "-c", f"'{SCRIPT}' predict - <&-"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines()[-1] == "error: - takes a list of paths on stdin, which is closed"


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


def test_a_limit_on_the_size_of_files_is_one_line(folder: Path, tmp_path: Path) -> None:
    for name in ("Bag", "Coat"):
        shutil.copytree(folder / "images" / name, tmp_path / "data" / name)
    words = f"train '{tmp_path}/data' --output '{tmp_path}/m.pt' --set train.epochs=1 {TINY_WORDS}"
    command = f"ulimit -f 100; '{SCRIPT}' {words}"
    done = subprocess.run(
        ["/bin/bash", "-c", command], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "can't be written" in done.stderr.splitlines()[-1]
    assert not list(tmp_path.rglob("*.part"))


def test_a_full_disk_leaves_an_exact_account(folder: Path, tmp_path: Path) -> None:
    """A limit on the size of files stands for it."""
    output = tmp_path / "a.csv"
    command = f"ulimit -f 40; '{SCRIPT}' predict images/ --top5 --output {output}"
    done = subprocess.run(
        ["/bin/bash", "-c", command], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    *_, account, _, last = done.stderr.splitlines()
    assert last.startswith(f"error: {output} can't be written: File too large; ")
    whole = output.read_bytes().count(b"\n") - 1  # below the header
    assert f"1,000 found, {whole} answered; {1000 - whole} left" in account
    resumed = run("predict", "images/", "--top5", "--output", str(output), "--resume", cwd=folder)
    assert f"{whole} of the pictures answered before" in resumed.stderr


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
