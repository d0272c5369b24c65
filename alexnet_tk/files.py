"""Files that appear whole or not at all, and what they hold in one number."""

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alexnet_tk.errors import OutputError


def refuse_existing(path: Path, overwrite: bool) -> None:
    """Raise `OutputError` if `path` can't become a new file; called before the work, not after it."""
    if path.is_dir():
        raise OutputError(f"{path} is a folder; name a file for the output")
    if path.exists() and not path.is_file():
        raise OutputError(f"{path} is a pipe or a device; name a file for the output")
    if path.exists() and not overwrite:
        raise OutputError(f"{path} exists already; give --overwrite to replace it, or name another")
    refuse_unwritable(path.parent)


def refuse_unwritable(folder: Path) -> None:
    """Raise `OutputError` if no output can be made in the folder."""
    if not folder.is_dir():
        raise OutputError(f"the folder {folder} does not exist; make it, or give another --output")
    if not os.access(folder, os.W_OK):
        raise OutputError(f"the folder {folder} can't be written to; give another --output")


def make_folder(path: Path) -> None:
    """Make a folder and those above it, where they are missing; raises `OutputError`."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"the folder {path} can't be made: {error.strerror}") from error


def sha256(path: Path) -> str:
    """Of what a file holds, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` (or what it links to) that takes its name when the block ends well.

    What is written there is flushed to the disk before it is renamed, so a crash leaves the old
    file or the new one, never half of one. If the block raises, the temporary file goes away.

    Raises
    ------
    OutputError
        the file can't be written: no permission, a full disk, a folder that has gone

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
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.chmod(0o666 & ~_umask())  # mkstemp made it private
        part.replace(path)
    except OSError as error:
        raise OutputError(f"{path} can't be written: {error.strerror or error}") from error
    finally:
        part.unlink(missing_ok=True)


def _umask() -> int:
    """The process's mask of file permissions, which can only be read by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
