"""The sources of labelled pictures, and what happens to unreadable ones."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from sklearn.metrics import confusion_matrix

from alexnet_tk.errors import DataError
from alexnet_tk.evaluation import evaluate
from tests.evaluation.known import (
    LABELS,
    RecordedProgress,
    answers,
    assert_figures,
    centre,
    draw,
    write_folder,
    write_model,
)


def test_a_folder_that_the_model_does_not_know_is_refused(model: Path, tmp_path: Path) -> None:
    write_folder(tmp_path / "data", draw(3), np.array([0, 1, 2]), ["ant", "bees", "Cat"])
    with pytest.raises(DataError, match=r"holds 'Cat', 'bees', which .*model\.onnx does not know") as error:
        evaluate([model], tmp_path / "data")
    assert "labels are ant, bee, cat, dog, eel, …" in str(error.value)


def test_folders_may_be_ids(
    folder: Path, truth: NDArray[np.int64], pictures: NDArray[np.uint8], tmp_path: Path
) -> None:
    ids = [f"n{number:08}" for number in range(len(LABELS))]
    twice = ["ant", "bee", "cat", "dog", "eel", "fox", "ant"]  # as ImageNet has two cranes
    named = write_model(tmp_path / "ids.onnx", twice, ids=ids)
    write_folder(tmp_path / "data", pictures, truth, ids)
    answered = answers(centre(pictures)).argmax(axis=1)
    expected = confusion_matrix(truth, answered, labels=range(len(LABELS)))
    assert np.array_equal(evaluate([named, named], tmp_path / "data").confusion, expected)
    write_folder(tmp_path / "names", draw(1), np.array([0]), ["ant"])
    with pytest.raises(DataError, match=r"2 classes of .* have the label 'ant'; name the folders"):
        evaluate([named], tmp_path / "names")
    mixed = write_model(tmp_path / "mixed.onnx", ids=ids)
    assert evaluate([mixed], folder).top1 == evaluate([mixed], tmp_path / "data").top1


def test_the_layouts_of_data(model: Path, folder: Path, tmp_path: Path) -> None:
    pictures, classes = draw(9, seed=3), np.arange(9) % 3
    (tmp_path / "both").mkdir()
    write_folder(tmp_path / "both" / "val", pictures, classes)
    assert evaluate([model], tmp_path / "both").pictures == 9
    write_folder(tmp_path / "both" / "train", draw(9, seed=4), classes)
    assert evaluate([model], tmp_path / "both").pictures == 9
    assert (
        evaluate([model], tmp_path / "both").top1.count
        == (answers(centre(pictures)).argmax(axis=1) == classes).sum()
    )
    with pytest.raises(DataError, match="gone does not exist"):
        evaluate([model], tmp_path / "gone")
    with pytest.raises(DataError, match="holds no class folders"):
        evaluate([model], folder / "ant")
    (tmp_path / "none" / "ant").mkdir(parents=True)
    with pytest.raises(DataError, match="holds no pictures"):
        evaluate([model], tmp_path / "none")
    write_folder(tmp_path / "none", draw(1), np.array([1]))
    (tmp_path / "none" / "bee" / "note.txt").write_text("ignored")
    found = evaluate([model], tmp_path / "none")
    assert (found.pictures, found.ignored) == (1, {".txt": 1})
    (tmp_path / "none" / "packed.json").write_text("{}")
    with pytest.raises(DataError, match="broken packed set"):
        evaluate([model], tmp_path / "none")


def test_a_packed_set_is_its_validation_pictures(tmp_path: Path) -> None:
    """Packing does not change pictures that have its size already."""
    from alexnet_tk.training import pack

    pictures, classes = draw(12, side=256, seed=7), np.arange(12) % 3
    write_folder(tmp_path / "data" / "train", draw(6, seed=8), np.arange(6) % 3)
    write_folder(tmp_path / "data" / "val", pictures, classes)
    (tmp_path / "data" / "val" / "bee" / "empty.png").write_bytes(b"")
    pack(tmp_path / "data", tmp_path / "packed")
    model = write_model(tmp_path / "model.onnx", side=224, scaled=256)
    probabilities = answers(pictures[:, 16:240, 16:240])
    found = evaluate([model], tmp_path / "packed", batch_size=5)
    assert found.top1.count == (probabilities.argmax(axis=1) == classes).sum() < 12
    assert found.failed == [], "packing has left it out"
    names = [each.path for each in found.mistakes]
    assert names and all(each.startswith(f"{tmp_path}/packed/val.npy, row ") for each in names)
    from_folder = evaluate([model], tmp_path / "data")
    assert np.array_equal(from_folder.confusion, found.confusion)
    assert [Path(path).name for path, _ in from_folder.failed] == ["empty.png"]


def test_pictures_that_fail_are_listed_and_left_out(
    model: Path, pictures: NDArray[np.uint8], truth: NDArray[np.int64], tmp_path: Path
) -> None:
    folder = write_folder(tmp_path / "data", pictures, truth)
    broken = sorted(folder.glob("*/*.png"))[::7]
    for path in broken:
        path.write_bytes(b"rubbish")
    left = np.array(
        [number for number in range(120) if not any(f"{number:03}" == path.stem for path in broken)]
    )
    for models in ([model], [model, model]):
        found = evaluate(models, folder, batch_size=4)
        assert_figures(found, truth[left], answers(centre(pictures[left])))
        assert sorted(path for path, _ in found.failed) == [str(path) for path in broken]
        assert {error for _, error in found.failed} == {"not a picture that Pillow can read"}
        account = found.account()
        assert account[0].endswith(f"{len(left)} answered, {len(broken)} failed, 0 ignored")
        assert sum(line.startswith("time") for line in account) == len(models)
        assert sum(line.endswith(": not a picture that Pillow can read") for line in account) == 10
        assert account[-1] == f"failed: {len(broken) - 10} more; --output F.json lists all"
    for path in folder.glob("*/*.png"):
        path.write_bytes(b"")
    with pytest.raises(DataError, match=r"no picture in .* can be read, for example .*: empty file"):
        evaluate([model], folder)


def test_memory_does_not_grow_with_the_pictures(
    model: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At most three batches per worker are read ahead, however many pictures there are."""
    opened = 0
    lead: list[int] = []
    open_image = Image.open

    def watched(path: Any) -> Image.Image:
        nonlocal opened
        opened += 1
        return open_image(path)

    class Watching(RecordedProgress):
        def advance(self, count: int, loss: float | None = None) -> None:
            super().advance(count)
            lead.append(opened - self.done)

    monkeypatch.setattr(Image, "open", watched)
    evaluate([model], folder, batch_size=2, workers=2, progress=Watching())
    assert opened == 120
    assert 0 < max(lead) <= 3 * 2 * 2
