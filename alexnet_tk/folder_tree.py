"""Folders that can be listed, wherever they are: on a disk, or in an archive (`archive_folders`)."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


class Entry(Protocol):
    """A file or a folder in a folder, as `os.scandir` gives it."""

    @property
    def name(self) -> str:
        """The last part of its path."""

    @property
    def path(self) -> str:
        """The whole path; of a file, what it is read by."""

    def is_dir(self, *, follow_symlinks: bool = True) -> bool:
        """Whether it is a folder."""

    def is_file(self, *, follow_symlinks: bool = True) -> bool:
        """Whether it is a file."""

    def is_symlink(self) -> bool:
        """Whether it is a link that can be followed."""


class Tree(Protocol):
    """Folders below a root."""

    def entries(self, folder: str) -> Sequence[Entry]:
        """What a folder holds, in any order; raises `OSError` where it can't be listed."""

    def is_folder(self, folder: Path) -> bool:
        """Whether there is a folder of this path."""


class _Disk:
    """The folders of the machine."""

    def entries(self, folder: str) -> Sequence[Entry]:
        with os.scandir(folder) as listing:
            return list(listing)

    def is_folder(self, folder: Path) -> bool:
        return folder.is_dir()


DISK: Tree = _Disk()


@dataclass(frozen=True)
class ArchivedEntry:
    """A file or a folder in an archive; or what is `ignored` there, as a kind in the words of a message."""

    name: str
    path: str
    is_folder: bool = False
    ignored: str = ""

    def is_dir(self, *, follow_symlinks: bool = True) -> bool:
        """Whether it is a folder."""
        return self.is_folder

    def is_file(self, *, follow_symlinks: bool = True) -> bool:
        """Whether it is a file."""
        return not self.is_folder and not self.ignored

    def is_symlink(self) -> bool:
        """No link is followed."""
        return False
