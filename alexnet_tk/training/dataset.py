"""Pictures to train on, from files, arrays or class folders, and their classes."""

import hashlib
import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from alexnet_tk import images, sample, zoo
from alexnet_tk.archives import Member
from alexnet_tk.errors import DataError
from alexnet_tk.layout import ClassFolders, Splits
from alexnet_tk.preprocess import Square
from alexnet_tk.text import counted, shortened

UNEVEN = 3  # times the smallest class, from which on a larger one is told
MAX_PRINTED_CLASSES = 8


class Split(Protocol):
    """The N pictures of a training or validation set."""

    @property
    def targets(self) -> NDArray[np.int64]:
        """The pictures' classes, (N,), as indices into the labels."""

    def read(self, index: int, square: Square) -> NDArray[np.uint8]:
        """The picture scaled and cropped to the square, uint8 (crop, crop, 3); raises `PictureError`."""

    def name(self, index: int) -> str:
        """The picture's name for messages."""


@dataclass(frozen=True)
class FileSplit:
    """A `Split` of picture files."""

    paths: list[str]
    targets: NDArray[np.int64]

    @classmethod
    def of(cls, folders: ClassFolders) -> "FileSplit":
        """The pictures in class folders."""
        return cls(folders.paths, np.array(folders.targets, dtype=np.int64))

    def read(self, index: int, square: Square) -> NDArray[np.uint8]:
        """Decode the file, which may be in an archive."""
        path = self.paths[index]
        return images.load(io.BytesIO(path.read()) if isinstance(path, Member) else path, square)

    def name(self, index: int) -> str:
        """The path."""
        return self.paths[index]


@dataclass(frozen=True)
class ArraySplit:
    """A `Split` of grey pictures in memory, uint8 (N, H, W)."""

    pictures: NDArray[np.uint8]
    targets: NDArray[np.int64]

    def read(self, index: int, square: Square) -> NDArray[np.uint8]:
        """Scale it as a file of the same pixels would be."""
        return images.load(self.pictures[index], square)

    def name(self, index: int) -> str:
        """The number."""
        return f"picture {index}"


@dataclass(frozen=True)
class Dataset:
    """Training and validation pictures with the names of their classes."""

    train: Split
    val: Split
    labels: list[str]
    label_ids: list[str] = field(default_factory=list)  # ImageNet's ids (wnids), or none
    notes: list[str] = field(default_factory=list)  # what a user should know about how it was found
    # What the pictures' names begin with where they are files, and what the fingerprint has in its place.
    roots: Mapping[Path, str] = field(default_factory=dict)
    source: str = ""  # the fingerprint of what a set was packed from; "" for others, and sets of 0.1.0

    def fingerprint(self) -> str:
        """A hash of the pictures' names below DATA and of their classes; it stays when DATA is moved."""
        return self._hash(self.roots, self.source)

    def has_fingerprint(self, fingerprint: str) -> bool:
        """Whether these are the pictures of an earlier run.

        Version 0.1.0 hashed their names with DATA's, and did not know what a set was packed from.
        """
        return fingerprint in (self.fingerprint(), self._hash(self.roots), self._hash({}))

    def uneven_classes(self) -> str:
        """The training pictures of the classes, in words, the most first; "" where they are about as many.

        That is where the largest class has at most `UNEVEN` times the pictures of the smallest. Of many
        classes only the largest and the smallest are listed.
        """
        counts = np.bincount(self.train.targets, minlength=len(self.labels))
        if counts.max() <= UNEVEN * counts.min():
            return ""
        order = np.argsort(-counts, kind="stable")
        each = [f"{counts[index]:,} × {self.labels[index]}" for index in order]
        if len(each) > MAX_PRINTED_CLASSES:
            half = MAX_PRINTED_CLASSES // 2
            each[half:-half] = ["…"]
        return f"uneven classes, in training pictures: {', '.join(each)}"

    def _hash(self, roots: Mapping[Path, str], source: str = "") -> str:
        prefixes = {os.path.join(root, ""): instead for root, instead in roots.items()}  # noqa: PTH118
        digest = hashlib.sha256("\0".join(self.labels).encode(errors="surrogateescape") + source.encode())
        for split in (self.train, self.val):
            for index, target in enumerate(split.targets.tolist()):
                name = split.name(index)
                for prefix, instead in prefixes.items():
                    if name.startswith(prefix):
                        name = instead + name[len(prefix) :]
                        break
                digest.update(f"{target} {name}\0".encode(errors="surrogateescape"))
        return digest.hexdigest()


def built_in_sample() -> Dataset:
    """The built-in part of Fashion-MNIST."""
    train, val = (ArraySplit(*sample.pictures(split)) for split in ("train", "val"))
    return Dataset(train, val, list(sample.LABELS))


def from_folder(folder: Path, *, classes_are_folders: bool = False) -> Dataset:
    """Pictures in class folders: folder/train/<class> with folder/val/<class>, or folder/<class>.

    The folder may be an archive of such folders. Without folder/val a tenth of each class becomes the
    validation set, drawn with a fixed seed, so that runs with different seeds are validated on the same
    pictures. Labels are the class folders' names, sorted; if all are ImageNet's ids, the English names with
    the ids beside them. With `classes_are_folders` there are no splits: a folder named train is a class.

    Raises
    ------
    DataError
        no such folder, fewer than two classes, no pictures, a validation class without training pictures
    InputError
        an archive that can't be read

    """
    splits = Splits.of(folder, classes_are_folders=classes_are_folders)
    classes = ClassFolders.read(splits.trained, classes_are_folders=classes_are_folders, tree=splits.tree)
    require_two_classes(classes)
    validation = None
    if splits.val is not None:
        validation = ClassFolders.read(splits.val, classes.names, tree=splits.tree)
    return from_classes(splits.data, classes, validation, {splits.data: ""}, splits.notes())


def from_classes(
    data: Path,
    classes: ClassFolders,
    validation: ClassFolders | None,
    roots: Mapping[Path, str],
    notes: Sequence[str],
) -> Dataset:
    """The pictures of classes, and those to validate on, as in `from_folder`; raises `DataError`."""
    names = classes.names
    notes = [*notes, *classes.notes()]
    if validation is not None:
        if validation.unknown:
            raise DataError(
                f"{validation.root} has classes that {classes.root} does not have: "
                f"{shortened(validation.unknown, 20)}; remove them, or add training pictures"
            )
        notes += validation.notes()
        train, val = FileSplit.of(classes), FileSplit.of(validation)
    else:
        validation = classes
        single = [str(classes.root / name) for name in classes.names_with(1)]
        if single:
            notes.append(
                f"{counted(len(single), 'class folder')} with one picture, trained on and never validated: "
                f"{shortened(single, 3)}; add pictures"
            )
        train, val = _hold_out_tenth(FileSplit.of(classes))
        notes.append(
            f"{data} has no val folder: a tenth of each class, "
            f"{counted(len(val.paths), 'picture')} in all, is held out for validation"
        )
    for purpose, split, read in (("train on", train, classes), ("validate on", val, validation)):
        if not split.paths and read.paths:
            raise DataError(
                f"{data} holds one picture of each class ({len(read.paths):,} in all), and none is left to "
                f"{purpose}; add a second one of each"
            )
        if not split.paths:
            raise DataError(
                f"{data} holds no pictures to {purpose}, and every class needs at least two: "
                f"{read.total.instead_of_pictures()}"
            )
    english = zoo.english_names(names)
    return Dataset(train, val, english or names, names if english else [], notes, roots)


def require_two_classes(classes: ClassFolders) -> None:
    """Raise `DataError` unless two classes or more have pictures."""
    names = classes.names
    if len(names) < 2:
        raise DataError(
            f"{classes.root} holds {counted(len(names), 'class folder')}{classes.instead}; "
            "at least 2 are needed, each with the pictures of one class"
        )
    empty = classes.names_with(0)
    if len(empty) == len(names) - 1:
        (filled,) = set(names) - set(empty)
        raise DataError(
            f"{classes.root} holds pictures of one class, {filled}, and none in {shortened(empty, 3)}; "
            f"at least 2 classes are needed{classes.cures}"
        )


def _hold_out_tenth(split: FileSplit) -> tuple[FileSplit, FileSplit]:
    """All but a tenth of each class, and that tenth: at least one picture of a class that has two."""
    generator = np.random.default_rng(0)
    held_out = np.zeros(len(split.targets), dtype=bool)
    for target in np.unique(split.targets):
        members = np.flatnonzero(split.targets == target)
        count = max(round(len(members) / 10), min(1, len(members) - 1))
        held_out[generator.permutation(members)[:count]] = True
    train, val = (
        FileSplit([split.paths[index] for index in np.flatnonzero(mask)], split.targets[mask])
        for mask in (~held_out, held_out)
    )
    return train, val
