"""The folders of an archive as a `Tree`, listed as those on a disk are."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from alexnet_tk.archives import Member, entries
from alexnet_tk.folder_tree import ArchivedEntry, Entry
from alexnet_tk.found import ARCHIVED_LINK
from alexnet_tk.text import counted


class ArchiveFolders:
    """The folders of an archive, below `root`, which need not be a path on the disk.

    `members` are the archive's files, links and folders, each with its path below the root. As on a disk
    that it is unpacked to, the last one of a path counts. Hidden files are among them. Those with .. in their
    path are left out.
    """

    def __init__(self, root: Path, members: Iterable[tuple[str, Member]]) -> None:
        self._root = root
        self._outside = 0
        self._folders: dict[str, dict[str, Member | None]] = {"": {}}  # by path; None is a folder
        for name, member in members:
            parts = [part for part in name.split("/") if part not in ("", ".")]
            if ".." in parts:
                self._outside += 1
            elif member.is_folder:
                self._folder("/".join(parts))
            elif parts:
                self._folder("/".join(parts[:-1]))[parts[-1]] = member

    @classmethod
    def of(cls, archive: Path) -> "ArchiveFolders":
        """The folders of an archive file, its path being the root's; raises `InputError`."""
        return cls(archive, ((each.name, each) for each in entries(str(archive))))

    def entries(self, folder: str) -> Sequence[Entry]:
        """What a folder holds; files have a `Member` as their path."""
        inside = self._folders[self._below(Path(folder))]
        return [_entry(os.path.join(folder, name), name, member) for name, member in inside.items()]

    def is_folder(self, folder: Path) -> bool:
        """Whether there is a folder of this path."""
        return folder.is_relative_to(self._root) and self._below(folder) in self._folders

    def notes(self) -> list[str]:
        """What is left out, in lines to say."""
        if not self._outside:
            return []
        return [f"{self._root}: ignored {counted(self._outside, 'file')} with .. in the path"]

    def _below(self, folder: Path) -> str:
        """The path of a folder from the root, with slashes; "" is the root."""
        return "/".join(folder.relative_to(self._root).parts)

    def _folder(self, path: str) -> dict[str, Member | None]:
        """What a folder holds, by name; it is made, with those above it, where it is new."""
        if path not in self._folders:
            above, _, name = path.rpartition("/")
            self._folder(above)[name] = None
            self._folders[path] = {}
        return self._folders[path]


def _entry(path: str, name: str, member: Member | None) -> ArchivedEntry:
    if member is None:
        return ArchivedEntry(name, path, is_folder=True)
    # In the order of these paths, the pictures of a folder are read as on a disk.
    return ArchivedEntry(name, member.at(path), ignored=ARCHIVED_LINK if member.is_link else "")
