"""The pictures that INPUTs and lists name: files, folders, archives, patterns, URLs."""

import codecs
import glob
import os
from collections.abc import Iterable
from typing import IO

from alexnet_tk.errors import InputError
from alexnet_tk.found import Found, Unreadable
from alexnet_tk.inference.archives import is_archive, members
from alexnet_tk.inference.remote import files_below, is_url


def find(inputs: Iterable[str | os.PathLike[str]], listed: Iterable[str] = ()) -> Found:
    """The pictures that these files, folders, archives, patterns and URLs stand for, then those of a list.

    A file that is named counts whatever its ending; a .zip or .tar that is named stands for the pictures in
    it, in its order. In folders (`found.Found.add_folder`) and archives, and for a pattern with **, the
    ending decides. URLs (`remote.is_url`) are read through pyarrow's file systems; in a list each is taken
    for a file.

    Raises
    ------
    InputError
        an input does not exist, a pattern matches nothing, an archive is broken; this is found before any
        work begins. What a list names and can't be used is a failed picture

    """
    found = Found()
    for each in inputs:
        path = os.fspath(each)
        if is_url(path):
            files = files_below(path)
            found.paths += files.named
            for url, name in files.below:
                found.add_below(url, name, path)
            continue
        fitting = [path] if os.path.lexists(path) else sorted(glob.glob(path, recursive=True))
        if not fitting:
            raise InputError(f"{path} does not exist; name files or folders of pictures")
        for one in fitting:
            if "**" not in path:
                _add(one, found)
            elif not os.path.isdir(one):  # the pattern names folders, too, beside all that they hold
                found.add_below(one, one.removeprefix(path.partition("**")[0]), path)
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


def read_list(stream: IO[bytes], separator: bytes = b"\n") -> list[str]:
    """The paths in a list, one on each line or NUL-separated; they need not be UTF-8."""
    text = stream.read()
    if separator == b"\n":
        text = text.removeprefix(codecs.BOM_UTF8).replace(b"\r\n", b"\n")
    paths = text.split(separator)
    return [os.fsdecode(path) for path in paths if path]


def _add(path: str, found: Found) -> None:
    if os.path.isdir(path):
        found.add_folder(path)
    elif os.path.isfile(path) and is_archive(path):
        for each in members(path):
            found.add_below(each, each.name, path)
    else:
        found.paths.append(path)
