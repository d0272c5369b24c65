"""Packed sets of JPEGs: nearly the same pixels in a fraction of the space, whole after kills."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from alexnet_tk import images
from alexnet_tk.errors import DataError, OutputError, UsageError
from alexnet_tk.evaluation.dataset import open_labelled
from alexnet_tk.preprocess import Square
from alexnet_tk.progress import Progress
from alexnet_tk.training import pack, packing, train
from alexnet_tk.training.packed import PACKED_SQUARE, JpegRows, PackedSplit, open_packed
from tests.training.test_imagenet import Killer, Stop


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of smooth pictures; the first, one within and the last of a split can't be read."""
    folder = tmp_path_factory.mktemp("pictures")
    random = np.random.default_rng(0)
    for split, count in (("train", 9), ("val", 3)):
        for name in ("ant", "bee"):
            (folder / split / name).mkdir(parents=True)
            for i in range(count):
                small = random.integers(0, 256, (6, 8, 3), dtype=np.uint8)
                picture = Image.fromarray(small).resize((300, 280), Image.Resampling.BICUBIC)
                picture.save(folder / split / name / f"{i}.png")
    for broken in ("train/ant/0.png", "train/ant/4.png", "train/bee/8.png", "val/bee/0.png"):
        (folder / broken).write_bytes(b"rubbish")
    return folder


@pytest.fixture(scope="module")
def packed(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The folder packed as arrays and as JPEGs."""
    root = tmp_path_factory.mktemp("packed")
    pack(folder, root / "arrays")
    pack(folder, root / "jpegs", quality=90)
    return root / "arrays", root / "jpegs"


def test_every_row_is_the_jpeg_of_its_picture(folder: Path, packed: tuple[Path, Path]) -> None:
    arrays, jpegs = (open_packed(each)[0] for each in packed)
    assert arrays.labels == jpegs.labels
    for raw, small in ((arrays.train, jpegs.train), (arrays.val, jpegs.val)):
        assert isinstance(raw, PackedSplit)
        assert isinstance(small, PackedSplit)
        assert raw.targets.tolist() == small.targets.tolist()
        assert raw.rows.tolist() == small.rows.tolist()
        for index in range(len(raw.targets)):
            before = raw.read(index, PACKED_SQUARE)
            file = io.BytesIO()
            Image.fromarray(before).save(file, "JPEG", quality=90)
            with Image.open(file) as picture:
                expected = np.asarray(picture.convert("RGB"))
            after = small.read(index, PACKED_SQUARE)
            assert np.array_equal(after, expected)
            assert 0 < np.abs(before.astype(int) - after).mean() < 3
    assert (packed[0] / "failed.txt").read_text() == (packed[1] / "failed.txt").read_text()


def test_statistics_are_those_of_the_pictures(packed: tuple[Path, Path]) -> None:
    assert open_packed(packed[0])[1] == open_packed(packed[1])[1]


def test_the_file_is_plain(packed: tuple[Path, Path]) -> None:
    """Other programs read it with the offsets alone."""
    content = (packed[1] / "train.jpg").read_bytes()
    offsets = np.load(packed[1] / "train_offsets.npy")
    targets = np.load(packed[1] / "train_classes.npy")
    assert offsets.tolist() == sorted(offsets)
    assert len(offsets) == 18 + 1
    for row, target in enumerate(targets):
        file = content[offsets[row] : offsets[row + 1]]
        if target < 0:
            assert file == b""
        else:
            with Image.open(io.BytesIO(file)) as picture:
                assert (picture.format, picture.size) == ("JPEG", (256, 256))
    index = json.loads((packed[1] / "packed.json").read_text())
    assert (index["format"], index["quality"]) == ("alexnet-tk.packed-jpeg/1", 90)
    assert not list(packed[1].glob("*.jsonl"))


def test_it_is_much_smaller_and_says_how_large(folder: Path, tmp_path: Path) -> None:
    said: list[str] = []

    class Said(Progress):
        def say(self, message: str) -> None:
            said.append(message)

    summary = pack(folder, tmp_path / "packed", Said(), quality=50)
    stored = sum((tmp_path / "packed" / f"{split}.jpg").stat().st_size for split in ("train", "val"))
    assert summary.num_bytes == stored < 20 * 196_608 / 20
    (line,) = (line for line in said if "will take about" in line)
    assert " are free" in line


def test_another_size_is_scaled_from_the_row(packed: tuple[Path, Path]) -> None:
    dataset = open_packed(packed[1])[0]
    assert isinstance(dataset.train, PackedSplit)
    square = Square(144, 128, "bilinear")
    source = dataset.train.picture(3)
    assert isinstance(source, io.BytesIO)
    assert np.array_equal(dataset.train.read(3, square), images.load(source, square))


def test_training_and_evaluation(packed: tuple[Path, Path], tmp_path: Path, tiny: tuple[str, ...]) -> None:
    """The JPEGs train as the arrays that they decode to, bit for bit."""
    settings = (*tiny, "preprocess.resize=256", "train.batch_size=4", "train.epochs=1")

    def history(data: Path) -> object:
        checkpoint = train(
            data,
            recipe="own-pictures",
            settings=settings,
            output=tmp_path / "model.pt",
            device="cpu",
            overwrite=True,
        )
        return checkpoint.training["history"]

    jpegs = open_packed(packed[1])[0]
    decoded = tmp_path / "decoded"
    for split, pictures in (("train", jpegs.train), ("val", jpegs.val)):
        for index, target in enumerate(pictures.targets):
            path = decoded / split / jpegs.labels[target] / f"{index:02}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pictures.read(index, PACKED_SQUARE)).save(path)
    pack(decoded, tmp_path / "arrays")
    statistics = json.loads((packed[1] / "packed.json").read_text())["statistics"]
    index = json.loads((tmp_path / "arrays" / "packed.json").read_text())
    (tmp_path / "arrays" / "packed.json").write_text(json.dumps({**index, "statistics": statistics}))
    assert history(packed[1]) == history(tmp_path / "arrays")
    labelled = open_labelled(packed[1])
    assert labelled.targets.tolist() == jpegs.val.targets.tolist()
    for index, picture in enumerate(labelled.pictures):
        assert np.array_equal(images.load(picture, PACKED_SQUARE), jpegs.val.read(index, PACKED_SQUARE))


@pytest.mark.parametrize("after", [0, 1, 5, 6, 17, 18, 22])
def test_a_killed_run_goes_on(
    folder: Path, packed: tuple[Path, Path], tmp_path: Path, after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packing, "JOURNAL_EVERY", 3)
    target = tmp_path / "packed"
    with pytest.raises(Stop):
        pack(folder, target, Killer(after), quality=90)
    with (target / "journal.jsonl").open("a") as journal:
        journal.write('{"split": "tra')  # a line that the kill cut off
    for name in ("train.jpg", "val.jpg"):
        if (target / name).exists():
            with (target / name).open("ab") as file:
                file.write(b"written after the journal's last line")
    with pytest.raises(Stop):
        pack(folder, target, Killer(min(after + 4, 22)), quality=90)
    pack(folder, target, quality=90)
    names = {each.name for each in packed[1].iterdir()}
    assert {each.name for each in target.iterdir()} == names
    for name in names:
        assert (target / name).read_bytes() == (packed[1] / name).read_bytes(), name


@pytest.mark.parametrize(("first", "second"), [(None, 90), (90, None), (90, 80)])
def test_another_quality_does_not_go_on(
    folder: Path, tmp_path: Path, first: int | None, second: int | None
) -> None:
    with pytest.raises(Stop):
        pack(folder, tmp_path / "packed", Killer(5), quality=first)
    with pytest.raises(OutputError, match="partly packed with" if first else "partly packed as arrays"):
        pack(folder, tmp_path / "packed", quality=second)
    pack(folder, tmp_path / "packed", quality=first)


def test_what_was_written_is_still_there(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packing, "JOURNAL_EVERY", 3)
    with pytest.raises(Stop):
        pack(folder, tmp_path / "packed", Killer(9), quality=90)
    (tmp_path / "packed" / "train.jpg").write_bytes(b"")
    with pytest.raises(OutputError, match=r"train\.jpg is shorter than it was; remove"):
        pack(folder, tmp_path / "packed", quality=90)


def test_a_full_disk_keeps_what_is_packed(
    folder: Path, packed: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packing, "JOURNAL_EVERY", 3)
    sync, calls = packing.os.fsync, 0  # type: ignore[attr-defined]

    def full(descriptor: int) -> None:
        nonlocal calls
        calls += 1
        if calls == 6:
            raise OSError(28, "No space left on device")
        sync(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        with pytest.raises(OutputError, match="can't be written: No space left on device"):
            pack(folder, tmp_path / "packed", quality=90)
    pack(folder, tmp_path / "packed", quality=90)
    for each in packed[1].iterdir():
        assert (tmp_path / "packed" / each.name).read_bytes() == each.read_bytes(), each.name


@pytest.mark.parametrize("name", ["packed.json", "train.jpg", "train_offsets.npy", "val_classes.npy"])
@pytest.mark.parametrize("content", [b"rubbish", b"", b"[]"])
def test_a_broken_set_is_named(packed: tuple[Path, Path], tmp_path: Path, name: str, content: bytes) -> None:
    for each in packed[1].iterdir():
        (tmp_path / each.name).write_bytes(each.read_bytes())
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=r"packed set|pack it again"):
        open_packed(tmp_path)


def test_a_damaged_row_is_a_failed_picture(
    packed: tuple[Path, Path], tmp_path: Path, tiny: tuple[str, ...]
) -> None:
    for each in packed[1].iterdir():
        (tmp_path / each.name).write_bytes(each.read_bytes())
    train_split = open_packed(tmp_path)[0].train
    assert isinstance(train_split, PackedSplit)
    assert isinstance(train_split.pictures, JpegRows)
    begin = int(train_split.pictures.offsets[train_split.rows[2]])
    with (tmp_path / "train.jpg").open("r+b") as file:
        file.seek(begin)
        file.write(b"rubbish")
    settings = (*tiny, "train.epochs=1", "train.batch_size=4")
    train(tmp_path, recipe="own-pictures", settings=settings, output=tmp_path / "model.pt", device="cpu")
    listed = (tmp_path / "runs" / "model" / "unreadable.txt").read_text().splitlines()
    assert [line.partition("\t")[0] for line in listed] == [f"{tmp_path}/train.jpg, row 3"]


@pytest.mark.parametrize("quality", [0, -1, 96, 100])
def test_a_quality_that_is_none(folder: Path, tmp_path: Path, quality: int) -> None:
    with pytest.raises(UsageError, match="from 1 to 95"):
        pack(folder, tmp_path / "packed", quality=quality)
    assert not (tmp_path / "packed").exists()
