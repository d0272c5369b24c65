"""The built-in pictures, in memory and as files."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from alexnet_tk import sample
from alexnet_tk.errors import OutputError

LABELS_FILE = Path(__file__).parent.parent / "models" / "fashion-mini" / "labels.txt"


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that was written to twice."""
    folder = tmp_path_factory.mktemp("samples") / "deep" / "images"
    assert sample.write_pictures(folder) == 1000
    (folder / "Bag" / "0000.png").unlink()
    assert sample.write_pictures(folder) == 1000
    return folder


@pytest.mark.parametrize(("split", "count"), [("train", 6000), ("val", 1000)])
def test_the_sample_is_balanced(split: sample.Split, count: int) -> None:
    pictures, classes = sample.pictures(split)
    assert pictures.shape == (count, 28, 28)
    assert pictures.dtype == np.uint8
    values, counts = np.unique(classes, return_counts=True)
    assert values.tolist() == list(range(10))
    assert set(counts.tolist()) == {count // 10}


def test_no_picture_for_validation_is_one_for_training() -> None:
    train = {picture.tobytes() for picture in sample.pictures("train")[0]}
    assert not any(picture.tobytes() in train for picture in sample.pictures("val")[0])


def test_the_labels_are_those_of_the_model_and_sorted_as_folders_are() -> None:
    lines = LABELS_FILE.read_text(encoding="utf-8").splitlines()
    assert list(sample.LABELS) == [line for line in lines if not line.startswith("#")]
    assert list(sample.LABELS) == sorted(set(sample.LABELS))
    assert not any("/" in label or "\0" in label for label in sample.LABELS)


def test_the_classes_are_what_their_labels_say() -> None:
    """Bags are wide and filled, trousers tall with a gap, sneakers low: their mean pictures tell."""
    pictures, classes = sample.pictures("val")
    means = {label: pictures[classes == index].mean(axis=0) for index, label in enumerate(sample.LABELS)}
    widths = {label: int((mean.max(axis=0) > 60).sum()) for label, mean in means.items()}
    heights = {label: int((mean.max(axis=1) > 60).sum()) for label, mean in means.items()}
    assert min(widths, key=widths.__getitem__) == "Trouser"
    assert min(heights, key=heights.__getitem__) == "Sneaker"
    assert heights["Ankle boot"] > heights["Sneaker"]


def test_written_pictures_read_back_to_the_same_pixels(written: Path) -> None:
    assert sorted(each.name for each in written.iterdir()) == list(sample.LABELS)
    pictures, classes = sample.pictures("val")
    for index, label in enumerate(sample.LABELS):
        paths = sorted((written / label).iterdir())
        assert [path.name for path in paths] == [f"{number:04d}.png" for number in range(100)]
        read = np.stack([np.asarray(Image.open(path)) for path in paths])
        np.testing.assert_array_equal(read, pictures[classes == index], strict=True)


def test_a_file_is_no_folder_to_write_to(tmp_path: Path) -> None:
    (tmp_path / "images").write_text("a file")
    with pytest.raises(OutputError, match="images") as caught:
        sample.write_pictures(tmp_path / "images")
    assert "\n" not in str(caught.value)
    assert (tmp_path / "images").read_text() == "a file"


def test_a_file_in_the_place_of_a_class_folder(tmp_path: Path) -> None:
    (tmp_path / "Dress").write_text("a file")
    with pytest.raises(OutputError):
        sample.write_pictures(tmp_path)


def test_other_pictures_are_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "Bag").mkdir()
    Image.new("L", (28, 28)).save(tmp_path / "Bag" / "0007.png")
    before = (tmp_path / "Bag" / "0007.png").read_bytes()
    with pytest.raises(OutputError, match=r"0007\.png exists already"):
        sample.write_pictures(tmp_path)
    assert (tmp_path / "Bag" / "0007.png").read_bytes() == before
