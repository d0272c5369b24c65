"""Pictures in zip and tar archives, read in place: nothing is unpacked to the disk."""

import os
import stat
import struct
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import lru_cache, partial
from pathlib import PurePosixPath
from typing import IO, Self, cast

from alexnet_tk.errors import InputError, PictureError
from alexnet_tk.found import system_folder
from alexnet_tk.gzip_file import GzipFile

GZIPPED = (".tar.gz", ".tgz")
ENDINGS = (".zip", ".tar", *GZIPPED)
COMPRESSED = (".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst")
UNREADABLE = (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError)
OPEN_ZIPS = 64  # at a time; a process may have some 1,000 files open
NOT_FILES = (b"V", b"D", b"N")  # GNU tar's label of a volume, list of a folder, list of names
END_OF_ZIP = struct.Struct("<4s4H2LH")  # APPNOTE.TXT, section 4.3.16
LARGEST_MEMBER = 2**30  # bytes, unpacked; a zip of a few kilobytes may hold terabytes


class Member(str):
    """A file or folder in an archive: as text archive/name, and readable by several threads at once."""

    # Of a million, so without a dictionary each.
    __slots__ = ("archive", "is_folder", "is_link", "name", "size", "source")

    name: str
    size: int  # bytes, unpacked
    is_link: bool  # symbolic, which is not followed
    is_folder: bool
    archive: str  # the file
    source: Callable[[], bytes] | int  # gives its bytes, or where they begin in that file

    @classmethod
    def of(
        cls,
        archive: str,
        name: str,
        size: int,
        source: Callable[[], bytes] | int,
        is_link: bool = False,
        is_folder: bool = False,
        within: str = "",
    ) -> "Member":
        """The member of this name; `within` is the folder that stands for an archive in the archive."""
        member = cls(f"{archive}/{within}{name}")
        member.archive, member.name, member.size, member.source = archive, name, size, source
        member.is_link, member.is_folder = is_link, is_folder
        return member

    def at(self, path: str) -> "Member":
        """The same file with another path as its text."""
        if path == self:
            return self
        member = Member(path)
        for each in self.__slots__:
            setattr(member, each, getattr(self, each))
        return member

    def read(self) -> bytes:
        """What the file holds; raises `PictureError`."""
        if self.size > LARGEST_MEMBER:
            raise PictureError(f"more than {LARGEST_MEMBER:,} bytes in an archive")
        try:
            if isinstance(self.source, int):
                content = _read_part(self.archive, self.source, self.size)
            else:
                content = self.source()
        # zipfile raises almost any error for a broken or encrypted member.
        except PictureError:
            raise
        except Exception as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            raise PictureError(f"can't be unpacked: {reason}") from error
        if len(content) != self.size:
            raise PictureError("cut off in its archive")
        if not content:
            raise PictureError("empty file")
        return content


def members(path: str) -> list[Member]:
    """The files in an archive in its order, without hidden ones and devices.

    Links, and those in folders of a system, are among them to be counted.

    Raises
    ------
    InputError
        it can't be read, or is compressed as a whole, so that one file can't be read without all before it

    """
    return [
        each
        for each in entries(path)
        if not each.is_folder and (system_folder(each.name) or not _hidden(each.name))
    ]


def entries(path: str) -> list[Member]:
    """The files, links and folders in an archive in its order, without devices; raises as `members`."""
    if path.lower().endswith(COMPRESSED):
        raise InputError(
            f"{path} is compressed as a whole: no picture in it can be read alone; "
            "unpack it, or make a .zip, .tar or .tar.gz"
        )
    with _unreadable(path):
        return _in_zip(path) if path.lower().endswith(".zip") else _in_tar(path)


def entries_within(tar: Member, within: str) -> list[Member]:
    """The files, links and folders in a tar that lies in another, as a folder there; raises `InputError`."""
    with _unreadable(tar):
        if not isinstance(tar.source, int):
            raise tarfile.ReadError("it lies in a compressed archive")
        return _in_tar(tar.archive, tar.source, tar.source + tar.size, within)


@contextmanager
def _unreadable(path: str) -> Iterator[None]:
    """Raise `InputError` where the archive can't be read."""
    try:
        yield
    except (*UNREADABLE, OSError, ValueError, NotImplementedError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        cure = "" if ";" in reason else "; make it again, or unpack what there is and name the folder"
        raise InputError(f"{path} can't be read as an archive: {reason}{cure}") from error


def is_archive(path: str) -> bool:
    """Whether the ending is that of an archive, also of one that `members` can't read."""
    return path.lower().endswith((*ENDINGS, *COMPRESSED))


def without_ending(name: str) -> str:
    """The name of an archive without its ending, and any other name as it is."""
    lengths = [len(each) for each in (*ENDINGS, *COMPRESSED) if name.lower().endswith(each)]
    return name[: -max(lengths)] if lengths else name


def _in_zip(path: str) -> list[Member]:
    status = os.stat(path)
    archive = partial(_zip, path, (status.st_ino, status.st_size, status.st_mtime_ns))
    listed = archive().infolist()
    _require_whole_zip(path, status.st_size, listed)
    return [
        Member.of(
            path,
            each.filename,
            each.file_size,
            partial(_read_zipped, archive, each),
            is_link=_is_link(each),
            is_folder=each.filename.endswith("/"),  # `is_dir` fails for a name that is empty
        )
        for each in listed
    ]


@lru_cache(OPEN_ZIPS)
def _zip(path: str, version: tuple[int, ...]) -> zipfile.ZipFile:
    """An open zip file, whose contents are listed once; it closes after its last read, if not before."""
    return zipfile.ZipFile(path)


def _is_link(info: zipfile.ZipInfo) -> bool:
    return stat.S_ISLNK(info.external_attr >> 16)


def _read_zipped(archive: Callable[[], zipfile.ZipFile], info: zipfile.ZipInfo) -> bytes:
    if info.flag_bits & 0x1:  # APPNOTE.TXT, section 4.4.4
        raise PictureError("encrypted in its archive")
    return archive().read(info)  # threads take turns


def _require_whole_zip(path: str, size: int, listed: list[zipfile.ZipInfo]) -> None:
    """Raise `BadZipFile` where zipfile lists only some of the files: it reads the last list it finds."""
    begin = max(0, size - END_OF_ZIP.size - 0xFFFF)
    tail = _read_part(path, begin, size)
    at = tail.rfind(b"PK\5\6")
    _, disk, _, _, count, _, _, comment = END_OF_ZIP.unpack_from(tail, at)
    if disk not in (0, 0xFFFF):
        raise zipfile.BadZipFile("one part of a split archive; join the parts with zip -s 0")
    if count not in (len(listed) % 0x10000, 0xFFFF):
        raise zipfile.BadZipFile(f"its list ends after {len(listed):,} files and should hold {count:,}")
    after = tail[at + END_OF_ZIP.size + comment :]
    first = min((each.header_offset for each in listed), default=begin + at)
    before = _before_zeros(path, first)
    if b"PK\3\4" in after or b"PK\1\2" in after or _ends_as_zip(before):
        raise zipfile.BadZipFile("several zip files joined to one; take them apart, or unpack them")


def _before_zeros(path: str, end: int) -> bytes:
    """The 64 KB before the zeros that may stand before this place, and a record's length of the zeros."""
    last = end
    while last > 0:
        part = _read_part(path, max(0, last - 2**20), min(last, 2**20))
        last -= len(part) - len(part.rstrip(b"\0"))
        if part.rstrip(b"\0"):
            break
    begin = max(0, last - END_OF_ZIP.size - 0xFFFF)
    return _read_part(path, begin, min(end, last + END_OF_ZIP.size) - begin)


def _ends_as_zip(content: bytes) -> bool:
    """Whether a zip file ends where the content does, or zeros follow; a self-extracting one has none."""
    at = content.rfind(b"PK\5\6")
    if at < 0 or at + END_OF_ZIP.size > len(content):
        return False
    end = at + END_OF_ZIP.size + int(END_OF_ZIP.unpack_from(content, at)[-1])
    return end <= len(content) and not content[end:].strip(b"\0")


class _TarInfo(tarfile.TarInfo):
    """A header whose name is right in GNU's own format, which has times where POSIX has a prefix of the name.

    GNU tar writes them for its incremental archives, and Python takes them for a name.
    """

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        """The header in a block of 512 bytes."""
        info = super().frombuf(buf, encoding, errors)
        if buf[257:265] == tarfile.GNU_MAGIC:
            times = bytes(buf[345:500]).partition(b"\0")[0].decode(encoding, errors)
            info.name = info.name.removeprefix(f"{times}/")
        return info


class _Window:
    """An open file that ends earlier, with the same offsets: a tar in a tar must not run into the next."""

    def __init__(self, file: IO[bytes] | GzipFile, end: int) -> None:
        self.file, self.end = file, end
        self.tell, self.seek = file.tell, file.seek

    def read(self, size: int) -> bytes:
        """At most `size` bytes."""
        return self.file.read(max(0, min(size, self.end - self.file.tell())))


def _in_tar(path: str, begin: int = 0, end: int = sys.maxsize, within: str = "") -> list[Member]:
    """The files of a tar, or of several that were joined: tarfile stops at the first one's end.

    The tar is the file, or that part of it for which the folder `within` stands.
    """
    found: list[Member] = []
    contents: dict[str, Member] = {}
    unzipped = GzipFile(path) if path.lower().endswith(GZIPPED) else None
    with nullcontext(unzipped) if unzipped else open(path, "rb") as file:
        next_tar: int | None = begin
        while next_tar is not None:
            file.seek(next_tar)
            window = cast("IO[bytes]", _Window(file, end))
            with tarfile.open(fileobj=window, mode="r:", tarinfo=_TarInfo) as archive:
                while (info := archive.next()) is not None:
                    archive.members.clear()  # type: ignore[attr-defined]  # of a million, each takes 1 KB
                    if _is_entry(info):
                        found.append(_in_place(path, unzipped, contents, info, within))
                stopped = archive.offset
            # tarfile takes a damaged header for the end of the archive, which is a block of zeros.
            file.seek(stopped)
            if window.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
                raise tarfile.ReadError(f"cut off or damaged after {len(found):,} files")
            next_tar = _after_zeros(window)
    return found


def _after_zeros(file: IO[bytes]) -> int | None:
    """Where the block of the next byte that is not zero begins; None: all is zero from here to the end."""
    begin = file.tell()
    while part := file.read(2**20):
        if rest := part.lstrip(b"\0"):
            at = begin + len(part) - len(rest)
            return at - at % tarfile.BLOCKSIZE
        begin += len(part)
    return None


def _is_entry(info: tarfile.TarInfo) -> bool:
    """Whether it is a file, link or folder; POSIX reads a type that it does not know as a file."""
    if info.type == b"M" or "GNU.volume.offset" in info.pax_headers:
        raise tarfile.ReadError(f"one volume of several: {info.name} begins in another; join them with tar")
    return (
        info.isreg()
        or info.islnk()
        or info.issym()
        or info.isdir()
        or info.type not in (*tarfile.SUPPORTED_TYPES, *NOT_FILES)
    )


def _in_place(
    path: str, unzipped: GzipFile | None, contents: dict[str, Member], info: tarfile.TarInfo, within: str
) -> Member:
    """A file, link or folder of a tar; a hard link stands for the earlier file that it names.

    `contents` holds the files so far by name, the last one of each name, and gets this one.
    """
    if info.islnk():
        try:
            content = contents[os.path.normpath(info.linkname)]
        except KeyError:
            raise tarfile.ReadError(f"{info.name} is a link to a file that is not in the archive") from None
        size, read, is_link = content.size, content.source, content.is_link
    elif info.issparse():  # its holes are left out of the archive
        size, read, is_link = info.size, partial(_read_sparse, path, info), False
    else:
        size, read, is_link = info.size, info.offset_data, info.issym()
        if unzipped is not None:
            read = partial(unzipped.read_at, info.offset_data, info.size)
    member = Member.of(path, info.name, size, read, is_link, info.isdir(), within)
    if not member.is_folder:
        contents[os.path.normpath(info.name)] = member
    return member


def _read_sparse(path: str, info: tarfile.TarInfo) -> bytes:
    with tarfile.open(path) as archive:
        file = archive.extractfile(info)
        return b"" if file is None else file.read()


def _read_part(path: str, begin: int, size: int) -> bytes:
    with open(path, "rb") as file:
        file.seek(begin)
        return file.read(size)


def _hidden(name: str) -> bool:
    return any(part.startswith(".") and part != ".." for part in PurePosixPath(name).parts)
