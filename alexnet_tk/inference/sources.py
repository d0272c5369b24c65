"""The pictures that INPUTs and lists name: files, folders, archives, patterns, URLs."""

import codecs
import fnmatch
import glob
import os
import re
from collections.abc import Iterable
from typing import IO

from alexnet_tk.archives import is_archive, members
from alexnet_tk.errors import InputError
from alexnet_tk.found import ARCHIVED_LINK, SYSTEM_FOLDERS, Found, Unreadable
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
        if not any(_add_fitting(pattern, found) for pattern in _patterns(path)):
            brackets = "; in a pattern, [ ] stand beside a * or ?" if "[" in path else ""
            raise InputError(
                f"{path or repr(path)} does not exist; name files or folders of pictures{brackets}"
            )
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
            return lines.encode("utf-8", "surrogatepass")
    raise InputError(f"{name} holds NUL bytes; give -0 if they separate its paths, else save it as UTF-8")


def _patterns(pattern: str) -> list[str]:
    """What a pattern may mean, to be tried in turn.

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
    return [literal] if literal == loose else [literal, loose]


def _add_fitting(pattern: str, found: Found) -> bool:
    """Add what fits a pattern, sorted; False where nothing does.

    With ** these are files in folders, found as where a folder is named, and so without links to others.
    """
    parts = re.split(r"[/\\]" if os.name == "nt" else "/", pattern)
    if "**" in parts:
        at = parts.index("**")
        return _add_below("".join(f"{part}/" for part in parts[:at]), parts[at:], found)
    fitting = sorted(glob.glob(pattern))
    for path in fitting:
        if (name := os.path.basename(path)).lower() in SYSTEM_FOLDERS and os.path.isdir(path):
            found.ignored[f"{name} folder"] += 1
        else:
            _add(path, found)
    return bool(fitting)


def _add_below(folders: str, pattern: list[str], found: Found) -> bool:
    """Add the files in these folders, also a pattern, whose path there fits; False where none does."""
    below, fitting = Found(), []
    for folder in sorted(glob.glob(folders)) if folders else ["./"]:

        def fits(path: str, begin: int = len(folder)) -> bool:
            fitting.append(_fits(path[begin:].split(os.sep), pattern))
            return fitting[-1]

        below.add_folder(folder, wanted=fits)
    if not any(fitting):
        return False
    found.ignored += below.ignored
    for path in sorted(below.paths):
        found.paths.append(path if folders or isinstance(path, Unreadable) else path.removeprefix("./"))
    return True


def _fits(names: list[str], pattern: list[str]) -> bool:
    """Whether a path fits a pattern, both by their parts; ** stands for any number of them."""
    if not pattern or pattern == ["**"]:
        return bool(pattern) == bool(names)
    if pattern[0] == "**":
        return any(_fits(names[begin:], pattern[1:]) for begin in range(len(names)))
    return bool(names) and fnmatch.fnmatch(names[0], pattern[0]) and _fits(names[1:], pattern[1:])


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
