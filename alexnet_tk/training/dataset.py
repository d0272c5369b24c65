"""Pictures to train on: where they lie, which class they have, how batches of them are read."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from alexnet_tk import images, sample, zoo
from alexnet_tk.errors import DataError, PictureError, counted
from alexnet_tk.inference.ahead import map_ahead
from alexnet_tk.inference.machine import usable_cores
from alexnet_tk.inference.sources import class_folders, find
from alexnet_tk.recipe import Preprocess


class Split(Protocol):
    """The pictures of a training or a validation set."""

    @property
    def classes(self) -> NDArray[np.int64]:
        """The pictures' classes, (N,)."""

    def read(self, index: int, preprocess: Preprocess) -> NDArray[np.uint8]:
        """The picture as a square of `preprocess.resize` pixels, uint8 (R, R, 3); raises `PictureError`."""

    def name(self, index: int) -> str:
        """What to call the picture in a message."""


@dataclass(frozen=True)
class Files:
    """Pictures in files."""

    paths: list[str]
    classes: NDArray[np.int64]

    def read(self, index: int, preprocess: Preprocess) -> NDArray[np.uint8]:
        """Read from the disk."""
        return images.load(self.paths[index], preprocess.resize, preprocess.resize, preprocess.filter)

    def name(self, index: int) -> str:
        """The path."""
        return self.paths[index]


@dataclass(frozen=True)
class Arrays:
    """Grey pictures in memory, uint8 (N, H, W)."""

    pictures: NDArray[np.uint8]
    classes: NDArray[np.int64]

    def read(self, index: int, preprocess: Preprocess) -> NDArray[np.uint8]:
        """Scaled as a file of the same pixels would be."""
        picture = Image.fromarray(self.pictures[index])
        return images.fit(picture, preprocess.resize, preprocess.resize, preprocess.filter)

    def name(self, index: int) -> str:
        """The number."""
        return f"picture {index}"


@dataclass(frozen=True)
class Data:
    """Everything to train on; `notes` are what a user should be told about how it was found."""

    train: Split
    val: Split
    labels: list[str]
    label_ids: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def fingerprint(self) -> str:
        """A hash of the pictures' names and classes: another set of pictures has another."""
        digest = hashlib.sha256("\0".join(self.labels).encode(errors="surrogateescape"))
        for split in (self.train, self.val):
            for index, label in enumerate(split.classes.tolist()):
                digest.update(f"{label} {split.name(index)}\0".encode(errors="surrogateescape"))
        return digest.hexdigest()


def built_in_sample() -> Data:
    """The built-in part of Fashion-MNIST."""
    train, val = (Arrays(*sample.pictures(split)) for split in ("train", "val"))
    return Data(train, val, list(sample.LABELS))


def from_folder(folder: Path) -> Data:
    """Pictures in class folders: folder/train/<class> with folder/val/<class>, or folder/<class>.

    Without folder/val a tenth of each class becomes the validation set, drawn with a seed of its own, so
    that runs with different seeds are judged by the same pictures. Labels are the class folders' names,
    sorted; if all are ImageNet's ids, the English names with the ids beside them.

    Raises
    ------
    DataError
        no such folder, fewer than two classes, no pictures, a validation class that is not trained

    """
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder; DATA holds a folder of pictures for each class")
    root = folder / "train" if class_folders(folder / "train") else folder
    names = class_folders(root)
    if len(names) < 2:
        raise DataError(
            f"{root} holds {len(names)} class folders; at least 2 are needed, "
            "each with the pictures of one class"
        )
    notes: list[str] = []
    paths, classes = _class_files(root, names, notes)
    if root != folder and (folder / "val").is_dir():
        strangers = set(class_folders(folder / "val")) - set(names)
        if strangers:
            raise DataError(
                f"{folder / 'val'} holds classes that {root} does not: {', '.join(sorted(strangers))}"
            )
        train, val = Files(paths, classes), Files(*_class_files(folder / "val", names, notes))
    else:
        held_out = _tenth(classes)
        train, val = (
            Files([paths[i] for i in np.flatnonzero(part)], classes[part]) for part in (~held_out, held_out)
        )
        notes.append(
            f"{folder} has no val folder: a tenth of each class, "
            f"{counted(len(val.paths), 'picture')} in all, is kept for validation"
        )
    for part, split in (("train on", train), ("validate on", val)):
        if not split.paths:
            raise DataError(
                f"{folder} holds no pictures to {part}; a class needs two, with endings such as .jpg and .png"
            )
    english = zoo.english_names(names)
    return Data(train, val, english or names, names if english else [], notes)


def _class_files(root: Path, names: list[str], notes: list[str]) -> tuple[list[str], NDArray[np.int64]]:
    """The pictures of each class, in order; classes and files that do not count are noted."""
    paths: list[str] = []
    classes: list[int] = []
    ignored = 0
    for index, name in enumerate(names):
        found = find([root / name]) if (root / name).is_dir() else find([])
        if not found.paths:
            notes.append(f"{root / name} holds no pictures")
        paths += found.paths
        classes += [index] * len(found.paths)
        ignored += found.ignored.total()
    if ignored:
        notes.append(f"{root}: {counted(ignored, 'file')} without a picture's ending ignored")
    return paths, np.array(classes, dtype=np.int64)


def _tenth(classes: NDArray[np.int64]) -> NDArray[np.bool_]:
    """A mask of a tenth of each class, at least one picture where it has two or more."""
    generator = np.random.default_rng(0)
    mask = np.zeros(len(classes), dtype=bool)
    for each in np.unique(classes):
        members = np.flatnonzero(classes == each)
        count = max(round(len(members) / 10), min(1, len(members) - 1))
        mask[generator.permutation(members)[:count]] = True
    return mask


@dataclass(frozen=True)
class Batch:
    """The pictures of a step that this process reads and that can be read, B of them."""

    pictures: NDArray[np.uint8]  # (B, S, S, 3)
    indices: NDArray[np.int64]  # (B,) their numbers in the split
    classes: NDArray[np.int64]  # (B,)
    slots: NDArray[np.int64]  # (B,) their places in the batch
    total: int  # pictures of the whole batch, read by any process or by none


ALL = slice(0, None)  # of a batch's pictures
Crop = Callable[[NDArray[np.uint8], int], NDArray[np.uint8]]  # of a picture and its number


class Reader:
    """Reads batches of a split ahead, in so many threads; None: one for each usable core.

    Order and content do not depend on the threads. A picture that can't be read is left out of its
    batch; `failures` holds the reason for each. Of several processes each reads its own `slots` of every
    batch.
    """

    def __init__(
        self, split: Split, preprocess: Preprocess, slots: slice = ALL, threads: int | None = None
    ) -> None:
        self.split = split
        self.threads = threads or usable_cores()
        self.preprocess = preprocess
        self.slots = slots
        self.failures: dict[int, str] = {}

    def batches(
        self,
        order: NDArray[np.int64],
        batch_size: int,
        crop: Crop,
    ) -> Iterator[Batch]:
        """The pictures numbered by `order`, each cropped by `crop`; a batch may be smaller, even empty."""
        parts = (order[i : i + batch_size] for i in range(0, len(order), batch_size))
        return map_ahead(lambda part: self._read(part, crop), parts, self.threads)

    def _read(self, part: NDArray[np.int64], crop: Crop) -> Batch:
        pictures = np.empty((0, 0, 0, 3), np.uint8)
        kept: list[int] = []
        slots: list[int] = []
        mine = part[self.slots]
        for slot, index in enumerate(mine.tolist(), self.slots.start):
            try:
                picture = crop(self.split.read(index, self.preprocess), index)
            except PictureError as error:
                self.failures[index] = str(error)
                continue
            if not kept:  # now its shape is known
                pictures = np.empty((len(mine), *picture.shape), np.uint8)
            pictures[len(kept)] = picture
            kept.append(index)
            slots.append(slot)
        indices = np.array(kept, dtype=np.int64)
        classes = self.split.classes[indices]
        return Batch(pictures[: len(kept)], indices, classes, np.array(slots, dtype=np.int64), len(part))
