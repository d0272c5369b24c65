"""The pictures that INPUTs and lists name: files, folders, archives, patterns, URLs."""

import codecs
import glob
import os
import re
from collections.abc import Iterable
from typing import IO

from alexnet_tk.errors import InputError
from alexnet_tk.found import ARCHIVED_LINK, Found, Unreadable
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
        work begins. A path that exists always stands for itself, whatever pattern its name looks like.
        What a list names and can't be used is a failed picture

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
        if os.path.lexists(path):  # also where its name looks like a pattern
            _add(path, found)
            continue
        fitting = _fitting(path)
        if not fitting:
            brackets = "; in a pattern, [ ] stand beside a * or ?" if "[" in path else ""
            raise InputError(f"{path} does not exist; name files or folders of pictures{brackets}")
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


def read_list(stream: IO[bytes], separator: bytes = b"\n", name: str = "the list") -> list[str]:
    """The paths in a list, one on each line or NUL-separated; they need not be UTF-8.

    Lines may also be UTF-16 with a byte order mark, as Windows PowerShell's `>` writes them. Raises
    `InputError` for lines that hold NUL, which no path does.
    """
    text = stream.read()
    if separator == b"\n":
        if b"\0" in text:
            text = _from_utf_16(text, name)
        text = text.replace(b"\r\n", b"\n")
    text = text.removeprefix(codecs.BOM_UTF8)
    paths = text.split(separator)
    return [os.fsdecode(path) for path in paths if path]


def _from_utf_16(text: bytes, name: str) -> bytes:
    """The bytes of the paths in UTF-16 text; a name that begins with the bytes of its mark holds no NUL."""
    if text.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        try:
            lines = text.decode("utf-16")
        except UnicodeDecodeError as error:
            raise InputError(f"{name} is broken UTF-16 text: {error.reason}; save it as UTF-8") from error
        if "\0" not in lines:
            return os.fsencode(lines)
    raise InputError(f"{name} holds NUL bytes; give -0 if they separate its paths, else save it as UTF-8")


def _fitting(pattern: str) -> list[str]:
    """The paths that fit a pattern, sorted.

    Brackets are common in names, as in "holiday [2019]" and "photo[1].png", so they are taken literally in
    leading folders that exist, in names without * or ?, and wherever something fits literally.
    """
    separator = r"([/\\])" if os.name == "nt" else "(/)"
    literal, loose, given = "", "", ""
    leading = True
    for part in re.split(separator, pattern):
        given += part
        leading = leading and (not given or os.path.lexists(given))
        is_plain = leading or not re.search(r"[*?]|\[\[\]", part)  # [[] is an escaped bracket
        loose += glob.escape(part) if is_plain else part
        literal += glob.escape(part) if is_plain else re.sub(r"\[(?![\[*?]\])", "[[]", part)
    return sorted(glob.glob(literal, recursive=True) or glob.glob(loose, recursive=True))


def _add(path: str, found: Found) -> None:
    if os.path.isdir(path):
        found.add_folder(path)
    elif is_archive(path) and os.path.isfile(path):  # the ending first: a million paths are looked up once
        for each in members(path):
            if each.is_link:
                found.ignored[ARCHIVED_LINK] += 1
            else:
                found.add_below(each, each.name, path)
    else:
        found.paths.append(path)
