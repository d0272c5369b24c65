"""Files that appear whole or not at all, checks on outputs, and hashes of files."""

import hashlib
import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from alexnet_tk.errors import OutputError

PLACEHOLDER = 200  # bytes that tell what was downloaded in a file's stead


def refuse_existing(path: Path, overwrite: bool, *, source: Sequence[Path] = ()) -> None:
    """Raise `OutputError` if `path` can't become a new file; call it before the work, not after.

    `source` lists the files that the output is made from, which it must not replace.
    """
    if path.exists() and any(file.exists() and path.samefile(file) for file in source):
        raise OutputError(f"{path} is the input itself; choose another file for the output")
    if path.is_dir():
        raise OutputError(f"{path} is a folder; choose a file for the output")
    if path.exists() and not path.is_file():
        raise OutputError(f"{path} is a pipe or a device; choose a file for the output")
    if path.exists() and not overwrite:
        raise OutputError(f"{path} exists already; give --overwrite to replace it, or choose another name")
    refuse_unwritable(path.parent)


def refuse_unwritable(folder: Path) -> None:
    """Raise `OutputError` if no file can be created in the folder."""
    if not folder.is_dir():
        raise OutputError(f"the folder {folder} does not exist; create it, or give another --output")
    if not os.access(folder, os.W_OK):
        raise OutputError(f"the folder {folder} is not writable; give another --output")


def make_folder(path: Path) -> None:
    """Create a folder and its missing parents; raises `OutputError`."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"the folder {path} can't be created: {error.strerror}") from error


def sha256(path: Path) -> str:
    """The SHA-256 of a file's contents, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def replacing(path: Path, flush: bool = True) -> Iterator[Path]:
    """A temporary path beside `path` (or the target of the link) that replaces it if the block succeeds.

    The temporary file is flushed to disk before it is renamed, so a crash leaves the old file or the
    new one, never half of one; without `flush` that holds for a process that dies, but not for the machine.
    If the block raises, the temporary file is removed.

    Raises
    ------
    OutputError
        the file can't be written: no permission, a full disk, a folder that has disappeared

    """
    path = path.resolve()
    try:
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".alexnet-tk-", suffix=".part")
    except OSError as error:
        raise OutputError(f"{path} can't be written: {error.strerror}") from error
    os.close(descriptor)
    part = Path(name)
    try:
        yield part
        if flush:
            with part.open("rb") as file:
                os.fsync(file.fileno())
        part.chmod(0o666 & ~_umask())  # mkstemp creates it as 0600
        part.replace(path)
    except OSError as error:
        raise OutputError(f"{path} can't be written: {error.strerror or error}") from error
    finally:
        part.unlink(missing_ok=True)


def _umask() -> int:
    """The process's umask, which can only be read by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


def model_placeholder(path: Path) -> str | None:
    """What was downloaded in a model's stead, and what to do; None where it may be a model."""
    try:
        with path.open("rb") as file:
            begin = file.read(PLACEHOLDER)
    except OSError:
        return None
    if (kind := placeholder(begin, "model")) is not None:
        return kind
    if begin and not re.search(rb"[^\t\r\n -~]", begin):
        text = " ".join(begin.decode().split())
        cure = "download it again, or make one with `alexnet-tk train` and `export`"
        return f"text that begins {text[:50]!r}, not a model; {cure}"
    return None


def placeholder(begin: bytes, wanted: str) -> str | None:
    """What a file with these first bytes is in another's stead, and what to do; None: neither usual kind."""
    begin = begin.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if begin.startswith(b"version https://git-lfs"):
        return f"a Git LFS pointer, not the {wanted} it stands for; get that with `git lfs pull`"
    if re.match(rb"<(!|\?xml|[a-z]+[ >])", begin) and b"<svg" not in begin:
        return f"a web page, not a {wanted}; download the file itself, from the page's raw or download link"
    return None
