"""`predict` as Python calls it: what it writes and returns, resumes and refuses."""

import csv
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from alexnet_tk import Classifier, predict
from alexnet_tk.errors import InputError, OutputError
from alexnet_tk.inference import Record
from alexnet_tk.prediction import formats
from alexnet_tk.prediction.formats import AppendableFormat, WholeFormat, Written
from alexnet_tk.prediction.job import Job
from alexnet_tk.prediction.plan import plan_file
from alexnet_tk.prediction.subject import open_subject
from alexnet_tk.progress import SILENCE, Progress
from alexnet_tk.zoo import built_in_model
from tests.cli.command import run as run_command

PICTURES = 10


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, model_file: Path) -> Path:
    """Pictures, a broken one among them, and model.onnx."""
    folder = tmp_path_factory.mktemp("run")
    (folder / "pictures").mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (PICTURES, 9, 9, 3), dtype=np.uint8)
    for number, each in enumerate(pixels):
        Image.fromarray(each).save(folder / "pictures" / f"{number}.png")
    (folder / "pictures" / '3, "broken".png').write_text("no picture")
    (folder / "pictures" / "notes.txt").write_text("ignored")
    (folder / "model.onnx").write_bytes(model_file.read_bytes())
    return folder


class Said(Progress):
    """A progress that records its messages."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, message: str) -> None:
        self.lines.append(message)


@pytest.fixture(autouse=True)
def _in_the_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)


# --- as the command ----------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_python_writes_the_bytes_of_the_command(ending: str, folder: Path, tmp_path: Path) -> None:
    """A fresh process each: at once, and in two runs of which the first stopped at the broken picture."""
    words = ["pictures/", "--topk", "2", "--batch-size", "4", "--device", "cpu"]
    by_command, by_python = tmp_path / f"command.{ending}", tmp_path / f"python.{ending}"
    run_command("predict", *words, "--output", str(by_command), cwd=folder, code=3)
    arguments = '"pictures/", topk=2, batch_size=4, device="cpu"'
    program = f"""
from alexnet_tk import predict
from alexnet_tk.errors import InputError
outcome = predict({arguments}, output={str(by_python)!r})
assert (outcome.answered, outcome.failed) == ({PICTURES}, 1)
resumed = {str(tmp_path / f"resumed.{ending}")!r}
try:
    predict({arguments}, output=resumed, strict=True)
except InputError:
    outcome = predict({arguments}, output=resumed, resume=True)
assert (outcome.before.answered, outcome.now.failed) == (3, 1)
assert (outcome.answered, outcome.failed) == ({PICTURES}, 1)
"""
    subprocess.run([sys.executable, "-c", program], cwd=folder, check=True)
    assert by_python.read_bytes() == by_command.read_bytes()
    assert (tmp_path / f"resumed.{ending}").read_bytes() == by_command.read_bytes()
    assert plan_file(by_python).read_bytes() == plan_file(by_command).read_bytes()


def test_python_draws_the_page_of_the_command(folder: Path, tmp_path: Path) -> None:
    pages = [tmp_path / "command.html", tmp_path / "python.html"]
    answers = [tmp_path / "command.csv", tmp_path / "python.csv"]
    words = ["pictures/", "--topk", "2", "--batch-size", "4"]
    run_command("predict", *words, "--report", str(pages[0]), "--output", str(answers[0]), cwd=folder, code=3)
    predict("pictures/", topk=2, batch_size=4, report=pages[1], output=answers[1])
    assert pages[0].read_bytes() == pages[1].read_bytes()
    assert answers[0].read_bytes() == answers[1].read_bytes()


def test_a_table_goes_to_a_file(folder: Path, tmp_path: Path) -> None:
    outcome = predict("pictures/", output=tmp_path / "a.txt", format="table")
    lines = (tmp_path / "a.txt").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 1 + PICTURES + outcome.failed
    assert not plan_file(tmp_path / "a.txt").exists(), "it can't be resumed"
    with pytest.raises(OutputError, match="exists already"):
        predict("pictures/", output=tmp_path / "a.txt", format="table")


# --- without a file ----------------------------------------------------------------------------------


def test_without_an_output_the_records_are_in_the_outcome() -> None:
    outcome = predict("pictures/", topk=2)
    paths = sorted(str(each) for each in Path("pictures").glob("*.png"))
    assert [record.path for record in outcome.records] == paths
    assert outcome.records == list(Classifier("model.onnx", "cpu").classify(paths, 2))
    assert outcome.found.ignored == {".txt": 1}


def test_a_caller_can_take_each_record(tmp_path: Path) -> None:
    taken: list[Record] = []
    outcome = predict(["pictures/"], on_record=taken.append, report=tmp_path / "p.html")
    assert outcome.records == []
    assert len(taken) == PICTURES + 1
    assert {len(record.labels) for record in taken} == {0, 1}, "though the page shows five"


def test_no_pictures_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no pictures in"):
        predict(tmp_path)


# --- resuming ----------------------------------------------------------------------------------------


def test_the_plan_says_where_and_how_answers_were_computed(tmp_path: Path) -> None:
    predict("pictures/", output=tmp_path / "a.csv", device="cpu")
    plan = json.loads(plan_file(tmp_path / "a.csv").read_text())
    assert (plan["device"], plan["arithmetic"], plan["decoding"]) == ("cpu", "exact", 2)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"device": "cuda"}, "made on cuda and this run computes on cpu.*--device cuda"),
        ({"arithmetic": "tf32"}, "made with tf32 arithmetic and this run computes with exact.*--math fast"),
        ({"decoding": 0}, "revision 0 of decoding, and revision 2 decodes pictures/0.png differently"),
        ({"decoding": 3}, "revision 3 of decoding, and revision 2 decodes some pictures differently"),
        ({"decoding": 1, "topk": 2}, "with another number of labels"),
        ({"topk": 2}, "with another number of labels"),
    ],
)
def test_two_ways_of_computing_are_not_mixed(change: dict[str, Any], words: str, tmp_path: Path) -> None:
    output = tmp_path / "a.csv"
    predict("pictures/", output=output)
    plan = json.loads(plan_file(output).read_text())
    plan_file(output).write_text(json.dumps(plan | change))
    output.write_bytes(output.read_bytes()[:-20])
    before = output.read_bytes()
    with pytest.raises(OutputError, match=words):
        predict("pictures/", output=output, resume=True)
    assert output.read_bytes() == before


@pytest.mark.parametrize("device", ["cpu", "openvino"])
def test_auto_goes_on_where_an_output_was_begun(device: str, tmp_path: Path) -> None:
    """Wherever it would begin one."""
    pytest.importorskip("openvino", exc_type=ImportError)
    output = tmp_path / "a.csv"
    options: dict[str, Any] = {"model": built_in_model(), "batch_size": 4}
    predict("pictures/", output=output, device=device, **options)
    whole = output.read_bytes()
    output.write_bytes(whole[: len(whole) // 2])
    said = Said()
    outcome = predict("pictures/", output=output, resume=True, progress=said, **options)
    assert 0 < outcome.now.pictures < PICTURES
    assert f"{output} was begun with --device {device}, and goes on with it" in said.lines
    assert any(line.startswith(f"device: {device} (") for line in said.lines)
    assert output.read_bytes() == whole


def test_a_plan_without_its_output_decides_nothing(tmp_path: Path) -> None:
    output, said = tmp_path / "a.csv", Said()
    predict("pictures/", output=output, device="cpu")
    output.unlink()
    predict("pictures/", output=output, resume=True, progress=said)
    assert not any("was begun with" in line for line in said.lines)


@pytest.mark.parametrize(("precision", "expected"), [("fp32", "bf16"), ("int8", "exact")])
def test_elsewhere_fast_changes_nothing_in_an_int8_file(precision: str, expected: str) -> None:
    """As over Ray, where the answers are computed in other processes."""
    subject = open_subject(Job(inputs=["pictures/"], math="fast", device="cpu"), SILENCE)
    model = replace(subject.classifier.model, metadata={"precision": precision})
    subject.classifier.model = model
    assert subject.plan("parquet", 4, "openvino").arithmetic == expected


@pytest.mark.parametrize(("begun", "asked"), [("cpu", "openvino"), ("openvino", "cpu")])
def test_the_processors_two_runtimes_are_not_mixed(begun: str, asked: str, tmp_path: Path) -> None:
    pytest.importorskip("openvino", exc_type=ImportError)
    output = tmp_path / "a.csv"
    predict("pictures/", output=output, device=begun)
    output.write_bytes(output.read_bytes()[:-20])
    before = output.read_bytes()
    words = f"made on {begun} and this run computes on {asked}, .*; give --device {begun} to go on"
    with pytest.raises(OutputError, match=words):
        predict("pictures/", output=output, device=asked, resume=True)
    assert output.read_bytes() == before


def test_bfloat16_is_not_mixed_with_float32(tmp_path: Path) -> None:
    pytest.importorskip("openvino", exc_type=ImportError)
    output = tmp_path / "a.csv"
    predict("pictures/", output=output, device="openvino")
    plan = json.loads(plan_file(output).read_text())
    assert (plan["device"], plan["arithmetic"]) == ("openvino", "exact")
    plan_file(output).write_text(json.dumps(plan | {"arithmetic": "bf16"}))
    output.write_bytes(output.read_bytes()[:-20])
    with pytest.raises(
        OutputError,
        match=r"made with bf16 arithmetic .* with exact; give --math fast, where the machine has it,",
    ):
        predict("pictures/", output=output, device="openvino", resume=True)


def test_math_changes_nothing_on_a_cpu(tmp_path: Path) -> None:
    predict("pictures/", output=tmp_path / "exact.csv", device="cpu", math="exact")
    predict("pictures/", output=tmp_path / "fast.csv", device="cpu", math="fast")
    exact, fast = (tmp_path / f"{name}.csv" for name in ("exact", "fast"))
    assert exact.read_bytes() == fast.read_bytes()
    assert plan_file(exact).read_bytes() == plan_file(fast).read_bytes()


def test_an_output_that_does_not_say_was_made_on_the_cpu(tmp_path: Path) -> None:
    """As those of version 0.1.0."""
    output = tmp_path / "a.csv"
    predict("pictures/", output=output)
    whole = output.read_bytes()
    plan = json.loads(plan_file(output).read_text())
    for key in ("device", "arithmetic", "decoding"):
        del plan[key]
    plan_file(output).write_text(json.dumps(plan))
    output.write_bytes(whole[:-20])
    assert predict("pictures/", output=output, resume=True, device="cpu").now.answered == 1
    assert output.read_bytes() == whole


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_an_older_revision_goes_on_unless_a_picture_changed(
    ending: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failed picture is not decoded, and none that is still to be answered counts."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.onnx").write_bytes((folder / "model.onnx").read_bytes())
    Image.new("RGB", (9, 9)).save("a.jpg")
    Path("b.png").write_text("no picture")
    Image.new("L", (9, 9)).save("c.png")
    Image.fromarray(np.zeros((9, 9), np.uint16)).save("d.png")
    names, output = ["a.jpg", "b.png", "c.png", "d.png", "c.png"], Path(f"answers.{ending}")
    predict(names, output=output)
    whole, plan = output.read_bytes(), json.loads(plan_file(output).read_text())
    rows = output
    if ending == "parquet":  # the journal of a run that was stopped
        predict(names, output="answers.jsonl")
        output.unlink()
        rows = Path("answers.parquet.jsonl")
        Path("answers.jsonl").rename(rows)
    lines = rows.read_bytes().splitlines(keepends=True)
    old = json.dumps(plan | {"decoding": 1})

    plan_file(output).write_text(old)
    rows.write_bytes(b"".join(lines[:-1]) + lines[-1][:-5])
    before = rows.read_bytes()
    with pytest.raises(OutputError, match=r"revision 2 decodes d\.png differently"):
        predict(names, output=output, resume=True)
    assert rows.read_bytes() == before

    rows.write_bytes(b"".join(lines[:-2]) + lines[-2][:-5])
    again = predict(names, output=output, resume=True)
    assert (again.before.pictures, again.now.answered) == (3, 2)
    assert output.read_bytes() == whole
    assert json.loads(plan_file(output).read_text()) == plan, "now of this revision"


# --- formats of one's own ----------------------------------------------------------------------------


class TabSeparated(AppendableFormat):
    """A text format, as someone may add it."""

    name, ending = "tsv", ".tsv"

    def row(self, record: Record, topk: int) -> bytes:
        cells = [record.path, record.error, *record.labels[:topk]]
        return "\t".join(cells).encode("utf-8", "surrogateescape") + b"\n"

    def read(self, file: IO[bytes], topk: int) -> Iterator[Written]:
        end = 0
        for line in file:
            if line.endswith(b"\n"):
                end += len(line)
                path, error, *_ = line.decode("utf-8", "surrogateescape").removesuffix("\n").split("\t")
                yield Written(path, error, end)


class Arrays(WholeFormat):
    """A binary format, as someone may add it."""

    name, ending = "npz", ".npz"

    def write(self, records: Iterable[Record], file: Path, topk: int) -> None:
        rows = list(records)
        with file.open("wb") as stream:
            np.savez(
                stream,
                errors=np.array([each.error for each in rows]),
                probabilities=np.array([each.probabilities or (np.nan,) * topk for each in rows]),
            )

    def errors(self, file: Path) -> Iterator[str]:
        with np.load(file) as arrays:
            yield from arrays["errors"].tolist()


@pytest.fixture
def own_formats() -> Iterator[None]:
    for format in (TabSeparated(), Arrays()):
        formats.register(format)
    yield
    for format in (TabSeparated(), Arrays()):
        del formats.FORMATS[format.name]


@pytest.mark.parametrize("ending", ["tsv", "npz"])
def test_a_format_is_one_object(ending: str, own_formats: None, tmp_path: Path) -> None:
    """Registered, it is written, chosen by its ending, resumed and found complete."""
    whole, output = tmp_path / f"whole.{ending}", tmp_path / f"a.{ending}"
    predict("pictures/", topk=2, output=whole)
    with pytest.raises(InputError):
        predict("pictures/", topk=2, output=output, strict=True)
    outcome = predict("pictures/", topk=2, output=output, resume=True)
    assert (outcome.before.answered, outcome.now.answered, outcome.failed) == (3, PICTURES - 3, 1)
    assert _content(output) == _content(whole)
    again = predict("pictures/", topk=2, output=output, resume=True)
    assert (again.before.answered, again.before.failed, again.now.pictures) == (PICTURES, 1, 0)


def _content(path: Path) -> object:
    if path.suffix == ".tsv":
        return path.read_bytes()
    with np.load(path) as arrays:
        return {name: arrays[name].tolist() for name in arrays.files if name == "errors"} | {
            "shown": np.nan_to_num(arrays["probabilities"]).tolist()
        }


def test_the_formats_hold_the_same_answers(tmp_path: Path) -> None:
    for ending in ("csv", "jsonl", "parquet"):
        predict("pictures/", output=tmp_path / f"a.{ending}")
    with (tmp_path / "a.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    lines = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    table = pq.read_table(tmp_path / "a.parquet").to_pylist()
    for row, line, entry in zip(rows, lines, table, strict=True):
        assert row["path"] == line["path"] == entry["path"]
        assert (row["label_1"] or None) == line["label_1"] == entry["label_1"]
        probability = float(row["probability_1"]) if row["probability_1"] else None
        assert probability == line["probability_1"] == entry["probability_1"]


# --- what is never lost --------------------------------------------------------------------------------


def test_a_complete_file_that_lost_rows_is_refused(tmp_path: Path) -> None:
    """Else the answers for them would be computed and thrown away."""
    output = tmp_path / "a.parquet"
    predict("pictures/", output=output)
    pq.write_table(pq.read_table(output).slice(0, 5), output)
    with pytest.raises(OutputError, match="holds 5 of 11 records"):
        predict("pictures/", output=output, resume=True)


@pytest.mark.parametrize("argument", ["output", "report"])
@pytest.mark.parametrize("victim", ["model.onnx", "pictures/0.png"])
def test_neither_model_nor_picture_is_overwritten(argument: str, victim: str, folder: Path) -> None:
    before = (folder / victim).read_bytes()
    arguments: dict[str, Any] = {"format": "csv", "overwrite": True, argument: victim}
    with pytest.raises(OutputError, match="is the input itself"):
        predict(["pictures/", "pictures/0.png"], **arguments)
    assert (folder / victim).read_bytes() == before


def test_a_complete_output_needs_no_device(tmp_path: Path) -> None:
    """Nothing is left to mix: it stays complete wherever the command is run again."""
    output = tmp_path / "a.csv"
    predict("pictures/", output=output)
    plan = json.loads(plan_file(output).read_text())
    plan_file(output).write_text(json.dumps(plan | {"device": "cuda", "arithmetic": "tf32"}))
    before = output.read_bytes()
    assert predict("pictures/", output=output, resume=True).now.pictures == 0
    assert output.read_bytes() == before


def test_a_table_that_can_not_grow_is_an_error_of_the_output(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200, hard))
    try:
        with pytest.raises(OutputError, match=r"a\.txt can't be written: File too large"):
            predict("pictures/", output=tmp_path / "a.txt", format="table")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_lists_are_named_in_a_message(tmp_path: Path) -> None:
    (tmp_path / "list").write_text("\n")
    for given, words in ((str(tmp_path / "list"), str(tmp_path / "list")), (io.BytesIO(b""), "-")):
        with pytest.raises(InputError, match=f"no pictures in {re.escape(words)}"):
            predict(lists=[given])


class Head(io.StringIO):
    """A stream whose reader leaves after some rows, as `head` does."""

    writes = 0

    def write(self, text: str) -> int:
        self.writes += 1
        if self.writes > 3:
            raise BrokenPipeError
        return super().write(text)


def test_a_reader_that_leaves_early_gets_no_more_and_the_report_is_whole(tmp_path: Path) -> None:
    report, stream = tmp_path / "page.html", Head()
    with pytest.raises(BrokenPipeError):
        predict("pictures/", output=stream, format="csv", report=report, device="cpu", batch_size=2)
    assert stream.getvalue().count("\n") == 5, "the header and two batches of two"
    page = report.read_text()
    assert all(f"{number}.png" in page for number in range(PICTURES))
    assert page.rstrip().endswith("</html>")


ENDINGS = ("csv", "jsonl", "parquet")
IN_A_LOCALE = """
import sys
from alexnet_tk import predict
folder, resume = sys.argv[1], sys.argv[2] == "resume"
for ending in ("csv", "jsonl", "parquet"):
    output = f"{folder}/a.{ending}"
    predict("named", output=output, model="model.onnx", device="cpu", batch_size=4, resume=resume)
"""


def test_outputs_are_the_same_in_any_locale(folder: Path, tmp_path: Path) -> None:
    """Names that are UTF-8 and others; what one locale wrote, another takes up."""
    named = folder / "named"
    named.mkdir()
    for name in ("plain.png", "é.png", "画.png", os.fsdecode(b"caf\xe9.png")):
        (named / name).write_bytes((folder / "pictures" / "0.png").read_bytes())

    def predict_in(locale: dict[str, str], output: Path, word: str) -> list[bytes]:
        output.mkdir(exist_ok=True)
        command = [sys.executable, "-c", IN_A_LOCALE, str(output), word]
        done = subprocess.run(
            command, cwd=folder, env=os.environ | locale, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return [(output / f"a.{ending}").read_bytes() for ending in ENDINGS]

    utf_8 = {"PYTHONUTF8": "1"}
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    whole = predict_in(utf_8, tmp_path / "utf-8", "new")
    assert predict_in(ascii_only, tmp_path / "ascii", "new") == whole
    for locale, output in ((utf_8, "ascii"), (ascii_only, "utf-8")):
        for ending in ("csv", "jsonl"):
            file = tmp_path / output / f"a.{ending}"
            file.write_bytes(file.read_bytes()[:-30])
        assert predict_in(locale, tmp_path / output, "resume") == whole
    assert [json.loads(line)["path"] for line in whole[1].splitlines()] == sorted(
        f"named/{path.name}" for path in named.iterdir()
    )
