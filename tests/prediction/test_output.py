"""Outputs that end anywhere, and are taken up."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from alexnet_tk.errors import OutputError
from alexnet_tk.inference import Record
from alexnet_tk.prediction.account import Totals
from alexnet_tk.prediction.formats import FORMATS, AppendableFormat
from alexnet_tk.prediction.output import OutputFile
from alexnet_tk.prediction.plan import Plan, earlier_batch_size, plan_file

RECORDS = [
    Record("plain.png", "", ("a", "b"), (0.75, 0.25)),
    Record('quote".png', "", ("b", "a"), (0.5, 0.5)),
    Record("two\nlines, one\r\nname.png", "", ('la"bel', "b"), (1.0, 0.0)),
    Record("gone\udcff.png", "no such file"),
    Record("broken.png", 'broken picture: "\n"'),
    Record("é.png", "", ("a", "b"), (0.9, 0.1)),
]


def written(form: str) -> list[bytes]:
    """What each record adds to a file; for CSV the header stands first."""
    format = FORMATS[form]
    assert isinstance(format, AppendableFormat)
    header = format.header(2)
    return ([header] if header else []) + [format.row(record, 2) for record in RECORDS]


@contextmanager
def answers(output: Path, plan: Plan, resume: bool) -> Iterator[tuple[Totals, Callable[[Record], None]]]:
    """The counts, and what writes a record."""
    file = file_of(output, plan)
    with file.open(plan, resume) as (before, write):
        yield before, lambda record: write(file.rows.row(record, plan.topk))


def take_up(output: Path, plan: Plan, pictures: list[str] | None = None) -> Totals:
    return file_of(output, plan).take_up(plan, pictures)


def file_of(output: Path, plan: Plan) -> OutputFile:
    format = FORMATS[plan.format]
    assert isinstance(format, AppendableFormat)
    return OutputFile(output, format)


def plan(tmp_path: Path, form: str = "csv", topk: int = 2, batch_size: int = 4) -> Plan:
    return Plan.of("weights", [each.path for each in RECORDS], topk, form, batch_size)


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_a_file_cut_anywhere_keeps_its_whole_records(tmp_path: Path, form: str) -> None:
    output, parts = tmp_path / "out", written(form)
    plan(tmp_path, form).save(output)
    whole, headers = b"".join(parts), 1 if form == "csv" else 0
    ends = [len(b"".join(parts[:count])) for count in range(len(parts) + 1)]
    for cut in range(len(whole) + 1):
        output.write_bytes(whole[:cut])
        totals = take_up(output, plan(tmp_path, form))
        kept = max(count for count, end in enumerate(ends) if end <= cut)
        assert output.read_bytes() == whole[: ends[kept]]
        records = RECORDS[: max(0, kept - headers)]
        assert totals.answered == sum(not each.error for each in records)
        assert totals.failed == sum(bool(each.error) for each in records)


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_a_file_that_can_not_grow(tmp_path: Path, form: str) -> None:
    """As on a full disk; with room again, it becomes what it would have been."""
    resource = pytest.importorskip("resource")
    output, whole, many = tmp_path / f"a.{form}", tmp_path / f"whole.{form}", RECORDS * 100
    plan = Plan("m", "i", len(many), 2, form, 32)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        with (
            pytest.raises(OutputError, match=rf"a\.{form} can't be written: File too large; .*--resume"),
            answers(output, plan, False) as (_, write),
        ):
            for record in many:
                write(record)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    with answers(output, plan, True) as (before, write):
        skipped = before.answered + before.failed
        assert 0 < skipped < len(many)
        for record in many[skipped:]:
            write(record)
    with answers(whole, plan, False) as (_, write):
        for record in many:
            write(record)
    assert output.read_bytes() == whole.read_bytes()


def test_another_runs_output_is_left_alone(tmp_path: Path) -> None:
    output, parts = tmp_path / "out.csv", written("csv")
    output.write_bytes(b"".join(parts)[:-3])
    with pytest.raises(OutputError, match=r"no out\.csv\.run\.json beside it"):
        take_up(output, plan(tmp_path))
    plan(tmp_path).save(output)
    for other, words in (
        (plan(tmp_path, topk=1), "with another number of labels"),
        (plan(tmp_path, form="jsonl"), "in another format;"),
        (plan(tmp_path, batch_size=8), "with another --batch-size;"),
        (Plan.of("other", [each.path for each in RECORDS], 2, "csv", 4), "by another model;"),
        (Plan.of("weights", ["x"] * len(RECORDS), 2, "csv", 4), "of other pictures;"),
    ):
        with pytest.raises(OutputError, match=words):
            take_up(output, other)
    for rubbish in ("", "[]", "{", "{}"):
        plan_file(output).write_text(rubbish)
        with pytest.raises(OutputError, match="--overwrite"):
            take_up(output, plan(tmp_path))
    assert output.read_bytes() == b"".join(parts)[:-3]


def test_names_that_run_together_are_told_apart() -> None:
    assert Plan.of("m", ["ab", "c"], 1, "csv", 1) != Plan.of("m", ["a", "bc"], 1, "csv", 1)


def test_the_batch_size_of_before(tmp_path: Path) -> None:
    output = tmp_path / "out.csv"
    assert earlier_batch_size(output) is None
    plan(tmp_path, batch_size=12).save(output)
    assert earlier_batch_size(output) == 12
    for rubbish in ("[]", json.dumps({"batch_size": "many"}), json.dumps({"batch_size": 0}), "{"):
        plan_file(output).write_text(rubbish)
        assert earlier_batch_size(output) is None


@pytest.mark.parametrize(("old", "new"), [(b'"error": ""', b'"error": NaN'), (b'"plain.png"', b"7")])
def test_values_of_other_types_are_not_taken_up(tmp_path: Path, old: bytes, new: bytes) -> None:
    output = tmp_path / "out"
    plan(tmp_path, "jsonl").save(output)
    output.write_bytes(b"".join(written("jsonl")).replace(old, new, 1))
    with pytest.raises(OutputError, match="record 1, is not what was written there"):
        take_up(output, plan(tmp_path, "jsonl"))


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_answers_that_were_changed_are_not_taken_up(tmp_path: Path, form: str) -> None:
    """A line that is missing, twice, of no record, or one too many."""
    output, parts = tmp_path / "out", written(form)
    plan(tmp_path, form).save(output)
    names = [each.path for each in RECORDS]
    head = len(parts) - len(RECORDS)
    for lines in (
        parts[: head + 1] + parts[head + 2 :],
        [*parts[: head + 1], *parts[head:]],
        [*parts[:-1], b"\n", parts[-1]],
        [*parts, parts[-1]],
    ):
        output.write_bytes(b"".join(lines))
        with pytest.raises(OutputError, match=r"record \d, is not what was written there"):
            take_up(output, plan(tmp_path, form), names)
        assert output.read_bytes() == b"".join(lines)


def test_between_two_runs_no_answers_stand_beside_another_plan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever ends the process while one begins, the next one can go on."""
    output = tmp_path / "out.csv"
    with answers(output, plan(tmp_path), resume=False) as (_, write):
        write(RECORDS[0])

    def killed(*arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Plan, "save", killed)
        with pytest.raises(KeyboardInterrupt), answers(output, plan(tmp_path), resume=False):
            pass
    assert not output.exists()
    with answers(output, plan(tmp_path), resume=True) as (before, _):
        assert before.answered == 0


@pytest.mark.parametrize(
    ("form", "old", "new"),
    [
        ("csv", b",ok,", b",xx,"),
        ("csv", b",ok,", b",failed,"),
        ("jsonl", b'"ok"', b'"xx"'),
        ("jsonl", b'"failed"', b'"ok"'),
        ("jsonl", b"}\n", b"}\r\n"),
    ],
)
def test_a_changed_row_is_found(tmp_path: Path, form: str, old: bytes, new: bytes) -> None:
    output = tmp_path / "out"
    plan(tmp_path, form).save(output)
    output.write_bytes(b"".join(written(form)).replace(old, new, 1))
    with pytest.raises(OutputError, match=r"record \d, is not what was written there"):
        take_up(output, plan(tmp_path, form))
