"""Pictures that stay in memory between epochs."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from alexnet_tk.errors import PictureError
from alexnet_tk.preprocess import Square
from alexnet_tk.training import pack, train
from alexnet_tk.training.checkpoint import Checkpoint
from alexnet_tk.training.dataset import Dataset
from alexnet_tk.training.kept import KeptSplit, kept
from alexnet_tk.training.packed import open_packed
from alexnet_tk.training.parallel import World

SQUARE = Square(6, 6, "bilinear")
BYTES = 6 * 6 * 3  # of a picture


class Noise:
    """A split of random pictures, of which the fourth can't be read."""

    def __init__(self, count: int) -> None:
        self.targets: NDArray[np.int64] = np.arange(count) % 2
        self.reads = Counter[int]()

    def read(self, index: int, square: Square) -> NDArray[np.uint8]:
        self.reads[index] += 1
        if index == 3:
            raise PictureError("broken")
        return np.random.default_rng(index).integers(0, 256, (square.crop, square.crop, 3), np.uint8)

    def name(self, index: int) -> str:
        return f"noise {index}"


def test_a_picture_is_read_once_and_stays_the_same() -> None:
    noise = Noise(5)
    split = KeptSplit(noise, SQUARE)
    for _ in range(3):
        for index in (4, 0, 2):
            np.testing.assert_array_equal(split.read(index, SQUARE), Noise(5).read(index, SQUARE))
        with pytest.raises(PictureError, match="broken"):
            split.read(3, SQUARE)
    assert noise.reads == {4: 1, 0: 1, 2: 1, 3: 3}, "what fails may be read the next time"
    assert split.read(4, Square(9, 9, "bilinear")).shape == (9, 9, 3)
    assert split.targets is noise.targets
    assert split.name(2) == "noise 2"


def test_pictures_are_kept_where_all_fit_into_a_quarter_of_the_memory() -> None:
    data = Dataset(Noise(5), Noise(3), ["a", "b"])
    for memory in (None, 0, 4 * 8 * BYTES - 1):
        assert kept(data, SQUARE, memory) is data
    wrapped = kept(data, SQUARE, 4 * 8 * BYTES)
    assert isinstance(wrapped.train, KeptSplit)
    assert isinstance(wrapped.val, KeptSplit)
    assert wrapped.fingerprint() == data.fingerprint()


@pytest.mark.parametrize(
    ("quality", "resize", "keeps"), [(None, 256, False), (None, 64, True), (90, 256, True)]
)
def test_what_is_packed_in_that_size_is_not_kept_twice(
    pictures: Path, tmp_path: Path, quality: int | None, resize: int, keeps: bool
) -> None:
    pack(pictures, tmp_path / "packed", quality=quality)
    data, _ = open_packed(tmp_path / "packed")
    split = kept(data, Square(resize, resize, "bilinear"), 10**12).train
    assert isinstance(split, KeptSplit) is keeps


def test_kept_pictures_train_the_same_weights(
    pictures: Path, tmp_path: Path, tiny: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, memory in (("kept.pt", 10**12), ("read.pt", 0)):
        monkeypatch.setattr(World, "memory", memory)
        train(pictures, output=tmp_path / name, settings=(*tiny, "train.epochs=3"), device="cpu")
    with_kept, without = (Checkpoint.load(tmp_path / name).weights for name in ("kept.pt", "read.pt"))
    assert with_kept.keys() == without.keys()
    assert all(torch.equal(with_kept[name], without[name]) for name in without)
