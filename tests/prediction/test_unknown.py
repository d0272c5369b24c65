"""`predict --unknown-below`: less sure answers are marked, in every format, and in resumed outputs."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from alexnet_tk import predict, sample
from alexnet_tk.errors import OutputError, UsageError
from alexnet_tk.inference import Classifier
from alexnet_tk.inference.record import Record
from alexnet_tk.prediction.table import TableLayout
from alexnet_tk.zoo import built_in_model

BELOW = 0.9


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Sixty of the built-in pictures, and one that is broken."""
    folder = tmp_path_factory.mktemp("unknown")
    sample.write_pictures(folder)
    (folder / "broken.png").write_bytes(b"text")
    return [*map(str, sorted(folder.glob("*/000[0-5].png"))), str(folder / "broken.png")]


@pytest.fixture(scope="module")
def expected(pictures: list[str]) -> list[bool | None]:
    """By the probabilities themselves."""
    records = Classifier(built_in_model(), "cpu").classify(pictures)
    found = [None if record.error else record.probabilities[0] < BELOW for record in records]
    assert {True, False, None} == set(found)
    return found


def run(pictures: list[str], **options: Any) -> Any:
    return predict(pictures, model=built_in_model(), device="cpu", unknown_below=BELOW, **options)


def test_records(pictures: list[str], expected: list[bool | None]) -> None:
    outcome = run(pictures)
    found = [None if record.error else record.unknown for record in outcome.records]
    assert found == expected
    plain = predict(pictures, model=built_in_model(), device="cpu").records
    assert all(record.unknown is None for record in plain)


def test_csv(pictures: list[str], expected: list[bool | None], tmp_path: Path) -> None:
    run(pictures, output=tmp_path / "a.csv", topk=2)
    with (tmp_path / "a.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    words = {True: "true", False: "false", None: ""}
    assert [row["unknown"] for row in rows] == [words[each] for each in expected]
    columns = ["path", "status", "error", "unknown", "label_1", "probability_1", "label_2", "probability_2"]
    assert list(rows[0]) == columns
    predict(pictures, model=built_in_model(), device="cpu", output=tmp_path / "plain.csv", topk=2)
    with (tmp_path / "plain.csv").open(newline="") as file:
        assert [{**row, "unknown": None} for row in csv.DictReader(file)] == [
            {**row, "unknown": None} for row in rows
        ]


def test_json_lines(pictures: list[str], expected: list[bool | None], tmp_path: Path) -> None:
    run(pictures, output=tmp_path / "a.jsonl")
    rows = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert [row["unknown"] for row in rows] == expected


def test_parquet(pictures: list[str], expected: list[bool | None], tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    run(pictures, output=tmp_path / "a.parquet")
    assert parquet.read_table(tmp_path / "a.parquet")["unknown"].to_pylist() == expected


@pytest.mark.parametrize("ending", [".csv", ".jsonl", ".parquet"])
def test_a_resumed_output_has_the_same_bytes(pictures: list[str], tmp_path: Path, ending: str) -> None:
    if ending == ".parquet":
        pytest.importorskip("pyarrow")
    output = tmp_path / f"a{ending}"

    def stop(record: Record) -> None:
        if record.path == pictures[20]:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(pictures, output=output, batch_size=4, on_record=stop)
    with pytest.raises(OutputError, match="with another --unknown-below"):
        predict(
            pictures,
            model=built_in_model(),
            device="cpu",
            output=output,
            batch_size=4,
            resume=True,
            unknown_below=0.5,
        )
    run(pictures, output=output, batch_size=4, resume=True)
    run(pictures, output=tmp_path / f"whole{ending}", batch_size=4)
    assert output.read_bytes() == (tmp_path / f"whole{ending}").read_bytes()


def test_the_table_says_it() -> None:
    record = Record("a.png", "", ("cat", "dog"), (0.5, 0.4))
    layout = TableLayout()
    assert "unknown, cat?" in layout.row(record.marked(0.51), 2).plain
    assert "dog" in layout.row(record.marked(0.51), 2).plain
    assert "unknown" not in layout.row(record.marked(0.5), 2).plain


@pytest.mark.parametrize("below", [-0.1, 1.1, float("nan")])
def test_what_is_no_probability_is_refused(pictures: list[str], below: float) -> None:
    with pytest.raises(UsageError, match="it must be a probability, from 0 to 1"):
        predict(pictures, unknown_below=below)
