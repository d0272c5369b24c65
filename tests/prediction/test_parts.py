"""Answers as a folder of Parquet files: cut, taken up after any end, never in place of what is not theirs."""

import io
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alexnet_tk.errors import OutputError
from alexnet_tk.inference import Record
from alexnet_tk.prediction.formats import PARQUET
from alexnet_tk.prediction.output import OutputFile
from alexnet_tk.prediction.parts import Parts, parts, parts_format, refuse_existing_parts, unfinished
from alexnet_tk.prediction.plan import Plan, earlier_batch_size

PATHS = [f"{number}.png" for number in range(100)]
RECORDS = {
    path: Record(path, "" if number % 7 else "empty file", ("a",), (1 - number / 200,))
    for number, path in enumerate(PATHS)
}
PLAN = Plan.of("model", PATHS, 1, parts_format(), 8)  # 13 parts, the last with 4 pictures


def answer(kept: Parts, number: int) -> None:
    kept.put(number, PARQUET.encode((RECORDS[path] for path in kept.cut(PATHS, number)), 1))


def rows(output: Path) -> list[tuple[str, str]]:
    table = pq.read_table(output)
    return list(zip(table["path"].to_pylist(), table["error"].to_pylist(), strict=True))


@given(st.integers(1, 5_000), st.integers(1, 300))
def test_parts_hold_every_picture_once_in_whole_batches(
    tmp_path_factory: pytest.TempPathFactory, pictures: int, batch_size: int
) -> None:
    kept = Parts(
        tmp_path_factory.getbasetemp(), Plan("model", "inputs", pictures, 1, parts_format(), batch_size)
    )
    paths = [str(number) for number in range(pictures)]
    cut = [kept.cut(paths, number) for number in kept.missing()]
    assert [path for part in cut for path in part] == paths
    assert all(len(part) % batch_size == 0 for part in cut[:-1])


@pytest.mark.parametrize(
    ("pictures", "batch_size", "size"),
    [(2_000, 32, 32), (1_000_000, 128, 1_024), (10**9, 128, 4_096), (10**9, 5_000, 5_000), (1, 32, 32)],
)
def test_parts_are_neither_many_nor_long(pictures: int, batch_size: int, size: int) -> None:
    assert Parts(Path(), Plan("model", "inputs", pictures, 1, parts_format(), batch_size)).size == size


def test_a_stopped_run_is_taken_up(tmp_path: Path) -> None:
    output = tmp_path / "a.parquet"
    for done, answered in (([], [3, 12]), ([3, 12], [0]), ([0, 3, 12], [])):
        with pytest.raises(KeyboardInterrupt), parts(output, PLAN, resume=True) as kept:
            assert kept.missing() == [number for number in range(13) if number not in done]
            for number in answered:
                answer(kept, number)
            raise KeyboardInterrupt
        assert not output.exists()
        (unfinished(output) / ".alexnet-tk-x.part").write_text("as a kill may leave it")
    assert earlier_batch_size(unfinished(output)) == 8
    with parts(output, PLAN, resume=True) as kept:
        totals = kept.totals()
        there = [*range(8), *range(24, 32), *range(96, 100)]
        assert totals.failed == sum(number % 7 == 0 for number in there)
        assert totals.answered == len(there) - totals.failed
        for number in reversed(kept.missing()):  # as they come
            answer(kept, number)
    assert rows(output) == [(path, RECORDS[path].error) for path in PATHS]
    assert not unfinished(output).exists()
    assert len(list(output.iterdir())) == 14, "the parts and their plan"
    with parts(output, PLAN, resume=True) as kept:
        assert kept.missing() == []
        assert kept.totals().reasons == {"empty file": 15}
    assert rows(output) == [(path, RECORDS[path].error) for path in PATHS]


def test_a_part_is_a_file_of_its_records() -> None:
    table = pq.read_table(io.BytesIO(PARQUET.encode(RECORDS.values(), 1)))
    assert table["probability_1"].to_pylist()[:3] == [None, 0.995, 0.99]


def test_answers_of_other_things_are_not_mixed(tmp_path: Path) -> None:
    output = tmp_path / "a.parquet"
    with pytest.raises(KeyboardInterrupt), parts(output, PLAN, resume=False) as kept:
        answer(kept, 0)
        raise KeyboardInterrupt
    other = Plan.of("model", PATHS[1:], 1, parts_format(), 8)
    with pytest.raises(OutputError, match="of other pictures"), parts(output, other, resume=True):
        pass
    with parts(output, other, resume=False) as kept:
        assert kept.missing()[0] == 0, "nothing of the other run is left"
    with pytest.raises(OutputError, match="of other pictures"), parts(output, PLAN, resume=True):
        pass


def test_what_stands_in_the_way(tmp_path: Path) -> None:
    output = tmp_path / "a.parquet"
    refuse_existing_parts(output, resume=False, overwrite=False)
    with pytest.raises(OutputError, match="does not exist"):
        refuse_existing_parts(tmp_path / "none" / "a.parquet", resume=False, overwrite=False)
    with pytest.raises(KeyboardInterrupt), parts(output, PLAN, resume=False):
        raise KeyboardInterrupt
    with pytest.raises(OutputError, match="did not end; give --resume"):
        refuse_existing_parts(output, resume=False, overwrite=False)
    refuse_existing_parts(output, resume=True, overwrite=False)
    with parts(output, PLAN, resume=True):
        pass
    with pytest.raises(OutputError, match="exists already"):
        refuse_existing_parts(output, resume=False, overwrite=False)
    refuse_existing_parts(output, resume=True, overwrite=False)
    refuse_existing_parts(output, resume=False, overwrite=True)


def test_another_folder_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.png").touch()
    with pytest.raises(OutputError, match="not one of answers"):
        refuse_existing_parts(tmp_path / "photos", resume=False, overwrite=True)


def test_a_file_of_one_process_stays_until_the_parts_are_there(tmp_path: Path) -> None:
    output = tmp_path / "a.parquet"
    output.write_text("answers of one process")
    for resume in (False, True):
        with pytest.raises(OutputError, match="exists already"):
            refuse_existing_parts(output, resume, overwrite=False)
    refuse_existing_parts(output, resume=False, overwrite=True)
    with pytest.raises(KeyboardInterrupt), parts(output, PLAN, resume=False):
        raise KeyboardInterrupt
    assert output.read_text() == "answers of one process"
    refuse_existing_parts(output, resume=True, overwrite=False)  # goes on with what --overwrite began
    with parts(output, PLAN, resume=True):
        pass
    assert output.is_dir()
    with parts(output, PLAN, resume=False):
        assert output.is_dir()
    journal = OutputFile(tmp_path / "b.parquet", PARQUET).appended
    journal.touch()
    with pytest.raises(OutputError, match="jsonl exists already"):
        refuse_existing_parts(tmp_path / "b.parquet", resume=True, overwrite=False)


def test_a_damaged_part_is_named(tmp_path: Path) -> None:
    """It can be removed, and is then answered again."""
    output = tmp_path / "a.parquet"
    with pytest.raises(KeyboardInterrupt), parts(output, PLAN, resume=False) as kept:
        answer(kept, 0)
        raise KeyboardInterrupt
    part = unfinished(output) / "part-000000.parquet"
    part.write_bytes(part.read_bytes()[:-9])
    with pytest.raises(OutputError, match=r"part-000000\.parquet can't be read again"):
        Parts(unfinished(output), PLAN).totals()
    part.unlink()
    assert 0 in Parts(unfinished(output), PLAN).missing()
