"""A folder of pictures with what their answers rest on laid over them."""

import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path, PurePath

from alexnet_tk.errors import OutputError
from alexnet_tk.files import make_folder, replacing
from alexnet_tk.inference.record import Record

LONGEST_STEM = 100  # bytes of a picture's name in that of its heat map
NAME = re.compile(r"\d{7,}-.*\.jpg", re.DOTALL)


def refuse_existing_folder(folder: Path, keep: bool) -> None:
    """Raise `OutputError` if there is something else, or there are files that are not to be kept."""
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder} is a file; --explain names a folder")
    if not keep and folder.is_dir() and any(folder.iterdir()):
        raise OutputError(
            f"{folder} is not empty; --overwrite replaces the heat maps in it and leaves the rest"
        )


def make_heat_map_folder(folder: Path, pictures: Iterable[str], resume: bool) -> None:
    """Make the folder or, unless they are to be resumed, take an earlier run's heat maps out of it.

    Raises `OutputError`, also where one of the run's pictures lies in it.
    """
    within = os.path.join(os.path.realpath(folder), "")  # noqa: PTH118  of a million pictures
    for picture in pictures:
        if os.path.realpath(picture).startswith(within):
            raise OutputError(
                f"{folder} holds pictures to be answered, such as {picture}; give --explain a folder of its "
                "own"
            )
    make_folder(folder)
    for path in () if resume else sorted(folder.glob("*.jpg")):
        if NAME.fullmatch(path.name):
            try:
                path.unlink()
            except OSError as error:
                raise OutputError(f"{path} can't be removed: {error.strerror or error}") from error


def heat_map_writer(folder: Path, first: int) -> Callable[[Record], None]:
    """Writes the heat map of each record, the first of which has the number `first` in the run.

    The files are called 0000000-NAME.jpg: the row in the output, counted from 0, and the picture's name. What
    failed has none.

    Raises
    ------
    OutputError
        a file can't be written

    """
    number = first

    def write(record: Record) -> None:
        nonlocal number
        if record.heat_map:
            stem = os.fsencode(PurePath(record.path).stem)[:LONGEST_STEM].replace(b"\0", b"")
            path = folder / os.fsdecode(b"%07d-%b.jpg" % (number, stem))
            with replacing(path, flush=False) as part:
                part.write_bytes(record.heat_map)
        number += 1

    return write
