"""`features` as Python calls it: the files that it writes, resumes and refuses."""

import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray
from PIL import Image

from alexnet_tk import features, predict
from alexnet_tk.choices import FeatureType
from alexnet_tk.errors import InputError, ModelError, OutputError, UsageError
from alexnet_tk.inference import Record
from alexnet_tk.prediction import parquet
from alexnet_tk.prediction.feature_formats import FeatureRows, ParquetFeatures
from alexnet_tk.prediction.formats import WholeFormat
from alexnet_tk.prediction.output import OutputFile

PICTURES, UNITS, BROKEN = 10, 6, 3  # the broken one stands fourth in the order of names
TYPES: tuple[FeatureType, ...] = ("float32", "float16")
CLOSE = {"float32": 1e-5, "float16": 1e-3}


@pytest.fixture(scope="module")
def pixels() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (PICTURES, 8, 8, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, feature_file: Path, pixels: NDArray[np.uint8]) -> Path:
    """Pictures, a broken one among them, and model.onnx."""
    folder = tmp_path_factory.mktemp("features")
    (folder / "pictures").mkdir()
    for number, each in enumerate(pixels):
        Image.fromarray(each).save(folder / "pictures" / f"{number}.png")
    (folder / "pictures" / "3, broken\n.png").write_text("no picture")
    (folder / "pictures" / "notes.txt").write_text("ignored")
    (folder / "model.onnx").write_bytes(feature_file.read_bytes())
    return folder


@pytest.fixture(autouse=True)
def _in_the_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)


@pytest.fixture(scope="module")
def expected(
    pixels: NDArray[np.uint8], features_of: Callable[[NDArray[np.uint8]], NDArray[np.float64]]
) -> NDArray[np.float64]:
    values = features_of(pixels)
    assert (values == 0).any()
    assert (values.std(axis=0)[:5] > 1).all(), "or a swap could not be seen"
    return values


def lines_of(array: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in array.with_name(f"{array.name}.jsonl").read_text().splitlines()]


def parquet_rows(file: Path) -> tuple[list[bool], NDArray[Any]]:
    """Which pictures have features, and these."""
    column = pq.read_table(file)["features"].combine_chunks()
    there = column.is_valid().to_pylist()
    return there, column.flatten().to_numpy(zero_copy_only=False).reshape(-1, UNITS)


# --- what is written ---------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("device", ["cpu", "openvino"])
def test_a_table_has_a_row_for_each_picture(
    dtype: FeatureType, device: str, expected: NDArray[np.float64], tmp_path: Path
) -> None:
    if device == "openvino":
        pytest.importorskip("openvino", exc_type=ImportError)
    output = tmp_path / "f.parquet"
    outcome = features("pictures/", output=output, dtype=dtype, device=device, batch_size=4)
    assert (outcome.answered, outcome.failed, outcome.found.ignored) == (PICTURES, 1, {".txt": 1})
    answers = tmp_path / "answers.parquet"
    predict("pictures/", output=answers)
    columns = ["path", "path_bytes", "status", "error"]
    assert pq.read_table(output, columns=columns).equals(pq.read_table(answers, columns=columns))
    there, found = parquet_rows(output)
    assert there == [number != BROKEN for number in range(PICTURES + 1)]
    assert found.dtype == dtype
    np.testing.assert_allclose(found, expected, rtol=CLOSE[dtype])
    column = pq.read_schema(output).field("features")
    assert column.type == pa.list_(pa.field("element", column.type.value_type, nullable=False), UNITS)


@pytest.mark.parametrize("dtype", TYPES)
def test_an_array_has_a_row_for_each_answer(
    dtype: FeatureType, expected: NDArray[np.float64], tmp_path: Path
) -> None:
    output = tmp_path / "f.npy"
    features("pictures/", output=output, dtype=dtype, batch_size=4)
    found = np.load(output, mmap_mode="r")
    assert (found.dtype, found.flags.c_contiguous) == (dtype, True)
    np.testing.assert_allclose(found, expected, rtol=CLOSE[dtype])
    lines = lines_of(output)
    assert [line["path"] for line in lines] == sorted(map(str, Path("pictures").glob("*.png")))
    assert [line["status"] for line in lines].index("failed") == BROKEN
    assert [bool(line["error"]) for line in lines] == [number == BROKEN for number in range(PICTURES + 1)]
    names = sorted(each.name for each in tmp_path.iterdir())
    assert names == ["f.npy", "f.npy.jsonl", "f.npy.run.json"], "and no journal"


def test_both_hold_the_same_bytes(tmp_path: Path) -> None:
    for ending in ("npy", "parquet"):
        features(["pictures/"], output=str(tmp_path / f"f.{ending}"))
    np.testing.assert_array_equal(parquet_rows(tmp_path / "f.parquet")[1], np.load(tmp_path / "f.npy"))


@pytest.mark.parametrize("ending", ["npy", "parquet"])
def test_where_all_pictures_fail_there_are_no_features(ending: str, tmp_path: Path) -> None:
    output = tmp_path / f"f.{ending}"
    outcome = features("pictures/3, broken\n.png", output=output)
    assert (outcome.answered, outcome.failed) == (0, 1)
    if ending == "npy":
        assert np.load(output, mmap_mode="r").shape == (0, UNITS)
    else:
        assert pq.read_table(output)["features"].to_pylist() == [None]
    again = features("pictures/3, broken\n.png", output=output, resume=True)
    assert (again.before.failed, again.now.pictures) == (1, 0)


def test_groups_of_a_table_hold_few_rows(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As many as are in memory at a time."""
    monkeypatch.setattr(parquet, "FEATURE_ROWS", 4)
    output = tmp_path / "f.parquet"
    features("pictures/", output=output)
    groups = pq.ParquetFile(output).metadata
    assert [groups.row_group(i).num_rows for i in range(groups.num_row_groups)] == [4, 4, 3]
    assert sum(parquet_rows(output)[0]) == PICTURES


# --- resuming ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["npy", "parquet"])
@pytest.mark.parametrize("dtype", TYPES)
def test_a_run_that_was_killed_anywhere_goes_on_to_the_same_bytes(
    ending: str, dtype: FeatureType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The journal is cut at some places, as a kill leaves it; one of them is where it is complete."""
    whole, output = tmp_path / f"whole.{ending}", tmp_path / f"f.{ending}"
    options: dict[str, Any] = {"dtype": dtype, "batch_size": 3, "device": "cpu"}
    features("pictures/", output=whole, **options)

    def killed(*arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(WholeFormat, "complete", killed)
        features("pictures/", output=output, **options)
    journal = tmp_path / f"f.{ending}.rows"
    rows = journal.read_bytes()
    assert not output.exists()
    size = UNITS * np.dtype(dtype).itemsize
    for cut in (0, 5, 70, len(rows) // 2, len(rows) - size, len(rows) - 1, len(rows)):
        journal.write_bytes(rows[:cut])
        output.unlink(missing_ok=True)
        outcome = features("pictures/", output=output, resume=True, **options)
        assert (outcome.answered, outcome.failed) == (PICTURES, 1)
        assert (outcome.now.pictures == 0) == (cut == len(rows))
        assert output.read_bytes() == whole.read_bytes()
        assert not journal.exists()
        if ending == "npy":
            assert lines_of(output) == lines_of(whole)


@pytest.mark.parametrize("dtype", TYPES)
def test_a_journal_cut_anywhere_keeps_its_whole_records(dtype: FeatureType) -> None:
    rows = FeatureRows(dtype, 3)
    values = np.array([[10, 2.5, 0], [0, 10, 13]], np.float32)  # 10 is the end of a line
    records = [
        Record("a\n.png", features=values[0]),
        Record("gone\udcff.png", "no such file"),
        Record("b.png", features=values[1]),
    ]
    written = [rows.row(record, 1) for record in records]
    ends = [len(b"".join(written[:count])) for count in range(len(written) + 1)]
    whole = b"".join(written)
    for cut in range(len(whole) + 1):
        found = list(rows.read(io.BytesIO(whole[:cut]), 1))
        kept = max(count for count, end in enumerate(ends) if end <= cut)
        assert [each.path for each in found] == [each.path for each in records[:kept]]
        assert [each.end for each in found] == ends[1 : kept + 1]
    again = list(rows.records(io.BytesIO(whole), 1))
    assert [(each.path, each.error) for each in again] == [(each.path, each.error) for each in records]
    assert again[1].features is None
    for record, value in ((again[0], values[0]), (again[2], values[1])):
        assert record.features is not None
        assert record.features.tolist() == value.tolist()


@pytest.mark.parametrize("ending", ["npy", "parquet"])
def test_strict_stops_where_a_resume_takes_up(ending: str, tmp_path: Path) -> None:
    whole, output = tmp_path / f"whole.{ending}", tmp_path / f"f.{ending}"
    features("pictures/", output=whole, batch_size=4)
    with pytest.raises(InputError, match="as --strict asks"):
        features("pictures/", output=output, batch_size=4, strict=True)
    with pytest.raises(OutputError, match=rf"f\.{ending}\.rows holds the answers of a run that did not end"):
        features("pictures/", output=output)
    outcome = features("pictures/", output=output, resume=True)
    assert (outcome.before.answered, outcome.now.answered, outcome.failed) == (BROKEN, PICTURES - BROKEN, 1)
    assert output.read_bytes() == whole.read_bytes()


def test_a_full_disk_loses_nothing(tmp_path: Path) -> None:
    """With room again, the file becomes what it would have been."""
    resource = pytest.importorskip("resource")
    whole, output = tmp_path / "whole.npy", tmp_path / "f.npy"
    features("pictures/", output=whole, batch_size=2)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500, hard))
    try:
        with pytest.raises(OutputError, match=r"File too large; its answers are kept, and --resume goes on"):
            features("pictures/", output=output, batch_size=2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    outcome = features("pictures/", output=output, resume=True)
    assert 0 < outcome.before.answered < PICTURES
    assert output.read_bytes() == whole.read_bytes()


def test_two_outputs_are_not_mixed(tmp_path: Path) -> None:
    output = tmp_path / "f.parquet"
    features("pictures/", output=output)
    before = output.read_bytes()
    with pytest.raises(OutputError, match="exists already"):
        features("pictures/", output=output)
    with pytest.raises(OutputError, match="in another format"):
        features("pictures/", output=output, dtype="float16", resume=True)
    with pytest.raises(OutputError, match="in another format"):
        predict("pictures/", output=output, resume=True)
    assert output.read_bytes() == before
    features("pictures/", output=output, dtype="float16", overwrite=True)
    assert len(output.read_bytes()) < len(before)


@pytest.mark.parametrize("change", ["cut", "no list", "a line less", "rubbish"])
def test_an_array_that_was_changed_is_not_taken_up(change: str, tmp_path: Path) -> None:
    output = tmp_path / "f.npy"
    features("pictures/", output=output)
    lines = tmp_path / "f.npy.jsonl"
    if change == "cut":
        os.truncate(output, 200)
    elif change == "no list":
        lines.unlink()
    elif change == "a line less":
        lines.write_text("".join(lines.read_text().splitlines(keepends=True)[:-1]))
    else:
        output.write_bytes(b"rubbish")
    with pytest.raises(OutputError, match=r"f\.npy can't be read again: .*--overwrite"):
        features("pictures/", output=output, resume=True)


# --- what is refused ---------------------------------------------------------------------------------


def test_a_file_without_features_names_the_export(model_file: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"does not give features; `alexnet-tk export model\.pt --features`"):
        features("pictures/", output=tmp_path / "f.npy", model=model_file)
    assert list(tmp_path.iterdir()) == []


def test_other_endings_types_and_engines(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"f\.csv ends in neither \.parquet nor \.npy"):
        features("pictures/", output=tmp_path / "f.csv")
    with pytest.raises(UsageError, match="dtype is 'float64'; it must be float32 or float16"):
        features("pictures/", output=tmp_path / "f.npy", dtype="float64")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="folder of Parquet files"):
        features("pictures/", output=tmp_path / "f.npy", engine="ray")
    assert list(tmp_path.iterdir()) == []


def test_a_number_that_float16_can_not_hold_is_an_error() -> None:
    record = Record("a.png", features=np.array([1, 70_000], np.float32))
    with pytest.raises(OutputError, match=r"a\.png: one of its features is 70,000, .* --dtype float32"):
        FeatureRows("float16", 2).row(record, 1)
    with pytest.raises(OutputError, match="float16"):
        ParquetFeatures("float16", 2).encode([record], 1)
    assert FeatureRows("float32", 2).row(record, 1).endswith(np.float32(70_000).tobytes())


def test_the_answers_of_predict_are_not_replaced_unasked(tmp_path: Path) -> None:
    """Nor those of `features` by `predict`: of a run that did not end, or beside an array."""
    for name in ("f.parquet.jsonl", "f.npy.jsonl", "g.parquet.rows"):
        (tmp_path / name).write_text("answers")
    for name, message in (
        ("f.parquet", "a run that did not end"),
        ("f.npy", r"f\.npy\.jsonl exists already"),
    ):
        with pytest.raises(OutputError, match=message):
            features("pictures/", output=tmp_path / name)
    with pytest.raises(OutputError, match=r"g\.parquet\.rows holds the answers of a run that did not end"):
        predict("pictures/", output=tmp_path / "g.parquet")
    assert {each.read_text() for each in tmp_path.iterdir()} == {"answers"}
    features("pictures/", output=tmp_path / "f.parquet", overwrite=True)
    assert not (tmp_path / "f.parquet.jsonl").exists()


def test_the_journal_has_a_name_of_its_own(tmp_path: Path) -> None:
    """Not that of `predict`'s, which holds something else."""
    file = OutputFile(tmp_path / "f.parquet", ParquetFeatures("float32"))
    assert file.appended == tmp_path / "f.parquet.rows"
