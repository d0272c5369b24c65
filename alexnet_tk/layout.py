"""The layout of a folder of pictures: which files are pictures, which folders are classes or splits.

`predict` takes any folder. `train`, `pack` and `evaluate` take a folder of class folders:

    DATA/train/<class>/*  and  DATA/val/<class>/*         a training and a validation split
    DATA/<class>/*                                        one set
    DATA/packed.json                                      a packed set, written by training/packed.py

A class folder holds the pictures of one class, in itself and in the folders below it. Its name is the label.
"""

import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from alexnet_tk import images
from alexnet_tk.errors import DataError

# A packed set has a journal while it is being written, and an index once it is complete.
PACKED_INDEX, PACKED_JOURNAL = "packed.json", "journal.jsonl"


class Unreadable(str):
    """A path that is known to be unreadable. It becomes a `failed` record, so that no input is lost."""

    reason: str

    @classmethod
    def of(cls, path: str, reason: str) -> "Unreadable":
        """Mark a path as unreadable, for this reason."""
        unreadable = cls(path)
        unreadable.reason = reason
        return unreadable


@dataclass
class Found:
    """The pictures found, in order, and the number of ignored files by ending."""

    paths: list[str] = field(default_factory=list)  # may include `Unreadable` and `archives.Member`
    ignored: Counter[str] = field(default_factory=Counter)

    def add(self, path: str, name: str) -> None:
        """Add a file if its name has a picture's ending, else count it as ignored."""
        ending = os.path.splitext(name)[1].lower()
        if ending in images.endings():
            self.paths.append(path)
        else:
            self.ignored[ending or "no ending"] += 1

    def add_folder(self, folder: str) -> None:
        """Add the pictures in a folder and in all folders below it.

        Files are sorted by name, so the order is the same on every machine. Hidden files and folders are
        skipped, and links to folders are not followed. A folder that can't be listed is added as
        `Unreadable`.
        """
        stack = [(folder, "folder")]  # instead of recursion, which limits the depth
        while stack:
            path, kind = stack.pop()
            if kind == "file":
                self.add(path, path)
                continue
            if kind == "special":
                self.ignored["pipe, socket or device"] += 1
                continue
            try:
                with os.scandir(path) as entries:
                    inside = [(entry.path, _kind(entry)) for entry in entries if entry.name[0] != "."]
            except OSError as error:
                reason = f"a folder that can't be listed: {error.strerror}"
                self.paths.append(Unreadable.of(path, reason))
                continue
            stack.extend(sorted(inside, reverse=True))


@dataclass(frozen=True)
class ClassFolders:
    """A folder of class folders and the pictures in them."""

    root: Path
    names: list[str]  # class names, sorted
    found: list[Found]  # one per class, in the same order

    @classmethod
    def read(cls, root: Path, names: list[str] | None = None) -> "ClassFolders":
        """Read the class folders in `root`, or those in `names`, another split's classes, if they exist."""
        found = []
        for name in class_folder_names(root) if names is None else names:
            pictures = Found()
            if (root / name).is_dir():
                pictures.add_folder(str(root / name))
            found.append(pictures)
        return cls(root, class_folder_names(root) if names is None else names, found)

    @property
    def paths(self) -> list[str]:
        """The pictures of all classes, class by class."""
        return [path for found in self.found for path in found.paths]

    @property
    def targets(self) -> list[int]:
        """The class of each picture in `paths`, as an index into `names`."""
        return [index for index, found in enumerate(self.found) for _ in found.paths]

    @property
    def ignored(self) -> Counter[str]:
        """The number of ignored files by ending."""
        return sum((found.ignored for found in self.found), Counter())


@dataclass(frozen=True)
class Splits:
    """The folders that hold the class folders of DATA: DATA itself, or its train/ and val/."""

    data: Path
    train: Path
    val: Path | None

    @property
    def evaluated(self) -> Path:
        """The folder to evaluate on: the validation split, or all of DATA if it has no splits.

        Raises
        ------
        DataError
            there is a training split but no validation split

        """
        if self.val is None and self.train != self.data:
            raise DataError(
                f"{self.data} has train/ but no val/; give {self.train} to evaluate on the training pictures"
            )
        return self.val or self.train

    @classmethod
    def of(cls, data: Path) -> "Splits":
        """Find the splits of a folder.

        Raises
        ------
        DataError
            there is no such folder

        """
        if not data.is_dir():
            raise DataError(f"{data} is not a folder; DATA is a folder with one folder of pictures per class")
        if not class_folder_names(data / "train"):
            return cls(data, data, None)
        val = data / "val"
        return cls(data, data / "train", val if val.is_dir() else None)


def is_packed(folder: Path) -> bool:
    """Whether the folder is a packed set, complete or still being written."""
    return any((folder / name).is_file() for name in (PACKED_INDEX, PACKED_JOURNAL))


def class_folder_names(root: Path) -> list[str]:
    """The names of the class folders, sorted. A link to a folder is a class folder too."""
    if not root.is_dir():
        return []
    return sorted(entry.name for entry in root.iterdir() if entry.is_dir() and entry.name[0] != ".")


def evenly_spaced(count: int, limit: int) -> list[int]:
    """At most `limit` indices below `count`, evenly spaced."""
    taken = min(count, limit)
    return [index * count // taken for index in range(taken)]


def _kind(entry: "os.DirEntry[str]") -> str:
    """The kind of an entry: a folder, a file (or any link), or something that could block a reader."""
    if entry.is_dir(follow_symlinks=False):
        return "folder"
    return "file" if entry.is_symlink() or entry.is_file(follow_symlinks=False) else "special"
