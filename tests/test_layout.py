"""What a folder of pictures means, and that training and evaluation agree on it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from alexnet_tk.errors import DataError
from alexnet_tk.evaluation.dataset import open_labelled
from alexnet_tk.found import Found, evenly_spaced
from alexnet_tk.layout import ClassFolders, Splits, class_folder_names, is_packed
from alexnet_tk.training import pack
from alexnet_tk.training.dataset import Split, from_folder


def write(folder: Path, *names: str) -> None:
    """Pictures of these names, with their folders."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4)).save(folder / name)


def flat(data: Path) -> None:
    write(data, "cat/1.png", "cat/2.png", "dog/1.png", "dog/deep/er/2.JPG", ".hidden/1.png", "dog/.2.png")
    (data / "notes.txt").touch()


def splits(data: Path) -> None:
    for split in ("train", "val"):
        flat(data / split)


def fewer_classes_in_val(data: Path) -> None:
    flat(data / "train")
    write(data, "val/dog/1.png", "val/dog/2.png")


def a_test_folder_beside_them(data: Path) -> None:
    splits(data)
    write(data, "test/1.png")


def classes_by_link(data: Path) -> None:
    write(data.parent / "elsewhere", "1.png", "2.png")
    write(data, "cat/1.png", "cat/2.png")
    (data / "dog").symlink_to(data.parent / "elsewhere")


def val_by_link(data: Path) -> None:
    flat(data.parent / "elsewhere")
    flat(data / "train")
    (data / "val").symlink_to(data.parent / "elsewhere")


def an_empty_class(data: Path) -> None:
    flat(data)
    (data / "eel").mkdir()


SHAPES = [
    flat,
    splits,
    fewer_classes_in_val,
    a_test_folder_beside_them,
    classes_by_link,
    val_by_link,
    an_empty_class,
]


@pytest.mark.parametrize("shape", SHAPES)
def test_training_and_evaluation_agree(shape: Callable[[Path], None], tmp_path: Path) -> None:
    """Both find the same labels, and evaluation the pictures that training validates on."""
    data = tmp_path / "data"
    shape(data)
    trained, evaluated = from_folder(data), open_labelled(data)
    assert set(evaluated.labels) <= set(trained.labels)
    if shape is not fewer_classes_in_val:
        assert evaluated.labels == trained.labels

    def named(part: Split, labels: list[str]) -> set[tuple[str, str]]:
        return {(part.name(index), labels[target]) for index, target in enumerate(part.targets.tolist())}

    known = {
        (evaluated.path(index), evaluated.labels[target])
        for index, target in enumerate(evaluated.targets.tolist())
    }
    if Splits.of(data).val is None:
        both = named(trained.train, trained.labels) | named(trained.val, trained.labels)
        assert known == both, "without splits all of it, of which training holds a tenth out"
    else:
        assert known == named(trained.val, trained.labels)


def only_train(data: Path) -> None:
    flat(data / "train")


def an_empty_val(data: Path) -> None:
    flat(data / "train")
    (data / "val").mkdir()


def nothing(data: Path) -> None:
    data.mkdir()


def no_classes(data: Path) -> None:
    write(data, "1.png")


def a_file(data: Path) -> None:
    data.touch()


@pytest.mark.parametrize("shape", [an_empty_val, nothing, no_classes, a_file])
def test_training_and_evaluation_refuse_the_same(shape: Callable[[Path], None], tmp_path: Path) -> None:
    data = tmp_path / "data"
    shape(data)
    for read in (from_folder, open_labelled):
        with pytest.raises(DataError) as caught:
            read(data)
        assert str(data) in str(caught.value)
        assert "\n" not in str(caught.value)


def test_evaluating_what_has_no_validation_split_is_refused_with_a_way_out(tmp_path: Path) -> None:
    data = tmp_path / "data"
    only_train(data)
    assert from_folder(data).labels == ["cat", "dog"], "training holds a tenth of it out"
    with pytest.raises(DataError, match=r"train/ but no val/") as caught:
        open_labelled(data)
    assert str(data / "train") in str(caught.value)
    assert open_labelled(data / "train").labels == ["cat", "dog"], "what the message says works"


def test_a_packed_set_is_evaluated_on_the_split_that_training_validates_on(tmp_path: Path) -> None:
    data, packed = tmp_path / "data", tmp_path / "packed"
    splits(data)
    assert not is_packed(data)
    pack(data, packed)
    assert is_packed(packed)
    evaluated = open_labelled(packed)
    assert evaluated.labels == ["cat", "dog"]
    np.testing.assert_array_equal(evaluated.targets, from_folder(data).val.targets)


@pytest.mark.parametrize(
    ("name", "packed"), [("packed.json", True), ("journal.jsonl", True), ("x.json", False)]
)
def test_a_packed_set_is_known_before_it_is_complete(name: str, packed: bool, tmp_path: Path) -> None:
    (tmp_path / name).touch()
    assert is_packed(tmp_path) is packed


def test_class_folders_are_sorted_and_their_names_kept(tmp_path: Path) -> None:
    for name in ("b", "B", "ä", "a b", "n01440764", ".git"):
        (tmp_path / name).mkdir()
    (tmp_path / "file").touch()
    assert class_folder_names(tmp_path) == ["B", "a b", "b", "n01440764", "ä"]
    assert class_folder_names(tmp_path / "none") == []


def test_pictures_come_class_by_class(tmp_path: Path) -> None:
    flat(tmp_path)
    (tmp_path / "cat" / "Thumbs.db").touch()
    (tmp_path / "dog" / "README").touch()
    classes = ClassFolders.read(tmp_path)
    assert classes.names == ["cat", "dog"]
    relative = [str(Path(path).relative_to(tmp_path)) for path in classes.paths]
    assert relative == ["cat/1.png", "cat/2.png", "dog/1.png", "dog/deep/er/2.JPG"]
    assert classes.targets == [0, 0, 1, 1]
    assert classes.ignored == {".txt": 1, ".db": 1, "no ending": 1}


def test_the_classes_of_another_split_keep_their_numbers(tmp_path: Path) -> None:
    write(tmp_path, "dog/1.png")
    classes = ClassFolders.read(tmp_path, ["cat", "dog"])
    assert (classes.names, classes.targets) == (["cat", "dog"], [1])


def test_a_folder_of_any_depth(tmp_path: Path) -> None:
    folder = tmp_path
    for _ in range(60):
        folder = folder / "d"
    write(folder, "1.png")
    found = Found()
    found.add_folder(str(tmp_path))
    assert found.paths == [str(folder / "1.png")]


@pytest.mark.parametrize(
    ("count", "limit", "indices"),
    [
        (0, 5, []),
        (3, 5, [0, 1, 2]),
        (5, 5, [0, 1, 2, 3, 4]),
        (10, 5, [0, 2, 4, 6, 8]),
        (7, 3, [0, 2, 4]),
        (9, 1, [0]),
    ],
)
def test_evenly_spaced(count: int, limit: int, indices: list[int]) -> None:
    assert evenly_spaced(count, limit) == indices
