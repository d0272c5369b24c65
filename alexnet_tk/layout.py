"""The layout of a folder of pictures: which files are pictures, which folders are classes or splits.

`predict` takes any folder. `train`, `pack` and `evaluate` take a folder of class folders:

    DATA/train/<class>/*  and  DATA/val/<class>/*         a training and a validation split
    DATA/<class>/*                                        one set
    DATA/packed.json                                      a packed set, written by training/packed.py

DATA may be an archive of the first two.

A class folder holds the pictures of one class, in itself and in the folders below it. Its name is the label.
The name of a split (`split_names.split_of`) is never a class, unless `classes_are_folders` says that it is.
"""

import os
import unicodedata
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from alexnet_tk.archive_folders import ArchiveFolders
from alexnet_tk.archives import is_archive
from alexnet_tk.errors import DataError
from alexnet_tk.folder_tree import DISK, Tree
from alexnet_tk.found import LOOSE, RUN, RUN_STATE, Found, list_class_folders, packages_for
from alexnet_tk.split_names import SplitName, has_only_split_words, paired, split_of
from alexnet_tk.text import as_utf8, by_kind, counted, shortened

# A packed set has a journal while it is being written, and an index once it is complete.
PACKED_INDEX, PACKED_JOURNAL = "packed.json", "journal.jsonl"

# A folder that is ignored beside class folders, in the words of a message.
PACKED = "packed set"


@dataclass(frozen=True)
class ClassFolders:
    """A folder of class folders and the pictures in them."""

    root: Path
    names: list[str]  # class names, sorted
    found: list[Found]  # one per class, in the same order
    beside: Counter[str] = field(default_factory=Counter)  # what is ignored beside the class folders, by kind
    unknown: list[str] = field(default_factory=list)  # class folders that are not among the wanted names
    respelled: list[str] = field(default_factory=list)  # those that are, in another Unicode form

    @classmethod
    def read(
        cls,
        root: Path,
        names: list[str] | None = None,
        *,
        classes_are_folders: bool = False,
        tree: Tree = DISK,
    ) -> "ClassFolders":
        """Read the class folders in `root`, or those in `names`, another split's classes, if they exist.

        Names are compared after Unicode normalisation (NFC).

        Raises
        ------
        DataError
            a folder has the name of a split or holds splits, two names differ only in their Unicode form

        """
        folders, beside = list_class_folders(root, tree)
        if not classes_are_folders:
            _refuse_splits(root, folders)
        by_name = _by_normal_name(root, folders)
        read: dict[str, Found] = {}
        for name, folder in by_name.items():
            found = Found()
            found.add_folder(str(root / folder), named=False, tree=tree)
            if not found.paths and (kind := _product_kind(root / folder, found)):
                beside[kind] += 1
                continue
            if not classes_are_folders:
                _refuse_splits_below(root / folder, found.paths)
            read[name] = found
        if names is None:
            names = sorted(as_utf8(by_name[name]) for name in read)
        wanted = [normal(name) for name in names]
        unknown = sorted(as_utf8(by_name[name]) for name in read.keys() - set(wanted))
        respelled = sorted({as_utf8(by_name[name]) for name in read.keys() & set(wanted)} - set(names))
        return cls(root, names, [read.get(name, Found()) for name in wanted], beside, unknown, respelled)

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
        """The number of what is ignored in the class folders and beside them, by kind."""
        return sum((found.ignored for found in self.found), self.beside.copy())

    @property
    def total(self) -> Found:
        """All of it as one."""
        return Found(self.paths, self.ignored)

    @property
    def instead(self) -> str:
        """What is beside the class folders, and where else they may be, for a message on their number."""
        words = f" and {by_kind(self.beside)}{_and_packages(self.beside)}" if self.beside else ""
        if len(self.names) == 1 and class_folder_names(inside := self.root / self.names[0]):
            words += f" (give {inside} if the class folders are there)"
        return words

    @property
    def cures(self) -> str:
        """How what is ignored can be read, to follow a message; "" where nothing reads it."""
        return _and_packages(self.ignored)

    def names_with(self, count: int) -> list[str]:
        """The classes with that number of pictures."""
        return [name for name, found in zip(self.names, self.found, strict=True) if len(found.paths) == count]

    def notes(self) -> list[str]:
        """Which class folders are empty or respelled, and what is ignored, in lines to say."""
        notes = [
            f"{self.root / name} is the class of that name in another Unicode form (NFC, NFD)"
            for name in self.respelled
        ]
        if empty := [str(self.root / name) for name in self.names_with(0)]:
            notes.append(f"{counted(len(empty), 'class folder')} without pictures: {shortened(empty, 3)}")
        ignored = self.ignored
        if loose := ignored.pop(LOOSE, 0):
            notes.append(f"{self.root}: ignored {counted(loose, 'picture')} beside the class folders")
        if ignored:
            notes.append(f"{self.root}: ignored {by_kind(ignored)}{_and_packages(ignored)}")
        return notes


@dataclass(frozen=True)
class Splits:
    """The folders that hold the class folders of DATA: DATA itself, or its train/ and val/."""

    data: Path
    train: Path | None  # DATA itself, where it has no splits
    val: Path | None
    tests: list[Path] = field(default_factory=list)  # left out, unless one is named as DATA
    others: list[str] = field(default_factory=list)  # folders beside the splits
    beside: Counter[str] = field(default_factory=Counter)  # what else is ignored there, by kind
    tree: Tree = DISK  # that the folders are in
    found: list[str] = field(default_factory=list)  # how `data` was found in an archive, in lines to say

    @property
    def trained(self) -> Path:
        """The folder to train on; raises `DataError` where there are only other splits."""
        if self.train is None:
            given = _as_folders([self.val, *self.tests])
            raise DataError(f"{self.data} has {given} but no train/; put the training pictures there")
        return self.train

    @property
    def evaluated(self) -> Path:
        """The folder to evaluate on: the validation split, or all of DATA if it has no splits.

        Raises
        ------
        DataError
            there is another split but no validation split

        """
        if self.val is not None:
            return self.val
        if self.train == self.data:
            return self.data
        named = [path for path in (self.train, *self.tests) if path is not None]
        raise DataError(
            f"{self.data} has {_as_folders(named)} but no val/; "
            f"give {' or '.join(map(str, named))} to evaluate on that split"
        )

    def notes(self) -> list[str]:
        """What is left out beside the splits, in lines to say."""
        left_out = [f"{path} (a test split, evaluated if it is named)" for path in self.tests]
        left_out += [str(self.data / name) for name in self.others]
        used = _as_folders([self.train, self.val])
        notes = self.found.copy()
        if left_out:
            notes.append(f"{self.data}: {used} used, left out: {shortened(left_out, 4)}")
        if self.beside:
            notes.append(f"{self.data}: ignored {by_kind(self.beside)}{_and_packages(self.beside)}")
        return notes

    @classmethod
    def of(cls, data: Path, *, classes_are_folders: bool = False) -> "Splits":
        """Find the splits of a folder, or of an archive of folders.

        Raises
        ------
        DataError
            there is no such folder, a split twice, or one without class folders
        InputError
            the archive can't be read

        """
        data, tree, notes = _open(data, classes_are_folders)
        if not tree.is_folder(data):
            what = "is neither a folder nor an archive" if data.exists() else "does not exist"
            raise DataError(
                f"{data} {what}; DATA is a folder, or a .tar or .zip of one, with one folder of pictures per "
                "class"
            )
        folders, beside = list_class_folders(data, tree)
        if classes_are_folders:
            return cls(data, data, None, tree=tree, found=notes)
        splits: dict[SplitName | None, list[Path]] = {"train": [], "val": [], "test": [], None: []}
        for name in folders:
            splits[split_of(name)].append(data / name)
        train, val = _only(splits["train"], "training"), _only(splits["val"], "validation")
        others = [path.name for path in splits[None]]
        if len(others) == len(folders):
            return cls(data, data, None, tree=tree, found=notes)
        if train is None and others and not _are_products(data, others):
            _refuse_splits(data, folders)
        for split in (train, val):
            if split is not None and not class_folder_names(split, tree):
                raise DataError(
                    f"{split} is a split without class folders; make a folder in it for each class, "
                    f"or give --classes-are-folders if {split.name} is a class"
                )
        return cls(data, train, val, splits["test"], others, beside, tree, notes)


def is_packed(folder: Path) -> bool:
    """Whether the folder is a packed set, complete or still being written."""
    return any((folder / name).is_file() for name in (PACKED_INDEX, PACKED_JOURNAL))


def class_folder_names(root: Path, tree: Tree = DISK) -> list[str]:
    """The names of the class folders, sorted. A link to a folder is a class folder too."""
    return list_class_folders(root, tree)[0] if tree.is_folder(root) else []


def normal(name: str) -> str:
    """The composed form of a name (NFC): macOS writes the decomposed one, and both look the same."""
    return unicodedata.normalize("NFC", name)


def _open(data: Path, classes_are_folders: bool) -> tuple[Path, Tree, list[str]]:
    """DATA, the tree that it is in, and what to say of it.

    An archive of one folder stands for that folder, as `tar -cf photos.tar photos` makes it.
    """
    if not is_archive(str(data)) or not data.is_file():
        return data, DISK, []
    tree, archive = ArchiveFolders.of(data), data
    notes, ignored = tree.notes(), Counter[str]()
    while True:
        names, beside = list_class_folders(data, tree)
        if len(names) != 1 or not class_folder_names(data / names[0], tree):
            break
        if split_of(names[0]) and not classes_are_folders:
            break
        data /= names[0]
        ignored += beside
    if data != archive:
        also = f", and {by_kind(ignored)} beside it" if ignored else ""
        notes.append(f"{archive} holds one folder{also}; reading {data}")
    return data, tree, notes


def _by_normal_name(root: Path, folders: list[str]) -> dict[str, str]:
    """The names of folders by their composed form; raises `DataError` for two of one form."""
    by_name: dict[str, str] = {}
    for name in folders:
        if by_name.setdefault(normal(as_utf8(name)), name) != name:
            raise DataError(
                f"{root} holds {name} twice, in two Unicode forms (NFC, and NFD as macOS writes it); "
                "merge the two folders"
            )
    return by_name


def _refuse_splits(root: Path, folders: list[str]) -> None:
    """Raise `DataError` for a class folder with the name of a split."""
    if named := [f"{name}/" for name in folders if split_of(name)]:
        cure = f"move the classes to {root / 'train'}/<class> and {root / 'val'}/<class>"
        if split_of(root.name):
            cure = f"move it out of {root}, which is a split itself"
        raise DataError(
            f"{root} holds {shortened(named, 3)} beside class folders; that names a split, not a class: "
            f"{cure}, or give --classes-are-folders if it is a class"
        )
    pairs = folders if has_only_split_words(folders) else paired(folders)
    if pairs:
        raise DataError(
            f"{root} holds folders named after splits, {shortened(pairs, 3)}; move the classes to "
            f"{root / 'train'}/<class> and {root / 'val'}/<class>, "
            "or give --classes-are-folders if they are classes"
        )


def _refuse_splits_below(folder: Path, paths: list[str]) -> None:
    """Raise `DataError` for a class folder that holds splits, as in DATA/cat/train or DATA/images/train."""
    start = len(os.path.join(folder, ""))
    parts = (path[start:].partition(os.sep) for path in paths)
    splits = {split_of(name): f"{name}/" for name in {first for first, below, _ in parts if below}}
    splits.pop(None, None)
    if len(splits) > 1:
        raise DataError(
            f"{folder} holds the splits {' and '.join(sorted(splits.values()))}, and would be one class; "
            f"give {folder} if it is the data set, move the splits above the classes, "
            "or give --classes-are-folders"
        )


def _and_packages(ignored: Counter[str]) -> str:
    """The packages that read what is ignored, to follow its kinds; "" where there is none."""
    return "".join(f"; {each}" for each in packages_for(ignored))


def _only(splits: list[Path], purpose: str) -> Path | None:
    """The only split of that purpose, if there is one; raises `DataError` for two."""
    if len(splits) > 1:
        raise DataError(
            f"{' and '.join(map(str, splits))} are both {purpose} splits; rename or remove one, "
            "or give --classes-are-folders if they are classes"
        )
    return splits[0] if splits else None


def _as_folders(paths: list[Path | None] | list[Path]) -> str:
    """The names of the folders that exist, as in "train/ and val/"."""
    return " and ".join(f"{path.name}/" for path in paths if path is not None)


def _are_products(data: Path, names: list[str]) -> bool:
    """Whether alexnet-tk has written all of these folders: training runs and packed sets."""
    return all(is_packed(data / name) or any((data / name).glob(f"*/{RUN_STATE}")) for name in names)


def _product_kind(folder: Path, found: Found) -> str | None:
    """What a folder without pictures is, if alexnet-tk has written it; None if it is an empty class."""
    if found.ignored[RUN] or (folder.name == "runs" and not found.ignored):
        return RUN
    return PACKED if is_packed(folder) else None
