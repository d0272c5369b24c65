"""Pictures decoded once: a folder of class folders as two memory-mapped arrays.

    PACKED/train.npy   uint8 (N, 256, 256, 3), red, green, blue; a row for each picture, in order
    PACKED/val.npy     the same for validation
    PACKED/packed.json labels, classes, the rows that hold no picture, statistics of the training set
    PACKED/failed.txt  the pictures that could not be read, and why

Section 2 of the 2012 paper: the shorter side scaled to 256, the central 256×256 cut out. Training takes its
crops from the arrays without decoding anything, and the system keeps in memory what it has room for.
"""

import json
import os
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray
from PIL import Image

from alexnet_tk import images
from alexnet_tk.errors import DataError, OutputError, PictureError, printable
from alexnet_tk.files import replacing
from alexnet_tk.inference.ahead import map_ahead
from alexnet_tk.inference.machine import usable_cores
from alexnet_tk.recipe import Preprocess
from alexnet_tk.training.dataset import Data, Split, from_folder
from alexnet_tk.training.progress import Progress, Silence
from alexnet_tk.training.statistics import Moments, Statistics

FORMAT = "alexnet-tk.packed/1"
PACKED = Preprocess()  # the recipe's defaults: shorter side 256, bilinear
SHAPE = (PACKED.resize, PACKED.resize, 3)  # of a row
CHUNK = 512  # pictures between two notes of how far packing has come
INDEX, JOURNAL, FAILED = "packed.json", "journal.jsonl", "failed.txt"


@dataclass(frozen=True)
class Rows:
    """Pictures in a packed array; a `Split` of the data set."""

    pictures: NDArray[np.uint8]  # (rows, 256, 256, 3), memory-mapped
    rows: NDArray[np.int64]  # (N,) those that hold a picture
    classes: NDArray[np.int64]  # (N,)
    source: Path

    def read(self, index: int, preprocess: Preprocess) -> NDArray[np.uint8]:
        """The row itself where the recipe keeps to the packed size, else scaled from it."""
        picture: NDArray[np.uint8] = self.pictures[self.rows[index]]
        if preprocess.resize == picture.shape[0]:
            return picture
        return images.fit(Image.fromarray(picture), preprocess.resize, preprocess.resize, preprocess.filter)

    def name(self, index: int) -> str:
        """The array and the row."""
        return f"{self.source}, row {self.rows[index]}"


@dataclass(frozen=True)
class Account:
    """What became of the pictures of a folder."""

    labels: list[str]
    packed: dict[str, list[int]]  # by split, for each label
    failed: list[str]  # lines of "path TAB reason"
    bytes: int


def is_packed(folder: Path) -> bool:
    """Whether the folder is a packed set, and not one of pictures."""
    return (folder / INDEX).is_file() or (folder / JOURNAL).is_file()


def open_packed(folder: Path) -> tuple[Data, Statistics]:
    """A packed set to train on.

    Raises
    ------
    DataError
        no packed set, an unfinished or a broken one

    """
    if not (folder / INDEX).is_file():
        raise DataError(f"{folder} is not packed to its end; run the same `alexnet-tk pack` again to go on")
    try:
        index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
        if index["format"] != FORMAT:
            raise DataError(f"{folder} has the format {index['format']!r}, not {FORMAT!r}; pack it again")
        splits = {}
        for split in ("train", "val"):
            pictures = np.load(folder / f"{split}.npy", mmap_mode="r", allow_pickle=False)
            classes = np.load(folder / f"{split}_classes.npy", allow_pickle=False)
            if (
                pictures.shape != (len(classes), PACKED.resize, PACKED.resize, 3)
                or pictures.dtype != np.uint8
            ):
                raise DataError(
                    f"{folder / split}.npy holds {pictures.dtype} {pictures.shape}; pack it again"
                )
            rows = np.flatnonzero(classes >= 0)
            splits[split] = Rows(pictures, rows, classes[rows], folder / f"{split}.npy")
        statistics = Statistics.from_lists(**index["statistics"])
        return Data(splits["train"], splits["val"], index["labels"], index["label_ids"]), statistics
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{folder} is a broken packed set ({error}); pack it again") from error


def pack(folder: Path, packed: Path, progress: Progress | None = None) -> Account:
    """Decode every picture of a folder once; a run that was killed goes on where it was.

    Parameters
    ----------
    folder
        class folders, as `dataset.from_folder` takes them
    packed
        the folder to write; made if need be
    progress
        is told what happens

    Raises
    ------
    DataError
        the folder can't be trained on, or not one picture can be read
    OutputError
        `packed` holds something else, or there is no room for it

    """
    progress = progress or Silence()
    if packed.resolve().is_relative_to(folder.resolve()):
        raise OutputError(f"{packed} lies in {folder} and would become a class of it; name another folder")
    data = from_folder(folder)
    for note in data.notes:
        progress.say(note)
    splits = {"train": data.train, "val": data.val}
    count = sum(len(split.classes) for split in splits.values())
    try:
        journal = _Journal.open(packed, data.fingerprint(), count * PACKED.resize**2 * 3, progress)
        progress.begin("packing", count)
        for name, split in splits.items():
            _fill(packed / f"{name}.npy", split, journal.states[name], journal, progress)
        account = _finish(data, journal, packed)
    except OSError as error:
        raise OutputError(f"{packed} can't be written: {error.strerror or error}") from error
    journal.path.unlink()
    return account


@dataclass
class _State:
    """How far a split has come: the rows that are written, those among them without a picture, the sums."""

    split: str
    rows: int = 0
    failed: dict[int, str] = field(default_factory=dict)
    moments: Moments = field(default_factory=Moments)


def _fill(path: Path, split: Split, state: _State, journal: "_Journal", progress: Progress) -> None:
    """Write the split's array from where its state stands to the end."""
    count = len(split.classes)
    array = open_memmap(path, "r+" if state.rows else "w+", np.uint8, (count, *SHAPE))
    if not state.rows and hasattr(os, "posix_fallocate"):
        # Room is taken now, with an error where there is none: a mapped file that runs out of room kills.
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    progress.advance(state.rows)

    def read(index: int) -> tuple[NDArray[np.uint8], Moments] | str:
        try:
            picture = split.read(index, PACKED)
            return picture, Moments.of(picture)
        except PictureError as error:
            return str(error)

    for row, result in enumerate(map_ahead(read, range(state.rows, count), usable_cores()), state.rows):
        if isinstance(result, str):
            state.failed[row] = result
        else:
            array[row], moments = result
            state.moments += moments
        state.rows = row + 1
        progress.advance(1)
        if state.rows % CHUNK == 0 or state.rows == count:
            array.flush()
            journal.note(state)


def _finish(data: Data, journal: "_Journal", packed: Path) -> Account:
    """Write the classes, the failures and, last of all, the index that makes the set complete."""
    by_label: dict[str, list[int]] = {}
    failed: list[str] = []
    for name, split in (("train", data.train), ("val", data.val)):
        state, classes = journal.states[name], split.classes.copy()
        classes[list(state.failed)] = -1
        with replacing(packed / f"{name}_classes.npy") as part, part.open("wb") as file:
            np.save(file, classes)
        by_label[name] = np.bincount(classes[classes >= 0], minlength=len(data.labels)).tolist()
        failed += [f"{printable(split.name(row))}\t{reason}" for row, reason in state.failed.items()]
        if not sum(by_label[name]):
            raise DataError(f"no {name} picture can be read; the first: {failed[-1]}")
    with replacing(packed / FAILED) as part:
        part.write_text("".join(f"{line}\n" for line in failed), encoding="utf-8")
    statistics = journal.states["train"].moments.statistics()
    index = {
        "format": FORMAT,
        "labels": data.labels,
        "label_ids": data.label_ids,
        "statistics": asdict(statistics),
    }
    with replacing(packed / INDEX) as part:
        part.write_text(json.dumps(index), encoding="utf-8")
    size = sum((packed / f"{name}.npy").stat().st_size for name in by_label)
    return Account(data.labels, by_label, failed, size)


class _Journal:
    """How far packing has come, a line for every `CHUNK` pictures; it goes when the set is complete."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.states = {split: _State(split) for split in ("train", "val")}

    @classmethod
    def open(cls, packed: Path, fingerprint: str, size: int, progress: Progress) -> "_Journal":
        """Begin a packed set, or take up one of the same pictures; raises `OutputError`."""
        journal = cls(packed / JOURNAL)
        if (packed / INDEX).exists():
            raise OutputError(f"{packed} is a complete packed set already; remove it, or name another folder")
        if journal.path.exists():
            journal._read(fingerprint)
            done = sum(state.rows for state in journal.states.values())
            progress.say(f"{packed} was begun before; going on after {done:,} pictures")
            return journal
        packed.mkdir(parents=True, exist_ok=True)
        if any(packed.iterdir()):
            raise OutputError(f"{packed} is not empty; remove it, or name another folder")
        free = shutil.disk_usage(packed).free
        progress.say(f"{packed} will take {size / 1e9:,.2f} GB; {free / 1e9:,.2f} GB are free")
        if size > free:
            packed.rmdir()
            raise OutputError(
                f"{packed} needs {size / 1e9:,.2f} GB and {free / 1e9:,.2f} GB are free; make room"
            )
        journal._append({"format": FORMAT, "fingerprint": fingerprint})
        return journal

    def note(self, state: _State) -> None:
        """Write down how far a split has come."""
        failed, moments = list(state.failed.items()), state.moments.to_list()
        self._append({"split": state.split, "rows": state.rows, "failed": failed, "moments": moments})

    def _append(self, line: dict[str, object]) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def _read(self, fingerprint: str) -> None:
        text = self.path.read_text(encoding="utf-8")
        whole = text[: text.rfind("\n") + 1]  # what follows is a line that a kill cut off
        os.truncate(self.path, len(whole.encode()))
        first, *lines = whole.splitlines() or ["{}"]
        if json.loads(first).get("fingerprint") != fingerprint:
            raise OutputError(
                f"{self.path.parent} holds an unfinished packing of other pictures; "
                "remove it, or name another folder"
            )
        for line in lines:
            entry = json.loads(line)
            failed = {int(row): reason for row, reason in entry["failed"]}
            moments = Moments.from_list(entry["moments"])
            self.states[entry["split"]] = _State(entry["split"], entry["rows"], failed, moments)
