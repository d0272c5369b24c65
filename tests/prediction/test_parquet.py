"""Answers as Parquet: made of a journal, taken up after any end."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alexnet_tk.errors import OutputError
from alexnet_tk.inference import Record
from alexnet_tk.prediction import parquet
from alexnet_tk.prediction.account import Totals
from alexnet_tk.prediction.formats import JSON_LINES, PARQUET
from alexnet_tk.prediction.output import OutputFile
from alexnet_tk.prediction.plan import Plan

paths = st.binary(min_size=1, max_size=12).map(lambda name: os.fsdecode(name.replace(b"\0", b"/")))
names = st.text("aé,\"'\n\r☃")
records = st.lists(
    st.one_of(
        st.builds(Record, paths, st.just(""), st.tuples(names, st.text("b")), st.just((0.75, 0.25))),
        st.builds(Record, paths, st.text("empty\n", min_size=1)),
    )
)
RECORDS = [
    Record(f"{number}.png", "" if number % 7 else "empty file", ("a", "b"), (1 - number / 200, number / 200))
    for number in range(100)
]
PLAN = Plan("model", "inputs", len(RECORDS), 2, "parquet", 32)


@contextmanager
def answers(output: Path, plan: Plan, resume: bool) -> Iterator[tuple[Totals, Callable[[Record], None]]]:
    """The counts, and what writes a record."""
    with OutputFile(output, PARQUET).open(plan, resume) as (before, write):
        yield before, lambda record: write(JSON_LINES.row(record, plan.topk))


def journal_of(output: Path) -> Path:
    return OutputFile(output, PARQUET).appended


def rows(path: Path) -> list[dict[str, Any]]:
    return pq.read_table(path).to_pylist()  # type: ignore[no-any-return]


@given(many=records)
@settings(deadline=None)
def test_any_path_survives(many: list[Record], tmp_path_factory: pytest.TempPathFactory) -> None:
    output = tmp_path_factory.mktemp("parquet") / "a.parquet"
    with answers(output, PLAN, resume=False) as (_, write):
        for record in many:
            write(record)
    told = rows(output)
    assert [row["path_bytes"] for row in told] == [os.fsencode(record.path) for record in many]
    for row, record in zip(told, many, strict=True):
        assert row["path"] == os.fsencode(record.path).decode(errors="replace")
        assert (row["status"], row["error"]) == (record.status, record.error)
        ranks = (row["label_1"], row["label_2"], row["probability_1"], row["probability_2"])
        assert ranks == ((None,) * 4 if record.error else (*record.labels, *record.probabilities))


def test_types_and_files(tmp_path: Path) -> None:
    output = tmp_path / "a.parquet"
    with answers(output, PLAN, resume=False) as (before, write):
        assert (before.answered, before.failed) == (0, 0)
        write(RECORDS[1])
        assert not output.exists()
        assert journal_of(output).read_text().count("\n") == 1
    types = {field.name: field.type for field in pq.read_schema(output)}
    assert types == {
        "path": pa.string(),
        "path_bytes": pa.binary(),
        "status": pa.string(),
        "error": pa.string(),
        "label_1": pa.string(),
        "probability_1": pa.float64(),
        "label_2": pa.string(),
        "probability_2": pa.float64(),
    }
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a.parquet", "a.parquet.run.json"]


def test_a_stopped_run_is_taken_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "ROWS", 16)
    whole, output = tmp_path / "whole.parquet", tmp_path / "a.parquet"
    with answers(whole, PLAN, resume=False) as (_, write):
        for record in RECORDS:
            write(record)
    done = 0
    for stop in (0, 1, 40, 41, 100):
        with pytest.raises(KeyboardInterrupt), answers(output, PLAN, resume=True) as (before, write):
            assert before.answered + before.failed == done
            for record in RECORDS[done:stop]:
                write(record)
            done = stop
            raise KeyboardInterrupt
        with journal_of(output).open("a") as journal:
            journal.write('{"path": "ha')  # as a kill may leave it
        assert not output.exists()
    for _ in range(2):  # the second finds it complete
        with answers(output, PLAN, resume=True) as (before, write):
            assert before.answered == sum(not each.error for each in RECORDS)
            assert before.reasons == {"empty file": 15}
        assert output.read_bytes() == whole.read_bytes()
    assert len(rows(output)) == 100


def test_a_journal_is_not_lost_by_accident(tmp_path: Path) -> None:
    output = tmp_path / "a.parquet"
    journal_of(output).write_text("answers\n")
    with pytest.raises(OutputError, match="did not end; give --resume"):
        OutputFile(output, PARQUET).refuse_existing(keep=False)
    OutputFile(output, PARQUET).refuse_existing(keep=True)


def test_a_full_disk_keeps_the_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output = tmp_path / "a.parquet"

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(pq.ParquetWriter, "write_table", full)
        with pytest.raises(OutputError, match="No space left"), answers(output, PLAN, False) as (_, write):
            for record in RECORDS:
                write(record)
    assert not output.exists()
    with answers(output, PLAN, resume=True) as (before, _):
        assert before.answered + before.failed == len(RECORDS)
    assert len(rows(output)) == len(RECORDS)


@pytest.mark.parametrize("keep", [0, 1, 50, -1])
def test_a_complete_output_that_was_damaged_is_refused(tmp_path: Path, keep: int) -> None:
    output = tmp_path / "a.parquet"
    with answers(output, PLAN, resume=False) as (_, write):
        for record in RECORDS:
            write(record)
    output.write_bytes(output.read_bytes()[:keep])
    with (
        pytest.raises(OutputError, match=r"can't be read again: .*--overwrite"),
        answers(output, PLAN, resume=True),
    ):
        pass


@given(many=records, unknown=st.booleans())
@settings(deadline=None)
def test_columns_are_as_pyarrow_makes_them(many: list[Record], unknown: bool) -> None:
    marked = [replace(each, unknown=number % 3 == 0) if unknown else each for number, each in enumerate(many)]
    columns = parquet.schema(2, unknown)
    table_rows = [parquet._row(each.row(2)) for each in marked]
    table = parquet._table(table_rows, columns)
    table.validate(full=True)
    assert table.equals(pa.Table.from_pylist(table_rows, columns))


PROGRAM = """
import sys
import numpy as np
from pathlib import Path
from alexnet_tk.inference.record import Record
from alexnet_tk.prediction.feature_formats import choose_feature_format
from alexnet_tk.prediction.formats import PARQUET
from alexnet_tk.similarity.vectors import open_vectors

records = [
    Record("a.png", "", ("b",), (0.5,), features=np.ones(3, np.float32)),
    Record("b.png", "empty file"),
]
PARQUET.complete(records, Path("answers.parquet"), 1)
choose_feature_format(Path("f.parquet"), "float16").with_units(3).complete(records, Path("f.parquet"), 0)
vectors = open_vectors(Path("f.parquet"))
assert [values.tolist() for _, values in vectors.blocks()] == [[[1, 1, 1]]]
assert vectors.paths([1]) == {1: "b.png"}
print("pandas" in sys.modules)
"""


def test_pandas_is_not_imported(tmp_path: Path) -> None:
    """It takes longer than the writing; pyarrow's own converters import it."""
    pytest.importorskip("pandas")
    run = [sys.executable, "-c", PROGRAM]
    assert subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, check=True).stdout == "False\n"
