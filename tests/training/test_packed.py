"""Packed sets: the same training as from the folder, failures, kills, disks."""

import json
import shutil
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from alexnet_tk import images
from alexnet_tk.errors import DataError, OutputError
from alexnet_tk.preprocess import Square
from alexnet_tk.progress import Progress
from alexnet_tk.training import pack, packed, packing, train
from alexnet_tk.training.dataset import from_folder
from alexnet_tk.training.packed import open_packed


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes of pictures of many shapes; two of them can't be read."""
    folder = tmp_path / "pictures"
    random = np.random.default_rng(0)
    for split, count in (("train", 9), ("val", 3)):
        for name in ("ant", "bee"):
            (folder / split / name).mkdir(parents=True)
            for i in range(count):
                shape = (*random.integers(20, 400, 2).tolist(), 3)
                pixels = random.integers(0, 256, shape, dtype=np.uint8)
                Image.fromarray(pixels).save(folder / split / name / f"{i}.png")
    (folder / "train" / "ant" / "4.png").write_bytes(b"rubbish")
    (folder / "val" / "bee" / "0.png").write_bytes(b"")
    return folder


def test_rows_are_the_pictures(folder: Path, tmp_path: Path) -> None:
    summary = pack(folder, tmp_path / "packed")
    assert summary.counts == {"train": [8, 9], "val": [3, 2]}
    assert [line.split("\t")[0] for line in summary.failed] == [
        str(folder / "train" / "ant" / "4.png"),
        str(folder / "val" / "bee" / "0.png"),
    ]
    assert (tmp_path / "packed" / "failed.txt").read_text().splitlines() == summary.failed
    dataset, statistics = open_packed(tmp_path / "packed")
    assert dataset.labels == ["ant", "bee"]
    readable = [path for path in sorted(folder.glob("train/*/*")) if path.stat().st_size > 10]
    expected = np.stack([images.load(path, Square(256, 256, "bilinear")) for path in readable])
    stored = np.stack([dataset.train.read(i, packed.PACKED_SQUARE) for i in range(17)])
    assert np.array_equal(stored, expected)
    assert dataset.train.targets.tolist() == [0] * 8 + [1] * 9
    pixels = expected.reshape(-1, 3).astype(np.float64)
    np.testing.assert_allclose(statistics.mean, pixels.mean(axis=0))
    covariance = np.cov(pixels.T, bias=True)
    v = np.array(statistics.eigenvectors)
    np.testing.assert_allclose(v @ np.diag(statistics.eigenvalues) @ v.T, covariance, rtol=1e-9)
    assert summary.num_bytes == sum(
        (tmp_path / "packed" / f"{s}.npy").stat().st_size for s in ("train", "val")
    )


def test_training_is_the_same_bit_for_bit(folder: Path, tmp_path: Path, tiny: tuple[str, ...]) -> None:
    pack(folder, tmp_path / "packed")
    shutil.rmtree(folder / "val" / "nothing", ignore_errors=True)
    for path in (folder / "train" / "ant" / "4.png", folder / "val" / "bee" / "0.png"):
        path.unlink()  # so that the pictures have the same numbers in both
    settings = (*tiny, "preprocess.resize=256", "train.batch_size=4")
    weights = [
        train(
            data, recipe="own-pictures", settings=settings, output=tmp_path / f"{i}.pt", device="cpu"
        ).weights
        for i, data in enumerate((folder, tmp_path / "packed"))
    ]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_another_size_is_scaled_from_the_rows(folder: Path, tmp_path: Path, tiny: tuple[str, ...]) -> None:
    pack(folder, tmp_path / "packed")
    data, _ = open_packed(tmp_path / "packed")
    small = Square(64, 64, "bilinear")
    whole = Image.fromarray(np.asarray(data.train.read(3, packed.PACKED_SQUARE)))
    expected = np.asarray(whole.resize((64, 64), Image.Resampling.BILINEAR))
    assert np.array_equal(data.train.read(3, small), expected)


class Stop(Exception):  # noqa: N818
    """Ends packing where a kill might."""


class Killer(Progress):
    """Stops at the n-th picture."""

    def __init__(self, after: int) -> None:
        self.left = after

    def advance(self, count: int, loss: float | None = None) -> None:
        self.left -= count
        if self.left < 0:
            raise Stop


@pytest.mark.parametrize("after", [0, 1, 5, 6, 17, 18, 22])
def test_a_killed_run_goes_on(
    folder: Path, tmp_path: Path, after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packing, "JOURNAL_EVERY", 3)
    pack(folder, tmp_path / "whole")
    target = tmp_path / "packed"
    with pytest.raises(Stop):
        pack(folder, target, Killer(after))
    with pytest.raises(DataError, match="only partly packed"):
        open_packed(target)
    with (target / "journal.jsonl").open("a") as journal:
        journal.write('{"split": "tra')  # a line that the kill cut off
    with pytest.raises(Stop):
        pack(folder, target, Killer(after + 4)) if after < 18 else pack(folder, target, Killer(22))
    pack(folder, target)
    names = sorted(path.name for path in (tmp_path / "whole").iterdir())
    assert "mean_picture.npy" in names
    assert names == sorted(path.name for path in target.iterdir())
    for name in names:
        assert (target / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


def test_a_killed_run_goes_on_after_the_pictures_moved(folder: Path, tmp_path: Path) -> None:
    pack(folder, tmp_path / "whole")
    with pytest.raises(Stop):
        pack(folder, tmp_path / "packed", Killer(18))
    assert (tmp_path / "packed" / "journal.jsonl").exists()
    folder.rename(tmp_path / "moved")
    pack(tmp_path / "moved", tmp_path / "packed")
    for name in ("train.npy", "val.npy", "train_classes.npy", "val_classes.npy", "packed.json"):
        assert (tmp_path / "packed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


def test_what_is_in_the_way_is_kept(folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "packed"
    pack(folder, target)
    with pytest.raises(OutputError, match="complete packed set"):
        pack(folder, target)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "precious").write_text("x")
    with pytest.raises(OutputError, match="not empty"):
        pack(folder, tmp_path / "full")
    (target / "packed.json").unlink()
    (target / "journal.jsonl").write_text(json.dumps({"fingerprint": "of other pictures"}) + "\n")
    with pytest.raises(OutputError, match="other pictures"):
        pack(folder, target)


def test_a_disk_that_is_too_small_is_found_first(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**6, 0, 10**6))
    with pytest.raises(OutputError, match=r"needs 0\.00 GB and 0\.00 GB are free"):
        pack(folder, tmp_path / "packed")
    assert not (tmp_path / "packed").exists()


@pytest.mark.parametrize("name", ["packed.json", "train.npy", "val_classes.npy"])
@pytest.mark.parametrize(
    "content", [b"rubbish", b"", b"\x93NUMPY\x01\x00\x10\x00{'descr': (       \n", b"[]"]
)
def test_a_broken_set_is_named(folder: Path, tmp_path: Path, name: str, content: bytes) -> None:
    pack(folder, tmp_path / "packed")
    (tmp_path / "packed" / name).write_bytes(content)
    with pytest.raises(DataError, match="packed"):
        open_packed(tmp_path / "packed")


@pytest.mark.parametrize("line", ["rubbish", "[]", "3", '{"split": "train"}', '{"split": [], "rows": 1}'])
def test_a_damaged_journal_is_named(folder: Path, tmp_path: Path, line: str) -> None:
    packed = tmp_path / "packed"
    pack(folder, packed)
    (packed / "packed.json").unlink()
    fingerprint = from_folder(folder).fingerprint()
    (packed / "journal.jsonl").write_text(json.dumps({"fingerprint": fingerprint}) + f"\n{line}\n")
    with pytest.raises(OutputError, match=r"journal\.jsonl is damaged .*remove"):
        pack(folder, packed)


def test_a_target_inside_the_pictures_is_refused(folder: Path) -> None:
    for target in (folder, folder / "packed", folder / "train" / ".." / "packed"):
        with pytest.raises(OutputError, match="would become a class"):
            pack(folder, target)
    assert not (folder / "packed").exists()


def test_nothing_readable(tmp_path: Path) -> None:
    for name in ("ant", "bee"):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        for i in range(3):
            (tmp_path / "pictures" / name / f"{i}.png").write_bytes(b"")
    with pytest.raises(DataError, match="no train picture is readable"):
        pack(tmp_path / "pictures", tmp_path / "packed")
