"""Pictures decoded once: class folders as two memory-mapped arrays, or as two files of small JPEGs.

    PACKED/train.npy          uint8 (N, 256, 256, 3), red, green, blue; a row for each picture, in order
    PACKED/train_classes.npy  int64 (N,) the pictures' classes, -1 for a row that holds no picture
    PACKED/val.npy, PACKED/val_classes.npy  the same for validation
    PACKED/packed.json        labels, and the statistics of the training set
    PACKED/mean_picture.npy   float32 (256, 256, 3) the mean of the training pictures; sets of 0.1.0 have none
    PACKED/failed.txt         the pictures that could not be read, and why

A set of JPEGs has in the place of each array

    PACKED/train.jpg          the rows as JPEG files of 256×256, one after another
    PACKED/train_offsets.npy  int64 (N + 1,) where row i begins in it, and where the next one does; a row
                              that holds no picture is empty

Section 2 of the 2012 paper: the shorter side scaled to 256, the central 256×256 cut out. Training cuts its
crops from the arrays without decoding anything, and the system caches as much of them as fits into memory.
"""

import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, cast

import numpy as np
import torch
from numpy.typing import NDArray

from alexnet_tk import images
from alexnet_tk.errors import DataError
from alexnet_tk.layout import PACKED_INDEX
from alexnet_tk.preprocess import Square
from alexnet_tk.recipe import Recipe
from alexnet_tk.text import one_line
from alexnet_tk.training.dataset import Dataset
from alexnet_tk.training.statistics import Statistics

PACKED_FORMAT, PACKED_JPEG_FORMAT = "alexnet-tk.packed/1", "alexnet-tk.packed-jpeg/1"
PACKED_SQUARE = Recipe().square.uncropped  # of the recipe's defaults: shorter side 256, bilinear
ROW_SHAPE = (PACKED_SQUARE.crop, PACKED_SQUARE.crop, 3)
MEAN_PICTURE = "mean_picture.npy"


class Rows(Protocol):
    """The rows of a packed split."""

    def __getitem__(self, row: int) -> images.Source:
        """A picture of 256×256: uint8 (256, 256, 3), or an open file."""

    def __len__(self) -> int:
        """The number of rows, with those that hold no picture."""


@dataclass(frozen=True)
class JpegRows:
    """The rows of a packed split as JPEG files."""

    content: NDArray[np.uint8]  # memory-mapped
    offsets: NDArray[np.int64]  # (rows + 1,)

    def __getitem__(self, row: int) -> io.BytesIO:
        """The JPEG file of a row."""
        return io.BytesIO(self.content[self.offsets[row] : self.offsets[row + 1]].tobytes())

    def __len__(self) -> int:
        """The number of rows, with those that hold no picture."""
        return len(self.offsets) - 1


@dataclass(frozen=True)
class PackedSplit:
    """A `Split` of pictures in a packed set."""

    pictures: Rows
    rows: NDArray[np.int64]  # (N,) those that hold a picture
    targets: NDArray[np.int64]  # (N,)
    source: Path

    def read(self, index: int, square: Square) -> NDArray[np.uint8]:
        """The row itself where that is the square, else decoded and scaled from it."""
        picture = self.picture(index)
        return cast("NDArray[np.uint8]", picture) if self.stores(square) else images.load(picture, square)

    def stores(self, square: Square) -> bool:
        """Whether the rows are the pictures of this square, as they are."""
        is_size = square.crop == square.resize == PACKED_SQUARE.crop
        return is_size and not isinstance(self.pictures, JpegRows)

    def picture(self, index: int) -> images.Source:
        """The picture as it is stored, for `images.load`."""
        return self.pictures[int(self.rows[index])]

    def name(self, index: int) -> str:
        """The file and the row."""
        return f"{self.source}, row {self.rows[index]}"


def open_packed(folder: Path) -> tuple[Dataset, Statistics]:
    """A packed set to train on, and its statistics.

    Raises
    ------
    DataError
        no packed set, an unfinished or a broken one

    """
    if not (folder / PACKED_INDEX).is_file():
        raise DataError(f"{folder} is only partly packed; run the same `alexnet-tk pack` again to continue")
    try:
        index = json.loads((folder / PACKED_INDEX).read_text(encoding="utf-8"))
        if index["format"] not in _OPENERS:
            raise DataError(
                f"{folder} has the format {index['format']!r}, not {' or '.join(map(repr, _OPENERS))}; "
                "pack it again"
            )
        ending, open_rows = _OPENERS[index["format"]]
        splits = {}
        for split in ("train", "val"):
            path = folder / f"{split}{ending}"
            targets = np.load(folder / f"{split}_classes.npy", allow_pickle=False)
            pictures = open_rows(path)
            if len(pictures) != len(targets):
                raise DataError(f"{path} holds {len(pictures):,} rows, not {len(targets):,}; pack it again")
            rows = np.flatnonzero(targets >= 0)
            splits[split] = PackedSplit(pictures, rows, targets[rows], path)
        statistics = Statistics.from_lists(
            **index["statistics"], picture=_mean_picture(folder / MEAN_PICTURE)
        )
        labels, label_ids = index["labels"], index["label_ids"]
        source = str(index.get("source", ""))
        data = Dataset(splits["train"], splits["val"], labels, label_ids, roots={folder: ""}, source=source)
        return data, statistics
    except DataError:
        raise
    except Exception as error:  # numpy's reader meets a broken file with SyntaxError, EOFError, TokenError, …
        raise DataError(f"{folder} is a broken packed set ({one_line(error)}); pack it again") from error


def offsets_file(path: Path) -> Path:
    """Where the rows of a file of JPEGs begin."""
    return path.with_name(f"{path.stem}_offsets.npy")


def _mean_picture(path: Path) -> torch.Tensor | None:
    if not path.exists():
        return None
    picture = np.load(path, allow_pickle=False)
    if picture.shape != ROW_SHAPE or picture.dtype != np.float32 or not np.isfinite(picture).all():
        raise DataError(f"{path} is no mean picture of 256×256; pack it again")
    return torch.from_numpy(picture)


def _open_array(path: Path) -> Rows:
    pictures = np.load(path, mmap_mode="r", allow_pickle=False)
    if pictures.shape[1:] != ROW_SHAPE or pictures.dtype != np.uint8:
        raise DataError(f"{path} holds {pictures.dtype} {pictures.shape}; pack it again")
    return cast("Rows", pictures)


def _open_jpegs(path: Path) -> Rows:
    content = np.memmap(path, np.uint8, "r")
    offsets = np.load(offsets_file(path), allow_pickle=False)
    if offsets.dtype != np.int64 or offsets[0] or offsets[-1] != len(content) or np.any(np.diff(offsets) < 0):
        raise DataError(f"{path} does not fit {offsets_file(path)}; pack it again")
    return JpegRows(content, offsets)


# The ending of a split's rows in each format, and what opens them.
_OPENERS = {PACKED_FORMAT: (".npy", _open_array), PACKED_JPEG_FORMAT: (".jpg", _open_jpegs)}
