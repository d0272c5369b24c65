"""A folder of pictures with what their answers rest on laid over them."""

import os
from collections.abc import Callable
from pathlib import Path, PurePath

from alexnet_tk.errors import OutputError
from alexnet_tk.inference.record import Record

LONGEST_STEM = 100  # bytes of a picture's name in that of its heat map


def refuse_existing_folder(folder: Path, keep: bool) -> None:
    """Raise `OutputError` if there is something else, or there are files that are not to be kept."""
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder} is a file; --explain names a folder")
    if not keep and folder.is_dir() and any(folder.iterdir()):
        raise OutputError(f"{folder} is not empty; --overwrite writes into it all the same")


def heat_map_writer(folder: Path, first: int) -> Callable[[Record], None]:
    """Writes the heat map of each record, the first of which has the number `first` in the run.

    The files are called 0000000-NAME.jpg: the row in the output, counted from 0, and the picture's name. What
    failed has none.

    Raises
    ------
    OutputError
        the folder or a file can't be written

    """
    number = first

    def write(record: Record) -> None:
        nonlocal number
        if record.heat_map:
            stem = os.fsencode(PurePath(record.path).stem)[:LONGEST_STEM].replace(b"\0", b"")
            path = folder / os.fsdecode(b"%07d-%b.jpg" % (number, stem))
            try:
                path.write_bytes(record.heat_map)
            except OSError as error:
                raise OutputError(f"{path} can't be written: {error.strerror or error}") from error
        number += 1

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder} can't be made: {error.strerror or error}") from error
    return write
