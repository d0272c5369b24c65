"""Packing: every picture of a folder or an archive decoded once, into a packed set (`packed`)."""

import io
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod
from os import PathLike
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray
from PIL import Image

from alexnet_tk.errors import DataError, OutputError, PictureError, UsageError
from alexnet_tk.files import replacing
from alexnet_tk.found import evenly_spaced
from alexnet_tk.layout import PACKED_INDEX
from alexnet_tk.machine import usable_cores
from alexnet_tk.parallel_map import parallel_map
from alexnet_tk.progress import SILENCE, Progress
from alexnet_tk.text import printable
from alexnet_tk.training import imagenet
from alexnet_tk.training.dataset import Dataset, Split, from_folder
from alexnet_tk.training.pack_journal import JOURNAL_EVERY, Journal, SplitState
from alexnet_tk.training.packed import (
    MEAN_PICTURE,
    PACKED_FORMAT,
    PACKED_JPEG_FORMAT,
    PACKED_SQUARE,
    ROW_SHAPE,
    offsets_file,
)
from alexnet_tk.training.statistics import Moments

FAILED_FILE = "failed.txt"
MEASURED = 64  # pictures whose JPEGs tell how large those of all will be
LOWEST_QUALITY, HIGHEST_QUALITY = 1, 95  # above, JPEGs grow and show nothing more


@dataclass(frozen=True)
class PackSummary:
    """The result of packing a folder."""

    labels: list[str]
    counts: dict[str, list[int]]  # packed pictures by split, for each label
    failed: list[str]  # lines of "path TAB reason"
    failed_file: Path  # holds these lines
    num_bytes: int  # of the pictures

    @property
    def total(self) -> int:
        """The number of packed pictures."""
        return sum(sum(counts) for counts in self.counts.values())


def pack(
    folder: str | PathLike[str] | Sequence[str | PathLike[str]],
    packed: str | PathLike[str],
    progress: Progress = SILENCE,
    *,
    classes_are_folders: bool = False,
    devkit: str | PathLike[str] | None = None,
    quality: int | None = None,
) -> PackSummary:
    """Decode every picture of a folder once; after a kill the next call continues where it stopped.

    Parameters
    ----------
    folder
        class folders, or an archive of them, as `dataset.from_folder` takes them; or ImageNet's two archives
        with their `devkit`, as `imagenet.from_archives` takes them
    packed
        the folder to write; made where it is missing
    progress
        receives messages and the number of pictures that are packed
    classes_are_folders
        every folder is a class, even one with the name of a split, such as train
    devkit
        the archive of ImageNet's development kit, or a list of validation pictures and ids
    quality
        keep JPEGs of this quality, 1 to 95, which are decoded in training; None: arrays

    Raises
    ------
    DataError, InputError
        the folder or archive can't be trained on, or no picture of a split can be read
    OutputError
        `packed` holds something else or lies in the folder, or there is no room for it
    UsageError
        two archives without a development kit, or one without two archives; an impossible quality
    ModuleNotFoundError
        scipy is missing, which reads the development kit

    """
    sources = [Path(each) for each in ([folder] if isinstance(folder, (str, PathLike)) else folder)]
    packed = Path(packed)
    if quality is not None and not LOWEST_QUALITY <= quality <= HIGHEST_QUALITY:
        raise UsageError(f"a quality of {quality}; give one from {LOWEST_QUALITY} to {HIGHEST_QUALITY}")
    for each in sources:
        if packed.resolve().is_relative_to(each.resolve()):
            raise OutputError(f"{packed} lies in {each}, where it would become a class; name another folder")
    dataset = _open(sources, devkit, classes_are_folders, progress)
    for note in dataset.notes:
        progress.say(note)
    if uneven := dataset.uneven_classes():
        progress.say(uneven)
    splits = {"train": dataset.train, "val": dataset.val}
    try:
        journal = Journal.open(packed, dataset, quality, lambda: _num_bytes(dataset, quality), progress)
        progress.begin("packing", sum(len(split.targets) for split in splits.values()))
        for name, split in splits.items():
            _fill(_rows(packed, name, quality, len(split.targets), journal), split, journal, name, progress)
        summary = _finish(dataset, journal, packed, quality)
    except OSError as error:
        raise OutputError(f"{packed} can't be written: {error.strerror or error}") from error
    journal.remove()
    return summary


def _open(
    sources: Sequence[Path],
    devkit: str | PathLike[str] | None,
    classes_are_folders: bool,
    progress: Progress,
) -> Dataset:
    """The pictures to pack."""
    match sources:
        case [source] if devkit is None:
            return from_folder(source, classes_are_folders=classes_are_folders)
        case [first, second] if devkit is not None:
            return imagenet.from_archives((first, second), Path(devkit), progress)
        case [_]:
            raise UsageError(
                "a development kit belongs to two archives: alexnet-tk pack ILSVRC2012_img_train.tar "
                "ILSVRC2012_img_val.tar PACKED --devkit FILE"
            )
        case [_, _]:
            raise UsageError(
                "ImageNet's two archives need --devkit FILE: ILSVRC2012_devkit_t12.tar.gz, or a list of "
                "validation pictures and their ids; class folders are one SOURCE, with train/ and val/ in it"
            )
    raise UsageError(f"{len(sources)} sources; name a folder, an archive, or ImageNet's two archives")


class _Rows(Protocol):
    """The rows of a split while they are written."""

    def encode(self, picture: NDArray[np.uint8]) -> bytes | NDArray[np.uint8]:
        """What is stored of a picture; called in several threads at once."""

    def write(self, row: int, encoded: bytes | NDArray[np.uint8]) -> None:
        """Store it; rows come in order, and some are left out."""

    def flush(self) -> None:
        """Have all of it on the disk."""

    def finish(self) -> None:
        """Write what else belongs to the file, once it is flushed for the last time."""


def _rows(packed: Path, split: str, quality: int | None, count: int, journal: Journal) -> _Rows:
    """The rows of a split, after those that its state has."""
    state = journal.states[split]
    if quality is None:
        return _ArrayRows(packed / f"{split}.npy", count, state)
    return _JpegRows(packed / f"{split}.jpg", quality, state)


class _ArrayRows:
    """Rows of pixels in a memory-mapped array."""

    def __init__(self, path: Path, count: int, state: SplitState) -> None:
        self._array = open_memmap(path, "r+" if state.rows else "w+", np.uint8, (count, *ROW_SHAPE))
        if not state.rows and hasattr(os, "posix_fallocate"):
            # Reserve the space now, where a full disk is an error; later, a write to the mapped file kills.
            with path.open("r+b") as file:
                os.posix_fallocate(file.fileno(), 0, path.stat().st_size)

    def encode(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return picture

    def write(self, row: int, encoded: bytes | NDArray[np.uint8]) -> None:
        self._array[row] = encoded

    def flush(self) -> None:
        self._array.flush()

    def finish(self) -> None:
        """Nothing belongs to it."""


class _JpegRows:
    """Rows as JPEG files, one after another."""

    def __init__(self, path: Path, quality: int, state: SplitState) -> None:
        self._path, self._quality, self._state = path, quality, state
        self._unwritten: list[bytes] = []
        written = sum(state.sizes)
        if not state.rows:
            path.write_bytes(b"")
        elif path.stat().st_size < written:
            raise OutputError(f"{path} is shorter than it was; remove {path.parent} to start afresh")
        os.truncate(path, written)  # without what was written after the journal's last line

    def encode(self, picture: NDArray[np.uint8]) -> bytes:
        return _as_jpeg(picture, self._quality)

    def write(self, row: int, encoded: bytes | NDArray[np.uint8]) -> None:
        assert isinstance(encoded, bytes)
        self._state.sizes += [0] * (row - len(self._state.sizes)) + [len(encoded)]
        self._unwritten.append(encoded)

    def flush(self) -> None:
        self._state.sizes += [0] * (self._state.rows - len(self._state.sizes))
        with self._path.open("ab") as file:
            file.writelines(self._unwritten)
            file.flush()
            os.fsync(file.fileno())
        self._unwritten.clear()

    def finish(self) -> None:
        offsets = np.concatenate([[0], np.cumsum(self._state.sizes, dtype=np.int64)])
        with replacing(offsets_file(self._path)) as part, part.open("wb") as file:
            np.save(file, offsets)


def _fill(rows: _Rows, split: Split, journal: Journal, name: str, progress: Progress) -> None:
    """Write the rows that the split's state does not have yet."""
    state, count = journal.states[name], len(split.targets)
    progress.advance(state.rows)

    def read(index: int) -> tuple[bytes | NDArray[np.uint8], NDArray[np.uint8], Moments] | str:
        try:
            picture = split.read(index, PACKED_SQUARE)
            return rows.encode(picture), picture, Moments.of(picture)
        except PictureError as error:
            return str(error)

    for row, result in enumerate(parallel_map(read, range(state.rows, count), usable_cores()), state.rows):
        if isinstance(result, str):
            state.failed[row] = result
        else:
            encoded, picture, moments = result
            rows.write(row, encoded)
            state.moments += moments
            if state.total is not None:
                state.total += picture
        state.rows = row + 1
        progress.advance(1)
        if state.rows % JOURNAL_EVERY == 0 or state.rows == count:
            rows.flush()
            journal.record(state)
    rows.finish()


def _as_jpeg(picture: NDArray[np.uint8], quality: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=quality)
    return file.getvalue()


def _num_bytes(dataset: Dataset, quality: int | None) -> int:
    """The bytes that the rows will take; those of JPEGs are estimated from some of them."""
    count = len(dataset.train.targets) + len(dataset.val.targets)
    if quality is None:
        return count * prod(ROW_SHAPE)
    sizes = []
    for index in evenly_spaced(len(dataset.train.targets), MEASURED):
        try:
            sizes.append(len(_as_jpeg(dataset.train.read(index, PACKED_SQUARE), quality)))
        except PictureError:  # it is met again, and counted, when its turn comes
            continue
    return count * sum(sizes) // max(1, len(sizes))


def _finish(dataset: Dataset, journal: Journal, packed: Path, quality: int | None) -> PackSummary:
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
    train = journal.states["train"]
    statistics = train.moments.statistics(train.total)
    if statistics.picture is not None:
        with replacing(packed / MEAN_PICTURE) as part, part.open("wb") as file:
            np.save(file, statistics.picture.numpy())
    index: dict[str, object] = {
        "format": PACKED_FORMAT if quality is None else PACKED_JPEG_FORMAT,
        "labels": dataset.labels,
        "label_ids": dataset.label_ids,
        "statistics": replace(statistics, picture=None).to_plain(),
        "source": dataset.fingerprint(),
    }
    if quality is not None:
        index["quality"] = quality
    with replacing(packed / PACKED_INDEX) as part:
        part.write_text(json.dumps(index), encoding="utf-8")
    ending = ".npy" if quality is None else ".jpg"
    num_bytes = sum((packed / f"{name}{ending}").stat().st_size for name in counts)
    return PackSummary(dataset.labels, counts, failed, packed / FAILED_FILE, num_bytes)
