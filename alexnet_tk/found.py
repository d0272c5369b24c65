"""The files found in a folder, an archive or below a URL: pictures in order, and what is ignored by kind."""

import os
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from alexnet_tk import images
from alexnet_tk.errors import DataError
from alexnet_tk.folder_tree import DISK, ArchivedEntry, Entry, Tree
from alexnet_tk.text import by_kind

# Folders that systems, network drives and notebooks make among the user's, in lower case.
SYSTEM_FOLDERS = frozenset(
    {
        "__macosx",
        ".appledouble",
        "@eadir",
        "@__thumb",
        "@recycle",
        "@recently-snapshot",
        "@tmp",
        "#recycle",
        "#snapshot",
        "$recycle.bin",
        "lost+found",
        "lost.dir",
        "system volume information",
        "__pycache__",
        ".ipynb_checkpoints",
    }
)

# What is ignored beside files of other endings, in the words of a message.
ARCHIVED_LINK = "link in an archive"
NO_ENDING = "no ending"
LOOSE, BROKEN_LINK = "picture beside the class folders", "broken link"
LINK, RUN, SPECIAL = "link to a folder", "folder of a training run", "pipe, socket or device"

# The folder of a training run holds the first file, and one whose name begins with one of the others.
RUN_STATE, RUN_LOGS = "last.pt", ("metrics.jsonl", "events.out.tfevents")

# How what is ignored can be read.
_PACKAGES = dict.fromkeys(
    (".heic", ".heics", ".heif", ".heifs", ".hif"), "pip install pillow-heif to read {}"
)
_CURES = {
    **_PACKAGES,
    **dict.fromkeys((".zip", ".tar", ".tgz"), "name a {} file itself to read it"),
    LINK: "links to folders are not followed: name those folders",
    ARCHIVED_LINK: "unpack an archive to follow its links",
    RUN: "name a training run's folder to read its pictures",
}


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
    """The pictures found, in order, and the number of what is ignored, by its ending or its kind."""

    paths: list[str] = field(default_factory=list)  # may include `Unreadable` and `archives.Member`
    ignored: Counter[str] = field(default_factory=Counter)
    _system_folders: set[tuple[str, str]] = field(default_factory=set, repr=False, compare=False)

    def add(self, path: str, name: str) -> None:
        """Add a file if its name has a picture's ending, else count it as ignored."""
        ending = os.path.splitext(name)[1].lower()
        if ending in images.endings():
            self.paths.append(path)
        else:
            self.ignored[ending or NO_ENDING] += 1

    def add_below(self, path: str, name: str, root: str) -> None:
        """Add a file of an archive, a URL or a pattern, the `root`; its name from there has slashes."""
        system = system_folder(name)
        if system is None:
            self.add(path, name)
        elif (root, system) not in self._system_folders:  # counted once, as on a disk
            self._system_folders.add((root, system))
            self.ignored[f"{PurePosixPath(system).name} folder"] += 1

    def add_folder(
        self,
        folder: str,
        named: bool = True,
        wanted: Callable[[str], object] | None = None,
        tree: Tree = DISK,
    ) -> None:
        """Add the pictures in a folder and in all folders below it, or those files whose path is `wanted`.

        Files are sorted by name, so the order is the same on every machine. Hidden files and folders are
        skipped. Links to folders, folders of the system and those of training runs are ignored, but a run's
        folder that the user has `named` is read. A folder that can't be listed is added as `Unreadable`.
        """
        below = [iter([(folder, "folder")])]  # instead of recursion, which limits the depth
        while below:
            path, kind = next(below[-1], ("", ""))
            if kind == "file":
                if wanted is None or wanted(path):
                    self.add(path, path)
            elif kind == "folder":
                below.append(self._entries(path, tree, read_run=named and path == folder))
            elif kind:
                self.ignored[kind] += 1
            else:
                below.pop()

    def _entries(self, folder: str, tree: Tree, read_run: bool) -> Iterator[tuple[str, str]]:
        """The paths in a folder, sorted, and their kinds; none of a training run's, unless `read_run`."""
        try:
            inside = [
                (entry.path, entry_kind(entry))
                for entry in tree.entries(folder)
                if entry.name[0] != "." or entry.name.lower() in SYSTEM_FOLDERS
            ]
        except OSError as error:
            reason = f"a folder that can't be listed: {error.strerror}"
            self.paths.append(Unreadable.of(folder, reason))
            return iter(())
        inside.sort()
        if not read_run and _is_run(folder, inside):
            self.ignored[RUN] += 1
            return iter(())
        return iter(inside)

    def instead_of_pictures(self) -> str:
        """What was found instead of pictures, by kind, and how it can be read; the end of a message."""
        cures = list(dict.fromkeys(_CURES[kind].format(kind) for kind in self.ignored if kind in _CURES))
        cures = cures or ["only endings such as .jpg and .png count in folders"]
        there = f"there are {by_kind(self.ignored)}" if self.ignored else "nothing is there"
        return "; ".join([there, *cures])


def packages_for(ignored: Mapping[str, int]) -> list[str]:
    """The packages to install that read what is ignored, in words."""
    return list(dict.fromkeys(_PACKAGES[kind].format(kind) for kind in ignored if kind in _PACKAGES))


def list_class_folders(root: Path, tree: Tree = DISK) -> tuple[list[str], Counter[str]]:
    """The names of the class folders in a folder, sorted, and what is ignored beside them, by kind.

    Raises
    ------
    DataError
        the folder can't be listed

    """
    folders, beside = [], Counter[str]()
    try:
        entries = tree.entries(str(root))
    except OSError as error:
        raise DataError(f"{root} can't be listed: {error.strerror}; make it readable") from error
    for entry in entries:
        if entry.is_dir() and entry.name.lower() in SYSTEM_FOLDERS:
            beside[f"{entry.name} folder"] += 1
        elif entry.name[0] == ".":
            continue
        elif entry.is_dir():
            if entry.is_symlink() and _leads_up(entry.path):
                beside[LINK] += 1
            else:
                folders.append(entry.name)
        elif entry_kind(entry) != "file":
            beside[entry_kind(entry)] += 1
        elif is_picture_name(entry.name):
            beside[LOOSE] += 1
        elif entry.is_symlink() and not entry.is_file():
            beside[BROKEN_LINK] += 1
        else:
            beside[os.path.splitext(entry.name)[1].lower() or NO_ENDING] += 1
    return sorted(folders), beside


def _leads_up(link: str) -> bool:
    """Whether a link leads to a folder that it lies in: all classes would be in that one."""
    target, above = (os.path.join(os.path.realpath(path), "") for path in (link, os.path.dirname(link)))
    return above.startswith(target)


def is_picture_name(name: str) -> bool:
    """Whether a file's name has a picture's ending."""
    return os.path.splitext(name)[1].lower() in images.endings()


def system_folder(name: str) -> str | None:
    """The path of the first folder in a file's name (with slashes) that a system has made; or None."""
    parts = PurePosixPath(name).parts
    for depth, part in enumerate(parts[:-1], 1):
        if part.lower() in SYSTEM_FOLDERS:
            return "/".join(parts[:depth])
    return None


def evenly_spaced(count: int, limit: int) -> list[int]:
    """At most `limit` indices below `count`, evenly spaced."""
    taken = min(count, limit)
    return [index * count // taken for index in range(taken)]


def entry_kind(entry: Entry) -> str:
    """The kind of an entry: "folder", "file" (or a link to one), or the kind that is ignored."""
    if isinstance(entry, ArchivedEntry) and entry.ignored:
        return entry.ignored
    if entry.is_file(follow_symlinks=False):
        return "file"
    if entry.is_dir(follow_symlinks=False):
        return f"{entry.name} folder" if entry.name.lower() in SYSTEM_FOLDERS else "folder"
    if not entry.is_symlink():
        return SPECIAL  # which could block a reader
    # A link that is named as a picture is not looked up, which over a network takes minutes for a million.
    return LINK if not is_picture_name(entry.name) and entry.is_dir() else "file"


def _is_run(path: str, inside: list[tuple[str, str]]) -> bool:
    """Whether a folder with these entries, sorted, is that of a training run."""

    def has(name: str) -> bool:
        start = os.path.join(path, name)  # as `os.scandir` joins them
        index = bisect_left(inside, (start,))
        return index < len(inside) and inside[index][0].startswith(start)

    return has(RUN_STATE) and any(map(has, RUN_LOGS))
