"""Records in each format, read back by other means."""

import csv
import io
import json
import os
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from alexnet_tk.inference import Record
from alexnet_tk.prediction.formats import CSV, FORMATS, JSON_LINES, AppendableFormat, RowFormat
from alexnet_tk.prediction.output import OutputFile
from alexnet_tk.prediction.plan import Plan

TOPK = 3
COLUMNS = ["path", "status", "error"] + [
    f"{what}_{rank}" for rank in (1, 2, 3) for what in ("label", "probability")
]

awkward = st.text(st.sampled_from(list("aé☃𝄞,;\"'\\\t\n\r \x1b=")), min_size=1)
paths = st.one_of(
    awkward,
    st.binary(min_size=1, max_size=12).map(lambda name: os.fsdecode(name.replace(b"\0", b"/"))),
)
names = st.one_of(
    awkward, st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/\0"), min_size=1)
)
# What a float32 of a softmax can be.
chances = st.floats(0, 1, width=32)
answered = st.builds(
    lambda path, labels, probabilities: Record(path, "", labels, tuple(sorted(probabilities, reverse=True))),
    paths,
    st.tuples(*[names] * TOPK),
    st.tuples(*[chances] * TOPK),
)
failed = st.builds(Record, paths, awkward)
records = st.lists(st.one_of(answered, failed), max_size=6)

NOT_UTF8 = Record(os.fsdecode(b"f\xfcr/\xff,\"'\n.png"), "", ("a", "b", "c"), (0.5, 0.25, 0.125))
RETURN = Record("Icon\r", "", ("a", "b", "c"), (0.5, 0.25, 0.125))  # macOS makes files of that name


def written(form: str, many: list[Record]) -> bytes:
    """The bytes that end up in a file."""
    format = FORMATS[form]
    assert isinstance(format, RowFormat)
    return format.header(TOPK) + b"".join(format.row(record, TOPK) for record in many)


@given(many=records)
@example(many=[NOT_UTF8])
@example(many=[RETURN])
@example(many=[])
@settings(deadline=None)
def test_csv_reads_back(many: list[Record]) -> None:
    text = written("csv", many).decode("utf-8", errors="surrogateescape")
    header, *rows = csv.reader(io.StringIO(text, newline=""))
    assert header == COLUMNS
    assert len(rows) == len(many), "one row for each record"
    for record, row in zip(many, rows, strict=True):
        cells = dict(zip(header, row, strict=True))
        assert cells["path"] == record.path
        assert os.fsencode(cells["path"]) == os.fsencode(record.path)
        assert cells["status"] == ("failed" if record.error else "ok")
        assert cells["error"] == record.error
        for rank in range(TOPK):
            label, chance = cells[f"label_{rank + 1}"], cells[f"probability_{rank + 1}"]
            if record.error:
                assert (label, chance) == ("", "")
            else:
                assert label == record.labels[rank]
                assert float(chance) == pytest.approx(record.probabilities[rank], rel=1e-5, abs=0)


@given(many=records)
@example(many=[NOT_UTF8])
@example(many=[])
@settings(deadline=None)
def test_json_lines_read_back(many: list[Record]) -> None:
    text = written("jsonl", many)
    assert text.isascii()
    lines = text.splitlines()
    assert len(lines) == len(many)
    for record, line in zip(many, lines, strict=True):
        values = json.loads(line)
        assert list(values) == COLUMNS
        assert values["path"] == record.path
        assert values["status"] == ("failed" if record.error else "ok")
        assert values["error"] == record.error
        for rank in range(TOPK):
            label, chance = values[f"label_{rank + 1}"], values[f"probability_{rank + 1}"]
            if record.error:
                assert label is None
                assert chance is None
            else:
                assert label == record.labels[rank]
                assert chance == pytest.approx(record.probabilities[rank], rel=1e-5, abs=0)


def test_paths_keep_their_bytes_in_csv() -> None:
    assert b'\n"f\xfcr/\xff,""\'\n.png",ok,,a,0.5,b,0.25,c,0.125\n' in written("csv", [NOT_UTF8])


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_a_record_is_on_the_disk_as_soon_as_it_is_written(form: str, tmp_path: Path) -> None:
    """What was finished is kept, whatever ends the run."""
    format, path = FORMATS[form], tmp_path / f"answers.{form}"
    assert isinstance(format, AppendableFormat)
    with OutputFile(path, format).open(Plan("m", "i", 3, 1, form, 1), resume=False) as (_, write):
        for count in (1, 2, 3):
            write(format.row(Record(f"{count}.png", "", ("a",), (0.5,)), 1))
            assert path.read_text().count(".png") == count


@pytest.mark.parametrize("topk", [1, 2, 5])
@pytest.mark.parametrize("format", [CSV, JSON_LINES], ids=lambda format: format.name)
def test_there_are_as_many_ranks_as_were_asked_for(format: AppendableFormat, topk: int) -> None:
    record = Record("a.png", "", tuple("abcdef"), (0.5, 0.2, 0.1, 0.05, 0.03, 0.02))
    text = (format.header(topk) + format.row(record, topk)).decode()
    assert f"label_{topk}" in text
    assert f"probability_{topk}" in text
    assert f"label_{topk + 1}" not in text
