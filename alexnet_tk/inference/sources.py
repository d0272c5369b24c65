"""Which files count as pictures, and in which order."""

import codecs
import glob
import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from alexnet_tk import images
from alexnet_tk.errors import InputError
from alexnet_tk.inference.archives import is_archive, members
from alexnet_tk.inference.remote import files_below, is_url


class Unreadable(str):
    """A path of which it is known why it can't be answered for."""

    reason: str

    @classmethod
    def of(cls, path: str, reason: str) -> "Unreadable":
        """It counts as a picture that failed, so that nothing vanishes that was named or found."""
        unreadable = cls(path)
        unreadable.reason = reason
        return unreadable


@dataclass
class Found:
    """The files to answer for, in order, and how many others were seen, by their ending."""

    paths: list[str] = field(default_factory=list)  # some of them `Unreadable` or `archives.Member`
    ignored: Counter[str] = field(default_factory=Counter)

    def add(self, path: str, name: str) -> None:
        """Take a file if its name ends as a picture's does, else count it."""
        ending = os.path.splitext(name)[1].lower()
        if ending in images.endings():
            self.paths.append(path)
        else:
            self.ignored[ending or "no ending"] += 1


def find(inputs: Iterable[str | os.PathLike[str]], listed: Iterable[str] = ()) -> Found:
    """The pictures that these files, folders, archives and patterns stand for, then those of a list.

    A file that is named counts whatever its ending, and a .zip or .tar that is named stands for the pictures
    in it. In a folder, in the folders below it and in an archive the ending decides; hidden files and
    folders are skipped and links to folders are not followed. Folders are read in the order of their
    names, so the same folder gives the same order anywhere; archives as they were written. A pattern
    with ** names files at any depth, of which the ending decides, too. What is named by a URL
    (`remote.is_url`) is read through pyarrow's file systems; in a list it is taken for a file. A folder
    that can't be listed is `Unreadable`.

    Raises
    ------
    InputError
        an input does not exist, a pattern fits nothing, an archive is broken; this is found before any work
        begins. What a list names and is one of these is answered as failed

    """
    found = Found()
    for each in inputs:
        path = os.fspath(each)
        if is_url(path):
            files = files_below(path)
            found.paths += files.named
            for url, name in files.below:
                found.add(url, name)
            continue
        fitting = [path] if os.path.lexists(path) else sorted(glob.glob(path, recursive=True))
        if not fitting:
            raise InputError(f"{path} does not exist; name files or folders of pictures")
        for one in fitting:
            if "**" not in path:
                _add(one, found)
            elif not os.path.isdir(one):  # which the pattern names, too, and all that it holds
                found.add(one, one)
    for path in listed:
        if is_url(path):
            found.paths.append(path)
            continue
        try:
            _add(path, found)
        except InputError as error:
            reason = str(error).removeprefix(f"{path} ").removeprefix("is ")
            found.paths.append(Unreadable.of(path, reason))
    return found


def class_folders(root: Path) -> list[str]:
    """The names of the class folders, sorted; a link to a folder is one too."""
    if not root.is_dir():
        return []
    return sorted(each.name for each in root.iterdir() if each.is_dir() and not each.name.startswith("."))


def read_list(stream: IO[bytes], separator: bytes = b"\n") -> list[str]:
    """The paths in a list, a line each or with NUL between them; they need not be UTF-8."""
    text = stream.read()
    if separator == b"\n":
        text = text.removeprefix(codecs.BOM_UTF8).replace(b"\r\n", b"\n")
    paths = text.split(separator)
    return [os.fsdecode(path) for path in paths if path]


def _add(path: str, found: Found) -> None:
    if os.path.isdir(path):
        _walk(path, found)
    elif os.path.isfile(path) and is_archive(path):
        for each in members(path):
            found.add(each, each.name)
    else:
        found.paths.append(path)


def _walk(folder: str, found: Found) -> None:
    """Add what counts in the folder and below it; with a stack of its own, so that depth has no limit."""
    stack = [(folder, "folder")]
    while stack:
        path, kind = stack.pop()
        if kind == "file":
            found.add(path, path)
            continue
        if kind == "special":
            found.ignored["pipe, socket or device"] += 1
            continue
        try:
            with os.scandir(path) as entries:
                inside = [(entry.path, _kind(entry)) for entry in entries if entry.name[0] != "."]
        except OSError as error:
            found.paths.append(Unreadable.of(path, f"a folder that can't be listed: {error.strerror}"))
            continue
        stack.extend(sorted(inside, reverse=True))


def _kind(entry: os.DirEntry[str]) -> str:
    """A folder, a file (also a link, wherever it leads) or something that may never end being read."""
    if entry.is_dir(follow_symlinks=False):
        return "folder"
    return "file" if entry.is_symlink() or entry.is_file(follow_symlinks=False) else "special"
