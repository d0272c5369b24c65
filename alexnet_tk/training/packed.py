"""Pictures decoded once: a folder of class folders as two memory-mapped arrays.

    PACKED/train.npy          uint8 (N, 256, 256, 3), red, green, blue; a row for each picture, in order
    PACKED/train_classes.npy  int64 (N,) the pictures' classes, -1 for a row that holds no picture
    PACKED/val.npy, PACKED/val_classes.npy  the same for validation
    PACKED/packed.json        labels, and the statistics of the training set
    PACKED/failed.txt         the pictures that could not be read, and why

Section 2 of the 2012 paper: the shorter side scaled to 256, the central 256×256 cut out. Training cuts its
crops from the arrays without decoding anything, and the system caches as much of them as fits into memory.
"""

import json
import os
import shutil
from dataclasses import asdict, dataclass, field
from math import prod
from os import PathLike
from pathlib import Path

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from alexnet_tk import images
from alexnet_tk.errors import DataError, OutputError, PictureError
from alexnet_tk.files import replacing
from alexnet_tk.layout import PACKED_INDEX, PACKED_JOURNAL
from alexnet_tk.machine import usable_cores
from alexnet_tk.parallel_map import parallel_map
from alexnet_tk.preprocess import Square
from alexnet_tk.progress import SILENCE, Progress
from alexnet_tk.recipe import Recipe
from alexnet_tk.text import one_line, printable
from alexnet_tk.training.dataset import Dataset, Split, from_folder
from alexnet_tk.training.statistics import Moments, Statistics

PACKED_FORMAT = "alexnet-tk.packed/1"
PACKED_SQUARE = Recipe().square.uncropped  # of the recipe's defaults: shorter side 256, bilinear
ROW_SHAPE = (PACKED_SQUARE.crop, PACKED_SQUARE.crop, 3)
JOURNAL_EVERY = 512  # pictures between two lines of the journal
FAILED_FILE = "failed.txt"


@dataclass(frozen=True)
class PackedSplit:
    """A `Split` of pictures in a packed array."""

    pictures: NDArray[np.uint8]  # (rows, 256, 256, 3), memory-mapped
    rows: NDArray[np.int64]  # (N,) those that hold a picture
    targets: NDArray[np.int64]  # (N,)
    source: Path

    def read(self, index: int, square: Square) -> NDArray[np.uint8]:
        """The row itself where the square has the packed size, else scaled from it."""
        picture: NDArray[np.uint8] = self.pictures[self.rows[index]]
        if square.crop == square.resize == picture.shape[0]:
            return picture
        return images.load(picture, square)

    def name(self, index: int) -> str:
        """The array and the row."""
        return f"{self.source}, row {self.rows[index]}"


@dataclass(frozen=True)
class PackSummary:
    """The result of packing a folder."""

    labels: list[str]
    counts: dict[str, list[int]]  # packed pictures by split, for each label
    failed: list[str]  # lines of "path TAB reason"
    failed_file: Path  # holds these lines
    num_bytes: int  # of the arrays

    @property
    def total(self) -> int:
        """The number of packed pictures."""
        return sum(sum(counts) for counts in self.counts.values())


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
        if index["format"] != PACKED_FORMAT:
            raise DataError(
                f"{folder} has the format {index['format']!r}, not {PACKED_FORMAT!r}; pack it again"
            )
        splits = {}
        for split in ("train", "val"):
            pictures = np.load(folder / f"{split}.npy", mmap_mode="r", allow_pickle=False)
            targets = np.load(folder / f"{split}_classes.npy", allow_pickle=False)
            if pictures.shape != (len(targets), *ROW_SHAPE) or pictures.dtype != np.uint8:
                raise DataError(
                    f"{folder / split}.npy holds {pictures.dtype} {pictures.shape}; pack it again"
                )
            rows = np.flatnonzero(targets >= 0)
            splits[split] = PackedSplit(pictures, rows, targets[rows], folder / f"{split}.npy")
        statistics = Statistics.from_lists(**index["statistics"])
        labels, label_ids = index["labels"], index["label_ids"]
        source = str(index.get("source", ""))
        data = Dataset(splits["train"], splits["val"], labels, label_ids, roots={folder: ""}, source=source)
        return data, statistics
    except DataError:
        raise
    except Exception as error:  # numpy's reader meets a broken file with SyntaxError, EOFError, TokenError, …
        raise DataError(f"{folder} is a broken packed set ({one_line(error)}); pack it again") from error


def pack(
    folder: str | PathLike[str],
    packed: str | PathLike[str],
    progress: Progress = SILENCE,
    *,
    classes_are_folders: bool = False,
) -> PackSummary:
    """Decode every picture of a folder once; after a kill the next call continues where it stopped.

    Parameters
    ----------
    folder
        class folders, as `dataset.from_folder` takes them
    packed
        the folder to write; made where it is missing
    progress
        receives messages and the number of pictures that are packed
    classes_are_folders
        every folder is a class, even one with the name of a split, such as train

    Raises
    ------
    DataError
        the folder can't be trained on, or no picture of a split can be read
    OutputError
        `packed` holds something else or lies in the folder, or there is no room for it

    """
    folder, packed = Path(folder), Path(packed)
    if packed.resolve().is_relative_to(folder.resolve()):
        raise OutputError(f"{packed} lies in {folder}, where it would become a class; name another folder")
    dataset = from_folder(folder, classes_are_folders=classes_are_folders)
    for note in dataset.notes:
        progress.say(note)
    splits = {"train": dataset.train, "val": dataset.val}
    count = sum(len(split.targets) for split in splits.values())
    try:
        journal = _Journal.open(packed, dataset, count * prod(ROW_SHAPE), progress)
        progress.begin("packing", count)
        for name, split in splits.items():
            _fill(packed / f"{name}.npy", split, journal.states[name], journal, progress)
        summary = _finish(dataset, journal, packed)
    except OSError as error:
        raise OutputError(f"{packed} can't be written: {error.strerror or error}") from error
    journal.path.unlink()
    return summary


@dataclass
class _SplitState:
    """How far a split has been packed."""

    split: str
    rows: int = 0  # that are written
    failed: dict[int, str] = field(default_factory=dict)  # the rows without a picture, and why
    moments: Moments = field(default_factory=Moments)  # of the pictures so far


def _fill(path: Path, split: Split, state: _SplitState, journal: "_Journal", progress: Progress) -> None:
    """Write the rows of the split's array that its state does not have yet."""
    count = len(split.targets)
    array = open_memmap(path, "r+" if state.rows else "w+", np.uint8, (count, *ROW_SHAPE))
    if not state.rows and hasattr(os, "posix_fallocate"):
        # Reserve the space now, where a full disk is an error; later, writing to the mapped file would kill.
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    progress.advance(state.rows)

    def read(index: int) -> tuple[NDArray[np.uint8], Moments] | str:
        try:
            picture = split.read(index, PACKED_SQUARE)
            return picture, Moments.of(picture)
        except PictureError as error:
            return str(error)

    for row, result in enumerate(parallel_map(read, range(state.rows, count), usable_cores()), state.rows):
        if isinstance(result, str):
            state.failed[row] = result
        else:
            array[row], moments = result
            state.moments += moments
        state.rows = row + 1
        progress.advance(1)
        if state.rows % JOURNAL_EVERY == 0 or state.rows == count:
            array.flush()
            journal.record(state)


def _finish(dataset: Dataset, journal: "_Journal", packed: Path) -> PackSummary:
    """Write the classes, the failures and, last of all, the index that makes the set complete."""
    counts: dict[str, list[int]] = {}
    failed: list[str] = []
    for name, split in (("train", dataset.train), ("val", dataset.val)):
        state, targets = journal.states[name], split.targets.copy()
        targets[list(state.failed)] = -1
        with replacing(packed / f"{name}_classes.npy") as part, part.open("wb") as file:
            np.save(file, targets)
        counts[name] = np.bincount(targets[targets >= 0], minlength=len(dataset.labels)).tolist()
        failed += [f"{printable(split.name(row))}\t{reason}" for row, reason in state.failed.items()]
        if not sum(counts[name]):
            raise DataError(f"no {name} picture is readable; the first is {failed[-1]}")
    with replacing(packed / FAILED_FILE) as part:
        part.write_text("".join(f"{line}\n" for line in failed), encoding="utf-8")
    statistics = journal.states["train"].moments.statistics()
    index = {
        "format": PACKED_FORMAT,
        "labels": dataset.labels,
        "label_ids": dataset.label_ids,
        "statistics": asdict(statistics),
        "source": dataset.fingerprint(),
    }
    with replacing(packed / PACKED_INDEX) as part:
        part.write_text(json.dumps(index), encoding="utf-8")
    num_bytes = sum((packed / f"{name}.npy").stat().st_size for name in counts)
    return PackSummary(dataset.labels, counts, failed, packed / FAILED_FILE, num_bytes)


class _Journal:
    """How far packing has come, a line for every `JOURNAL_EVERY` pictures; removed from a complete set."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.states = {split: _SplitState(split) for split in ("train", "val")}

    @classmethod
    def open(cls, packed: Path, dataset: Dataset, size: int, progress: Progress) -> "_Journal":
        """Start a packed set, or continue one of the same pictures; raises `OutputError`."""
        journal = cls(packed / PACKED_JOURNAL)
        if (packed / PACKED_INDEX).exists():
            raise OutputError(f"{packed} is a complete packed set already; remove it, or name another folder")
        if journal.path.exists():
            journal._read(dataset)
            done = sum(state.rows for state in journal.states.values())
            progress.say(f"{packed} is partly packed; continuing after {done:,} pictures")
            return journal
        packed.mkdir(parents=True, exist_ok=True)
        if any(packed.iterdir()):
            raise OutputError(f"{packed} is not empty; remove it, or name another folder")
        free = shutil.disk_usage(packed).free
        progress.say(f"{packed} will take {size / 1e9:,.2f} GB; {free / 1e9:,.2f} GB are free")
        if size > free:
            packed.rmdir()
            raise OutputError(
                f"{packed} needs {size / 1e9:,.2f} GB and {free / 1e9:,.2f} GB are free; "
                "free some space, or name a folder on another disk"
            )
        journal._append({"format": PACKED_FORMAT, "fingerprint": dataset.fingerprint()})
        return journal

    def record(self, state: _SplitState) -> None:
        """Append how far a split has been packed."""
        failed, moments = list(state.failed.items()), state.moments.to_list()
        self._append({"split": state.split, "rows": state.rows, "failed": failed, "moments": moments})

    def _append(self, line: dict[str, object]) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def _read(self, dataset: Dataset) -> None:
        content = self.path.read_bytes()
        complete = content[: content.rfind(b"\n") + 1]  # without a last line that a kill cut off
        os.truncate(self.path, len(complete))
        first, *lines = complete.decode("utf-8", "replace").splitlines() or ["{}"]
        try:
            if not dataset.has_fingerprint(json.loads(first).get("fingerprint")):
                raise OutputError(
                    f"{self.path.parent} holds a partly packed set of other pictures; "
                    "remove it, or name another folder"
                )
            for line in lines:
                entry = json.loads(line)
                failed = {int(row): str(reason) for row, reason in entry["failed"]}
                moments = Moments.from_list(entry["moments"])
                self.states[entry["split"]] = _SplitState(entry["split"], int(entry["rows"]), failed, moments)
        except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError) as error:
            raise OutputError(
                f"{self.path} is damaged ({one_line(error)}); remove {self.path.parent} to start afresh"
            ) from error
