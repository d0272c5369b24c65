"""A run in this process: what is handed over, in which pieces, and where it stops."""

import signal
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from alexnet_tk.errors import InputError
from alexnet_tk.inference import Classifier, Record
from alexnet_tk.prediction.local import LocalRun
from alexnet_tk.prediction.run import predict


@pytest.fixture
def pictures(tmp_path: Path) -> list[str]:
    """Ten pictures, of which the sixth can't be read."""
    pixels = np.random.default_rng(0).integers(0, 256, (10, 8, 8, 3), dtype=np.uint8)
    for number, each in enumerate(pixels):
        Image.fromarray(each).save(tmp_path / f"{number}.png")
    (tmp_path / "5.png").write_text("no picture")
    return [str(tmp_path / f"{number}.png") for number in range(10)]


class Taken:
    """What was handed over, call by call."""

    def __init__(self) -> None:
        self.names: list[list[str]] = []
        self.rows: list[list[bytes]] = []

    def __call__(self, records: list[Record], rows: list[bytes]) -> None:
        self.names.append([Path(record.path).stem for record in records])
        self.rows.append(rows)


def name(record: Record) -> bytes:
    return Path(record.path).stem.encode()


@pytest.mark.parametrize(
    ("skip", "strict", "singly", "handed_over"),
    [
        (0, False, False, ["0123", "4567", "89"]),
        (6, False, False, ["67", "89"]),
        (8, False, False, ["89"]),
        (10, False, False, []),
        (0, True, False, ["0123", "4"]),
        (5, True, False, []),
        (6, True, False, ["67", "89"]),
        (2, False, True, [*"23456789"]),
        (2, True, True, [*"234"]),
    ],
)
def test_batches_and_parts_of_them(
    skip: int, strict: bool, singly: bool, handed_over: list[str], model_file: Path, pictures: list[str]
) -> None:
    taken = Taken()
    run = LocalRun(Classifier(model_file, "cpu"), pictures, 1, row=name, batch_size=4)
    stops = strict and skip <= 5
    try:
        run.write_records(taken, skip=skip, strict=strict, singly=singly)
        assert not stops
    except InputError as error:
        assert stops
        assert "5.png: not a picture" in str(error)
    assert ["".join(names) for names in taken.names] == handed_over
    assert [b"".join(rows).decode() for rows in taken.rows] == handed_over
    assert run.totals.pictures == sum(map(len, handed_over))


def test_ctrl_c_in_a_callers_function_ends_the_run_at_that_record(
    model_file: Path, pictures: list[str], tmp_path: Path
) -> None:
    output, seen = tmp_path / "answers.csv", []

    def on_record(record: Record) -> None:
        seen.append(record.path)
        if len(seen) == 3:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        predict(pictures, model=model_file, output=output, batch_size=8, on_record=on_record)
    assert seen == pictures[:3]
    assert [line.partition(",")[0] for line in output.read_text().splitlines()[1:]] == seen
