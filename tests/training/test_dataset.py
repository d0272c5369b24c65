"""Class folders, validation tenths, labels, unreadable pictures, statistics."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from alexnet_tk.errors import DataError
from alexnet_tk.preprocess import Square
from alexnet_tk.progress import SILENCE
from alexnet_tk.training.batches import BatchReader
from alexnet_tk.training.dataset import ArraySplit, Dataset, FileSplit, built_in_sample, from_folder
from alexnet_tk.training.statistics import Statistics
from tests.training.log import Log

SQUARE = Square(resize=8, crop=8, filter="bilinear")


def fill(folder: Path, count: int, color: tuple[int, int, int] = (10, 20, 30)) -> None:
    """A class folder with that number of pictures."""
    folder.mkdir(parents=True)
    for i in range(count):
        Image.new("RGB", (9, 8), color).save(folder / f"{i:03d}.png")


def test_the_sample_is_balanced() -> None:
    data = built_in_sample()
    assert np.bincount(data.train.targets).tolist() == [600] * 10
    assert np.bincount(data.val.targets).tolist() == [100] * 10
    assert data.train.read(0, Square(32, 32, "bilinear")).shape == (32, 32, 3)


def test_train_and_val_folders(tmp_path: Path) -> None:
    for split, count in (("train", 3), ("val", 2)):
        for name in ("zebra", "ant"):
            fill(tmp_path / split / name, count)
    data = from_folder(tmp_path)
    assert data.labels == ["ant", "zebra"]
    assert (data.train.targets.tolist(), data.val.targets.tolist()) == ([0, 0, 0, 1, 1, 1], [0, 0, 1, 1])
    assert data.val.name(3).endswith("val/zebra/001.png")
    assert data.notes == []


def of_counts(counts: list[int]) -> Dataset:
    """A set with that many training pictures of each class; the labels are letters."""
    targets = np.random.default_rng(0).permutation(np.arange(len(counts)).repeat(counts))
    train, val = (ArraySplit(np.zeros((len(each), 1, 1), np.uint8), each) for each in (targets, targets[:1]))
    return Dataset(train, val, [chr(ord("a") + index) for index in range(len(counts))])


@pytest.mark.parametrize(
    ("counts", "listed"),
    [
        ([3, 1, 2], ""),
        ([4, 1], "4 × a, 1 × b"),
        ([300, 1201, 400], "1,201 × b, 400 × c, 300 × a"),
        ([2, 0], "2 × a, 0 × b"),
        ([1, 1, 1, 1, 1, 1, 1, 5], "5 × h, 1 × a, 1 × b, 1 × c, 1 × d, 1 × e, 1 × f, 1 × g"),
        (
            [5, 2, 9, 3, 8, 1, 7, 6, 4],
            "9 × c, 8 × e, 7 × g, 6 × h, …, 4 × i, 3 × d, 2 × b, 1 × f",
        ),
    ],
)
def test_uneven_classes_are_told(counts: list[int], listed: str) -> None:
    told = of_counts(counts).uneven_classes()
    assert told == (listed and f"uneven classes, in training pictures: {listed}")


def test_a_tenth_of_each_class_is_held_out_for_validation_and_said(tmp_path: Path) -> None:
    for name, count in (("a", 30), ("b", 11), ("c", 2), ("d", 1)):
        fill(tmp_path / name, count)
    data, again = from_folder(tmp_path), from_folder(tmp_path)
    assert np.bincount(data.val.targets, minlength=4).tolist() == [3, 1, 1, 0]
    assert np.bincount(data.train.targets, minlength=4).tolist() == [27, 10, 1, 1]
    assert isinstance(data.train, FileSplit)
    assert isinstance(data.val, FileSplit)
    assert isinstance(again.val, FileSplit)
    assert not set(data.train.paths) & set(data.val.paths)
    assert data.val.paths == again.val.paths
    assert any("tenth" in note and "5 pictures" in note for note in data.notes)


def test_imagenets_ids_become_english_labels(tmp_path: Path) -> None:
    for name in ("n01443537", "n01440764"):
        fill(tmp_path / name, 2)
    data = from_folder(tmp_path)
    assert (data.labels, data.label_ids) == (["tench", "goldfish"], ["n01440764", "n01443537"])


def test_other_names_are_labels_character_for_character(tmp_path: Path) -> None:
    names = ["n01440764", " spaced out ", "Grün, «x»"]
    for name in names:
        fill(tmp_path / name, 2)
    data = from_folder(tmp_path)
    assert (data.labels, data.label_ids) == (sorted(names), [])


def test_empty_classes_and_other_files_are_reported(tmp_path: Path) -> None:
    fill(tmp_path / "a", 2)
    fill(tmp_path / "b", 2)
    (tmp_path / "empty").mkdir()
    (tmp_path / "a" / "notes.txt").write_text("no picture")
    (tmp_path / ".hidden").mkdir()
    data = from_folder(tmp_path)
    assert data.labels == ["a", "b", "empty"]
    assert any(str(tmp_path / "empty") in note for note in data.notes)
    assert any("1 × .txt" in note for note in data.notes)


@pytest.mark.parametrize("folders", [[], ["one"]])
def test_fewer_than_two_classes_are_refused(tmp_path: Path, folders: list[str]) -> None:
    for name in folders:
        fill(tmp_path / name, 3)
    with pytest.raises(DataError, match="at least 2"):
        from_folder(tmp_path)


def test_missing_folders_and_unknown_classes_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nosuch"):
        from_folder(tmp_path / "nosuch")
    for path in ("train/a", "train/b", "val/a", "val/unknown"):
        fill(tmp_path / path, 1)
    with pytest.raises(DataError, match="unknown"):
        from_folder(tmp_path)


def test_folders_without_pictures_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    with pytest.raises(DataError, match="no pictures"):
        from_folder(tmp_path)


def test_an_unreadable_picture_is_left_out_with_its_class(tmp_path: Path) -> None:
    for name, grey in (("a", 50), ("b", 200)):
        fill(tmp_path / name, 6, (grey, grey, grey))
    (tmp_path / "a" / "001.png").write_bytes(b"rubbish")
    (tmp_path / "b" / "004.png").write_bytes(b"")
    paths = [str(path) for path in sorted(tmp_path.glob("*/*.png"))]
    square = Square(8, 4, "bilinear")
    reader = BatchReader(FileSplit(paths, np.repeat([0, 1], 6)), square)
    batches = list(reader.batches(np.arange(12), 5, lambda picture, _: square.centre(picture)))
    assert np.concatenate([batch.indices for batch in batches]).tolist() == [0, 2, 3, 4, 5, 6, 7, 8, 9, 11]
    for batch in batches:
        assert torch.equal(batch.pictures[:, 0, 0, 0], torch.where(batch.targets == 0, 50, 200))
    assert sorted(reader.failures) == [1, 10]
    assert "empty" in reader.failures[10]


def test_the_part_of_a_process_has_blank_rows_where_pictures_are_missing(tmp_path: Path) -> None:
    fill(tmp_path / "a", 7, (50, 50, 50))
    (tmp_path / "a" / "003.png").write_bytes(b"rubbish")
    paths = [str(path) for path in sorted(tmp_path.glob("*/*.png"))]
    reader = BatchReader(FileSplit(paths, np.arange(7)), SQUARE, slots=slice(2, 4))
    first, last = reader.batches(np.arange(7), 5, lambda picture, _: picture)
    assert first.sample_weights.tolist() == [1, 0]  # pictures 2 and 3
    assert first.pictures[:, 0, 0, 0].tolist() == [50, 0]
    assert first.slots.tolist() == last.slots.tolist() == [2, 3]
    assert first.indices.tolist() == [2]
    assert first.without_blank(first.targets).tolist() == [2]
    assert last.sample_weights.tolist() == [0, 0]  # pictures 5 and 6 are another process's
    assert last.pictures.shape == (2, 8, 8, 3)
    assert not last.pictures.any()
    assert (len(last.indices), last.global_size) == (0, 2)


def test_statistics_against_numpy() -> None:
    colors = np.random.default_rng(0).integers(0, 256, (200, 8, 8, 3), dtype=np.uint8)

    class Colors:
        targets = np.zeros(200, np.int64)

        def read(self, index: int, square: Square) -> NDArray[np.uint8]:
            picture: NDArray[np.uint8] = colors[index]
            return picture

        def name(self, index: int) -> str:
            return str(index)

    log = Log()
    statistics = Statistics.of(BatchReader(Colors(), SQUARE), 0, log)
    pixels = colors.reshape(-1, 3).astype(np.float64)
    np.testing.assert_allclose(statistics.mean, pixels.mean(axis=0))
    v, values = np.array(statistics.eigenvectors), np.array(statistics.eigenvalues)
    np.testing.assert_allclose(v @ np.diag(values) @ v.T, np.cov(pixels.T, bias=True), rtol=1e-9)
    assert log.pictures == 200


def test_statistics_without_a_readable_picture(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(b"rubbish")
    reader = BatchReader(FileSplit([str(tmp_path / "x.png")], np.zeros(1, np.int64)), SQUARE)
    with pytest.raises(DataError, match=r"x\.png"):
        Statistics.of(reader, 0, SILENCE)
