"""Pictures named by URL (s3://, gs://, abfs://, hdfs://, file://), through pyarrow's file systems.

URLs are percent-encoded, as everywhere: `files_below` encodes names, so that its results are URLs again.
What follows a `?` (a region, an endpoint) is for pyarrow, and is kept with every file.
"""

import io
import re
from dataclasses import dataclass, field
from functools import cache
from typing import IO, TYPE_CHECKING
from urllib.parse import quote, unquote, urlsplit

from alexnet_tk.archives import is_archive
from alexnet_tk.errors import InputError, MissingExtraError, PictureError
from alexnet_tk.found import system_folder
from alexnet_tk.images import WHOLE
from alexnet_tk.text import one_line

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem


def is_url(path: str) -> bool:
    """Whether a path begins with a scheme; a scheme of one letter is a drive of Windows."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", path) is not None


@dataclass
class RemoteFiles:
    """What a URL stands for: itself, where it is a file, or the files below it with their relative paths."""

    named: list[str] = field(default_factory=list)
    below: list[tuple[str, str]] = field(default_factory=list)


def files_below(url: str) -> RemoteFiles:
    """The files at or below a URL in the order of a local folder's, without hidden ones.

    Raises
    ------
    InputError
        there is nothing, it can't be listed, or it is an archive

    """
    from pyarrow.fs import FileSelector, FileType

    try:
        system, path = _locate(url)
        kind = system.get_file_info(path).type
        inside = (
            system.get_file_info(FileSelector(path, recursive=True)) if kind == FileType.Directory else []
        )
    except (OSError, ValueError, NotImplementedError) as error:
        cure = "; download it first" if url.lower().startswith(("http:", "https:", "ftp:")) else ""
        raise InputError(f"{url} can't be listed: {one_line(error)}{cure}") from error
    if kind == FileType.NotFound:
        raise InputError(f"{url} does not exist; name files or folders of pictures")
    if kind == FileType.File:
        if is_archive(path):
            raise InputError(f"{url} is an archive, which is read in place from disks only; copy it to one")
        return RemoteFiles([url])
    folder, mark, query = url.partition("?")
    names = (each.path[len(path) :].strip("/").split("/") for each in inside if each.type == FileType.File)
    return RemoteFiles(
        below=[
            (f"{folder.rstrip('/')}/{quote('/'.join(parts))}{mark}{query}", "/".join(parts))
            for parts in sorted(names)
            if system_folder("/".join(parts)) or not any(part.startswith(".") for part in parts)
        ]
    )


def open_url(url: str) -> IO[bytes]:
    """A file for `images.load`, read into memory unless it is very large; raises `PictureError`."""
    try:
        system, path = _locate(url)
        file = system.open_input_file(path)
        if file.size() > WHOLE:
            return file  # type: ignore[no-any-return]
        with file:
            content = file.read()
    except FileNotFoundError:
        raise PictureError("no such file") from None
    except PermissionError:
        raise PictureError("no permission to read it") from None
    except ModuleNotFoundError as error:
        raise PictureError(str(MissingExtraError.of(error) or error)) from None
    except (OSError, ValueError, NotImplementedError) as error:
        raise PictureError(f"can't be read: {one_line(error)}") from error
    if not content:
        raise PictureError("empty file")
    return io.BytesIO(content)


def _locate(url: str) -> "tuple[FileSystem, str]":
    """The file system of a URL, and the path there."""
    parts = urlsplit(url, allow_fragments=False)
    query = f"?{parts.query}" if parts.query else ""
    system, root = _file_system(f"{parts.scheme}://{parts.netloc}/{query}")
    return system, f"{root.rstrip('/')}/{unquote(parts.path).strip('/')}"


@cache
def _file_system(root: str) -> "tuple[FileSystem, str]":
    """One for all files of a bucket: making it may ask the network where the bucket is."""
    from pyarrow.fs import FileSystem

    return FileSystem.from_uri(root)  # type: ignore[no-any-return]
