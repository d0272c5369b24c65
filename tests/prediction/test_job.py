"""Arguments of `predict` that make no sense together; one that does for each."""

import sys
from pathlib import Path
from typing import Any

import pytest

from alexnet_tk.errors import UsageError
from alexnet_tk.prediction.formats import CSV, FORMATS, JSON_LINES, PARQUET, TABLE, endings
from alexnet_tk.prediction.job import Job, choose_format, refuse_contradictions

CSV_FILE = {"output": Path("a.csv")}
PARQUET_FILE = {"output": Path("a.parquet"), "format": PARQUET}
ON_RAY = {**PARQUET_FILE, "engine": "ray"}
PAGE = Path("p.html")


def job(**arguments: Any) -> Job:
    return Job(**{"inputs": ["photos/"], **arguments})


@pytest.mark.parametrize(
    ("contradiction", "words", "sense"),
    [
        ({"inputs": []}, "name pictures", {"inputs": [], "lists": [Path("list")]}),
        ({"nul_separated": True}, "-0", {"nul_separated": True, "lists": [Path("list")]}),
        ({**CSV_FILE, "resume": True, "overwrite": True}, "--overwrite", {**CSV_FILE, "resume": True}),
        ({"resume": True}, "--resume", {**PARQUET_FILE, "resume": True}),
        ({"output": sys.stdout, "resume": True}, "--resume", {"output": sys.stdout}),
        ({"output": Path("a.txt"), "format": TABLE, "resume": True}, "--resume", {"format": TABLE}),
        ({**CSV_FILE, "resume": True, "report": PAGE}, "--report", {**CSV_FILE, "report": PAGE}),
        ({**CSV_FILE, "report": Path("a.csv")}, "same file", {"report": Path("a.csv")}),
        ({"format": PARQUET}, "stream", PARQUET_FILE),
        ({"format": PARQUET, "output": sys.stdout}, "stream", PARQUET_FILE),
        ({**CSV_FILE, "report": Path.cwd() / "a.csv"}, "same file", {**CSV_FILE, "report": PAGE}),
        ({"topk": 0}, "topk is 0; it must be at least 1", {"topk": 1}),
        ({"batch_size": -1}, "batch_size is -1", {"batch_size": 1}),
        ({"workers": 0}, "workers is 0", {"workers": 1}),
        ({"engine": "spark"}, "engine is 'spark'; it must be local or ray", {"engine": "local"}),
        ({"engine": "ray"}, "folder of Parquet", {**PARQUET_FILE, "engine": "ray"}),
        ({**CSV_FILE, "engine": "ray"}, "folder of Parquet", {**PARQUET_FILE, "engine": "ray"}),
        ({**PARQUET_FILE, "engine": "ray", "strict": True}, "--strict", {**PARQUET_FILE, "strict": True}),
        ({**PARQUET_FILE, "engine": "ray", "report": PAGE}, "--report", {**PARQUET_FILE, "report": PAGE}),
        (
            {**PARQUET_FILE, "engine": "ray", "on_record": print},
            "one process",
            {**PARQUET_FILE, "on_record": print},
        ),
    ],
    ids=str,
)
def test_a_contradiction_is_refused(contradiction: dict[str, Any], words: str, sense: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=words):
        refuse_contradictions(job(**contradiction))
    refuse_contradictions(job(**sense))


def test_a_format_is_chosen_by_its_name_or_the_ending() -> None:
    assert choose_format(None, Path("a.CSV")) is CSV
    assert choose_format(None, Path("a.jsonl")) is JSON_LINES
    assert choose_format(None, Path("a.parquet")) is PARQUET
    assert choose_format("jsonl", Path("a.csv")) is JSON_LINES
    assert choose_format(None, None) is choose_format(None, sys.stdout) is CSV
    with pytest.raises(UsageError, match=r"a\.txt ends in none of ") as caught:
        choose_format(None, Path("a.txt"))
    assert all(ending in str(caught.value) for ending in endings())
    with pytest.raises(UsageError, match="no format 'xml'; the formats are ") as caught:
        choose_format("xml", None)
    assert all(name in str(caught.value) for name in FORMATS)


def test_formats_are_told_apart() -> None:
    assert all(name == format.name for name, format in FORMATS.items())
    assert len(set(endings())) == len(endings())
