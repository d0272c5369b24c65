"""Which files count as pictures, and in which order."""

import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from alexnet_tk import images
from alexnet_tk.errors import InputError


@dataclass
class Found:
    """The files to answer for, in order, and how many others were seen, by their ending."""

    paths: list[str] = field(default_factory=list)
    ignored: Counter[str] = field(default_factory=Counter)


def find(inputs: Iterable[str | os.PathLike[str]]) -> Found:
    """The pictures that these files and folders stand for.

    A file that is named counts whatever its ending. In a folder, and in the folders below it, the
    ending decides; hidden files and folders are skipped and links to folders are not followed.
    Folders are read in the order of their names, so the same folder gives the same order anywhere.

    Raises
    ------
    InputError
        an input does not exist; this is found before any work begins

    """
    found = Found()
    for each in inputs:
        path = os.fspath(each)
        if os.path.isdir(path):
            _walk(path, found)
        elif os.path.lexists(path):
            found.paths.append(path)
        else:
            raise InputError(f"{path} does not exist; name files or folders of pictures")
    return found


def _walk(folder: str, found: Found) -> None:
    """Add what counts in the folder and below it; with a stack of its own, so that depth has no limit."""
    stack = [(folder, "folder")]
    while stack:
        path, kind = stack.pop()
        if kind == "file":
            ending = os.path.splitext(path)[1].lower()
            if ending in images.endings():
                found.paths.append(path)
            else:
                found.ignored[ending or "no ending"] += 1
            continue
        if kind == "special":
            found.ignored["pipe, socket or device"] += 1
            continue
        try:
            with os.scandir(path) as entries:
                inside = [(entry.path, _kind(entry)) for entry in entries if entry.name[0] != "."]
        except OSError:
            found.paths.append(
                path
            )  # answered as failed: what it holds can't be known, but it must not vanish
            continue
        stack.extend(sorted(inside, reverse=True))


def _kind(entry: os.DirEntry[str]) -> str:
    """A folder, a file (also a link, wherever it leads) or something that may never end being read."""
    if entry.is_dir(follow_symlinks=False):
        return "folder"
    return "file" if entry.is_symlink() or entry.is_file(follow_symlinks=False) else "special"
